"""The BPSec acceptor under the machine for it: nothing is found in ours, and each planted fault
is, under the clause that it breaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from interop.machines import BpSecMachine, MachineFault, Verdict
from interop.strategies import Choices
from stack.core.eid import Eid
from stack.ports.security import Opened
from stack.security import BpSec, Key, KeyRing, SecurityPolicy
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    check_bundle,
    decode_bundle,
)
from tests.engines.bundle_agent.desk import Desk
from tests.engines.bundle_agent.harness import HERE, NOW


class OurAcceptor:
    """What a node does with a bundle that is for it.  With each set of keys it goes on where it
    was."""

    policy = SecurityPolicy()

    def __init__(self) -> None:
        self.known: dict[tuple[Key, ...], BpSec] = {}

    def use(self, keys: Sequence[Key]) -> None:
        new = BpSec(KeyRing(keys), bytes, self.policy)
        self.security = self.known.setdefault(tuple(keys), new)

    def receive(self, octets: bytes) -> Verdict:
        bundle, end = decode_bundle(octets)
        assert end == len(octets)
        check_bundle(bundle)
        return self.open(bundle)

    def open(self, bundle: Bundle) -> Verdict:
        opened = self.security.open(bundle)
        if opened.bundle is None:
            return Verdict(None, opened.reason)
        *blocks, payload = opened.bundle.blocks
        others = {block.number: bytes(block.data) for block in blocks}
        return Verdict(bytes(payload.data), None, others)


class OurAcceptorMachine(BpSecMachine):
    """Against our own."""

    adapter = OurAcceptor


TestOurAcceptor = pytest.mark.slow(OurAcceptorMachine.TestCase)
TestOurAcceptor.settings = settings(max_examples=80, stateful_step_count=20, deadline=None)


QUICK = settings(
    max_examples=200,
    stateful_step_count=15,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


class Switched:
    """Security whose keys can be changed."""

    inner: BpSec

    def protect(self, bundle: Bundle) -> Bundle:
        return self.inner.protect(bundle)

    def open(self, bundle: Bundle) -> Opened:
        return self.inner.open(bundle)

    def verify(self, bundle: Bundle) -> Opened:
        return self.inner.verify(bundle)

    def secure(self, bundle: Bundle) -> Opened:
        return self.inner.secure(bundle)


class OurNode:
    """A whole agent and its store, with the application for which the bundles are."""

    def __init__(self) -> None:
        self.security = Switched()
        self.security.inner = BpSec(KeyRing(()), bytes, SecurityPolicy())
        self.desk = Desk(security=self.security)

    def use(self, keys: Sequence[Key]) -> None:
        self.security.inner = BpSec(KeyRing(keys), bytes, SecurityPolicy())

    def receive(self, octets: bytes) -> Verdict:
        self.desk.arrive(octets)
        got, self.desk.got[:] = list(self.desk.got), []
        assert len(got) <= 1
        return Verdict(got[0] if got else None)


def for_here(choose: Choices) -> Bundle:
    """A bundle for that application, that is in time."""
    primary = PrimaryBlock(
        Eid.parse(HERE + "app"),
        Eid.parse(choose.pick(("dtn://gs1/app", "ipn:7.1"))),
        Eid.parse("dtn:none"),
        NOW - 1000,
        choose.integer(0, 1 << 30),
        3_600_000,
        0,
    )
    kinds = zip((2, 3, 4), (200, 201, 300), strict=True)
    others = [CanonicalBlock(kind, number, 0, choose.octets(0, 9), 1) for number, kind in kinds]
    payload = CanonicalBlock(1, 1, 0, choose.octets(1, 40), 2)
    return Bundle(primary, (*others, payload))


class OurNodeMachine(BpSecMachine):
    """Against a node: what security refused is not remembered, and keeps nothing out."""

    adapter = OurNode
    says_why = False
    once = True
    plain = staticmethod(for_here)


TestOurNode = OurNodeMachine.TestCase
TestOurNode.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


class RemembersEveryId(OurNode):
    """A bundle is seen before it is opened: whoever forges one keeps the genuine one out."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[object] = set()

    def receive(self, octets: bytes) -> Verdict:
        primary = decode_bundle(octets)[0].primary
        name = primary.source, primary.creation_ms, primary.sequence
        if name in self.seen:
            return Verdict(None)
        self.seen.add(name)
        return super().receive(octets)


class DeliversEveryCopy(OurNode):
    """It does not know what it has delivered."""

    def receive(self, octets: bytes) -> Verdict:
        self.desk = Desk(security=self.security)
        return super().receive(octets)


@pytest.mark.parametrize(
    ("fault", "clause"),
    [(RemembersEveryId, "RFC 9172 §5.1.1"), (DeliversEveryCopy, "RFC 9171 §4.2.7")],
)
def test_each_planted_fault_of_a_node_is_found(fault: type[OurNode], clause: str) -> None:
    class Broken(OurNodeMachine):
        adapter = fault

    with pytest.raises(MachineFault) as found:
        run_state_machine_as_test(Broken, settings=QUICK)
    assert found.value.violation.clause == clause


