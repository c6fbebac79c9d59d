"""Files that are hard to bear, each kind by its name: contact plans in the native format and ION's,
and captures."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from struct import pack
from typing import Any

from interop.pcap import LINKTYPE_RAW
from interop.strategies.captures import ENHANCED, INTERFACE, Captured, WrittenCapture
from interop.strategies.choices import Choices
from interop.strategies.contact_files import native_files
from interop.strategies.hostile import Hostile, HostileKinds, Weakness, one_hostile
from interop.strategies.making import strategy
from interop.strategies.nearly_eid import UNICODE_TRAPS

_FORMAT = "orbitferry-contact-plan-1"
_INVISIBLE = tuple(name for name in UNICODE_TRAPS if not name.isprintable())
_VISIBLE = tuple(name for name in UNICODE_TRAPS if name.isprintable())
_HUGE = (1 << 63, 1 << 64, 10**30, 10**400)


# ---- contact plans, native


def _contact(**changes: Any) -> dict[str, Any]:
    whole = {
        "source": "dtn://a/", "destination": "dtn://b/", "start_ms": 0, "end_ms": 1000,
        "rate_bps": 1e6,
    }  # fmt: skip
    return whole | changes


def _plan(*contacts: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"format": _FORMAT, "contacts": contacts, **more}).encode()


def _with(make: Callable[[Choices], dict[str, Any]]) -> Callable[[Choices], bytes]:
    return lambda choose: _plan(_contact(), _contact(**make(choose)))


def _nested(choose: Choices) -> bytes:
    return _in_itself(choose.pick((1_000, 100_000)), *choose.pick((("[", "]"), ('{"a":', "}"))))


@functools.cache
def _in_itself(depth: int, opening: str, closing: str) -> bytes:
    inside = opening * depth + ("0" if opening != "[" else "") + closing * depth
    return f'{{"format": "{_FORMAT}", "contacts": {inside}}}'.encode()


def _cut(choose: Choices) -> bytes:
    octets = native_files.make(choose).rstrip()
    return octets[: choose.integer(0, len(octets) - 1)]


def _digits(choose: Choices) -> bytes:
    return _plan(_contact(start_ms=77)).replace(b"77", b"9" * choose.pick((400, 5_000, 500_000)))


def _no_number(choose: Choices) -> bytes:
    name = choose.pick((b"NaN", b"Infinity", b"-Infinity", b"1e999"))
    return _plan(_contact(rate_bps=77)).replace(b"77", name)


def _many(choose: Choices) -> bytes:
    return _in_turn(choose.pick((500, 3_000)))


@functools.cache
def _in_turn(count: int) -> bytes:
    return _plan(*(_contact(start_ms=at, end_ms=at + 1) for at in range(count)))


def _crowd(choose: Choices) -> bytes:
    """Contacts of one direction that all overlap."""
    return _overlapping()


@functools.cache
def _overlapping() -> bytes:
    return _plan(*(_contact(start_ms=at, end_ms=10_000 - at) for at in range(500)))


def _reordered(choose: Choices) -> bytes:
    return _plan(*(_contact(start_ms=9 - at, end_ms=10 - at) for at in range(10)))


def _again(choose: Choices) -> bytes:
    return _plan(*(_contact() for _ in range(choose.integer(2, 50))))


def _two_keys(choose: Choices) -> bytes:
    return _plan(_contact()).replace(b'"end_ms"', b'"end_ms": 5, "end_ms"')


def _empty(choose: Choices) -> bytes:
    return choose.pick((_plan(), _plan(ranges=[])))


def _endless(choose: Choices) -> bytes:
    name = b"a" * choose.pick((2_000, 500_000))
    return _plan(_contact(source="dtn://X/")).replace(b"X", name)


def _no_text(choose: Choices) -> bytes:
    wrong = choose.pick((b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\\ud800"))
    return _plan(_contact(source="dtn://X/")).replace(b"X", wrong)


PLAN_WEAKNESSES: HostileKinds = {
    Weakness("absurd nesting", False): _nested,
    Weakness("a document that ends anywhere", False): _cut,
    Weakness("integers beyond every width", False): _with(
        lambda choose: {choose.pick(("start_ms", "end_ms")): choose.pick(_HUGE)}),
    Weakness("a number of very many digits", False): _digits,
    Weakness("a rate that is no number", False): _no_number,
    Weakness("times that contradict each other", False): _with(
        lambda choose: {"start_ms": 1000, "end_ms": choose.pick((0, 999, 1000))}),
    Weakness("names that nobody sees", False): _with(
        lambda choose: {"source": f"dtn://{choose.pick(_INVISIBLE)}/"}),
    Weakness("names that are no text", False): _no_text,
    Weakness("a name that does not end", False): _endless,
    Weakness("names that look like others", True): _with(
        lambda choose: {"source": f"dtn://{choose.pick(_VISIBLE)}/"}),
    Weakness("very many contacts", True): _many,
    Weakness("contacts that all overlap", True): _crowd,
    Weakness("contacts in another order", True): _reordered,
    Weakness("duplicate contacts", True): _again,
    Weakness("duplicate keys", True): _two_keys,
    Weakness("empty things", True): _empty,
}  # fmt: skip
"""Kinds of plans in the native format, and what makes them.  (RFC 8259 §4 leaves open what a key
means that comes twice.)"""


# ---- contact plans, ION's


def _line(*words: str) -> bytes:
    return (" ".join(words) + "\n").encode()


_WHOLE = ("a", "contact", "+0", "+100", "1", "2", "1000")


def _ion_digits(choose: Choices) -> bytes:
    digits = "9" * choose.pick((30, 5_000, 100_000))
    place = choose.pick((2, 3, 4, 6))
    word = "+" + digits if place < 4 else digits
    return _line(*_WHOLE[:place], word, *_WHOLE[place + 1 :])


def _ion_long_line(choose: Choices) -> bytes:
    return _line(*_WHOLE, "1 " * choose.pick((99, 49_999)) + "1")


def _ion_backwards(choose: Choices) -> bytes:
    return _line("a", "contact", "+100", choose.pick(("+0", "+50")), "1", "2", "1000")


def _ion_no_node(choose: Choices) -> bytes:
    name = choose.pick((*UNICODE_TRAPS, "\u0661", "\uff11", "-1", "1_0", "0x1", "1e3"))
    return _line("a", "contact", "+0", "+100", name, "2", "1000")


def _ion_many(choose: Choices) -> bytes:
    return _ion_in_turn(choose.pick((500, 2_000)))


@functools.cache
def _ion_in_turn(count: int) -> bytes:
    return b"".join(
        _line("a", "contact", f"+{10 * at}", f"+{10 * at + 9}", "1", "2", "1000")
        for at in range(count)
    )


def _ion_again(choose: Choices) -> bytes:
    return _line(*_WHOLE) * choose.integer(2, 20)


def _ion_empty(choose: Choices) -> bytes:
    return choose.pick((b"", b"\n" * 1000, b"# nothing\n", b"   \t\n"))


ION_WEAKNESSES: HostileKinds = {
    Weakness("a number of very many digits", False): _ion_digits,
    Weakness("a line of very many words", False): _ion_long_line,
    Weakness("times that contradict each other", True): _ion_backwards,
    Weakness("numbers that only some read as numbers", False): _ion_no_node,
    Weakness("very many contacts", True): _ion_many,
    Weakness("duplicate contacts", True): _ion_again,
    Weakness("empty things", True): _ion_empty,
}
"""Kinds of plans as commands of ionadmin, and what makes them.  (What ends before it begins is
passed over, there and here.)"""


# ---- captures


def _file(choose: Choices) -> WrittenCapture:
    packet = Captured(0, b"\x45" + choose.octets(19, 60))
    return WrittenCapture(LINKTYPE_RAW, (packet,), choose.pick(("<", ">")), choose.flip())


def _blocks(file: WrittenCapture, *more: bytes) -> bytes:
    return b"".join((file.section(), file.interface(file.linktype), *more))


def _packet_beyond(choose: Choices) -> bytes:
    file = _file(choose)
    octets = bytearray(file.pcap())
    octets[32:36] = pack(file.order + "I", choose.pick((1 << 16, 1 << 31, (1 << 32) - 1)))
    return bytes(octets)


def _block_beyond(choose: Choices) -> bytes:
    file = _file(choose)
    size = pack(file.order + "I", choose.pick((1 << 16, 1 << 31, (1 << 32) - 4)))
    return _blocks(file, pack(file.order + "I", ENHANCED) + size + bytes(40) + size)


def _block_short(choose: Choices) -> bytes:
    file = _file(choose)
    size = pack(file.order + "I", choose.pick((0, 4, 8)))
    return _blocks(file, pack(file.order + "I", ENHANCED) + size + bytes(40) + size)


def _data_beyond(choose: Choices) -> bytes:
    file = _file(choose)
    size = choose.pick((1 << 16, 1 << 31, (1 << 32) - 1))
    return _blocks(file, file.block(ENHANCED, pack(file.order + "IIIII", 0, 0, 0, size, size)))


def _times(choose: Choices) -> bytes:
    """The latest time that there is, in the unit that the file has."""
    file = _file(choose)
    most = (1 << 32) - 1
    head = pack(file.order + "IIIII", 0, most, choose.pick((0, most)), 0, 0)
    return _blocks(file, file.block(ENHANCED, head))


def _many_interfaces(choose: Choices) -> bytes:
    file = _file(choose)
    count = 3_000 if choose.flip(8) else choose.pick((10, 100))
    return file.section() + file.interface(LINKTYPE_RAW) * count


def _many_sections(choose: Choices) -> bytes:
    """Sections in turn in both byte orders, each of which forgets the interfaces before."""
    both = [WrittenCapture(LINKTYPE_RAW, (), order, True) for order in "<>"]
    return b"".join(_blocks(both[at % 2]) for at in range(choose.pick((2, 50))))


def _empty_packets(choose: Choices) -> bytes:
    file = _file(choose)
    return _blocks(file, file.packet(0, Captured(0, b"")) * choose.pick((1, 10, 100)))


def _no_packets(choose: Choices) -> bytes:
    file = WrittenCapture(LINKTYPE_RAW, (), choose.pick(("<", ">")), True)
    return choose.pick((file.pcap(), file.section(), _blocks(file)))


def _cut_capture(choose: Choices) -> bytes:
    file = _file(choose)
    octets = file.pcapng()
    whole = {len(file.section()), len(octets) - len(file.packet(0, file.packets[0]))}
    return octets[: choose.pick([at for at in range(4, len(octets)) if at not in whole])]


def _unknown_blocks(choose: Choices) -> bytes:
    file = _file(choose)
    kind = choose.pick((9, 0x0BAD, 1 << 31, (1 << 32) - 1))
    return _blocks(file, file.block(kind, bytes(400)) * choose.pick((1, 100)))


def _option_beyond(choose: Choices) -> bytes:
    """An option of an interface that is longer than its block."""
    file = _file(choose)
    head = pack(file.order + "HHI", LINKTYPE_RAW, 0, 0)
    option = pack(file.order + "HH", choose.pick((2, 9)), choose.pick((8, 0xFFFF))) + bytes(4)
    return file.section() + file.block(INTERFACE, head + option)


CAPTURE_WEAKNESSES: HostileKinds = {
    Weakness("a packet beyond the file", False): _packet_beyond,
    Weakness("a block beyond the file", False): _block_beyond,
    Weakness("a block shorter than its head", False): _block_short,
    Weakness("data beyond their block", False): _data_beyond,
    Weakness("an option beyond its block", False): _option_beyond,
    Weakness("a file that ends anywhere", False): _cut_capture,
    Weakness("times at the edges", True): _times,
    Weakness("very many interfaces", True): _many_interfaces,
    Weakness("sections in turn in both byte orders", True): _many_sections,
    Weakness("packets of nothing", True): _empty_packets,
    Weakness("blocks that nobody knows", True): _unknown_blocks,
    Weakness("empty things", True): _no_packets,
}
"""Kinds of captures, and what makes them."""


@strategy
def hostile_plans(choose: Choices, *, weaknesses: Sequence[Weakness] | None = None) -> Hostile:
    """A plan in the native format of one of `weaknesses`, or of all (`PLAN_WEAKNESSES`)."""
    return one_hostile(choose, PLAN_WEAKNESSES, weaknesses)


@strategy
def hostile_ion_plans(choose: Choices, *, weaknesses: Sequence[Weakness] | None = None) -> Hostile:
    """Commands of ionadmin of one of `weaknesses`, or of all (`ION_WEAKNESSES`)."""
    return one_hostile(choose, ION_WEAKNESSES, weaknesses)


@strategy
def hostile_captures(choose: Choices, *, weaknesses: Sequence[Weakness] | None = None) -> Hostile:
    """A capture of one of `weaknesses`, or of all (`CAPTURE_WEAKNESSES`)."""
    return one_hostile(choose, CAPTURE_WEAKNESSES, weaknesses)
