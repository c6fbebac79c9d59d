"""Error-rate curves, against simulations of others, the trellis, and a decoder of our own."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.budget import curves
from link_models.budget.curves import (
    Concatenated,
    Convolutional,
    Curve,
    Detector,
    ReedSolomon,
    Uncoded,
    Waterfall,
    any_of,
    error_rates,
    required_eb_n0_db,
    tail,
    tail_inverse,
)
from tests.link_models.budget import viterbi

ALL: list[Curve] = [
    Uncoded(8920),
    ReedSolomon(),
    Convolutional(8920),
    Concatenated(),
    Waterfall(1.0, 1e-5, 0.1),
    Detector(20.0, 1e-9, 0.5, 8920),
]


@given(st.floats(-8.0, 8.0))
def test_the_tail_is_that_of_the_normal_distribution(sigmas: float) -> None:
    # For -8 sigma the standard library's 1 - cdf(x) has lost its digits: compare the other side.
    assert tail(sigmas) == pytest.approx(NormalDist().cdf(-sigmas), rel=1e-9, abs=1e-16)


@given(st.floats(1e-14, 0.999))
def test_the_tail_and_its_inverse(probability: float) -> None:
    assert float(tail(tail_inverse(probability))) == pytest.approx(probability, rel=1e-6)


def test_at_least_one_of_many() -> None:
    assert float(any_of(1e-18, 1000)) == pytest.approx(1e-15)
    assert float(any_of(0.5, 2)) == pytest.approx(0.75)
    assert float(any_of(1.0, 3)) == pytest.approx(1.0)
    assert float(any_of(0.0, 3)) == 0.0


@pytest.mark.parametrize("curve", ALL, ids=lambda one: type(one).__name__)
def test_more_signal_is_never_worse(curve: Curve) -> None:
    for rates in error_rates(curve, np.arange(-20.0, 40.0, 0.003)):
        assert np.all(np.diff(rates) <= 1e-12)
        assert rates[-1] == 0.0
        assert np.all((rates >= 0.0) & (rates <= 1.0))


@pytest.mark.parametrize("curve", ALL, ids=lambda one: type(one).__name__)
def test_tables_are_the_curves(curve: Curve) -> None:
    at = np.arange(-2.0, 20.0, 0.0137)
    for found, exact in zip(error_rates(curve, at), curve.rates(at), strict=True):
        common = exact > 1e-13
        assert np.allclose(found[common], exact[common], rtol=0.02)


def test_uncoded_psk_needs_what_textbooks_say() -> None:
    bits, _ = error_rates(Uncoded(1), [6.79, 8.40, 9.59, 10.53])
    assert np.allclose(bits, [1e-3, 1e-4, 1e-5, 1e-6], rtol=0.03)


# AFF3CT error rate references, RS (255,223), T = 16, BPSK, hard decisions, 2018: Eb/N0, rate of
# wrong bits, rate of lost codewords; 434 codewords or more were lost for each.
RS_SIMULATED = [
    (5.0, 7.13e-3, 6.85e-1),
    (5.2, 4.46e-3, 4.49e-1),
    (5.4, 2.05e-3, 2.16e-1),
    (5.6, 7.41e-4, 8.12e-2),
    (5.8, 2.03e-4, 2.27e-2),
    (6.0, 4.37e-5, 4.95e-3),
    (6.2, 6.78e-6, 7.78e-4),
    (6.4, 7.78e-7, 9.02e-5),
    (6.6, 7.22e-8, 8.40e-6),
]


@pytest.mark.parametrize(("eb_n0_db", "bits", "frames"), RS_SIMULATED)
def test_reed_solomon_as_simulated(eb_n0_db: float, bits: float, frames: float) -> None:
    found = error_rates(ReedSolomon(interleave=1), eb_n0_db)
    assert float(found[0]) == pytest.approx(bits, rel=0.10)
    assert float(found[1]) == pytest.approx(frames, rel=0.10)


def test_error_events_are_those_of_the_trellis() -> None:
    """Counts paths that leave the zero state and come back, by weight and by input ones."""
    heaviest = 28
    into_zero = np.zeros((heaviest + 1, 2))  # how many, and their input ones together
    # From state 0 a one enters; ways[state][weight] = (paths, input ones on them).
    ways = np.zeros((viterbi.STATES, heaviest + 1, 2))
    register = 1 << viterbi.MEMORY
    ways[register >> 1, int(viterbi._OUTPUT[register]).bit_count()] = (1.0, 1.0)
    for _ in range(400):  # a path that stays away longer is heavier than `heaviest`
        after = np.zeros_like(ways)
        for state in range(1, viterbi.STATES):
            for bit in (0, 1):
                register = (bit << viterbi.MEMORY) | state
                weight = int(viterbi._OUTPUT[register]).bit_count()
                moved = np.zeros((heaviest + 1, 2))
                moved[weight:] = ways[state, : heaviest + 1 - weight]
                moved[:, 1] += bit * moved[:, 0]
                if register >> 1:
                    after[register >> 1] += moved
                else:
                    into_zero += moved
        ways = after
        if not ways.any():
            break
    assert not ways.any()
    assert [int(one) for one in into_zero[10::2, 0]] == list(curves._EVENTS)
    assert [int(one) for one in into_zero[10::2, 1]] == list(curves._EVENT_BITS)
    assert not into_zero[:10].any()


@pytest.mark.parametrize("eb_n0_db", [0.5, 1.5, 2.5])
def test_the_viterbi_decoder_as_measured(eb_n0_db: float) -> None:
    bits, octets = viterbi.error_rates(eb_n0_db, rows=150, length=64 * 20, seed=7)
    found_bits, found_octets = curves._viterbi(np.array([eb_n0_db]))
    assert float(found_bits[0]) == pytest.approx(bits, rel=0.15)
    assert float(found_octets[0]) == pytest.approx(octets, rel=0.15)


def test_what_agencies_quote_for_convolutional_and_concatenated_codes() -> None:
    # One wrong bit in 10^5 at 4.2 dB and in 10^6 at 4.8 dB; with RS(255,223) 2.3 to 2.6 dB.
    bits, _ = error_rates(Convolutional(8920), [4.2, 4.8])
    assert np.allclose(np.log10(bits), [-5.0, -6.0], atol=0.15)
    outer, _ = error_rates(Concatenated(), [2.2, 2.6])
    assert outer[0] > 1e-6 > outer[1]


# AFF3CT error rate references, 2018: (Eb/N0, lost frames) of AR4JA (8192,4096) after 100
# iterations, and of the CCSDS turbo code (5368,1784) after 10.
AR4JA_SIMULATED = [(0.9, 3.50e-1), (1.0, 9.59e-2), (1.1, 1.07e-2), (1.2, 8.89e-4), (1.3, 3.58e-5)]
TURBO_SIMULATED = [
    *((0.1, 4.98e-1), (0.2, 2.67e-1), (0.3, 1.21e-1), (0.4, 5.57e-2), (0.5, 1.60e-2)),
    *((0.6, 3.88e-3), (0.7, 6.20e-4), (0.8, 8.09e-5), (0.9, 1.26e-5)),
]


@pytest.mark.parametrize(
    ("place", "width", "simulated"),
    [
        (1.34, 10.0 / math.sqrt(8192), AR4JA_SIMULATED),
        (0.91, 13.5 / math.sqrt(5368), TURBO_SIMULATED),
    ],
    ids=["ar4ja", "turbo"],
)
def test_waterfalls_as_simulated(
    place: float, width: float, simulated: list[tuple[float, float]]
) -> None:
    curve = Waterfall(place, 1e-5, width)
    for eb_n0_db, lost in simulated:
        assert required_eb_n0_db(curve, lost) == pytest.approx(eb_n0_db, abs=0.04)


@given(st.floats(-2.0, 10.0), st.floats(1e-9, 1e-2), st.floats(0.02, 0.4))
def test_a_waterfall_goes_through_its_point(place: float, rate: float, width: float) -> None:
    assert required_eb_n0_db(Waterfall(place, rate, width), rate) == pytest.approx(place, abs=0.02)


def test_a_floor_stays() -> None:
    _, frames = error_rates(Waterfall(1.0, 1e-5, 0.1, floor=1e-6), [2.0, 9.0])
    assert np.allclose(frames, 1e-6)


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_a_detector_has_its_sensitivity(exponent: float) -> None:
    curve = Detector(20.0, 1e-9, exponent, 1000)
    bits, frames = error_rates(curve, [20.0])
    assert float(bits[0]) == pytest.approx(1e-9, rel=0.02)
    assert float(frames[0]) == pytest.approx(1e-6, rel=0.02)
    # Half the power: q = 6 falls to 6 / sqrt(2) or to 3.
    half, _ = error_rates(curve, [20.0 - 10 * math.log10(2)])
    left = NormalDist().cdf(-6.0 / 2**exponent)
    assert float(half[0]) == pytest.approx(left, rel=0.05)
