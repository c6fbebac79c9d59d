"""One bundle never stops another: what fails for one of many is confined to that one."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from link_models.channel import ChannelConfig, Delay, Window, always_up
from link_models.clock import VirtualLoop, run_virtual
from stack.contacts.plan import Contact, Plan
from stack.core.clock import MILLISECOND, SECOND
from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError, StoreError
from stack.core.sansio import no_trace
from stack.engines.bundle_agent import (
    AuditTrail,
    BundleAgent,
    Echo,
    Entry,
    admission,
    agent,
    blocks,
    custody,
    dispatch,
    entry,
    ingress,
    parts,
    reception,
    trail,
)
from stack.engines.bundle_agent.admission import Admission
from stack.engines.bundle_agent.blocks import BlockReader, Refused
from stack.engines.bundle_agent.custody import Custody
from stack.engines.bundle_agent.dispatch import Dispatch
from stack.engines.bundle_agent.events import TooLarge
from stack.engines.bundle_agent.ingress import Arrival, Ingress, Taken
from stack.engines.bundle_agent.parts import Parts
from stack.engines.bundle_agent.reassembly import FragmentLedger
from stack.engines.bundle_agent.reception import Receiving
from stack.engines.bundle_agent.reports import StatusReporter
from stack.node.config import AuditConfig
from stack.node.driver import BundleDriver
from stack.node.node import Node
from stack.policy import DataPolicy, Marking
from stack.policy.label import policy_block
from stack.ports.application import CRITICAL_PRIORITY, Outgoing
from stack.ports.security import Opened
from stack.ports.store import Move, Op, Place, Put, Release, Stored
from stack.routing.bookings import Bookings
from stack.routing.forwarder import Forwarder
from stack.routing.queue import Queued
from stack.services.messages import Mailbox
from stack.storage.config import StoreConfig
from stack.storage.memory import MemoryStore
from stack.storage.sqlite import SqliteStore
from stack.wire.bundle import (
    DELETE_UNPROCESSED,
    HOP_COUNT,
    REPORT_ANY,
    REPORT_DELETION,
    REPORT_UNPROCESSED,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    ReportReason,
    StatusReport,
    bundle_age,
    decode_admin,
    decode_bundle,
    encode_bundle,
    fragment_bundle,
)
from tests.node.world import EPOCH_MS, World

NAMES = ("gs1", "sat1", "gs2")
FAR = Eid.parse("dtn://gs2/messages")
MARK = b"the chosen one "
AGE_MAX = (1 << 64) - 1


def loop() -> VirtualLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


def relay(
    root: Path,
    *,
    rate_bps: float = 2e6,
    store: str = "memory",
    reports: bool = False,
    scheduled: bool = False,
    windows: tuple[Window, ...] = always_up(10e6),
    extra: Sequence[Contact] = (),
    **ltp: Any,
) -> list[Node]:
    """gs1 -> sat1 -> gs2, all links up for ever, as far as nodes know; the relay makes fragments
    of what is large."""
    world = World(loop(), root, protect=False, store=store)
    end_ms = EPOCH_MS + 10**9
    hops = (("gs1", "sat1"), ("sat1", "gs2"))
    plan = Plan(
        [
            Contact(f"dtn://{one}/", f"dtn://{other}/", 0, end_ms, rate_bps)
            for a, b in hops
            for one, other in ((a, b), (b, a))
        ]
        + [*extra]
    )
    for a, b in hops:
        world.connect(a, b, ChannelConfig(windows=windows, delay=Delay.constant(5 * MILLISECOND)))
    nodes = []
    for number, name in enumerate(NAMES):
        links = [
            world.link(
                one, other, rate_bps=rate_bps, owlt_ms=5.0, scheduled=scheduled, ltp=dict(ltp)
            )
            for a, b in hops
            for one, other in ((a, b), (b, a))
            if one == name
        ]
        options = {"fragment_bytes": 700 if name == "sat1" else 0, "status_reports": reports}
        node = world.node(name, links, plan=plan, agent=options, audit=AuditConfig(events="all"))
        nodes.append(node)
        if store == "memory":
            start_refs(node, 1000 * number + 1)
    return nodes


def start_refs(node: Node, first: int) -> None:
    """Refs that no other node has, so that a bundle's ref tells whose it is."""

    store = MemoryStore(1 << 26)
    store._next_ref = first

    def open_store(*_: object) -> MemoryStore:
        return store  # also after a restart

    object.__setattr__(node._environment, "open_store", open_store)


