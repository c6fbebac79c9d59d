"""Captures as they are made in the field: links of all kinds, offload, cut packets, TCP streams."""

from __future__ import annotations

import itertools
import random
import struct
from collections import Counter
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.inspect import dissect, transfers
from interop.pcap import (
    LINKTYPE_ETHERNET,
    LINKTYPE_RAW,
    PacketPassedOver,
    TcpSegment,
    TcpStreams,
    UdpPacket,
    capture,
    parse_packet,
    udp_between,
)
from interop.pcap import streams as streams_module
from interop.vectors import load
from stack.cli.inspect.tree import Frame, load_inputs
from stack.core.errors import DecodeError
from stack.wire.tcpcl import (
    SEGMENT_END,
    SEGMENT_START,
    ContactHeader,
    Keepalive,
    Message,
    SessionInit,
    TransferSegment,
    encode_contact,
    encode_message,
)
from tests.cli.conftest import cli
from tests.cli.helpers import Cli

__all__ = ["cli"]

CAPTURES = Path(__file__).parent / "captures"
SEGMENT = bytes.fromhex("0305090001000b010068656c6c6f206669656c64")
"""The LTP segment in all of `CAPTURES`."""

BUNDLE = next(
    vector.data for vector in load("bpsec_rfc9173") if vector.name == "RFC9173-A.3 final bundle"
)
UDP6 = udp_between(("fd00::1", 40_000), ("fd00::2", 1113), SEGMENT, linktype=LINKTYPE_RAW)
UDP4 = udp_between(("10.0.0.1", 40_000), ("10.0.0.2", 1113), SEGMENT, linktype=LINKTYPE_RAW)


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.pcap")), ids=lambda path: path.stem)
def test_a_segment_is_found_whatever_it_was_captured_on(path: Path) -> None:
    passed_over: Counter[str] = Counter()
    (frame,) = load_inputs(str(path), passed_over=passed_over)
    assert (frame.data, frame.kind, frame.fault) == (SEGMENT, "ltp", "")
    assert not passed_over


@pytest.mark.parametrize(
    ("linktype", "head"),
    [
        (0, "02000000"),
        (0, "00000002"),
        (108, "00000002"),
        (12, ""),
        (14, ""),
        (101, ""),
        (228, ""),
        (1, "00" * 12 + "0800"),
        (1, "00" * 12 + "810000020800"),
        (1, "00" * 12 + "9100000181000002 9200 0003 0800"),
        (113, "0000 0001 0006 000000000000 0000 0800"),
        (113, "0000 0001 0006 000000000000 0000 8100 0005 0800"),
        (276, "0800 0000 00000002 0001 00 06 0000000000000000"),
        (276, "8100 0000 00000002 0001 00 06 0000000000000000 0005 0800"),
    ],
)
def test_link_headers(linktype: int, head: str) -> None:
    found = parse_packet(bytes.fromhex(head) + UDP4, linktype)
    assert (found.data, str(found.source)) == (SEGMENT, "10.0.0.1")


@pytest.mark.parametrize("family", [10, 24, 28, 30])
@pytest.mark.parametrize("order", ["big", "little"])
def test_ipv6_on_loopbacks(family: int, order: str) -> None:
    head = family.to_bytes(4, "big" if order == "big" else "little")
    assert parse_packet(head + UDP6, 0).data == SEGMENT


@pytest.mark.parametrize(
    ("data", "linktype", "words"),
    [
        (bytes(12) + b"\x08\x06" + bytes(28), 1, "ARP"),
        (bytes(12) + b"\x88\xcc" + bytes(28), 1, "LLDP"),
        (bytes(12) + b"\x12\x34" + bytes(28), 1, "ethertype 0x1234"),
        (bytes(12) + b"\x00\x20" + bytes(28), 1, "without an ethertype"),
        (b"\x07\0\0\0" + UDP4, 0, "address family 7"),
        (UDP4, 147, "link type 147, which is not read"),
    ],
)
def test_what_is_passed_over_has_a_name(data: bytes, linktype: int, words: str) -> None:
    with pytest.raises(PacketPassedOver) as caught:
        parse_packet(data, linktype)
    assert words in caught.value.words


def with_extensions(*headers: tuple[int, bytes], last: int = 17) -> bytes:
    """`UDP6` with extension headers before UDP."""
    kinds = [kind for kind, _ in headers] + [last]
    chain = b"".join(
        bytes((following,)) + body[1:]
        for (_, body), following in zip(headers, kinds[1:], strict=True)
    )
    size = len(UDP6) - 40 + len(chain)
    return UDP6[:4] + struct.pack(">HB", size, kinds[0]) + UDP6[7:40] + chain + UDP6[40:]


