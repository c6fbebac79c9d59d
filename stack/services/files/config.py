"""Configuration of the file service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from msgspec import Meta

from stack.core.bounds import Count, DayS, Octets, OctetsOrNone, Wait, YearsMs
from stack.core.checks import check, check_bounds, check_one_of
from stack.services.files.messages import CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, OBJECT_BYTES_MAX

OBJECTS_MAX: Final = "services.files.objects_max"
"""What who has to wait is to look at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FilesConfig:
    """Sizes, limits and patience.  Raises `ConfigError` for values that do not fit together."""

    chunk_bytes: Annotated[int, Meta(ge=CHUNK_BYTES_MIN, le=CHUNK_BYTES_MAX)] = 256 * 1024
    """Octets of content in one bundle.  Larger costs less per octet; smaller loses less when a
    pass ends in the middle of a bundle (256 KiB are 8 s of a 256 kbit/s uplink)."""

    batch_bytes: Annotated[int, Meta(ge=CHUNK_BYTES_MIN, le=10**12)] = 4 * 1024 * 1024
    """Octets read and stored in one transaction: one fsync each.  Bounds memory."""

    receive_batch: Count = 32
    """Most bundles taken in one transaction.  Bounds memory, at `chunk_bytes` of the peer each."""

    object_bytes_max: Annotated[int, Meta(ge=1, le=OBJECT_BYTES_MAX)] = 64 * 1024**3
    """Largest object taken from a peer."""

    quota_bytes: Octets = 512 * 1024**3
    """Most octets of unfinished objects, counted at their full size.  One node may have half of
    what others leave, so no object may be larger than half of it."""

    disk_reserve_bytes: OctetsOrNone = 64 * 1024**2
    """Free space left to others on the file system: new objects wait when it would be used."""

    objects_max: Count = 40_000
    """Most objects under way, each way; inbound ones count until they are handled.  Those from one
    node, or to one, may be half of what others leave."""

    spans_max: Count = 4096
    """Most pieces that the received part of an object may be in.  Bounds the durable record (some
    50 KB); a chunk that would make one more piece is dropped, and asked for later."""

    collision: Literal["suffix", "replace"] = "suffix"
    """What happens to a name that already has other content: number the new file, or replace."""

    lifetime_ms: Annotated[int, Meta(ge=1, le=10**12)] = 7 * 86_400_000
    """How long an object may take: some dozens of passes."""

    settle_s: DayS = 5.0
    """After the sender has said that all is sent, wait this long for bundles that took another
    path before asking for what is missing."""

    nudge_s: Wait = 60.0
    """First wait for a receipt, after the last chunk, before the sender asks again; then twice
    as long each time.  A few round trips of the longest usual path."""

    nudge_max_s: Wait = 6 * 3600.0
    """Longest wait between two questions: the order of a gap between passes."""

    nudge_lifetime_s: Wait = 6 * 3600.0
    """Shortest lifetime of a question: shorter, and it may expire while it waits for a pass."""

    rounds_max: Count = 1000
    """Most repair rounds that a receiver may ask for, before the object has failed."""

    verify_tries: Count = 3
    """How often content may fail its digest before the object has failed."""

    retain_ms: YearsMs = 86_400_000
    """How long an object that is over is remembered: a sent one after its end, a received one
    after its lifetime, when no bundle about it can come any more."""

    closed_max: Count = 50_000
    """Most objects that are over and remembered, each way; the oldest go first, of received ones
    those of the node that has sent most.  One that is forgotten early would be taken for new if its
    bundles came again."""

    folder_files_max: Count = 10_000
    """Most files that `send_folder` takes; folders, links and special files may be 10,000 more."""

    def __post_init__(self) -> None:
        check_bounds(self)
        fits = self.chunk_bytes <= self.batch_bytes
        check("chunk_bytes, batch_bytes", fits, "chunk_bytes is above batch_bytes")
        fits = self.nudge_s <= self.nudge_max_s
        check("nudge_s, nudge_max_s", fits, "nudge_s is above nudge_max_s")
        check_one_of("collision", self.collision, ("suffix", "replace"))