async def send(node: Node, payloads: list[bytes], **options: Any) -> None:
    """Acknowledged to the application when this returns."""
    wanted: dict[str, Any] = {
        "destination": FAR,
        "lifetime_ms": 3_600_000,
        "service": "messages",
        "report_flags": REPORT_ANY,
    } | options
    await node.port.commit(send=[Outgoing(payload=payload, **wanted) for payload in payloads])


async def gather(mailbox: Mailbox, wanted: set[bytes], within_s: float) -> set[bytes]:
    """What arrives until all that is wanted has, or no more does."""
    got: set[bytes] = set()

    async def collect() -> None:
        while not wanted <= got:
            delivery = await mailbox.receive()
            got.add(bytes(delivery.payload))
            await mailbox.done(delivery)

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(collect(), within_s)
    return got


# ---- what attackers and traffic do -------------------------------------------------------------


def old(age_ms: int, lifetime_ms: int, payload: bytes = MARK) -> bytes:
    """A bundle from nowhere that claims an age."""
    primary = PrimaryBlock(FAR, Eid.parse("dtn://evil/x"), Eid.NONE, EPOCH_MS, 1, lifetime_ms, 0, 2)
    return encode_bundle(Bundle(primary, (bundle_age(age_ms), CanonicalBlock(1, 1, 0, payload, 2))))


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@pytest.mark.parametrize("slack", [0, 1, 10_000])
def test_an_age_without_end_stops_nobody(tmp_path: Path, store: str, slack: int) -> None:
    """The age that a bundle claims is near 2^64, and its lifetime beyond."""

    async def main() -> None:
        ground, satellite, far = relay(tmp_path, store=store)
        honest = {b"honest %d" % number for number in range(20)}
        async with ground, satellite, far, Mailbox(far.port) as mailbox:
            for lifetime_ms in (AGE_MAX, 3_600_000):
                data = old(AGE_MAX - slack, lifetime_ms)
                put = satellite._agent.receive(data, satellite.port.dtn_ms(), 0, "dtn://gs1/").put
                if put is not None:
                    waited = put._replace(received_ms=put.received_ms - 100)
                    satellite._driver.submit([waited])
            await send(ground, sorted(honest))
            got = await gather(mailbox, honest, 60)
            assert honest <= got
            assert satellite.counters()["bundles.dropped_expired_on_arrival"] >= 1
            assert not told([satellite, far]), "an age that cannot grow is no reason to fail"

    run_virtual(main)


@pytest.mark.slow
def test_all_that_is_acknowledged_arrives_through_a_small_queue(tmp_path: Path) -> None:
    """What departs is longer than what was stored, and LTP has room for less than was taken."""

    async def main() -> None:
        ground, satellite, far = relay(tmp_path, queue_bytes=100_000)
        wanted = {b"%d" % number + bytes(1 + 97 * number % 300) for number in range(3000)}
        async with ground, satellite, far, Mailbox(far.port) as mailbox:
            for start in range(0, 3000, 500):
                await send(ground, sorted(wanted)[start : start + 500])
            assert await gather(mailbox, wanted, 600) == wanted
            await asyncio.sleep(5)  # the last acknowledgements
            for node in (ground, satellite):
                assert not node._agent.forwarder._given
                assert node._agent.forwarder.bytes_waiting == 0

    run_virtual(main)


@pytest.mark.parametrize("queue_bytes", [1, 300, 1500, 6000])
def test_a_queue_of_any_size_serves(tmp_path: Path, queue_bytes: int) -> None:
    async def main() -> None:
        ground, satellite, far = relay(tmp_path, queue_bytes=queue_bytes)
        wanted = {b"%d" % number + bytes(200) for number in range(60)}
        async with ground, satellite, far, Mailbox(far.port) as mailbox:
            await send(ground, sorted(wanted))
            assert await gather(mailbox, wanted, 600) == wanted

    run_virtual(main)


def test_what_a_link_cannot_carry_goes_in_parts(tmp_path: Path) -> None:
    async def main() -> None:
        ground, satellite, far = relay(tmp_path, block_bytes_max=5000, block_bytes=4000)
        wanted = {b"%d" % number + bytes(6000) for number in range(3)} | {b"small"}
        async with ground, satellite, far, Mailbox(far.port) as mailbox:
            await send(ground, sorted(wanted))
            assert await gather(mailbox, wanted, 60) == wanted

    run_virtual(main)


# ---- quarantine --------------------------------------------------------------------------------


