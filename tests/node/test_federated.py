"""Two domains that trust each other: their nodes have certificates in common, and no keys."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import pytest

from link_models.clock import run_virtual
from stack.cli.node.status import STATES
from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.core.errors import PolicyError, SecurityError
from stack.fec.config import FecConfig
from stack.identity import AuthorityFolder, NodeFolder, Terms, pem
from stack.identity.folder import NODE_DAYS
from stack.identity.names import UNSAID, NameSpace
from stack.node.config import IdentityConfig, SecurityConfig
from stack.node.link import LinkHealth
from stack.node.node import Node
from stack.policy import DataPolicy, NodeSet
from stack.security import BpSec, KeyRing, PolicyRule, SecurityPolicy
from stack.security.first_epoch import approve_request
from stack.services.messages import Mailbox, send_message
from stack.wire.bundle import Bundle, CanonicalBlock, PrimaryBlock, encode_bundle
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
        self.authorities = {name: self.begun(root / name, name) for name in LAWS}
        self.nodes = {name: self.enrolled(root, name, home) for name, home in HOMES.items()}

    def begun(self, path: Path, name: str) -> AuthorityFolder:
        folder = AuthorityFolder(path)
        facts: dict[str, Any] = {"entropy": os.urandom, "now_ms": EPOCH_MS, "algorithm": "ed25519"}
        folder.create(name, passphrase=b"", **facts)
        return folder

    def enrolled(
        self, root: Path, name: str, home: str, law: str = "", days: int = NODE_DAYS
    ) -> NodeFolder:
        folder = NodeFolder(root / f"{name}-identity")
        facts: dict[str, Any] = {"jurisdictions": [law or LAWS[home]], "roles": ()}
        request = folder.begin(
            Eid.parse(f"dtn://{name}/"), passphrase=b"", entropy=os.urandom, **facts
        )
        when: dict[str, Any] = {"now_ms": EPOCH_MS, "entropy": os.urandom, "days": days}
        octets, _ = approve_request(self.authorities[home], nothing, request, **when, **facts)
        folder.accept(octets, EPOCH_MS)
        return folder

    def trusts(self, home: str, other: str, *purposes: str, names: NameSpace = UNSAID) -> None:
        """`home` trusts `other`, by its offer."""
        terms = Terms(home, frozenset(purposes), frozenset({LAWS[other]}), names)
        foreign, own = self.authorities[other], self.authorities[home]
        key = foreign.unlock(nothing)
        offer = [pem.PemBlock(pem.REQUEST, key.offer(terms)), *foreign.export(own=True)]
        assert own.federate(own.unlock(nothing), offer, terms, EPOCH_MS, 365) == []

    def bring(self, now_ms: int = EPOCH_MS) -> None:
        """Carry what each authority says to its nodes; those of a former one do not take it."""
        for name, home in HOMES.items():
            authority, node = self.authorities[home], self.nodes[name]
            news = pem.encode(authority.export()).encode()
            if node.trust().root == authority.trust().root:
                node.accept(news, now_ms)
                continue
            with pytest.raises(SecurityError, match="nothing in this file is of domain"):
                node.accept(news, now_ms)

    def run(
        self,
        root: Path,
        between: Mapping[str, Any] = MappingProxyType({"authentication": "auto"}),
        **security: SecurityConfig,
    ) -> list[Node]:
        """A satellite, its station, and a foreign one that the satellite reaches through it; with
        what their configurations say of links between domains, and of security."""
        self.world = world = World(loop(), root)
        links: dict[str, list[Any]] = {name: [] for name in HOMES}
        contacts = []
        for one, other in (("sat1", "gs1"), ("gs1", "kiruna")):
            world.connect(one, other, channel(0.05 if between.get("fec") else 0.0, rate_bps=1e6))
            for a, b in ((one, other), (other, one)):
                options = {"authentication": "on"} if HOMES[a] == HOMES[b] else between
                links[a].append(world.link(a, b, rate_bps=1e6, owlt_ms=5.0, **options))
                times = EPOCH_MS, EPOCH_MS + DAYS_MS
                contacts.append(Contact(f"dtn://{a}/", f"dtn://{b}/", *times, 1e6))
        return [
            world.node(
                name,
                links[name],
                identity=IdentityConfig(folder=str(self.nodes[name].path)),
                plan=Plan(contacts),
                security=security.get(name, SecurityConfig()),
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


async def exchange(
    sender: Node, box: Mailbox, text: bytes, policy: DataPolicy | None = SHARED
) -> DataPolicy | None:
    """Send a message, and take it there; the policy that came with it."""
    await send_message(sender.port, box.eid, text, policy=policy)
    delivery = await asyncio.wait_for(box.receive(), 60)
    assert bytes(delivery.payload) == text
    await box.done(delivery)
    return delivery.policy


@pytest.mark.slow
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


def forged(member: Node, source: str, to: Eid) -> bytes:
    """What who has the keys of a domain makes with them in the name of a node."""
    keys = KeyRing(member.keys.ring.keys, source)
    there = Eid.parse(source).with_service("messages")
    primary = PrimaryBlock(to, there, Eid.NONE, EPOCH_MS, 5, 3_600_000, 0, 2)
    bundle = Bundle(primary, (CanonicalBlock(1, 1, 0, b"forged", 2),))
    return encode_bundle(BpSec(keys, os.urandom, SecurityPolicy()).protect(bundle))


def takes(node: Node, octets: bytes) -> bool:
    """Whether a node takes what its neighbour has brought."""
    return node._agent.receive(octets, EPOCH_MS, 0, "dtn://gs1/").put is not None


def trusted_otherwise(root: Path, terms: str) -> Domains:
    """Domain kari trusts domain esa for these terms, which are not to read; or no more."""
    domains = Domains(root)
    domains.trusts("kari", "esa", "read" if terms == "revoked" else terms)
    domains.trusts("esa", "kari", "read", "pass")
    if terms == "revoked":
        kari = domains.authorities["kari"]
        kari.revoke(kari.unlock(nothing), "esa", EPOCH_MS)
    domains.bring()
    return domains


@pytest.mark.parametrize("terms", ["pass", "rest", "revoked"])
def test_the_keys_of_a_domain_say_nothing_of_who_is_not_trusted_to_read(
    tmp_path: Path, terms: str
) -> None:
    domains = trusted_otherwise(tmp_path, terms)

    async def main() -> None:
        sat1, gs1, kiruna = domains.run(tmp_path)
        async with sat1, gs1, kiruna, Mailbox(sat1.port) as here:
            with pytest.raises(SecurityError, match="not trusted to read, and no rule names it"):
                await send_message(sat1.port, "dtn://kiruna/messages", b"in vain")
            assert takes(sat1, forged(gs1, "dtn://gs2/", here.eid))  # any other name is of ours
            assert not takes(sat1, forged(gs1, "dtn://kiruna/", here.eid))
            assert sat1.counters()[DROPPED] == 1
            await send_message(kiruna.port, here.eid, b"in vain, too")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(here.receive(), 60)

    run_virtual(main)


@pytest.mark.parametrize("revoked", [False, True])
def test_nodes_of_a_domain_with_a_new_authority_do_not_become_ours(
    tmp_path: Path, revoked: bool
) -> None:
    """Nothing new is known of them: neither at nodes that run, nor at the next start."""
    domains = trusted_otherwise(tmp_path, "pass")

    async def refuses() -> None:
        sat1, gs1, _ = domains.run(tmp_path)
        async with sat1, gs1:
            here = sat1.node_id.with_service("messages")
            for news in (None, anew):
                if news is not None:
                    news()
                    await asyncio.sleep(61)
                assert takes(sat1, forged(gs1, "dtn://gs2/", here))
                assert not takes(sat1, forged(gs1, "dtn://kiruna/", here))
                with pytest.raises(SecurityError, match="not trusted to read"):
                    await send_message(sat1.port, "dtn://kiruna/messages", b"in vain")

    def anew() -> None:
        kari = domains.authorities["kari"]
        if revoked:
            kari.revoke(kari.unlock(nothing), "esa", EPOCH_MS)
            domains.bring()
        domains.authorities["esa"] = domains.begun(tmp_path / f"esa-{next(number)}", "esa")
        domains.trusts("kari", "esa", "pass")
        domains.bring()

    number = itertools.count()
    run_virtual(refuses)
    run_virtual(refuses)


@pytest.mark.parametrize("said", ["nothing", "ours", "theirs"])
def test_a_name_that_no_certificate_has_had_is_nobodys_to_take(tmp_path: Path, said: str) -> None:
    """By who has the keys of this domain, where a name space is said."""
    domains = Domains(tmp_path)
    theirs = NameSpace.of(["dtn://kiruna/**", "dtn://uppsala/**"] if said == "theirs" else [])
    ours = NameSpace.of([f"dtn://{name}/**" for name in ("sat1", "gs1", "gs2")])
    domains.trusts("kari", "esa", "pass", names=theirs)
    if said == "ours":
        kari = domains.authorities["kari"]
        assert kari.update(kari.unlock(nothing), (), EPOCH_MS, ours) == []
    domains.bring()

    async def main() -> None:
        sat1, gs1, _ = domains.run(tmp_path)
        async with sat1, gs1:
            here = sat1.node_id.with_service("messages")
            assert takes(sat1, forged(gs1, "dtn://gs2/", here))
            assert takes(sat1, forged(gs1, "dtn://uppsala/", here)) is (said == "nothing")
            if said != "nothing":
                with pytest.raises(SecurityError, match="not trusted to read, and no rule"):
                    await send_message(sat1.port, "dtn://uppsala/messages", b"in vain")

    run_virtual(main)


def test_no_other_domain_makes_a_node_of_ours_its_own(tmp_path: Path) -> None:
    """Nor by a word that is believed no more, about one that is not believed either."""
    domains = Domains(tmp_path)
    domains.enrolled(tmp_path / "again", "gs1", "esa")
    domains.trusts("kari", "esa", "pass")
    kari = domains.authorities["kari"]
    for revoked in ("esa", "dtn://gs1/"):
        kari.revoke(kari.unlock(nothing), revoked, EPOCH_MS)
    news = pem.encode(kari.export()).encode()
    domains.nodes["sat1"].accept(news, EPOCH_MS)

    async def main() -> None:
        sat1, gs1, _ = domains.run(tmp_path)
        async with sat1, gs1:
            here = sat1.node_id.with_service("messages")
            assert takes(sat1, forged(gs1, "dtn://gs1/", here))
            assert not takes(sat1, forged(gs1, "dtn://kiruna/", here))

    run_virtual(main)


def test_a_rule_that_names_who_is_not_trusted_to_read_holds_for_him(tmp_path: Path) -> None:
    domains = trusted_otherwise(tmp_path, "pass")
    rules = (
        PolicyRule(role="acceptor", service="integrity", source="dtn://kiruna/**"),
        PolicyRule(role="acceptor", service="confidentiality", source="dtn://kiruna/**"),
        PolicyRule(
            role="source",
            service="integrity",
            context="cose-sign",
            destination="dtn://kiruna/**",
        ),
        PolicyRule(
            role="source",
            service="confidentiality",
            context="cose-hpke",
            destination="dtn://kiruna/**",
        ),
    )

    async def main() -> None:
        sat1, gs1, kiruna = domains.run(tmp_path, sat1=SecurityConfig(rules=rules))
        async with sat1, gs1, kiruna, Mailbox(kiruna.port) as there, Mailbox(sat1.port) as here:
            assert await exchange(sat1, there, b"as the rule says", None) is None
            assert await exchange(kiruna, here, b"and back", None) is None
            assert not takes(sat1, forged(gs1, "dtn://kiruna/", here.eid))

    run_virtual(main)


def federated(domains: Domains) -> None:
    """Each domain begins to trust the other."""
    domains.trusts("kari", "esa", "read")
    domains.trusts("esa", "kari", "read", "pass")
    domains.bring()


@pytest.mark.parametrize("fec", [None, FecConfig()])
def test_a_link_goes_on_when_its_neighbour_turns_out_to_be_of_another_domain(
    tmp_path: Path, fec: FecConfig | None
) -> None:
    domains = Domains(tmp_path)

    async def main() -> None:
        sat1, gs1, kiruna = domains.run(tmp_path, {"authentication": "auto", "fec": fec})
        async with sat1, gs1, kiruna, Mailbox(kiruna.port) as there, Mailbox(gs1.port) as here:
            link = gs1.links["kiruna"]
            assert link.trusted
            # Each has its domain's keys for a neighbour of whom nothing is known.
            await send_message(kiruna.port, here.eid, b"not genuine here")
            await asyncio.sleep(60)
            counters = gs1.counters()
            assert counters["link.kiruna.auth.forged"] > 0
            assert counters.get("bundles.bundles_received", 0) == 0
            assert "link.kiruna.share.bytes" not in gs1.gauges()
            federated(domains)
            await asyncio.sleep(120)
            await exchange(gs1, there, bytes(100_000))
            await exchange(kiruna, here, bytes(100_000))
            assert fec is None or gs1.counters()["link.kiruna.fec.rx_recovered"] > 0
            assert not link.trusted
            assert "link.kiruna.share.bytes" in gs1.gauges(), "a stranger may send there"
            assert link.hints == []
            after = gs1.counters()
            assert after["link.kiruna.auth.signed"] == counters["link.kiruna.auth.signed"]
            assert gs1.links["sat1"].trusted
            told = [event for event in domains.world.events if event[1] == "link_authentication"]
            assert [(who, fields["link"], fields["state"]) for who, _, fields in told] == [
                ("gs1", "kiruna", "open"),
                ("kiruna", "gs1", "open"),
            ]

    run_virtual(main)


@pytest.mark.parametrize("known", ["at the start", "while they run"])
def test_a_link_that_has_to_be_authenticated_is_shut_and_the_operator_told(
    tmp_path: Path, known: str
) -> None:
    domains = Domains(tmp_path)
    if known == "at the start":
        federated(domains)

    async def main() -> None:
        sat1, gs1, kiruna = domains.run(tmp_path, {"authentication": "on"})
        async with sat1, gs1, kiruna, Mailbox(kiruna.port) as there, Mailbox(sat1.port) as here:
            if known == "while they run":
                federated(domains)
            await asyncio.sleep(61)
            port = domains.world.ports["kiruna", "gs1"]
            arrived = port.received_datagrams
            await send_message(gs1.port, there.eid, b"nothing passes")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(there.receive(), 60)
            assert port.received_datagrams == arrived
            await exchange(gs1, here, b"others go on")
            states = {name: link.state for name, link in gs1.links.items()}
            assert [name for name, state in states.items() if state == "shut"] == ["kiruna"]
            assert set(states.values()) < set(STATES) == set(get_args(LinkHealth))
            [hint] = gs1.links["kiruna"].hints
            assert "is of another domain" in hint
            assert "nothing passes on this link" in hint
            assert 'set authentication = "auto"' in hint
            [fields] = [
                fields
                for who, event, fields in domains.world.events
                if (who, event) == ("gs1", "link_authentication")
            ]
            assert (fields["state"], fields["why"] in hint) == ("shut", True)

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
            with pytest.raises(SecurityError, match="not trusted to read"):
                await send_message(sat1.port, there.eid, b"nor without")
            assert not takes(sat1, forged(gs1, "dtn://kiruna/", here.eid))

    run_virtual(main)
