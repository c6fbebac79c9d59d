"""Every invariant catches a bug that is planted for it: an alarm that never rings is no alarm."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from link_models.channel import Channel
from stack.adapters.runner import Runner
from stack.core.train import Train
from stack.engines.bundle_agent import BundleAgent
from stack.engines.bundle_agent.admission import Admission
from stack.engines.ltp import BlockReceived, LtpEngine
from stack.node.application import LocalPort
from stack.node.driver import BundleDriver, Outlet
from stack.node.link import Link
from stack.ports.application import Delivery
from stack.ports.store import Op, Place, Put
from stack.routing.forwarder import Forwarder
from stack.security.bpsec import BpSec
from stack.simulator.swarm import Fault, Options, RunOutcome, draw, faults, run
from stack.simulator.swarm.agents import run_agents
from stack.simulator.swarm.engines import PairRun, draw_pair
from stack.storage.memory import MemoryStore
from stack.wire.bundle import Bundle
from tests.sim.days import small


def broken(outcome: RunOutcome) -> set[str]:
    return {problem.invariant for problem in outcome.problems}


def acknowledges_without_storing(patch: pytest.MonkeyPatch) -> None:
    def block(self: Link, event: BlockReceived) -> None:
        self.engine.accept(event.session)
        self._runner.wake()

    patch.setattr(Link, "_block", block)


def forgets_what_was_acknowledged(patch: pytest.MonkeyPatch) -> None:
    real = MemoryStore.commit

    def commit(self: MemoryStore, ops: list[Op], now_ms: int) -> Any:
        outcome = real(self, ops, now_ms)
        for ref in outcome.refs:
            self._drop(ref)
        return outcome

    patch.setattr(MemoryStore, "commit", commit)


def delivers_twice(patch: pytest.MonkeyPatch) -> None:
    real = LocalPort.take

    def take(self: LocalPort, service: str, limit: int) -> list[Delivery]:
        found = real(self, service, limit)
        return found + found if service == "swarm" else found

    patch.setattr(LocalPort, "take", take)


def alters_what_it_delivers(patch: pytest.MonkeyPatch) -> None:
    real = BundleAgent.open

    def opened(self: BundleAgent, *args: Any, **options: Any) -> Delivery | None:
        delivery = real(self, *args, **options)
        if delivery is None or delivery.destination.service != "swarm":
            return delivery
        return dataclasses.replace(delivery, payload=bytes(delivery.payload)[:-1] + b"?")

    patch.setattr(BundleAgent, "open", opened)


def delivers_on_the_way(patch: pytest.MonkeyPatch) -> None:
    real = Admission.put

    def admitted(self: Admission, bundle: Bundle, *args: Any, **options: Any) -> Put:
        put = real(self, bundle, *args, **options)
        if put.destination.endswith("/swarm"):
            put = put._replace(place=Place.DELIVER, known=bundle)
        return put

    patch.setattr(Admission, "put", admitted)


def does_not_encrypt(patch: pytest.MonkeyPatch) -> None:
    def protect(self: BpSec, bundle: Bundle) -> Bundle:
        return bundle

    patch.setattr(BpSec, "protect", protect)


def minds_no_quota(patch: pytest.MonkeyPatch) -> None:
    def lacks(self: MemoryStore, octets: int, bundles: int) -> bool:
        return False

    def check_room(self: MemoryStore, *args: Any) -> None:
        """There is always room."""

    patch.setattr(MemoryStore, "_lacks", lacks)
    patch.setattr(MemoryStore, "_check_room", check_room)


def loses_count_of_datagrams(patch: pytest.MonkeyPatch) -> None:
    real = Channel.send

    def send(self: Channel, train: Train, now_ns: int) -> Any:
        return real(self, train, now_ns)[1:]

    patch.setattr(Channel, "send", send)


def keeps_what_it_has_sent(patch: pytest.MonkeyPatch) -> None:
    def take_ops(self: BundleAgent) -> list[Op]:
        self._ops.clear()
        return []

    patch.setattr(BundleAgent, "take_ops", take_ops)


def raises_now_and_then(patch: pytest.MonkeyPatch) -> None:
    real = BundleDriver.send

    def send(self: BundleDriver, neighbour: str, outlet: Outlet, now: int) -> None:
        real(self, neighbour, outlet, now)
        raise RuntimeError("planted")

    patch.setattr(BundleDriver, "send", send)


def leaks_timers(patch: pytest.MonkeyPatch) -> None:
    real = Runner._arm

    def arm(self: Runner, now: int) -> None:
        for _ in range(20):
            self._loop.call_later(1e6, print)
        real(self, now)

    patch.setattr(Runner, "_arm", arm)


def sets_no_timer(patch: pytest.MonkeyPatch) -> None:
    def arm(self: Runner, now: int) -> None:
        """Nothing."""

    patch.setattr(Runner, "_arm", arm)


def does_not_stop(patch: pytest.MonkeyPatch) -> None:
    async def close(self: Link) -> None:
        await asyncio.Event().wait()

    patch.setattr(Link, "close", close)


ALWAYS = tuple(dataclasses.replace(link, always=True) for link in small().links)
LOSS = Fault(kind=faults.LOSS, node="gs1", peer="sat1", at_s=0.0, for_s=3600.0, amount=0.7)
RESTART = Fault(kind=faults.RESTART, node="gs1", at_s=500.0)

PLANTED: list[tuple[Callable[[pytest.MonkeyPatch], None], str, Options]] = [
    (acknowledges_without_storing, "custody", small()),
    (acknowledges_without_storing, "lost", small()),
    (forgets_what_was_acknowledged, "lost", small(RESTART)),
    (delivers_twice, "twice", small()),
    (alters_what_it_delivers, "altered", small()),
    (delivers_on_the_way, "misdelivered", small()),
    (does_not_encrypt, "clear", small()),
    (minds_no_quota, "quota", small(quota_bytes=3000)),
    (loses_count_of_datagrams, "unaccounted", small()),
    (keeps_what_it_has_sent, "unaccounted", small()),
    (raises_now_and_then, "error", small()),
    (leaks_timers, "timers", small()),
    (sets_no_timer, "timers", small(LOSS, links=ALWAYS)),
    (does_not_stop, "stuck", small()),
]


@pytest.mark.parametrize(
    ("plant", "invariant", "options"), PLANTED, ids=[f"{p[0].__name__}-{p[1]}" for p in PLANTED]
)
def test_a_planted_bug_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None],
    invariant: str,
    options: Options,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    assert invariant in broken(run(options))


@pytest.mark.slow
def test_without_it_the_same_days_are_quiet() -> None:
    for options in {options.dumps(): options for _, _, options in PLANTED}.values():
        assert not broken(run(options)) - {"lost"}, "a store of 3000 octets refuses the file"


# ---- engines -----------------------------------------------------------------------------------


class Hasty(LtpEngine):
    """Lets the peer believe that everything has arrived."""

    __slots__ = ()

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, BlockReceived):
            self.accept(event.session)
            return super().next_event()
        return event


class Careless(LtpEngine):
    """Hands over what is damaged."""

    __slots__ = ()

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, BlockReceived):
            wrong = bytearray(event.data)
            wrong[-1] ^= 1
            return dataclasses.replace(event, data=memoryview(wrong))
        return event


class Repeating(LtpEngine):
    """Hands over each block twice."""

    __slots__ = ("_again",)

    def next_event(self) -> Any:
        again, self._again = getattr(self, "_again", None), None
        event = again if again is not None else super().next_event()
        if again is None and isinstance(event, BlockReceived):
            self._again = event
        return event


class Sluggish(LtpEngine):
    """Forgets its timers."""

    __slots__ = ()

    def handle_deadline(self, now: int) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("engine", "invariant"),
    [(Hasty, "custody"), (Careless, "altered"), (Repeating, "twice"), (Sluggish, "stuck")],
)
def test_a_planted_bug_of_an_engine_is_caught(engine: type[LtpEngine], invariant: str) -> None:
    for seed in range(40):
        if invariant in broken(PairRun(draw_pair(seed), make_engine=engine).run()):
            return
    pytest.fail("40 seeds have not shown it")


def forgets_echoes(patch: pytest.MonkeyPatch) -> None:
    def echoed(self: BundleAgent, ref: int, neighbour: str) -> None:
        """Nothing."""

    patch.setattr(BundleAgent, "echoed", echoed)


def knows_no_duplicates(patch: pytest.MonkeyPatch) -> None:
    def duplicate(self: MemoryStore, *args: Any) -> bool:
        return False

    patch.setattr(MemoryStore, "_duplicate", duplicate)


def forgets_what_failed(patch: pytest.MonkeyPatch) -> None:
    def returned(self: Forwarder, refs: Any, neighbour: str = "") -> None:
        """Nothing."""

    patch.setattr(Forwarder, "returned", returned)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "invariant", "first"),
    [
        (forgets_echoes, "lost", 410),
        (knows_no_duplicates, "twice", 0),
        (forgets_what_failed, "lost", 0),
        (alters_what_it_delivers, "altered", 0),
    ],
)
def test_a_planted_bug_of_agents_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None],
    invariant: str,
    first: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    for seed in range(first, first + 60):
        if invariant in broken(run_agents(seed)):
            return
    pytest.fail("60 seeds have not shown it")


@pytest.mark.slow
def test_a_bug_is_found_in_drawn_days_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not recognise duplicates, which only faults bring about."""
    knows_no_duplicates(monkeypatch)
    kinds = (faults.RESTART, faults.COMMIT, faults.ZOMBIE, faults.MUTE)
    found = set()
    for seed in (20, *range(40)):
        found |= broken(run(dataclasses.replace(draw(seed, kinds=kinds), store="memory")))
        if "twice" in found:
            return
    pytest.fail(f"40 days with restarts have only shown {found}")


def test_the_driver_holds_a_cache_that_can_be_struck() -> None:
    """`inject` reaches into it, so it must be noticed when it goes."""
    fault = Fault(kind=faults.FLIP_MEMORY, node="gs1", at_s=500.0)
    assert run(small(fault)).faults == {faults.FLIP_MEMORY: 1}