def fails_for_the_chosen(patch: pytest.MonkeyPatch) -> None:
    real = BundleAgent.departing

    def departing(self: BundleAgent, held: Entry, encoded: Any, now_ms: int) -> Any:
        if MARK in bytes(encoded) and held.destination == str(FAR):
            raise ValueError("planted")
        return real(self, held, encoded, now_ms)

    patch.setattr(BundleAgent, "departing", departing)


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_what_cannot_be_worked_on_is_kept_for_the_operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    fails_for_the_chosen(monkeypatch)

    async def main() -> None:
        ground, satellite, far = relay(tmp_path, store=store, reports=True)
        async with ground, satellite, far:
            reports = ground.port.register("inbox")
            outgoing = Outgoing(
                FAR,
                MARK,
                60_000,
                "inbox",
                report_to=Eid.parse("dtn://gs1/inbox"),
                report_flags=REPORT_DELETION,
            )
            monkeypatch.setattr(ground._agent, "departing", lambda held, encoded, now_ms: encoded)
            await ground.port.commit(send=[outgoing])
            await asyncio.sleep(5)
            (held,) = satellite.quarantined()
            assert held.note == b"ValueError: planted"
            assert (held.source, held.destination) == ("dtn://gs1/inbox", str(FAR))
            assert MARK in (satellite.octets(held.ref) or b"")
            record = decode_admin(bytes((await reports.receive()).payload))
            assert isinstance(record, StatusReport)
            assert (record.deleted, record.reason) == (True, ReportReason.BLOCK_UNINTELLIGIBLE)
            assert satellite.counters()["bundles.quarantined"] == 1
        if store == "sqlite":
            *_, satellite, far = relay(tmp_path, store=store)[-2:]
        async with satellite:
            if store == "sqlite":
                (again,) = satellite.quarantined()
                assert (again.note, again.ref) == (held.note, held.ref)
                assert not satellite._agent.forwarder.bundles_waiting
            await asyncio.sleep(70)
            assert not satellite.quarantined()
            assert satellite.gauges()["store.bundles"] == 0

    run_virtual(main)


@pytest.mark.parametrize("kind", [MemoryStore, SqliteStore])
def test_quarantine_is_the_first_to_make_room(tmp_path: Path, kind: Any) -> None:
    store = MemoryStore(1000) if kind is MemoryStore else SqliteStore(tmp_path, small())
    puts = [
        Put(b"%016d" % n, bytes(400), Place.FORWARD, "dtn://a/", "dtn://b/", n, 1 << 40, 0)
        for n in (0, 2)
    ]
    low, high = store.commit(puts, 0).refs
    store.commit([Move(high, Place.QUARANTINE, b"why")], 0)
    bulk = puts[0]._replace(key=b"another" + bytes(9))
    outcome = store.commit([bulk], 0)
    assert outcome.refs[0] > 0
    assert outcome.evicted == [high], "though its priority was the highest"
    assert store.load([low]) != [None]
    store.close()


def small() -> StoreConfig:
    """Room for two bundles of the test above."""
    return StoreConfig(quota_bytes=1000)


# ---- an exception planted at every call that handles one bundle of many -------------------------

OURS = (DecodeError("planted", "nowhere"), LocalError("planted"))
"""Errors that some callers expect from some calls."""

OTHERS = (ValueError("planted"), StoreError("planted"))
"""What nobody expects, and what says nothing against a bundle.  Each call raises one of ours and
one of these, in turns of which all four pairs come."""

SERVICE = "chosen"
"""The chosen bundles come from here: so their sources, notes and octets tell them, also when their
payload is not at hand."""

LEFT_OUT = {
    "send": "an application's own transaction, which is told",
    "check_sending": "as send",
    "consumed": "as send",
    "cut": "as send",
    "cancel": "an operator's own command, who is told; what it does to each part confines itself",
    "is_of": "as cancel",
    "set_aside": "what a failure ends in",
    "end_of": "what a failure ends in",
    "quarantined": "what a failure ends in",
    "Receiving.read": "this confines",
    "Receiving._permitted": "is asked only where another has failed already",
    "receive": "this confines",
    "fail": "this confines",
    "quarantine": "this confines",
    "_set_aside": "this confines",
    "damaged": "needs a disk: `test_upsets.py`; its driver confines it",
    "postpone": "this confines",
    "_gone": "this confines",
    "_failed": "this confines",
    "_try": "this confines",
    "_end": "this confines",
    "_reread": "this confines",
    "_trouble": "this confines",
    "_lost": "this confines: it asks `Custody.lost`",
    "lost": "this confines: it is the `_end` of `_deleted`",
    "_drop": "book-keeping of the store",
    "_proved": "of what came before its key: test_late_keys plants it",
    "_happens": "of copies, of what is withheld or in quarantine: who asks confines it",
    "happens": "copies a record that was made on arrival, where making it is confined",
    "object_name": "a part of `came` and `held`",
    "Parts._whole": "the agent has its own, which is among the calls",
    "Admission.made": "of what goes by a tunnel: as send",
    "carrying": "as wrapped, and of our own as send",
    "moved": "what a failure ends in",
    "wrapped": "of what goes by a tunnel: judging it confines this",
    "emptied": "as wrapped",
    "ended": "as wrapped, of what came in parts: putting these together confines it",
    "__init__": "an object is made before work on it can fail",
    "no_trace": "a sink",
}
"""Calls in which nothing is planted, and why."""


