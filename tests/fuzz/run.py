"""Feeds targets with mutated inputs, from a seed, and keeps what goes wrong."""

from __future__ import annotations

import random
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tests.fuzz.targets import Target, targets

BATCH = 200
HANG_S = 20
"""A batch takes some milliseconds: what is not over after so much processor time never ends.  By
the clock on the wall a machine that is busy would do."""

KEPT = 5
"""Faults of a target that are kept in full."""


class Hang(BaseException):
    """An input that a reader does not come back from."""


@dataclass(slots=True)
class Tally:
    """What became of the inputs of one target."""

    name: str
    inputs: int = 0
    taken: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


Alarm = Callable[[float], object]


def feed(
    target: Target, seed: str, count: int, tally: Tally, alarm: Alarm = lambda seconds: None
) -> None:
    """Feed `count` inputs drawn from `seed`; `alarm(seconds)` raises `Hang` when so much time has
    gone by since it was last called."""
    rng = random.Random(f"{target.name}/{seed}")
    begin = time.perf_counter()
    for number in range(count):
        if number % BATCH == 0:
            alarm(HANG_S)
        data = target.draw(rng)
        try:
            tally.taken += target.take(data, rng)
        except (Exception, Hang) as error:
            if len(tally.faults) < KEPT:
                where = "".join(traceback.format_tb(error.__traceback__)[-2:])
                tally.faults.append(
                    f"{target.name}, seed {seed!r}, input {number}: {type(error).__name__}: "
                    f"{error}\n{where}    bytes.fromhex({data.hex()!r})"
                )
            if isinstance(error, Hang):
                break
    alarm(0)
    tally.inputs += count
    tally.seconds += time.perf_counter() - begin


def run(
    seed: str,
    each: int,
    more: Callable[[], bool] = lambda: False,
    only: str = "",
) -> list[Tally]:
    """Feed every target `each` inputs, and again as long as there is `more` time."""

    def hang(*_: object) -> None:
        raise Hang(f"not over after {HANG_S} s")

    alarm = partial(signal.setitimer, signal.ITIMER_PROF)
    before = signal.signal(signal.SIGPROF, hang)
    chosen = [target for target in targets() if only in target.name]
    tallies = {target.name: Tally(target.name) for target in chosen}
    turn = 0
    try:
        while True:
            for target in chosen:
                count = max(1, round(each * target.share))
                feed(target, f"{seed}.{turn}", count, tallies[target.name], alarm)
            turn += 1
            if not more():
                return list(tallies.values())
    finally:
        signal.signal(signal.SIGPROF, before)
