"""The extensions that authentication puts around a segment (RFC 5326 §3.1.4, RFC 5327 §2.1)."""

from __future__ import annotations

from typing import Final, NamedTuple

COUNTS: Final = 0x11
"""One extension in the header, one in the trailer."""


class Envelope(NamedTuple):
    """Segments are packed with it around them, and signed where they stand."""

    header: bytes
    """The extension behind the extension counts."""

    trailer: bytes
    """The extension at the end, with zeros in the place of the authentication value."""

    @property
    def octets(self) -> int:
        """How much longer it makes a segment."""
        return len(self.header) + len(self.trailer)

    def begun(self, segment: bytes) -> bytes:
        """A segment that has no extensions, or its first octets, with those of the header."""
        at = counts_at(segment)
        return b"".join(
            (segment[:at], bytes((segment[at] + COUNTS,)), self.header, segment[at + 1 :])
        )

    def around(self, segment: bytes) -> bytes:
        """A segment that has no extensions, with both."""
        return self.begun(segment) + self.trailer


def counts_at(segment: bytes | memoryview) -> int:
    """Where the extension counts of a segment stand (RFC 5326 §3.1).  IndexError if it is cut."""
    at = 1
    for _ in range(2):  # engine id and session number
        while segment[at] & 0x80:
            at += 1
        at += 1
    segment[at]
    return at
