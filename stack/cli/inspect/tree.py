"""What `orbitferry inspect` reads and shows: octets as a tree, for people or for programs."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.text import Text
from rich.tree import Tree as RichTree

from interop.inspect import Tree, transfers
from interop.inspect.carriers import EXPORTED, kind_of
from interop.pcap import (
    LINKTYPE_UPPER_PDU,
    PacketPassedOver,
    Record,
    StreamOctets,
    TcpSegment,
    TcpStreams,
    UdpPacket,
    is_capture,
    parse_exported_pdu,
    parse_packet,
    read_capture,
)
from stack.core.clock import DTN_EPOCH_UNIX_S, dtn_to_iso
from stack.core.errors import ConfigError, DecodeError

FORMATS: Final = ("auto", "hex", "raw", "pcap")

SOURCE_BYTES_MAX: Final = 512 * 1024 * 1024
"""Largest file that is read: it stands in memory whole."""

FRAMES_MAX: Final = 100_000
"""Packets of one capture that are shown."""

_HEX: Final = frozenset(b"0123456789abcdefABCDEF")
_SPACE: Final = frozenset(b" \t\r\n,:_")
_STYLES: Final = {"ok": "green", "wrong": "bold red", "error": "bold red", "none": "yellow"}


@dataclass(frozen=True, slots=True)
class Frame:
    """Octets to be dissected, and where they were."""

    data: bytes
    kind: str = "auto"
    """The kind of `interop.inspect.dissect` that the surroundings suggest."""

    title: str = ""
    """Where the octets come from, for a heading."""

    fault: str = ""
    """What is wrong with the surroundings: the packet or capture file that held them."""


def load_inputs(
    source: str, *, format: str = "auto", passed_over: Counter[str] | None = None
) -> list[Frame]:
    """The octets that `source` stands for.

    `source` is the path of a file, "-" for standard input, or the octets themselves in
    hexadecimal.  `format` is one of `FORMATS`; "auto" takes a file for a capture if it begins like
    one, for hexadecimal text if it is nothing else, and otherwise as it is.  `passed_over`
    counts the packets of a capture that hold nothing for us, by what they are.  Raises
    `ConfigError`.
    """
    if format not in FORMATS:
        raise ConfigError("format", f"no format {format!r}", f"one of {', '.join(FORMATS)}")
    content = read_source(source, format)
    if format == "auto":
        format = _guess(content)
    if format == "raw":
        return [Frame(content, title=source)]
    if format == "hex":
        given = content == source.encode("utf-8", "replace")
        return [Frame(_from_hex(content, source), title=_short(source) if given else source)]
    return _from_capture(content, source, Counter() if passed_over is None else passed_over)


def read_source(source: str, format: str) -> bytes:
    """The octets of a file, of standard input, or those that are given.  Raises `ConfigError`."""
    if source == "-":
        content = sys.stdin.buffer.read(SOURCE_BYTES_MAX + 1)
    else:
        try:
            with Path(source).open("rb") as file:
                content = file.read(SOURCE_BYTES_MAX + 1)
        except (OSError, ValueError) as error:
            text = source.encode("utf-8", "replace")
            if format in ("auto", "hex") and _guess(text) == "hex":
                return text
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigError(
                _short(source), reason or str(error), "give a file, hexadecimal octets, or -"
            ) from None
    if len(content) > SOURCE_BYTES_MAX:
        raise ConfigError(_short(source), f"more than {SOURCE_BYTES_MAX} octets")
    return content


def _guess(content: bytes) -> str:
    if is_capture(content):
        return "pcap"
    digits = content.replace(b"0x", b"").replace(b"0X", b"")
    octets = set(digits)
    return "hex" if octets & _HEX and octets <= _HEX | _SPACE else "raw"


def _from_hex(content: bytes, source: str) -> bytes:
    """Hexadecimal digits, with 0x, spaces, line ends, commas, colons and underscores as liked."""
    digits = content.replace(b"0x", b"").replace(b"0X", b"").translate(None, bytes(_SPACE))
    wrong = set(digits) - _HEX
    if wrong:
        raise ConfigError(_short(source), f"{chr(min(wrong))!r} is no hexadecimal digit")
    if len(digits) % 2:
        raise ConfigError(_short(source), "an odd number of hexadecimal digits")
    return bytes.fromhex(digits.decode())


def _short(source: str) -> str:
    """A path whole; octets that were given themselves only in part."""
    return source if len(source) <= 120 else source[:40] + "..."


def _from_capture(content: bytes, source: str, passed_over: Counter[str]) -> list[Frame]:
    """The packets of a capture that may hold something for us, then its TCPCL streams."""
    frames: list[Frame] = []
    streams = TcpStreams()
    try:
        for number, record in enumerate(read_capture(content), 1):
            if len(frames) >= FRAMES_MAX:
                frames.append(Frame(b"", fault=f"{source}: only {FRAMES_MAX} packets are shown"))
                break
            try:
                found = _from_record(record, _title(record, number))
            except PacketPassedOver as other:
                passed_over[other.words] += 1
                continue
            if isinstance(found, TcpSegment):
                streams.add(found, number)
            else:
                frames.append(found)
    except DecodeError as error:
        if not frames and not passed_over:
            raise ConfigError(_short(source), str(error), "it must be pcap or pcapng") from None
        frames.append(Frame(b"", title=source, fault=str(error)))
    for stream in streams.finish():
        frames += _from_stream(stream)
    passed_over.update(streams.passed_over)
    return frames


def _title(record: Record, number: int) -> str:
    """The number of a packet, when and where it was captured, and what the capture says of it."""
    way = {True: "sent", False: "received", None: ""}[record.outbound]
    parts = (f"packet {number}", time_text(record.time_ns), record.interface, way, record.comment)
    return ", ".join(part for part in parts if part)


def _from_record(record: Record, title: str) -> Frame | TcpSegment:
    """Raises `PacketPassedOver`."""
    missing = record.original_bytes > len(record.data)
    cut = "cut short by the capture" if missing else ""
    try:
        if record.linktype == LINKTYPE_UPPER_PDU:
            name, data = parse_exported_pdu(record.data)
            kind = EXPORTED.get(name, "auto")
            return Frame(data, kind, f"{title}, exported for {name or 'nobody'}", cut)
        packet = parse_packet(record.data, record.linktype, cut=missing)
    except DecodeError as error:
        return Frame(record.data, "octets", title, cut or str(error))
    if isinstance(packet, TcpSegment):
        return packet
    wrong = "UDP checksum is wrong" if packet.checksum == "wrong" else ""
    return Frame(packet.data, kind_of(packet), f"{title}, {_path(packet)}", cut or wrong)


def _from_stream(stream: StreamOctets) -> Iterator[Frame]:
    """One direction of a TCPCL session, and its transfers of several segments."""
    title = f"TCPCL in packets {stream.first} to {stream.last}, {_path(stream)}"
    fault = "octets after these are missing in the capture" if stream.missing else ""
    data = bytes(stream.data)
    yield Frame(data, "tcpcl", title, fault)
    for number, bundle in transfers(data):
        yield Frame(bundle, "bundle", f"transfer {number} of {title}")


def _path(packet: UdpPacket | StreamOctets) -> str:
    left, right = (
        f"[{address}]" if address.version == 6 else str(address)
        for address in (packet.source, packet.destination)
    )
    return f"{left}:{packet.source_port} to {right}:{packet.destination_port}"


def time_text(time_ns: int) -> str:
    """UTC, or nanoseconds since 1970 when the calendar has no such time."""
    try:
        return dtn_to_iso(time_ns // 1_000_000 - DTN_EPOCH_UNIX_S * 1000)
    except (ValueError, OverflowError, OSError):
        return f"{time_ns} ns"


# --------------------------------------------------------------------------------- rendering


def render_text(tree: Tree) -> RichTree:
    """The tree for a terminal: octet offset and length, label, value, meaning; checks coloured."""
    root = RichTree(_line(tree), guide_style="dim")
    pending = [(root, child) for child in reversed(tree.children)]
    while pending:
        above, child = pending.pop()
        branch = above.add(_line(child))
        pending.extend((branch, grandchild) for grandchild in reversed(child.children))
    return root


def _line(tree: Tree) -> Text:
    """One entry.  Text objects take no markup, and what a terminal would obey is escaped."""
    where = f"{tree.offset}+{tree.length}" if tree.length else f"{tree.offset}"
    style = _STYLES.get(tree.status, "")
    line = Text()
    line.append(f"[{where}] ", style="dim")
    line.append(tree.label, style=style or "bold" if tree.children else style)
    if tree.value != "":
        line.append(f": {_printable(str(tree.value))}", style=style)
    if tree.note:
        line.append(f" ({_printable(tree.note)})", style=style or "cyan")
    if tree.section and tree.status:
        line.append(f" {tree.section}", style="dim")
    return line


def _printable(text: str) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def to_json(tree: Tree) -> dict[str, Any]:
    """The tree as objects for `json.dumps`; fields that say nothing are left out."""
    found: dict[str, Any] = {"label": tree.label}
    if tree.value != "":
        found["value"] = tree.value
    found |= {"offset": tree.offset, "length": tree.length}
    for name in ("note", "status", "section"):
        text = getattr(tree, name)
        if text:
            found[name] = text
    if tree.children:
        found["children"] = [to_json(child) for child in tree.children]
    return found
