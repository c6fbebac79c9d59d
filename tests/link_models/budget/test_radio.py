"""Radio budgets, against published ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.budget import (
    Acm,
    Antenna,
    ModemMode,
    RadioLink,
    ReceiveAntenna,
    TransmitAntenna,
    elevation_deg,
    slant_range_m,
)
from link_models.budget.rates import air_mass
from stack.core.errors import ConfigError
from tests.strategies.budget import radio_links


def plain(**changes: object) -> RadioLink:
    """A link of nothing but EIRP, distance and G/T."""
    values: dict[str, object] = {
        "frequency_hz": 8.0e9,
        "transmit": TransmitAntenna(eirp_dbw=10.0),
        "receive": ReceiveAntenna(g_over_t_db_k=20.0),
        "modes": (ModemMode(1e6, 70.0), ModemMode(10e6, 80.0), ModemMode(50e6, 87.0)),
        "zenith_gas_db": 0.0,
        "polarisation_loss_db": 0.0,
        "implementation_loss_db": 0.0,
    }
    return RadioLink(**(values | changes))  # type: ignore[arg-type]


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


def test_a_filed_geostationary_budget() -> None:
    # FCC IBFS SAT-LOI-20081223-00238, link EH_EH 8M25G7W: up at 5.97 GHz 58.6 dBW over 199.9 dB to
    # -2.0 dB/K, C/N 16.1 dB; down at 3.75 GHz 26.1 dBW over 195.9 dB into 3.8 m, 42.3 dBi and 95 K,
    # G/T 22.5 dB/K, C/N 12.2 dB; in 8.25 MHz.  Both losses are those of 39,600 km.
    band_db = 10 * math.log10(8.25e6)
    up = plain(
        frequency_hz=5.97e9,
        transmit=TransmitAntenna(eirp_dbw=58.6),
        receive=ReceiveAntenna(g_over_t_db_k=-2.0),
        path="up",
    )
    assert float(up.c_n0_db_hz(39_600e3)) - band_db == pytest.approx(16.1, abs=0.1)
    receive = ReceiveAntenna(gain_dbi=42.3, noise_k=95.0)
    down = plain(frequency_hz=3.75e9, transmit=TransmitAntenna(eirp_dbw=26.1), receive=receive)
    assert receive.g_over_t_at(3.75e9) == pytest.approx(22.5, abs=0.05)
    assert float(down.c_n0_db_hz(39_600e3)) - band_db == pytest.approx(12.2, abs=0.15)
    # The dish's gain is that of 76 % of its aperture, the uplink's 4.5 m with 47.1 dBi of 65 %.
    assert Antenna(diameter_m=3.8, efficiency=0.76).gain_at(3.75e9) == pytest.approx(42.3, abs=0.05)
    assert Antenna(diameter_m=4.5, efficiency=0.65).gain_at(5.97e9) == pytest.approx(47.1, abs=0.05)


def test_a_course_problem() -> None:
    # Danish Small Satellite Programme, cubesat communication, problem 3 (2001): 1 W, 0 dBi, 2,215
    # MHz, 2,830.83 km, 256 kbit/s, G/T 5 dB/K, and the course's formula: 5 + 196.15 - 69.04 - 66.91
    # - 54.08 = 11.1 dB.
    link = plain(
        frequency_hz=2.215e9,
        transmit=TransmitAntenna(power_w=1.0, gain_dbi=0.0),
        receive=ReceiveAntenna(g_over_t_db_k=5.0),
        modes=(ModemMode(256e3, 64.0),),
    )
    series = link.series(2_830_830.0)
    assert float(series.eb_n0_db[0]) == pytest.approx(11.12, abs=0.02)


def test_beamwidth_and_pointing() -> None:
    dish = Antenna(diameter_m=5.4, pointing_error_deg=0.074)
    assert dish.beamwidth_deg(26.25e9) == pytest.approx(0.148, rel=0.01)  # 70 x 11.4 mm / 5.4 m
    assert dish.pointing_loss_db(26.25e9) == pytest.approx(3.0, abs=0.05)  # half a beamwidth
    same = Antenna(gain_dbi=dish.gain_at(26.25e9))
    assert same.beamwidth_deg(26.25e9) == pytest.approx(dish.beamwidth_deg(26.25e9))
    assert Antenna(gain_dbi=0.0).pointing_loss_db(8e9) == 0.0
    assert Antenna(gain_dbi=-30.0).beamwidth_deg(8e9) == 360.0


def test_the_air_gets_thicker_towards_the_horizon() -> None:
    assert float(air_mass(90.0)) == pytest.approx(1.0, abs=1e-3)
    for elevation in (10.0, 20.0, 45.0):
        assert float(air_mass(elevation)) == pytest.approx(
            1 / math.sin(math.radians(elevation)), rel=0.01
        )
    assert float(air_mass(5.0)) == pytest.approx(11.47, rel=0.025)
    assert float(air_mass(0.0)) < 100.0
    assert float(air_mass(-3.0)) == float(air_mass(0.0))


def test_gases_of_the_air_by_frequency() -> None:
    # ITU-R P.676, figure of zenith attenuation: 0.04 dB in X band, a peak of 0.5 dB at 22.2 GHz, a
    # window of 0.23 dB at 30 GHz.
    for ghz, decibels in ((8.2, 0.046), (22.2, 0.52), (30.0, 0.232)):
        link = plain(frequency_hz=ghz * 1e9, zenith_gas_db=None)
        lost = plain(frequency_hz=ghz * 1e9).c_n0_db_hz(1e6) - link.c_n0_db_hz(1e6)
        assert float(lost) == pytest.approx(decibels, rel=0.01)
        assert float(
            plain(frequency_hz=ghz * 1e9, zenith_gas_db=None, path="space").c_n0_db_hz(1e6)
        ) == float(plain(frequency_hz=ghz * 1e9).c_n0_db_hz(1e6))


def test_rain_is_warm() -> None:
    # 3 dB of rain on a 100 K system: the sky adds 275 (1 - 10^-0.3) = 137 K, so 3.75 dB more.
    receive = ReceiveAntenna(gain_dbi=60.0, noise_k=100.0)
    down = plain(receive=receive)
    lost = float(down.c_n0_db_hz(1e6) - down.c_n0_db_hz(1e6, fade_db=3.0))
    assert lost == pytest.approx(3.0 + 10 * math.log10(2.372), abs=0.01)
    for path in ("up", "space"):
        link = plain(receive=receive, path=path)
        assert float(link.c_n0_db_hz(1e6) - link.c_n0_db_hz(1e6, fade_db=3.0)) == pytest.approx(3.0)
    unknown = plain()  # a G/T alone does not say how much noise it has
    assert float(unknown.c_n0_db_hz(1e6) - unknown.c_n0_db_hz(1e6, fade_db=3.0)) == pytest.approx(3)


def test_range_max_is_where_the_margin_is_used_up() -> None:
    link = plain()
    for need in (60.0, 75.0, 90.0):
        range_m = link.range_max_m(need)
        assert float(link.c_n0_db_hz(range_m)) == pytest.approx(need + link.acm.margin_db)
    assert link.range_max_m(70.0) == pytest.approx(10.0 * link.range_max_m(90.0))


@given(radio_links(), st.floats(200e3, 50_000e3), st.floats(0.0, 90.0), st.floats(0.0, 40.0))
def test_terms_add_up(link: RadioLink, range_m: float, elevation: float, fade_db: float) -> None:
    terms = link.terms(range_m, elevation, fade_db)
    c_n0 = float(link.c_n0_db_hz(range_m, elevation, fade_db))
    assert sum(one.value for one in terms if one.adds) == pytest.approx(c_n0, abs=1e-6)
    by_name = {one.name: one.value for one in terms}
    assert by_name["C/N0"] == pytest.approx(c_n0)
    assert by_name["left over"] == pytest.approx(
        c_n0 - by_name["C/N0 needed"] - link.acm.margin_db, abs=1e-6
    )
    assert (by_name["rate"] > 0) == (by_name["left over"] >= 0)
    assert all(one.name and one.unit and one.source for one in terms)


@given(radio_links(), st.floats(200e3, 2000e3))
def test_farther_lower_and_wetter_is_weaker(link: RadioLink, altitude_m: float) -> None:
    elevations = np.linspace(0.0, 90.0, 40)
    ranges = np.array([slant_range_m(altitude_m, one) for one in elevations])
    clear = link.c_n0_db_hz(ranges, elevations)
    assert np.all(np.diff(clear) > 0)
    assert np.all(link.c_n0_db_hz(ranges, elevations, 2.0) <= clear - 2.0 + 1e-9)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"frequency_hz": 0.0}, "frequency_hz"),
        ({"frequency_hz": math.nan}, "frequency_hz"),
        ({"frequency_hz": 60e9, "zenith_gas_db": None}, "zenith_gas_db"),
        ({"modes": ()}, "modes"),
        ({"modes": ("dvb-s2",)}, "symbol_rate_hz"),
        ({"modes": ("x",), "symbol_rate_hz": 1e6}, "modes"),
        ({"roll_off": 2.0}, "roll_off"),
        ({"polarisation_loss_db": -1.0}, "polarisation_loss_db"),
        ({"implementation_loss_db": math.inf}, "implementation_loss_db"),
        ({"zenith_gas_db": -0.1}, "zenith_gas_db"),
    ],
)
def test_senseless_links_are_refused(changes: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plain(**changes)
    assert caught.value.key == key


def test_senseless_ends_are_refused() -> None:
    for wrong in (
        lambda: TransmitAntenna(),
        lambda: TransmitAntenna(gain_dbi=3.0, power_w=0.0),
        lambda: TransmitAntenna(diameter_m=-1.0),
        lambda: TransmitAntenna(gain_dbi=3.0, efficiency=0.0),
        lambda: ReceiveAntenna(noise_k=100.0),
        lambda: ReceiveAntenna(gain_dbi=3.0),
        lambda: ReceiveAntenna(gain_dbi=3.0, noise_k=0.0),
        lambda: ReceiveAntenna(g_over_t_db_k=1.0, pointing_error_deg=-1.0),
        lambda: Acm(margin_db=-1.0),
        lambda: Acm(delay_s=math.nan),
        lambda: ModemMode(0.0, 60.0),
        lambda: ModemMode(1.0, math.nan),
        lambda: Antenna().gain_at(8e9),
    ):
        with pytest.raises(ConfigError):
            wrong()


def test_the_band_that_it_takes() -> None:
    assert plain(symbol_rate_hz=75e6).bandwidth_hz == pytest.approx(90e6)