def calls() -> Iterator[tuple[str, list[tuple[Any, str]]]]:
    """Every function of the agent and its driver that is given one bundle, in whatever form, with
    all the names by which it is called."""
    one = {"ref", "old", "entry", "op", "put", "outgoing", "encoded", "bundle", "data", "primary"}
    one |= {
        "tag",
        "judged",
        "taken",
        "refused",
        "payload_length",
        "event",
        "held",
        "key",
        "arrival",
    }
    modules = (agent, blocks, custody, dispatch, entry, ingress, admission, parts, trail, reception)
    owners = (
        BundleAgent,
        Custody,
        Dispatch,
        Parts,
        Receiving,
        AuditTrail,
        Ingress,
        BlockReader,
        Admission,
        StatusReporter,
        Forwarder,
        Bookings,
        FragmentLedger,
        entry.Waiting,
        BundleDriver,
    )
    found: dict[Any, tuple[str, list[tuple[Any, str]]]] = {}
    for owner in (*owners, *modules):
        for name, member in sorted(vars(owner).items()):
            label = f"{owner.__name__.rsplit('.')[-1]}.{name}"
            if not inspect.isfunction(member) or {name, label} & LEFT_OUT.keys():
                continue
            if one & set(inspect.signature(member).parameters):
                found.setdefault(member, (label, []))[1].append((owner, name))
    yield from found.values()


CALLS = dict(calls())


class Planted:
    """Raises wherever a chosen bundle, and no other, is handed to a call."""

    def __init__(self, patch: pytest.MonkeyPatch, label: str, error: Exception) -> None:
        self.refs: set[int] = set()
        self.keys: set[bytes] = set()
        self.struck = 0
        self._error = error
        insert = MemoryStore._insert

        def note(store: MemoryStore, ref: int, put: Put) -> None:
            if self._chosen(put):
                self.refs.add(ref)
                self.keys.add(put.key)
            insert(store, ref, put)

        patch.setattr(MemoryStore, "_insert", note)
        call = self._wrapped(getattr(*CALLS[label][0]))
        for owner, name in CALLS[label]:
            patch.setattr(owner, name, call)

    def _wrapped(self, real: Callable[..., Any]) -> Callable[..., Any]:
        names = list(inspect.signature(real).parameters)

        @functools.wraps(real)
        def call(*args: Any, **options: Any) -> Any:
            given = dict(zip(names, args, strict=False)) | options
            if "offset" in given and "data" in given:  # one of the bundles of a block
                data, offset = given["data"], given["offset"]
                given = {"bundle": at(data, offset) or memoryview(data)[offset:]}
            if any(self._chosen(each) for each in given.values()):
                self.struck += 1
                raise self._error
            return real(*args, **options)

        return call

    def _chosen(self, what: Any) -> bool:
        match what:
            case bool():
                return False
            case int():
                return what in self.refs
            case Release() | TooLarge():
                return what.ref in self.refs
            case Queued():  # tickets: only chosen ones have copies
                return what.ref in self.refs or what.ref < 0
            case Entry() | Stored() | Put():
                return what.source.endswith(f"/{SERVICE}")
            case Echo():
                return what.key in self.keys
            case PrimaryBlock():
                return what.source.service == SERVICE
            case Taken() | Bundle() | Arrival():
                bundle = what if isinstance(what, Bundle) else what.bundle
                return bundle is not None and bundle.primary.source.service == SERVICE
            case Refused():
                return what.primary is not None and self._chosen(what.primary)
            case Outgoing():
                return what.service == SERVICE
            case bytes() | memoryview():
                octets = bytes(what)
                return f"/{SERVICE}".encode() in octets or octets in self.keys
        return False


