"""pcapng as we write it: our own reader and tshark find what was put in."""

from __future__ import annotations

import contextlib
import os
import subprocess
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.pcap import (
    LINKTYPE_RAW,
    LINKTYPE_UPPER_PDU,
    SNAPLEN,
    Names,
    Record,
    TcpSegment,
    UdpPacket,
    exported_pdu,
    parse_packet,
    read_capture,
)
from interop.strategies import mutated
from stack.core import pcapng
from stack.core.errors import DecodeError, LocalError
from stack.core.packets import TCP_FLAGS, End, end_of, tcp_packet, udp_packet
from tests.interop.tshark import TSHARK, needs_tshark

times = st.integers(0, (1 << 64) - 1)
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
ports = st.integers(0, 65535)
v4 = st.tuples(st.integers(0, (1 << 32) - 1).map(IPv4Address), ports)
v6 = st.tuples(st.integers(0, (1 << 128) - 1).map(IPv6Address), ports)
ways = st.sampled_from([None, True, False])
entries = st.lists(st.tuples(st.integers(0, 2), times, st.binary(max_size=60), words, ways))


def section_of(*interfaces: tuple[str, int]) -> bytes:
    return pcapng.section() + b"".join(pcapng.interface(*one) for one in interfaces)


@given(
    st.lists(st.tuples(words, st.sampled_from([1, 101, 252])), min_size=3, max_size=3),
    entries,
    st.dictionaries(st.one_of(v4, v6).map(lambda end: end[0]), words.filter(bool), max_size=4),
)
def test_what_is_written_is_read(
    interfaces: list[tuple[str, int]],
    packets: list[tuple[int, int, bytes, str, bool | None]],
    called: Names,
) -> None:
    content = section_of(*interfaces) + pcapng.names(called) + pcapng.secrets(b"CLIENT_RANDOM")
    expected = []
    for place, time_ns, data, comment, outbound in packets:
        content += pcapng.packet(place, time_ns, data, comment=comment, outbound=outbound)
        name, linktype = interfaces[place]
        expected.append(Record(time_ns, linktype, data, len(data), name, comment, outbound))
    names: Names = {}
    assert list(read_capture(content, names)) == expected
    assert names == called


@given(mutated(st.just(section_of(("x", 101)) + pcapng.packet(0, 1, b"abc", comment="c") * 2)))
def test_any_octets_are_packets_or_the_one_error(octets: bytes) -> None:
    with contextlib.suppress(DecodeError):
        for record in read_capture(octets):
            assert len(record.comment) <= 4096


def test_the_layout_of_a_packet() -> None:
    """draft-ietf-opsawg-pcapng §4.3 and §3.5, by hand: comment (1) and flags (2), outbound."""
    assert pcapng.packet(
        3, (5 << 32) + 7, b"abcde", comment="lost", outbound=True
    ) == bytes.fromhex(
        "06000000 3c000000 03000000 05000000 07000000 05000000 05000000 6162636465000000"
        "0100 0400 6c6f7374 0200 0400 02000000 00000000 3c000000"
    )
    assert pcapng.packet(0, 0, b"", outbound=False)[-16:-8] == bytes.fromhex("0200040001000000")


def test_long_words_are_cut_between_characters() -> None:
    content = section_of(("é" * 4000, 101)) + pcapng.packet(0, 1, b"", comment="a" + "é" * 4000)
    (record,) = read_capture(content)
    assert record.interface == "é" * 2048
    assert record.comment == "a" + "é" * 2047


def test_packets_that_do_not_fit() -> None:
    for time_ns, size in ((-1, 0), (1 << 64, 0), (0, SNAPLEN + 1)):
        with pytest.raises(LocalError):
            pcapng.packet(0, time_ns, bytes(size))


def test_names_and_interfaces_are_bounded() -> None:
    with pytest.raises(DecodeError, match="too many interfaces"):
        list(read_capture(pcapng.section() + pcapng.interface("x") * 1025))
    many: Names = {IPv4Address(n): "x" for n in range(70_000)}
    names: Names = {}
    list(read_capture(pcapng.section() + pcapng.names(many), names))
    assert len(names) == 65_536


@given(v4 | v6, v4 | v6, st.binary(max_size=80), times, times, st.sampled_from([*TCP_FLAGS]))
def test_made_up_packets_are_read_back(
    source: End, destination: End, data: bytes, sequence: int, answered: int, mark: str
) -> None:
    found = parse_packet(udp_packet(source, destination, data), LINKTYPE_RAW)
    assert isinstance(found, UdpPacket)
    assert (found.source_port, found.destination_port) == (source[1], destination[1])
    assert (found.data, found.checksum) == (data, "ok")
    if source[0].version == destination[0].version:
        assert (found.source, found.destination) == (source[0], destination[0])
    segment = parse_packet(
        tcp_packet(source, destination, sequence, answered, mark, data), LINKTYPE_RAW
    )
    assert isinstance(segment, TcpSegment)
    assert (segment.data, segment.sequence) == (data, sequence & 0xFFFFFFFF)
    assert segment.syn == ("SYN" in mark)


def test_ends() -> None:
    assert end_of("fe80::1%eth0", 5) == (IPv6Address("fe80::1"), 5)
    for make in (
        lambda: end_of("localhost", 1),
        lambda: udp_packet(end_of("::1", 65536), end_of("::1", 1), b""),
        lambda: tcp_packet(end_of("::1", 1), end_of("::1", 1), 0, 0, "", bytes(65_500)),
    ):
        with pytest.raises(LocalError):
            make()


@pytest.mark.peer
@needs_tshark
def test_tshark_reads_what_was_put_in(tmp_path: Path) -> None:
    content = section_of(("gs1-sat1", LINKTYPE_RAW), ("modem", LINKTYPE_UPPER_PDU))
    content += pcapng.names({IPv4Address("192.0.2.1"): "gs1.dtn"})
    ends = end_of("192.0.2.1", 1113), end_of("192.0.2.2", 1113)
    six = end_of("2001:db8::1", 1113), end_of("2001:db8::2", 1113)
    ack = bytes.fromhex("09 01 02 00 03")  # LTP: a report's acknowledgement, session 1.2
    second = 1_700_000_000 * 10**9
    content += pcapng.packet(0, second + 123_456_789, udp_packet(*ends, ack), outbound=True)
    content += pcapng.packet(0, second * 2, udp_packet(*six, ack), comment="lost", outbound=False)
    content += pcapng.packet(0, 5, tcp_packet(*ends, 1, 1, "SYN", b""))
    content += pcapng.packet(1, 6, exported_pdu(ack, "udp.port", 1113), comment="né")
    path = tmp_path / "x.pcapng"
    path.write_bytes(content)
    fields = [
        "frame.interface_name",
        "frame.time_epoch",
        "frame.comment",
        "frame.packet_flags_direction",
        "ip.src_host",
        "udp.checksum.status",
        "tcp.checksum.status",
        "ltp.session.number",
    ]
    assert TSHARK is not None
    command = [TSHARK, "-r", str(path), "-N", "n", "-T", "fields", "-E", "separator=|"]
    for check in ("udp", "tcp", "ip"):
        command += ["-o", f"{check}.check_checksum:TRUE"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )
    assert done.stdout.splitlines() == [
        "gs1-sat1|1700000000.123456789||0x00000002|gs1.dtn|1||2",
        "gs1-sat1|3400000000.000000000|lost|0x00000001||1||2",
        "gs1-sat1|0.000000005|||gs1.dtn||1|",
        "modem|0.000000006|né|||||2",
    ]
