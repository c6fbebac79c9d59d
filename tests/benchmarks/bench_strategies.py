"""How many cases a second the strategies give: ``python -m tests.benchmarks.bench_strategies``.

Each kind of case is made and fed to our own decoder, in one process and, from seeds of their own,
in one for each core; beside it what Hypothesis makes of the same maker when it draws the choices.
Counted is processor time, so that what else the machine does falls out.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator

from hypothesis import HealthCheck, Phase, given, settings

from interop.strategies import (
    Hostile,
    Maker,
    Nearly,
    encoded_bundles,
    encoded_eids,
    encoded_secured_bundles,
    hostile_bundles,
    mutated,
    mutated_bundles,
    nearly_bundles,
)
from interop.strategies.ltp import encoded_segments, mutated_segments, nearly_segments
from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.wire.bundle import decode_bundle, decode_eid
from stack.wire.ltp import decode_segment

CASES = 2_000
"""Of each kind and round."""

ROUNDS = 3
DRAWN = 200
"""Cases of Hypothesis of each kind."""

Case = bytes | Nearly | Hostile
Decode = Callable[[Buffer], object]

KINDS: dict[str, tuple[Maker[Case] | Maker[bytes] | Maker[Nearly] | Maker[Hostile], Decode]] = {
    "valid bundles": (encoded_bundles.maker(), decode_bundle),
    "nearly valid bundles": (nearly_bundles.maker(), decode_bundle),
    "bundles damaged inside": (mutated_bundles.maker(), decode_bundle),
    "mutated octets": (mutated.maker(encoded_bundles.maker()), decode_bundle),
    "hostile bundles": (hostile_bundles.maker(), decode_bundle),
    "secured bundles": (encoded_secured_bundles.maker(), decode_bundle),
    "EIDs": (encoded_eids.maker(), decode_eid),
    "valid LTP segments": (encoded_segments.maker(), decode_segment),
    "nearly valid segments": (nearly_segments.maker(), decode_segment),
    "mutated segments": (mutated_segments.maker(), decode_segment),
}


def feed(cases: Iterator[Case], decode: Decode, count: int) -> float:
    """Cases a second, made and decoded."""
    begin = time.process_time()
    for case in itertools.islice(cases, count):
        try:
            decode(case if isinstance(case, bytes) else case.encoded)
        except DecodeError:
            continue
    return count / (time.process_time() - begin)


def quick(kind: str, seed: int) -> float:
    """The best of some rounds of one kind."""
    maker, decode = KINDS[kind]
    return max(feed(maker.cases(seed + turn), decode, CASES) for turn in range(ROUNDS))


def drawn(kind: str) -> float:
    """The same with Hypothesis."""
    maker, decode = KINDS[kind]

    @settings(
        max_examples=DRAWN,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(maker.strategy())
    def run(case: Case) -> None:
        feed(iter((case,)), decode, 1)

    begin = time.process_time()
    run()
    return DRAWN / (time.process_time() - begin)


def main() -> None:
    """Print the table."""
    cores = os.cpu_count() or 1
    print("cases a second, made and decoded")
    print(f"{'':24}{'one process':>12}{f'{cores} processes':>14}{'Hypothesis':>12}")
    with multiprocessing.Pool(cores) as pool:
        for kind in KINDS:
            alone = quick(kind, 1)
            together = sum(pool.starmap(quick, [(kind, 100 * core) for core in range(cores)]))
            print(f"{kind:24}{alone:12,.0f}{together:14,.0f}{drawn(kind):12,.0f}")


if __name__ == "__main__":
    main()
