"""Nobody takes the room in the store that is kept for others."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stack.engines.bundle_agent import Beginning, Shares
from stack.engines.bundle_agent.shares import NOWHERE, OWN
from stack.ports.store import NO_ROOM, OVER_SHARE
from stack.storage.memory import MemoryStore
from stack.wire.bundle import IS_FRAGMENT, REPORT_FORWARDING, Bundle, encode_bundle
from tests.engines.bundle_agent.desk import Desk, keyed
from tests.engines.bundle_agent.harness import FAR, HERE, NEXT, NOW, bundle_for

QUOTA_BYTES = 40_000
QUOTA_BUNDLES = 100
LEAST = QUOTA_BYTES // QUOTA_BUNDLES
RESERVED = 0.6
NEAR = ("dtn://gs1/", "dtn://gs3/", "dtn://gs4/")
UNKNOWN = "dtn://nobody/app"


def shares(*neighbours: str) -> Shares:
    return Shares(neighbours, QUOTA_BYTES, QUOTA_BUNDLES, RESERVED)


def desk(*neighbours: str, secured: bool = False) -> Desk:
    store = MemoryStore(QUOTA_BYTES, QUOTA_BUNDLES)
    return Desk(store=store, shares=shares(*neighbours), security=keyed() if secured else None)


def counted(at: Desk) -> int:
    """Octets of all that is held, as shares count them."""
    return sum(max(LEAST, one.size) for one in at.store.scan())


def flood(at: Desk, neighbour: str, destination: str = FAR + "app", size: int = 900) -> int:
    """A neighbour brings all that is taken of it: how many."""
    for number in range(1, 1000):
        made = bundle_for(destination, bytes(size), sequence=number, source=neighbour + "x")
        if at.arrive(made, neighbour=neighbour) in (NO_ROOM, OVER_SHARE):
            return number - 1
    raise AssertionError("no end of room")


# ---- one greedy neighbour ------------------------------------------------------------------------


def test_one_neighbour_alone_may_use_most_of_the_store() -> None:
    one = desk(NEAR[0])
    flood(one, NEAR[0])
    assert 0.75 * QUOTA_BYTES < one.store.usage().bytes <= 0.8 * QUOTA_BYTES


def test_what_is_kept_for_another_neighbour_is_there_when_it_comes() -> None:
    one = desk(*NEAR[:2])
    flood(one, NEAR[0])
    taken = flood(one, NEAR[1])
    assert one.agent.shares.held(NEAR[1]) > 0.9 * one.agent.shares.part(NEAR[1])
    assert taken * 900 > 0.17 * QUOTA_BYTES
    assert one.agent.counters["dropped_over_share"] == 2
    assert one.agent.counters["dropped_no_room"] == 0
    assert one.store.usage().bytes > 0.75 * QUOTA_BYTES


def test_only_what_a_share_refused_counts_as_such() -> None:
    one = desk(*NEAR[:2])
    for number in range(1, 1000):
        friend = bundle_for(FAR + "app", bytes(900), sequence=number, source="dtn://gs2/x")
        if one.arrive(friend, neighbour="dtn://gs2/", trusted=True) == NO_ROOM:
            break
    late = bundle_for(FAR + "app", bytes(900), source=NEAR[0] + "x")
    assert one.arrive(late, neighbour=NEAR[0]) == NO_ROOM
    assert one.agent.counters["dropped_no_room"] == 2
    assert one.agent.counters["dropped_over_share"] == 0


def test_tiny_bundles_do_not_use_up_the_number_of_bundles() -> None:
    one = desk(*NEAR[:2])
    assert flood(one, NEAR[0], size=1) < 0.62 * QUOTA_BUNDLES
    assert flood(one, NEAR[1], size=1) >= int(0.2 * QUOTA_BUNDLES)


def test_applications_here_have_room_whatever_arrives() -> None:
    one = desk(*NEAR)
    for each in NEAR:
        flood(one, each)
        flood(one, each, UNKNOWN)
    room = QUOTA_BYTES - one.store.usage().bytes
    assert room >= one.agent.shares.part(OWN) - 1
    one.send(FAR + "app", bytes(int(0.19 * QUOTA_BYTES)))


def test_what_security_has_proven_is_held_to_no_share() -> None:
    """A genuine bundle for here that comes by the very neighbour whose share is used up."""
    one = desk(*NEAR[:1], secured=True)
    flood(one, NEAR[0])
    sender = Desk(security=keyed(), node=NEXT)
    assert one.arrive(sender.send(HERE + "app", b"genuine"), neighbour=NEAR[0])
    assert one.got == [b"genuine"]


def test_what_leads_nowhere_takes_nobodys_part() -> None:
    """Not even that of the neighbour that has brought it."""
    one = desk(*NEAR[:1])
    flood(one, NEAR[0], UNKNOWN)
    assert one.agent.shares.held(NOWHERE) <= 0.4 * QUOTA_BYTES
    assert flood(one, NEAR[0]) * 900 > 0.35 * QUOTA_BYTES


def test_trusted_links_are_held_to_no_share() -> None:
    one = desk(*NEAR)
    refs = [
        one.arrive(bundle_for(FAR, bytes(900), sequence=n), neighbour="dtn://friend/", trusted=True)
        for n in range(30)
    ]
    assert NO_ROOM not in refs
    assert OVER_SHARE not in refs
    assert one.agent.shares.held(OWN) == one.store.usage().bytes
    assert not one.agent.shares.brought


def test_without_a_reserve_whoever_comes_first_fills_the_store() -> None:
    one = Desk(store=MemoryStore(QUOTA_BYTES), shares=Shares(NEAR, QUOTA_BYTES, 9, 0.0))
    flood(one, NEAR[0])
    assert one.store.usage().bytes > 0.95 * QUOTA_BYTES


# ---- whose it is, after a restart too ------------------------------------------------------------


def kinds(owner: str) -> list[Bundle]:
    """One of each form in which the store remembers whose a bundle is."""
    source = owner + "x"
    part = bundle_for(HERE + "app", b"abc", sequence=3, source=source, flags=IS_FRAGMENT)
    primary = part.primary.__class__(
        part.primary.destination,
        part.primary.source,
        part.primary.report_to,
        part.primary.creation_ms,
        3,
        60_000,
        IS_FRAGMENT,
        fragment_offset=0,
        total_adu_length=10,
    )
    return [
        bundle_for(FAR, b"plain", sequence=1, source=source),
        bundle_for(FAR, b"noted", sequence=2, source=source, flags=REPORT_FORWARDING),
        Bundle(primary, part.blocks),
        bundle_for(HERE + "nobody", b"deferred", sequence=4, source=source),
        bundle_for(UNKNOWN, b"lost", sequence=5, source=source),
        bundle_for(FAR, b"back", sequence=6, source=HERE + "app"),
    ]


def test_whose_bundles_are_is_known_after_a_restart() -> None:
    one = desk(*NEAR)
    for owner in NEAR:
        for made in kinds(owner):
            one.arrive(made, neighbour=owner)
    for made in kinds("dtn://friend/"):
        one.arrive(made, neighbour=NEAR[0], trusted=True)
    before = {owner: one.agent.shares.held(owner) for owner in (OWN, NOWHERE, *NEAR)}
    assert all(before.values())
    assert sum(before.values()) == counted(one)
    entries = dict(one.agent.entries)
    again = Desk(store=one.store, shares=shares(*NEAR))
    assert {owner: again.agent.shares.held(owner) for owner in before} == before
    for ref, entry in entries.items():
        assert again.agent.entries[ref].note == entry.note
        assert again.agent.entries[ref].owner == entry.owner
    again.agent.expired(again.store.expire(NOW + 10**9, 1000), NOW + 10**9)
    assert not any(again.agent.shares.held(owner) for owner in before)


# ---- whatever happens ----------------------------------------------------------------------------


class Sharing(RuleBasedStateMachine):
    """Some neighbours bring what they like; bundles leave, expire, go to quarantine; the node
    restarts.  Whoever is under its part is always admitted."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = desk(*NEAR)
        self.now = NOW
        self.number = 0
        self.starts = 0

    @property
    def shares(self) -> Shares:
        return self.desk.agent.shares

    def arrives(self, neighbour: str, destination: str, size: int, lifetime_ms: int) -> None:
        self.number += 1
        made = bundle_for(
            destination,
            bytes(size),
            sequence=self.number,
            source=neighbour + "x",
            lifetime_ms=lifetime_ms + self.now - NOW + 1000,
        )
        octets = max(LEAST, len(encode_bundle(made)))
        under = self.shares.held(neighbour) + octets <= self.shares.part(neighbour)
        ref = self.desk.arrive(made, self.now, neighbour)
        if under and destination != UNKNOWN:
            assert ref is not None
            assert ref > 0, "it is under its share, and was refused"

    @rule(
        neighbour=st.sampled_from(NEAR),
        destination=st.sampled_from((FAR + "app", UNKNOWN, HERE + "nobody")),
        size=st.integers(0, 12_000),
        lifetime_ms=st.integers(1, 50_000),
    )
    def comes(self, neighbour: str, destination: str, size: int, lifetime_ms: int) -> None:
        self.arrives(neighbour, destination, size, lifetime_ms)

    @rule(neighbour=st.sampled_from(NEAR), size=st.integers(0, 2_000), count=st.integers(1, 40))
    def floods(self, neighbour: str, size: int, count: int) -> None:
        for _ in range(count):
            self.arrives(neighbour, FAR + "app", size, 50_000)

    @rule(size=st.integers(0, 4_000))
    def sends(self, size: int) -> None:
        """An application here, that minds its own part too."""
        if self.shares.held() + size + LEAST <= self.shares.part():
            self.desk.send(FAR + "app", bytes(size))

    @rule(count=st.integers(1, 20))
    def leave(self, count: int) -> None:
        agent = self.desk.agent
        refs = agent.take(NEXT, 1 << 20, count, self.now)
        agent.forwarded(refs, self.now, NEXT)
        self.desk.run_pending(self.now)

    @rule(ms=st.integers(1, 20_000))
    def time_passes(self, ms: int) -> None:
        self.now += ms
        self.desk.expire(self.now)

    @precondition(lambda self: self.desk.agent.entries)
    @rule(data=st.data())
    def fails(self, data: st.DataObject) -> None:
        """Work on a bundle fails for now: it is put off."""
        ref = data.draw(st.sampled_from(sorted(self.desk.agent.entries)))
        self.desk.agent.fail(ref, OSError("for a test"), self.now)
        self.desk.agent.retry(self.now)
        self.desk.run_pending(self.now)

    @rule()
    def restarts(self) -> None:
        self.starts += 1
        beginning = Beginning(bytes(32), self.starts << 20)
        self.desk = Desk(store=self.desk.store, shares=shares(*NEAR), beginning=beginning)

    @invariant()
    def the_books_are_right(self) -> None:
        usage = self.desk.store.usage()
        held = {owner: self.shares.held(owner) for owner in (OWN, NOWHERE, *NEAR)}
        assert sum(held.values()) == counted(self.desk)
        unused = sum(max(0, self.shares.part(owner) - held[owner]) for owner in (OWN, *NEAR))
        assert usage.bytes + unused <= QUOTA_BYTES, "what is kept is there"
        assert usage.bundles + unused // LEAST <= QUOTA_BUNDLES
        fresh = shares(*NEAR)
        for entry in self.desk.agent.entries.values():
            fresh.came(entry.owner, entry.size)
        assert [fresh.spare(one) for one in NEAR] == [self.shares.spare(one) for one in NEAR]


TestSharing = Sharing.TestCase
TestSharing.settings = settings(max_examples=30, stateful_step_count=20)
