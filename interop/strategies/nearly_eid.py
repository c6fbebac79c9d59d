"""Endpoint identifiers that break one rule (RFC 9171 §4.2.5.1, RFC 9758)."""

from __future__ import annotations

from collections.abc import Callable

from interop.strategies.bundle import encoded_eids
from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from interop.strategies.violation import Nearly, Violation
from stack.wire import cbor

_DTN, _IPN = b"\x01", b"\x02"
GROUPS = tuple(b"\x82\x01" + cbor.tstr(ssp) for ssp in ("//gs1/~all", "//a/~", "//a/~/b"))
"""EIDs of groups: right as such, and no nodes (RFC 9171 §4.2.5.1.1, §4.2.5.2)."""

_NAMES = ("gs1", "a", "sat-7", "x%20y", "node.example")

UNICODE_TRAPS = (
    "\u00e9",  # composed, and decomposed: the same to people alone
    "e\u0301",
    "\u0455at1",  # a Cyrillic letter that looks Latin
    "sat1\u202etxt",  # what follows is shown from right to left
    "sat\u200d1",  # shown as if it were not there
    "\ufeffsat1",
    "\uff0fsat1",  # looks like a slash
    "\u0130",  # changes its length in lower case
    "\u2024\u2024",
    "\U0001f6f0",
    "\x00",
    "\x7f",
    "\ud7ff",
)
"""Texts that are not what they look like, or not the same to everyone."""

Make = Callable[[Choices], bytes]


@strategy
def nearly_eids(choose: Choices) -> Nearly:
    """An encoded EID that breaks one rule."""
    violation, make = choose.pick(EID_RULES)
    return Nearly(make(choose), violation, encoded_eids.make(choose))


def _one_of(*encodings: bytes) -> Make:
    return lambda choose: choose.pick(encodings)


def _dtn(*ssps: str) -> Make:
    """A dtn EID of some text in which ``{name}`` stands for a node's name."""

    def make(choose: Choices) -> bytes:
        text = choose.pick(ssps).format(name=choose.pick(_NAMES))
        return b"\x82" + _DTN + cbor.tstr(text)

    return make


def _ipn(*items: Callable[[Choices], bytes]) -> Make:
    """An ipn EID of such items."""
    return lambda choose: b"\x82" + _IPN + cbor.array(item(choose) for item in items)


def _number(bits: int = 32, least: int = 1) -> Callable[[Choices], bytes]:
    return lambda choose: cbor.uint(choose.uint(bits, least))


def _over_32(choose: Choices) -> bytes:
    return cbor.uint((1 << 32) + choose.uint(16))


def _not_uint(choose: Choices) -> bytes:
    return choose.pick((b"\x20", b"\xf9\x3c\x00", b"\x61\x35", b"\x41\x05", b"\xf6", b"\x81\x05"))


def _trap(choose: Choices) -> bytes:
    name = choose.pick(UNICODE_TRAPS)
    return b"\x82" + _DTN + cbor.tstr(choose.pick((f"//{name}/x", f"//gs1/{name}")))


