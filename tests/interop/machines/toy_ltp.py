"""A toy LTP engine, right in what it does unless it is given one of `FAULTS`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from interop.strategies.ltp_transfers import holes
from stack.core.errors import DecodeError
from stack.wire.ltp import (
    CLIENT_BP,
    CancelAck,
    CancelSegment,
    Claim,
    DataSegment,
    ReportAck,
    ReportSegment,
    Segment,
    SegmentType,
    SessionId,
    decode_segment,
    encode_segment,
)

REPEAT_NS = 10**9
PIECE = 700

FAULTS = {
    "claims what never came": "§6.11",
    "claims the first octets of any block": "§6.11",
    "never repeats a report": "§6.8",
    "gives out a report's serial number again": "§3.2.2",
    "answers a checkpoint that never came": "§3.2.2",
    "hands a block over before it is whole": "§6.9",
    "hands a block over with each checkpoint": "§6.9",
    "forgets the end of the red part when it comes early": "§6.9",
    "acknowledges no cancellation by the sender": "§6.17",
    "reports on a cancelled session": "§6.19 or §6.20 or §3.2.2 or §6.9",  # it goes on with it
    "acknowledges a report only once": "§6.13",
    "goes on when all has arrived": "§6.12",
    "never repeats a checkpoint": "§6.7",
    "repeats a checkpoint with other octets": "§3.2.1",
    "sends gaps one octet too far": "§3.2.1",
    "acknowledges no cancellation by the receiver": "§6.17",
    "goes on after the receiver has cancelled": "§6.19",
    "answers what is no segment": "§3.1",
    "never forgets": "§6.20",
}
"""What can be wrong, and the clause that it breaks."""


@dataclass
class _In:
    octets: dict[int, int] = field(default_factory=dict)
    length: int = -1
    delivered: bool = False
    open_reports: dict[int, ReportSegment] = field(default_factory=dict)


@dataclass
class _Out:
    block: bytes
    told: list[tuple[int, int]] = field(default_factory=list)
    open_checkpoints: dict[int, DataSegment] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    serial: int = 100


class Toy:
    """One engine; `fault` is one of `FAULTS` or empty."""

    fault = ""

    def __init__(self, engine_id: int, peer_id: int) -> None:
        self._id = engine_id
        self._in: dict[SessionId, _In] = {}
        self._over: set[SessionId] = set()
        self._out: dict[SessionId, _Out] = {}
        self._said: list[Segment] = []
        self._blocks: list[bytes] = []
        self._number = 0
        self._serial = 0
        self._due = REPEAT_NS

    # ------------------------------------------------------------------ what the machine asks

    def receive(self, datagram: bytes, now_ns: int) -> None:
        try:
            segment, _ = decode_segment(datagram)
        except DecodeError:
            if self.fault == "answers what is no segment":
                self._said.append(ReportAck(session=SessionId(1, 1), report_serial=1))
            return
        match segment:
            case DataSegment() if segment.kind < SegmentType.GREEN:
                self._data(segment)
            case ReportSegment():
                self._report(segment)
            case ReportAck():
                if segment.session in self._in:
                    self._in[segment.session].open_reports.pop(segment.report_serial, None)
            case CancelSegment():
                self._cancelled(segment)

    def advance(self, now_ns: int) -> None:
        if now_ns < self._due:
            return
        self._due = now_ns + REPEAT_NS
        for here in self._in.values():
            if self.fault != "never repeats a report":
                self._said += here.open_reports.values()
        for session, out in self._out.items():
            if self.fault == "never forgets":
                self._said += [ReportAck(session=session, report_serial=n) for n in out.seen]
            if self.fault == "never repeats a checkpoint":
                continue
            for one in out.open_checkpoints.values():
                other = b"?" + bytes(one.data)[1:]
                wrong = self.fault == "repeats a checkpoint with other octets"
                self._said.append(replace(one, data=other) if wrong else one)

    def send(self, block: bytes) -> None:
        session = SessionId(self._id, self._number)
        self._number += 1
        self._out[session] = out = _Out(block)
        self._emit(session, out, 0, len(block), 0)

    def poll(self) -> list[bytes]:
        said, self._said = self._said, []
        return [encode_segment(segment) for segment in said]

    def blocks(self) -> list[bytes]:
        found, self._blocks = self._blocks, []
        return found

    # ------------------------------------------------------------------------- as a receiver

    def _data(self, segment: DataSegment) -> None:
        session = segment.session
        if session in self._over and self.fault != "reports on a cancelled session":
            return
        here = self._in.setdefault(session, _In())
        here.octets.update(enumerate(segment.data, segment.offset))
        end = segment.offset + len(segment.data)
        early = self.fault == "forgets the end of the red part when it comes early" and (
            len(here.octets) < end
        )
        if segment.kind >= SegmentType.RED_END and not early:
            here.length = end
        self._deliver(here, segment.is_checkpoint)
        if segment.is_checkpoint:
            self._answer(here, segment, end)

    def _deliver(self, here: _In, asked: bool) -> None:
        whole = 0 <= here.length == len(here.octets)
        if self.fault == "hands a block over before it is whole" and here.length >= 0:
            whole = True
        again = self.fault == "hands a block over with each checkpoint" and asked
        if whole and (again or not here.delivered):
            here.delivered = True
            self._blocks.append(bytes(here.octets.get(at, 0) for at in range(here.length)))

    def _answer(self, here: _In, checkpoint: DataSegment, end: int) -> None:
        spans = [(at, at + 1) for at in here.octets]
        if self.fault == "claims what never came":
            spans.append((0, end))
        if self.fault == "claims the first octets of any block":
            spans.append((0, 1))
        edges = [0, *(edge for gap in holes(spans, 0, end) for edge in gap), end]
        claims = [
            Claim(start, stop - start)
            for start, stop in zip(edges[::2], edges[1::2], strict=True)
            if start < stop
        ]
        if self.fault != "gives out a report's serial number again" or self._serial == 0:
            self._serial += 1
        off = self.fault == "answers a checkpoint that never came"
        report = ReportSegment(
            session=checkpoint.session,
            report_serial=self._serial,
            checkpoint_serial=checkpoint.checkpoint_serial + off,
            upper=end,
            lower=0,
            claims=tuple(claims),
        )
        here.open_reports[report.report_serial] = report
        self._said.append(report)

    # --------------------------------------------------------------------------- as a sender

    def _emit(self, session: SessionId, out: _Out, start: int, stop: int, answers: int) -> None:
        """Octets leave; the last segment is a checkpoint."""
        shift = self.fault == "sends gaps one octet too far" and answers > 0
        for at in range(start, stop, PIECE):
            end = min(at + PIECE, stop)
            kind = SegmentType.RED
            if end == stop:
                kind = SegmentType.RED_CHECKPOINT
            if end == len(out.block):
                kind = SegmentType.RED_END_BLOCK
            checkpoint = kind != SegmentType.RED
            out.serial += checkpoint
            segment = DataSegment(
                session=session,
                kind=kind,
                client_service=CLIENT_BP,
                offset=at,
                data=out.block[at + shift : end + shift].ljust(end - at, b"!"),
                checkpoint_serial=out.serial if checkpoint else 0,
                report_serial=answers if checkpoint else 0,
            )
            if checkpoint:
                out.open_checkpoints[out.serial] = segment
            self._said.append(segment)

    def _report(self, report: ReportSegment) -> None:
        session = report.session
        out = self._out.get(session)
        known = out is not None and report.report_serial in out.seen
        if not (known and self.fault == "acknowledges a report only once"):
            self._said.append(ReportAck(session=session, report_serial=report.report_serial))
        if out is None or known:
            return
        out.seen.add(report.report_serial)
        out.told += [(start, start + length) for start, length in report.claims]
        if self.fault != "goes on when all has arrived":
            out.open_checkpoints.pop(report.checkpoint_serial, None)
            if not holes(out.told, 0, len(out.block)):
                out.open_checkpoints.clear()
        for start, stop in holes(out.told, 0, report.upper):
            self._emit(session, out, start, stop, report.report_serial)

    # ------------------------------------------------------------------------- cancellations

    def _cancelled(self, cancel: CancelSegment) -> None:
        session = cancel.session
        if cancel.by_sender:
            if self.fault != "acknowledges no cancellation by the sender":
                self._said.append(CancelAck(session=session, to_sender=True))
            self._over.add(session)
            if self.fault != "reports on a cancelled session":
                self._in.pop(session, None)
            return
        if self.fault != "acknowledges no cancellation by the receiver":
            self._said.append(CancelAck(session=session, to_sender=False))
        out = self._out.get(session)
        if out is not None and self.fault != "goes on after the receiver has cancelled":
            del self._out[session]
