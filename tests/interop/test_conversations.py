"""Captures followed: a simple model of sessions, captures of hostile peers, and the command."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from interop.inspect import sessions
from interop.inspect.follow import Conversations, Followed
from interop.pcap import LINKTYPE_UPPER_PDU, exported_pdu, read_capture
from interop.strategies import mutated
from interop.strategies.ltp import segments
from stack.cli.main import make_app
from stack.core import pcapng
from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError
from stack.core.packets import end_of, tcp_packet, udp_packet
from stack.wire.bundle import Bundle, CanonicalBlock, PrimaryBlock, encode_bundle
from stack.wire.ltp import (
    CancelSegment,
    Claim,
    DataSegment,
    ReportSegment,
    Segment,
    SegmentType,
    SessionId,
    encode_segment,
)
from stack.wire.sdnv import encode_sdnv
from stack.wire.tcpcl import (
    ContactHeader,
    RefuseReason,
    SessionInit,
    TransferAck,
    TransferRefuse,
    TransferSegment,
    encode_contact,
    encode_message,
)

A, B = end_of("192.0.2.1", 1113), end_of("192.0.2.2", 1113)
GS1, SAT1 = "192.0.2.1:1113", "192.0.2.2:1113"
SECOND = 10**9


def bundle(sequence: int, payload: bytes = b"hello") -> bytes:
    source, to = Eid.parse("dtn://gs1/files"), Eid.parse("dtn://sat1/files")
    primary = PrimaryBlock(to, source, source, 820_540_800_000, sequence, 1000, 0, 2)
    return encode_bundle(Bundle(primary, (CanonicalBlock(1, 1, 0, payload, 2),)))


class Link:
    """Writes a capture, packet by packet, a second apart."""

    def __init__(self) -> None:
        self.octets = pcapng.section() + pcapng.interface("gs1-sat1")
        self.now_ns = 0

    def send(self, data: bytes | Segment, *, back: bool = False, comment: str = "") -> None:
        ends = (B, A) if back else (A, B)
        self.raw(
            udp_packet(*ends, data if isinstance(data, bytes) else encode_segment(data)), comment
        )

    def raw(self, packet: bytes, comment: str = "") -> None:
        self.octets += pcapng.packet(0, self.now_ns, packet, comment=comment)
        self.now_ns += SECOND


def data(block: bytes, start: int, end: int, number: int = 1, client: int = 1) -> DataSegment:
    """A piece of a red block; the last one is the checkpoint."""
    last = end == len(block)
    return DataSegment(
        session=SessionId(7, number),
        kind=SegmentType.RED_END_BLOCK if last else SegmentType.RED,
        client_service=client,
        offset=start,
        data=block[start:end],
        checkpoint_serial=int(last),
    )


def report(upper: int, *claims: tuple[int, int], number: int = 1, serial: int = 5) -> ReportSegment:
    return ReportSegment(
        session=SessionId(7, number),
        report_serial=serial,
        checkpoint_serial=1,
        upper=upper,
        lower=0,
        claims=tuple(Claim(*claim) for claim in claims),
    )


def only(link: Link) -> Followed:
    (found,) = Conversations(link.octets).transfers
    return found


def test_a_transfer_with_a_loss() -> None:
    first, second = bundle(1), bundle(2, bytes(300))
    block = first + second
    size = len(block)
    link = Link()
    link.send(data(block, 0, 100), comment="arrives 0.1 s later")
    link.send(data(block, 100, 200), comment="lost: gilbert-elliott")
    link.send(data(block, 200, size))
    link.send(report(size, (0, 100), (200, size - 200)), back=True)
    link.send(data(block, 100, 200))
    link.send(report(size, (0, size)), back=True, comment="lost: gilbert-elliott")
    link.send(data(block, 200, size))
    link.send(report(size, (0, size), serial=6), back=True)
    found = Conversations(link.octets)
    assert found.transfers == [
        Followed(
            kind="ltp",
            name="7.1",
            source=GS1,
            destination=SAT1,
            began_ns=0,
            ended_ns=7 * SECOND,
            octets=size,
            segments=5,
            repeated=2,
            repeated_octets=100 + size - 200,
            lost=2,
            reports=3,
            ended="complete",
            bundles=(
                sessions.Carried("dtn://gs1/files@820540800000.1", "dtn://sat1/files", len(first)),
                sessions.Carried("dtn://gs1/files@820540800000.2", "dtn://sat1/files", len(second)),
            ),
        )
    ]
    assert [row.paths for row in found.bundles.values()] == [{f"{GS1} to {SAT1}": 1}] * 2


def test_aggregated_blocks_and_ends_that_are_none() -> None:
    block = b"\x01" + bundle(1) + b"\x01" + bundle(2)
    link = Link()
    link.send(data(block, 0, len(block), client=2))
    assert [one.id[-1] for one in only(link).bundles] == ["1", "2"]
    assert only(link).ended == "open at the end of the capture"
    link.send(CancelSegment(session=SessionId(7, 1), by_sender=False, reason=4), back=True)
    assert only(link).ended == "cancelled by the receiver: system error"
    link = Link()
    link.send(data(b"\x05abc", 0, 4, client=2))
    assert only(link).unread == "client service 5"
    link = Link()
    whole = bundle(1, bytes(500))
    link.send(data(whole, 300, len(whole)))
    link.send(report(len(whole), (0, len(whole))), back=True)
    assert (only(link).ended, only(link).unread) == ("complete", "not all of it was captured")
    link = Link()
    green = DataSegment(
        session=SessionId(7, 1), kind=SegmentType.GREEN_END_BLOCK, client_service=1, offset=0,
        data=bundle(1),
    )  # fmt: skip
    link.send(green)
    assert only(link).ended == "green, which nobody reports"
    assert len(only(link).bundles) == 1


def test_a_relay_on_the_same_machine_is_two_legs() -> None:
    """The emulator on loopback: the same session between two pairs of ports; and an engine that
    sends from another port than it listens on is still one."""
    block = bundle(1)
    ports = [end_of("127.0.0.1", port) for port in (1113, 5001, 6001, 2113, 50_000)]
    link = Link()
    for there, back in (((4, 1), (1, 0)), ((2, 3), (3, 2))):
        forth: list[Segment] = [data(block, 0, len(block))]
        answer: list[Segment] = [report(len(block), (0, len(block)))]
        for (one, other), (segment,) in zip((there, back), (forth, answer), strict=True):
            link.raw(udp_packet(ports[one], ports[other], encode_segment(segment)))
    # Neither pair but the first has the port by which LTP is known.
    found = Conversations(link.octets)
    assert [(one.source, one.destination, one.ended) for one in found.transfers] == [
        ("127.0.0.1:50000", "127.0.0.1:5001", "complete"),
        ("127.0.0.1:6001", "127.0.0.1:2113", "complete"),
    ]
    (row,) = found.bundles.values()
    assert sum(row.paths.values()) == 2


def test_other_carriers_and_bundles_in_datagrams() -> None:
    octets = pcapng.section() + pcapng.interface("modem", LINKTYPE_UPPER_PDU)
    block = bundle(1)
    for outbound, segment in (
        (False, data(block, 0, len(block))),
        (True, report(len(block), (0, len(block)))),
    ):
        pdu = exported_pdu(encode_segment(segment), "udp.port", 1113)
        octets += pcapng.packet(0, 5, pdu, outbound=outbound)
    octets += pcapng.packet(0, 6, exported_pdu(bundle(2), "bpv7"), outbound=True)
    octets += pcapng.packet(0, 7, exported_pdu(b"what", "other"), outbound=True)
    found = Conversations(octets)
    assert [(one.kind, one.source, one.destination, one.ended) for one in found.transfers] == [
        ("ltp", "its peer", "modem", "complete"),
        ("datagram", "modem", "its peer", "sent, which nobody reports"),
    ]
    assert found.passed_over == {"neither a bundle nor an LTP segment": 1}


# ---- a model ---------------------------------------------------------------------------------


@dataclass
class Model:
    """A session by its octets, one by one."""

    sent: set[int] = field(default_factory=set)
    claimed: set[int] = field(default_factory=set)
    segments: int = 0
    repeated: int = 0
    lost: int = 0
    end: int | None = None


@st.composite
def courses(draw: st.DrawFn) -> list[tuple[int, str, int, int, bool]]:
    """(session, data or report, from, to, lost): any pieces in any order."""
    steps = []
    for _ in range(draw(st.integers(0, 25))):
        start = draw(st.integers(0, 39))
        steps.append(
            (
                draw(st.integers(1, 3)),
                draw(st.sampled_from(["data", "data", "report"])),
                start,
                draw(st.integers(start + 1, 40)),
                draw(st.booleans()),
            )
        )
    return steps


@pytest.mark.slow
@given(courses())
def test_sessions_are_what_a_simple_model_says(
    steps: list[tuple[int, str, int, int, bool]],
) -> None:
    block = bytes(range(40))
    models: dict[str, Model] = {}
    link = Link()
    complete: dict[str, bool] = {}
    for number, what, start, end, lost in steps:
        name = f"7.{number}"
        model = models.setdefault(name, Model())
        comment = "lost: x" if lost else ""
        model.lost += lost
        octets = set(range(start, end))
        if what == "data":
            link.send(data(block, start, end, number), comment=comment)
            model.segments += 1
            model.repeated += octets <= model.sent
            model.sent |= octets
            if end == 40:
                model.end = 40
        else:
            link.send(report(40, (start, end - start), number=number), back=True, comment=comment)
            if not lost:
                model.claimed |= octets
        if model.end is not None and model.claimed >= set(range(40)):
            complete[name] = True
    found = {one.name: one for one in Conversations(link.octets).transfers}
    assert found.keys() == models.keys()
    for name, model in models.items():
        one = found[name]
        assert (one.segments, one.repeated, one.lost) == (
            model.segments,
            model.repeated,
            model.lost,
        )
        assert one.octets == len(model.sent)
        assert (one.ended == "complete") == complete.get(name, False)
        assert (one.source, one.destination) == (GS1, SAT1)


# ---- TCPCL -----------------------------------------------------------------------------------


class Connection:
    """Both streams of a TCP connection, a packet for each write, a second apart."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.ends = end_of("192.0.2.1", 50_000), end_of("192.0.2.2", 4556)
        self.sent = [0, 0]
        for back in (False, True):
            self._packet(b"", back, "SYN")

    def write(self, octets: bytes, *, back: bool = False) -> None:
        self._packet(octets, back, "")

    def _packet(self, octets: bytes, back: bool, mark: str) -> None:
        ends = self.ends[::-1] if back else self.ends
        self.link.raw(tcp_packet(*ends, self.sent[back], 0, mark, octets))
        self.sent[back] += len(octets) + bool(mark)