OPTIONS = bytes((0, 0, 1, 4, 0, 0, 0, 0))
ROUTED = bytes((0, 2, 4, 0)) + bytes(20)
ROUTING_ON = bytes((0, 2, 4, 1)) + bytes(20)
AUTHENTICATION = bytes((0, 4)) + bytes(22)


@pytest.mark.parametrize(
    "headers",
    [
        [(0, OPTIONS)],
        [(60, OPTIONS)],
        [(43, ROUTED)],
        [(0, OPTIONS), (60, OPTIONS), (43, ROUTED), (60, OPTIONS)],
        [(51, AUTHENTICATION)],
        [(44, bytes(8))],
    ],
)
def test_ipv6_extension_headers(headers: list[tuple[int, bytes]]) -> None:
    found = parse_packet(with_extensions(*headers), LINKTYPE_RAW)
    assert isinstance(found, UdpPacket)
    assert (found.data, found.checksum) == (SEGMENT, "ok")


def test_what_has_still_to_be_routed_is_not_called_wrong() -> None:
    octets = bytearray(with_extensions((43, ROUTING_ON)))
    octets[24:40] = ip_address("fd00::9").packed  # the next router, which no checksum means
    found = parse_packet(octets, LINKTYPE_RAW)
    assert isinstance(found, UdpPacket)
    assert (found.data, found.checksum) == (SEGMENT, "unknown")


@pytest.mark.parametrize("fragment", [bytes((0, 0, 0, 1, 0, 0, 0, 9)), bytes((0, 0, 0, 8)) * 2])
def test_an_ipv6_fragment_is_told(fragment: bytes) -> None:
    with pytest.raises(DecodeError, match="fragment of an IPv6 packet"):
        parse_packet(with_extensions((44, fragment)), LINKTYPE_RAW)


def test_extension_headers_without_end() -> None:
    with pytest.raises(DecodeError, match="too many"):
        parse_packet(with_extensions(*[(60, OPTIONS)] * 17), LINKTYPE_RAW)
    with pytest.raises(DecodeError, match="cut short"):
        parse_packet(with_extensions((60, b"\0\xff" + bytes(6))), LINKTYPE_RAW)
    with pytest.raises(PacketPassedOver, match="ICMPv6"):
        parse_packet(with_extensions((0, OPTIONS), last=58), LINKTYPE_RAW)


def test_lengths_of_zero_mean_the_rest() -> None:
    six = UDP6[:4] + b"\0\0" + UDP6[6:44] + b"\0\0" + UDP6[46:]
    assert parse_packet(six, LINKTYPE_RAW).data == SEGMENT
    four = bytearray(UDP4)
    four[2:4] = four[10:12] = bytes(2)  # and the header's checksum is left to the card too
    assert parse_packet(four, LINKTYPE_RAW).data == SEGMENT


def test_a_checksum_that_is_left_to_the_network_card_is_not_wrong() -> None:
    """What stands there is the sum over the pseudo header, as Linux leaves it."""
    octets = bytearray(UDP4)
    pseudo = UDP4[12:20] + struct.pack(">HH", 17, len(UDP4) - 20)
    total = sum(struct.unpack(">6H", pseudo))
    octets[26:28] = ((total & 0xFFFF) + (total >> 16)).to_bytes(2, "big")
    found = parse_packet(octets, LINKTYPE_RAW)
    assert isinstance(found, UdpPacket)
    assert found.checksum == "offloaded"
    octets[27] ^= 1
    found = parse_packet(octets, LINKTYPE_RAW)
    assert isinstance(found, UdpPacket)
    assert found.checksum == "wrong"


@pytest.mark.parametrize("packet", [UDP4, UDP6], ids=["IPv4", "IPv6"])
def test_a_packet_that_the_capture_cut_is_shown_as_far_as_it_goes(
    packet: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "cut.pcap"
    kept = len(packet) - 5
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 60, LINKTYPE_RAW)
    path.write_bytes(head + struct.pack("<IIII", 0, 0, kept, len(packet)) + packet[:kept])
    (frame,) = load_inputs(str(path))
    assert (frame.data, frame.fault) == (SEGMENT[:-5], "cut short by the capture")
    assert "40000" in frame.title


@pytest.mark.parametrize("unit", ["us", "ns"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_times_in_either_unit_and_order(unit: str, order: str, tmp_path: Path) -> None:
    magic, fraction = (0xA1B2C3D4, 250_000) if unit == "us" else (0xA1B23C4D, 250_000_000)
    path = tmp_path / "x.pcap"
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65_535, 101)
    size = len(UDP4)
    packet = struct.pack(order + "IIII", 1_767_225_600, fraction, size, size)
    path.write_bytes(head + packet + UDP4)
    (frame,) = load_inputs(str(path))
    assert "2026-01-01T00:00:00.250Z" in frame.title


# ---- TCP ------------------------------------------------------------------------------------

A, B = ("10.0.0.1", 50_000), ("10.0.0.2", 4556)


def tcp(sequence: int, data: bytes, *, syn: bool = False, to: tuple[str, int] = B) -> bytes:
    """A captured packet with a TCP segment, whose checksum nobody looks at."""
    head = struct.pack(
        ">HHIIBBHHH", A[1], to[1], sequence % (1 << 32), 0, 0x60, 0x02 if syn else 0x10, 0, 0, 0
    ) + bytes(4)
    size = 20 + len(head) + len(data)
    addresses = ip_address(A[0]).packed + ip_address(to[0]).packed
    return struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0, 64, 6, 0) + addresses + head + data