class Faulty(OurAcceptor):
    """One fault; `breaks` has how the clauses begin, one of which is named."""

    breaks: ClassVar[tuple[str, ...]]


class RemembersWhatItTook(Faulty):
    """A cache of verdicts, by the id of the bundle."""

    breaks = ("RFC 9172 §5.1.1",)

    def __init__(self) -> None:
        super().__init__()
        self.taken: dict[object, Verdict] = {}

    def open(self, bundle: Bundle) -> Verdict:
        verdict = self.taken.get(bundle.primary) or super().open(bundle)
        if verdict.payload is not None:
            self.taken[bundle.primary] = verdict
        return verdict


class RemembersWhatItRefused(Faulty):
    """Whoever forges a bundle keeps the genuine one out."""

    breaks = ("RFC 9172 §5.1.1", "RFC 9172 §7.1")

    def __init__(self) -> None:
        super().__init__()
        self.refused: dict[object, Verdict] = {}

    def open(self, bundle: Bundle) -> Verdict:
        verdict = self.refused.get(bundle.primary) or super().open(bundle)
        if verdict.payload is None:
            self.refused[bundle.primary] = verdict
        return verdict


class KeepsOldKeys(Faulty):
    breaks = ("RFC 9172 §5.1.1",)

    def use(self, keys: Sequence[Key]) -> None:
        if not self.known:
            super().use(keys)


class TriesOneKeyAlone(Faulty):
    breaks = ("RFC 9172 §5.1.1", "RFC 9172 §7.1")

    def use(self, keys: Sequence[Key]) -> None:
        super().use(list({(key.kind, len(key.secret)): key for key in reversed(keys)}.values()))


class LocksItself(Faulty):
    """After three failures it takes nothing more."""

    breaks = ("RFC 9172 §5.1.1", "RFC 9172 §5.1", "RFC 9172 §7.1")
    failures = 0

    def open(self, bundle: Bundle) -> Verdict:
        verdict = super().open(bundle)
        self.failures += verdict.reason is not None
        return verdict if self.failures < 3 else Verdict(None, 15)


class TakesWhatIsNotSecured(Faulty):
    breaks = ("RFC 9172 §5.1.1",)

    def open(self, bundle: Bundle) -> Verdict:
        if any(block.type in (BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY) for block in bundle.blocks):
            return super().open(bundle)
        return Verdict(bytes(bundle.payload.data))


class LeavesTheCiphertext(Faulty):
    """It checks, and hands on what came."""

    breaks = ("RFC 9173 §4.8.2",)

    def open(self, bundle: Bundle) -> Verdict:
        verdict = super().open(bundle)
        encoded = bytes(bundle.payload.data)
        return verdict if verdict.payload is None else verdict._replace(payload=encoded)


class NeedsTheOrderOfItsOwn(Faulty):
    """Security blocks have to stand before what else there is."""

    breaks = ("RFC 9172 §5.1.1", "RFC 9172 §7.1")

    def open(self, bundle: Bundle) -> Verdict:
        kinds = [block.type in (BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY) for block in bundle.blocks]
        first = bundle.blocks[0].type
        if first == BLOCK_CONFIDENTIALITY and not all(kinds[:-1]):
            return Verdict(None, 16)
        return super().open(bundle)


class SaysTheSameOfEverything(Faulty):
    breaks = ("RFC 9172 §7.1",)

    def open(self, bundle: Bundle) -> Verdict:
        verdict = super().open(bundle)
        return verdict if verdict.payload is not None else Verdict(None, 15)


class IgnoresUnknownContexts(Faulty):
    """What it cannot read it leaves out, and delivers if the rest is right."""

    breaks = ("RFC 9172 ", "RFC 9173 ")
    policy = SecurityPolicy(require=False)

    def open(self, bundle: Bundle) -> Verdict:
        verdict = super().open(bundle)
        if verdict.reason == 13:
            return Verdict(bytes(bundle.payload.data))
        return verdict


class ForgetsTheBlocksBeside(Faulty):
    """It decrypts the payload, and no other block."""

    breaks = ("RFC 9173 §4.8.2",)

    def open(self, bundle: Bundle) -> Verdict:
        verdict = super().open(bundle)
        if verdict.blocks is None:
            return verdict
        encoded = {block.number: bytes(block.data) for block in bundle.blocks}
        return verdict._replace(blocks={number: encoded[number] for number in verdict.blocks})


@pytest.mark.parametrize("fault", Faulty.__subclasses__(), ids=lambda fault: fault.__name__)
def test_each_planted_fault_is_found(fault: type[Faulty]) -> None:
    class Broken(BpSecMachine):
        adapter = fault

    with pytest.raises(MachineFault) as found:
        run_state_machine_as_test(Broken, settings=QUICK)
    assert found.value.violation.clause.startswith(fault.breaks)