def segment(transfer: int, flags: int, octets: bytes) -> bytes:
    return encode_message(TransferSegment(transfer=transfer, flags=flags, data=octets))


def ack(transfer: int, flags: int, acked: int) -> bytes:
    return encode_message(TransferAck(transfer=transfer, flags=flags, acked_bytes=acked))


def test_transfers_of_tcpcl() -> None:
    link = Link()
    connection = Connection(link)
    for back in (False, True):
        connection.write(encode_contact(ContactHeader(0)), back=back)
        init = SessionInit(
            keepalive_s=60, segment_mru=1 << 20, transfer_mru=1 << 20, node_id="dtn://x/"
        )
        connection.write(encode_message(init), back=back)
    one, two, three = bundle(1), bundle(2, bytes(300)), bundle(3)
    connection.write(segment(0, 3, one) + segment(1, 2, two[:100]))  # at 6 s
    connection.write(segment(1, 0, two[100:200])[:50])
    connection.write(segment(1, 0, two[100:200])[50:])
    connection.write(ack(0, 3, len(one)) + ack(1, 2, 100) + segment(0, 3, three), back=True)
    connection.write(segment(1, 1, two[200:]) + segment(2, 3, three) + segment(3, 2, one[:9]))
    refused = encode_message(TransferRefuse(transfer=2, reason=RefuseReason.NO_RESOURCES))
    connection.write(ack(1, 1, len(two)) + refused, back=True)
    here, there = "192.0.2.1:50000", "192.0.2.2:4556"
    found = [
        (one.name, one.source, one.began_ns // SECOND, one.ended_ns // SECOND, one.octets,
         one.segments, one.ended, [row.id[-1] for row in one.bundles])
        for one in Conversations(link.octets).transfers
    ]  # fmt: skip
    assert sorted(found) == sorted(
        [
            ("0", here, 6, 9, len(one), 1, "complete", ["1"]),
            ("1", here, 6, 11, len(two), 3, "complete", ["2"]),
            ("2", here, 10, 11, len(three), 1, "refused: no resources", ["3"]),
            ("3", here, 10, 10, 9, 1, "open at the end of the capture", []),
            ("0", there, 9, 9, len(three), 1, "sent whole, not acknowledged", ["3"]),
        ]
    )


