"""Mistakes in what data policies demand, one for each point that enforces them."""

from __future__ import annotations

from typing import Any

import pytest

from stack.engines.bundle_agent.entry import Entry, restored
from stack.engines.bundle_agent.ingress import Ingress
from stack.policy import PolicyGate
from stack.security.bpsec import BpSec
from stack.services.jobs import inputs
from tests.sim.mistakes.ltp import nothing


def routes_over_anybody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PolicyGate, "barred", lambda self, *args: frozenset())


def takes_in_what_may_not_rest(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ingress, "_permitted", nothing)


def lets_everything_leave(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("stack.engines.bundle_agent.custody.check_leaving", nothing)


def keeps_what_has_ended(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("stack.engines.bundle_agent.custody.cut", lambda outgoing, *args: outgoing)


def seals_under_no_label(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BpSec, "_under", lambda self, label: self._plain)


def forgets_policies_of_results(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(inputs, "meet", nothing)


def forgets_policies_at_restart(patch: pytest.MonkeyPatch) -> None:
    real = restored

    def without(*args: Any) -> Entry:
        entry = real(*args)
        entry.policy = None
        return entry

    patch.setattr("stack.engines.bundle_agent.agent.restored", without)
