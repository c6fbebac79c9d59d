"""Abstract security blocks whose items can be anything (RFC 9172 §3.6)."""

from __future__ import annotations

from dataclasses import dataclass

from stack.wire import cbor
from stack.wire.asb import EncodedItem, SecurityBlock, Value
from stack.wire.bundle import encode_eid


@dataclass(slots=True)
class RawAsb:
    """An abstract security block as items that can be anything (RFC 9172 §3.6)."""

    targets: list[bytes]
    context: bytes
    flags: bytes
    source: bytes
    parameters: list[bytes] | None
    results: list[bytes]
    """One set for each target."""

    after: bytes = b""

    @staticmethod
    def of(asb: SecurityBlock) -> RawAsb:
        """Such a block in its items."""
        return RawAsb(
            [cbor.uint(target) for target in asb.targets],
            cbor.uint(asb.context),
            cbor.uint(bool(asb.parameters)),
            encode_eid(asb.source),
            [pair(*one) for one in asb.parameters] or None,
            [cbor.array(pair(*one) for one in pairs) for pairs in asb.results],
        )

    def encode(self) -> bytes:
        """The octets."""
        parameters = b"" if self.parameters is None else cbor.array(self.parameters)
        return b"".join(
            (
                cbor.array(self.targets),
                self.context,
                self.flags,
                self.source,
                parameters,
                cbor.array(self.results),
                self.after,
            )
        )


def pair(number: int, value: Value) -> bytes:
    """The octets of a parameter or a result.  Raises `LocalError`."""
    if isinstance(value, EncodedItem):
        item = value.octets
    else:
        item = cbor.uint(value) if isinstance(value, int) else cbor.bstr(value)
    return cbor.array((cbor.uint(number), item))
