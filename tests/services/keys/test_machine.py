"""Key distribution through loss, blackouts, crashes and revocations, held against its promises."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from stack.core.errors import DecodeError, SecurityError
from stack.cose import Algorithm, HpkePrivateKey, SigningKey, decode_encrypt
from stack.security.epochs import link_keys
from stack.services.keys.authority import EpochTerms, KeyAuthority
from stack.services.keys.member import Member
from stack.services.keys.messages import Grant, make_grant, read_message
from tests.node.world import SeededEntropy

HOUR = 3_600_000
DAY = 24 * HOUR
START_MS = 830_000_000_000
TERMS = EpochTerms(period_ms=4 * DAY, overlap_ms=2 * DAY, lead_ms=2 * DAY, revoked_ms=HOUR)
HOME = "dtn://authority/"
NAMES = [f"dtn://n{number}/" for number in range(4)]
PICK = st.integers(0, 1 << 16)


class Owner:
    """What makes a node: its keys, which survive everything."""

    def __init__(self, entropy: SeededEntropy) -> None:
        self.signing = SigningKey.generate(Algorithm.EDDSA, entropy)
        self.certified = HpkePrivateKey.generate(entropy, "X25519")


class Distribution(RuleBasedStateMachine):
    """An authority and four nodes over a network that does what it wants."""

    authority_class: type[KeyAuthority] = KeyAuthority
    member_class: type[Member] = Member

    def __init__(self) -> None:
        super().__init__()
        self.entropy = SeededEntropy("distribution")
        self.signing = SigningKey.generate(Algorithm.EDDSA, self.entropy)
        self.owners = {name: Owner(self.entropy) for name in NAMES}
        self.now = START_MS
        self.admitted: list[str] = []
        self.revoked: set[str] = set()
        self.barred: dict[str, int] = {}  # of a revoked node: epochs from this number on
        self.flying: list[tuple[str, str, bytes]] = []  # from, to ("": the authority), octets
        self.seen: list[tuple[str, str, bytes]] = []
        self.secrets: dict[int, bytes] = {}
        self.members: dict[str, Member] = {}
        self.had: dict[str, set[int]] = {}
        self.sealed: dict[bytes, tuple[int, bytes]] = {}
        self.behind: set[str] = set()  # restored from a backup, and not brought up to date yet
        self.returned: set[str] = set()  # these, until the keys of the backup are gone

    # ---- the world -------------------------------------------------------------------------

    def member(self, name: str) -> Member:
        owner = self.owners[name]
        return self.member_class(
            "kari",
            name,
            home=HOME,
            authority=self.signing.public,
            signing=owner.signing,
            certified=owner.certified,
            entropy=self.entropy,
        )

    def follow(self) -> None:
        self.authority.follow(
            [
                (name, self.owners[name].signing.public, self.owners[name].certified.public)
                for name in self.admitted
            ],
            self.now,
        )

    @initialize()
    def begin(self) -> None:
        self.authority = self.new_authority()
        self.authority_disk = self.authority.encode()
        self.disks: dict[str, bytes] = {}
        for name in NAMES[:3]:
            self.admit(name)
        self.backups = [dict(self.disks)]

    def new_authority(self) -> KeyAuthority:
        return self.authority_class("kari", signing=self.signing, entropy=self.entropy, terms=TERMS)

    def admit(self, name: str) -> None:
        self.admitted.append(name)
        self.follow()
        self.work()
        self.members[name] = self.member(name)
        for grant in self.authority.grants(name):  # as on a memory stick
            self.members[name].take(grant, self.now)
        self.work()

    def work(self) -> None:
        """What the services do: write down, then send."""
        out = [("", node, octets) for node, octets, _ in self.authority.poll(self.now)]
        for epoch in self.authority.epochs.held:
            assert self.secrets.setdefault(epoch.number, epoch.secret) == epoch.secret
        self.authority_disk = self.authority.encode()
        self.send(out)
        for name, member in self.members.items():
            member.keys(self.now)
            said = [(name, "", octets) for _, octets, _ in member.poll(self.now)]
            self.disks[name] = member.encode()
            self.send(said)

    def send(self, messages: list[tuple[str, str, bytes]]) -> None:
        self.flying += messages
        self.seen += messages

    def arrive(self, message: tuple[str, str, bytes]) -> None:
        sender, to, octets = message
        try:
            if to:
                self.members[to].receive(octets, HOME, self.now)
            else:
                self.authority.receive(octets, sender, self.now)
        except (SecurityError, DecodeError):
            pass  # sealed for a key that is gone, or of a node that is
        self.work()

    # ---- what happens ----------------------------------------------------------------------

    @rule(pick=PICK)
    @precondition(lambda self: self.flying)
    def deliver(self, pick: int) -> None:
        self.arrive(self.flying.pop(pick % len(self.flying)))

    @rule(pick=PICK)
    @precondition(lambda self: self.flying)
    def lose(self, pick: int) -> None:
        self.flying.pop(pick % len(self.flying))

    @rule(pick=PICK)
    @precondition(lambda self: self.seen)
    def replay(self, pick: int) -> None:
        self.arrive(self.seen[pick % len(self.seen)])

    @rule(hours=st.sampled_from([1, 6, 24, 72, 200]))
    def blackout(self, hours: int) -> None:
        for _ in range(min(hours, 6)):
            self.now += hours * HOUR // min(hours, 6)
            self.work()

    @rule(pick=PICK)
    def crash_of_a_node(self, pick: int) -> None:
        name = self.admitted[pick % len(self.admitted)]
        self.members[name] = self.member(name)
        self.members[name].restore(self.disks[name])
        self.work()

    @rule()
    def crash_of_the_authority(self) -> None:
        self.authority = self.new_authority()
        self.authority.restore(self.authority_disk)
        self.follow()
        self.work()

    @rule()
    def back_up(self) -> None:
        self.backups.append(dict(self.disks))

    @rule(pick=PICK)
    def restore_a_node(self, pick: int) -> None:
        disks = self.backups[pick % len(self.backups)]
        name = sorted(disks)[pick % len(disks)]
        if name in self.admitted:
            self.members[name] = self.member(name)
            self.members[name].restore(disks[name])
            self.behind.add(name)
            self.returned.add(name)
            self.work()

    @rule()
    def rotate(self) -> None:
        self.authority.rotate(self.now)
        self.work()

    @rule(pick=PICK)
    def destroy(self, pick: int) -> None:
        held = self.authority.epochs.held
        self.authority.destroy(held[pick % len(held)].number, self.now)
        self.work()

    @rule(pick=PICK)
    @precondition(lambda self: len(self.admitted) > 2)
    def revoke(self, pick: int) -> None:
        name = self.admitted.pop(pick % len(self.admitted))
        self.revoked.add(name)
        self.follow()
        newest = self.authority.epochs.newest
        assert newest is not None
        self.barred[name] = newest.number
        self.work()

    @rule()
    @precondition(lambda self: NAMES[3] not in self.admitted and NAMES[3] not in self.revoked)
    def enrol_late(self) -> None:
        self.admit(NAMES[3])

    @rule(pick=PICK, bit=PICK)
    @precondition(lambda self: self.seen)
    def forge(self, pick: int, bit: int) -> None:
        sender, to, octets = self.seen[pick % len(self.seen)]
        changed = bytearray(octets)
        changed[bit // 8 % len(changed)] ^= 1 << bit % 8
        signer = self.signing.public if to else self.owners[sender].signing.public
        party: Any = self.members[to] if to else self.authority
        before = party.encode()
        try:
            assert read_message(bytes(changed), signer) == read_message(octets, signer)
        except (SecurityError, DecodeError):  # else it is what is not signed, and says nothing
            with pytest.raises((SecurityError, DecodeError)):
                party.receive(bytes(changed), HOME if to else sender, self.now)
        assert party.encode() == before

    def settle(self) -> None:
        """All that is on its way arrives."""
        while self.flying:
            self.arrive(self.flying.pop(0))

    @rule()
    def the_network_is_well(self) -> None:
        """After days without loss all have the same, whatever was before."""
        for _ in range(12):
            self.now += 6 * HOUR
            self.work()
            self.settle()
        newest = self.authority.epochs.newest
        assert newest is not None
        for name in self.admitted:
            held = {epoch.number: epoch.secret for epoch in self.members[name].epochs.held}
            for epoch in self.authority.epochs.held:
                assert held.get(epoch.number) == epoch.secret
        assert not self.authority.lacking()
        self.behind.clear()
        self.returned = {name for name in self.returned if self.members[name]._used}

    def nobody_keeps_what_is_destroyed(self) -> None:
        for _ in range(2):  # the answers have a distance
            self.settle()
            self.now += 60_000
            self.work()
        self.settle()
        assert not self.authority.keeping()
        for name in self.admitted:
            floor = self.authority.epochs.floor
            assert all(epoch.number > floor for epoch in self.members[name].epochs.held)

    # ---- what is promised ------------------------------------------------------------------

    @invariant()
    def one_number_is_one_epoch(self) -> None:
        for member in self.members.values():
            for epoch in member.epochs.held:
                assert self.secrets[epoch.number] == epoch.secret

    @invariant()
    def who_is_revoked_gets_nothing_more(self) -> None:
        for name, number in self.barred.items():
            member = self.members[name]
            assert all(epoch.number < number for epoch in member.epochs.held)
            keys = [self.owners[name].certified, *member._fresh, *member._used]
            for _, to, octets in self.seen:
                if to == name:
                    assert self.opens(octets, keys) < number

    @invariant()
    def what_is_over_is_gone_everywhere(self) -> None:
        for name in self.admitted:
            for epoch in self.members[name].epochs.held:
                assert self.now < epoch.until_ms
        for name, number in self.barred.items():
            for other in self.admitted:
                epochs = self.members[other].epochs
                newest = epochs.newest
                if newest is not None and newest.number >= number:
                    began = next(e.from_ms for e in epochs.held if e.number >= number)
                    assert self.now < began + HOUR or all(
                        epoch.number >= number for epoch in epochs.held
                    ), name

    @invariant()
    def a_recorder_who_takes_a_node_opens_nothing_that_it_has_erased(self) -> None:
        for name in self.admitted:
            if name in self.returned:
                continue  # a backup has what it had
            member = self.members[name]
            held = {epoch.number for epoch in member.epochs.held}
            keys = [self.owners[name].certified, *member._fresh, *member._used]
            had = self.had.setdefault(name, set())
            had |= held
            for _, to, octets in self.seen:
                if to == name:
                    assert self.opens(octets, keys) not in had - held

    def opens(self, octets: bytes, keys: list[HpkePrivateKey]) -> int:
        """The number of the epoch that a recorded grant gives away; 0: none."""
        if octets not in self.sealed:
            grant = read_message(octets, self.signing.public)
            assert isinstance(grant, Grant)
            key_id = b""
            if grant.sealed:
                (recipient,) = decode_encrypt(grant.sealed).recipients
                key_id = recipient.headers.kid
            self.sealed[octets] = grant.epoch.number, key_id
        number, key_id = self.sealed[octets]
        return number if key_id in [key.public.key_id for key in keys] else 0

    @invariant()
    def nobody_is_locked_out_of_a_link(self) -> None:
        parties = [self.members[name] for name in self.admitted if name not in self.behind]
        for one in parties:
            for other in parties:
                sending = next(key for key in one.keys(self.now) if key.kind == "ltp" and key.send)
                accepted = [key.secret for key in other.keys(self.now) if key.kind == "ltp"]
                assert sending.secret in accepted


SETTINGS = settings(
    max_examples=12,
    phases=[Phase.generate],
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
def test_distribution() -> None:
    run_state_machine_as_test(Distribution, settings=SETTINGS)


# ---- planted faults ----------------------------------------------------------------------------


class Forgiving(KeyAuthority):
    """Does not end the epochs that a revoked node has."""

    def rotate(self, now_ms: int, overlap_ms: int | None = None) -> Any:
        return super().rotate(now_ms)


class Generous(KeyAuthority):
    """Goes on sending to those who are revoked."""

    def follow(self, nodes: Any, now_ms: int) -> list[str]:
        kept = {
            one.node: (one.node, one.verifying, one.certified) for one in self.recipients.values()
        }
        named = {node[0]: node for node in nodes}
        return super().follow([*(kept | named).values()], now_ms)


class Hasty(KeyAuthority):
    """Has nodes sign with what not all have."""

    def _link(self) -> tuple[int, int]:
        return self._last, self._last


class Silent(KeyAuthority):
    """Sends each grant once."""

    def poll(self, now_ms: int) -> list[tuple[str, bytes, int]]:
        out = super().poll(now_ms)
        for one in self.recipients.values():
            one.due_ms = 1 << 50
        return out


class Hoarding(Member):
    """Keeps the keys that have opened grants."""

    def keys(self, now_ms: int) -> Any:
        used = list(self._used)
        found = super().keys(now_ms)
        self._used = used
        return found


class Lasting(Member):
    """Does not let go of what has ended."""

    def keys(self, now_ms: int) -> Any:
        links = link_keys(self.domain, self._link, self._links)
        return [*self.epochs.keys(now_ms), *links]


class Clinging(Member):
    """Destroys nothing."""

    def erase(self, number: int) -> bool:
        return False


class Discreet(KeyAuthority):
    """Tells nobody what it has destroyed."""

    def keeping(self) -> dict[str, list[int]]:
        return {}

    def _grant(self, node: str, epoch: Any, key: Any) -> bytes:
        return make_grant(node, epoch, key, self._signing, self._entropy)


FAULTS = [Clinging, Discreet, Forgiving, Generous, Hasty, Silent, Hoarding, Lasting]


def a_story(world: Distribution) -> None:
    """What may well happen, with all that is promised looked at after each step."""
    first = partial(world.deliver, 0)
    well = world.the_network_is_well
    steps: list[Any] = [
        *[well, well, world.rotate, first, world.settle, world.rotate, world.flying.clear, well],
        *[world.enrol_late, partial(world.revoke, 0), world.settle],
        *[partial(world.blackout, 6), well, well, partial(world.destroy, -1)],
        *[world.nobody_keeps_what_is_destroyed, well],
        *[partial(world.blackout, 200), well],
    ]
    world.begin()
    for step in steps:
        step()
        world.one_number_is_one_epoch()
        world.who_is_revoked_gets_nothing_more()
        world.what_is_over_is_gone_everywhere()
        world.a_recorder_who_takes_a_node_opens_nothing_that_it_has_erased()
        world.nobody_is_locked_out_of_a_link()


@pytest.mark.slow
def test_a_story_without_a_fault() -> None:
    a_story(Distribution())


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.__name__)
def test_planted_faults_are_found(fault: type) -> None:
    world = Distribution()
    setattr(world, "member_class" if issubclass(fault, Member) else "authority_class", fault)
    with pytest.raises(AssertionError):
        a_story(world)