def test_transfers_of_version_3_and_another_connection_of_the_same_ports() -> None:
    link = Link()
    one, two = bundle(1), bundle(2)
    contact = b"dtn!\x03\x00\x00\x3c\x08dtn://x/"
    for _ in range(2):
        connection = Connection(link)
        connection.write(contact)
        connection.write(contact, back=True)
        for octets in (one, two):
            connection.write(bytes((0x12,)) + encode_sdnv(10) + octets[:10])
            connection.write(bytes((0x11,)) + encode_sdnv(len(octets) - 10) + octets[10:])
        connection.write(b"\x20" + encode_sdnv(10) + b"\x20" + encode_sdnv(len(one)), back=True)
        connection.write(b"\x31", back=True)
    found = Conversations(link.octets)
    assert [(one.name, one.ended, one.segments) for one in found.transfers] == [
        ("0", "complete", 2),
        ("1", "refused: reason 1", 2),
    ] * 2
    assert [list(row.paths.values()) for row in found.bundles.values()] == [[2], [2]]


def test_what_is_under_tls_is_told_as_such() -> None:
    link = Link()
    connection = Connection(link)
    for back in (False, True):
        connection.write(encode_contact(ContactHeader(1)), back=back)
        connection.write(b"\x16\x03\x01" + bytes(50), back=back)
    found = Conversations(link.octets)
    assert found.transfers == []
    assert found.passed_over == {"TCPCL streams in which no transfer can be read": 2}


