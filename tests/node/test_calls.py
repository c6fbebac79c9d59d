"""What public calls take, and what they say to what is no argument of theirs."""

from __future__ import annotations

import asyncio
import json
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from link_models.channel import ChannelConfig
from link_models.clock import VirtualLoop, run_virtual
from orbitferry import (
    ConfigError,
    DatagramPort,
    Eid,
    JobContext,
    JobState,
    LinkConfig,
    LocalError,
    LogConfig,
    LtpConfig,
    Mailbox,
    Node,
    NodeConfig,
    Outgoing,
    SecurityConfig,
    StoreSection,
    ping,
    send_message,
)
from tests.node.world import World

SATELLITE = "dtn://sat1/"


async def shout(context: JobContext) -> None:
    context.output("loud").write_text(context.inputs[0].read_text().upper())


def pair(tmp_path: Path) -> tuple[World, Node, Node]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    world = World(loop, tmp_path)
    world.connect("gs1", "sat1", ChannelConfig())
    ground = world.node("gs1", [world.link("gs1", "sat1")])
    return world, ground, world.node("sat1", [world.link("sat1", "gs1")], handlers={"shout": shout})


def test_texts_do_for_eids_and_paths(tmp_path: Path) -> None:
    async def main() -> None:
        _, ground, satellite = pair(tmp_path)
        (tmp_path / "folder").mkdir()
        scene = tmp_path / "folder" / "scene"
        scene.write_text("a scene")
        async with ground, satellite, Mailbox(satellite.port) as mailbox:
            sent = await ground.services.files.send(str(scene), SATELLITE)
            assert (await ground.services.files.wait(sent)).state == "delivered"
            received = await satellite.services.files.inbox.receive()
            assert received.path.read_text() == "a scene"
            (sent,) = await ground.services.files.send_folder(str(scene.parent), SATELLITE)
            assert (await ground.services.files.wait(sent)).name == "folder/scene"
            job = await ground.services.jobs.submit(SATELLITE, "shout", inputs=[str(scene)])
            status = await ground.services.jobs.wait(job)
            assert status.state is JobState.FINISHED
            assert f"{status.state}" == "finished"
            assert status.files["loud"].read_text() == "A SCENE"
            await send_message(ground.port, f"{SATELLITE}messages", b"hello")
            assert bytes((await mailbox.receive()).payload) == b"hello"
            async for answer in ping(ground.port, f"{SATELLITE}echo", count=1):
                assert answer.rtt_ns is not None
            assert not await satellite.services.files.abandon("dtn://gs1/", bytes(16))

    run_virtual(main)


Call = Callable[[Node, Path], Any]
RULE: Any = 'rest = "KR"'
"""What a policy file says, and no policy."""


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda node, path: node.services.files.send(SATELLITE, path), "destination: PosixPath"),
        (lambda node, path: node.services.files.send(SATELLITE, str(path)), "destination: '/"),
        (lambda node, path: node.services.files.send(7, SATELLITE), r"path: 7 \(int\) is no path"),
        (lambda node, path: node.services.files.send("", SATELLITE), "path: '' is no path"),
        (lambda node, path: node.services.files.send(path, "sat1"), 'such as "dtn://sat1/"'),
        (lambda node, path: node.services.files.send(path, "dtn:none"), "has no services"),
        (lambda node, path: node.services.files.send_folder(path.parent, 5.0), "destination: 5.0"),
        (lambda node, path: node.services.files.abandon("sat1", b""), "source: 'sat1' is no EID"),
        (lambda node, path: node.services.jobs.submit("sat1", "shout"), "destination: 'sat1'"),
        (lambda node, path: node.services.jobs.submit(SATELLITE, "shout", inputs=path), "a list"),
        (
            lambda node, path: node.services.jobs.submit(SATELLITE, "shout", {"angle": 3}),
            r"more than texts; use str",
        ),
        (
            lambda node, path: send_message(node.port, SATELLITE, "text"),  # type: ignore[arg-type]
            r'write b"..." or text',
        ),
        (lambda node, path: send_message(node.port, "sat1", b""), "destination: 'sat1' is no EID"),
        (
            lambda node, path: node.services.files.send(path, SATELLITE, priority="2"),
            "whole number",
        ),
        (
            lambda node, path: node.services.files.send(path, SATELLITE, lifetime_ms=0),
            "lifetime_ms",
        ),
        (lambda node, path: node.services.files.wait("3f2a"), "object_id: '3f2a' .* is no bytes"),
        (lambda node, path: node.services.files.cancel("3f2a"), "the call that began it"),
        (lambda node, path: node.services.files.progress(None), "object_id: None"),
        (lambda node, path: node.services.jobs.wait("3f2a"), "job_id: '3f2a'"),
        (lambda node, path: node.services.jobs.submit(SATELLITE, "x", deadline_ms="1h"), "'1h'"),
        *(
            (call, r"policy: 'rest = .* is no DataPolicy; load_policy\(FILE\) reads one")
            for call in (
                lambda node, path: send_message(node.port, SATELLITE, b"", policy=RULE),
                lambda node, path: send_message(
                    node.port,
                    SATELLITE,
                    b"",
                    policy=RULE,
                    wait_for_path=True,
                ),
                lambda node, path: node.services.files.send(path, SATELLITE, policy=RULE),
                lambda node, path: node.services.jobs.submit(SATELLITE, "x", policy=RULE),
            )
        ),
        (lambda node, path: node.set_plan("day.json"), "is no Plan; load_plan"),
    ],
)
def test_misuse_says_what_is_expected(tmp_path: Path, call: Call, words: str) -> None:
    async def main() -> None:
        _, ground, _ = pair(tmp_path)
        path = tmp_path / "scene"
        path.write_text("a scene")
        async with ground:
            with pytest.raises(LocalError, match=words):
                await call(ground, path)
            assert ground.transmissions() == [], "nothing was sent"

    run_virtual(main)


