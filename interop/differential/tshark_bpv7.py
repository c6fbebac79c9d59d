"""What tshark's dissector of BPv7 says, as fields that can be compared."""

from __future__ import annotations

from interop.differential.tshark import Dissector, Shown, plain
from interop.differential.verdict import Value, Verdict, refused

_FIELDS = {
    "destination": "bpv7.primary.dst_uri",
    "source": "bpv7.primary.src_uri",
    "report to": "bpv7.primary.report_uri",
    "lifetime": "bpv7.primary.lifetime",
    "bundle flags": "bpv7.primary.bundle_flags",
    "fragment offset": "bpv7.primary.frag_offset",
    "total length": "bpv7.primary.total_len",
    "bundle age": "bpv7.bundle_age.time",
    "previous node": "bpv7.previous_node.uri",
}
_TUPLES = {
    "block types": "bpv7.canonical.type_code",
    "block numbers": "bpv7.canonical.block_num",
    "block flags": "bpv7.canonical.block_flags",
    "block sizes": "bpv7.canonical.data",
    "delete if unprocessed": "bpv7.canonical.block_flags.delete_if_no_process",
    "discard if unprocessed": "bpv7.canonical.block_flags.discard_if_no_process",
    "report if unprocessed": "bpv7.canonical.block_flags.status_if_no_process",
}
_FIRST = {
    "creation time": "bpv7.time.dtntime",
    "sequence number": "bpv7.create_ts.seqno",
    "deletion report asked for": "bpv7.primary.bundle_flags.deletion_report",
}
_TEXTS = ("destination", "source", "report to", "previous node")
_CRC_BAD = "0"


def _read(shown: Shown) -> Verdict:
    if _CRC_BAD in shown["bpv7.crc_status"]:
        return refused("Block failed CRC")
    if not shown["bpv7.primary.version"]:
        return refused("no bundle was found")
    fields: dict[str, Value] = {}
    for name, theirs in _FIELDS.items():
        values = shown[theirs]
        if len(values) == 1 and name not in _TEXTS:
            fields[name] = int(values[0], 0)
        elif len(values) == 1 and plain(values[0]):
            fields[name] = values[0]
    for name, theirs in _TUPLES.items():
        fields[name] = tuple(_number(value) for value in shown[theirs])
    for name, theirs in _FIRST.items():
        if shown[theirs]:
            fields[name] = _number(shown[theirs][0])
    crc_types = [_number(value) for value in shown["bpv7.crc_type"]]
    fields["primary CRC type"] = crc_types[0] if crc_types else -1
    fields["block CRC types"] = tuple(crc_types[1:])
    limits, counts = shown["bpv7.hop_count.limit"], shown["bpv7.hop_count.current"]
    if limits and counts:
        fields["hop limit and count"] = (_number(limits[0]), _number(counts[0]))
    return Verdict(True, fields=fields)


def _number(text: str) -> int:
    return {"True": 1, "False": 0}[text] if text in ("True", "False") else int(text, 0)


BPV7 = Dissector(
    "bpv7",
    (
        "bpv7.primary.version",
        "bpv7.crc_type",
        "bpv7.crc_status",
        "bpv7.hop_count.limit",
        "bpv7.hop_count.current",
        *_FIELDS.values(),
        *_TUPLES.values(),
        *_FIRST.values(),
    ),
    _read,
    # Every input is a bundle of its own, and its payload is nobody's business.
    preferences=("bpv7.bp_reassemble_payload:FALSE",),
    harmless=("Unknown type code", "Unknown Node ID scheme code"),
)
"""Types of blocks, payloads and schemes that it does not know draw a remark, and break no rule."""
