"""A state machine of Hypothesis that is all that a bundle agent has to do with (RFC 9171).

    class Mine(AgentPeerMachine):
        adapter = MyAgent

    TestMine = Mine.TestCase

`MyAgent(node, neighbours, service)` makes an `AgentPeer`: the agent of a node between two
neighbours, with one application.  The machine brings it bundles that are in order, have expired,
have gone too far, carry blocks that nobody knows, come twice or in parts, ask for reports or break
a rule; it lets contacts begin and end, the application come and go, the agent restart, time pass.
What comes of it is held against `agent_model`: what has to be delivered, and once; what has to be
forwarded, and unchanged but for the blocks of each hop; what has to be deleted and reported, and
why.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from interop.machines.agent_model import (
    AGENT_TABLE,
    EAST,
    NODE,
    NOWHERE,
    UNKNOWN_TYPE,
    WEST,
    AgentModel,
    KnownBundle,
    identity,
)
from interop.machines.fault import MachineFault
from interop.machines.machine import PeerMachine
from interop.strategies.bundle import fragment_of
from interop.strategies.nearly_bundle import (
    BUNDLE_RECORD_RULES,
    BUNDLE_RULES,
    BundleRule,
    nearly_bundles,
)
from interop.strategies.violation import Nearly
from stack.core.clock import dtn_from_unix
from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.wire.bundle import (
    DELETE_UNPROCESSED,
    DISCARD_UNPROCESSED,
    IS_ADMIN,
    REPORT_DELETION,
    REPORT_DELIVERY,
    REPORT_FORWARDING,
    REPORT_RECEPTION,
    REPORT_UNPROCESSED,
    STATUS_TIME,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    ReportReason,
    bundle_age,
    decode_bundle,
    encode_bundle,
    hop_count,
)

SERVICE = "app"
DTN_START_MS = 830_000_000_000
"""DTN time at which each case begins."""

PATIENCE_STEPS = 4
_HOUR_MS = 3_600_000

_PICKS = st.integers(0, 1 << 16)
_FLAGS = st.lists(
    st.sampled_from(
        [REPORT_RECEPTION, REPORT_FORWARDING, REPORT_DELIVERY, REPORT_DELETION, STATUS_TIME]
    ),
    unique=True,
).map(sum)
_BLOCKS = st.sampled_from(["", "", "hops", "age", "unknown", "discard", "report", "all"])
_WRONG = st.sampled_from(["", "", "", "expired", "hops", "delete"])
_TO = st.sampled_from([NODE, EAST, WEST, NOWHERE])
_OF_BUNDLES = [rule for rule in BUNDLE_RULES if rule not in BUNDLE_RECORD_RULES]
"""What administrative records say is for whoever reads them."""


def _adapted(bundle: Bundle, now_ms: int) -> Bundle:
    """A bundle of the strategies as one for the agent, made just now, of which nobody is told."""
    primary = replace(
        bundle.primary,
        destination=Eid.parse(NODE + SERVICE),
        creation_ms=now_ms,
        lifetime_ms=_HOUR_MS,
        flags=bundle.primary.flags & ~(REPORT_RECEPTION | REPORT_FORWARDING | REPORT_DELIVERY
                                       | REPORT_DELETION | STATUS_TIME),
        encoded=None,
    )  # fmt: skip
    return replace(bundle, primary=primary)


class AgentPeer(Protocol):
    """An agent under test: a Python object, or what stands for a process or a socket.  Times are
    DTN times in milliseconds, and never go back."""

    def receive(self, bundle: bytes, neighbour: str, now_ms: int) -> None:
        """A neighbour brings these octets; whatever they are, this does not raise.  What the agent
        has taken of it when this returns, it has for good."""
        ...

    def contact(self, neighbour: str, up: bool, now_ms: int) -> None:
        """A contact with a neighbour begins or ends."""
        ...

    def register(self, active: bool, now_ms: int) -> None:
        """The application comes, or goes."""
        ...

    def send(self, destination: str, payload: bytes, lifetime_ms: int, now_ms: int) -> None:
        """The application wants this sent."""
        ...

    def restart(self, now_ms: int) -> None:
        """The agent ends without notice, and begins anew from what it has stored.  Contacts and the
        registration are as they were."""
        ...

    def advance(self, now_ms: int) -> None:
        """Time has passed."""
        ...

    def poll(self) -> Iterable[tuple[str, bytes]]:
        """The bundles that have gone to neighbours since this was asked last, and to which; they
        have arrived there."""
        ...

    def deliveries(self) -> Iterable[bytes]:
        """The payloads that the application was given since this was asked last."""
        ...


class MakesAgentPeer(Protocol):
    """Makes an agent under test."""

    def __call__(self, node: str, neighbours: Sequence[str], service: str, /) -> AgentPeer:
        """The agent of a node; whatever a neighbour's node id begins goes to that neighbour."""
        ...


