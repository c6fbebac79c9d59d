"""Records that carry a bundle (BIBE), and those that break one rule (draft-ietf-dtn-bibect-05)."""

from __future__ import annotations

from collections.abc import Callable

from interop.strategies.bundle import bundles
from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from interop.strategies.violation import Nearly, Violation
from stack.wire import cbor
from stack.wire.bundle import encode_bundle

_NO_UINT = (b"\x20", b"\xf9\x3c\x00", b"\x41\x01", b"\x61\x31", b"\xf6", b"\x80", b"\xf5")

Fields = list[bytes]


def _record(fields: Fields, kind: bytes = b"\x03") -> bytes:
    return cbor.array((kind, cbor.array(fields)))


def _no_number(choose: Choices, fields: Fields) -> bytes:
    fields[choose.integer(0, 1)] = choose.pick(_NO_UINT)
    return _record(fields)


def _no_octets(choose: Choices, fields: Fields) -> bytes:
    inner, _ = cbor.read_bstr(fields[2], 0)
    text = cbor.head(cbor.TSTR, len(inner)) + bytes(inner)
    fields[2] = choose.pick((b"\x00", b"\xf6", b"\x80", text, bytes(inner)))
    return _record(fields)


def _not_three(choose: Choices, fields: Fields) -> bytes:
    return _record(choose.pick((fields[:2], fields[1:], [*fields, b"\x00"], [])))


def _not_whole(choose: Choices, fields: Fields) -> bytes:
    record = _record(fields)
    return choose.pick((record + b"\x00", record[:-1], record + record))


def _no_pair(choose: Choices, fields: Fields) -> bytes:
    return choose.pick((cbor.array(fields), cbor.array((b"\x03", *fields)), b"\x81\x03", b"\x82"))


def _another_type(choose: Choices, fields: Fields) -> bytes:
    return _record(fields, choose.pick((b"\x01", b"\x04", b"\x08", b"\x18\xff", b"\x23")))


_RULES: tuple[tuple[str, Callable[[Choices, Fields], bytes]], ...] = (
    ("a record is a pair of type and content", _no_pair),
    ("the type is that of an encapsulated bundle", _another_type),
    ("there are three fields", _not_three),
    ("transmission id and retransmission time are numbers", _no_number),
    ("a bundle is a byte string", _no_octets),
    ("a record is one item and nothing else", _not_whole),
)


def _inner(choose: Choices) -> bytes:
    return cbor.bstr(encode_bundle(bundles.make(choose)))


@strategy
def bibe_records(choose: Choices) -> bytes:
    """The octets of a record that carries a bundle, whatever that says."""
    fields = [*(cbor.uint(choose.pick((0, choose.uint()))) for _ in range(2))]
    fields.append(_inner(choose))
    return _record(fields, choose.pick((b"\x03", b"\x07")))


@strategy
def nearly_bibe_records(choose: Choices) -> Nearly:
    """The octets of such a record that breaks one rule."""
    words, breaks = choose.pick(_RULES)
    fields = [cbor.uint(choose.uint()), cbor.uint(choose.uint()), choose.prepared(_inner)]
    violation = Violation("draft-ietf-dtn-bibect §3.1", words)
    valid = _record(list(fields))
    return Nearly(breaks(choose, fields), violation, valid)