def test_what_is_sent_is_read_when_it_is_made() -> None:
    made = Outgoing("dtn://sat1/log", b"", 1000, "log", report_to="ipn:5.0")
    assert made == Outgoing(
        Eid.parse("dtn://sat1/log"), b"", 1000, "log", report_to=Eid.parse("ipn:5.0")
    )
    for view in (memoryview(array("d", [1, 2])), memoryview(bytes(9))[::2]):
        with pytest.raises(LocalError, match="is no row of octets"):
            Outgoing("dtn://sat1/log", view, 1000, "log")
    with pytest.raises(LocalError, match="report_to: 'me' is no EID"):
        Outgoing("dtn://sat1/log", b"", 1000, "log", report_to="me")


def test_a_contact_is_with_somebody(tmp_path: Path) -> None:
    async def main() -> None:
        _, ground, _ = pair(tmp_path)
        async with ground:
            with pytest.raises(LocalError, match="neighbour: 'sat1' is no EID"):
                ground.contact_discovered("sat1", 1 << 40)
            with pytest.raises(ConfigError, match="dtn://sat1/"):
                ground.contact_lost(Eid.parse(SATELLITE))  # it has no scheduled link

    run_virtual(main)


# ---- making a node -----------------------------------------------------------------------------


def configuration(folder: Path, **sections: Any) -> NodeConfig:
    return NodeConfig(
        id="dtn://gs1/",
        data_dir=str(folder),
        security=SecurityConfig(protect="none"),
        store=StoreSection(kind="memory"),
        **sections,
    )


def test_a_node_is_made_of_a_configuration() -> None:
    with pytest.raises(LocalError, match=r"str is no NodeConfig; Node.from_file takes a file"):
        Node("gs1.toml")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="handler"):
        Node.from_file("gs1.toml", handler={})  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        Node.from_file("nowhere.toml")


def test_a_modem_of_ones_own_is_a_parameter(tmp_path: Path) -> None:
    asked: list[str] = []

    async def open_port(link: LinkConfig) -> DatagramPort:
        asked.append(link.name)
        raise ConfigError("modem", "is not plugged in")

    link = LinkConfig(
        name="modem", peer=SATELLITE, ltp=LtpConfig(local_engine_id=1, remote_engine_id=2)
    )

    async def main() -> None:
        with pytest.raises(ConfigError, match="not plugged in"):
            async with Node(configuration(tmp_path, links=(link,)), open_port=open_port):
                pass

    asyncio.run(main())
    assert asked == ["modem"]


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (LogConfig(), []),
        (LogConfig(level="off"), []),
        (LogConfig(level="info"), ["security_off", "node_started", "node_stopped"]),
    ],
)
def test_a_node_in_a_program_is_silent_unless_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], log: LogConfig, told: list[str]
) -> None:
    async def main() -> None:
        async with Node(configuration(tmp_path, log=log)):
            pass

    asyncio.run(main())
    out, err = capsys.readouterr()
    assert out == ""
    assert [json.loads(line)["event"] for line in err.splitlines()] == told


def test_a_log_file_is_asking(tmp_path: Path) -> None:
    async def main() -> None:
        async with Node(configuration(tmp_path, log=LogConfig(file=str(tmp_path / "log")))):
            pass

    asyncio.run(main())
    assert "node_started" in (tmp_path / "log").read_text()