def session(parts: int = 3) -> bytes:
    """One direction of a TCPCL session: a bundle in one segment, then one in several."""
    step = -(-len(BUNDLE) // parts)
    pieces = [BUNDLE[at : at + step] for at in range(0, len(BUNDLE), step)]
    both = SEGMENT_START | SEGMENT_END
    messages: list[Message] = [
        SessionInit(
            keepalive_s=60, segment_mru=1 << 20, transfer_mru=1 << 30, node_id="dtn://gs1/"
        ),
        TransferSegment(transfer=0, flags=both, data=BUNDLE),
        Keepalive(),
    ]
    for place, piece in enumerate(pieces):
        flags = SEGMENT_START * (place == 0) | SEGMENT_END * (place == len(pieces) - 1)
        messages.append(TransferSegment(transfer=1, flags=flags, data=piece))
    return encode_contact(ContactHeader()) + b"".join(map(encode_message, messages))


def shown(path: Path, packets: list[bytes]) -> tuple[list[Frame], Counter[str]]:
    passed_over: Counter[str] = Counter()
    path.write_bytes(capture(packets, LINKTYPE_RAW))
    return load_inputs(str(path), passed_over=passed_over), passed_over


def test_bundles_in_a_tcpcl_session(tmp_path: Path) -> None:
    stream = session()
    packets = [tcp(999, b"", syn=True)]
    packets += [tcp(1000 + at, stream[at : at + 100]) for at in range(0, len(stream), 100)]
    (whole, joined), passed_over = shown(tmp_path / "x.pcap", packets)
    assert (whole.data, whole.kind, whole.fault) == (stream, "tcpcl", "")
    assert whole.title == (f"TCPCL in packets 1 to {len(packets)}, 10.0.0.1:50000 to 10.0.0.2:4556")
    assert (joined.data, joined.kind) == (BUNDLE, "bundle")
    assert joined.title.startswith("transfer 1 of TCPCL in packets")
    assert not passed_over
    tree = dissect(whole.data, whole.kind)
    assert not tree.errors
    labels = [child.label for child in tree.children]
    assert labels == [
        "contact header",
        "SESS_INIT",
        "XFER_SEGMENT",
        "KEEPALIVE",
        *["XFER_SEGMENT"] * 3,
    ]
    bundle = tree.find("XFER_SEGMENT", "bundle")
    assert bundle is not None
    assert bundle.value == "ipn:2.1 to ipn:1.2"


def test_bundles_in_a_session_of_version_3(tmp_path: Path) -> None:
    """RFC 7242, written by hand; the lengths are SDNVs of two octets."""

    def segment(flags: int, data: bytes) -> bytes:
        return bytes((0x10 | flags, 0x80 | len(data) >> 7, len(data) & 0x7F)) + data

    half = len(BUNDLE) // 2
    stream = (
        b"dtn!\x03\x00\x00\x3c\x07ipn:2.0"
        + bytes.fromhex("60 8100 40")
        + segment(3, BUNDLE)
        + bytes.fromhex("20 8100 31")
        + segment(2, BUNDLE[:half])
        + segment(1, BUNDLE[half:])
        + bytes.fromhex("53 01 000a")
    )
    packets = [tcp(0, b"", syn=True), tcp(1, stream)]
    (whole, joined), _ = shown(tmp_path / "x.pcap", packets)
    tree = dissect(whole.data, whole.kind)
    assert not tree.errors
    assert [child.label for child in tree.children] == [
        "contact header",
        "LENGTH",
        "KEEPALIVE",
        "DATA_SEGMENT",
        "ACK_SEGMENT",
        "REFUSE_BUNDLE",
        "DATA_SEGMENT",
        "DATA_SEGMENT",
        "SHUTDOWN",
    ]
    assert tree.children[0].note == "ipn:2.0, keepalive 60 s"
    bundle = tree.find("DATA_SEGMENT", "bundle")
    assert bundle is not None
    assert bundle.value == "ipn:2.1 to ipn:1.2"
    assert (joined.data, joined.kind) == (BUNDLE, "bundle")


@given(st.sampled_from([3, 4, 5]), st.binary(max_size=60))
def test_any_octets_of_a_session_are_shown_as_far_as_they_go(version: int, octets: bytes) -> None:
    data = b"dtn!" + bytes((version,)) + octets
    assert dissect(data, "tcpcl").length == len(data)
    assert all(len(whole) <= len(data) for _, whole in transfers(data))


@given(st.integers(0, 2**32 - 1), st.randoms(use_true_random=False), st.booleans())
def test_any_order_of_any_cuts_gives_the_stream(
    start: int, rng: random.Random, repeated: bool
) -> None:
    stream = session()
    cuts = sorted({0, len(stream), *(rng.randrange(len(stream)) for _ in range(12))})
    pieces = [(a, stream[a:b]) for a, b in itertools.pairwise(cuts)]
    if repeated:
        pieces += [
            (a, stream[a : a + rng.randrange(1, 90)])
            for a in (rng.randrange(len(stream)) for _ in range(6))
        ]
    rng.shuffle(pieces)
    streams = TcpStreams()
    ends = (ip_address(A[0]), A[1], ip_address(B[0]), B[1])
    streams.add(TcpSegment(*ends, (start - 1) % (1 << 32), True, b""), 1)
    for number, (at, data) in enumerate(pieces, 2):
        streams.add(TcpSegment(*ends, (start + at) % (1 << 32), False, data), number)
    (found,) = streams.finish()
    assert (bytes(found.data), found.missing) == (stream, False)
    assert streams.passed_over == {}


def test_a_hole_in_the_capture_is_told_and_what_is_before_it_shown(tmp_path: Path) -> None:
    stream = session()
    packets = [tcp(99, b"", syn=True), tcp(100, stream[:300]), tcp(420, stream[320:])]
    (frame,), _ = shown(tmp_path / "x.pcap", packets)
    assert frame.data == stream[:300]
    assert "missing in the capture" in frame.fault


def test_other_tcp_is_counted(tmp_path: Path) -> None:
    web = ("10.0.0.9", 80)
    packets = [tcp(9, b"", syn=True, to=web), tcp(10, b"GET / HTTP/1.1\r\n", to=web)]
    frames, passed_over = shown(tmp_path / "x.pcap", packets)
    assert (frames, passed_over) == ([], {"TCP without TCPCL": 2})
    frames, passed_over = shown(tmp_path / "x.pcap", [tcp(7, session()[40:])])
    assert (frames, list(passed_over)) == ([], ["TCPCL whose beginning is not in the capture"])


def test_ports_that_serve_again_are_another_stream(tmp_path: Path) -> None:
    packets = []
    for begin in (100, 5_000_000):
        packets += [tcp(begin - 1, b"", syn=True), tcp(begin, session(1))]
    frames, _ = shown(tmp_path / "x.pcap", packets)
    assert [frame.data for frame in frames] == [session(1)] * 2


def test_streams_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "STREAMS_MAX", 3)
    monkeypatch.setattr(streams_module, "AHEAD_BYTES_MAX", 1000)
    streams = TcpStreams()
    a, b = ip_address(A[0]), ip_address(B[0])
    for port in range(1, 6):
        streams.add(TcpSegment(a, port, b, 4556, 0, False, b"dtn!"), port)
        for at in range(100, 10_000, 100):
            streams.add(TcpSegment(a, port, b, 4556, at, False, bytes(100)), port)
    assert [len(one.ahead) for one in streams._open.values()] == [10, 10, 10]
    assert streams.passed_over == {"TCP beyond 3 connections": 200}
    assert [(bytes(one.data), one.missing) for one in streams.finish()] == [(b"dtn!", True)] * 3


