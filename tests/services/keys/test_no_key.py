"""What is wrong with one node, or with one step, ends key distribution for nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from stack.core.errors import LocalError, SecurityError
from stack.cose import HpkePrivateKey, HpkePublicKey
from stack.security.sealed_file import SealedFile
from stack.services.keys.authority import KeyAuthority
from stack.services.keys.messages import Grant, KeyHolding, make_holding, read_message
from stack.services.keys.service import KeyService
from tests.services.fake_port import FakeNet, FakeNode
from tests.services.helpers import running, virtual
from tests.services.keys.test_machine import HOME, HOUR, NAMES, Distribution

MINUTE_MS = 60_000
EVIL, GOOD = NAMES[0], NAMES[1]
NO_KEYS = [
    HpkePublicKey("X25519", bytes(32)),
    HpkePublicKey("X25519", (1).to_bytes(32, "little")),  # of small order, too
    HpkePublicKey("MLKEM768-X25519", bytes(1216)),
    HpkePublicKey("MLKEM768-X25519", b"\xff" * 1216),
]
each_kind = pytest.mark.parametrize(
    "key", NO_KEYS, ids=lambda key: f"{key.kem}-{key.raw[:1].hex()}"
)


def world() -> Distribution:
    found = Distribution()
    found.begin()
    found.the_network_is_well()
    return found


def holding(found: Distribution, key: HpkePublicKey) -> bytes:
    said = KeyHolding(domain="kari", node=EVIL, counter=found.now, numbers=(), key=key, wants=True)
    return make_holding(said, found.owners[EVIL].signing)


@each_kind
def test_a_holding_with_a_key_that_is_none_is_refused(key: HpkePublicKey) -> None:
    found = world()
    before = found.authority.encode()
    with pytest.raises(SecurityError, match="nothing can be encrypted"):
        found.authority.check(holding(found, key), EVIL)
    with pytest.raises(SecurityError, match="nothing can be encrypted"):
        found.authority.receive(holding(found, key), EVIL, found.now)
    assert found.authority.encode() == before


@each_kind
def test_who_is_on_the_disk_with_such_a_key_is_asked_for_another(key: HpkePublicKey) -> None:
    found = world()
    found.authority.recipients[EVIL].record.key = key
    found.authority_disk = found.authority.encode()
    found.crash_of_the_authority()
    found.flying.clear()
    found.rotate()
    sealed: dict[str, bool] = {}
    for _, node, octets in found.flying:
        grant = read_message(octets, found.signing.public)
        assert isinstance(grant, Grant)
        sealed[node] = bool(grant.sealed)
    assert sealed == {EVIL: False, GOOD: True, NAMES[2]: True}
    found.the_network_is_well()  # it names another, and has all there is


def test_a_holding_is_taken_once_and_of_its_own_node_alone() -> None:
    """Somebody who has recorded it has the authority send nothing by bringing it again."""
    found = world()
    key = HpkePrivateKey.generate(found.entropy, "X25519").public
    said = holding(found, key)
    assert found.authority.receive(said, EVIL, found.now)
    assert not found.authority.receive(said, EVIL, found.now)
    other = KeyHolding(domain="kari", node=GOOD, counter=found.now, numbers=(), key=key, wants=True)
    with pytest.raises(SecurityError, match=f"{EVIL} speaks for {GOOD}"):
        found.authority.receive(make_holding(other, found.owners[EVIL].signing), EVIL, found.now)


def test_a_backup_of_the_authority_gives_no_number_twice() -> None:
    found = world()
    backup = found.authority.encode()
    made = found.authority.rotate(found.now)
    restored = found.new_authority()
    restored.restore(backup)
    assert restored.rotate(found.now + 2 * MINUTE_MS).number > made.number


def test_a_node_that_was_restored_names_no_key_that_is_in_the_backup() -> None:
    """Who has that would open all that comes for it."""
    found = world()
    member = found.members[GOOD]
    assert member._fresh
    restored = found.member(GOOD)
    restored.restore(member.encode())
    ((_, octets, _),) = restored.poll(found.now)
    said = read_message(octets, found.owners[GOOD].signing.public)
    assert isinstance(said, KeyHolding)
    assert said.key.raw not in {one.public.raw for one in (*member._fresh, *member._used)}


def serve(found: Distribution, tmp_path: Path, **options: Any) -> tuple[FakeNode, KeyService]:
    node = FakeNet().node(HOME)
    file = SealedFile(tmp_path / "authority", bytes(32), found.entropy)
    return node, KeyService(node.port, found.authority, file, authority=True, **options)


def failures(node: FakeNode) -> list[str]:
    return [fields["why"] for event, fields in node.traces if event == "service_work_failed"]


@pytest.mark.parametrize("what", ["step", "poll"])
def test_a_step_that_fails_is_done_again_and_what_was_asked_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    found, left = world(), 2
    poll = KeyAuthority.poll

    def fail(*_: object) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise ValueError("planted")

    def failing(self: KeyAuthority, now_ms: int) -> Any:
        fail()
        return poll(self, now_ms)

    async def main() -> None:
        options = {"on_step": fail} if what == "step" else {}
        node, service = serve(found, tmp_path, **options)
        if what == "poll":
            monkeypatch.setattr(KeyAuthority, "poll", failing)
        async with running(service.run()):
            await asyncio.sleep(1)
            assert failures(node) == ["ValueError: planted"]
            epoch = found.authority.rotate(found.now)
            await service.settle()
            assert epoch.secret in SealedFile(tmp_path / "authority", bytes(32), bytes).read()
            await asyncio.sleep(HOUR / 1000)
            assert failures(node) == ["ValueError: planted"] * 2
        assert left < 0

    virtual(main)


def test_who_waits_for_a_service_that_ends_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = world()

    async def main() -> None:
        node, service = serve(found, tmp_path)

        async def commit(**_: object) -> None:
            raise ValueError("planted")

        monkeypatch.setattr(node.port, "commit", commit)
        found.authority.rotate(found.now)
        found.authority.destroy(found.authority.epochs.held[0].number, found.now)  # to be told
        settling = asyncio.ensure_future(service.settle())
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match="planted"):
            await service.run()
        for settled in (settling, service.settle()):
            with pytest.raises(LocalError, match="key-authority of domain kari has ended"):
                await asyncio.wait_for(settled, 1)

    virtual(main)
