"""The conversations in a capture: a line for each transfer and each bundle, in place of a tree for
each packet.

LTP sessions, transfers of TCPCL, and bundles in datagrams of their own (RFC 7122).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from interop.inspect.carriers import EXPORTED, kind_of
from interop.inspect.sessions import Carried, SeenSession, SeenSessions, carried
from interop.inspect.tcpcl_transfers import SeenTransfer, seen_transfers
from interop.pcap import (
    LINKTYPE_UPPER_PDU,
    Names,
    PacketPassedOver,
    Record,
    StreamOctets,
    TcpSegment,
    TcpStreams,
    UdpPacket,
    parse_exported_pdu,
    parse_packet,
    read_capture,
)
from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.wire.bundle import Mode, decode_bundle
from stack.wire.fecframe import PAYLOAD_ID_BYTES
from stack.wire.ltp import decode_segment

TRANSFERS_MAX: Final = 100_000
"""Transfers that are told, and bundles; of the others only the number."""

LOST: Final = "lost"
"""How the comment of a packet begins that did not arrive, in captures of our simulator and
emulator."""

NEITHER: Final = "neither a bundle nor an LTP segment"
UNREAD: Final = "TCPCL streams in which no transfer can be read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """One conversation."""

    kind: str
    """"ltp", "tcpcl" or "datagram"."""

    name: str
    """The id of an LTP session, the number of a transfer."""

    source: str
    destination: str
    began_ns: int
    ended_ns: int
    octets: int
    segments: int
    repeated: int = 0
    repeated_octets: int = 0
    lost: int = 0
    reports: int = 0
    ended: str
    bundles: tuple[Carried, ...]
    unread: str = ""


@dataclass(slots=True)
class SeenBundle:
    """One bundle, wherever it was seen."""

    id: str
    destination: str
    octets: int
    began_ns: int
    ended_ns: int
    paths: dict[str, int] = field(default_factory=dict)
    """How often it was sent from where to where."""


class Conversations:
    """The conversations of a whole capture file."""

    def __init__(self, capture: Buffer) -> None:
        """Raises `DecodeError` for what is no capture."""
        self.transfers: list[Followed] = []
        self.bundles: dict[str, SeenBundle] = {}
        self.left_out = 0
        """Transfers beyond the bound, and bundles."""
        self.passed_over: Counter[str] = Counter()
        """Packets that hold nothing to follow, by what they are."""
        self.fault = ""
        """Where the capture could not be read on."""
        self._names: Names = {}
        self._sessions = SeenSessions()
        self._streams = TcpStreams()
        self._packets = 0
        try:
            for record in read_capture(capture, self._names):
                self._packets += 1
                try:
                    self._record(record)
                except PacketPassedOver as other:
                    self.passed_over[other.words] += 1
                except DecodeError as error:
                    self.passed_over[f"unreadable by {error.section}"] += 1
        except DecodeError as error:
            if not self._packets:
                raise
            self.fault = str(error)
        for session in self._sessions.finish():
            self._tell(_of_session(session))
        streams = self._streams.finish()
        transfers = list(seen_transfers(streams))
        for transfer in transfers:
            self._tell(self._of_transfer(transfer))
        if streams and not transfers:
            self.passed_over[UNREAD] += len(streams)
        self.passed_over.update(self._streams.passed_over)
        self.transfers.sort(key=lambda one: one.began_ns)

    def _record(self, record: Record) -> None:
        """Raises `PacketPassedOver`, `DecodeError`."""
        if record.original_bytes > len(record.data):
            raise PacketPassedOver("cut short by the capture")
        if record.linktype == LINKTYPE_UPPER_PDU:
            name, data = parse_exported_pdu(record.data)
            kind = EXPORTED.get(name, "auto")
            here, peer = record.interface or "this end", "its peer"
            ends = (peer, here) if record.outbound is False else (here, peer)
        else:
            packet = parse_packet(record.data, record.linktype)
            if isinstance(packet, TcpSegment):
                self._streams.add(packet, self._packets, record.time_ns)
                return
            data, kind, ends = packet.data, kind_of(packet), self._ends(packet)
        if not data:
            raise PacketPassedOver("datagrams without octets")
        if data[0] >> 5 == 4:  # an array: RFC 9171 §4.1
            self._bundle(record, data, ends)
        else:
            self._segment(record, data, ends, strict=kind != "ltp")

    def _bundle(self, record: Record, data: bytes, ends: tuple[str, str]) -> None:
        """A bundle in a datagram of its own: nobody says whether it has arrived."""
        bundle, end = decode_bundle(data, mode=Mode.LENIENT)
        lost = record.comment.startswith(LOST)
        self._tell(
            Followed(
                kind="datagram",
                name="",
                source=ends[0],
                destination=ends[1],
                began_ns=record.time_ns,
                ended_ns=record.time_ns,
                octets=len(data),
                segments=1,
                lost=int(lost),
                ended="lost" if lost else "sent, which nobody reports",
                bundles=(carried(bundle, end),),
            )
        )

    def _segment(self, record: Record, data: bytes, ends: tuple[str, str], *, strict: bool) -> None:
        """`strict`: nothing but its octets says that it is LTP, so they must be nothing else."""
        try:
            segment, end = decode_segment(data)
        except DecodeError:
            if strict:
                raise PacketPassedOver(NEITHER) from None
            raise
        if strict and len(data) - end not in (0, PAYLOAD_ID_BYTES):
            raise PacketPassedOver(NEITHER)
        lost = record.comment.startswith(LOST)
        for session in self._sessions.add(segment, record.time_ns, ends, lost=lost):
            self._tell(_of_session(session))

    def _of_transfer(self, transfer: SeenTransfer) -> Followed:
        source, destination = self._ends(transfer.stream)
        bundle, unread = transfer.bundle()
        return Followed(
            kind="tcpcl",
            name=str(transfer.number),
            source=source,
            destination=destination,
            began_ns=transfer.began_ns,
            ended_ns=transfer.ended_ns,
            octets=transfer.octets,
            segments=transfer.segments,
            ended=transfer.ended,
            bundles=() if bundle is None else (bundle,),
            unread=unread,
        )

    def _ends(self, packet: UdpPacket | StreamOctets) -> tuple[str, str]:
        source, destination = (
            self._names.get(address) or (f"[{address}]" if address.version == 6 else str(address))
            for address in (packet.source, packet.destination)
        )
        return f"{source}:{packet.source_port}", f"{destination}:{packet.destination_port}"

    def _tell(self, transfer: Followed) -> None:
        if len(self.transfers) >= TRANSFERS_MAX:
            self.left_out += 1
            return
        self.transfers.append(transfer)
        for one in transfer.bundles:
            row = self.bundles.get(one.id)
            if row is None:
                if len(self.bundles) >= TRANSFERS_MAX:
                    self.left_out += 1
                    continue
                row = self.bundles[one.id] = SeenBundle(
                    one.id, one.destination, one.octets, transfer.began_ns, transfer.ended_ns
                )
            row.began_ns = min(row.began_ns, transfer.began_ns)
            row.ended_ns = max(row.ended_ns, transfer.ended_ns)
            path = f"{transfer.source} to {transfer.destination}"
            row.paths[path] = row.paths.get(path, 0) + 1


def _of_session(session: SeenSession) -> Followed:
    complete_ns = session.complete_ns
    return Followed(
        kind="ltp",
        name=str(session.id),
        source=session.source,
        destination=session.destination,
        began_ns=session.began_ns,
        ended_ns=session.last_ns if complete_ns is None else complete_ns,
        octets=session.red_bytes + session.green_bytes,
        segments=session.segments,
        repeated=session.repeated,
        repeated_octets=session.repeated_bytes,
        lost=session.lost,
        reports=session.reports,
        ended=session.ended,
        bundles=session.bundles,
        unread=session.unread,
    )
