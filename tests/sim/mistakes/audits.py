"""Mistakes in what nodes write down of what they do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pytest

from stack.audit.event import AuditEvent
from stack.audit.log import ClosedLog
from stack.engines.bundle_agent import AuditTrail
from stack.storage.journal import Journal
from tests.sim.mistakes.ltp import nothing


def writes_down_later_what_was_done(patch: pytest.MonkeyPatch) -> None:
    real = Journal.add
    late: defaultdict[int, list[tuple[Journal, AuditEvent]]] = defaultdict(list)

    def add(self: Journal, events: Iterable[AuditEvent]) -> None:
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
    real = ClosedLog._following

    def backwards(self: ClosedLog, events: Iterable[tuple[int, bytes]]) -> Iterable[bytes]:
        return reversed(list(real(self, events)))

    patch.setattr(ClosedLog, "_following", backwards)
