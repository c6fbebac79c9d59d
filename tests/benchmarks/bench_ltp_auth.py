"""What LTP authentication costs: two engines in one process, with and without it.

python tests/benchmarks/bench_ltp_auth.py
"""

from __future__ import annotations

import random
import time

from stack.engines.ltp import BlockReceived, LtpConfig, LtpEngine, ReportHeld
from stack.engines.ltp.authentication import Authenticator, hmac_key

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
            for train in end.data_to_send(0):
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
    key = hmac_key(bytes(20), b"keyid")
    for segment_bytes in (1_400, 8_900, 64_000):
        plain = min(seconds(segment_bytes, None) for _ in range(ROUNDS))
        signed = min(seconds(segment_bytes, Authenticator(key, [key])) for _ in range(ROUNDS))
        bits = 8e-9 * UNITS * UNIT_BYTES
        print(
            f"segments of {segment_bytes:>6}: {bits / plain:6.2f} Gbit/s without, "
            f"{bits / signed:6.2f} with HMAC-SHA1-80 (signed and verified in one process)"
        )


if __name__ == "__main__":
    main()
