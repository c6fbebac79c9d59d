"""Data goes only where its policy lets it: whole nodes, and a foreign relay that is faster."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from link_models.clock import run_virtual
from stack.contacts.plan import Contact, Plan
from stack.core.clock import dtn_to_iso
from stack.core.errors import LocalError, PolicyError
from stack.node.config import ContactsConfig, PolicyConfig
from stack.node.control.operations import make_operations
from stack.node.control.request import Request, Session
from stack.node.node import Node
from stack.policy import DataPolicy, NodeSet
from stack.policy.label import encode_label
from stack.services.jobs import JobContext
from stack.services.messages import Mailbox, send_message
from tests.node.test_two_nodes import SAT, channel, loop
from tests.node.world import EPOCH_MS, World

HOUR_MS = 3_600_000

DIRECTORY = """
[[node]]
id = "dtn://gs1/"
jurisdictions = ["KR"]

[[node]]
id = "dtn://sat1/"
jurisdictions = ["KR"]

[[node]]
id = "dtn://home/"
jurisdictions = ["KR"]
roles = ["relay"]

[[node]]
id = "dtn://abroad/"
jurisdictions = ["XX"]
roles = ["relay"]
"""

AT_HOME = DataPolicy(
    readers=NodeSet.parse("KR"), rest=NodeSet.parse("KR"), transit=NodeSet.parse("any - XX")
)


def plan() -> Plan:
    """Over the relay abroad at once, over the one at home an hour later."""
    ends = EPOCH_MS + 4 * HOUR_MS
    return Plan(
        Contact(f"dtn://{a}/", f"dtn://{b}/", EPOCH_MS + begin, ends, 1e6)
        for relay, begin in (("abroad", 0), ("home", HOUR_MS))
        for a, b in (("gs1", relay), (relay, "sat1"), (relay, "gs1"), ("sat1", relay))
    )


def world_of(
    tmp_path: Path, names: dict[str, str], store: str = "memory", **how: Any
) -> dict[str, Any]:
    """The four nodes, each with the directory that `names` gives it."""
    world = World(loop(), tmp_path, store=store)
    options: dict[str, Any] = {"rate_bps": 1e6, "owlt_ms": 5.0, "scheduled": True}
    for end in ("gs1", "sat1"):
        for relay in ("abroad", "home"):
            world.connect(end, relay, channel(rate_bps=1e6))
    peers = {"gs1": ("abroad", "home"), "sat1": ("abroad", "home")}
    peers |= {"abroad": ("gs1", "sat1"), "home": ("gs1", "sat1")}
    return {
        name: world.node(
            name,
            [world.link(name, peer, **options) for peer in others],
            plan=plan(),
            policy=PolicyConfig(directory=names.get(name, "")),
            **how,
        )
        for name, others in peers.items()
    }


@pytest.mark.parametrize("told", ["everybody", "nobody but the station and the satellite"])
def test_the_relay_abroad_gets_nothing(tmp_path: Path, told: str) -> None:
    directory = tmp_path / "nodes.toml"
    directory.write_text(DIRECTORY)
    names = ["gs1", "sat1", "home"] + (["abroad"] if told == "everybody" else [])

    async def main() -> None:
        nodes = world_of(tmp_path, dict.fromkeys(names, str(directory)))
        ground, satellite = nodes["gs1"], nodes["sat1"]
        async with ground, satellite, nodes["home"], nodes["abroad"]:
            async with Mailbox(satellite.port) as mailbox:
                to = SAT.with_service("messages")
                await send_message(ground.port, to, b"for the family", policy=AT_HOME)
                await send_message(ground.port, to, b"for the world")
                first = await mailbox.receive()
                assert bytes(first.payload) == b"for the world"
                assert first.policy is None
                await mailbox.done(first)
                assert loop().now_ns < HOUR_MS * 1_000_000
                second = await mailbox.receive()
                assert bytes(second.payload) == b"for the family"
                assert second.policy == AT_HOME
                assert loop().now_ns > HOUR_MS * 1_000_000
                await mailbox.done(second)
            counters = {name: node.counters() for name, node in nodes.items()}
        assert counters["abroad"]["bundles.bundles_received"] == 1
        assert counters["home"]["bundles.bundles_received"] == 1

    run_virtual(main)


def test_what_no_admissible_way_leads_to_waits(tmp_path: Path) -> None:
    directory = tmp_path / "nodes.toml"
    directory.write_text(DIRECTORY)

    async def main() -> None:
        nodes = world_of(tmp_path, dict.fromkeys(("gs1", "sat1", "home", "abroad"), str(directory)))
        ground = nodes["gs1"]
        policy = DataPolicy(transit=NodeSet.parse("none"))
        async with ground, nodes["sat1"], nodes["home"], nodes["abroad"]:
            to = SAT.with_service("messages")
            send = partial(send_message, ground.port, to, b"to nobody's hands", policy=policy)
            with pytest.raises(PolicyError, match="no admissible path; with transit through XX"):
                await send()
            assert (ground.waiting_bytes, ground.gauges()["queue.stranded"]) == (0, 0)
            await send(wait_for_path=True)
            await asyncio.sleep(4 * 3600)
            assert ground.gauges()["queue.stranded"] == 1
            for name in ("home", "abroad"):
                assert nodes[name].counters().get("bundles.bundles_received", 0) == 0

    run_virtual(main)


def test_what_a_policy_forbids_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    directory = tmp_path / "nodes.toml"
    directory.write_text(DIRECTORY)

    async def main() -> None:
        nodes = world_of(tmp_path, {"gs1": str(directory)})
        to = SAT.with_service("messages")
        async with nodes["gs1"] as ground:
            for policy, words in (
                (DataPolicy(readers=NodeSet.parse("EU")), "read at 'EU'.*not at dtn://sat1/: 'KR'"),
                (DataPolicy(rest=NodeSet.parse("EU")), "rest at 'EU', not here"),
                (DataPolicy(expires_ms=1), "ended"),
            ):
                with pytest.raises(PolicyError, match=words):
                    await send_message(ground.port, to, b"secret", policy=policy)
        async with nodes["abroad"] as stranger:
            with pytest.raises(PolicyError, match="no directory"):
                await send_message(stranger.port, to, b"secret", policy=DataPolicy())

    run_virtual(main)


def ask(node: Node, operation: str, **fields: Any) -> Awaitable[dict[str, Any]]:
    """What a client of the control socket gets."""
    silent = Session(asyncio.StreamReader(), cast("asyncio.StreamWriter", None))
    request = Request({"op": operation} | fields)
    return make_operations(node, lambda: None)[operation](request, silent)


def test_whoever_sends_hears_what_a_policy_costs_and_what_is_missing(tmp_path: Path) -> None:
    directory = tmp_path / "nodes.toml"
    directory.write_text(DIRECTORY)
    scene = tmp_path / "scene.bin"
    scene.write_bytes(bytes(30_000))
    later, sooner = (dtn_to_iso(EPOCH_MS + at)[:16] for at in (HOUR_MS, 0))
    nobody = encode_label(replace(AT_HOME, transit=NodeSet.NONE)).hex()

    async def main() -> None:
        nodes = world_of(tmp_path, dict.fromkeys(("gs1", "sat1", "home", "abroad"), str(directory)))
        async with nodes["gs1"] as ground:
            send: dict[str, dict[str, Any]] = {
                "send_message": {"payload": "aGVsbG8="},
                "send_file": {"path": str(scene)},
                "submit_job": {"handler": "double", "inputs": [str(scene)]},
            }
            for operation, fields in send.items():
                fields["destination"] = "dtn://sat1/"
                found = await ask(ground, operation, policy=encode_label(AT_HOME).hex(), **fields)
                path = found["path"]
                assert path["text"].startswith(f"no admissible path before {later}")
                assert f"; with rest at and transit through XX it would be {sooner}" in path["text"]
                assert path["missing"] == [{"nodes": "XX", "rest": True, "transit": True}]
                with pytest.raises(PolicyError, match="no admissible path; with"):
                    await ask(ground, operation, policy=nobody, **fields)
                found = await ask(ground, operation, policy=nobody, wait_for_path=True, **fields)
                assert found["path"]["arrival"] is None
            waiting = (await ask(ground, "bundles"))["bundles"]
            arrivals = [one["path"]["arrival"] and one["path"]["arrival"][:16] for one in waiting]
            assert {later, None} == set(arrivals)
            plain = await ask(ground, "send_message", **send["send_message"])
            assert plain["path"] is None

    run_virtual(main)


def test_what_no_plan_knows_a_path_for_is_taken_with_a_policy_or_without(tmp_path: Path) -> None:
    directory = tmp_path / "nodes.toml"
    directory.write_text(DIRECTORY)

    async def main() -> None:
        nodes = world_of(tmp_path, {"gs1": str(directory)})
        async with nodes["gs1"] as ground:
            ground.set_plan(Plan())
            to = SAT.with_service("messages")
            for policy in (None, AT_HOME):
                await send_message(ground.port, to, b"hello", policy=policy)
            assert ground.gauges()["queue.stranded"] == 2

    run_virtual(main)


@pytest.mark.parametrize(("default", "refused"), [("home", False), ("abroad", True)])
def test_the_default_neighbour_is_a_path_if_it_is_allowed(
    tmp_path: Path, default: str, refused: bool
) -> None:
    directory = tmp_path / "nodes.toml"
    directory.write_text(DIRECTORY)

    async def main() -> None:
        contacts = ContactsConfig(default=f"dtn://{default}/")
        nodes = world_of(tmp_path, {"gs1": str(directory)}, contacts=contacts)
        async with nodes["gs1"] as ground:
            ground.set_plan(Plan())
            to = SAT.with_service("messages")
            send = send_message(ground.port, to, b"hello", policy=AT_HOME)
            if refused:
                with pytest.raises(PolicyError, match="in its way is dtn://abroad/: 'XX, role"):
                    await send
            else:
                await send

    run_virtual(main)


NUMBERS = st.integers() | st.booleans()
OTHERS = st.text(max_size=9) | st.binary(max_size=9) | st.floats() | st.lists(st.integers())
NO_NUMBER = st.one_of(st.none(), OTHERS, st.complex_numbers(), st.builds(object))
NO_TEXT = NUMBERS | st.binary(max_size=9) | st.floats() | st.lists(st.integers())
NO_OBJECT = st.one_of(NUMBERS, OTHERS).filter(bool)
"""Most arguments have a default for None, or for nothing at all."""

OUT_OF_RANGE = st.integers(max_value=-1) | st.integers(min_value=1 << 64)
BOTH = {"priority": NO_NUMBER | OUT_OF_RANGE, "policy": NO_OBJECT}
WRONG: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "file": BOTH
    | {
        "lifetime_ms": (NO_NUMBER | OUT_OF_RANGE).filter(lambda one: one is not None),
        "chunk_bytes": (NO_NUMBER | OUT_OF_RANGE).filter(lambda one: one is not None),
        "name": NO_TEXT,
        "tag": NO_TEXT,
        "path": NO_OBJECT.filter(lambda one: not isinstance(one, str)),
        "destination": NO_OBJECT,
    },
    "job": BOTH
    | {
        "deadline_ms": (NO_NUMBER | OUT_OF_RANGE).filter(lambda one: one is not None),
        "handler": NO_TEXT,
        "args": NO_OBJECT,
        "inputs": (NUMBERS | st.floats() | st.binary(min_size=1)),
        "limits": NO_OBJECT,
        "retry": NO_OBJECT,
        "destination": NO_OBJECT,
    },
}
ARGUMENTS = [(call, name) for call, wrong in WRONG.items() for name in wrong]
WRONGS = st.tuples(*(WRONG[call][name] for call, name in ARGUMENTS))


@settings(max_examples=10, deadline=None)
@given(WRONGS, st.booleans())
def test_what_is_no_argument_is_named_whatever_the_policy_says(
    wrongs: tuple[Any, ...], waits: bool
) -> None:
    """Of one call after the other one argument is wrong; nothing is left of any of them."""

    async def main(folder: Path) -> None:
        (folder / "nodes.toml").write_text(DIRECTORY)
        (folder / "scene.bin").write_bytes(bytes(300))
        async with world_of(folder, {"gs1": str(folder / "nodes.toml")})["gs1"] as ground:
            services = ground.services
            both = {"destination": SAT, "policy": AT_HOME, "wait_for_path": waits}
            calls: dict[str, tuple[Callable[..., Awaitable[bytes]], dict[str, Any]]] = {
                "file": (services.files.send, both | {"path": folder / "scene.bin"}),
                "job": (services.jobs.submit, both | {"handler": "double"}),
            }
            for (call, name), wrong in zip(ARGUMENTS, wrongs, strict=True):
                ask, right = calls[call]
                with pytest.raises(LocalError, match=rf"{name}\b"):
                    await ask(**(right | {name: wrong}))
            assert list(services.files.all_progress()) == services.jobs.all_status() == []
            assert ground.waiting_bytes == 0

    with tempfile.TemporaryDirectory() as folder:
        run_virtual(lambda: main(Path(folder)))


def test_data_is_gone_when_its_policy_ends(tmp_path: Path) -> None:
    directory = tmp_path / "nodes.toml"
    directory.write_text(DIRECTORY)

    async def main() -> None:
        nodes = world_of(tmp_path, {"gs1": str(directory)})
        async with nodes["gs1"] as ground:
            policy = DataPolicy(transit=NodeSet.NONE, expires_ms=EPOCH_MS + 60_000)
            to = SAT.with_service("messages")
            await send_message(ground.port, to, b"secret", policy=policy, wait_for_path=True)
            assert ground.gauges()["queue.stranded"] == 1
            await asyncio.sleep(120)
            assert ground.counters()["bundles.expired"] == 1

    run_virtual(main)


def test_nothing_that_is_said_about_a_file_or_a_job_passes_the_relay_abroad(tmp_path: Path) -> None:
    directory = tmp_path / "nodes.toml"
    directory.write_text(DIRECTORY)
    scene = tmp_path / "scene.bin"
    scene.write_bytes(bytes(300_000))

    async def double(context: JobContext) -> None:
        content = context.inputs[0].read_bytes()
        context.output("twice.bin").write_bytes(2 * content)

    async def main() -> None:
        names = dict.fromkeys(("gs1", "sat1", "home", "abroad"), str(directory))
        nodes = world_of(tmp_path, names, handlers={"double": double})
        ground, satellite = nodes["gs1"], nodes["sat1"]
        async with ground, satellite, nodes["home"], nodes["abroad"]:
            files, jobs = ground.services.files, ground.services.jobs
            sent = await files.send(scene, SAT, policy=AT_HOME)
            job = await jobs.submit(SAT, "double", {}, [scene], policy=AT_HOME)
            assert (await files.wait(sent)).state == "delivered"
            assert (await jobs.wait(job)).complete
            await asyncio.sleep(600)  # until the last receipts are there
            assert not [one for one in satellite.services.files.all_progress() if one.open]
            assert nodes["home"].counters()["bundles.bundles_received"] > 10
            assert nodes["abroad"].counters().get("bundles.bundles_received", 0) == 0

    run_virtual(main)
