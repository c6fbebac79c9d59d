"""One side's octets of a TCPCL session (RFC 9174, RFC 7242): our reader and tshark's as they can be
compared, and the cases."""

from __future__ import annotations

import random
from collections.abc import Sequence

from interop.differential.ours import version
from interop.differential.tshark import Dissector, Shown, plain
from interop.differential.verdict import Value, Verdict, refused
from interop.inspect.tcpcl_v3 import VERSION as VERSION_3
from interop.inspect.tcpcl_v3 import contact_v3, messages_v3
from interop.pcap import LINKTYPE_RAW, capture
from interop.strategies.mutation import mutate
from interop.strategies.tcpcl import (
    encoded_contact_headers,
    encoded_messages,
    mutated_messages,
    nearly_contact_headers,
    nearly_messages,
    session_inits,
)
from stack.core.errors import DecodeError
from stack.core.packets import end_of, tcp_packet
from stack.wire.sdnv import encode_sdnv
from stack.wire.tcpcl import (
    MAGIC,
    VERSION,
    ExtensionItem,
    Message,
    MessageReject,
    SessionInit,
    SessionTerm,
    TransferAck,
    TransferRefuse,
    TransferSegment,
    decode_contact,
    decode_message,
    encode_message,
)

_MESSAGES, _NODE, _KEEPALIVE = "messages", "node id", "keepalive"
_LENGTHS, _ACKED, _FLAGS = "segment lengths", "acknowledged lengths", "segment flags"


class OurStreams:
    """Our readers of both versions: a contact header, and whole messages after it."""

    name = "orbitferry"

    def __init__(self) -> None:
        self.version = version()

    def read(self, encoded: bytes) -> Verdict:
        """RFC 9174 §4, §5; RFC 7242 §4, §5."""
        old = encoded[:4] == MAGIC and encoded[4:5] == bytes((VERSION_3,))
        try:
            fields = _fields_3(encoded) if old else _fields_4(encoded)
        except DecodeError as error:
            return refused(error.reason, error.section)
        return Verdict(True, fields=fields)


def _fields_4(encoded: bytes) -> dict[str, Value]:
    header, at = decode_contact(encoded)
    found: dict[str, list[int]] = {name: [] for name in (*_LISTS_4, *_TYPES)}
    fields: dict[str, Value] = {"version": VERSION, "contact flags": header.flags}
    while at < len(encoded):
        message, at = decode_message(encoded, at)
        found[_MESSAGES].append(message.type)
        for name, value in _said(message):
            if isinstance(value, str):
                fields[name] = value
            else:
                found[name].append(value)
    return fields | {name: tuple(values) for name, values in found.items()}


def _said(message: Message) -> list[tuple[str, int | str]]:
    """What each message adds, by the names of the fields."""
    match message:
        case SessionInit():
            return [
                (_KEEPALIVE, message.keepalive_s),
                ("segment MRU", message.segment_mru),
                ("transfer MRU", message.transfer_mru),
                *([(_NODE, message.node_id)] if plain(message.node_id) else []),
                *_types("session extensions", message.extensions),
            ]
        case TransferSegment():
            return [
                ("transfers", message.transfer),
                (_FLAGS, message.flags),
                (_LENGTHS, len(message.data)),
                *_types("transfer extensions", message.extensions),
            ]
        case TransferAck():
            return [
                ("transfers", message.transfer),
                (_FLAGS, message.flags),
                (_ACKED, message.acked_bytes),
            ]
        case TransferRefuse():
            return [("transfers", message.transfer), ("refusal reasons", message.reason)]
        case SessionTerm():
            return [("end flags", message.flags), ("end reasons", message.reason)]
        case MessageReject():
            return [("reject reasons", message.reason), ("rejected", message.rejected)]
        case _:
            return []


def _types(name: str, items: Sequence[ExtensionItem]) -> list[tuple[str, int | str]]:
    return [(name, item.type) for item in items]


def _fields_3(encoded: bytes) -> dict[str, Value]:
    keepalive_s, eid, at = contact_v3(encoded)
    fields: dict[str, Value] = {
        "version": VERSION_3,
        "contact flags": encoded[5],
        _KEEPALIVE: (keepalive_s,),
    }
    if plain(eid.decode("latin-1")):
        fields[_NODE] = eid.decode()
    messages = list(messages_v3(encoded, at))
    fields[_MESSAGES] = tuple(one.kind for one in messages)
    fields[_FLAGS] = tuple(one.flags & 3 for one in messages if one.kind == 1)
    fields[_LENGTHS] = tuple(one.number for one in messages if one.kind == 1)
    fields[_ACKED] = tuple(one.number for one in messages if one.kind == 2)
    fields["refusal reasons"] = tuple(one.flags for one in messages if one.kind == 3)
    return fields


_LISTS_4 = {
    _MESSAGES: "tcpcl.v4.mhdr.type",
    _KEEPALIVE: "tcpcl.v4.sess_init.keepalive",
    "segment MRU": "tcpcl.v4.sess_init.seg_mru",
    "transfer MRU": "tcpcl.v4.sess_init.xfer_mru",
    "transfers": "tcpcl.v4.xfer_id",
    _FLAGS: "tcpcl.v4.xfer_flags",
    _LENGTHS: "tcpcl.v4.xfer_segment.data_len",
    _ACKED: "tcpcl.v4.xfer_ack.ack_len",
    "refusal reasons": "tcpcl.v4.xfer_refuse.reason",
    "end flags": "tcpcl.v4.sess_term.flags",
    "end reasons": "tcpcl.v4.ses_term.reason",
    "reject reasons": "tcpcl.v4.msg_reject.reason",
    "rejected": "tcpcl.v4.msg_reject.head",
}
_TYPES = {
    "session extensions": "tcpcl.v4.sessext.type",
    "transfer extensions": "tcpcl.v4.xferext.type",
}
_LISTS_3 = {
    _MESSAGES: "tcpcl.pkt_type",
    _KEEPALIVE: "tcpcl.contact_hdr.keep_alive",
    _FLAGS: "tcpcl.data.proc.flag",
    _LENGTHS: "tcpcl.data.length",
    _ACKED: "tcpcl.ack.length",
    "refusal reasons": "tcpcl.refuse.reason_code",
}
_VERSION_FIELD = "tcpcl.contact_hdr.version"
_CONTACT_FLAGS = {VERSION_3: "tcpcl.contact_hdr.flags", VERSION: "tcpcl.v4.chdr.flags"}
_NODES = {VERSION_3: "tcpcl.contact_hdr.local_eid", VERSION: "tcpcl.v4.sess_init.nodeid_data"}


