"""A tunnel between two gateways, over a carrier that is listened to: whole nodes."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from interop.pcap import read_capture
from link_models.clock import run_virtual
from stack.audit.story import stories, with_carriers
from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.core.errors import ConfigError, PolicyError
from stack.engines.bundle_agent import TunnelConfig
from stack.node.config import PolicyConfig, parse_config
from stack.policy import DataPolicy, NodeSet
from stack.policy.file import load_directory
from stack.services.messages import Mailbox, send_message
from stack.storage.audit_log import read_log
from stack.wire.bundle import REPORT_DELIVERY
from tests.node.test_two_nodes import channel, loop
from tests.node.world import EPOCH_MS, World

END = EPOCH_MS + 7_200_000
NAMES = ("near", "gate", "carrier", "exit", "far")
TUNNELS = {
    "gate": TunnelConfig(gateway="dtn://exit/", destination="dtn://far/**"),
    "exit": TunnelConfig(gateway="dtn://gate/", destination="dtn://near/**"),
}


def test_who_carries_it_sees_neither_ends_nor_size(tmp_path: Path) -> None:
    """There and back, also a status report, which is a bundle as any."""
    pairs = [*pairwise(NAMES), *pairwise(NAMES[::-1])]
    plan = Plan(
        Contact(f"dtn://{a}/", f"dtn://{b}/", EPOCH_MS, EPOCH_MS + 3_600_000, 1e6) for a, b in pairs
    )
    far = Eid.parse("dtn://far/messages")
    near = Eid.parse("dtn://near/messages")

    async def main() -> tuple[dict[str, int], World]:
        world = World(loop(), tmp_path)
        for a, b in pairwise(NAMES):
            world.connect(a, b, channel(rate_bps=1e6))
        options: dict[str, Any] = {"rate_bps": 1e6, "owlt_ms": 5.0, "scheduled": True}
        nodes = {}
        for name in NAMES:
            tunnels = (TUNNELS[name],) if name in TUNNELS else ()
            links = []
            for a, b in pairs:
                if a == name:
                    capture = str(tmp_path / "air.pcapng") if name == "carrier" else ""
                    links.append(world.link(a, b, capture=capture, **options))
            agent = {"tunnels": tunnels, "status_reports": True}
            nodes[name] = world.node(name, links, plan=plan, agent=agent)
        one, other = nodes["near"], nodes["far"]
        async with contextlib.AsyncExitStack() as stack:
            for node in nodes.values():
                await stack.enter_async_context(node)
            there = await stack.enter_async_context(Mailbox(other.port))
            here = await stack.enter_async_context(Mailbox(one.port))
            for size in (1, 900):
                data = b"?" * size
                await send_message(one.port, far, data, report_flags=REPORT_DELIVERY)
                found = await there.receive()
                assert bytes(found.payload) == data
                await there.done(found)
            await send_message(other.port, near, b"back")
            await here.done(await here.receive())
            await asyncio.sleep(60)
            return nodes["carrier"].counters(), world

    counters, world = run_virtual(main)
    assert counters["bundles.bundles_received"] == 5
    seen = ("near", "status_report")
    told = [fields for name, what, fields in world.events if (name, what) == seen]
    assert [fields["status"] for fields in told] == ["delivered"] * 2
    air = b"".join(one.data for one in read_capture((tmp_path / "air.pcapng").read_bytes()))
    assert b"//gate/" in air
    assert b"//exit/" in air
    assert b"//far/" not in air
    assert b"//near/" not in air


@pytest.mark.parametrize("gateway", ["gate", "near"])
def test_the_story_of_what_goes_by_a_tunnel_is_whole(tmp_path: Path, gateway: str) -> None:
    """The logs say in which bundle it goes on, where that is, and when it ends; also where the
    gateway has started anew in between.  The gateway is on its way, or its source."""
    directory = tmp_path / "nodes.toml"
    directory.write_text("".join(f'[[node]]\nid = "dtn://{name}/"\n' for name in NAMES))
    pairs = [*pairwise(NAMES), *pairwise(NAMES[::-1])]
    begins = {frozenset(("gate", "carrier")): 3_600_000}
    plan = Plan(
        Contact(f"dtn://{a}/", f"dtn://{b}/", EPOCH_MS + begins.get(frozenset((a, b)), 0), END, 1e6)
        for a, b in pairs
    )
    tunnels = {gateway: TUNNELS["gate"]}
    tunnels["exit"] = TunnelConfig(gateway=f"dtn://{gateway}/", destination="dtn://near/**")
    anyone = NodeSet.parse("any")
    policy = DataPolicy(readers=anyone, rest=anyone, transit=anyone, audit=True)
    sent: list[str] = []

    async def main() -> None:
        world = World(loop(), tmp_path)
        for a, b in pairwise(NAMES):
            world.connect(a, b, channel(rate_bps=1e6))
        options: dict[str, Any] = {"rate_bps": 1e6, "owlt_ms": 5.0, "scheduled": True}

        def node(name: str) -> Any:
            links = [world.link(a, b, **options) for a, b in pairs if a == name]
            agent = {"tunnels": (tunnels[name],) if name in tunnels else ()}
            told = PolicyConfig(directory=str(directory))
            return world.node(name, links, plan=plan, agent=agent, policy=told)

        async with node("carrier"), node("exit"), node("far") as far:
            near = node("near")
            async with near, node("gate"):
                to = Eid.parse("dtn://far/messages")
                sent.append(str(await send_message(near.port, to, b"hidden", policy=policy)))
                await asyncio.sleep(60)
            async with node("near"), node("gate"), Mailbox(far.port) as mailbox:
                await mailbox.done(await mailbox.receive())
                await asyncio.sleep(60)

    run_virtual(main)
    found = stories([read_log(tmp_path / name) for name in NAMES], load_directory(directory))
    assert all(story.sound for story in found), found
    carrier = {each.object for each in found} - {*sent}
    (story,) = [each for each in found if each.object in carrier]
    names = with_carriers(sent[0], {each.object: each.entries for each in found})
    assert names == [sent[0], story.object]
    assert "dtn://carrier/" in [stay.node for stay in story.stays]


def test_what_may_not_go_by_the_tunnel_is_refused_at_once(tmp_path: Path) -> None:
    """Files and inputs of jobs too, whose bundles are made later, when nobody waits any more."""
    directory = tmp_path / "nodes.toml"
    directory.write_text(
        "".join(
            f'[[node]]\nid = "dtn://{name}/"\njurisdictions = ["{law}"]\n'
            for name, law in (("gate", "KR"), ("exit", "XX"), ("far", "KR"))
        )
    )
    kr = NodeSet.parse("KR")
    policy = DataPolicy(readers=kr, rest=NodeSet.ANY, transit=kr)

    async def main() -> None:
        world = World(loop(), tmp_path)
        agent = {"tunnels": (TUNNELS["gate"],)}
        told = PolicyConfig(directory=str(directory))
        async with world.node("gate", [], agent=agent, policy=told) as gate:
            services = gate.services
            for send in (
                partial(send_message, gate.port, Eid.parse("dtn://far/messages"), b"x"),
                partial(services.files.send, directory, "dtn://far/"),
                partial(services.jobs.submit, "dtn://far/", "work", {}, [directory]),
            ):
                for waits in (True, False):
                    with pytest.raises(PolicyError, match="it may pass through 'KR', not at dtn:"):
                        await send(policy=policy, wait_for_path=waits)
            assert not [*services.files.all_progress(), *services.jobs.all_status()]
            assert gate.waiting_bytes == 0

    run_virtual(main)


@pytest.mark.parametrize(
    ("tunnel", "protect", "key"),
    [
        ("dtn://gate/", "all", "gateway"),
        ("dtn://exit/", "none", "gateway"),
        ("exit", "all", "gateway"),
    ],
)
def test_tunnels_that_would_hide_nothing(
    tmp_path: Path, tunnel: str, protect: str, key: str
) -> None:
    data: dict[str, Any] = {
        "id": "dtn://gate/",
        "data_dir": "data",
        "agent": {"tunnels": [{"gateway": tunnel}]},
        "security": {"key_file": "keys.toml", "protect": protect},
    }
    with pytest.raises(ConfigError) as caught:
        parse_config(data, tmp_path)
    assert caught.value.key.endswith(key)
