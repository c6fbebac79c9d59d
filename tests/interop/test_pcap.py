"""Capture files and the packets in them: round trips, other writers' files, any octets."""

from __future__ import annotations

import contextlib
import subprocess
from io import BytesIO
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.pcap import (
    LINKTYPE_ETHERNET,
    LINKTYPE_RAW,
    LINKTYPE_UPPER_PDU,
    SNAPLEN,
    PacketPassedOver,
    PcapWriter,
    Record,
    UdpPacket,
    capture,
    exported_pdu,
    is_capture,
    parse_exported_pdu,
    parse_packet,
    read_capture,
    udp_between,
    udp_packet,
)
from interop.strategies import mutated
from stack.core.errors import DecodeError, LocalError
from tests.interop.tshark import TSHARK, needs_tshark

SECOND = 1_000_000_000

times = st.integers(0, (1 << 32) * SECOND - 1)
records = st.lists(st.tuples(times, st.binary(max_size=60)), max_size=6)


def written(packets: list[tuple[int, bytes]], linktype: int = LINKTYPE_RAW) -> bytes:
    stream = BytesIO()
    writer = PcapWriter(stream, linktype)
    for time_ns, data in packets:
        writer.write(time_ns, data)
    return stream.getvalue()


# -------------------------------------------------------------------------------- files


@given(records, st.sampled_from([LINKTYPE_ETHERNET, LINKTYPE_RAW, LINKTYPE_UPPER_PDU]))
def test_what_is_written_is_read(packets: list[tuple[int, bytes]], linktype: int) -> None:
    content = written(packets, linktype)
    assert is_capture(content)
    assert list(read_capture(content)) == [
        Record(time_ns, linktype, data, len(data)) for time_ns, data in packets
    ]


def test_the_layout_of_a_file() -> None:
    assert capture([b"abc"], 101, time_ns=5 * SECOND + 7) == bytes.fromhex(
        "a1b23c4d 0002 0004 00000000 00000000 00040000 00000065"
        "00000005 00000007 00000003 00000003 616263"
    )


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("magic", "unit_ns"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_both_byte_orders_and_units(order: str, magic: int, unit_ns: int) -> None:
    head = pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 0x1000_0001)
    packet = pack(order + "IIII", 10, 20, 3, 1500) + b"xyz"
    assert is_capture(head)
    assert list(read_capture(head + packet)) == [
        Record(10 * SECOND + 20 * unit_ns, LINKTYPE_ETHERNET, b"xyz", 1500)
    ]


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = pack(order + "I", len(body) + 12)
    return pack(order + "I", kind) + size + body + size