class _World(PeerMachine):
    """What reaches the agent and comes from it, and what the model makes of it."""

    adapter: ClassVar[MakesAgentPeer]
    """Makes the agent under test; a class, usually."""

    patience_ms: ClassVar[int] = 2_000
    """Within this time the agent has sent, delivered and reported what it can."""

    slack_ms: ClassVar[int] = 0
    """So much its clock and ours may differ."""

    sends_reports: ClassVar[bool] = True
    """Whether it answers requests for status reports (RFC 9171 §5.1 leaves that open)."""

    forgets: ClassVar[bool] = False
    """Whether it delivers again what comes again (RFC 9171 does not forbid it)."""

    has_application: ClassVar[bool] = True
    """Whether the adapter has its application come and go and send, and sees what that gets."""

    only_in_contact: ClassVar[bool] = False
    """Whether a neighbour brings bundles only while the agent could send there, as over sessions
    that serve both ways: then the contact begins first."""

    restarts: ClassVar[bool] = True
    """Whether the adapter can restart it."""

    wall_clock: ClassVar[bool] = False
    """Whether time is that on the wall, in which the adapter waits, and not virtual."""

    lasts_ms: ClassVar[int] = 2 * _HOUR_MS
    """So much passes at the end of each case: in the time on the wall, none."""

    insists_on: ClassVar[Sequence[BundleRule]] = _OF_BUNDLES
    """Rules of which it takes no bundle that breaks one."""

    table = AGENT_TABLE
    peer: AgentPeer

    @initialize()
    def start(self) -> None:
        """A new agent, without contacts and without its application."""
        kind = type(self)
        self.peer = kind.adapter(NODE, (WEST, EAST), SERVICE)
        self.model = AgentModel(
            reports=kind.sends_reports, forgets=kind.forgets, slack_ms=kind.slack_ms
        )
        self.model.now_ms = DTN_START_MS
        self._clock()
        self.sequence = 0

    @property
    def now_ms(self) -> int:
        """DTN time."""
        return self.model.now_ms

    def _clock(self) -> None:
        """Time has gone by, if it is that on the wall."""
        if type(self).wall_clock:
            self.model.now_ms = max(self.model.now_ms, dtn_from_unix(time.time()))

    @contextlib.contextmanager
    def _step(self, what: str, one: KnownBundle | None = None) -> Iterator[None]:
        """What is done within may move any bundle, and concerns one."""
        self.note(what)
        model = self.model
        before = [(each, model.state(each)) for each in model.known]
        yield
        self._clock()
        self._hear()
        for each, state in before:
            after = model.state(each)
            if each is one or after != state or (what == "restart" and each.came):
                self.took("bundle", state, what, after)

    def _hear(self) -> None:
        """Judge what the agent has done: reports last, as they tell of the rest."""
        model = self.model
        for payload in self.peer.deliveries():
            model.delivers(bytes(payload))
        told: list[tuple[Bundle, str]] = []
        for neighbour, octets in self.peer.poll():
            try:
                bundle, end = decode_bundle(octets)
            except DecodeError as error:
                raise MachineFault(str(error), "no bundle leaves", octets.hex()) from None
            if end != len(octets):
                raise MachineFault("RFC 9171 §4.1", "octets behind a bundle", octets.hex())
            primary = bundle.primary
            if primary.flags & IS_ADMIN and str(primary.source).startswith(NODE):
                told.append((bundle, neighbour))
                continue
            self._sent(bundle)
            model.leaves(bundle, neighbour)
        for bundle, neighbour in told:
            model.reports(bundle, neighbour)

    def _sent(self, bundle: Bundle) -> None:
        """A bundle of the agent's application is known by its payload, until it has a name."""
        for one in self.model.known:
            if one.ours and not one.left and one.bundle.payload.data == bundle.payload.data:
                one.bundle = bundle

    def _pass(self, duration_ms: int) -> None:
        with self._step("time passes"):
            self.now_ns += duration_ms * 10**6
            end_ms = self.now_ms + duration_ms
            if not type(self).wall_clock:
                self.model.now_ms = end_ms
            self.peer.advance(end_ms)

    def _patiently(self) -> None:
        """The agent has time, and does what it owes."""
        owed = set(self.model.owed())
        for _ in range(PATIENCE_STEPS):
            self._pass(type(self).patience_ms // PATIENCE_STEPS)
        for words in sorted(owed & set(self.model.owed())):
            clause, _, rest = words.partition(": ")
            raise MachineFault(f"RFC 9171 {clause}", rest, [str(e) for e in self.model.known])

    def _bring(self, one: KnownBundle, part: int = 0) -> None:
        sender = EAST if one.to == WEST else WEST
        self._in_contact(sender)
        with self._step("comes again" if one.came[part] else "comes", one):
            self.peer.receive(self.model.comes(one, part), sender, self.now_ms)

    def _in_contact(self, neighbour: str) -> None:
        """The contact begins, where there is none and it takes one."""
        if type(self).only_in_contact and not self.model.up[neighbour]:
            self._contact(neighbour)

    def _contact(self, neighbour: str) -> None:
        up = not self.model.up[neighbour]
        self.model.up[neighbour] = up
        with self._step("contact begins" if up else "contact ends"):
            self.peer.contact(neighbour, up, self.now_ms)

    def _primary(self, to: str, flags: int, lifetime_ms: int, age_ms: int) -> PrimaryBlock:
        self.sequence += 1
        self._clock()
        return PrimaryBlock(
            Eid.parse(to + SERVICE),
            Eid.parse("dtn://far-away/source"),
            Eid.parse(WEST + "reports"),
            self.now_ms - age_ms,
            self.sequence,
            lifetime_ms,
            flags,
        )

    def _payload(self, size: int) -> bytes:
        return self.sequence.to_bytes(4, "big") + bytes(size)


class AgentPeerMachine(_World):
    """The world of one bundle agent.  Set `adapter`, and whatever else is unlike this."""

    @rule(
        to=_TO, flags=_FLAGS, blocks=_BLOCKS, wrong=_WRONG, size=st.integers(0, 300),
        lifetime_ms=st.sampled_from([_HOUR_MS, 5_000, 500]),
    )  # fmt: skip
    def receive(
        self, to: str, flags: int, blocks: str, wrong: str, size: int, lifetime_ms: int
    ) -> None:
        """A bundle comes for the first time; maybe with something that ends it here."""
        primary = self._primary(to, flags, lifetime_ms, lifetime_ms if wrong == "expired" else 100)
        extensions = []
        if blocks in ("hops", "all") or wrong == "hops":
            limit, count = (3, 4) if wrong == "hops" else (30, 4)
            extensions.append(hop_count(limit, count, number=2))
        if blocks in ("age", "all"):
            extensions.append(bundle_age(100, number=3))
        block_flags = {
            "unknown": 0, "discard": DISCARD_UNPROCESSED, "report": REPORT_UNPROCESSED,
            "all": REPORT_UNPROCESSED | DISCARD_UNPROCESSED,
        }.get(blocks)  # fmt: skip
        if wrong == "delete":
            block_flags = DELETE_UNPROCESSED | (block_flags or 0)
        if block_flags is not None:
            extensions.append(CanonicalBlock(UNKNOWN_TYPE, 4, block_flags, b"\x01"))
        bundle = Bundle(primary, (*extensions, CanonicalBlock(1, 1, 0, self._payload(size), 2)))
        reason = {
            "expired": ReportReason.LIFETIME_EXPIRED,
            "hops": ReportReason.HOP_LIMIT_EXCEEDED,
            "delete": ReportReason.BLOCK_UNSUPPORTED,
        }.get(wrong)
        one = KnownBundle(bundle, (encode_bundle(bundle),), to, reason)
        self.model.known.append(one)
        self._bring(one)

    @rule(
        size=st.integers(1, 300), cuts=st.lists(st.integers(1, 300), min_size=1, max_size=3),
        lifetime_ms=st.sampled_from([_HOUR_MS, 5_000]), to=st.sampled_from([NODE, EAST]),
    )  # fmt: skip
    def begin_fragments(self, size: int, cuts: list[int], lifetime_ms: int, to: str) -> None:
        """A bundle was divided on its way; nothing of it has come yet."""
        primary = self._primary(to, 0, lifetime_ms, 100)
        payload = self._payload(size)
        whole = Bundle(primary, (CanonicalBlock(1, 1, 0, payload, 2),))
        edges = sorted({0, *(cut for cut in cuts if cut < len(payload)), len(payload)})
        parts = [
            fragment_of(whole, start, payload[start:stop], len(payload))
            for start, stop in itertools.pairwise(edges)
        ]
        if to == NODE:
            octets = tuple(encode_bundle(part) for part in parts)
            self.model.known.append(KnownBundle(whole, octets, to))
        else:
            self.model.known += [KnownBundle(part, (encode_bundle(part),), to) for part in parts]

    @precondition(lambda self: self._missing())
    @rule(pick=_PICKS, count=st.integers(1, 4))
    def receive_fragments(self, pick: int, count: int) -> None:
        """Fragments come, in any order."""
        for _ in range(count):
            if missing := self._missing():
                self._bring(*missing[pick % len(missing)])

    def _missing(self) -> list[tuple[KnownBundle, int]]:
        return [
            (one, part)
            for one in self.model.known
            for part in range(len(one.parts))
            if not one.ours and not one.came[part] and self.now_ms < one.ends_ms
        ]

    @precondition(lambda self: any(one.came and not one.ours for one in self.model.known))
    @rule(pick=_PICKS)
    def receive_again(self, pick: int) -> None:
        """A bundle, or a part of one, comes once more."""
        known = [one for one in self.model.known if not one.ours]
        came = [(one, part) for one in known for part in sorted(one.came)]
        self._bring(*came[pick % len(came)])

    @rule(data=st.data())
    def break_a_rule(self, data: st.DataObject) -> None:
        """Octets come that are no bundle: nothing may come of them.  Raises `MachineFault`."""
        self._clock()
        adapt = partial(_adapted, now_ms=self.now_ms)
        nearly: Nearly = data.draw(nearly_bundles(rules=type(self).insists_on, adapt=adapt))
        self._in_contact(WEST)
        with contextlib.suppress(DecodeError):
            self.model.broken(identity(decode_bundle(nearly.valid)[0].primary))
        try:
            with self._step(f"broken: {nearly.violation.words}"):
                self.peer.receive(nearly.encoded, WEST, self.now_ms)
        except MachineFault as fault:
            clause, words = nearly.violation.clause, nearly.violation.words
            raise MachineFault(clause, f"taken with {words}: {fault}") from None

    @rule(neighbour=st.sampled_from([WEST, EAST]))
    def contact(self, neighbour: str) -> None:
        """A contact begins, or ends."""
        self._contact(neighbour)

    @precondition(lambda self: self.has_application)
    @rule()
    def register(self) -> None:
        """The application comes, or goes."""
        self.model.registered = active = not self.model.registered
        with self._step("registration" if active else "registration ends"):
            self.peer.register(active, self.now_ms)

    @precondition(lambda self: self.has_application)
    @rule(to=_TO, size=st.integers(0, 300), lifetime_ms=st.sampled_from([_HOUR_MS, 500]))
    def send(self, to: str, size: int, lifetime_ms: int) -> None:
        """The application sends."""
        primary = self._primary(to, 0, lifetime_ms, 0)
        payload = self._payload(size)
        bundle = Bundle(primary, (CanonicalBlock(1, 1, 0, payload),))
        one = KnownBundle(bundle, (b"",), to, ours=True)
        self.model.known.append(one)
        with self._step("is sent", one):
            self.model.comes(one)
            self.peer.send(to + SERVICE, payload, lifetime_ms, self.now_ms)

    @precondition(lambda self: self.restarts)
    @rule()
    def restart(self) -> None:
        """What was taken is there again."""
        with self._step("restart"):
            self.peer.restart(self.now_ms)

    @rule(ms=st.sampled_from([1, 400, 1_000, 6_000]))
    def wait(self, ms: int) -> None:
        """Time passes."""
        self._pass(ms)

    @rule()
    def be_patient(self) -> None:
        """Within its time the agent has done what it can."""
        self._patiently()

    def finish(self) -> None:
        """All contacts begin, the application is there: nothing is left undone."""
        for neighbour in (WEST, EAST):
            if not self.model.up[neighbour]:
                self._contact(neighbour)
        if type(self).has_application and not self.model.registered:
            self.register()
        self._patiently()
        if type(self).lasts_ms:
            self._pass(type(self).lasts_ms)
            self._patiently()