@given(mutated(st.just(segment(0, 3, bundle(1)) + ack(0, 3, 9) + segment(1, 2, b"abc"))))
def test_any_stream_is_followed_as_far_as_it_goes(octets: bytes) -> None:
    link = Link()
    connection = Connection(link)
    for back in (False, True):
        connection.write(encode_contact(ContactHeader(0)) + octets, back=back)
    found = Conversations(link.octets)
    assert not found.fault
    assert sum(one.octets for one in found.transfers) <= 2 * len(octets)


# ---- hostile captures --------------------------------------------------------------------------


@given(st.lists(mutated(segments().map(encode_segment)) | st.binary(max_size=50), max_size=20))
def test_any_datagrams_are_followed_or_passed_over(datagrams: list[bytes]) -> None:
    link = Link()
    for datagram in datagrams:
        link.send(datagram)
    found = Conversations(link.octets)
    assert not found.fault
    assert len(found.transfers) + found.passed_over.total() <= len(datagrams)


def readable(octets: bytes) -> tuple[int, str]:
    """How many packets can be read, and why no more."""
    read = 0
    try:
        for _ in read_capture(octets):
            read += 1
    except DecodeError as error:
        return read, str(error)
    return read, ""


def whole_and_rest() -> tuple[bytes, bytes]:
    """A capture of two transfers, and more packets for behind it."""
    link = Link()
    link.send(data(b"abc", 0, 3, 1))
    link.send(data(b"def", 0, 3, 2))
    before = len(link.octets)
    link.send(data(b"ghi", 0, 3, 3), comment="the last")
    return link.octets[:before], link.octets[before:]


WHOLE, REST = whole_and_rest()


@given(mutated(st.just(REST)))
def test_what_cannot_be_read_on_is_told(damaged: bytes) -> None:
    found = Conversations(WHOLE + damaged)
    read, why = readable(WHOLE + damaged)
    assert read >= 2
    assert found.fault == why
    assert {"7.1", "7.2"} <= {one.name for one in found.transfers}, "what came before is told"


