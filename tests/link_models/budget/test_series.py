"""Choice of modes, and links second by second."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.budget import (
    Acm,
    LinkBudget,
    ModemMode,
    RadioLink,
    RateTable,
    Waveform,
    modcods,
    slant_ranges_m,
)
from link_models.budget.series import (
    FADE_DB_MAX,
    SAMPLES_MAX,
    choose,
    ladder,
    plain_waveform,
)
from stack.core.errors import ConfigError
from tests.link_models.budget.test_radio import plain
from tests.strategies.budget import optical_links, radio_links

LADDER = tuple(
    plain_waveform(ModemMode(rate, need)) for rate, need in ((1e6, 60), (2e6, 63), (4e6, 66))
)


def test_slower_and_no_tougher_modes_are_left_out() -> None:
    given_modes = [
        plain_waveform(ModemMode(*one)) for one in ((5e6, 70.0), (1e6, 72.0), (9e6, 71.0))
    ]
    assert [one.rate_bps for one in ladder(given_modes)] == [5e6, 9e6]
    same = [plain_waveform(ModemMode(*one)) for one in ((5e6, 70.0), (6e6, 70.0))]
    assert [one.rate_bps for one in ladder(same)] == [6e6]


def test_ladders_are_bounded() -> None:
    many = [plain_waveform(ModemMode(1.0 + i, float(i))) for i in range(257)]
    assert len(ladder(many[:256])) == 256
    for wrong in ([], many):
        with pytest.raises(ConfigError, match="modes"):
            ladder(wrong)


def test_the_ladder_of_dvb_s2_leaves_out_six() -> None:
    # Each of these needs more than another that is faster: 8PSK 5/6 (9.35 dB, 2.479) more than
    # 16APSK 2/3 (8.97 dB, 2.637), and so on down table 13 of EN 302 307-1.
    beaten = ("qpsk 8/9", "8psk 5/6", "8psk 8/9", "8psk 9/10", "16apsk 8/9", "16apsk 9/10")
    link = plain(modes=("dvb-s2",), symbol_rate_hz=1e6)
    every = {one.name for one in modcods("dvb-s2")}
    assert every - {one.name for one in link.waveforms} == {f"dvb-s2 {one}" for one in beaten}


def modes(measured: list[float], acm: Acm, step_s: float = 1.0) -> list[int]:
    return [int(one) for one in choose(LADDER, np.array(measured), acm, step_s)]


def test_the_fastest_that_closes_with_its_margin() -> None:
    measured = [59.0, 60.9, 61.0, 63.99, 64.0, 66.99, 67.0, 90.0]
    assert modes(measured, Acm(margin_db=1.0)) == [-1, -1, 0, 0, 1, 1, 2, 2]


def test_hysteresis_falls_at_once_and_rises_late() -> None:
    acm = Acm(margin_db=0.0, hysteresis_db=1.0)
    #            off   still  on    1:no  1:yes stays off1  2     stays  falls two
    measured = [59.0, 60.5, 61.0, 63.5, 64.0, 63.1, 62.9, 67.0, 66.0, 60.0]
    assert modes(measured, acm) == [-1, -1, 0, 0, 1, 1, 0, 2, 2, 0]


def test_a_swinging_signal_does_not_swing_the_mode() -> None:
    swinging = [62.8, 63.2] * 20
    assert modes(swinging, Acm(margin_db=0.0)) == [0, 1] * 20
    assert modes(swinging, Acm(margin_db=0.0, hysteresis_db=0.5)) == [0] * 40


def test_a_choice_is_as_old_as_its_measurement() -> None:
    measured = [70.0, 70.0, 59.0, 70.0, 70.0]
    assert modes(measured, Acm(margin_db=0.0, delay_s=2.0)) == [0, 0, 2, 2, -1]
    assert modes(measured, Acm(margin_db=0.0, delay_s=2.0), step_s=4.1) == [2, 2, -1, 2, 2]
    assert modes(measured, Acm(margin_db=0.0, delay_s=99.0)) == [0] * 5


@given(
    st.lists(st.floats(50.0, 80.0), min_size=1, max_size=60),
    st.floats(0.0, 3.0),
    st.floats(0.0, 3.0),
)
def test_hysteresis_never_breaks_the_margin(
    measured: list[float], margin_db: float, hysteresis_db: float
) -> None:
    free = modes(measured, Acm(margin_db=margin_db))
    held = modes(measured, Acm(margin_db=margin_db, hysteresis_db=hysteresis_db))
    assert all(one <= most for one, most in zip(held, free, strict=True))


def test_a_late_report_costs_frames() -> None:
    link = plain(modes=("dvb-s2",), symbol_rate_hz=1e6, acm=Acm(margin_db=0.5))
    late = plain(modes=("dvb-s2",), symbol_rate_hz=1e6, acm=Acm(margin_db=0.5, delay_s=5.0))
    need = link.waveforms[-1].c_n0_db_hz
    ranges = np.full(60, float(10.0 ** ((link.c_n0_db_hz(1.0) - need - 2.0) / 20.0)))
    fade = np.concatenate([np.zeros(20), np.arange(20) * 0.5, np.full(20, 10.0)])
    quick, slow = link.series(ranges, 90.0, fade), late.series(ranges, 90.0, fade)
    assert quick.frame_error_rate.max() < 1e-6
    assert np.flatnonzero(slow.frame_error_rate > 0.9).tolist() != []
    goods = [(one.rate_bps * (1.0 - one.frame_error_rate)).sum() for one in (slow, quick)]
    assert goods[0] < goods[1]
    # Planned for the fade, or for clear sky, whatever is measured:
    planned = link.series(ranges, 90.0, fade, expected_fade_db=fade)
    assert np.array_equal(planned.mode, quick.mode)
    hopeful = link.series(ranges, 90.0, fade, expected_fade_db=0.0)
    assert len(set(hopeful.mode.tolist())) == 1
    assert hopeful.frame_error_rate[-1] == pytest.approx(1.0)


links = radio_links() | optical_links()


@given(links, st.floats(250e3, 2000e3), st.floats(0.0, 20.0))
def test_a_series_is_consistent(link: LinkBudget, altitude_m: float, fade_db: float) -> None:
    elevations = np.linspace(5.0, 90.0, 60)
    ranges = slant_ranges_m(altitude_m, elevations)
    series = link.series(ranges, elevations, fade_db, step_s=0.5)
    on = series.mode >= 0
    rates = np.array([one.rate_bps for one in series.waveforms])
    needs = np.array([one.c_n0_db_hz for one in series.waveforms])
    assert np.array_equal(series.rate_bps, np.where(on, rates[series.mode], 0.0))
    assert np.all(np.diff(series.mode) >= 0)  # it only gets nearer
    assert np.allclose(series.margin_db, series.c_n0_db_hz - needs[np.maximum(series.mode, 0)])
    assert np.all(series.margin_db[on] >= link.acm.margin_db - 1e-9)
    assert np.all(series.frame_error_rate[on] <= 1e-2)  # with a margin of 0 it is as promised
    assert np.all(series.frame_error_rate[~on] == 1.0)
    assert np.all(series.bit_error_rate[~on] == 0.5)
    big, small = series.datagram_loss(100_000), series.datagram_loss(10)
    assert np.all((big >= small) & (small >= series.frame_error_rate * (1 - 1e-9)) & (big <= 1.0))


@given(links, st.floats(300e3, 2000e3), st.floats(0.0, 30.0), st.floats(0.0, 10.0))
def test_tables_promise_what_the_series_does(
    link: LinkBudget, altitude_m: float, mask_deg: float, fade_db: float
) -> None:
    elevations = np.arange(0.5, 89.5, 1.0)
    series = link.series(
        slant_ranges_m(altitude_m, elevations), elevations, fade_db, expected_fade_db=fade_db
    )
    expected = np.where(elevations >= mask_deg, series.rate_bps, 0.0)
    try:
        table = link.rate_table(altitude_m, mask_deg, fade_db)
    except ConfigError:
        assert not expected.any()
        return
    edges = np.array([begin for begin, _ in table.steps])
    for elevation, rate in zip(elevations.tolist(), expected.tolist(), strict=True):
        if np.abs(edges - elevation).min() > 1e-6 and abs(elevation - mask_deg) > 1e-6:
            assert table.rate_bps(elevation) == rate


def test_a_fade_may_depend_on_the_elevation() -> None:
    link = plain(modes=("dvb-s2",), symbol_rate_hz=10e6)
    flat = link.rate_table(600e3, 5.0, 4.0)
    low = link.rate_table(600e3, 5.0, lambda elevation: np.where(elevation < 20.0, 4.0, 0.0))
    clear = link.rate_table(600e3)
    assert low.rate_bps(10.0) == flat.rate_bps(10.0) < clear.rate_bps(10.0)
    assert low.rate_bps(30.0) == clear.rate_bps(30.0) > flat.rate_bps(30.0)


def test_a_link_that_never_closes_is_refused() -> None:
    with pytest.raises(ConfigError, match="zenith"):
        plain().rate_table(500_000e3)


@given(radio_links(), st.floats(300e3, 2000e3), st.floats(5.0, 90.0), st.floats(60.0, 110.0))
def test_the_fade_margin_is_what_the_link_bears(
    link: RadioLink, altitude_m: float, elevation: float, need: float
) -> None:
    range_m = float(slant_ranges_m(altitude_m, elevation))
    spare = float(link.fade_margin_db(need, range_m, elevation))
    clear = float(link.c_n0_db_hz(range_m, elevation))
    if spare < 0.0:
        assert spare == pytest.approx(clear - need)
    elif spare < FADE_DB_MAX - 1e-6:
        assert float(link.c_n0_db_hz(range_m, elevation, spare)) == pytest.approx(need, abs=1e-6)


def test_series_are_bounded() -> None:
    link = plain()
    for step_s in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="step_s"):
            link.series(1e6, step_s=step_s)
    too_long = np.broadcast_to(1e6, SAMPLES_MAX + 1)
    with pytest.raises(ConfigError, match="moments"):
        link.series(too_long)
    assert len(link.series(1e6).mode) == 1


def test_a_waveform_loses_more_as_it_fades() -> None:
    one: Waveform = LADDER[0]
    _, frames = one.error_rates([59.0, 59.9, 60.0, 60.1, 61.0])
    assert np.all(np.diff(frames) < 0)
    assert frames[2] == pytest.approx(1e-5, rel=0.01)


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
