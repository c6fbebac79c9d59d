"""Captures: what our own reader and tshark make of them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from interop.pcap.capture import read_capture
from interop.pcap.packet import UdpPacket
from interop.pcap.parse import parse_packet
from link_models.channel import ChannelConfig, Delay, always_up
from link_models.emulator import TcpConfig
from link_models.loss import Replay
from stack.adapters.capture import CaptureFile
from stack.core.clock import MILLISECOND
from stack.core.errors import ConfigError
from stack.core.train import Train
from tests.link_models.emulator.memory import BOX_A, B, MemoryLoop, in_memory, start

LIGHT = Delay.constant(20 * MILLISECOND)


def file_at(path: Path, **options: Any) -> CaptureFile:
    return CaptureFile(path, inline=True, **options)


def lossy() -> ChannelConfig:
    trace = [False, True, False, False, False]
    return ChannelConfig(delay=LIGHT, loss=lambda rng: Replay(trace))


def record(path: Path) -> dict[str, Any]:
    """Five datagrams, one lost, one without octets; a connection with a lost segment."""

    async def main(loop: MemoryLoop) -> dict[str, Any]:
        link = await start(loop, lossy(), ChannelConfig(delay=LIGHT), tcp=TcpConfig())
        link.start_capture(file_at(path))
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
    assert ends[:3] == [(*there, b"zero"), (*there, b"one is lost"), (*there, b"two")]
    told = [(one.interface, one.comment, one.outbound) for one in records[:3]]
    assert told == [
        ("A to link", "arrives 0.02 s later", False),
        ("A to link", "lost", False),
        ("A to link", "arrives 0.02 s later", False),
    ]
    assert {one.interface for one in records if one.outbound} == {"link to A", "link to B"}
    assert (*out, b"two") in ends
    assert (*out, b"one is lost") not in ends
    assert (*out, b"") in ends
    assert ("192.0.2.9", 6002, "192.0.2.2", 2001, b"repair flow") in ends
    assert ("192.0.2.9", 5001, "192.0.2.1", 1000, b"pong") in ends


@pytest.mark.slow
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
    assert dropped == ["A to B dropped\tlost; it is sent again"]
    assert tshark("-Y", 'frame.comment == "lost"', *fields) == ["A to link\tlost"]
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
        link.start_capture(file_at(tmp_path / "six"))
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
        link.start_capture(file_at(tmp_path / "large"))
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
        link.start_capture(file_at(tmp_path / "good"))
        with pytest.raises(ConfigError, match="gone"):
            link.start_capture(file_at(tmp_path / "gone" / "bad"))
        loop.ports[0].hears(b"x")
        assert link.state()["capture"]["path"] == str(tmp_path / "good")
        await link.close()

    in_memory(main)
    assert len(list(read_capture((tmp_path / "good").read_bytes()))) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk")
def test_a_full_disk_ends_the_capture_and_not_the_link() -> None:
    async def main(loop: MemoryLoop) -> dict[str, Any] | None:
        link = await start(loop, ChannelConfig())
        link.start_capture(file_at(Path("/dev/full")))
        for _ in range(100):
            loop.ports[0].hears(bytes(1000))
        await asyncio.sleep(1)
        assert len(loop.ports[1].sent) == 100
        return link.stop_capture()

    result = in_memory(main)
    assert result is not None
    assert result["trouble"] == "No space left on device"
    assert result["left_out"] > 0


def test_the_file_is_bounded(tmp_path: Path) -> None:
    async def main(loop: MemoryLoop) -> dict[str, Any] | None:
        link = await start(loop, ChannelConfig())
        link.start_capture(file_at(tmp_path / "small", limit_bytes=2000))
        for _ in range(20):
            loop.ports[0].hears(bytes(100))
        await asyncio.sleep(1)
        return link.stop_capture()

    result = in_memory(main)
    assert result is not None
    assert (result["packets"], result["left_out"]) == (40, 0)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["small", "small.1"]
    assert all(one.stat().st_size <= 2000 for one in tmp_path.iterdir())


def test_a_capture_changes_nothing_and_a_link_that_is_down_is_told(tmp_path: Path) -> None:
    def run(captured: bool) -> list[tuple[int, int, bytes]]:
        async def main(loop: MemoryLoop) -> list[tuple[int, int, bytes]]:
            config = ChannelConfig(
                windows=always_up(1e6),
                delay=LIGHT,
                jitter_ns=MILLISECOND,
                reorder_probability=0.3,
                reorder_ns_max=5 * MILLISECOND,
                duplicate_probability=0.2,
                corrupt_probability=0.2,
                coalesce_ns=MILLISECOND,
            )
            link = await start(loop, config)
            if captured:
                link.start_capture(file_at(tmp_path / "x"))
            for number in range(30):
                loop.ports[0].on_receive([Train(bytes([number]) * 500, 50)])
                await asyncio.sleep(0.001)
            await asyncio.sleep(1)
            link.set_up(False)
            loop.ports[0].hears(b"in the dark")
            await link.close()
            return loop.ports[1].sent

        return in_memory(main)

    assert run(True) == run(False)
    records = list(read_capture((tmp_path / "x").read_bytes()))
    assert records[-1].comment == "lost: the link is down"


# ---- keys ------------------------------------------------------------------------------------


def certificate(folder: Path) -> Path:
    """A key and a certificate of it, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "b")])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin.replace(year=2100))
        .sign(key, hashes.SHA256())
    )
    path = folder / "pem"
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(key.private_bytes(*plain) + made.public_bytes(Encoding.PEM))
    return path


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
def test_tshark_decrypts_with_the_keys_in_the_file(tmp_path: Path) -> None:
    """TLS between two programs over the box, whose key log the capture follows, into a second
    file too: nothing but the capture is given to tshark."""
    path, key_log = tmp_path / "link.pcapng", tmp_path / "keys"
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate(tmp_path))
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname, ours.verify_mode = False, ssl.CERT_NONE
    ours.keylog_filename = str(key_log)

    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, ChannelConfig(delay=LIGHT), tcp=TcpConfig())
        link.start_capture(file_at(path, key_log=key_log))
        served = loop.listen(B)
        client = loop.connect(BOX_A)
        await asyncio.sleep(1)
        heard = [0, 0]
        bios = [(ssl.MemoryBIO(), ssl.MemoryBIO()) for _ in range(2)]
        near = ours.wrap_bio(*bios[0])
        far = theirs.wrap_bio(*bios[1], server_side=True)

        async def carry() -> None:
            """What both sides have said to one another."""
            for place, one in enumerate((client, served[0])):
                octets = bios[place][1].read()
                if octets:
                    one.transport.write(octets)
            await asyncio.sleep(0.1)
            for place, one in enumerate((client, served[0])):
                bios[place][0].write(bytes(one.data[heard[place] :]))
                heard[place] = len(one.data)

        for _ in range(6):
            for side in (near, far):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
            await carry()
        near.write(b"a secret that crosses the link")
        await carry()
        assert far.read() == b"a secret that crosses the link"
        far.write(b"and its answer")
        await carry()
        assert near.read() == b"and its answer"
        await link.close()

    in_memory(main)
    assert b"a secret" not in path.read_bytes()
    done = subprocess.run(
        ["tshark", "-r", str(path), "-q", "-z", "follow,tls,ascii,0"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )
    assert "a secret that crosses the link" in done.stdout
    assert "and its answer" in done.stdout
