"""A clock that is wrong for a while, and then right: what was believed is believed again, and the
keys of a domain go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from link_models.clock import run_virtual
from stack.core.errors import PolicyError, SecurityError
from stack.identity import NodeFolder, Trust
from stack.node.config import IdentityConfig
from stack.node.node import Node
from stack.security.epochs import Epochs
from stack.services.keys.authority import KeyAuthority
from stack.services.messages import Mailbox, send_message
from tests.node import test_identity as enrolled
from tests.node.test_identity import DAY_MS, DAY_S, FAMILY, update
from tests.node.test_two_nodes import channel, loop
from tests.node.world import EPOCH_MS, VirtualClock, World

Wrong = Callable[[int], None]


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> Wrong:
    """Sets the clocks of all nodes so many days ahead, or back."""
    right, days = VirtualClock.dtn_ms, 0

    def dtn_ms(self: VirtualClock) -> int:
        return right(self) + days * DAY_MS

    def by(number: int) -> None:
        nonlocal days
        days = number

    monkeypatch.setattr(VirtualClock, "dtn_ms", dtn_ms)
    return by


def with_keys(root: Path, **options: Any) -> list[Node]:
    """Nodes of a domain whose keys change by epochs; gs1 has its authority."""
    world = World(loop(), root)
    world.connect("gs1", "gs2", channel())
    nodes = []
    for name, peer in (("gs1", "gs2"), ("gs2", "gs1")):
        link = world.link(name, peer, rate_bps=10e6, owlt_ms=5.0, authentication="on")
        identity = IdentityConfig(
            folder=str(root / f"{name}-identity"),
            keys_from="dtn://gs1/",
            authority=str(root / "domain") if name == "gs1" else "",
            **options,
        )
        nodes.append(world.node(name, [link], identity=identity))
    return nodes


def authority_of(node: Node) -> KeyAuthority:
    found = node.keys.distribution
    assert found is not None
    assert found.authority is not None
    return found.authority


def numbers(epochs: Epochs) -> list[int]:
    return [epoch.number for epoch in epochs.held]


def held(node: Node) -> list[int]:
    found = node.keys.distribution
    assert found is not None
    return numbers(found.member.epochs)


async def a_message_crosses(source: Node, destination: Node) -> None:
    async with Mailbox(destination.port) as box, asyncio.timeout(60):
        await send_message(source.port, box.eid, b"word")
        await box.done(await box.receive())


async def is_known(node: Node, to: Node) -> bool:
    """Whether something that has a policy may go to `node` from another one."""
    try:
        await send_message(to.port, node.port.node_id.with_service("messages"), b"x", policy=FAMILY)
    except PolicyError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("days", [400, 30, -30])
def test_nobody_counts_as_revoked_while_the_clock_is_wrong(
    tmp_path: Path, wrong: Wrong, days: int
) -> None:
    authority = enrolled.domain(tmp_path)
    for name in ("gs1", "gs2"):
        enrolled.member(tmp_path, authority, name)

    async def main() -> None:
        gs1, gs2 = with_keys(tmp_path)
        async with gs1, gs2:
            await asyncio.sleep(4 * DAY_S)
            before = numbers(authority_of(gs1).epochs)
            assert held(gs2) == before
            wrong(days)
            await asyncio.sleep(2 * 3600)
            assert numbers(authority_of(gs1).epochs) == before
            assert authority_of(gs1).recipients.keys() == {"dtn://gs1/", "dtn://gs2/"}
            found = gs1.keys.distribution
            assert found is not None
            assert "nobody gets keys, nor counts as revoked" in found.why_not
            wrong(0)
            await asyncio.sleep(3 * 3600)
            assert found.why_not == ""
            assert numbers(authority_of(gs1).epochs) == before == held(gs1) == held(gs2)
            await a_message_crosses(gs1, gs2)

    run_virtual(main)


def test_an_epoch_of_a_time_to_come_leaves_no_gap(tmp_path: Path, wrong: Wrong) -> None:
    """The clock is ahead by less than what the revocation list allows, and by more than epochs
    last."""
    authority = enrolled.domain(tmp_path)
    for name in ("gs1", "gs2"):
        enrolled.member(tmp_path, authority, name)
    for name in ("gs1", "gs2"):
        update(authority, NodeFolder(tmp_path / f"{name}-identity"))

    async def main() -> None:
        gs1, gs2 = with_keys(tmp_path, epoch_days=1, epoch_overlap_days=1, epoch_lead_days=0.5)
        async with gs1, gs2:
            await asyncio.sleep(2 * DAY_S)
            wrong(15)
            await asyncio.sleep(2 * 3600)
            wrong(0)
            await asyncio.sleep(3 * 3600)
            now_ms = gs1.port.dtn_ms()
            sending = authority_of(gs1).epochs.sending(now_ms)
            assert sending is not None
            assert held(gs2) == numbers(authority_of(gs1).epochs)
            await a_message_crosses(gs1, gs2)

    run_virtual(main)


def test_what_was_believed_is_believed_again(tmp_path: Path, wrong: Wrong) -> None:
    authority = enrolled.domain(tmp_path)
    folders = [enrolled.member(tmp_path, authority, name) for name in ("gs1", "sat1")]
    update(authority, folders[0])

    async def main() -> None:
        ground, satellite = enrolled.two(tmp_path, *folders)
        async with ground, satellite:
            await asyncio.sleep(61)
            wrong(4000)
            await asyncio.sleep(61)
            assert not await is_known(satellite, ground)
            wrong(0)
            await asyncio.sleep(61)
            assert await is_known(satellite, ground)

    run_virtual(main)


def test_news_that_could_not_be_read_are_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails for a moment does not keep a revocation from a node."""
    authority = enrolled.domain(tmp_path)
    folders = [enrolled.member(tmp_path, authority, name) for name in ("gs1", "sat1")]
    update(authority, folders[0])
    trust, left = NodeFolder.trust, 3

    def failing(self: NodeFolder, grace_ms: int = 0) -> Trust:
        nonlocal left
        left -= 1
        if left >= 0:
            raise SecurityError("planted")
        return trust(self, grace_ms)

    async def main() -> None:
        ground, satellite = enrolled.two(tmp_path, *folders)
        async with ground, satellite:
            authority.revoke(authority.unlock(enrolled.nothing), "dtn://sat1/", EPOCH_MS)
            update(authority, folders[0])
            monkeypatch.setattr(NodeFolder, "trust", failing)
            await asyncio.sleep(5 * 61)
            assert not await is_known(satellite, ground)

    run_virtual(main)
