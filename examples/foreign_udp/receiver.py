"""A program that knows nothing of the box: receives the sender's datagrams and prints, as JSON,
how many were lost and how long they took.

python receiver.py PORT      (0 takes any; the first line of output is the port)
"""

from __future__ import annotations

import json
import socket
import statistics
import struct
import sys
import time

SILENCE_S = 20.0


def main(port: int) -> int:
    """Receive until the sender says how many there were; 1 when it never does."""
    delays_ms: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
        sock.settimeout(SILENCE_S)
        print(sock.getsockname()[1], flush=True)
        while True:
            try:
                data = sock.recv(2048)
            except TimeoutError:
                print(f"nothing for {SILENCE_S:g} s", file=sys.stderr)
                return 1
            number, stamp = struct.unpack("!qq", data[:16])
            if number < 0:
                break
            delays_ms.append((time.monotonic_ns() - stamp) / 1e6)
    sent = stamp
    result = {
        "sent": sent,
        "received": len(delays_ms),
        "lost_percent": round(100 * (1 - len(delays_ms) / sent), 2),
        "delay_ms_least": round(min(delays_ms), 2),
        "delay_ms_median": round(statistics.median(delays_ms), 2),
    }
    print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