@pytest.mark.parametrize("order", "<>")
def test_pcapng(order: str) -> None:
    section = block(order, 0x0A0D0D0A, pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    micro = block(order, 1, pack(order + "HHI", 101, 0, 0))
    name = pack(order + "HH", 2, 5) + b"eth0\0\0\0\0"
    nano = pack(order + "HHB3xHH", 9, 1, 9, 0, 0)
    binary = pack(order + "HHB3xHH", 9, 1, 0x80 | 10, 0, 0)
    interfaces = micro + b"".join(
        block(order, 1, pack(order + "HHI", 1, 0, 0) + name + option) for option in (nano, binary)
    )
    packets = b"".join(
        block(order, 6, pack(order + "IIIII", index, 0, 2048, 3, 9) + b"abc") for index in range(3)
    )
    simple = block(order, 3, pack(order + "I", 2) + b"zz")
    statistics = block(order, 5, bytes(12))
    content = section + interfaces + statistics + packets + simple
    assert is_capture(content)
    assert list(read_capture(content)) == [
        Record(2_048_000, 101, b"abc", 9),
        Record(2048, 1, b"abc", 9, "eth0"),
        Record(2 * SECOND, 1, b"abc", 9, "eth0"),
        Record(0, 101, b"zz", 2),
    ]
    # A new section numbers its interfaces anew.
    with pytest.raises(DecodeError, match="unknown interface"):
        list(read_capture(content + section + packets))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "rest",
    [
        b"\0" * 11,  # cut short
        b"\0\0\0\1" * 3,  # block of a size that is none, in either order
        b"\0\0\0\0\xff\xff\xff\xff\0\0\0\0",
    ],
)
def test_broken_pcapng(order: str, rest: bytes) -> None:
    section = block(order, 0x0A0D0D0A, pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    with pytest.raises(DecodeError):
        list(read_capture(section + rest))
    for kind, body in ((1, b"\0" * 4), (6, b"\0" * 16), (6, b"\0" * 20), (3, b"")):
        with pytest.raises(DecodeError):
            list(read_capture(section + block(order, kind, body)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xa1\xb2",
        b"no capture at all",
        bytes.fromhex("a1b2c3d4 0002 0004 00000000"),
        bytes.fromhex("a1b2c3d4 0003 0004 00000000 00000000 00040000 00000065"),
        capture([b"abc"], 1)[:-1],
        capture([b"abc"], 1)[:30],
        capture([], 1) + bytes.fromhex("00000000 00000000 00040001 00040001") + bytes(SNAPLEN + 1),
    ],
)
def test_broken_files(content: bytes) -> None:
    with pytest.raises(DecodeError):
        list(read_capture(content))


@given(
    st.binary(max_size=100)
    | mutated(records.map(written))
    | st.binary(max_size=60).map(
        lambda rest: block("<", 0x0A0D0D0A, pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + rest
    )
)
def test_any_octets_are_packets_or_the_one_error(content: bytes) -> None:
    found = 0
    with contextlib.suppress(DecodeError):
        for record in read_capture(content):
            found += len(record.data)
    assert found <= len(content)


def test_what_does_not_fit_a_file() -> None:
    writer = PcapWriter(BytesIO(), LINKTYPE_RAW)
    writer.write(0, bytes(SNAPLEN))
    writer.write((1 << 32) * SECOND - 1, b"")
    for time_ns, size in ((0, SNAPLEN + 1), (-1, 0), ((1 << 32) * SECOND, 0)):
        with pytest.raises(LocalError):
            writer.write(time_ns, bytes(size))


@pytest.mark.peer
@needs_tshark
@pytest.mark.parametrize("form", ["pcap", "nsecpcap", "pcapng"])
def test_files_that_tshark_writes(form: str, tmp_path: Path) -> None:
    packets = [
        udp_between(("192.0.2.1", n), ("192.0.2.2", 9), bytes(n), linktype=101) for n in (1, 2, 50)
    ]
    times_ns = [1_700_000_000 * SECOND + n for n in (0, 1_000, 999_999_000)]
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(written(list(zip(times_ns, packets, strict=True))))
    assert TSHARK is not None
    subprocess.run(
        [TSHARK, "-r", str(source), "-w", str(target), "-F", form],
        check=True,
        capture_output=True,
        env={"HOME": str(tmp_path)},
    )
    assert list(read_capture(target.read_bytes())) == [
        Record(time_ns, LINKTYPE_RAW, data, len(data))
        for time_ns, data in zip(times_ns, packets, strict=True)
    ]


# ------------------------------------------------------------------------------ packets

ports = st.integers(0, 65535)
v4 = st.integers(0, (1 << 32) - 1).map(IPv4Address)
v6 = st.integers(0, (1 << 128) - 1).map(IPv6Address)
linktypes = st.sampled_from([LINKTYPE_RAW, LINKTYPE_ETHERNET])
payloads = st.binary(max_size=200)
packets4 = st.builds(UdpPacket, v4, ports, v4, ports, payloads)
packets6 = st.builds(UdpPacket, v6, ports, v6, ports, payloads)


@given(packets4 | packets6, linktypes)
def test_packets_round_trip(packet: UdpPacket, linktype: int) -> None:
    assert parse_packet(udp_packet(packet, linktype=linktype), linktype) == packet


def test_the_layout_of_a_packet() -> None:
    """Checksums by hand: IPv4 header sum 0x4500+0x1f+0x4000+0x4011+0xc000+0x201+0xc000+0x202."""
    octets = udp_between(("192.0.2.1", 1113), ("192.0.2.2", 1113), b"abc", linktype=LINKTYPE_RAW)
    header = 0x4500 + 31 + 0x4000 + 0x4011 + (0xC000 + 0x0201) + (0xC000 + 0x0202)
    datagram = (0xC000 + 0x0201) + (0xC000 + 0x0202) + 17 + 11 + 1113 + 1113 + 11 + 0x6162 + 0x6300
    sums = []
    for total in (header, datagram):
        folded = (total & 0xFFFF) + (total >> 16)
        sums.append(f"{0xFFFF - ((folded & 0xFFFF) + (folded >> 16)):04x}")
    assert octets == bytes.fromhex(
        f"4500001f 00004000 4011{sums[0]} c0000201 c0000202 0459 0459 000b {sums[1]} 616263"
    )
    ethernet = udp_between(
        ("192.0.2.1", 1113), ("192.0.2.2", 1113), b"abc", linktype=LINKTYPE_ETHERNET
    )
    assert ethernet[12:] == b"\x08\x00" + octets


@given(packets4 | packets6, st.data())
def test_an_altered_octet_of_the_data_is_a_wrong_checksum(
    packet: UdpPacket, data: st.DataObject
) -> None:
    octets = bytearray(udp_packet(packet))
    if not packet.data:
        return
    octets[-1 - data.draw(st.integers(0, len(packet.data) - 1))] ^= data.draw(st.integers(1, 255))
    found = parse_packet(octets, LINKTYPE_RAW)
    assert isinstance(found, UdpPacket)
    assert found.checksum == "wrong"


def test_a_checksum_of_zero_is_none_in_ipv4_only() -> None:
    for source, verdict in ((IPv4Address("192.0.2.1"), "none"), (IPv6Address("::1"), "wrong")):
        octets = bytearray(udp_packet(UdpPacket(source, 1, source, 2, b"abc")))
        octets[-5:-3] = bytes(2)
        found = parse_packet(octets, LINKTYPE_RAW)
        assert isinstance(found, UdpPacket)
        assert found.checksum == verdict


def test_other_protocols_and_a_vlan_tag() -> None:
    udp = UdpPacket(IPv4Address("192.0.2.1"), 1, IPv4Address("192.0.2.2"), 2, b"abc")
    frame = udp_packet(udp, linktype=LINKTYPE_ETHERNET)
    tagged = frame[:12] + bytes.fromhex("8100 0005") + frame[12:]
    assert parse_packet(tagged, LINKTYPE_ETHERNET) == udp
    arp = frame[:12] + bytes.fromhex("0806") + bytes(28)
    with pytest.raises(PacketPassedOver, match="ARP"):
        parse_packet(arp, LINKTYPE_ETHERNET)
    raw = bytearray(udp_packet(udp))
    raw[9] = 1  # ICMP, and the header's checksum made right again
    raw[10:12] = (int.from_bytes(raw[10:12], "big") + 16).to_bytes(2, "big")
    with pytest.raises(PacketPassedOver, match="ICMP"):
        parse_packet(raw, LINKTYPE_RAW)


def test_a_fragment_is_refused() -> None:
    octets = bytearray(udp_between(("192.0.2.1", 1), ("192.0.2.2", 2), b"", linktype=101))
    octets[6] = 0x20  # more fragments, instead of "don't fragment"
    octets[10:12] = (int.from_bytes(octets[10:12], "big") + 0x2000).to_bytes(2, "big")
    with pytest.raises(DecodeError, match="fragment"):
        parse_packet(octets, LINKTYPE_RAW)


@given(
    st.binary(max_size=80) | mutated((packets4 | packets6).map(udp_packet)),
    st.sampled_from([LINKTYPE_RAW, LINKTYPE_ETHERNET, 0, 108, 113, 276, 147]),
    st.booleans(),
)
def test_any_octets_parse_or_raise_the_one_error(octets: bytes, linktype: int, cut: bool) -> None:
    with contextlib.suppress(DecodeError, PacketPassedOver):
        assert parse_packet(octets, linktype, cut=cut).data in octets


@pytest.mark.parametrize(
    "make",
    [
        lambda: _udp("192.0.2.1", "::1"),
        lambda: _udp("192.0.2.1", "192.0.2.2", size=65_508),
        lambda: _udp("::1", "::2", size=65_528),
        lambda: _udp("localhost", "192.0.2.2"),
        lambda: _udp("192.0.2.1", "192.0.2.2", port=65536),
        lambda: _udp("192.0.2.1", "192.0.2.2", linktype=LINKTYPE_UPPER_PDU),
    ],
)
def test_packets_that_do_not_exist(make: Any) -> None:
    with pytest.raises(LocalError):
        make()


def test_the_largest_packets() -> None:
    for source, size in (("192.0.2.1", 65_507), ("::1", 65_527)):
        found = parse_packet(_udp(source, source, size=size), LINKTYPE_RAW)
        assert isinstance(found, UdpPacket)
        assert (len(found.data), found.checksum) == (size, "ok")


def _udp(source: str, to: str, size: int = 0, port: int = 1, linktype: int = LINKTYPE_RAW) -> bytes:
    return udp_between((source, port), (to, port), bytes(size), linktype=linktype)


# -------------------------------------------------------------------------- exported PDUs


@given(payloads, st.text("abcdefghijklmnopqrstuvwxyz0123456789.", min_size=1, max_size=40))
def test_exported_pdus_round_trip(data: bytes, name: str) -> None:
    assert parse_exported_pdu(exported_pdu(data, name)) == (name, data)
    assert parse_exported_pdu(exported_pdu(data, name, 1113)) == (f"{name} 1113", data)


def test_the_layout_of_an_exported_pdu() -> None:
    assert exported_pdu(b"\x9f", "bpv7") == bytes.fromhex("000c 0004 62707637 0000 0000 9f")
    assert exported_pdu(b"\x9f", "ltp") == bytes.fromhex("000c 0004 6c747000 0000 0000 9f")
    other_tags = bytes.fromhex("0014 0004 c0000201 000d 0003 61626300 0000 0000 9f")
    assert parse_exported_pdu(other_tags) == ("", b"\x9f")


@given(st.binary(max_size=60) | mutated(st.just(exported_pdu(b"data", "bpv7"))))
def test_any_octets_are_an_exported_pdu_or_the_one_error(octets: bytes) -> None:
    with contextlib.suppress(DecodeError):
        assert octets.endswith(parse_exported_pdu(octets)[1])


def test_exported_pdus_that_do_not_exist() -> None:
    for name in ("", "x" * 256):
        with pytest.raises(LocalError):
            exported_pdu(b"", name)
    with pytest.raises(DecodeError, match="too many"):
        parse_exported_pdu(bytes.fromhex("00140000") * 70)
