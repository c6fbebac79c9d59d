"""Possible days: each contact as often as its confidence says, one place with one luck."""

from __future__ import annotations

import numpy as np
import pytest

from link_models.planner import possible_day
from link_models.planner.draws import SPELL_MS
from stack.contacts.plan import Contact, Plan, Range
from stack.core.errors import ConfigError

G1, G2, S1, S2 = "dtn://g1/", "dtn://g2/", "dtn://s1/", "dtn://s2/"

DRAWS = 2000


def at(hour: float) -> int:
    return round(hour * 3_600_000)


def down(station: str, satellite: str, hour: float, confidence: float) -> Contact:
    return Contact(satellite, station, at(hour), at(hour) + 600_000, 1e6, confidence)


def test_certain_contacts_and_light_times_stay() -> None:
    plan = Plan([down(G1, S1, 1, 1.0), down(G1, S1, 2, 0.0)], [Range(S1, G1, 0, 9, 5)])
    for seed in range(50):
        day = possible_day(plan, np.random.default_rng(seed))
        assert day.contacts == plan.contacts[:1]
        assert day.ranges == plan.ranges


def test_frequencies_are_the_confidences() -> None:
    plan = Plan([down(G1, S1, 1, 0.3), down(G2, S1, 1, 0.9)])
    random = np.random.default_rng(1)
    days = [possible_day(plan, random, sites=(G1, G2)).nodes for _ in range(DRAWS)]
    for station, confidence in ((G1, 0.3), (G2, 0.9)):
        seen = sum(station in nodes for nodes in days)
        # Six standard deviations: once in a billion for a right model.
        assert abs(seen - DRAWS * confidence) < 6 * (DRAWS * confidence * (1 - confidence)) ** 0.5
    both = sum({G1, G2} <= set(nodes) for nodes in days)
    assert abs(both - DRAWS * 0.27) < 6 * (DRAWS * 0.27 * 0.73) ** 0.5, "places are independent"


def test_a_place_has_one_luck_for_a_spell() -> None:
    plan = Plan([down(G1, S1, 1, 0.5), down(G1, S2, 2, 0.5), down(G1, S1, 7, 0.5)])
    random = np.random.default_rng(2)
    days = [
        {one.start_ms for one in possible_day(plan, random, sites=(G1,)).contacts}
        for _ in range(DRAWS)
    ]
    assert at(6) == SPELL_MS
    assert all((at(1) in day) == (at(2) in day) for day in days)
    apart = sum((at(1) in day) != (at(7) in day) for day in days)
    assert abs(apart - DRAWS / 2) < 6 * (DRAWS / 4) ** 0.5


def test_bad_weather_takes_the_less_confident_first() -> None:
    plan = Plan([down(G1, S1, 1, 0.8), Contact(S1, G1, at(1) + 600_000, at(2), 2e6, 0.4)])
    random = np.random.default_rng(3)
    for _ in range(300):
        rates = {one.rate_bps for one in possible_day(plan, random, sites=(G1,)).contacts}
        assert rates in ({1e6, 2e6}, {1e6}, set())


def test_without_places_each_pair_has_its_own_luck() -> None:
    plan = Plan([down(G1, S1, 1, 0.5), down(G1, S2, 1, 0.5)])
    random = np.random.default_rng(4)
    counts = {len(possible_day(plan, random).contacts) for _ in range(200)}
    assert counts == {0, 1, 2}


def test_one_seed_one_day() -> None:
    plan = Plan([down(G1, S1, hour, 0.5) for hour in range(24)])
    days = [possible_day(plan, np.random.default_rng(5)) for _ in range(2)]
    assert days[0] == days[1]
    assert len({possible_day(plan, np.random.default_rng(s)) for s in range(20)}) > 3


def test_a_spell_lasts() -> None:
    with pytest.raises(ConfigError, match="spell_ms"):
        possible_day(Plan(), np.random.default_rng(0), spell_ms=0)
