"""An LTP session with a red block of several segments (RFC 5326 §6): how both engines close it.

The sender sends all segments, the last one a checkpoint.  The receiver answers checkpoints with a
report of what it has; the sender acknowledges the report, and sends what is missing, again ending
with a checkpoint.  Checkpoints and reports are repeated by timers until they are answered.  The
sender is done when all is claimed; the receiver keeps its session until its last report is
acknowledged, and remembers that it closed it.  The sender may cancel at any time (§6.15-§6.17).
The receiver gives up reports that nobody acknowledges, and cancels (§6.8), and ends what it hears
no more of: without that a late segment of a cancelled session opens one that never ends, as the
model shows.

What must never be: the block delivered twice; a sender that is told that all arrived when it did
not.  What must always stay possible: that both sides have closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

NONE, OPEN, DONE, CANCELLING, CLOSED, REFUSED = (
    "none", "open", "done", "cancelling", "closed", "refused",
)  # fmt: skip
Message = tuple[str, tuple[int, ...]]
"""What, and which segments it is about."""


class Closing(NamedTuple):
    """One session, seen from above."""

    sender: str = OPEN
    """OPEN, DONE (all is claimed), CANCELLING, CLOSED (its cancellation is acknowledged)."""

    claimed: frozenset[int] = frozenset()
    receiver: str = NONE
    """NONE, OPEN, DONE (all is there, the report not acknowledged), CLOSED, REFUSED (given up: said
    again upon every segment)."""

    arrived: frozenset[int] = frozenset()
    delivered: int = 0
    told: bool = False
    """The sender's client was told that all arrived."""

    moving: frozenset[Message] = frozenset()
    faults: int = 0


@dataclass(frozen=True)
class ClosureModel:
    """Blocks of so many segments, and so many faults; or a receiver that does it wrong."""

    segments: int = 2
    faults: int = 3
    cancels: bool = True
    forgets: bool = False
    """The mistake: a closed session leaves no trace, and late segments open it anew."""

    gives_up: bool = True
    """Whether the receiver ever does."""

    closes_early: bool = False
    """The mistake: the receiver closes when it sends its report, and repeats it no more."""

    @property
    def _all(self) -> frozenset[int]:
        return frozenset(range(self.segments))

    def begin(self) -> Closing:
        """All segments are under way."""
        sent = frozenset((self._kind(number), (number,)) for number in range(self.segments))
        return Closing(moving=sent, faults=self.faults)

    def _kind(self, number: int) -> str:
        return "checkpoint" if number == self.segments - 1 else "segment"

    def wrong(self, state: Closing) -> str:
        """Delivered twice, or said to be when it was not."""
        if state.delivered > 1:
            return "the block is delivered twice"
        if state.told and not state.delivered:
            return "the sender is told that all arrived, and it did not"
        return ""

    def over(self, state: Closing) -> bool:
        """Both sides have closed, or the receiver never heard of the session."""
        return state.sender in (DONE, CLOSED) and state.receiver in (NONE, CLOSED, REFUSED)

    def steps(self, state: Closing) -> Iterator[tuple[str, Closing]]:
        """What either engine or the link can do."""
        yield from self._timers(state)
        for message in sorted(state.moving):
            left = state._replace(moving=state.moving - {message})
            name = f"{message[0]} {','.join(map(str, message[1]))}".strip()
            yield f"deliver {name}", self._delivered(left, *message)
            if state.faults:
                fewer = state._replace(faults=state.faults - 1)
                yield f"repeat {name}", self._delivered(fewer, *message)
                yield f"lose {name}", left._replace(faults=state.faults - 1)

    def _timers(self, state: Closing) -> Iterator[tuple[str, Closing]]:
        if state.sender == OPEN:
            yield "checkpoint timer", _sent(state, "checkpoint", (self.segments - 1,))
            if self.cancels:
                yield "cancel", _sent(state._replace(sender=CANCELLING), "cancel")
        elif state.sender == CANCELLING:
            yield "cancel timer", _sent(state, "cancel")
        if state.receiver in (NONE, CLOSED, REFUSED):
            return
        if self.segments - 1 in state.arrived:
            yield "report timer", _sent(state, "report", tuple(sorted(state.arrived)))
            if self.gives_up and (state.sender != OPEN or state.faults):
                # To a sender that is there this happens only when all repeats were lost.
                fewer = state._replace(faults=state.faults - (state.sender == OPEN))
                yield "report limit", _sent(self._close(fewer, REFUSED), "refusal")
        elif self.gives_up and state.sender != OPEN:
            yield "session lifetime", self._close(state, REFUSED)

    def _delivered(self, state: Closing, kind: str, about: tuple[int, ...]) -> Closing:
        match kind:
            case "segment" | "checkpoint":
                return self._data(state, kind, about[0])
            case "report":
                return self._report(state, frozenset(about))
            case "report acknowledgement":
                whole = state.receiver == DONE and frozenset(about) == self._all
                return self._close(state) if whole else state
            case "cancel":
                state = _sent(state, "cancel acknowledgement")
                return state if state.receiver == NONE else self._close(state)
            case "refusal":
                return state._replace(sender=CLOSED) if state.sender == OPEN else state
            case _:
                return state._replace(sender=CLOSED) if state.sender == CANCELLING else state

    def _data(self, state: Closing, kind: str, number: int) -> Closing:
        if state.receiver == CLOSED:
            return state  # remembered, and nothing is owed any more
        if state.receiver == REFUSED:
            return _sent(state, "refusal")
        new = number not in state.arrived
        arrived = state.arrived | {number}
        state = state._replace(arrived=arrived, receiver=state.receiver.replace(NONE, OPEN))
        if new and arrived == self._all:
            state = state._replace(receiver=DONE, delivered=state.delivered + 1)
        if kind == "checkpoint":
            state = _sent(state, "report", tuple(sorted(state.arrived)))
            if self.closes_early and state.receiver == DONE:
                state = self._close(state)
        return state

    def _report(self, state: Closing, claims: frozenset[int]) -> Closing:
        state = _sent(state, "report acknowledgement", tuple(sorted(claims)))
        if state.sender != OPEN:
            return state
        claimed = state.claimed | claims
        if claimed == self._all:
            return state._replace(claimed=claimed, sender=DONE, told=True)
        for number in self._all - claimed:
            state = _sent(state, self._kind(number), (number,))
        return _sent(state._replace(claimed=claimed), "checkpoint", (self.segments - 1,))

    def _close(self, state: Closing, how: str = CLOSED) -> Closing:
        return state._replace(receiver=NONE if self.forgets else how, arrived=frozenset())


def _sent(state: Closing, kind: str, about: tuple[int, ...] = ()) -> Closing:
    return state._replace(moving=state.moving | {(kind, about)})
