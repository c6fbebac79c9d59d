"""Stores, routers, FECFRAME and BPSec in another process under their machines: nothing is found in
ours, and a fault of each is."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from interop.machines import (
    BpSecMachine,
    CommandBpSecAdapter,
    CommandFecAdapter,
    CommandRouterAdapter,
    CommandStoreAdapter,
    FecMachine,
    MachineFault,
    RouterPeerMachine,
    StoreMachine,
)
from interop.machines.channel import Fate, Order, Passage
from interop.machines.router import NODE, OTHERS
from stack.contacts.plan import Contact, Plan
from stack.fec.config import FecConfig
from stack.ports.store import Place

TO = OTHERS[0]
ROOT = Path(__file__).parents[3]


def command(kind: str, fault: str) -> str:
    words = ["env", f"PYTHONPATH={ROOT}", sys.executable]
    return shlex.join([*words, "-m", "tests.interop.machines.peer_process", kind, fault])


class TheirStore(StoreMachine):
    adapter = CommandStoreAdapter(command("store", ""))


class StoreThatForgets(StoreMachine):
    adapter = CommandStoreAdapter(command("store", "forgets"))


class TheirRouter(RouterPeerMachine):
    adapter = CommandRouterAdapter(command("router", ""))


class RouterThatBooksNothing(RouterPeerMachine):
    adapter = CommandRouterAdapter(command("router", "books nothing"))


class TheirBpSec(BpSecMachine):
    adapter = CommandBpSecAdapter(command("bpsec", ""))


class BpSecThatBelieves(BpSecMachine):
    adapter = CommandBpSecAdapter(command("bpsec", "believes"))


class TheirFec(FecMachine):
    adapter = CommandFecAdapter(command("fec", ""))
    copies_max = 2


class FecOfAnotherCode(FecMachine):
    adapter = CommandFecAdapter(command("fec", "code"))
    copies_max = 2


def day_of(kind: type[RouterPeerMachine]) -> None:
    """A contact is booked until it is full, fails, and leaves the plan."""
    first, second = (Contact(NODE, TO, start, start + 1000, 8e3) for start in (0, 5000))
    case = kind()
    try:
        case.start(plan=Plan([first, second]))
        case.ask(destination=OTHERS[1], size=1, priority=0)
        for _ in range(3):
            case.book(destination=TO, size=400, priority=1)
        case.give_back(pick=0)
        case.fail(pick=0)
        case.ask(destination=TO, size=100, priority=0)
        case.fail(pick=0)
        case.take_out(pick=1)
        case.book(destination=TO, size=100, priority=0)
        case.put_in(pick=0)
        case.ask(destination=TO, size=1000, priority=2)
    finally:
        case.teardown()


def test_our_router_is_right_in_a_process() -> None:
    day_of(TheirRouter)
    steps = {(step.state, step.what) for step in TheirRouter.coverage.taken}
    assert {("booked", "is given back"), ("failed", "comes back")} <= steps


def test_a_router_that_books_nothing_is_found() -> None:
    with pytest.raises(MachineFault, match=r"CCSDS 734\.3-B-1 §3\.2\.6"):
        day_of(RouterThatBooksNothing)


def flow_of(kind: type[FecMachine]) -> None:
    """Full and short blocks over a channel that loses, and a receiver that begins anew."""
    case = kind()
    try:
        case.start(config=FecConfig(k=3, r=2, adu_bytes_max=40), first_sbn=1000)
        case.send(sizes=[20, 30, 40])
        case.arrive(passage=Passage((Fate.LOST, Fate.ARRIVES), Order.SENT))
        case.memory_is_bounded()
        case.restart_receiver(really=True)
        case.send(sizes=[8])
        case.wait(milliseconds=60)
    finally:
        case.teardown()


def test_our_fecframe_is_right_in_a_process() -> None:
    flow_of(TheirFec)
    assert TheirFec.coverage.taken


def test_fecframe_with_another_code_is_found() -> None:
    with pytest.raises(MachineFault, match="RFC 6865 §8"):
        flow_of(FecOfAnotherCode)


def bundles_for(kind: type[BpSecMachine]) -> None:
    """Right ones, altered ones, such as break a rule, and other keys."""
    case = kind()
    try:
        case.start(seed=1)
        for seed in range(2, 6):
            case.valid(seed=seed, forged=seed % 2 == 0)
            case.nearly_valid(seed=seed)
        case.altered(pick=0, at=3, bit=1)
        case.stripped(pick=0, types=(11, 12))
        case.change_keys(ring="no")
        case.again(pick=0)
        case.change_keys(ring="right")
        case.again(pick=0)
    finally:
        case.teardown()


def test_our_acceptor_is_right_in_a_process() -> None:
    bundles_for(TheirBpSec)
    assert TheirBpSec.coverage.taken


def test_an_acceptor_that_believes_everything_is_found() -> None:
    with pytest.raises(MachineFault, match=r"RFC 917[23]"):
        bundles_for(BpSecThatBelieves)


def life_of(kind: type[StoreMachine]) -> None:
    """What a store holds outlives a kill, a commit that is cut off, and an end."""
    case = kind()
    try:
        case.start()
        case.fill(count=3, priority=1, place=Place.FORWARD, encoded=b"x" * 100, lifetime_ms=1000)
        case.what_was_acknowledged_is_there()
        case.crash_in_commit(count=2, place=Place.DELIVER, encoded=b"y", writes=[], release=True)
        case.what_was_acknowledged_is_there()
        case.crash()
        case.what_was_acknowledged_is_there()
        case.reopen()
        case.what_was_acknowledged_is_there()
        case.release_most(keep=set())
        case.expire_as_told()
        case.read(space="jobs", prefix="")
        case.what_was_acknowledged_is_there()
    finally:
        case.teardown()


def test_our_store_keeps_what_it_has_in_a_process_that_is_killed() -> None:
    life_of(TheirStore)
    steps = {(step.state, step.what) for step in TheirStore.coverage.taken}
    assert {("held", "crash"), ("held", "reopen"), ("held", "release")} <= steps


def test_a_store_that_keeps_nothing_on_disk_is_found() -> None:
    with pytest.raises(MachineFault, match=r"BundleStore\.(commit|scan)"):
        life_of(StoreThatForgets)
