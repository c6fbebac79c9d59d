"""Attenuation by share of the year, forward and backward."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.budget import (
    AttenuationTable,
    confidence,
    expected_rate_bps,
    load_site,
    preset,
    sites,
    slant_ranges_m,
)
from link_models.budget.attenuation import SITE_BYTES_MAX, parse_site
from link_models.budget.make_table import ELEVATIONS_DEG, FREQUENCIES_GHZ, PERCENT, make_table
from stack.core.errors import ConfigError, MissingExtraError

SMALL = """
site = "somewhere"
latitude_deg = 1.0
longitude_deg = 2.0
altitude_m = 3.0
source = "made up"
percent = [0.1, 1.0, 10.0, 50.0]
elevation_deg = [10.0, 30.0, 90.0]
[[bands]]
frequency_ghz = 26.0
gas_db = [1.2, 0.4, 0.2]
total_db = [[40.0, 12.0, 4.0, 1.3], [16.0, 5.0, 1.6, 0.45], [8.0, 2.5, 0.8, 0.22]]
"""


def small() -> AttenuationTable:
    return parse_site(SMALL).table(26e9)


def ka(site: str) -> AttenuationTable:
    return load_site(site).table(26.25e9)


def test_points_of_the_table_are_given_back() -> None:
    table = small()
    for elevation, row in ((10.0, (40.0, 12.0, 4.0)), (30.0, (16.0, 5.0, 1.6))):
        for percent, total in zip((0.1, 1.0, 10.0), row, strict=True):
            assert float(table.total_db(elevation, 100 - percent)) == pytest.approx(total)
            gas = float(table.gas_db(elevation))
            assert float(table.fade_db(elevation, 100 - percent)) == pytest.approx(total - gas)
            assert float(table.exceeded(elevation, total - gas)) == pytest.approx(percent / 100)
    assert table.zenith_gas_db == pytest.approx(0.2)


def test_beyond_the_table() -> None:
    table = small()
    assert float(table.exceeded(30.0, 1000.0)) == pytest.approx(0.001)  # no rarer is known
    assert float(table.exceeded(30.0, 0.0)) == 1.0  # 0.4 dB is exceeded more than half the time
    assert float(table.total_db(5.0, 99.0)) > 12.0  # straight on in the air's thickness
    assert float(table.total_db(-5.0, 99.0)) == float(table.total_db(1.0, 99.0))
    for availability in (99.95, 49.0, 100.0, 0.0):
        with pytest.raises(ConfigError, match="availability"):
            table.total_db(30.0, availability)


@pytest.mark.parametrize("name", sites())
def test_sites_are_in_order(name: str) -> None:
    site = load_site(name)
    assert site.site == name
    assert site.percent == PERCENT
    assert site.elevation_deg == ELEVATIONS_DEG
    assert [band.frequency_ghz for band in site.bands] == list(FREQUENCIES_GHZ)
    assert "P.618-13" in site.source
    for hz in (2.0675e9, 2.25e9, 7.2e9, 8.2125e9, 19.7e9, 25.5e9, 27.0e9, 29.5e9):
        table = site.table(hz)
        assert 0.02 < table.zenith_gas_db < 1.0  # ITU-R P.676, 20 g/m3 of vapour at the most
    with pytest.raises(ConfigError, match="none of the bands"):
        site.table(12e9)


def test_climates_differ_as_they_should() -> None:
    # Rain: the tropics, then the Mediterranean, then the far north, then the polar plateau.
    fades = [
        float(ka(name).fade_db(30.0, 99.9)) for name in ("singapore", "matera", "svalbard", "troll")
    ]
    assert fades == sorted(fades, reverse=True)
    assert fades[0] > 30.0 > 12.0 > fades[1] > 3.0 > 0.5 > fades[3]


SITES = st.sampled_from(sites())
BANDS = st.sampled_from([1e9 * one for one in FREQUENCIES_GHZ])
UP = st.floats(5.0, 90.0)


@given(SITES, BANDS, UP, st.floats(10.0, 99.99), st.floats(10.0, 99.99))
def test_rarer_is_worse(name: str, hz: float, elevation: float, one: float, other: float) -> None:
    table = load_site(name).table(hz)
    low, high = sorted((one, other))
    assert table.total_db(elevation, low) <= table.total_db(elevation, high) + 1e-9
    assert table.total_db(elevation, one) <= table.total_db(max(5.0, elevation - 3), one) + 1e-9


@given(SITES, BANDS, UP, st.floats(60.0, 99.985))
def test_there_and_back(name: str, hz: float, elevation: float, availability: float) -> None:
    table = load_site(name).table(hz)
    fade = float(table.fade_db(elevation, availability))
    if fade > 1e-3:
        share = float(table.exceeded(elevation, fade))
        assert share == pytest.approx(1.0 - availability / 100.0, rel=0.02, abs=1e-6)


@pytest.mark.slow
@given(SITES, BANDS, UP, st.lists(st.floats(0.0, 100.0), min_size=2, max_size=9))
def test_probabilities_fall(name: str, hz: float, elevation: float, fades: list[float]) -> None:
    shares = load_site(name).table(hz).exceeded(elevation, np.array(sorted(fades)))
    assert np.all(np.diff(shares) <= 1e-12)
    assert np.all((shares >= 1e-4) & (shares <= 1.0))


def test_confidence_in_a_link() -> None:
    link = preset("ka-down").link
    elevations = np.array([5.0, 10.0, 20.0, 45.0, 90.0])
    ranges = slant_ranges_m(600e3, elevations)
    dry, wet = ka("svalbard"), ka("singapore")
    any_rate = confidence(link, dry, ranges, elevations)
    assert np.all(np.diff(any_rate) >= 0)
    assert np.all(any_rate > confidence(link, wet, ranges, elevations))
    fast = confidence(link, dry, ranges, elevations, 2e9)
    assert np.all(fast <= any_rate)
    assert fast[0] == 0.0 < fast[2]
    assert np.all(confidence(link, dry, ranges, elevations, 1e12) == 0.0)


def test_confidence_is_the_share_of_the_year_in_which_the_link_closes() -> None:
    link, table = preset("ka-down").link, ka("matera")
    range_m = float(slant_ranges_m(600e3, 20.0))
    for one in link.waveforms[::4]:
        sure = float(confidence(link, table, range_m, 20.0, one.rate_bps))
        shares = np.arange(60.0, 99.95, 0.05)
        closes = [
            bool(link.c_n0_db_hz(range_m, 20.0, table.fade_db(20.0, share)) >= one.c_n0_db_hz)
            for share in shares.tolist()
        ]
        if any(closes) and not all(closes):
            assert sure * 100 == pytest.approx(shares[closes].max(), abs=0.2)


def test_the_mean_rate_is_the_mean() -> None:
    link, table = preset("ka-down").link, ka("matera")
    range_m = float(slant_ranges_m(600e3, 20.0))
    shares = np.linspace(50.0, 99.99, 2000)
    rates = [
        float(
            link.series(
                range_m, 20.0, fade := table.fade_db(20.0, share), expected_fade_db=fade
            ).rate_bps[0]
        )
        for share in shares.tolist()
    ]
    # Half of the year has less than the median fade: at least the median's rate.
    least = 0.5 * rates[0] + 0.5 * float(np.mean(rates))
    found = float(expected_rate_bps(link, table, range_m, 20.0))
    assert least <= found * 1.001
    assert found <= link.waveforms[-1].rate_bps


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.1, 1.0, 10.0, 50.0", "1.0, 0.1, 10.0, 50.0"),
        ("0.1, 1.0, 10.0, 50.0", "0.1, 1.0, 10.0, 100.0"),
        ("[10.0, 30.0, 90.0]", "[10.0, 30.0]"),
        ("[10.0, 30.0, 90.0]", "[0.0, 30.0, 90.0]"),
        ("40.0, 12.0", "12.0, 40.0"),
        ("16.0, 5.0, 1.6", "160.0, 5.0, 1.6"),
        ("16.0, 5.0, 1.6, 0.45", "16.0, 5.0, 1.6"),
        ("1.2, 0.4", "1.2, 0.0"),
        ("40.0", "nan"),
        ("40.0", "inf"),
        ('"somewhere"', "7"),
        ("[[bands]]", "[[belts]]"),
        ("percent =", "percent"),
    ],
)
def test_senseless_sites_are_refused(old: str, new: str) -> None:
    assert old in SMALL
    with pytest.raises(ConfigError):
        parse_site(SMALL.replace(old, new))


@given(st.text(max_size=200))
def test_any_text_is_a_site_or_an_error(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_site(text)


def test_sites_from_files(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(SMALL)
    assert load_site(path) == load_site(str(path)) == parse_site(SMALL)
    with pytest.raises(ConfigError, match="svalbard"):
        load_site("atlantis")
    path.write_text("#" * (SITE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="too large"):
        load_site(path)


def test_the_files_are_what_the_models_say() -> None:
    pytest.importorskip("itur")
    made = parse_site(make_table("svalbard", 78.2297, 15.4075, 450.0))
    assert made == load_site("svalbard")


def test_without_the_models_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "itur", None)
    with pytest.raises(MissingExtraError, match="pip install"):
        make_table("x", 0.0, 0.0, 0.0)
