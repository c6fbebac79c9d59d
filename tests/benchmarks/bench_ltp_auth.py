"""What LTP authentication costs: two engines in one process, which signs and verifies too, with and
without it.

python tests/benchmarks/bench_ltp_auth.py
"""

from __future__ import annotations

import math
import random
import time

from stack.engines.ltp import BlockReceived, LtpConfig, LtpEngine, ReportHeld
from stack.engines.ltp.authentication import Authenticator
from stack.engines.ltp.ciphersuites import gmac_key, hmac_key

UNITS, UNIT_BYTES, ROUNDS = 400, 65_536, 3


def seconds(segment_bytes: int, guard: Authenticator | None) -> float:
    """Processor seconds that it takes to carry all units from one engine to the other."""
    size = segment_bytes - (guard.overhead_bytes if guard else 0)
    entropy = random.Random(1).randbytes
    ends = [
        LtpEngine(
            LtpConfig(local_engine_id=a, remote_engine_id=b, segment_bytes=size),
            entropy=entropy,
        )
        for a, b in ((1, 2), (2, 1))
    ]
    for end in ends:
        end.link(0, tx_up=True, rx_up=True, rate_bps=None, owlt_ns=0)
    data = random.Random(2).randbytes(UNIT_BYTES)
    begin = time.process_time()
    waiting, busy = UNITS, True
    while waiting or busy:
        busy = False
        while waiting and ends[0].room() > 0:
            ends[0].submit(data, waiting, 0)
            waiting -= 1
        for end, other in (ends, ends[::-1]):
            for train in end.data_to_send(0, None if guard is None else guard.envelope()):
                busy = True
                arrived = [train] if guard is None else guard.verify(guard.sign(train))
                for inner in arrived:
                    other.receive(inner, 0)
            while (event := end.next_event()) is not None:
                busy = True
                if isinstance(event, BlockReceived):
                    end.accept(event.session)
                elif isinstance(event, ReportHeld):
                    end.report_noted(event.session)
    return time.process_time() - begin


def main() -> None:
    """Print Gbit/s of user data for each size of segments, best of some rounds in turn."""
    key_id, entropy = b"keyi", random.Random(3).randbytes
    keys = {"HMAC-SHA1-80": hmac_key(bytes(20), key_id), "AES-GMAC": gmac_key(bytes(32), key_id)}
    bits = 8e-9 * UNITS * UNIT_BYTES
    for segment_bytes in (1_400, 8_900, 64_000):
        best = dict.fromkeys(("without", *keys), math.inf)
        for _ in range(ROUNDS):
            best["without"] = min(best["without"], seconds(segment_bytes, None))
            for name, key in keys.items():
                guard = Authenticator(key, [key], entropy)
                best[name] = min(best[name], seconds(segment_bytes, guard))
        told = ", ".join(f"{bits / spent:.2f} {name}" for name, spent in best.items())
        print(f"segments of {segment_bytes:>6}, Gbit/s: {told}")


if __name__ == "__main__":
    main()
