"""Links that are captured: what a node sends and receives, in virtual time and over sockets."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from interop.pcap import LINKTYPE_UPPER_PDU, Record, parse_exported_pdu, read_capture
from link_models.clock import run_virtual
from stack.adapters.capture import CaptureFile
from stack.adapters.tap import CapturedPort
from stack.adapters.udp import open_udp
from stack.cli.node.run import captured_links
from stack.core.clock import DTN_EPOCH_UNIX_S, MILLISECOND
from stack.core.eid import Eid
from stack.core.errors import ConfigError
from stack.core.train import FLOW_REPAIR, Train
from stack.node.config import LinkConfig, NodeConfig, SecurityConfig, parse_config
from stack.services.messages import Mailbox, send_message
from stack.wire.ltp import decode_segment
from tests.interop.tshark import TSHARK, needs_tshark
from tests.node.test_two_nodes import channel, loop
from tests.node.world import EPOCH_MS, World

SAT = Eid.parse("dtn://sat1/")
EPOCH_NS = (EPOCH_MS + DTN_EPOCH_UNIX_S * 1000) * MILLISECOND


def exchange(root: Path, capture: str = "") -> tuple[dict[str, int], World]:
    """A message from gs1 to sat1, of which gs1 captures the link; its counters."""

    async def main() -> tuple[dict[str, int], World]:
        world = World(loop(), root)
        world.connect("gs1", "sat1", channel())
        ground = world.node("gs1", [world.link("gs1", "sat1", capture=capture)])
        satellite = world.node("sat1", [world.link("sat1", "gs1")])
        async with ground, satellite, Mailbox(satellite.port) as mailbox:
            if not capture:
                assert ground.links["sat1"].port is world.ports["gs1", "sat1"]
            await send_message(ground.port, SAT.with_service("messages"), b"hello, orbit")
            await mailbox.done(await mailbox.receive())
            await asyncio.sleep(1)
            return ground.counters(), world

    return run_virtual(main)


def records_of(path: Path) -> list[Record]:
    return list(read_capture(path.read_bytes()))


def test_who_listens_reads_headers_and_no_payload(tmp_path: Path) -> None:
    exchange(tmp_path, str(tmp_path / "air.pcapng"))
    air = b"".join(one.data for one in records_of(tmp_path / "air.pcapng"))
    assert b"//sat1/messages" in air
    assert b"hello" not in air


def test_both_ways_with_their_times_as_another_carrier(tmp_path: Path) -> None:
    path = tmp_path / "gs1.pcapng"
    counters, _ = exchange(tmp_path, str(path))
    records = records_of(path)
    assert {(one.interface, one.linktype) for one in records} == {("sat1", LINKTYPE_UPPER_PDU)}
    sent = [one for one in records if one.outbound]
    received = [one for one in records if one.outbound is False]
    assert counters["link.sat1.udp.captured"] == len(records) == len(sent) + len(received)
    assert counters["link.sat1.udp.offered_datagrams"] == len(sent) > 0
    assert counters["link.sat1.udp.received_datagrams"] == len(received) > 0
    assert counters["link.sat1.udp.capture_left_out"] == 0
    for one in records:
        name, data = parse_exported_pdu(one.data)
        assert name == "udp.port 1113"
        decode_segment(data)
        assert EPOCH_NS <= one.time_ns <= EPOCH_NS + 10**10
    times = [one.time_ns for one in records]
    assert times == sorted(times)


def test_a_capture_changes_nothing_of_what_happens(tmp_path: Path) -> None:
    plain, _ = exchange(tmp_path / "plain")
    counters, _ = exchange(tmp_path / "captured", str(tmp_path / "x.pcapng"))
    assert {name: counters[name] for name in plain} == plain
    assert counters.keys() - plain.keys() == {
        "link.sat1.udp.captured",
        "link.sat1.udp.capture_left_out",
    }


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk")
def test_a_full_disk_ends_the_capture_and_not_the_link(tmp_path: Path) -> None:
    counters, world = exchange(tmp_path, "/dev/full")
    assert counters["link.sat1.udp.capture_left_out"] == counters["link.sat1.udp.captured"] > 0
    told = [fields for node, event, fields in world.events if event == "capture_ended"]
    assert told == [{"path": "/dev/full", "why": "No space left on device"}]


def test_links_share_a_file_and_a_path_that_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "all.pcapng"

    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", channel())
        world.connect("gs1", "sat2", channel())
        links = [world.link("gs1", to, capture=str(path)) for to in ("sat1", "sat2")]
        async with world.node("gs1", links) as node:
            for to in ("sat1", "sat2"):
                await send_message(node.port, Eid.parse(f"dtn://{to}/messages"), b"hello")
            await asyncio.sleep(1)
        bad = world.link("gs1", "sat1", capture=str(tmp_path / "gone" / "x"))
        with pytest.raises(ConfigError, match=r"links\.sat1\.capture: .*gone/x: No such file"):
            await world.node("gs1", [bad]).__aenter__()

    run_virtual(main)
    assert {one.interface for one in records_of(path)} == {"sat1", "sat2"}


def test_the_path_is_relative_to_the_configuration(tmp_path: Path) -> None:
    link = {
        "name": "x",
        "peer": "dtn://x/",
        "local": "127.0.0.1:1113",
        "capture": "x.pcapng",
        "ltp": {"local_engine_id": 1, "remote_engine_id": 2},
    }
    found: LinkConfig = parse_config(
        {"id": "dtn://a/", "data_dir": "a", "security": {"protect": "none"}, "links": [link]},
        tmp_path,
    ).links[0]
    assert found.capture == str(tmp_path / "x.pcapng")


def test_the_flags_capture_all_links_or_those_that_are_named(tmp_path: Path) -> None:
    links = [World.link(None, "gs1", to) for to in ("sat1", "sat2")]  # type: ignore[arg-type]
    config = NodeConfig(
        id="dtn://gs1/", data_dir="x", security=SecurityConfig(protect="none"), links=tuple(links)
    )
    path = tmp_path / "x.pcapng"
    every = captured_links(config, path, 200_000, None).links
    assert [(one.capture, one.capture_bytes) for one in every] == [(str(path), 200_000)] * 2
    one, other = captured_links(config, path, 200_000, ["sat2"]).links
    assert (one.capture, other.capture) == ("", str(path))
    with pytest.raises(ConfigError, match=r"no link 'sat3'.*sat1, sat2"):
        captured_links(config, path, 200_000, ["sat3"])
    with pytest.raises(ConfigError, match="hold nothing"):
        captured_links(config, path, 99_999, None)


# ---- over sockets ----------------------------------------------------------------------------


def over_sockets(path: Path, host: str, *, learned: bool) -> list[tuple[str, int]]:
    """Two datagrams there and one back between two ports of a machine; both addresses."""

    async def main() -> list[tuple[str, int]]:
        file = CaptureFile(path)
        far = await open_udp((host, 0), repair_port=True)
        there = far.local_address[:2]
        near = await open_udp((host, 0), None if learned else there, repair_port=True)
        here = near.local_address[:2]
        back = await open_udp((host, 0), here, repair_port=True) if learned else None
        port = CapturedPort(near, file, "x", lambda: 5)
        heard: asyncio.Queue[list[Train]] = asyncio.Queue()
        port.on_receive = heard.put_nowait
        if back is not None:
            back.send([Train(b"first", 5)])
            await heard.get()
            there = back.local_address[:2]
        port.send([Train(b"onetwo", 3), Train(b"repair", 6, FLOW_REPAIR)])
        if back is None:
            answer: asyncio.Queue[list[Train]] = asyncio.Queue()
            far.on_receive = answer.put_nowait
            await answer.get()
            far.send([Train(b"back", 4)])
            await heard.get()
        for one in (port, far, *([back] if back else [])):
            await one.close()
        await asyncio.to_thread(file.close)
        assert port.counters()["captured"] == 4
        return [here, there]

    return asyncio.run(asyncio.wait_for(main(), 30))


@pytest.mark.peer
@needs_tshark
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("learned", [False, True])
def test_tshark_sees_the_addresses_and_both_directions(
    tmp_path: Path, host: str, learned: bool
) -> None:
    path = tmp_path / "x.pcapng"
    (_, a), (_, b) = over_sockets(path, host, learned=learned)
    assert TSHARK is not None
    version = "ipv6" if ":" in host else "ip"
    fields = [f"{version}.src", f"{version}.dst", "udp.srcport", "udp.dstport", "udp.length"]
    fields += ["frame.packet_flags_direction", "udp.checksum.status"]
    command = [TSHARK, "-r", str(path), "-o", "udp.check_checksum:TRUE", "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert all(line[:2] == [host, host] and line[-1] == "1" for line in lines)
    seen: list[Any] = [[*map(int, line[2:5]), int(line[5], 16)] for line in lines]
    sent = [[a, b, 11, 2], [a, b, 11, 2], [a + 1, b + 1, 14, 2]]
    assert seen == ([[b, a, 13, 1], *sent] if learned else [*sent, [b, a, 12, 1]])
