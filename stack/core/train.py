"""Trains: runs of datagrams that travel through the layers in one buffer.

A per-datagram call through five Python layers costs more than the protocol work itself, so
every layer below the bundle agent hands over whole trains: one contiguous buffer that holds
datagrams of `size` octets each, the last one possibly shorter.  It is the shape that UDP GSO and
GRO use in the kernel, and the shape that NumPy wants for coding across packets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

Buffer = bytes | bytearray | memoryview
"""Anything with a contiguous buffer of octets; nobody below the applications copies it."""

FLOW_SOURCE = 0
"""Datagrams of the protocol itself (RFC 6363 §2: source flow, or no FEC at all)."""

FLOW_REPAIR = 1
"""Datagrams of a FECFRAME repair flow, told apart by its own UDP port (RFC 6363 §5.2)."""


class Train(NamedTuple):
    """Datagrams of equal size in one buffer; only the last may be shorter.

    `size` is at least 1 and `data` is not empty.  `flow` selects the UDP port of the link.
    """

    data: Buffer
    size: int
    flow: int = FLOW_SOURCE

    @property
    def datagram_count(self) -> int:
        """Number of datagrams in the train."""
        return -(-len(self.data) // self.size)

    def datagrams(self) -> Iterator[memoryview]:
        """Each datagram as a view into the buffer, in order."""
        view = memoryview(self.data)
        for start in range(0, len(view), self.size):
            yield view[start : start + self.size]


def single(datagram: Buffer, flow: int = FLOW_SOURCE) -> Train:
    """A train of exactly one datagram (which must not be empty)."""
    return Train(datagram, len(datagram), flow)