def _read(shown: Shown) -> Verdict:
    if any(one.startswith("Unreassembled fragment") for one in shown["_ws.expert.message"]):
        return refused("more octets are awaited")
    if not shown[_VERSION_FIELD]:
        return refused("no contact header was found")
    number = int(shown[_VERSION_FIELD][0])
    if number not in _NODES:
        return refused(f"version {number}")
    fields: dict[str, Value] = {"version": number}
    lists = _LISTS_3 if number == VERSION_3 else {**_LISTS_4, **_TYPES}
    for name, theirs in lists.items():
        fields[name] = tuple(int(value, 0) for value in shown[theirs])
    flags, nodes = shown[_CONTACT_FLAGS[number]], shown[_NODES[number]]
    if flags:
        fields["contact flags"] = int(flags[0], 0)
    if len(nodes) == 1 and plain(nodes[0]):
        fields[_NODE] = nodes[0]
    return Verdict(True, fields=fields)


_SERVER = end_of("10.255.255.1", 4556)


def _connections(inputs: Sequence[bytes]) -> bytes:
    """A connection for each, of which one side is heard."""
    return capture([
        tcp_packet(end_of(f"10.0.{number >> 8}.{number & 255}", 40_000), _SERVER, 1, 1, "", one)
        for number, one in enumerate(inputs)
    ], LINKTYPE_RAW)  # fmt: skip


TCPCL = Dissector(
    "tcpcl",
    (
        _VERSION_FIELD,
        *_CONTACT_FLAGS.values(),
        *_NODES.values(),
        *_LISTS_4.values(),
        *_TYPES.values(),
        *_LISTS_3.values(),
    ),
    _read,
    # What transfers carry is another protocol's business.
    preferences=("tcp.desegment_tcp_streams:FALSE", "tcpcl.decode_bundle:FALSE"),
    harmless=(
        "Segment data size larger", "Transfer larger", "Transfer has total length",
        "XFER_SEGMENT has", "XFER_ACK ", "XFER_REFUSE has", "First XFER", "Last XFER",
        "Non-first XFER", "Non-last XFER", "Expected SESS_INIT", "Duplicate SESS", "Reply SESS",
        "Session Extension type", "Transfer Extension type", "Extension Item is critical",
        "Unreassembled fragment",
    ),
    packets=_connections,
)  # fmt: skip
"""Remarks on the state of the session are harmless: one side and a few messages are no session."""


class StreamCases:
    """One side's octets, right or with one message nearly right or damaged."""

    def __init__(self, seed: str | int = 0) -> None:
        self._rng = random.Random(f"tcpcl/{seed}")  # noqa: S311 - it must come again
        number = self._rng.randrange(1 << 32)
        self._contacts = encoded_contact_headers.maker().cases(number)
        self._inits = session_inits.maker().cases(number)
        self._messages = encoded_messages.maker().cases(number)
        self._damaged = mutated_messages.maker().cases(number)
        self._nearly = nearly_messages.maker().cases(number)
        self._nearly_contacts = nearly_contact_headers.maker().cases(number)

    def draw(self) -> bytes:
        """One case."""
        way = self._rng.randrange(20)
        if way < 7:
            return _stream_3(self._rng, damaged=way < 2)
        begin = next(self._contacts) + encode_message(next(self._inits))
        if way == 7:
            return next(self._nearly_contacts).encoded
        if way < 13:
            return begin + next(self._messages)
        return begin + (next(self._damaged) if way < 16 else next(self._nearly).encoded)


def _stream_3(rng: random.Random, *, damaged: bool) -> bytes:
    """A contact header and some messages of version 3 (RFC 7242 §4.1, §5)."""
    eid = rng.choice((b"", b"ipn:1.0", b"dtn://gs1/"))
    octets = MAGIC + bytes((VERSION_3, rng.choice((0, 1, 2, 4, 7)))) + rng.randbytes(2)
    octets += encode_sdnv(len(eid)) + eid
    for _ in range(rng.choice((0, 1, 1, 1, 2))):
        octets += _message_3(rng)
    return mutate(octets, [octets], rng) if damaged else octets


def _message_3(rng: random.Random) -> bytes:
    number = rng.choice((0, 1, 127, 128, 70_000, 1 << 40))
    data = rng.randbytes(rng.choice((1, 5, 130)))
    return rng.choice((
        bytes((0x10 | rng.randrange(4),)) + encode_sdnv(len(data)) + data,
        b"\x20" + encode_sdnv(number),
        bytes((0x30 | rng.randrange(5),)),
        b"\x40",
        b"\x50",
        b"\x52" + bytes((rng.randrange(4),)),
        b"\x51" + rng.randbytes(2),
        b"\x53" + bytes((rng.randrange(4),)) + rng.randbytes(2),
        b"\x60" + encode_sdnv(number),
    ))  # fmt: skip
