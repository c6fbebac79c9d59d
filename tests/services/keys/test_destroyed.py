"""Destroyed keys: gone at each node that hears of it, and written down once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stack.audit.event import Act
from stack.core.errors import DecodeError, LocalError, SecurityError
from stack.security.sealed_file import SealedFile
from stack.services.keys.authority import KeyAuthority
from stack.services.keys.messages import make_grant, read_message
from stack.services.keys.service import RETRY_S, KeyService
from stack.services.waiting import cancel_all
from tests.services.fake_port import FakeNet, FakePort, run_through_crashes
from tests.services.helpers import virtual
from tests.services.keys.test_machine import HOME, HOUR, NAMES, Distribution, Owner


def world() -> Distribution:
    found = Distribution()
    found.begin()
    found.the_network_is_well()
    return found


def newest(authority: KeyAuthority) -> int:
    assert authority.epochs.newest is not None
    return authority.epochs.newest.number


def test_who_is_reached_has_it_no_more_and_all_go_on_with_the_next() -> None:
    found = world()
    held = [epoch.number for epoch in found.authority.epochs.held]
    last = newest(found.authority)
    assert found.authority.destroy(last, found.now) == held
    assert newest(found.authority) > last
    assert set(found.authority.keeping()) == set(NAMES[:3])
    found.flying.clear()  # what is sent first is lost
    found.work()
    found.flying.clear()
    for member in found.members.values():
        assert member.epochs.get(last) is not None
    found.the_network_is_well()
    assert found.authority.keeping() == {}
    for member in found.members.values():
        assert member.epochs.floor == last
        assert set(member.epochs.gone) >= set(held)
        assert not set(held) & {epoch.number for epoch in member.epochs.held}
        assert member.epochs.sending(found.now) is not None
    found.a_recorder_who_takes_a_node_opens_nothing_that_it_has_erased()


def test_an_epoch_before_the_last_goes_alone_with_those_before_it() -> None:
    found = world()
    found.rotate()
    found.settle()
    first, last = found.authority.epochs.held[0].number, newest(found.authority)
    before = found.authority.epochs.held[-2].number
    assert first <= before < last
    found.authority.destroy(before, found.now)
    assert newest(found.authority) == last
    found.now += HOUR
    found.work()
    found.settle()
    for member in found.members.values():
        assert [epoch.number for epoch in member.epochs.held] == [last]
    with pytest.raises(LocalError, match="not in force"):
        found.authority.destroy(before, found.now)


def test_what_was_recorded_before_opens_nothing_afterwards() -> None:
    """A grant that was on its way when its epoch was destroyed is for a key that is gone then."""
    found = world()
    authority, name = found.authority, NAMES[0]
    member = found.members[name]
    epoch = authority.rotate(found.now)
    found.flying.clear()
    late = make_grant(
        name, epoch, authority.recipients[name].record.key, found.signing, found.entropy
    )
    authority.destroy(epoch.number, found.now)
    found.work()
    found.settle()
    assert member.epochs.floor == epoch.number
    grant = read_message(late, found.signing.public)
    keys = [*member._fresh, *member._used]
    assert found.opens(late, keys) == 0
    assert not member.receive(late, HOME, found.now)
    assert grant.epoch.number == epoch.number  # type: ignore[union-attr]


def test_what_came_in_a_file_ends_for_who_has_recorded_the_grant_on_the_network_too() -> None:
    found = world()
    authority, name = found.authority, NAMES[0]
    member = found.members[name]
    epoch, key = authority.rotate(found.now), authority.recipients[name].record.key
    lost = make_grant(name, epoch, key, found.signing, found.entropy)
    for grant in authority.grants(name):
        member.take(grant, found.now)
    assert member.epochs.get(epoch.number) is not None
    # What is on its way meanwhile still opens.
    assert found.opens(lost, [*member._fresh, *member._used]) == epoch.number
    member.keys(epoch.until_ms)
    assert member.epochs.get(epoch.number) is None
    assert found.opens(lost, [*member._fresh, *member._used]) == 0
    assert not member._fresh


def test_a_grant_of_what_is_destroyed_is_none() -> None:
    found = world()
    epoch = found.authority.epochs.held[-1]
    wrong = make_grant(NAMES[0], epoch, None, found.signing, found.entropy, floor=epoch.number)
    with pytest.raises(DecodeError, match="destroyed"):
        found.members[NAMES[0]].receive(wrong, HOME, found.now)
    assert found.members[NAMES[0]].epochs.get(epoch.number) is not None


@pytest.mark.parametrize("applies", [False, True])
@pytest.mark.parametrize("life", range(1, 5))
def test_that_it_is_destroyed_is_written_down_once(
    tmp_path: Path, life: int, applies: bool
) -> None:
    """Killed at any commit: the log has it once, and not before the file is without the key."""
    found = world()
    name = NAMES[0]
    file = SealedFile(tmp_path / "member", bytes(32), found.entropy)
    file.write(found.members[name].encode())
    epoch = found.members[name].epochs.held[-1]
    assert epoch.secret in file.read()
    ordered: list[bool] = []

    async def run(port: FakePort) -> None:
        member = found.member(name)
        member.restore(file.read())
        service = KeyService(port, member, file)
        work = asyncio.ensure_future(service.run())
        try:
            await service.settle()
            if not ordered:
                ordered.append(member.erase(epoch.number))
            await service.settle()
            await service.settle()
        finally:
            await cancel_all((work,))

    async def main() -> None:
        node = FakeNet().node(name)
        real = node.apply

        def apply(*operations: Any) -> Any:
            if ordered:
                assert epoch.secret not in file.read()
            return real(*operations)

        node.apply = apply  # type: ignore[method-assign, assignment]
        await run_through_crashes(node, run, [(life, applies), (1, applies)])
        assert ordered == [True]
        names = [one.object for one in node.told]
        assert names.count(f"key:kari-epoch-{epoch.number}") == 1
        assert len(names) == len(set(names))
        assert {one.act for one in node.told} == {Act.KEY_DESTROYED}

    virtual(main)


@pytest.mark.parametrize("full", [False, True])
def test_what_goes_while_another_is_written_down_is_written_down_too(
    tmp_path: Path, full: bool
) -> None:
    """Each once; and nothing is said or written down while the disk keeps what is to go."""
    found = world()
    found.rotate()
    found.settle()
    name = NAMES[0]
    file, member = SealedFile(tmp_path / "member", bytes(32), found.entropy), found.members[name]
    numbers = [epoch.number for epoch in member.epochs.held]
    assert len(numbers) > 1
    left = list(numbers)

    async def main() -> None:
        node = FakeNet().node(name)
        service = KeyService(node.port, member, file)
        real, write = node.apply, file.write

        def apply(*operations: Any) -> Any:
            if left:
                member.erase(left.pop(0))
            return real(*operations)

        def no_room(octets: bytes) -> None:
            raise OSError("No space left on device")

        node.apply = apply  # type: ignore[method-assign, assignment]
        member.erase(left.pop(0))
        work = asyncio.ensure_future(service.run())
        if full:
            file.write = no_room  # type: ignore[method-assign]
            await asyncio.sleep(RETRY_S * 2.5)
            assert (node.commits, node.told) == (0, [])
            file.write = write  # type: ignore[method-assign]
        for _ in range(len(numbers) + 2):
            await service.settle()
        await cancel_all((work,))
        told = [one.object for one in node.told]
        assert told == [f"key:kari-epoch-{number}" for number in numbers]

    virtual(main)


def test_what_is_left_elsewhere_is_looked_for_when_the_file_has_let_go(tmp_path: Path) -> None:
    """And a file that has all that there is is not written again."""
    found = world()
    file, member = (
        SealedFile(tmp_path / "member", bytes(32), found.entropy),
        found.members[NAMES[0]],
    )
    epoch = member.epochs.held[-1]
    written, looked = list[bytes](), list[bool]()

    def on_gone(gone: Mapping[int, str]) -> Mapping[int, str]:
        if gone:
            looked.append(epoch.secret in file.read())
        return gone

    async def main() -> None:
        node = FakeNet().node(NAMES[0])
        service = KeyService(node.port, member, file, on_gone=on_gone)
        write = file.write

        def counted(octets: bytes) -> None:
            written.append(octets)
            write(octets)

        file.write = counted  # type: ignore[method-assign]
        work = asyncio.ensure_future(service.run())
        await service.settle()
        member.erase(epoch.number)
        for _ in range(4):
            await service.settle()
        await cancel_all((work,))

    virtual(main)
    assert looked == [False]
    assert len(written) == len(set(written)) > 1


def test_only_the_authoritys_node_brings_a_node_its_own_grants() -> None:
    found = world()
    name, other = NAMES[:2]
    member = found.members[name]
    (grant,) = found.authority.grants(name)[-1:]
    assert member.check(grant, HOME).node == name
    with pytest.raises(SecurityError, match="not the node of the authority"):
        member.check(grant, other)
    with pytest.raises(SecurityError, match=f"a grant for {other}"):
        member.check(found.authority.grants(other)[-1], HOME)


def test_the_key_of_a_certificate_opens_nothing_that_comes_over_a_network() -> None:
    """It outlives all epochs: who takes the node has it."""
    found = world()
    name = NAMES[0]
    member = found.members[name]
    epoch = found.authority.rotate(found.now)
    certified = found.owners[name].certified.public
    recorded = make_grant(name, epoch, certified, found.signing, found.entropy)
    with pytest.raises(SecurityError):
        member.receive(recorded, HOME, found.now)
    assert member.epochs.get(epoch.number) is None
    assert member.take(recorded, found.now)


def test_who_is_enrolled_anew_gets_nothing_for_the_key_that_was_named_before() -> None:
    """Whoever has the former keys of the node has that one too."""
    found = world()
    name = NAMES[0]
    assert found.authority.recipients[name].record.key is not None
    found.owners[name] = Owner(found.entropy)
    found.follow()
    found.flying.clear()
    found.rotate()
    former = found.members[name]
    keys = [*former._fresh, *former._used]
    grants = [octets for _, to, octets in found.flying if to == name]
    assert grants
    assert [found.opens(octets, keys) for octets in grants] == [0] * len(grants)
