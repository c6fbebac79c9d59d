"""The settings of a durable store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from stack.core.bounds import Count, Octets, OctetsOrNone
from stack.core.checks import check_bounds, check_one_of
from stack.core.errors import ConfigError

KEY_BYTES_MAX = 64
"""Longest duplicate-recognition key (`stack.ports.store.Put.key`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreConfig:
    """How a `SqliteStore` behaves; every field has a default that suits a ground station."""

    quota_bytes: Octets = 16 * 1024**3
    """Octets of encoded bundles held at most.  Files take up to `1 / compact_below` times as
    much (dead payload waits for compaction) and two log files, and about 300 octets a bundle and
    100 a key."""

    quota_bundles: Annotated[int, Meta(ge=1, le=10**12)] = 10_000_000
    """Bundles held at most: bounds the memory of the bundle agent's queues, which `quota_bytes`
    does not when bundles are tiny."""

    keys_max: Annotated[int, Meta(ge=1, le=10**12)] = 20_000_000
    """Keys remembered at most, those of released bundles included.  Beyond it the keys that
    expire first are forgotten early, so that a peer that sends tiny bundles with lifetimes of
    years cannot fill the disk with memories of them."""

    synchronous: Literal["full", "normal"] = "full"
    """`full`: a commit survives power loss; it costs one fdatasync, two when payload goes out of
    line.  `normal`: a commit survives `kill -9` only; the last seconds before a power loss may be
    lost, or come back as damaged bundles that are quarantined."""

    log_batch_bytes: OctetsOrNone = 32 * 1024
    """A commit that brings at least this many octets of bundles appends them to the payload log;
    a smaller one keeps them in the database and saves the second fdatasync.  Measured: below
    some 32 KiB the fdatasync costs more than writing the octets twice (see docs/store.md)."""

    segment_bytes: Octets = 64 * 1024**2
    """Size at which a payload log file is sealed.  Larger files free their space later; smaller
    ones mean more files (16 GiB are 256 files of 64 MiB)."""

    compact_below: Annotated[float, Meta(ge=0, le=0.9)] = 0.5
    """When less than this part of the sealed log files is alive, and more than one file's worth
    is dead, the file with least alive is copied to the end of the log, in small steps.  Larger
    values save disk and cost writes: at 0.5, at most one octet is copied for one freed."""

    cache_bytes: OctetsOrNone = 64 * 1024**2
    """Page cache of the writing connection; it should hold the index pages in use."""

    wal_bytes: Octets = 16 * 1024**2
    """Size of the write-ahead log at which SQLite copies it into the database file."""

    reserve_bytes: OctetsOrNone = 32 * 1024**2
    """Octets of disk put aside so that bundles can be let go of when the disk is full; a small
    disk puts an eighth of itself aside.  It should be twice `wal_bytes`; 0: nothing is put aside,
    and a full disk may keep the store from forgetting."""

    parity: bool = False
    """Keep Reed-Solomon parity with the octets of bundles, so that bits which flip at rest are put
    right: when a bundle is read, and by a scrubber that goes through the store in the background.
    It costs a seventh more disk, and time for each bundle (`docs/store.md`).  What was stored
    before gets its parity from the scrubber.  Turned off, no more is made, and what is there
    goes with its bundles."""

    scrub_bytes_per_s: Octets = 1_000_000
    """Octets that the scrubber looks at in a second, at most; a MB/s costs 1 to 3 % of a CPU."""

    scrub_every_s: Count = 3600
    """Seconds from the start of one pass of the scrubber to the start of the next, at least."""

    def __post_init__(self) -> None:
        """Raise `ConfigError` for values that contradict one another."""
        check_bounds(self)
        if self.keys_max < self.quota_bundles:
            raise ConfigError(
                "keys_max, quota_bundles",
                "keys_max is below quota_bundles",
                "every stored bundle needs its key",
            )
        check_one_of("synchronous", self.synchronous, ("full", "normal"))