def _not_utf8(choose: Choices) -> bytes:
    wrong = choose.pick((b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc3"))
    text = b"//gs1/" + wrong
    return b"\x82" + _DTN + cbor.head(cbor.TSTR, len(text)) + text


def _long_number(choose: Choices) -> bytes:
    node = choose.integer(1, 23)
    return b"\x82" + _IPN + b"\x82\x18" + bytes((node,)) + b"\x01"


def _bignum(choose: Choices) -> bytes:
    return b"\xc2\x49\x01" + choose.octets(8, 8)


_9171 = "RFC 9171 §4.2.5.1"
_9758 = "RFC 9758 §6.1"

EID_RULES: tuple[tuple[Violation, Make], ...] = (
    (Violation(_9171, "an EID is an array of two items: one"), _one_of(b"\x81\x01", b"\x81\x02")),
    (
        Violation(_9171, "an EID is an array of two items: three"),
        _one_of(b"\x83\x01\x00\x00", b"\x83\x02\x05\x01"),
    ),
    (
        Violation(_9171, "an EID is an array"),
        _one_of(cbor.tstr("dtn://gs1/"), cbor.tstr("ipn:5.1"), b"\x00", b"\x41\x01", b"\xf6"),
    ),
    (
        Violation(_9171, "a URI scheme code is an unsigned integer"),
        _one_of(
            b"\x82" + cbor.tstr("dtn") + cbor.tstr("//gs1/"),
            b"\x82\x20\x00",
            b"\x82\xf9\x3c\x00\x00",
        ),
    ),
    (Violation("RFC 9171 §9.6", "URI scheme code 0 is reserved"), _one_of(b"\x82\x00\x00")),
    (Violation(f"{_9171}.1", "dtn:none is encoded as 0"), _dtn("none")),
    (
        Violation(f"{_9171}.1", "the only number that stands for a dtn EID is 0"),
        _one_of(b"\x82\x01\x01", b"\x82\x01\x18\x18", b"\x82\x01\x1a\xff\xff\xff\xff"),
    ),
    (
        Violation(f"{_9171}.1", "the scheme-specific part of a dtn EID is text"),
        _one_of(b"\x82\x01\x46//gs1/", b"\x82\x01\x81\x66//gs1/", b"\x82\x01\xf4", b"\x82\x01\x20"),
    ),
    (
        Violation(f"{_9171}.1", "a dtn EID begins with //"),
        _dtn("{name}/", "/{name}/x", "", "dtn://{name}/", "\\\\{name}\\"),
    ),
    (Violation(f"{_9171}.1", "the node name of a dtn EID ends with /"), _dtn("//{name}", "//")),
    (
        Violation(f"{_9171}.1", "a node name is a reg-name (RFC 3986 §3.2.2)"),
        _dtn("//{name}:80/", "//u@{name}/", "//[::1]/", "// {name}/", '//{name}"/', "//<{name}>/"),
    ),
    (
        Violation("RFC 3986 §2.1", "% is followed by two hexadecimal digits"),
        _dtn("//{name}%/", "//{name}%2/", "//%g0{name}/", "//%/"),
    ),
    (
        Violation(f"{_9171}.1", "a demux has visible characters alone"),
        _dtn("//{name}/a b", "//{name}/\t", "//{name}/x\n", "//{name}/\x1b[2J"),
    ),
    (Violation(f"{_9171}.1", "a dtn EID is of ASCII characters"), _trap),
    (Violation("RFC 8949 §3.1", "a text string is UTF-8"), _not_utf8),
    (Violation(_9758, "an ipn EID has two or three numbers: one"), _ipn(_number())),
    (Violation(_9758, "an ipn EID has two or three numbers: none"), _ipn()),
    (
        Violation(_9758, "an ipn EID has two or three numbers: four"),
        _ipn(_number(), _number(), _number(), _number()),
    ),
    (
        Violation(_9758, "the scheme-specific part of an ipn EID is an array"),
        _one_of(b"\x82\x02\x635.1", b"\x82\x02\x05", b"\x82\x02\x42\x05\x01"),
    ),
    (
        Violation(_9758, "the parts of an ipn EID are unsigned integers"),
        lambda choose: _ipn(*choose.pick(((_not_uint, _number()), (_number(), _not_uint))))(choose),
    ),
    (
        Violation("RFC 9758 §3.2", "an allocator identifier has 32 bits"),
        _ipn(_over_32, _number(), _number()),
    ),
    (
        Violation("RFC 9758 §3.3", "a node number has 32 bits"),
        _ipn(_number(), _over_32, _number()),
    ),
    (Violation("RFC 9758 §3.5", "a service number has 64 bits"), _ipn(_number(), _bignum)),
    (
        Violation("RFC 9758 §3.4.2", "the local node has no meaning elsewhere"),
        _ipn(lambda choose: cbor.uint((1 << 32) - 1), _number(64, 0)),
    ),
    (Violation("RFC 9171 §4.1", "integers have their shortest form"), _long_number),
)
"""What an EID on the wire must not be, and how it is made."""
