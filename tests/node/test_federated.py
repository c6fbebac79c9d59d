"""Two domains that trust each other: their nodes have certificates in common, and no keys."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from link_models.clock import run_virtual
from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.core.errors import PolicyError
from stack.identity import AuthorityFolder, NodeFolder, Terms, pem
from stack.node.config import IdentityConfig
from stack.node.node import Node
from stack.policy import DataPolicy, NodeSet
from stack.security.first_epoch import approve_request
from stack.services.messages import Mailbox, send_message
from tests.node.test_identity import nothing
from tests.node.test_two_nodes import channel, loop
from tests.node.world import EPOCH_MS, World

LAWS = {"kari": "KR", "esa": "SE"}
HOMES = {"sat1": "kari", "gs1": "kari", "kiruna": "esa"}
DAYS_MS = 7 * 86_400_000
SHARED = DataPolicy(readers=NodeSet.parse("KR | SE"), rest=NodeSet.parse("KR | SE"))
DROPPED = "bundles.dropped_security"


class Domains:
    """Two authorities, and the nodes that have enrolled with them."""

    def __init__(self, root: Path) -> None:
        self.authorities = {}
        for name in LAWS:
            folder = AuthorityFolder(root / name)
            folder.create(
                name, passphrase=b"", entropy=os.urandom, now_ms=EPOCH_MS, algorithm="ed25519"
            )
            self.authorities[name] = folder
        self.nodes = {name: self._enrolled(root, name, home) for name, home in HOMES.items()}

    def _enrolled(self, root: Path, name: str, home: str) -> NodeFolder:
        folder = NodeFolder(root / f"{name}-identity")
        facts: dict[str, Any] = {"jurisdictions": [LAWS[home]], "roles": ()}
        request = folder.begin(
            Eid.parse(f"dtn://{name}/"), passphrase=b"", entropy=os.urandom, **facts
        )
        octets, _ = approve_request(
            self.authorities[home], nothing, request, now_ms=EPOCH_MS, entropy=os.urandom, **facts
        )
        folder.accept(octets, EPOCH_MS)
        return folder

    def trusts(self, home: str, other: str, *purposes: str) -> None:
        """`home` trusts `other`, by its offer."""
        terms = Terms(home, frozenset(purposes), frozenset({LAWS[other]}))
        foreign, own = self.authorities[other], self.authorities[home]
        key = foreign.unlock(nothing)
        offer = [pem.PemBlock(pem.REQUEST, key.offer(terms)), *foreign.export(own=True)]
        assert own.federate(own.unlock(nothing), offer, terms, EPOCH_MS, 365) == []

    def bring(self, now_ms: int = EPOCH_MS) -> None:
        """Carry what each authority says to its nodes."""
        for name, home in HOMES.items():
            news = pem.encode(self.authorities[home].export()).encode()
            self.nodes[name].accept(news, now_ms)

    def run(self, root: Path) -> list[Node]:
        """A satellite, its station, and a foreign one that the satellite reaches through it."""
        world = World(loop(), root)
        links: dict[str, list[Any]] = {name: [] for name in HOMES}
        contacts = []
        for one, other in (("sat1", "gs1"), ("gs1", "kiruna")):
            world.connect(one, other, channel(rate_bps=1e6))
            for a, b in ((one, other), (other, one)):
                auth = "on" if HOMES[a] == HOMES[b] else "off"
                link = world.link(a, b, rate_bps=1e6, owlt_ms=5.0, authentication=auth)
                links[a].append(link)
                times = EPOCH_MS, EPOCH_MS + DAYS_MS
                contacts.append(Contact(f"dtn://{a}/", f"dtn://{b}/", *times, 1e6))
        return [
            world.node(
                name,
                links[name],
                identity=IdentityConfig(folder=str(self.nodes[name].path)),
                plan=Plan(contacts),
            )
            for name in HOMES
        ]


@pytest.fixture
def domains(tmp_path: Path) -> Domains:
    """Each trusts the other to read."""
    made = Domains(tmp_path)
    made.trusts("kari", "esa", "read")
    made.trusts("esa", "kari", "read", "pass")  # through the satellite's station
    made.bring()
    return made


async def exchange(sender: Node, box: Mailbox, text: bytes) -> DataPolicy | None:
    """Send a message, and take it there; the policy that came with it."""
    await send_message(sender.port, box.eid, text, policy=SHARED)
    delivery = await asyncio.wait_for(box.receive(), 60)
    assert bytes(delivery.payload) == text
    await box.done(delivery)
    return delivery.policy


def test_nodes_of_domains_that_trust_each_other_talk_by_certificates(
    tmp_path: Path, domains: Domains
) -> None:
    async def main() -> None:
        sat1, gs1, kiruna = domains.run(tmp_path)
        async with sat1, gs1, kiruna, Mailbox(kiruna.port) as there, Mailbox(sat1.port) as here:
            assert await exchange(sat1, there, b"for both") == SHARED
            assert await exchange(kiruna, here, b"and back") == SHARED
            # The station between them is of the satellite's domain, and opens neither.
            assert gs1.counters().get("bundles.delivered", 0) == 0
            await exchange(gs1, here, b"at home as ever")

    run_virtual(main)


def test_who_is_not_trusted_to_read_is_sent_nothing_that_opens(tmp_path: Path) -> None:
    domains = Domains(tmp_path)
    domains.trusts("kari", "esa", "pass")
    domains.trusts("esa", "kari", "read", "pass")
    domains.bring()

    async def main() -> None:
        sat1, gs1, kiruna = domains.run(tmp_path)
        async with sat1, gs1, kiruna:
            await send_message(sat1.port, "dtn://kiruna/messages", b"in vain")
            await asyncio.sleep(60)
            assert kiruna.counters()[DROPPED] >= 1
            assert kiruna.counters().get("bundles.bundles_received", 0) == 0

    run_virtual(main)


def test_a_federation_that_is_revoked_ends_at_nodes_that_run(
    tmp_path: Path, domains: Domains
) -> None:
    async def main() -> None:
        sat1, gs1, kiruna = domains.run(tmp_path)
        async with sat1, gs1, kiruna, Mailbox(kiruna.port) as there, Mailbox(sat1.port) as here:
            await exchange(kiruna, here, b"while it is so")
            kari = domains.authorities["kari"]
            kari.revoke(kari.unlock(nothing), "esa", EPOCH_MS)
            domains.bring()
            await asyncio.sleep(61)
            before = sat1.counters().get(DROPPED, 0)
            await send_message(kiruna.port, here.eid, b"and not after")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(here.receive(), 60)
            assert sat1.counters()[DROPPED] > before
            with pytest.raises(PolicyError, match="nothing is known"):
                await send_message(sat1.port, there.eid, b"nor that way", policy=SHARED)

    run_virtual(main)
