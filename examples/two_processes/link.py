"""The link in a box: delay, loss, and a blackout in the middle of the transfer."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from orbitferry.models import (
    MILLISECOND,
    SECOND,
    ChannelConfig,
    Delay,
    Emulator,
    EmulatorConfig,
    LossModel,
    open_udp,
)

DELAY_NS = 5 * MILLISECOND


class Blackout:
    """Random loss, and nothing at all for a while once so many octets have passed either way.

    Both directions of the link share one object: a blackout is dark for both.
    """

    def __init__(self, loss: float, after_bytes: int, blackout_s: float, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._loss = loss
        self._left = after_bytes
        self._length_ns = round(blackout_s * SECOND)
        self._dark_until_ns: int | None = None

    def lost(self, size: int, now_ns: int) -> bool:
        """Whether a datagram of `size` octets is lost."""
        return bool(self.lost_many(np.array([float(now_ns)]), size, size)[0])

    def lost_many(
        self, times_ns: NDArray[np.float64], size: int, tail_bytes: int
    ) -> NDArray[np.bool_]:
        """The same for a train."""
        n, now_ns = len(times_ns), int(times_ns[0])
        self._left -= n * size
        if self._left <= 0 and self._dark_until_ns is None:
            self._dark_until_ns = now_ns + self._length_ns
            print("blackout begins", flush=True)
        if self._dark_until_ns is not None and now_ns < self._dark_until_ns:
            return np.ones(n, np.bool_)
        return self._rng.random(n) < self._loss


async def main(options: argparse.Namespace) -> None:
    """Serve until terminated."""
    blackout = Blackout(options.loss, options.after_bytes, options.blackout, seed=1)
    both: Callable[[np.random.Generator], LossModel] = lambda rng: blackout  # noqa: E731
    channel = ChannelConfig(delay=Delay.constant(DELAY_NS), loss=both, coalesce_ns=MILLISECOND)
    box_ground, box_satellite, ground, satellite = options.ports
    emulator = Emulator(
        EmulatorConfig(
            listen_a=("127.0.0.1", box_ground),
            listen_b=("127.0.0.1", box_satellite),
            peer_a=("127.0.0.1", ground),
            peer_b=("127.0.0.1", satellite),
            forward=channel,
        ),
        open_udp,
    )
    await emulator.start()
    print("ready", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await emulator.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ports", type=int, nargs=4, required=True)
    parser.add_argument("--loss", type=float, default=0.01)
    parser.add_argument("--blackout", type=float, default=3.0, help="seconds")
    parser.add_argument("--after-bytes", type=int, default=50_000_000)
    asyncio.run(main(parser.parse_args()))
