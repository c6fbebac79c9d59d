"""Ready links."""

from __future__ import annotations

import pytest

from link_models.budget import PRESET_ALTITUDE_M, RateTable, preset, presets, slant_range_m
from stack.core.errors import ConfigError


def test_those_of_the_demonstration() -> None:
    up, down = preset("s-band-up"), preset("x-band-down")
    assert up.steps == ((5.0, 256e3),)
    # 74, 112 and 149 Mbit/s from 5, 14.1 and 25.3 degrees.
    assert [round(rate / 1e6) for _, rate in down.steps] == [74, 112, 149]
    assert [begin for begin, _ in down.steps] == pytest.approx([5.0, 14.1357, 25.3463], abs=1e-3)
    # Close to the horizon the satellite is 2,783 km away: 179.6 dB at 8.2125 GHz.
    assert slant_range_m(PRESET_ALTITUDE_M, 5.0) == pytest.approx(2_783e3, rel=0.002)


def test_unknown_names() -> None:
    with pytest.raises(ConfigError, match="s-band-up"):
        preset("s-band")


def test_names_are_what_they_are_found_by() -> None:
    names = [one.name for one in presets()]
    assert len(set(names)) == len(names)
    assert all(preset(name) is one for name, one in zip(names, presets(), strict=True))


@pytest.mark.parametrize("one", presets(), ids=lambda one: one.name)
def test_each_is_a_table_with_its_budget(one: RateTable) -> None:
    found = preset(getattr(one, "name", ""))
    assert found.description
    assert len(found.sources) >= 3
    assert any("assumed" in source for source in found.sources)
    assert (found.link.path == "space") == (found.range_m > 0)
    if found.range_m:
        assert len(found.steps) == 1
        assert found.rate_bps(-10.0) == float(found.link.series(found.range_m).rate_bps[0]) > 0
    else:
        assert found.steps == found.link.rate_table(PRESET_ALTITUDE_M).steps


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("x-band-acm", 150e6, 350e6),
        ("ka-down", 1e9, 4e9),
        ("ka-relay", 150e6, 300e6),
        ("isl-ka", 25e6, 50e6),
        ("isl-optical", 2.5e9, 10e9),
        ("optical-down", 2.5e9, 10e9),
        ("optical-down-100g", 100e9, 200e9),
    ],
)
def test_rates_are_of_their_class(name: str, least: float, most: float) -> None:
    rates = [rate for _, rate in preset(name).steps]
    assert least <= rates[0] <= rates[-1] <= most


def test_signals_fit_their_bands() -> None:
    # ITU Radio Regulations, article 5: 8,025-8,400 MHz and 25.5-27 GHz for Earth exploration.
    for name, low, high in (("x-band-acm", 8.025e9, 8.4e9), ("ka-down", 25.5e9, 27e9)):
        link = preset(name).link
        half = getattr(link, "bandwidth_hz", 0.0) / 2
        carrier = getattr(link, "frequency_hz", 0.0)
        assert low <= carrier - half < carrier + half <= high


def test_the_worked_example_of_the_documents() -> None:
    # docs/link-budget.md adds these up by hand.
    shown = (
        3.01,
        -1.0,
        12.0,
        -0.16,
        -175.32,
        -0.26,
        -0.5,
        -0.13,
        51.13,
        -21.76,
        -0.45,
        228.6,
        -1.5,
    )
    link = preset("x-band-acm").link
    range_m = slant_range_m(500e3, 10.0)
    values = [one.value for one in link.terms(range_m, 10.0) if one.adds and one.value]
    assert sorted(values) == pytest.approx(sorted(shown), abs=0.006)
    assert sum(shown) == pytest.approx(93.65, abs=0.02)
    assert float(link.c_n0_db_hz(range_m, 10.0)) == pytest.approx(93.65, abs=0.006)