def at(data: Any, offset: int) -> Bundle | None:
    """The bundle there, if there is one."""
    try:
        return decode_bundle(data, offset=offset)[0]
    except DecodeError:
        return None


def held_of(node: Node) -> list[Stored]:
    """What a node holds of the chosen bundle."""
    found = []
    for stored in node._store.scan():
        (encoded,) = node._store.load([stored.ref])
        if encoded is not None and MARK in bytes(encoded):
            found.append(stored)
    return found


# ---- a world in which all of that is called


TINY = Eid.parse("dtn://tiny/x")
"""Beyond a contact that carries a few thousand octets."""

LATER = Eid.parse("dtn://gs2/later")
"""Where nobody is registered when bundles come."""


def made(payload: bytes, *, destination: Eid = FAR, flags: int = REPORT_ANY) -> Bundle:
    """A chosen bundle as it comes over a link."""
    source, sequence = Eid.parse(f"dtn://gs1/{SERVICE}"), 10_000 + len(payload)
    primary = PrimaryBlock(
        destination, source, Eid.parse("dtn://gs1/"), EPOCH_MS, sequence, 3_600_000, flags, 2
    )
    return Bundle(primary, (CanonicalBlock(1, 1, 0, payload, 2),))


def arrive(node: Node, encoded: bytes) -> None:
    """A bundle comes over the link from gs1."""
    put = node._agent.receive(encoded, node.port.dtn_ms(), 0, "dtn://gs1/").put
    if put is not None:
        node._driver.submit([put])
    else:
        node._driver.run_pending()


NAMED = Marking(f"/{SERVICE}", "SECRET")
"""By which the label of a chosen bundle is known."""


class Proven:
    """Security that finds everything right."""

    def open(self, bundle: Bundle) -> Opened:
        return Opened(True, bundle)

    def verify(self, bundle: Bundle) -> Opened:
        return Opened(True, bundle)

    def secure(self, bundle: Bundle) -> Opened:
        return Opened(True, bundle)

    def protect(self, bundle: Bundle) -> Bundle:
        return bundle


def troubles(node: Node) -> bytes:
    """What no honest neighbour sends: cut off, with blocks that nobody can read, and twice; parts
    of what is then proven as a whole.  Gives what came twice, which is to go on."""
    whole = made(MARK + b"cut off")
    arrive(node, encode_bundle(whole)[:-12])
    for block in (
        CanonicalBlock(200, 2, DELETE_UNPROCESSED | REPORT_UNPROCESSED, b"?", 2),
        CanonicalBlock(HOP_COUNT, 2, 0, b"?", 2),
        policy_block(DataPolicy(markings=frozenset({NAMED})), number=2, crc_type=2),
    ):
        arrive(node, encode_bundle(Bundle(whole.primary, (block, *whole.blocks))))
    unknown = CanonicalBlock(200, 2, REPORT_UNPROCESSED, b"?", 2)
    again = made(MARK + b"comes twice")
    here = made(bytes(600), destination=Eid.parse("dtn://sat1/x"))
    part, *_ = fragment_bundle(here, 400)
    node._agent._admission._security = Proven()
    twice = encode_bundle(Bundle(again.primary, (unknown, *again.blocks)))
    for _ in range(2):
        arrive(node, twice)
        arrive(node, encode_bundle(part))
    arrive(node, encode_bundle(here))
    return twice


def withdraw_a_key(patch: pytest.MonkeyPatch) -> None:
    """What says that it is forged never passes security; what says so, once only."""
    real, asked = Admission.open, 0

    def opened(self: Admission, bundle: Bundle) -> Opened | None:
        nonlocal asked
        payload = bytes(bundle.payload.data)
        asked += payload.endswith(b"withdrawn")
        if payload.endswith(b"forged") or (payload.endswith(b"withdrawn") and asked > 1):
            return Opened(False, None, "not with this key", 15)
        return real(self, bundle)

    patch.setattr(Admission, "open", opened)


def refuse(node: Node) -> None:
    """The store of a node cannot take what asks for it: its sender tries in vain."""
    store = node._environment.open_store(node.config, no_trace)  # type: ignore[misc]
    real = store.stage

    def stage(ops: Sequence[Op], now_ms: int) -> Any:
        if any(isinstance(op, Put) and b"refuse me" in bytes(op.encoded) for op in ops):
            raise StoreError("planted")
        return real(ops, now_ms)

    store.stage = stage  # type: ignore[method-assign]


