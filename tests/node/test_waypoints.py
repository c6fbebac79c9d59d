"""A station and a camera that know no security, and between them two gateways with certificates:
what goes by is signed by one and encrypted for the other alone (`cose-sign`, `cose-hpke`)."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from interop.pcap import read_capture
from link_models.clock import run_virtual
from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.identity import AuthorityFolder, NodeFolder
from stack.node.config import IdentityConfig, SecurityConfig
from stack.node.node import Node
from stack.security.rules import PolicyRule
from stack.services.messages import Mailbox, send_message
from tests.node.test_identity import domain, member, update
from tests.node.test_two_nodes import channel, loop
from tests.node.world import EPOCH_MS, World

NAMES = ("near", "gate", "exit", "far")
FAR = Eid.parse("dtn://far/messages")
SECRET = b"tasking of tomorrow"
PLAIN = SecurityConfig(protect="none")


def rules(role: str, peer: str, *contexts: str) -> tuple[PolicyRule, ...]:
    flow = {"source": "dtn://near/**", "destination": "dtn://far/**"}
    return tuple(
        PolicyRule(role=role, service=service, context=context, peer=f"dtn://{peer}/", **flow)
        for service, context in zip(("integrity", "confidentiality"), contexts, strict=True)
    )


SECURITY = {
    "near": PLAIN,
    "gate": SecurityConfig(rules=rules("source", "exit", "cose-sign", "cose-hpke")),
    "exit": SecurityConfig(rules=rules("acceptor", "gate", "rfc9173", "rfc9173")),
    "far": PLAIN,
}


def chain(
    root: Path, world: World, folders: dict[str, NodeFolder], security: dict[str, SecurityConfig]
) -> dict[str, Node]:
    """The four, each in contact with the next, the air between the gateways listened to."""
    pairs = [*pairwise(NAMES), *pairwise(NAMES[::-1])]
    plan = Plan(
        Contact(f"dtn://{a}/", f"dtn://{b}/", EPOCH_MS, EPOCH_MS + 3_600_000, 1e6) for a, b in pairs
    )
    for a, b in pairwise(NAMES):
        world.connect(a, b, channel(rate_bps=1e6))
    options: dict[str, Any] = {"rate_bps": 1e6, "owlt_ms": 5.0, "scheduled": True}
    nodes = {}
    for name in NAMES:
        links = []
        for a, b in pairs:
            if a == name:
                capture = str(root / "air.pcapng") if (a, b) == ("gate", "exit") else ""
                signed = "on" if {a, b} == {"gate", "exit"} else "off"
                links.append(world.link(a, b, capture=capture, authentication=signed, **options))
        more: dict[str, Any] = {}
        if name in folders:
            more["identity"] = IdentityConfig(folder=str(folders[name].path))
        nodes[name] = world.node(name, links, plan=plan, security=security[name], **more)
    return nodes


def enrolled(root: Path) -> tuple[AuthorityFolder, dict[str, NodeFolder]]:
    """The gateways, as they come from enrolment."""
    authority = domain(root)
    return authority, {name: member(root, authority, name) for name in ("gate", "exit")}


@pytest.mark.parametrize("known", [True, False])
def test_what_goes_between_gateways_is_for_the_other_alone(tmp_path: Path, known: bool) -> None:
    """Once the first has the certificate of the other; until then it takes nothing."""
    authority, folders = enrolled(tmp_path)
    if known:
        update(authority, folders["gate"])

    async def main() -> dict[str, int]:
        nodes = chain(tmp_path, World(loop(), tmp_path), folders, SECURITY)
        async with contextlib.AsyncExitStack() as stack:
            for node in nodes.values():
                await stack.enter_async_context(node)
            there = await stack.enter_async_context(Mailbox(nodes["far"].port))
            await send_message(nodes["near"].port, FAR, SECRET)
            if not known:
                await asyncio.sleep(20)
                for name, what in (("near", "forwarded"), ("exit", "bundles_received")):
                    assert not nodes[name].counters().get(f"bundles.{what}"), name
                update(authority, folders["gate"])  # the operator brings what was missing
            async with asyncio.timeout(300):
                found = await there.receive()
            assert (bytes(found.payload), found.id.source) == (
                SECRET,
                Eid.parse("dtn://near/messages"),
            )
            await there.done(found)
            return nodes["exit"].counters()

    counters = run_virtual(main)
    assert "bundles.dropped_security" not in counters
    air = b"".join(one.data for one in read_capture((tmp_path / "air.pcapng").read_bytes()))
    assert b"//far/" in air
    assert SECRET not in air


def test_what_the_first_gateway_does_not_sign_ends_at_the_other(tmp_path: Path) -> None:
    """Anybody can encrypt for a public key."""
    authority, folders = enrolled(tmp_path)
    update(authority, folders["gate"])
    security = dict(SECURITY)
    for name in folders:
        security[name] = SecurityConfig(rules=SECURITY[name].rules[1:])

    async def main() -> dict[str, dict[str, int]]:
        nodes = chain(tmp_path, World(loop(), tmp_path), folders, security)
        async with contextlib.AsyncExitStack() as stack:
            for node in nodes.values():
                await stack.enter_async_context(node)
            await send_message(nodes["near"].port, FAR, SECRET)
            await asyncio.sleep(60)
            return {name: node.counters() for name, node in nodes.items()}

    counters = run_virtual(main)
    assert counters["exit"]["bundles.dropped_security"] == 1
    assert not counters["far"].get("bundles.bundles_received")
