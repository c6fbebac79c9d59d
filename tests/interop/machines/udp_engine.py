"""An LTP engine behind a UDP port, in a process of its own: ``python udp_engine.py PORT FAULT``.

It writes the port that it has: for 0, any that is free.

Our own, or a toy with a fault of `toy_ltp.FAULTS`.
"""

from __future__ import annotations

import socket
import sys
import time

from tests.interop.machines.ours import OurEngine
from tests.interop.machines.toy_ltp import Toy


def main(port: int, broken: str) -> None:
    made = type("Broken", (Toy,), {"fault": broken}) if broken else OurEngine
    engine = made(2, 4_000_000_007)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", port))
        print(one.getsockname()[1], flush=True)
        one.settimeout(0.01)
        peer = ("127.0.0.1", 0)
        while True:
            try:
                datagram, peer = one.recvfrom(65_536)
                engine.receive(datagram, time.monotonic_ns())
            except TimeoutError:
                engine.advance(time.monotonic_ns())
            for datagram in engine.poll() if peer[1] else ():
                one.sendto(datagram, peer)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
