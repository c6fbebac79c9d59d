"""Bundles that are hard to bear: what has brought real implementations down, each by its name.

Some are legal, some are not; from either an implementation must come back soon, in as much memory
as it had before, and with a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from interop.strategies import raw as r
from interop.strategies.bundle import bundles
from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from interop.strategies.raw import RawBundle
from stack.core.eid import EID_CHARS_MAX
from stack.wire import cbor
from stack.wire.bundle import BUNDLE_AGE, CRC_NONE, HOP_COUNT, IS_FRAGMENT

LARGE = (1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63)
"""Lengths and counts beyond any buffer, at the ends of what programs keep them in."""

MOST = (1 << 64) - 1
_UNKNOWN = 200
"""A block type for private use."""

_BARE = b"\x85" + cbor.uint(_UNKNOWN)
"""How a block of it without CRC begins."""


@dataclass(frozen=True, slots=True)
class Weakness:
    """A kind of input on which implementations have failed."""

    name: str
    legal: bool
    """Whether it breaks no rule: then it is to be taken, up to bounds that the implementation
    has told of."""


@dataclass(frozen=True, slots=True, repr=False)
class Hostile:
    """Octets of such a kind."""

    encoded: bytes
    weakness: Weakness

    def __repr__(self) -> str:
        return f"Hostile(bytes.fromhex({self.encoded.hex()!r}), {self.weakness!r})"


HostileKinds = Mapping[Weakness, Callable[[Choices], bytes]]
"""Kinds of one protocol, and what makes the octets of each."""


def one_hostile(
    choose: Choices, kinds: HostileKinds, weaknesses: Sequence[Weakness] | None
) -> Hostile:
    """One case of `kinds`: of all, or of some of them."""
    weakness = choose.pick(weaknesses or tuple(kinds))
    return Hostile(kinds[weakness](choose), weakness)


Worsen = Callable[[RawBundle, Choices], None]


@strategy
def hostile_bundles(choose: Choices, *, weaknesses: Sequence[Weakness] | None = None) -> Hostile:
    """The octets of a bundle of one of `weaknesses`, or of all (`BUNDLE_WEAKNESSES`)."""
    weakness = choose.pick(weaknesses or tuple(BUNDLE_WEAKNESSES))
    raw = RawBundle.of(choose.prepared(bundles.make, kind="whole", payload_min=1))
    BUNDLE_WEAKNESSES[weakness](raw, choose)
    return Hostile(raw.encode(), weakness)


def _add(raw: RawBundle, kind: int, content: bytes, at: int = 1) -> None:
    encoded = cbor.uint(kind)
    if kind != _UNKNOWN:
        raw.blocks[1:-1] = [block for block in raw.extensions if block.fields[r.TYPE] != encoded]
    taken = {block.fields[r.NUMBER] for block in raw.blocks[1:]}
    number = next(n for n in range(2, len(taken) + 3) if cbor.uint(n) not in taken)
    raw.blocks.insert(at, r.extension(kind, number, content))


def _beyond(raw: RawBundle, choose: Choices) -> None:
    block = choose.pick(raw.blocks[1:])
    content = cbor.read_bstr(block.fields[r.DATA], 0)[0]
    size = choose.pick((*LARGE, MOST))
    block.fields[r.DATA] = cbor.head(cbor.BSTR, size) + content


def _short(raw: RawBundle, choose: Choices) -> None:
    content = bytes(cbor.read_bstr(raw.payload.fields[r.DATA], 0)[0]) + b"\0\0"
    size = choose.integer(0, len(content) - 2)
    raw.payload.fields[r.DATA] = cbor.head(cbor.BSTR, size) + content


def _long_name(raw: RawBundle, choose: Choices) -> None:
    text = b"//gs1/"
    raw.primary.fields[r.DESTINATION] = (
        b"\x82\x01" + cbor.head(cbor.TSTR, choose.pick((*LARGE, MOST))) + text
    )


def _many_fields(raw: RawBundle, choose: Choices) -> None:
    choose.pick(raw.blocks).head = cbor.head(cbor.ARRAY, choose.pick((*LARGE, MOST)))


def _counters(raw: RawBundle, choose: Choices) -> None:
    most = cbor.uint(MOST)
    creation = cbor.uint(choose.pick((1, MOST, 1 << 63)))
    raw.primary.fields[r.TIMESTAMP] = b"\x82" + creation + most
    raw.primary.fields[r.LIFETIME] = most
    _add(raw, BUNDLE_AGE, most)
    _add(raw, HOP_COUNT, cbor.array((cbor.uint(255), most)))


def _times(raw: RawBundle, choose: Choices) -> None:
    edges = (1, 1 << 32, (1 << 53) + 1, (1 << 63) - 1, 1 << 63, MOST)
    created, lifetime = choose.pick(edges), choose.pick((0, *edges))
    raw.primary.fields[r.TIMESTAMP] = cbor.array((cbor.uint(created), cbor.uint(choose.uint())))
    raw.primary.fields[r.LIFETIME] = cbor.uint(lifetime)


def _fragment(raw: RawBundle, offset: int, total: int) -> None:
    flags = cbor.read_uint(raw.primary.fields[r.FLAGS], 0)[0] | IS_FRAGMENT
    raw.primary.fields[r.FLAGS] = cbor.uint(flags)
    raw.primary.fields += (cbor.uint(offset), cbor.uint(total))


def _contradiction(raw: RawBundle, choose: Choices) -> None:
    offset = choose.pick((1, *LARGE, MOST))  # which plus the payload may be over 64 bits
    _fragment(raw, offset, choose.pick((0, 1, offset)))


def _far_apart(raw: RawBundle, choose: Choices) -> None:
    size = len(cbor.read_bstr(raw.payload.fields[r.DATA], 0)[0])
    offset = choose.pick((0, *LARGE))
    _fragment(raw, offset, min(MOST, offset + size + choose.pick(LARGE)))


def _nested_block(raw: RawBundle, choose: Choices) -> None:
    depth = choose.pick((17, 1000, 50_000))
    content = choose.pick((b"\x81", b"\x9f", b"\xc1", b"\xa1\x00", b"\x5f")) * depth
    _add(raw, choose.pick((_UNKNOWN, 255)), content)


def _nested_eid(raw: RawBundle, choose: Choices) -> None:
    depth = choose.pick((100, 500, 10_000))
    item = choose.pick((b"\x81", b"\xc1")) * depth + b"\x00"
    raw.primary.fields[r.REPORT_TO] = b"\x82" + cbor.uint(_UNKNOWN) + item


def _nested_known(raw: RawBundle, choose: Choices) -> None:
    _add(raw, HOP_COUNT, b"\x82" * choose.pick((100, 10_000)) + b"\x05\x01")


def _bare(number: int) -> r.RawBlock:
    """An empty block that nobody knows, in one piece: of such there are many."""
    return r.RawBlock([], CRC_NONE, b"".join((_BARE, cbor.uint(number), b"\0\0\x40")))


def _many_blocks(raw: RawBundle, choose: Choices) -> None:
    first = max(cbor.read_uint(block.fields[r.NUMBER], 0)[0] for block in raw.blocks[1:]) + 1
    count = choose.pick((100, 200))
    raw.blocks[1:1] = map(_bare, range(first, first + count))


def _same_numbers(raw: RawBundle, choose: Choices) -> None:
    raw.blocks[1:1] = [_bare(2)] * choose.integer(2, 50)


def _reordered(raw: RawBundle, choose: Choices) -> None:
    for _ in range(3):
        _add(raw, _UNKNOWN, b"", at=choose.integer(1, len(raw.blocks) - 1))
    _add(raw, BUNDLE_AGE, b"\x00", at=-1)


def _empty(raw: RawBundle, choose: Choices) -> None:
    raw.payload.fields[r.DATA] = b"\x40"
    _add(raw, _UNKNOWN, b"")
    raw.primary.fields[r.DESTINATION] = b"\x82\x01" + cbor.tstr("//a/")


_NAMES = (
    "//../..",
    "//./",
    "//~/~",
    "//%00/",
    "//%2e%2e/%2f",
    "//A/",
    "//none/",
    "//a/~",
    "//a//",
    "//a/?q#f",
    "//a/%",
    "//a/${HOME}",
    "//$(id)/'",
    "//-rf/*",
    "//a/" + "b" * (EID_CHARS_MAX - 4),
    "//" + "%ff" * 300 + "/",
)


def _names(raw: RawBundle, choose: Choices) -> None:
    nodes = [name for name in _NAMES if "/~" not in name[2:]]  # a source is no group (§4.2.5.2)
    for at in (r.DESTINATION, r.SOURCE, r.REPORT_TO):
        names = nodes if at == r.SOURCE else _NAMES
        raw.primary.fields[at] = b"\x82\x01" + cbor.tstr(choose.pick(names))


def _widths(raw: RawBundle, choose: Choices) -> None:
    for at in (r.DESTINATION, r.SOURCE, r.REPORT_TO):
        numbers = [cbor.uint(choose.uint(32, 1) & ~1 | 1 << 8), cbor.uint(choose.uint(32) & ~1)]
        service = cbor.uint(choose.uint())
        raw.primary.fields[at] = b"\x82\x02" + cbor.array((*numbers, service))
    raw.payload.fields[r.BLOCK_FLAGS] = cbor.uint((MOST >> choose.integer(0, 60)) & ~0x02)


def _indefinite(raw: RawBundle, choose: Choices) -> None:
    raw.primary.fields[r.DESTINATION] = b"\x9f\x01\x7f\x66//gs1/\x60\x60\xff\xff"
    raw.primary.fields[r.REPORT_TO] = b"\x9f\x02\x9f\x05\x01\xff\xff"
    block = choose.pick(raw.blocks)
    block.head, block.closing = b"\x9f", b"\xff"


BUNDLE_WEAKNESSES: dict[Weakness, Worsen] = {
    Weakness("a length field beyond the buffer", False): _beyond,
    Weakness("a length field short of its content", False): _short,
    Weakness("a name longer than the buffer", False): _long_name,
    Weakness("an array of more items than there are", False): _many_fields,
    Weakness("counters at their ends", True): _counters,
    Weakness("times at the edges", True): _times,
    Weakness("offset and total that contradict each other", False): _contradiction,
    Weakness("a fragment of a data unit that nobody can hold", True): _far_apart,
    Weakness("absurd nesting in a block that nobody knows", True): _nested_block,
    Weakness("absurd nesting in an EID of an unknown scheme", True): _nested_eid,
    Weakness("absurd nesting where a number is expected", False): _nested_known,
    Weakness("as many blocks as there may be", True): _many_blocks,
    Weakness("duplicate block numbers", False): _same_numbers,
    Weakness("blocks in another order", True): _reordered,
    Weakness("empty things", True): _empty,
    Weakness("names that mean something to something else", True): _names,
    Weakness("integers of every width", True): _widths,
    Weakness("items of indefinite length", True): _indefinite,
}
"""All kinds, and what makes them of a bundle."""
