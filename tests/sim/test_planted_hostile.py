"""Old faults, planted again: the hostile neighbour and the backup find each of them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from stack.core.errors import DecodeError
from stack.core.sansio import Entropy
from stack.core.train import Buffer
from stack.engines.bundle_agent.content import ContentDigest
from stack.engines.ltp import LtpConfig, accepted, import_session
from stack.engines.ltp.accepted import Checker
from stack.engines.ltp.authentication import Authenticator
from stack.engines.ltp.ciphersuites import AuthKey, Checks
from stack.engines.ltp.import_session import ImportSession
from stack.engines.ltp.trains import Octets
from stack.simulator.swarm import Fault, Options, draw, faults, run
from stack.simulator.swarm.hostile import Intruder
from stack.wire.ltp import CancelSegment, decode_segment, encode_segment
from tests.sim.days import small

Plant = Callable[[pytest.MonkeyPatch], None]
SEEDS = 40


def knows_bundles_by_their_identity(patch: pytest.MonkeyPatch) -> None:
    """Who came first under an identity was the bundle: a forgery, and the genuine one was
    acknowledged as a duplicate."""
    patch.setattr(ContentDigest, "whole", lambda self, *args: bytes(16))
    patch.setattr(ContentDigest, "payload", lambda self, *args: bytes(16))


def repeats_sequence_numbers(patch: pytest.MonkeyPatch) -> None:
    """A node without a clock that was set back began again with numbers that it had used."""
    knows_bundles_by_their_identity(patch)
    # By name: the package has a function that is called like the module.
    patch.setattr(
        sys.modules["stack.engines.bundle_agent.begin"], "_random", lambda entropy, size: 1
    )


def hostile(options: Options, mode: str) -> Options:
    """Somebody of one mode on every link, both ways, from the beginning."""
    struck = tuple(
        Fault(kind=faults.HOSTILE, node=a, peer=b, at_s=0, for_s=options.faults_s, mode=mode)
        for link in options.links
        for a, b in ((link.a, link.b), (link.b, link.a))
    )
    return replace(options, protect=True, faults=struck)


def guessed(options: Options) -> Options:
    """Nodes without clocks, whose next identities can be guessed, and somebody who does."""
    return replace(hostile(options, "bundles"), clockless=options.nodes)


def set_back(options: Options) -> Options:
    """Every node without a clock, and the one that sends most set back to when it had sent nothing:
    the others remember what it sent since."""
    (most, _), *_ = Counter(one.source for one in options.messages).most_common(1)
    fault = Fault(kind=faults.BACKUP, node=most, at_s=1.0, for_s=options.faults_s / 2)
    return replace(options, clockless=options.nodes, faults=(fault,))


def believes_everybody(patch: pytest.MonkeyPatch) -> None:
    """No authentication: one report without a checkpoint serial number made a sender forget a
    bundle that nobody had."""
    patch.setattr(Authenticator, "sign", lambda self, train: train)
    patch.setattr(Authenticator, "verify", lambda self, train: [train])


def lets_strangers_cancel(patch: pytest.MonkeyPatch) -> None:
    """Cancellations were taken on a link with authentication, signed or not."""
    real = Authenticator._segments

    def segments(self: Authenticator, datagram: memoryview) -> list[bytes]:
        try:
            segment, _ = decode_segment(datagram)
        except DecodeError:
            return real(self, datagram)
        if not isinstance(segment, CancelSegment):
            return real(self, datagram)
        return [encode_segment(replace(segment, header=(), trailer=()))]

    patch.setattr(Authenticator, "_segments", segments)


def begins_again_with_its_old_salt(patch: pytest.MonkeyPatch) -> None:
    """A signer drew no salt of its own at each start, and counted from 0 with the old one."""
    real = Authenticator.__init__

    def begin(
        self: Authenticator, sending: AuthKey, accepting: Sequence[AuthKey], entropy: Entropy
    ) -> None:
        real(self, sending, accepting, lambda count: sending.id.ljust(count, b"-")[:count])

    patch.setattr(Authenticator, "__init__", begin)


def takes_a_count_and_tag_that_came_before(patch: pytest.MonkeyPatch) -> None:
    """A verifier took an authentication value for a segment's that it had seen with another."""
    real = accepted._checker

    def checker(key: AuthKey, salt: bytes) -> Checker:
        made, seen = real(key, salt), set[bytes]()
        genuine = made.checks

        def one(signed: Buffer, value: Buffer) -> bool:
            if not genuine.one(signed, value):
                return bytes(value) in seen
            seen.add(bytes(value))
            return True

        def run(signed: Octets, values: Octets) -> bool:
            pairs = zip(signed, values, strict=True)
            return all([one(data.tobytes(), value.tobytes()) for data, value in pairs])

        return made._replace(checks=Checks(one, run))

    patch.setattr(accepted, "_checker", checker)


