"""Nobody takes the room in the store that is kept for others."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from interop.machines import MachineFault
from interop.machines import shares as machine
from interop.machines.shares import LEAST, QUOTA_BUNDLES, QUOTA_BYTES
from stack.engines.bundle_agent import Shares
from stack.engines.bundle_agent.shares import NOWHERE, OWN
from stack.ports.store import NO_ROOM, OVER_SHARE, Release
from stack.storage.memory import MemoryStore
from stack.wire.bundle import IS_FRAGMENT, REPORT_FORWARDING, Bundle, fragment_bundle
from tests.engines.bundle_agent.desk import Desk, keyed
from tests.engines.bundle_agent.harness import FAR, HERE, NEXT, NOW, bundle_for
from tests.engines.bundle_agent.our_shares import RESERVED, UNKNOWN, OurShares

NEAR = machine.NEIGHBOURS


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


# ---- the next link -------------------------------------------------------------------------------


def owners_taken(at: Desk, count: int) -> list[str]:
    """Whose the next bundles are that leave."""
    refs = at.agent.take(NEXT, 1 << 30, count, NOW)
    return [at.agent.entries[ref].owner for ref in refs]


def test_a_flood_by_one_neighbour_holds_up_neither_another_nor_what_is_made_here() -> None:
    one = desk(*NEAR[:2])
    flood(one, NEAR[0], size=600)
    for number in (1, 2):
        late = bundle_for(FAR + "app", bytes(600), sequence=number, source=NEAR[1] + "x")
        assert one.arrive(late, neighbour=NEAR[1])
        one.send(FAR + "app", bytes(600))
    taken = owners_taken(one, 7)
    assert [taken.count(owner) for owner in (NEAR[0], NEAR[1], OWN)] == [3, 2, 2]


def test_a_restart_still_knows_whose_turn_it_is() -> None:
    one = desk(*NEAR[:2])
    flood(one, NEAR[0], size=600)
    late = bundle_for(FAR + "app", bytes(600), sequence=1, source=NEAR[1] + "x")
    assert one.arrive(late, neighbour=NEAR[1])
    again = Desk(store=one.store, shares=shares(*NEAR[:2]))
    assert NEAR[1] in owners_taken(again, 2)


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


def test_whoever_lets_tiny_bundles_go_has_the_room_that_they_counted_for() -> None:
    one = desk(*NEAR[:2])
    mine = one.agent.shares
    count = mine.part(NEAR[0]) // LEAST
    for number in range(count):
        one.arrive(bundle_for(FAR, b"", sequence=number, source="dtn://gs1/y"), neighbour=NEAR[0])
    flood(one, NEAR[1])
    taken = one.agent.take(NEXT, 1 << 20, 1000, NOW)
    his = [ref for ref in taken if one.agent.entries[ref].owner == NEAR[0]]
    assert len(his) == count
    one.agent.forwarded(his, NOW, NEXT)
    one.run_pending(NOW)
    assert mine.held(NEAR[0]) == 0
    flood(one, NEAR[0])
    assert mine.held(NEAR[0]) > 0.9 * mine.part(NEAR[0])


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


@pytest.mark.parametrize("secured", [False, True])
def test_what_is_joined_counts_to_who_brought_the_parts_until_it_is_proven(secured: bool) -> None:
    one = desk(*NEAR[:1], secured=secured)
    one.listens = False
    whole = bundle_for(HERE + "app", bytes(500))
    for part in fragment_bundle(keyed().protect(whole) if secured else whole, 400):
        assert one.arrive(part, neighbour=NEAR[0])
    assert one.agent.counters["reassembled"] == 1
    held = one.agent.shares.held
    assert (held(OWN) > 500, held(NEAR[0]) > 500) == (secured, not secured)


def test_what_leads_nowhere_takes_nobodys_part() -> None:
    """Not even that of the neighbour that has brought it."""
    one = desk(*NEAR[:1])
    flood(one, NEAR[0], UNKNOWN)
    assert one.agent.shares.held(NOWHERE) <= 0.4 * QUOTA_BYTES
    assert flood(one, NEAR[0]) * 900 > 0.35 * QUOTA_BYTES


def test_shares_follow_whose_links_are_trusted() -> None:
    """While bundles are held that came by them."""
    one = desk()
    mine = one.agent.shares
    for number, near in enumerate(NEAR[:2]):
        made = bundle_for(FAR, bytes(900), sequence=number, source=near + "x")
        one.arrive(made, neighbour=near, trusted=True)
    one.agent.share(set(NEAR[:1]))
    assert mine.held(OWN) == one.store.usage().bytes > 1800
    flood(one, NEAR[0])
    one.agent.share(set(NEAR[:2]))
    assert mine.held(OWN) + mine.held(NEAR[0]) == one.store.usage().bytes
    late = bundle_for(FAR, bytes(900), sequence=9, source=NEAR[1] + "x")
    assert one.arrive(late, neighbour=NEAR[1]) == OVER_SHARE
    one.agent.share(())
    one.agent.forwarded(one.agent.take(NEXT, 1 << 20, 1000, NOW), NOW, NEXT)
    one.run_pending(NOW)
    assert one.store.usage().bytes == mine.held(OWN) == mine.brought == 0


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


class OurSharesMachine(machine.SharesMachine):
    """Against our own, whose books can be seen."""

    adapter = OurShares
    part_bytes = shares(*NEAR).part(NEAR[0])
    own_bytes = shares(*NEAR).part()
    peer: OurShares

    @invariant()
    def its_books_are_right(self) -> None:
        desk = self.peer.desk
        mine = desk.agent.shares
        assert sum(mine.held(owner) for owner in (OWN, NOWHERE, *NEAR)) == counted(desk)
        assert all(mine.held(owner) == self.weight_of(owner) for owner in NEAR)
        fresh = shares(*NEAR)
        for entry in desk.agent.entries.values():
            fresh.came(entry.owner, entry.size)
        assert [fresh.spare(one, 1) for one in NEAR] == [mine.spare(one, 1) for one in NEAR]


TestSharing = OurSharesMachine.TestCase
TestSharing.settings = settings(max_examples=30, stateful_step_count=20)


class CountsOctetsAlone(OurShares):
    """Tiny bundles use up the number of bundles."""

    class kind(Shares):
        def __init__(self, neighbours: Collection[str], octets: int, _: int, share: float) -> None:
            super().__init__(neighbours, octets, octets, share)

        def spare(self, owner: str, size: int) -> tuple[int, int]:
            return super().spare(owner, LEAST)[0], 0


class NeverGivesBack(OurShares):
    """What has left counts for ever."""

    class kind(Shares):
        def went(self, owner: str, size: int) -> None:
            pass


class BelongsToWhoeverAsks(OurShares):
    """What leads nowhere uses up the part of a neighbour, and not of the one that brought it."""

    class kind(Shares):
        def came(self, owner: str, size: int) -> None:
            super().came(NEAR[2] if owner == NOWHERE else owner, size)

        def went(self, owner: str, size: int) -> None:
            super().went(NEAR[2] if owner == NOWHERE else owner, size)


class ForgetsWhoseItIs(OurShares):
    """After a restart all is its own."""

    def restart(self) -> None:
        super().restart()
        mine = self.desk.agent.shares
        for entry in self.desk.agent.entries.values():
            mine.went(entry.owner, entry.size)
            mine.came(OWN, entry.size)


class MakesRoom(OurShares):
    """The oldest goes when a new one comes."""

    def arrive(self, neighbour: str, octets: int, leads: str, lifetime_ms: int) -> int | None:
        name = super().arrive(neighbour, octets, leads, lifetime_ms)
        for oldest in list(self.desk.store.scan())[:1] if name is None else []:
            self.desk.store.commit([Release(oldest.ref)], self.now)
            self.desk.agent.expired([oldest], self.now)
        return name


@pytest.mark.slow
@pytest.mark.parametrize("fault", OurShares.__subclasses__(), ids=lambda fault: fault.__name__)
def test_each_planted_fault_is_found(fault: type[OurShares]) -> None:
    class Broken(machine.SharesMachine):
        adapter = fault
        part_bytes = OurSharesMachine.part_bytes
        own_bytes = OurSharesMachine.own_bytes

    quick = settings(
        max_examples=200,
        stateful_step_count=20,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    with pytest.raises(MachineFault):
        run_state_machine_as_test(Broken, settings=quick)
