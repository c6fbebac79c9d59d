"""Mistakes in what nodes write down of what they do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import pytest

from stack.audit.event import Act, AuditEvent, Happened
from stack.audit.log import ClosedLog
from stack.engines.bundle_agent import AuditTrail
from stack.storage.journal import Journal
from tests.sim.mistakes.ltp import nothing


def writes_down_later_what_was_done(patch: pytest.MonkeyPatch) -> None:
    real = Journal.add
    late: defaultdict[int, list[tuple[Journal, Happened]]] = defaultdict(list)

    def add(self: Journal, events: Sequence[Happened]) -> None:
        waiting = late[id(self._ledger)]
        real(self, [event for journal, event in waiting if journal is not self])
        waiting[:] = [one for one in waiting if one[0] is self]
        waiting += [(self, event) for event in events]

    patch.setattr(Journal, "add", add)


def says_not_who_got_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("stack.engines.bundle_agent.dispatch.FORWARDED", 0)


def says_nothing_of_what_it_refuses(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AuditTrail, "refused", nothing)


def says_nothing_of_what_the_store_lets_go(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AuditTrail, "left", nothing)


def signs_another_history(patch: pytest.MonkeyPatch) -> None:
    real = ClosedLog.extend

    def backwards(self: ClosedLog, events: Sequence[tuple[int, bytes]]) -> int:
        turned = zip(events, reversed(events), strict=True)
        return real(self, [(number, event) for (number, _), (_, event) in turned])

    patch.setattr(ClosedLog, "extend", backwards)


def _whole(event: Happened) -> AuditEvent:
    (acts, node, label, peer, detail, policy), name = event
    return AuditEvent(acts, 0, node, name, label, peer, detail, policy)


def _with_more(
    patch: pytest.MonkeyPatch, more: Callable[[AuditEvent], Iterable[AuditEvent]]
) -> None:
    """Write down more of each event than there was."""
    real = Journal.add

    def add(self: Journal, events: Sequence[Happened]) -> None:
        told = (each for event in map(_whole, events) for each in (event, *more(event)))
        real(self, [event.happened for event in told])

    patch.setattr(Journal, "add", add)


def says_twice_what_it_refuses(patch: pytest.MonkeyPatch) -> None:
    _with_more(patch, lambda event: [event] if event.has(Act.REFUSED) else [])


def says_that_it_refused_what_it_took(patch: pytest.MonkeyPatch) -> None:
    def more(event: AuditEvent) -> list[AuditEvent]:
        taken = event.has(Act.RECEIVED)
        return [event._replace(acts=int(Act.REFUSED), detail="it may not rest")] if taken else []

    _with_more(patch, more)


def says_twice_who_got_it(patch: pytest.MonkeyPatch) -> None:
    def more(event: AuditEvent) -> list[AuditEvent]:
        return [event._replace(acts=int(Act.FORWARDED))] if event.has(Act.FORWARDED) else []

    _with_more(patch, more)


def makes_up_the_contacts(patch: pytest.MonkeyPatch) -> None:
    words = "contact from 2026-01-01T00:00:00Z to 2026-01-01T00:10:00Z"
    patch.setattr(AuditTrail, "over", lambda self, *args: words)


def says_not_that_it_came_opened(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("stack.engines.bundle_agent.admission.OPENED", 0)


def says_not_that_applications_have_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("stack.engines.bundle_agent.agent.CONSUMED", int(Act.DELETED))
