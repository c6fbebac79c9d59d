"""CFDP PDUs (CCSDS 727.0-B-5): our reader, that of spacepackets and tshark's, and the cases."""

from __future__ import annotations

import importlib
import random
from importlib import metadata
from typing import Any

from interop.differential.ours import version
from interop.differential.tshark import Dissector, Shown
from interop.differential.verdict import Value, Verdict, refused
from interop.strategies.mutation import mutate
from stack.core.errors import DecodeError
from stack.wire.cfdp import (
    Ack,
    Directive,
    Eof,
    FileData,
    Finished,
    Header,
    KeepAlive,
    Metadata,
    Nak,
    Pdu,
    Prompt,
    TlvType,
    decode_pdu,
    encode_pdu,
    entity_id,
)
from stack.wire.crc import crc16_ccitt


class OurPdus:
    """Our decoder of PDUs: one PDU, and nothing after it."""

    name = "orbitferry"

    def __init__(self) -> None:
        self.version = version()

    def read(self, encoded: bytes) -> Verdict:
        """CCSDS 727.0-B-5 §5."""
        try:
            pdu, end = decode_pdu(encoded)
            if end != len(encoded):
                raise DecodeError("octets after the PDU", "CCSDS 727.0-B-5 §5.1", end)
        except DecodeError as error:
            return refused(error.reason, error.section)
        header = pdu.header
        return Verdict(
            True,
            fields={
                "source": header.source,
                "destination": header.destination,
                "sequence": header.sequence,
                "unacknowledged": int(header.unacknowledged),
                "toward sender": int(header.toward_sender),
                **_body_fields(pdu.body),
            },
            trait=_trait(pdu, encoded),
        )


_TLVS = frozenset(TlvType)


def _trait(pdu: Pdu, encoded: bytes) -> str:
    if encoded[0] & 1:
        return "the large file flag"
    if isinstance(pdu.body, FileData) and encoded[3] & 8:
        return "segment metadata"
    if isinstance(pdu.body, Metadata) and any(tlv.type not in _TLVS for tlv in pdu.body.options):
        return "a TLV of an unknown type"
    if isinstance(pdu.body, Eof | Finished) and pdu.body.fault_location is not None:
        return "a fault location"
    return ""


def _body_fields(body: Directive | FileData) -> dict[str, Value]:
    match body:
        case FileData():
            return {"offset": body.offset, "data": bytes(body.data)}
        case Eof():
            return {
                "condition": body.condition,
                "checksum": body.checksum,
                "file size": body.file_bytes,
            }
        case Finished():
            return {
                "condition": body.condition,
                "delivery": int(body.incomplete),
                "file status": body.file_status,
            }
        case Ack():
            return {
                "acknowledged directive": body.directive,
                "condition": body.condition,
                "transaction status": body.status,
            }
        case Metadata():
            return {"file size": body.file_bytes, "checksum type": body.checksum_type}
        case Nak():
            return {"scope": (body.start, body.end), "gaps": sum(body.segments, ())}
        case KeepAlive():
            return {"progress": body.progress_bytes}
        case Prompt():
            return {"keep alive wanted": int(body.keep_alive)}


class SpacePackets:
    """`spacepackets.cfdp.PduFactory.from_raw` (optional: `pip install spacepackets`).  Raises
    `ImportError` where it is not installed."""

    name = "spacepackets"

    def __init__(self) -> None:
        cfdp: Any = importlib.import_module("spacepackets.cfdp.pdu")
        self._factory = cfdp.PduFactory
        self.version = metadata.version("spacepackets")

    def read(self, encoded: bytes) -> Verdict:
        """Any exception is its way to refuse."""
        try:
            pdu = self._factory.from_raw(encoded)
            if pdu is None:
                return refused("no PDU was found")
            fields: dict[str, Value] = {
                "source": pdu.source_entity_id.value,
                "destination": pdu.dest_entity_id.value,
                "sequence": pdu.transaction_seq_num.value,
                "unacknowledged": int(pdu.transmission_mode),
                "toward sender": int(pdu.direction),
            }
            _their_fields(pdu, fields)
        except Exception as error:
            return refused(f"{type(error).__name__}: {error}")
        return Verdict(True, fields=fields)


_THEIRS = {
    "offset": ("FileDataPdu", "offset"),
    "data": ("FileDataPdu", "file_data"),
    "checksum": ("EofPdu", "file_checksum"),
    "progress": ("KeepAlivePdu", "progress"),
    "acknowledged directive": ("AckPdu", "directive_code_of_acked_pdu"),
    "transaction status": ("AckPdu", "transaction_status"),
    "delivery": ("FinishedPdu", "delivery_code"),
    "file status": ("FinishedPdu", "file_status"),
    "checksum type": ("MetadataPdu", "checksum_type"),
}


