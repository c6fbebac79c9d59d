"""Captures: what our own reader and tshark make of them."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from interop.pcap.capture import read_capture
from interop.pcap.packet import UdpPacket
from interop.pcap.parse import parse_packet
from link_models.channel import ChannelConfig, Delay, always_up
from link_models.emulator import TcpConfig, capture
from link_models.loss import Replay
from stack.core.clock import MILLISECOND
from stack.core.errors import ConfigError
from tests.link_models.emulator.memory import BOX_A, B, MemoryLoop, in_memory, start

LIGHT = Delay.constant(20 * MILLISECOND)


def lossy() -> ChannelConfig:
    trace = [False, True, False, False, False]
    return ChannelConfig(delay=LIGHT, loss=lambda rng: Replay(trace))


def record(path: Path) -> dict[str, Any]:
    """Five datagrams, one lost, one without octets; a connection with a lost segment."""

    async def main(loop: MemoryLoop) -> dict[str, Any]:
        link = await start(loop, lossy(), ChannelConfig(delay=LIGHT), tcp=TcpConfig())
        link.start_capture(path)
        a, b = loop.ports
        a.hears(b"zero", b"one is lost", b"two", b"", b"repair"[:0])
        a.hears(b"repair flow", flow=1)
        b.hears(b"pong")
        await asyncio.sleep(1)
        link.configure("forward", lossy())
        served = loop.listen(B)
        client = loop.connect(BOX_A)
        client.transport.write(b"a stream")
        await asyncio.sleep(1)
        served[0].transport.write(b"an answer")
        await asyncio.sleep(1)
        client.transport.write_eof()
        served[0].transport.write_eof()
        await asyncio.sleep(1)
        assert link.state()["capture"]["packets"] > 0
        result = link.stop_capture()
        assert result is not None
        assert link.stop_capture() is None
        a.hears(b"not captured")
        await asyncio.sleep(1)
        return result

    return in_memory(main)


def test_datagrams_before_and_after_the_link_and_the_lost_one(tmp_path: Path) -> None:
    path = tmp_path / "link.pcapng"
    result = record(path)
    records = list(read_capture(path.read_bytes()))
    assert result["packets"] == len(records)
    assert result["bytes"] == path.stat().st_size
    found = [parse_packet(one.data, one.linktype) for one in records if one.data[9] == 17]
    ends = [
        (str(one.source), one.source_port, str(one.destination), one.destination_port, one.data)
        for one in found
        if isinstance(one, UdpPacket)
    ]
    assert all(isinstance(one, UdpPacket) and one.checksum == "ok" for one in found)
    there = ("192.0.2.1", 1000, "192.0.2.9", 5001)
    out = ("192.0.2.9", 6001, "192.0.2.2", 2000)
    assert ends[:4] == [
        (*there, b"zero"),
        (*there, b"one is lost"),
        (*there, b"one is lost"),
        (*there, b"two"),
    ]
    assert (*out, b"two") in ends
    assert (*out, b"one is lost") not in ends
    assert (*out, b"") in ends
    assert ("192.0.2.9", 6002, "192.0.2.2", 2001, b"repair flow") in ends
    assert ("192.0.2.9", 5001, "192.0.2.1", 1000, b"pong") in ends


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
def test_tshark_reads_interfaces_comments_and_streams(tmp_path: Path) -> None:
    path = tmp_path / "link.pcapng"
    record(path)

    def tshark(*arguments: str) -> list[str]:
        done = subprocess.run(
            ["tshark", "-r", str(path), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout.splitlines()

    checks = "-o udp.check_checksum:TRUE -o tcp.check_checksum:TRUE -o ip.check_checksum:TRUE"
    bad = "udp.checksum.status==0 or tcp.checksum.status==0 or ip.checksum.status==0"
    assert tshark(*checks.split(), "-Y", bad) == []
    fields = ("-T", "fields", "-e", "frame.interface_name", "-e", "frame.comment")
    dropped = tshark("-Y", 'frame.interface_name contains "dropped"', *fields)
    assert dropped == ["A to B dropped\tlost", "A to B dropped\tlost; it is sent again"]
    names = set(tshark("-T", "fields", "-e", "frame.interface_name"))
    assert names == {"A to link", "link to B", "A to B dropped", "B to link", "link to A"}
    entered = tshark("-q", "-z", "follow,tcp,ascii,0")
    assert "a stream" in entered
    assert "an answer" in entered
    marks = tshark("-Y", "tcp.flags.syn==1 or tcp.flags.fin==1", "-T", "fields", "-e", "tcp.flags")
    assert len(marks) == 8


def test_ipv6_and_unknown_ends(tmp_path: Path) -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, ChannelConfig(), peer_a=("2001:db8::1", 7), peer_b=None)
        link.start_capture(tmp_path / "six")
        loop.ports[0].hears(b"to nobody yet")
        await asyncio.sleep(1)
        link.stop_capture()

    in_memory(main)
    records = read_capture((tmp_path / "six").read_bytes())
    packets = [parse_packet(one.data, one.linktype) for one in records]
    sources = [str(one.source) for one in packets if isinstance(one, UdpPacket)]
    assert sources == ["2001:db8::1", "192.0.2.9"]
    assert all(isinstance(one, UdpPacket) and one.checksum == "ok" for one in packets)


def test_large_writes_are_cut_into_packets(tmp_path: Path) -> None:
    async def main(loop: MemoryLoop) -> int:
        link = await start(loop, ChannelConfig(windows=always_up(1e9)), tcp=TcpConfig())
        link.start_capture(tmp_path / "large")
        served = loop.listen(B)
        client = loop.connect(BOX_A)
        client.transport.write(bytes(200_000))
        await asyncio.sleep(1)
        link.stop_capture()
        return len(served[0].data)

    assert in_memory(main) == 200_000
    records = list(read_capture((tmp_path / "large").read_bytes()))
    assert sum(len(one.data) - 40 for one in records) == 400_000


def test_a_file_that_cannot_be_written_leaves_the_one_under_way(tmp_path: Path) -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, ChannelConfig())
        link.start_capture(tmp_path / "good")
        with pytest.raises(ConfigError, match="gone"):
            link.start_capture(tmp_path / "gone" / "bad")
        loop.ports[0].hears(b"x")
        assert link.state()["capture"]["path"] == str(tmp_path / "good")
        await link.close()

    in_memory(main)
    assert len(list(read_capture((tmp_path / "good").read_bytes()))) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk")
def test_a_full_disk_ends_the_capture_and_not_the_link() -> None:
    async def main(loop: MemoryLoop) -> dict[str, Any] | None:
        link = await start(loop, ChannelConfig())
        link.start_capture(Path("/dev/full"))
        for _ in range(100):
            loop.ports[0].hears(bytes(1000))
        await asyncio.sleep(1)
        assert len(loop.ports[1].sent) == 100
        return link.stop_capture()

    result = in_memory(main)
    assert result is not None
    assert result["trouble"] == "No space left on device"
    assert result["left_out"] > 0


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "CAPTURE_BYTES_MAX", 2000)

    async def main(loop: MemoryLoop) -> dict[str, Any] | None:
        link = await start(loop, ChannelConfig())
        link.start_capture(tmp_path / "small")
        for _ in range(20):
            loop.ports[0].hears(bytes(100))
        await asyncio.sleep(1)
        return link.stop_capture()

    result = in_memory(main)
    assert result is not None
    assert result["packets"] + result["left_out"] == 40
    assert (tmp_path / "small").stat().st_size < 2300