# ---- the command ----------------------------------------------------------------------------


def test_nothing_for_us_is_never_silence(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    path.write_bytes(capture([arp, arp], LINKTYPE_ETHERNET))
    ran = cli("inspect", path)
    assert (ran.code, ran.out) == (1, "2 packets passed over: ARP (2)\n")
    assert cli("inspect", path, "--json").json == [{"passed_over": {"ARP": 2}}]
    path.write_bytes(capture([], LINKTYPE_ETHERNET))
    ran = cli("inspect", path)
    assert (ran.code, ran.out) == (1, "no packets in this capture\n")
    path.write_bytes(capture([bytes(20)] * 3, 147))
    ran = cli("inspect", path)
    assert ran.out == "3 packets passed over: link type 147, which is not read (3)\n"


def test_what_is_passed_over_is_counted_beside_what_is_shown(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    ack = udp_between(A, ("10.0.0.2", 1113), bytes.fromhex("09 8768 4d 00 09"), linktype=101)
    icmp = bytearray(UDP4)
    icmp[9:12] = b"\x01\0\0"
    path.write_bytes(capture([ack, bytes(icmp)], LINKTYPE_RAW))
    ran = cli("inspect", path)
    assert ran.code == 0
    assert ran.out.endswith("1 packet passed over: ICMP (1)\n")