@given(mutated(st.just(WHOLE)))
def test_what_cannot_be_read_at_all_is_refused(damaged: bytes) -> None:
    read, why = readable(damaged)
    if why and not read:
        with pytest.raises(DecodeError, match=re.escape(why)):
            Conversations(damaged)
    else:
        assert Conversations(damaged).fault == why


def feed(segments: Iterator[Segment]) -> tuple[sessions.SeenSessions, list[sessions.SeenSession]]:
    follower = sessions.SeenSessions()
    out: list[sessions.SeenSession] = []
    for segment in segments:
        out += follower.add(segment, 0, ("a", "b"))
    return follower, out


def test_a_flood_of_sessions_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "OPEN_MAX", 50)
    follower, out = feed(data(b"x", 0, 1, number) for number in range(500))
    assert len(out) == 450
    assert len(follower._open) == len(follower._legs) == 50
    assert [one.id.number for one in out] == list(range(450))
    out += follower.finish()
    assert len(out) == 500
    assert follower._held_bytes == 0
    assert not follower._legs


def test_blocks_are_kept_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "BLOCK_BYTES_MAX", 1000)
    block = bytes(1 << 20)
    follower, _ = feed(data(block, n * 300, n * 300 + 200, n) for n in range(30))
    assert sum(len(one.block or b"") for one in follower._open.values()) <= 1000
    far = DataSegment(
        session=SessionId(1, 1), kind=SegmentType.RED, client_service=1, offset=(1 << 64) - 2,
        data=b"x",
    )  # fmt: skip
    list(follower.add(far, 0, ("a", "b")))
    rows = list(follower.finish())
    assert follower._held_bytes == 0
    assert {one.unread for one in rows} >= {
        "more octets of blocks than are kept",
        "offsets that no block has",
    }


def test_a_block_in_crumbs_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SPANS_MAX", 100)
    block = bytes(10_000)
    follower, _ = feed(data(block, n * 2, n * 2 + 1) for n in range(1000))
    (watched,) = follower._open.values()
    assert watched.sent.span_count <= 100
    many = [(n * 2, 1) for n in range(1000)]
    list(follower.add(report(10_000, *many), 0, ("b", "a")))
    assert watched.claimed.span_count <= 100


def test_one_session_in_many_places_is_bounded() -> None:
    follower = sessions.SeenSessions()
    for n in range(1000):
        list(follower.add(data(b"x", 0, 1), 0, (f"a{n}", f"b{n}")))
    assert len(follower._open) == sessions.LEGS_MAX
    assert all(len(one.ends) <= sessions.ENDS_MAX + 1 for one in follower._open.values())


# ---- the command -----------------------------------------------------------------------------


def test_the_command_shows_them(tmp_path: Path) -> None:
    block = bundle(1)
    link = Link()
    link.octets += pcapng.names({A[0]: "gs1", B[0]: "sat1\x1b[31m"})
    link.send(data(block, 0, len(block)))
    link.send(report(len(block), (0, len(block))), back=True)
    path = tmp_path / "x.pcapng"
    path.write_bytes(link.octets)
    run = CliRunner().invoke
    shown = run(make_app(), ["inspect", str(path), "--conversations"])
    assert shown.exit_code == 0
    head, line = shown.stdout.splitlines()[:2]
    assert head.split()[:3] == ["transfer", "from", "to"]
    assert line.startswith("ltp 7.1")
    assert line.endswith("complete")
    assert "\x1b" not in shown.stdout
    objects = [
        json.loads(text)
        for text in run(make_app(), ["inspect", str(path), "-c", "--json"]).stdout.splitlines()
    ]
    assert objects[0]["transfer"] == "ltp"
    assert objects[0]["ended"] == "complete"
    assert objects[0]["bundles"][0]["octets"] == len(block)
    assert objects[1]["bundle"] == objects[0]["bundles"][0]["id"]
    path.write_bytes(link.octets[:-5])
    broken = run(make_app(), ["inspect", str(path), "-c"])
    assert broken.exit_code == 1
    assert "ends in the middle" in broken.stderr
    path.write_bytes(b"no capture")
    assert isinstance(run(make_app(), ["inspect", str(path), "-c"]).exception, ConfigError)
