"""A receiver of LTP blocks (RFC 5326) that is wrong in ten ways, each marked with its number.

    orbitferry fuzz --target udp://127.0.0.1:11130 --protocol ltp \\
        --start "python -m examples.fuzz.toy_ltp 11130"

It answers checkpoints with reports, and cancellations with acknowledgements.  Not for use.
"""

from __future__ import annotations

import socket
import sys
import traceback
from typing import Any

SESSIONS_MAX = 64


def sdnv(data: bytes, at: int) -> tuple[int, int]:
    """A self-delimiting number (RFC 6256), and where it ends."""
    value = 0
    while True:
        octet = data[at]  # fault 1: nobody looks whether there is another octet
        value = value << 7 | octet & 0x7F
        at += 1
        if octet < 0x80:
            return value, at


def put(value: int) -> bytes:
    """A number as SDNV."""
    octets = [value & 0x7F]
    while value := value >> 7:
        octets.append(0x80 | value & 0x7F)
    return bytes(reversed(octets))


class Receiver:
    """What came of each session."""

    def __init__(self) -> None:
        self.sessions: dict[tuple[int, int], dict[str, Any]] = {}
        self.serial = 1

    def receive(self, data: bytes) -> bytes:
        """The answer to one segment, or b""."""
        if not data or data[0] >> 4:
            return b""
        kind = data[0] & 15
        engine, at = sdnv(data, 1)
        number, at = sdnv(data, at)
        extensions = data[at]  # fault 2: the segment may end here
        at += 1
        for _ in range((extensions >> 4) + (extensions & 15)):
            if at >= len(data):
                return b""
            size, at = sdnv(data, at + 1)
            at += size
        head = put(engine) + put(number) + b"\0"
        session = (engine, number)
        if kind < 8:
            return self.data(kind, session, head, data[at:])
        if kind == 8:
            return self.report(session, head, data[at:])
        if kind == 9:
            serial, _ = sdnv(data, at)
            del self.sessions[session]["reports"][serial]  # fault 3: it may never have been sent
            return b""
        if kind in (12, 14):
            reason = ("user", "unreachable", "limit", "miscoloured", "system", "rounds")[data[at]]
            # fault 4: reasons from 6 on are reserved, not impossible
            return bytes((13 if kind == 12 else 15,)) + head + reason.encode()[:0]
        return b""

    def data(self, kind: int, session: tuple[int, int], head: bytes, rest: bytes) -> bytes:
        """A data segment; a checkpoint is answered."""
        service, at = sdnv(rest, 0)
        offset, at = sdnv(rest, at)
        length, at = sdnv(rest, at)
        checkpoint = report = 0
        if kind in (1, 2, 3):
            checkpoint, at = sdnv(rest, at)
            report, at = sdnv(rest, at)
        known = self.sessions.setdefault(
            session, {"block": bytearray(), "claims": [], "reports": {}, "service": service}
        )
        if len(self.sessions) > SESSIONS_MAX:
            self.sessions.pop(next(iter(self.sessions)))
        assert known["service"] == service  # fault 5: a peer that changes its mind
        block = known["block"]
        if offset + length > len(block):
            if offset > 1 << 40:
                raise MemoryError  # what bytearray would say, without the trouble
            if offset + length > 1 << 26:
                return b""
            block.extend(bytes(offset + length - len(block)))  # fault 6: a block as long as said
        block[offset : offset + length] = rest[at : at + length]
        known["claims"].append((offset, offset + length))
        if report:
            known["reports"].pop(report)  # fault 7: a report that was never sent
        if not checkpoint:
            return b""
        self.serial += 1
        known["reports"][self.serial] = checkpoint
        lower = min(start for start, _ in known["claims"])
        upper = max(end for _, end in known["claims"])
        density = 100 * sum(end - start for start, end in known["claims"]) // (upper - lower)
        # fault 8: a claim of no octets at all
        known["density"] = density
        claims = b"\x01" + put(0) + put(upper - lower)
        return (
            b"\x08" + head + put(self.serial) + put(checkpoint) + put(upper) + put(lower) + claims
        )

    def report(self, session: tuple[int, int], head: bytes, rest: bytes) -> bytes:
        """A report is acknowledged."""
        serial, at = sdnv(rest, 0)
        _checkpoint, at = sdnv(rest, at)
        upper, at = sdnv(rest, at)
        lower, at = sdnv(rest, at)
        count, at = sdnv(rest, at)
        claimed = 0
        for _ in range(count):
            _start, at = sdnv(rest, at)
            size, at = sdnv(rest, at)
            claimed += size
        left = upper - lower - claimed
        while left:  # fault 9: claims beyond the scope
            left -= 1
        if count:
            _ = claimed // count
        else:
            raise ZeroDivisionError  # fault 10: a report without claims
        return b"\x09" + head + put(serial)


def main(port: int) -> None:
    """Answer at a UDP port until the end."""
    receiver = Receiver()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
        while True:
            data, sender = sock.recvfrom(65_536)
            try:
                answer = receiver.receive(data)
            except Exception:  # as many a server does, which hides the faults from its users
                traceback.print_exc()
                continue
            if answer:
                sock.sendto(answer, sender)


if __name__ == "__main__":
    main(int(sys.argv[1]))
