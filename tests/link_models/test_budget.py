"""Rate tables and the plain link budget."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.budget import (
    PRESET_ALTITUDE_M,
    LinkBudget,
    Mode,
    RateTable,
    elevation_deg,
    preset,
    slant_range_m,
)
from stack.core.errors import ConfigError

LINK = LinkBudget(
    eirp_dbw=10.0,
    g_over_t_db_k=20.0,
    frequency_hz=8.0e9,
    losses_db=2.0,
    margin_db=3.0,
    modes=(Mode(1e6, 70.0), Mode(10e6, 80.0), Mode(50e6, 87.0)),
)


def test_a_table_steps_at_its_elevations() -> None:
    table = RateTable(((5.0, 10.0), (20.0, 30.0), (40.0, 30.5)))
    rates = [table.rate_bps(e) for e in (-5.0, 4.999, 5.0, 19.9, 20.0, 39.0, 40.0, 90.0)]
    assert rates == [0.0, 0.0, 10.0, 10.0, 30.0, 30.0, 30.5, 30.5]


@pytest.mark.parametrize(
    "steps",
    [
        (),
        ((5.0, 0.0),),
        ((5.0, math.nan),),
        ((5.0, math.inf),),
        ((90.0, 1.0),),
        ((-10.1, 1.0),),
        ((math.nan, 1.0),),
        ((5.0, 1.0), (5.0, 2.0)),
        ((6.0, 1.0), (5.0, 2.0)),
        ((5.0, 2.0), (6.0, 1.0)),
        tuple((i / 10, 1.0 + i) for i in range(257)),
    ],
)
def test_senseless_tables_are_refused(steps: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ConfigError, match="steps"):
        RateTable(steps)


def test_the_longest_table() -> None:
    assert RateTable(tuple((i / 10, 1.0 + i) for i in range(256))).rate_bps(90.0) == 256.0


def test_slant_range_of_known_geometry() -> None:
    # Straight up it is the altitude; on the horizon Pythagoras gives it.
    assert slant_range_m(600e3, 90.0) == pytest.approx(600e3)
    radius = 6_371_008.8
    assert slant_range_m(600e3, 0.0) == pytest.approx(math.sqrt((radius + 600e3) ** 2 - radius**2))
    # Published for 500 km: 2,078 km at 5 degrees, 1,695 km at 10 (Earth radius 6,378 km).
    assert slant_range_m(500e3, 5.0) == pytest.approx(2_078e3, rel=0.002)
    assert slant_range_m(500e3, 10.0) == pytest.approx(1_695e3, rel=0.002)


@given(st.floats(100e3, 40_000e3), st.floats(0.0, 89.0))
def test_range_and_elevation_are_inverse(altitude_m: float, elevation: float) -> None:
    range_m = slant_range_m(altitude_m, elevation)
    assert elevation_deg(altitude_m, range_m) == pytest.approx(elevation, abs=1e-5)


def test_free_space_loss_of_a_published_budget() -> None:
    # A filed budget (FCC IBFS SAT-LOI-20110809-00148): EIRP 22.0 dBW at 19,700.5 MHz over a
    # geostationary path of 210.2 dB to 37.5 dB/K gives C/N 18.9 dB; the path is 39,000 km.
    link = LinkBudget(
        eirp_dbw=22.0, g_over_t_db_k=37.5, frequency_hz=19_700.5e6, losses_db=0.0, modes=()
    )
    range_m = 39_000e3
    assert link.c_n0_db_hz(range_m) == pytest.approx(22.0 - 210.2 + 37.5 + 228.6, abs=0.1)


def test_range_max_is_where_the_margin_is_used_up() -> None:
    for need in (60.0, 75.0, 90.0):
        range_m = LINK.range_max_m(need)
        assert LINK.c_n0_db_hz(range_m) == pytest.approx(need + LINK.margin_db)
    assert LINK.range_max_m(70.0) == pytest.approx(10.0 * LINK.range_max_m(90.0))


@given(st.floats(300e3, 2000e3), st.floats(0.0, 30.0))
def test_tables_promise_only_what_closes(altitude_m: float, mask_deg: float) -> None:
    table = LINK.rate_table(altitude_m, mask_deg)
    for elevation in range(90):
        rate = table.rate_bps(elevation)
        closes = [
            mode.rate_bps
            for mode in LINK.modes
            if LINK.c_n0_db_hz(slant_range_m(altitude_m, elevation))
            >= mode.c_n0_db_hz + LINK.margin_db
        ]
        best = max(closes, default=0.0) if elevation >= mask_deg else 0.0
        steps = [step for step, _ in table.steps]
        if min(abs(elevation - step) for step in steps) > 1e-6:
            assert rate == best


def test_a_mode_that_is_slower_and_no_tougher_is_left_out() -> None:
    link = LinkBudget(
        eirp_dbw=10.0,
        g_over_t_db_k=20.0,
        frequency_hz=8.0e9,
        modes=(Mode(5e6, 70.0), Mode(1e6, 72.0), Mode(9e6, 71.0)),
    )
    assert [rate for _, rate in link.rate_table(500e3).steps] == [9e6]


def test_a_link_that_never_closes_is_refused() -> None:
    with pytest.raises(ConfigError, match="zenith"):
        LINK.rate_table(500_000e3)


def test_presets() -> None:
    up, down = preset("s-band-up"), preset("x-band-down")
    assert up.steps == ((5.0, 256e3),)
    assert down.steps[0][0] == 5.0
    assert 70e6 < down.rate_bps(5.0) < down.rate_bps(20.0) < down.rate_bps(90.0) < 150e6
    # Close to the horizon the satellite is 2,783 km away: 179.6 dB at 8.2125 GHz.
    assert slant_range_m(PRESET_ALTITUDE_M, 5.0) == pytest.approx(2_783e3, rel=0.002)
    with pytest.raises(ConfigError, match="s-band-up"):
        preset("s-band")
