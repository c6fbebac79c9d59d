"""What whoever uses a file service or a job service may see, as files and jobs that know what they
are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from interop.machines.fault import require
from interop.machines.transitions import table

OPEN, DELIVERED, CANCELLED, FAILED = "open", "delivered", "cancelled", "failed"
SUBMITTED, RUNNING, FINISHED = "submitted", "running", "finished"

Step = tuple[str, str, str]
"""State before, what happened, state after."""

LOOK = "looked at"

FILE_TABLE: Final = tuple(
    table(
        "file",
        {
            (OPEN, LOOK): "open | delivered",
            ("open, cancelled", LOOK): "cancelled | delivered",
            (DELIVERED, LOOK): "delivered",
            ("delivered, cancelled", LOOK): "delivered",
            ("cancelled, cancelled", LOOK): "cancelled",
        },
    )
)
"""States of a file as its sender has them; ``, cancelled``: it was asked to give it up."""

_RANKS: Final = (SUBMITTED, "waiting", "queued", RUNNING, FINISHED, CANCELLED)
_FINAL: Final = (FINISHED, CANCELLED)

JOB_TABLE: Final = tuple(
    table(
        "job",
        {
            (SUBMITTED, LOOK): "submitted | waiting | queued | running | finished",
            ("waiting", LOOK): "waiting | queued | running | finished",
            ("queued", LOOK): "queued | running | finished",
            (RUNNING, LOOK): "queued | running | finished",
            (FINISHED, LOOK): "finished",
            ("submitted, cancelled", LOOK): "submitted | finished | cancelled",
            ("running, cancelled", LOOK): "running | finished | cancelled",
            ("cancelled, cancelled", LOOK): "cancelled",
        },
    )
)
"""States of a job as its client has them."""


@dataclass
class FileCase:
    """A file that one end has been given to send."""

    name: str
    content: bytes
    state: str = OPEN
    received: bool = False
    cancelled: bool = False
    """Whether the sender was asked to give it up."""

    def comes(self, content: bytes) -> None:
        """The other end's application has got it.  Raises `MachineFault`."""
        require(content == self.content, "received", "other octets than were sent", self.name)
        require(not self.received, "received", "a file comes twice", self.name)
        self.received = True

    def is_now(self, state: str | None) -> Step:
        """Its state as the sender has it; None: forgotten.  Raises `MachineFault`."""
        before = self.state
        if state is None:
            require(before != OPEN, "states", "a file is forgotten that is not over", self.name)
            state = before
        fine = before in (OPEN, state)
        require(fine, "states", f"{before}, then {state}: what is over stays as it is", self.name)
        require(state != FAILED, "states", "a file fails, with which nothing was wrong", self.name)
        asked = state != CANCELLED or self.cancelled
        require(asked, "states", "a file is given up that nobody cancelled", self.name)
        over = state != OPEN or not self.cancelled
        require(over, "cancel", "a file that was cancelled is under way", self.name)
        true = state != DELIVERED or self.received
        require(true, "states", "a file is said to be delivered that nobody has got", self.name)
        self.state = state
        return (f"{before}, cancelled" if self.cancelled else before, LOOK, state)


@dataclass
class JobCase:
    """A job that was submitted."""

    data: bytes
    restarts: int
    """Restarts of the server before."""

    state: str = SUBMITTED
    back: int = 0
    """How often it went back to the queue."""

    results: list[bytes] = field(default_factory=list)
    cancelled: bool = False

    def is_now(self, state: str | None, restarts: int) -> Step:
        """Its state as the client has it; None: forgotten.  Raises `MachineFault`."""
        before = self.state
        if state is None:
            require(before in _FINAL, "states", "a job is forgotten that is not over", self.data)
            state = before
        require(state in _RANKS, "states", f"a job with which nothing was wrong is {state}")
        if before in _FINAL:
            words = f"{before}, then {state}: what is over stays as it is"
            require(state == before, "states", words, self.data)
        elif _RANKS.index(state) < _RANKS.index(before):
            self.back += 1
            cut_off = self.back <= restarts - self.restarts
            require(cut_off, "states", f"{before}, then {state}: nothing was cut off", self.data)
        asked = state != CANCELLED or self.cancelled
        require(asked, "states", "a job is given up that nobody cancelled", self.data)
        self.state = state
        return (f"{before}, cancelled" if self.cancelled else before, LOOK, state)

    def has(self, results: Sequence[bytes]) -> None:
        """These are its results that are here.  Raises `MachineFault`."""
        require(len(results) <= 1, "results", "a result twice", len(results))
        right = all(one == self.data[::-1] for one in results)
        require(right, "results", "not what the job gives", results)
        require(
            len(results) >= len(self.results),
            "results",
            "a result is gone that was here",
            self.data,
        )
        self.results = list(results)
