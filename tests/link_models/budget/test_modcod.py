"""The catalogue of modulations and codes, against the standards' tables and theory."""

from __future__ import annotations

import math

import pytest

from link_models.budget import modcods
from link_models.budget.modcod import CCSDS_FRAME_ERROR_RATE, FAMILIES, catalogue
from stack.core.errors import ConfigError
from tests.link_models.budget import bounds

# ETSI EN 302 307-1 V1.4.1, table 13: spectral efficiency and Es/N0 (dB) as printed.
TABLE_13 = """
qpsk 1/4 0.490243 -2.35;qpsk 1/3 0.656448 -1.24;qpsk 2/5 0.789412 -0.30;qpsk 1/2 0.988858 1.00
qpsk 3/5 1.188304 2.23;qpsk 2/3 1.322253 3.10;qpsk 3/4 1.487473 4.03;qpsk 4/5 1.587196 4.68
qpsk 5/6 1.654663 5.18;qpsk 8/9 1.766451 6.20;qpsk 9/10 1.788612 6.42
8psk 3/5 1.779991 5.50;8psk 2/3 1.980636 6.62;8psk 3/4 2.228124 7.91;8psk 5/6 2.478562 9.35
8psk 8/9 2.646012 10.69;8psk 9/10 2.679207 10.98
16apsk 2/3 2.637201 8.97;16apsk 3/4 2.966728 10.21;16apsk 4/5 3.165623 11.03
16apsk 5/6 3.300184 11.61;16apsk 8/9 3.523143 12.89;16apsk 9/10 3.567342 13.13
32apsk 3/4 3.703295 12.73;32apsk 4/5 3.951571 13.64;32apsk 5/6 4.119540 14.28
32apsk 8/9 4.397854 15.69;32apsk 9/10 4.453027 16.05
"""

# EN 302 307-2 V1.1.1, table 20a: some of each constellation, as printed.
TABLE_20A = """
qpsk 2/9 0.434841 -2.85;qpsk 13/45 0.567805 -2.03;qpsk 9/20 0.889135 0.22;qpsk 11/20 1.088581 1.45
8apsk 5/9-l 1.647211 4.73;8apsk 26/45-l 1.713601 5.13;8psk 13/18 2.145136 7.49
16apsk 1/2-l 1.972253 5.97;16apsk 3/5-l 2.370043 7.41;16apsk 77/90 3.386618 11.99
32apsk 32/45 3.510192 11.75;32apsk 7/9 3.841226 13.05;64apsk 11/15 4.338659 14.81
64apsk 4/5 4.735354 15.87;128apsk 3/4 5.163248 17.73;128apsk 7/9 5.355556 18.53
256apsk 29/45-l 5.065690 16.98;256apsk 32/45 5.593162 18.59;256apsk 3/4 5.900855 19.57
"""


def _rows(text: str) -> list[list[str]]:
    return [one.split() for line in text.split("\n") for one in line.split(";") if one]


@pytest.mark.parametrize(
    ("family", "text", "count"), [("dvb-s2", TABLE_13, 28), ("dvb-s2x", TABLE_20A, 19)]
)
def test_efficiencies_follow_from_the_framing(family: str, text: str, count: int) -> None:
    rows = _rows(text)
    assert len(rows) == count
    for modulation, rate, efficiency, es_n0_db in rows:
        (found,) = modcods(f"{family} {modulation} {rate}")
        # Ours is computed from frame lengths, headers and BCH parity; theirs is printed.
        assert found.efficiency == pytest.approx(float(efficiency), abs=1e-6)
        assert found.es_n0_db == float(es_n0_db)


def test_families_are_whole() -> None:
    sizes = {family: len(catalogue(family)) for family in FAMILIES}
    assert sizes == {
        "dvb-s2": 28,
        "dvb-s2-pilots": 28,
        "dvb-s2-short": 24,  # 9/10 has no short frame
        "dvb-s2x": 39,
        "ccsds": 36,
    }
    names = [one.name for family in FAMILIES for one in catalogue(family)]
    assert len(set(names)) == len(names)


def test_pilots_cost_what_they_take() -> None:
    # QPSK: 360 slots, so 22 times 36 symbols in 32,490.
    (bare,), (piloted,) = modcods("dvb-s2 qpsk 1/2"), modcods("dvb-s2-pilots qpsk 1/2")
    assert piloted.efficiency / bare.efficiency == pytest.approx(32_490 / (32_490 + 22 * 36))
    # 32APSK: 144 slots, 8 of them.
    (bare,), (piloted,) = modcods("dvb-s2 32apsk 3/4"), modcods("dvb-s2-pilots 32apsk 3/4")
    assert piloted.efficiency / bare.efficiency == pytest.approx(13_050 / (13_050 + 8 * 36))


def test_names_and_patterns() -> None:
    assert len(modcods("dvb-s2")) == 28
    assert len(modcods("dvb-s2 qpsk *")) == 11
    assert [one.name for one in modcods("ccsds bpsk turbo 1/*")] == [
        f"ccsds bpsk turbo 1/{rate}" for rate in (2, 3, 4, 6)
    ]
    assert len(modcods("dvb-s2", "dvb-s2x", "dvb-s2 qpsk 1/2")) == 28 + 39
    assert len(modcods("*")) == sum(len(catalogue(family)) for family in FAMILIES)
    for unknown in ("", "dvb-s3", "dvb-s2 qpsk 7/8", "qpsk 1/2"):
        with pytest.raises(ConfigError, match="unknown"):
            modcods("dvb-s2", unknown)


def test_every_mode_is_nearly_error_free_where_it_says_so() -> None:
    for family in FAMILIES:
        for one in catalogue(family):
            _, frames = one.error_rates([one.es_n0_db - 1.0, one.es_n0_db, one.es_n0_db + 1.0])
            target = CCSDS_FRAME_ERROR_RATE if family == "ccsds" else 1e-7
            assert frames[1] == pytest.approx(target, rel=0.05)
            assert frames[0] > 20 * target
            assert frames[2] < target


CODES = [
    *(("dvb-s2 qpsk " + rate, 64_800, 1e-7) for rate in ("1/4", "1/2", "3/4", "9/10")),
    *(("ccsds bpsk turbo 1/" + str(r), 8924 * r, 1e-5) for r in (2, 3, 4, 6)),
    *(("ccsds bpsk ldpc " + rate, n, 1e-5) for rate, n in (("1/2", 32768), ("4/5", 20480))),
    *(("ccsds bpsk ldpc-4096 " + rate, n, 1e-5) for rate, n in (("1/2", 8192), ("2/3", 6144))),
    *(("ccsds bpsk ldpc-1024 " + rate, n, 1e-5) for rate, n in (("1/2", 2048), ("4/5", 1280))),
    ("ccsds bpsk ldpc 7/8", 8160, 1e-5),
]


@pytest.mark.parametrize(("name", "n", "target"), CODES)
def test_no_code_beats_theory_and_none_is_far_off(name: str, n: int, target: float) -> None:
    (one,) = modcods(name)
    eb_n0_db = one.es_n0_db - 10.0 * math.log10(one.code_bits)
    best = bounds.required_eb_n0_db(one.frame_bits, n, target)
    assert 0.3 < eb_n0_db - best < 1.3


def test_the_bound_itself() -> None:
    # Long codes of rate 1/2 come close to the capacity of the binary channel, 0.187 dB.
    assert bounds.required_eb_n0_db(5_000_000, 10_000_000, 1e-5) == pytest.approx(0.187, abs=0.02)
