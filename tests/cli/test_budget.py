"""`orbitferry budget`."""

from __future__ import annotations

from pathlib import Path

import pytest

from link_models.budget import preset, presets, sites
from tests.cli.helpers import Cli

RADIO = """
[radio]
frequency_hz = 8.2e9
symbol_rate_hz = 10e6
modes = ["dvb-s2 qpsk *", { rate_bps = 1e6, c_n0_db_hz = 66.0 }]
transmit = { power_w = 1, gain_dbi = 5.5 }
receive = { diameter_m = 3.7, noise_k = 160 }
"""


def test_ready_links_are_listed(cli: Cli) -> None:
    ran = cli("budget")
    assert ran.code == 0
    assert all(one.name in ran.out for one in presets())
    assert all(name in ran.out for name in sites())
    rows = cli("budget", "--json").json
    assert [row["link"] for row in rows] == [one.name for one in presets()]
    assert all(row["sources"] and row["rate_max_bps"] >= row["rate_min_bps"] > 0 for row in rows)


def test_terms_and_rates(cli: Cli) -> None:
    arguments = ("budget", "x-band-acm", "--altitude-km", 500, "--elevation", 10)
    (found,) = cli(*arguments, "--json").json
    link = preset("x-band-acm").link
    assert found["range_km"] == pytest.approx(1_695, rel=0.002)
    terms = {one["name"]: one["value"] for one in found["terms"]}
    assert terms["C/N0"] == pytest.approx(float(link.c_n0_db_hz(found["range_km"] * 1e3, 10.0)))
    table = link.rate_table(500e3)
    for row in found["rates"][1:]:
        assert row["rate_bps"] == table.rate_bps(row["elevation_deg"])
    shown = cli(*arguments).out
    assert "EIRP" in shown
    assert "dvb-s2-pilots" in shown
    assert "SSC17-VII-02" in shown


def test_the_weather_of_a_site(cli: Cli) -> None:
    (clear,) = cli("budget", "ka-down", "--json").json
    arguments = ("budget", "ka-down", "--site", "kourou")
    (wet,) = cli(*arguments, "--availability", 95, "--json").json
    (wetter,) = cli(*arguments, "--json").json
    assert (wet["availability_percent"], wetter["availability_percent"]) == (95, 99)
    for dry, damp, soaked in zip(clear["rates"], wet["rates"], wetter["rates"], strict=True):
        assert dry["c_n0_db_hz"] > damp["c_n0_db_hz"] > soaked["c_n0_db_hz"]
        assert "confidence" not in dry
        for row, least in ((damp, 0.95), (soaked, 0.99)):
            assert row["confidence"] >= least if row["rate_bps"] else row["confidence"] == 0.0
    shown = cli(*arguments).out
    assert "confidence" in shown
    assert "P.618-13" in shown


def test_links_between_spacecraft(cli: Cli) -> None:
    (found,) = cli("budget", "isl-optical", "--range-km", 3000, "--json").json
    rates = [row["rate_bps"] for row in found["rates"]]
    assert rates == sorted(rates, reverse=True)
    assert found["range_km"] == 3000
    (default,) = cli("budget", "ka-relay", "--json").json
    assert default["range_km"] == 45_890


def test_a_link_of_ones_own(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(RADIO)
    (found,) = cli("budget", path, "--site", "kiruna", "--json").json
    assert found["rates"][-1]["rate_bps"] > 10e6
    path.write_text(
        "[optical]\npower_w = 1\nreceive_aperture_m = 0.4\ndivergence_rad = 1e-4\n"
        "modes = [{ rate_bps = 1e9, photons_per_bit = 100 }]\n"
    )
    (light,) = cli("budget", path, "--json").json
    assert light["rates"][-1]["rate_bps"] == 1e9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["z-band"], ["z-band", "s-band-up"]),
        (["missing.toml"], ["missing.toml"]),
        (["ka-down", "--site", "atlantis"], ["atlantis", "svalbard"]),
        (["ka-down", "--site", "troll", "--availability", "100"], ["availability"]),
        (["ka-down", "--availability", "99"], ["--availability", "--site"]),
        (["ka-down", "--elevation", "95"], ["--elevation"]),
        (["ka-down", "--elevation", "nan"], ["--elevation"]),
        (["ka-down", "--altitude-km", "0"], ["--altitude-km"]),
        (["ka-down", "--range-km", "500"], ["--range-km"]),
        (["isl-ka", "--range-km", "0"], ["--range-km"]),
        (["isl-ka", "--site", "troll"], ["--site"]),
        (["optical-down", "--site", "troll"], ["--site"]),
    ],
)
def test_what_makes_no_sense_is_said(cli: Cli, arguments: list[str], words: list[str]) -> None:
    ran = cli("budget", *arguments)
    assert ran.code == 2
    assert all(word in ran.err for word in words)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = ",
        "[radio]\n[optical]\n",
        RADIO.replace("8.2e9", "0"),
        RADIO.replace("transmit", "transmitter"),
        RADIO.replace("qpsk *", "qam"),
        RADIO.replace("frequency_hz = 8.2e9", 'path = "space"\nfrequency_hz = 8.2e9'),
    ],
)
def test_files_that_are_no_link(cli: Cli, tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    assert cli("budget", path).code == 2
    path.write_bytes(b"\xff\xfe")
    assert cli("budget", path).code == 2