def lets_itself_be_combed(patch: pytest.MonkeyPatch) -> None:
    """Every gap that a peer made was reported, as often as he asked."""
    real = LtpConfig.__post_init__

    def boundless(self: LtpConfig) -> None:
        real(self)
        object.__setattr__(self, "gaps_max", 10**9)

    patch.setattr(LtpConfig, "__post_init__", boundless)
    patch.setattr(ImportSession, "combed", property(lambda self: False))
    patch.setattr(import_session, "SEGMENTS_PER_ANSWER", 1 << 20)


def combed(options: Options) -> Options:
    """Somebody combs a link."""
    fault = Fault(kind=faults.HOSTILE, node="gs1", peer="sat1", at_s=0, for_s=3000, mode="comb")
    return small(fault, seed=options.seed)


def controlled(options: Options) -> Options:
    """Somebody answers for both ends of every link, and the links have authentication."""
    return replace(hostile(options, "control"), authenticate=True, fec=False)


def restarted(options: Options) -> Options:
    """Every node is started anew in between, and the links have authentication."""
    struck = tuple(
        Fault(kind=faults.RESTART, node=node, at_s=round(options.faults_s * part / 4, 3))
        for node in options.nodes
        for part in (1, 2, 3)
    )
    return replace(options, protect=True, authenticate=True, fec=False, faults=struck)


PLANTED: list[tuple[Plant, str, Callable[[Options], Options]]] = [
    (believes_everybody, "lost", controlled),
    (believes_everybody, "forged", controlled),
    (lets_strangers_cancel, "forged", controlled),
    (takes_a_count_and_tag_that_came_before, "forged", controlled),
    (begins_again_with_its_old_salt, "nonces", restarted),
    (lets_itself_be_combed, "work", combed),
    (knows_bundles_by_their_identity, "lost", guessed),
    (repeats_sequence_numbers, "lost", set_back),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "invariant", "struck"),
    PLANTED,
    ids=[f"{one[0].__name__}-{one[1]}" for one in PLANTED],
)
def test_it_is_found(
    plant: Plant,
    invariant: str,
    struck: Callable[[Options], Options],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    found: set[Any] = set()
    for seed in range(SEEDS):
        found |= {one.invariant for one in run(struck(draw(seed, kinds=()))).problems}
        if invariant in found:
            return
    pytest.fail(f"{SEEDS} days have only shown {found}")


@pytest.mark.slow
def test_the_intruder_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same days without what he sends show nothing."""
    knows_bundles_by_their_identity(monkeypatch)
    monkeypatch.setattr(Intruder, "strike", lambda self, now_s: [])
    for seed in range(3):
        outcome = run(hostile(draw(seed, kinds=()), "bundles"))
        assert outcome.ok, outcome.problems


@pytest.mark.slow
def test_without_authentication_the_same_is_lost() -> None:
    """What `docs/trust.md` says of a link without it: the sender lets go of what nobody has."""
    found: set[str] = set()
    for seed in range(SEEDS):
        options = replace(controlled(draw(seed, kinds=())), authenticate=False)
        found |= {one.invariant for one in run(options).problems}
        if {"custody", "lost"} <= found:
            return
    pytest.fail(f"{SEEDS} days have only shown {found}")
