"""A bundle is handed from one node to the next over a link that loses, repeats and reorders, while
both may lose their memory at any moment: "acknowledge after durable" (`docs/architecture.md`).

A sender that has the bundle on disk opens a session and sends a block of it; the receiver holds the
block in memory, commits it, and only then reports; upon the report the sender lets go of its copy.
A crash takes memory: sessions, blocks not committed, and what was known of closed sessions.

What must never be: that nobody has the bundle on disk, or that the receiver has stored it twice.
What must always stay possible: that the sender can let go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

BLOCK, REPORT = "block", "report"
Message = tuple[str, int]
"""What, and of which session."""


class Holding(NamedTuple):
    """Who has what."""

    kept: bool = True
    """The sender has the bundle on disk."""

    session: int = 0
    """The sender's open session; 0 for none."""

    sessions: int = 0
    """Sessions begun so far."""

    held: int = 0
    """The session whose block the receiver has in memory, complete and not committed; 0: none."""

    stored: int = 0
    """Copies that the receiver has on disk."""

    accepted: frozenset[int] = frozenset()
    """Sessions that the receiver knows it has acknowledged; in memory."""

    moving: frozenset[Message] = frozenset()
    """On the link.  A set: to send what is under way already changes nothing."""

    faults: int = 0
    """What may still go wrong: losses, repetitions, crashes."""


@dataclass(frozen=True)
class CustodyModel:
    """With at most so many faults and sessions; or with a receiver that does it wrong."""

    faults: int = 4
    sessions: int = 3
    before_durable: bool = False
    """The mistake: the report leaves when the block is complete, not when it is on disk."""

    no_duplicates_known: bool = False
    """The mistake: identities of stored bundles are not kept."""

    def begin(self) -> Holding:
        """The sender has a bundle, and nothing has happened."""
        return Holding(faults=self.faults)

    def wrong(self, state: Holding) -> str:
        """Lost, or stored twice."""
        if not state.kept and not state.stored:
            return "nobody has the bundle on disk"
        return "the bundle is stored twice" if state.stored > 1 else ""

    def over(self, state: Holding) -> bool:
        """The sender has let go."""
        return not state.kept

    def steps(self, state: Holding) -> Iterator[tuple[str, Holding]]:
        """What either node or the link can do."""
        if state.kept and not state.session and state.sessions < self.sessions:
            number = state.sessions + 1
            opened = state._replace(session=number, sessions=number)
            yield "send", _sent(opened, BLOCK, number)
        if state.session and (BLOCK, state.session) not in state.moving:
            yield "timeout", _sent(state, BLOCK, state.session)
        if state.held:
            yield "commit", self._committed(state)
        for message in sorted(state.moving):
            left = state._replace(moving=state.moving - {message})
            kind, number = message
            yield f"deliver {kind} {number}", self._delivered(left, kind, number)
            if state.faults:
                fewer = state._replace(faults=state.faults - 1)
                yield f"repeat {kind} {number}", self._delivered(fewer, kind, number)
                yield f"lose {kind} {number}", left._replace(faults=state.faults - 1)
        if state.faults:
            fewer = state._replace(faults=state.faults - 1)
            if state.held or state.accepted:
                yield "receiver crashes", fewer._replace(held=0, accepted=frozenset())
            if state.session and state.sessions < self.sessions:
                yield "sender crashes", fewer._replace(session=0)

    def _delivered(self, state: Holding, kind: str, number: int) -> Holding:
        if kind == REPORT:
            done = number == state.session
            return state._replace(kept=False, session=0) if done else state
        if number in state.accepted:
            return _sent(state, REPORT, number)
        if state.held:
            return state  # that of the same bundle in another session waits
        state = state._replace(held=number)
        return _sent(state, REPORT, number) if self.before_durable else state

    def _committed(self, state: Holding) -> Holding:
        stored = state.stored + 1 if self.no_duplicates_known else 1
        accepted = state.accepted | {state.held}
        return _sent(state._replace(held=0, stored=stored, accepted=accepted), REPORT, state.held)


def _sent(state: Holding, kind: str, number: int) -> Holding:
    return state._replace(moving=state.moving | {(kind, number)})
