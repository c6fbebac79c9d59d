"""One seed, any number of named random substreams.

A substream depends on the seed and on its name only, never on how many others were taken before
it: adding a link or a loss model to a scenario leaves every other link's luck as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from stack.core.errors import LocalError


class Streams:
    """Random substreams of one seed.

    Each name may be taken once: two users of the same numbers would be correlated without anybody
    noticing.  Something that is restarted puts its incarnation into the name.
    """

    def __init__(self, seed: int, prefix: str = "") -> None:
        """`seed` is any integer; `prefix` is put before each name (see `child`)."""
        self.seed = seed
        self._prefix = prefix
        self._taken: set[str] = set()

    def stream(self, name: str) -> np.random.Generator:
        """The substream called `name`.  Raises `LocalError` when it has been taken already."""
        full = self._prefix + name
        if full in self._taken:
            raise LocalError(f"random substream {full!r} is in use; give each user its own name")
        self._taken.add(full)
        digest = hashlib.sha256(f"{self.seed}\0{full}".encode()).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))

    def key(self, name: str) -> int:
        """A key of 128 bits for something that is a function of the key and of time.  Any number of
        users may have it: that is how the two directions of a link see the same outage."""
        digest = hashlib.sha256(f"{self.seed}\0key\0{self._prefix}{name}".encode()).digest()
        return int.from_bytes(digest[:16], "big")

    def entropy(self, name: str) -> Callable[[int], bytes]:
        """A deterministic `stack.core.sansio.Entropy` for an engine: octets from a substream."""
        return self.stream(name).bytes

    def child(self, name: str) -> Streams:
        """The same seed with every name under `name/`; shares the record of names in use."""
        streams = Streams(self.seed, f"{self._prefix}{name}/")
        streams._taken = self._taken
        return streams
