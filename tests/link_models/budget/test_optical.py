"""Optical budgets, against a published one and against integration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.budget import Acm, OpticalLink, OpticalMode, slant_ranges_m
from stack.core.errors import ConfigError
from tests.strategies.budget import optical_links

TEN = OpticalMode(rate_bps=10e9, photons_per_bit=220.0, bit_error_rate=1e-12)


def link(**changes: object) -> OpticalLink:
    values: dict[str, object] = {
        "power_w": 10.0 ** ((17.5 - 30.0) / 10.0),
        "transmit_aperture_m": 0.07,
        "receive_aperture_m": 0.06,
        "transmit_loss_db": -10 * math.log10(0.8),
        "receive_loss_db": -10 * math.log10(0.8),
        "path": "space",
        "modes": (TEN,),
    }
    return OpticalLink(**(values | changes))  # type: ignore[arg-type]


def test_a_published_link_between_satellites() -> None:
    # The example of MathWorks' Satellite Communications Toolbox after Liang et al. (2022): 17.5
    # dBm, 70 and 60 mm, optics of 0.8, 1,000 km, 1550 nm.  By hand: gains (pi D / lambda)^2 of
    # 103.04 and 101.70 dB, 258.18 dB of space, 1.94 dB of optics: -37.9 dBm, before pointing.
    received = float(link().received_dbw(1000e3)) + 30.0
    assert received == pytest.approx(17.5 + 103.04 + 101.70 - 258.18 - 1.94, abs=0.02)
    # Their receiver needs -35.5 dBm at 10 Gbit/s, which is 220 photons of 0.8 eV for each bit.
    needed = link(implementation_loss_db=0.0).waveforms[0].c_n0_db_hz
    assert needed + link().photon_dbj + 30.0 == pytest.approx(-35.5, abs=0.05)


def test_a_beam_spreads_as_geometry_says() -> None:
    # Far off, the power through a small aperture is that of a Gaussian beam at its centre,
    # 2 P A / (pi w^2), with w the radius at 1/e^2.
    one = link(transmit_aperture_m=None, divergence_rad=100e-6, receive_aperture_m=0.4)
    radius = 0.5 * 100e-6 * 1000e3
    share = 2.0 * (math.pi * 0.2**2) / (math.pi * radius**2)
    losses = one.transmit_loss_db + one.receive_loss_db
    expected = 10 * math.log10(one.power_w * share) - losses
    assert float(one.received_dbw(1000e3)) == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize(
    ("jitter", "bias"), [(5e-6, 0.0), (20e-6, 0.0), (0.0, 15e-6), (9e-6, 12e-6)]
)
def test_the_mean_pointing_loss_is_that_integral(jitter: float, bias: float) -> None:
    one = link(
        transmit_aperture_m=None,
        divergence_rad=100e-6,
        pointing_jitter_rad=jitter,
        pointing_bias_rad=bias,
    )
    width = 50e-6
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    across = np.exp(-2.0 * (bias + jitter * nodes) ** 2 / width**2) @ weights
    along = np.exp(-2.0 * (jitter * nodes) ** 2 / width**2) @ weights
    assert one.pointing_loss_db == pytest.approx(-10 * math.log10(across * along), rel=1e-6)


def test_an_obscured_telescope_collects_less() -> None:
    lost = link().receive_gain_db - link(obscuration=0.3).receive_gain_db
    assert lost == pytest.approx(-10 * math.log10(0.91))


def test_air_and_cloud() -> None:
    down = link(path="down", zenith_loss_db=0.5)
    clear = float(down.received_dbw(1000e3, 30.0))
    assert float(link().received_dbw(1000e3)) - clear == pytest.approx(1.0, rel=0.01)
    assert clear - float(down.received_dbw(1000e3, 30.0, 4.0)) == pytest.approx(4.0)


def test_the_margin_is_that_in_photons() -> None:
    one = link(power_w=1.0, acm=Acm(margin_db=3.0))
    series = one.series(np.array([1000e3, 2000e3, 4000e3]))
    steps = np.diff(series.margin_db)
    assert np.allclose(steps, -6.02, atol=0.01)
    photons = 10 ** (series.eb_n0_db / 10.0)
    assert np.allclose(10 * np.log10(photons / 220.0), series.margin_db)
    assert np.all(series.mode[series.margin_db >= 3.0] == 0)


@given(optical_links(), st.floats(200e3, 45_000e3), st.floats(0.0, 90.0), st.floats(0.0, 30.0))
def test_terms_add_up(one: OpticalLink, range_m: float, elevation: float, fade_db: float) -> None:
    terms = one.terms(range_m, elevation, fade_db)
    c_n0 = float(one.c_n0_db_hz(range_m, elevation, fade_db))
    assert sum(term.value for term in terms if term.adds) == pytest.approx(c_n0, abs=1e-6)
    assert all(term.name and term.unit and term.source for term in terms)


@given(optical_links(), st.floats(200e3, 2000e3))
def test_lower_is_weaker(one: OpticalLink, altitude_m: float) -> None:
    elevations = np.linspace(0.0, 90.0, 30)
    received = one.received_dbw(slant_ranges_m(altitude_m, elevations), elevations)
    assert np.all(np.diff(received) > 0)
    assert one.pointing_loss_db >= 0.0


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"power_w": 0.0}, "power_w"),
        ({"wavelength_m": 1.0}, "wavelength_m"),
        ({"transmit_aperture_m": None}, "transmit_aperture_m, divergence_rad"),
        ({"divergence_rad": 1e-5}, "transmit_aperture_m, divergence_rad"),
        ({"transmit_aperture_m": None, "divergence_rad": 2.0}, "divergence_rad"),
        ({"receive_aperture_m": -1.0}, "receive_aperture_m"),
        ({"obscuration": 1.0}, "obscuration"),
        ({"pointing_jitter_rad": math.nan}, "pointing_jitter_rad"),
        ({"zenith_loss_db": -1.0}, "zenith_loss_db"),
        ({"modes": ()}, "modes"),
    ],
)
def test_senseless_links_are_refused(changes: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        link(**changes)
    assert caught.value.key == key


@pytest.mark.parametrize("field", ["rate_bps", "photons_per_bit", "exponent", "bit_error_rate"])
def test_senseless_modes_are_refused(field: str) -> None:
    values: dict[str, object] = {"rate_bps": 1e9, "photons_per_bit": 20.0, field: 0.0}
    with pytest.raises(ConfigError, match=field):
        OpticalMode(**values)  # type: ignore[arg-type]