def _their_fields(pdu: Any, fields: dict[str, Value]) -> None:
    kind = type(pdu).__name__
    for name, (of, attribute) in _THEIRS.items():
        if of == kind:
            value = getattr(pdu, attribute)
            fields[name] = bytes(value) if isinstance(value, bytes | bytearray) else int(value)
    if "checksum" in fields:
        fields["checksum"] = int.from_bytes(pdu.file_checksum, "big")
    if kind in ("EofPdu", "MetadataPdu"):
        fields["file size"] = pdu.file_size
    if kind in ("EofPdu", "FinishedPdu"):
        fields["condition"] = int(pdu.condition_code)
    if kind == "NakPdu":
        fields["scope"] = (pdu.start_of_scope, pdu.end_of_scope)
        fields["gaps"] = tuple(edge for gap in pdu.segment_requests for edge in gap)


_NUMBERS = {
    "source": "cfdp.srcid",
    "destination": "cfdp.dstid",
    "sequence": "cfdp.transeqnum",
    "unacknowledged": "cfdp.trans_mode",
    "toward sender": "cfdp.direction",
    "offset": "cfdp.offset",
    "checksum": "cfdp.checksum",
    "file size": "cfdp.file_size",
    "delivery": "cfdp.delivery_code",
    "file status": "cfdp.file_status",
    "acknowledged directive": "cfdp.dir_code_ack",
    "progress": "cfdp.progress",
    "condition": "cfdp.condition_code",
}


def _read(shown: Shown) -> Verdict:
    if len(shown["cfdp.srcid"]) != 1:
        return refused(f"{len(shown['cfdp.srcid'])} PDUs were found")
    fields: dict[str, Value] = {}
    for name, theirs in _NUMBERS.items():
        if shown[theirs]:
            text = shown[theirs][0]
            fields[name] = (
                {"True": 1, "False": 0}.get(text, -1) if text[0] in "TF" else int(text, 0)
            )
    return Verdict(True, fields=fields)


CFDP = Dissector("cfdp", tuple(_NUMBERS.values()), _read)


class PduCases:
    """PDUs that are right, or have something changed, the CRC right all the same."""

    def __init__(self, seed: str | int = 0) -> None:
        self._rng = random.Random(f"cfdp/{seed}")  # noqa: S311 - it must come again

    def draw(self) -> bytes:
        """One case."""
        rng = self._rng
        pdu = _pdu(rng)
        encoded = encode_pdu(pdu)
        if rng.random() < 0.3:
            return encoded
        body_end = len(encoded) - 2 if pdu.header.crc else len(encoded)
        changed = mutate(encoded[:body_end], [encoded], rng)
        if len(changed) > 4 and rng.random() < 0.7:  # the length right again
            head = 4 + 2 * ((changed[3] >> 4 & 7) + 1) + (changed[3] & 7) + 1
            crc = 2 if changed[0] & 2 else 0
            size = max(0, len(changed) + crc - head)
            changed = changed[:1] + size.to_bytes(3, "big")[1:] + changed[3:]
        if pdu.header.crc and rng.random() < 0.9:
            changed += crc16_ccitt(changed).to_bytes(2, "big")
        return changed


def _pdu(rng: random.Random) -> Pdu:
    entity_bytes, sequence_bytes = rng.choice((1, 1, 2, 4, 8)), rng.choice((1, 2, 4))
    large = rng.random() < 0.3
    header = Header(
        source=rng.randrange(1 << 8 * entity_bytes),
        destination=rng.randrange(1 << 8 * entity_bytes),
        sequence=rng.randrange(1 << 8 * sequence_bytes),
        entity_bytes=entity_bytes,
        sequence_bytes=sequence_bytes,
        toward_sender=rng.random() < 0.5,
        unacknowledged=rng.random() < 0.5,
        crc=rng.random() < 0.5,
        large=large,
    )
    return Pdu(header, _body(rng, (1 << 40) if large else (1 << 32)))


_GAPS = ((), ((0, 1),), ((3, 9), (9, 12)))


def _body(rng: random.Random, top: int) -> Directive | FileData:
    condition = rng.choice((0, 0, 1, 4, 10, 15))
    place = entity_id(rng.randrange(200), 1) if condition and rng.random() < 0.5 else None
    bodies: tuple[Directive | FileData, ...] = (
        FileData(rng.randrange(top), rng.randbytes(rng.choice((0, 1, 30)))),
        Eof(condition=condition, checksum=rng.randrange(1 << 32), file_bytes=rng.randrange(top),
            fault_location=place),
        Finished(condition=condition, incomplete=rng.random() < 0.5,
                 file_status=rng.randrange(4)),
        Ack(directive=rng.choice((4, 5)), condition=condition, status=rng.randrange(4)),
        Metadata(checksum_type=rng.choice((0, 1, 2, 3, 15)), file_bytes=rng.randrange(top),
                 source_name=rng.choice((b"", b"a", b"/a/\xff")), destination_name=b"bc"),
        Nak(start=0, end=rng.randrange(top), segments=rng.choice(_GAPS)),
        KeepAlive(rng.randrange(top)),
        Prompt(rng.random() < 0.5),
    )  # fmt: skip
    return rng.choice(bodies)
