"""A program that knows nothing of the box: sends numbered, time-stamped datagrams.

python sender.py HOST PORT COUNT PER_SECOND
"""

from __future__ import annotations

import socket
import struct
import sys
import time


def main(host: str, port: int, count: int, per_second: float) -> None:
    """Send `count` datagrams at an even pace, then some that say how many there were."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        begun = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, begun + number / per_second - time.monotonic()))
            stamp = struct.pack("!qq", number, time.monotonic_ns())
            sock.sendto(stamp + bytes(984), (host, port))
        for _ in range(50):  # the link may lose them too
            sock.sendto(struct.pack("!qq", -1, count), (host, port))
            time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
