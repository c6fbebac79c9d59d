"""A link out of a contact plan."""

from __future__ import annotations

import math

import pytest

from link_models.channel import Window
from link_models.emulator import link_between
from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import ConfigError

GS, SAT = "dtn://gs1/", "dtn://sat1/"
ZERO_MS = 800_000_000_000


def contact(start_s: float, end_s: float, rate: float) -> Contact:
    return Contact(GS, SAT, ZERO_MS + round(start_s * 1000), ZERO_MS + round(end_s * 1000), rate)


def test_contacts_and_light_time_count_from_zero() -> None:
    plan = Plan(
        [contact(10, 20, 1e6), contact(20, 30, 2e6), contact(100, 110, math.inf)],
        [
            Range(GS, SAT, ZERO_MS + 10_000, ZERO_MS + 20_000, 8_000_000),
            Range(GS, SAT, ZERO_MS + 20_000, ZERO_MS + 30_000, 4_000_000),
        ],
    )
    link = link_between(plan, GS, SAT, ZERO_MS, more_ns=1e6)
    assert link.windows == (
        Window(10 * SECOND, 20 * SECOND, 1e6),
        Window(20 * SECOND, 30 * SECOND, 2e6),
        Window(100 * SECOND, 110 * SECOND, math.inf),
    )
    assert link.delay.at_one(10 * SECOND) == 9 * MILLISECOND
    assert link.delay.at_one(15 * SECOND) == 7 * MILLISECOND
    assert link.delay.at_one(105 * SECOND) == 5 * MILLISECOND


def test_of_contacts_that_overlap_the_faster_counts() -> None:
    plan = Plan([contact(0, 100, 1e6), contact(40, 60, 5e6), contact(50, 120, 1e6)])
    link = link_between(plan, GS, SAT, ZERO_MS)
    assert link.windows == (
        Window(0, 40 * SECOND, 1e6),
        Window(40 * SECOND, 60 * SECOND, 5e6),
        Window(60 * SECOND, 120 * SECOND, 1e6),
    )
    assert link.delay.constant_ns == 0


def test_a_link_that_the_plan_does_not_have() -> None:
    with pytest.raises(ConfigError, match=r"no contact from dtn://sat1/ to dtn://gs1/ \(has dtn"):
        link_between(Plan([contact(0, 1, 1e6)]), SAT, GS, ZERO_MS)
