"""Stores, routers, FECFRAME, BPSec, services and shares of a store in another process under their
machines: nothing is found in ours, and a fault of each is."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from interop.machines import (
    BpSecMachine,
    CommandBpSecAdapter,
    CommandFecAdapter,
    CommandFilesAdapter,
    CommandJobsAdapter,
    CommandRouterAdapter,
    CommandSharesAdapter,
    CommandStoreAdapter,
    FecMachine,
    FilesMachine,
    JobsMachine,
    MachineFault,
    RouterPeerMachine,
    SharesMachine,
    StoreMachine,
)
from interop.machines.channel import WELL, Fate, Order, Passage
from interop.machines.router import NODE, OTHERS
from interop.machines.shares import NEIGHBOURS, ON
from stack.contacts.plan import Contact, Plan
from stack.fec.config import FecConfig
from stack.ports.store import Place

pytestmark = pytest.mark.slow

TO = OTHERS[0]
ROOT = Path(__file__).parents[3]
TIMEOUT_S = 120.0
"""A process that is alive answers within it, whatever else the machine does."""


def command(kind: str, fault: str) -> str:
    words = ["env", f"PYTHONPATH={ROOT}", sys.executable]
    return shlex.join([*words, "-m", "tests.interop.machines.peer_process", kind, fault])


class TheirStore(StoreMachine):
    adapter = CommandStoreAdapter(command("store", ""), TIMEOUT_S)


class StoreThatForgets(StoreMachine):
    adapter = CommandStoreAdapter(command("store", "forgets"), TIMEOUT_S)


class TheirRouter(RouterPeerMachine):
    adapter = CommandRouterAdapter(command("router", ""), TIMEOUT_S)


class RouterThatBooksNothing(RouterPeerMachine):
    adapter = CommandRouterAdapter(command("router", "books nothing"), TIMEOUT_S)


class TheirBpSec(BpSecMachine):
    adapter = CommandBpSecAdapter(command("bpsec", ""), TIMEOUT_S)


class BpSecThatBelieves(BpSecMachine):
    adapter = CommandBpSecAdapter(command("bpsec", "believes"), TIMEOUT_S)


class TheirFec(FecMachine):
    adapter = CommandFecAdapter(command("fec", ""), TIMEOUT_S)
    copies_max = 2


class FecOfAnotherCode(FecMachine):
    adapter = CommandFecAdapter(command("fec", "code"), TIMEOUT_S)
    copies_max = 2


class TheirFiles(FilesMachine):
    adapter = CommandFilesAdapter(command("files", ""), TIMEOUT_S)


class FilesThatForget(FilesMachine):
    adapter = CommandFilesAdapter(command("files", "forgets"), TIMEOUT_S)


class TheirJobs(JobsMachine):
    adapter = CommandJobsAdapter(command("jobs", ""), TIMEOUT_S)


class JobsThatForget(JobsMachine):
    adapter = CommandJobsAdapter(command("jobs", "forgets"), TIMEOUT_S)


class TheirShares(SharesMachine):
    adapter = CommandSharesAdapter(command("shares", ""), TIMEOUT_S)
    part_bytes = 6_000


class SharesThatKeepNothing(SharesMachine):
    adapter = CommandSharesAdapter(command("shares", "keeps nothing"), TIMEOUT_S)
    part_bytes = 6_000


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


@pytest.mark.slow
def test_our_store_keeps_what_it_has_in_a_process_that_is_killed() -> None:
    life_of(TheirStore)
    steps = {(step.state, step.what) for step in TheirStore.coverage.taken}
    assert {("held", "crash"), ("held", "reopen"), ("held", "release")} <= steps


def test_a_store_that_keeps_nothing_on_disk_is_found() -> None:
    with pytest.raises(MachineFault, match=r"BundleStore\.(commit|scan)"):
        life_of(StoreThatForgets)


def files_of(kind: type[FilesMachine]) -> None:
    """A file each way; either end is killed before it is there; one is given up."""
    case = kind()
    try:
        case.start()
        case.send(end=0, size=900)
        case.send(end=1, size=257)
        case.send(end=0, size=1)
        case.cancel(pick=2, really=True)
        case.carry(end=1, passage=Passage((Fate.LOST, Fate.ARRIVES), Order.SENT))
        case.look()
        case.restart(end=0, really=True)
        case.look()
        case.carry(end=0, passage=WELL)
        case.restart(end=1, really=True)
        case.look()
    finally:
        case.teardown()


@pytest.mark.slow
def test_our_file_service_is_right_in_a_process_that_is_killed() -> None:
    files_of(TheirFiles)
    assert {step.after for step in TheirFiles.coverage.taken} == {"open", "delivered", "cancelled"}


def test_a_file_service_that_keeps_nothing_on_disk_is_found() -> None:
    with pytest.raises(MachineFault, match="states: a file is forgotten that is not over"):
        files_of(FilesThatForget)


def jobs_of(kind: type[JobsMachine]) -> None:
    """A job that runs, is cut off by a kill, and runs again."""
    case = kind()
    try:
        case.start()
        case.submit(size=256)
        case.carry(end=1, passage=WELL)
        case.wait(seconds=1)
        case.restart(end=1, really=True)
        case.look()
    finally:
        case.teardown()


def test_our_job_service_is_right_in_a_process_that_is_killed() -> None:
    jobs_of(TheirJobs)
    assert "finished" in {step.after for step in TheirJobs.coverage.taken}


@pytest.mark.slow
def test_a_job_service_that_keeps_nothing_on_disk_is_found() -> None:
    with pytest.raises(MachineFault, match=r"at the end: job .* stays so"):
        jobs_of(JobsThatForget)


def share(kind: type[SharesMachine]) -> None:
    """One neighbour floods it, then others come; what is held outlives a kill."""
    case = kind()
    try:
        case.start()
        case.sends(octets=100)
        case.floods(neighbour=NEIGHBOURS[0], leads=ON, octets=2_000, count=20)
        case.what_is_kept_is_there()
        case.fail(pick=1)
        case.restart()
        case.leave(count=5)
        case.comes(neighbour=NEIGHBOURS[1], leads=ON, octets=3_000, lifetime_ms=20_000)
        case.wait(milliseconds=30_000)
        case.what_is_kept_is_there()
    finally:
        case.teardown()


@pytest.mark.slow
def test_our_store_is_shared_in_a_process_that_is_killed() -> None:
    share(TheirShares)
    assert {step.after for step in TheirShares.coverage.taken} == {"admitted", "refused"}


def test_a_store_that_keeps_nothing_for_others_is_found() -> None:
    with pytest.raises(MachineFault, match="books: no room is left for others"):
        share(SharesThatKeepNothing)