def lose(node: Node) -> None:
    """What waits for nobody yet is damaged at rest."""
    for stored in node._store.scan():
        if stored.destination == str(LATER):
            assert isinstance(node._store, MemoryStore)
            node._store._drop(stored.ref)
            node._driver.octets.forget(stored.ref)


@pytest.mark.parametrize(
    ("label", "error"),
    [
        case
        for turn, label in enumerate(CALLS)
        for case in (
            (label, OURS[turn % 2]),
            pytest.param(label, OTHERS[turn // 2 % 2], marks=pytest.mark.slow),
        )
    ],
    ids=lambda one: one if isinstance(one, str) else type(one).__name__,
)
def test_what_fails_for_one_bundle_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str, error: Exception
) -> None:
    """Divided, put together, sent in copies, refused, expired, lost, doubled, forged, routed anew,
    reported about, restored: the chosen ones live through all that can befall a bundle."""
    problems: list[dict[str, Any]] = []
    withdraw_a_key(monkeypatch)
    planted = Planted(monkeypatch, label, error)
    sizes = (40, 1500)
    others = {b"other %d " % number * (size // 8) for number in range(4) for size in sizes}
    chosen = {MARK * (size // len(MARK)) for size in sizes}
    unsent: set[bytes] = set()

    async def choose(node: Node, payload: bytes, **options: Any) -> None:
        try:
            await send(node, [payload], service=SERVICE, **options)
        except type(error):
            unsent.add(payload)

    async def main() -> None:
        loop().set_exception_handler(lambda _, context: problems.append(context))
        silent = (Window(0, SECOND, 10e6), Window(20 * SECOND, 1 << 62, 10e6))
        tiny = Contact("dtn://sat1/", "dtn://tiny/", EPOCH_MS, EPOCH_MS + 600_000, 110)
        nodes = relay(tmp_path, reports=True, scheduled=True, windows=silent, extra=[tiny])
        ground, satellite, far = nodes
        refuse(satellite)
        async with ground, satellite, far, Mailbox(far.port) as mailbox:
            await send(ground, sorted(others)[:4])
            for payload in sorted(chosen):
                await choose(ground, payload)
            await choose(ground, MARK + b"critical", priority=CRITICAL_PRIORITY)
            await choose(ground, MARK + b"refuse me")
            for payload in (b"forged", b"withdrawn"):
                await choose(ground, MARK + payload)
            for _ in range(2):
                await choose(ground, MARK, destination=LATER)
            await send(ground, sorted(others)[4:])
            await asyncio.sleep(1.5)  # now the links are silent
            await choose(ground, MARK, lifetime_ms=30_000)
            await choose(ground, MARK, lifetime_ms=1000)
            await choose(ground, MARK + bytes(9000), destination=TINY)
            twice = troubles(satellite)
            lose(far)
            await asyncio.sleep(1)
            arrive(satellite, twice)  # while it is under way to the next
            ground.set_plan(Plan(ground.plan.contacts))
            later = far.port.register("later")
            far.port.take("later", 10)
            later.close()
            await asyncio.sleep(4)
            await ground.__aexit__()
            await ground.__aenter__()
            await asyncio.sleep(60)
            satellite.set_plan(Plan(satellite.plan.contacts))
            got = await gather(mailbox, others, 120)
            assert others <= got
            assert planted.struck, "nothing comes this way: let something befall a chosen bundle"
            got |= await gather(mailbox, chosen, 1)
            for payload in chosen - got - unsent:
                assert any(held_of(node) for node in nodes) or told(nodes), payload[:20]
        assert not problems

    run_virtual(main)


def test_what_is_left_out_is_there() -> None:
    """The list is kept short: no name in it that there is not, or that is given no bundle."""
    classes = (BundleAgent, Custody, Dispatch, Forwarder, BundleDriver, MemoryStore)
    owners: tuple[Any, ...] = (
        *classes,
        Admission,
        AuditTrail,
        Parts,
        Receiving,
        agent,
        custody,
        dispatch,
        reception,
        trail,
    )
    names = {name.rpartition(".")[2] for name in LEFT_OUT}
    assert [name for name in names if not any(name in vars(one) for one in owners)] == []


def told(nodes: list[Node]) -> int:
    """How often a node has said that it could not do its work on a bundle."""
    names = ("failures", "postponed", "dropped_malformed", "reassembly_failed")
    return sum(node.counters().get(f"bundles.{name}", 0) for node in nodes for name in names)
