"""Weather against closed forms.  Tolerances are five standard errors unless they say so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from link_models.noise import normal_share
from link_models.weather.clouds import (
    BLOCK_NS,
    EARTH_RADIUS_M,
    KNOWN_SITES,
    CloudField,
    CloudSite,
    from_durations,
)
from link_models.weather.rain import RainFront
from link_models.weather.scintillation import Scintillation, gamma_gamma_shapes
from stack.core.clock import SECOND
from stack.core.errors import ConfigError

BLOCKS = 30
"""Eight days: about 11 000 changes of a sky that changes each minute."""


def site(key: int, longitude_deg: float = 0.0, **options: Any) -> CloudSite:
    values: dict[str, Any] = {"cloud_fraction": 0.5, "correlation_s": 60.0}
    return CloudField(key).site(0.0, longitude_deg, **values | options)


def sky(one: CloudSite, step_s: float, blocks: int = BLOCKS) -> np.ndarray[Any, Any]:
    return one.cloudy(np.arange(0, blocks * BLOCK_NS, step_s * SECOND))


# ---- clouds ------------------------------------------------------------------------------------


def is_cloudy_by(fraction: float, one: CloudSite) -> bool:
    """Whether a sky that is drawn anew each minute in the mean has this share of clouds."""
    cloudy = sky(one, 60)
    few = len(cloudy) * (1 - math.exp(-1)) / (1 + math.exp(-1))  # neighbours are alike by 1/e
    return bool(abs(cloudy.mean() - fraction) <= 5 * math.sqrt(fraction * (1 - fraction) / few))


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.7, 1.0])
def test_the_share_of_clouds(fraction: float) -> None:
    assert is_cloudy_by(fraction, site(1, cloud_fraction=fraction))


@pytest.mark.slow
@pytest.mark.parametrize(("fraction", "correlation_s"), [(0.3, 60.0), (0.6, 120.0)])
def test_clear_and_cloudy_times_are_exponential(fraction: float, correlation_s: float) -> None:
    one = site(2, cloud_fraction=fraction, correlation_s=correlation_s)
    spans = np.array(one.spans(0, BLOCKS * BLOCK_NS)) / SECOND
    cloudy_s = spans[1:-1, 1] - spans[1:-1, 0]
    clear_s = spans[1:, 0] - spans[:-1, 1]
    for lengths, share in ((cloudy_s, 1 - fraction), (clear_s, fraction)):
        mean_s = correlation_s / share
        assert abs(lengths.mean() - mean_s) < 5 * mean_s / math.sqrt(len(lengths))
        assert abs(lengths.std() - mean_s) < 5 * mean_s * math.sqrt(2 / len(lengths))
        over = (lengths > mean_s).mean()
        assert abs(over - math.exp(-1)) < 5 * math.sqrt(0.25 / len(lengths))


def test_the_sky_forgets_exponentially() -> None:
    cloudy = sky(site(3, correlation_s=300.0), 30, 4 * BLOCKS) - 0.5
    for lag_s in (150, 300, 900):
        lag = lag_s // 30
        seen = (cloudy[lag:] * cloudy[:-lag]).mean() / 0.25
        few = len(cloudy) * 30 / 600
        assert abs(seen - math.exp(-lag_s / 300)) < 5 / math.sqrt(few)


@pytest.mark.slow
@pytest.mark.parametrize("distance_m", [1.0, 100_000.0, 300_000.0, 1_500_000.0])
def test_the_gaussian_copula_between_two_places(distance_m: float) -> None:
    """P(both cloudy) = 1/4 + arcsin(rho) / 2 pi at a half each (Sheppard 1899), with rho =
    exp(-d / 300 km); changes at different times cost up to a tenth of it."""
    here, there = site(4), site(4, math.degrees(distance_m / EARTH_RADIUS_M))
    at_here = sky(here, 60)
    both = (at_here & sky(there, 60)).mean()
    rho = math.exp(-distance_m / 300_000)
    excess = math.asin(rho) / (2 * math.pi)
    slack = 5 * math.sqrt(0.25 / (len(at_here) / 2.2))
    assert 0.9 * excess - slack < both - 0.25 < excess + slack


@pytest.mark.slow
def test_far_places_do_not_change_at_the_same_instants() -> None:
    ends = [
        {edge for span in one.spans(0, 10 * BLOCK_NS) for edge in span}
        for one in (site(5), site(5, 90.0))
    ]
    assert not ends[0] & ends[1] - {0, 10 * BLOCK_NS}


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=8),
    st.floats(1800, 92_000),
    st.floats(-90, 90),
)
def test_the_sky_does_not_remember_who_asked(
    times: list[int], correlation_s: float, latitude_deg: float
) -> None:
    def fresh() -> CloudSite:
        return CloudField(6).site(
            latitude_deg, 10.0, cloud_fraction=0.4, correlation_s=correlation_s
        )

    together = fresh().cloudy(np.array(times, np.float64)).tolist()
    one = fresh()
    assert [one.lost(1, time) for time in reversed(times)] == together[::-1]


def test_spans_are_the_cloudy_times() -> None:
    one = site(7, correlation_s=3600.0)
    start_ns, end_ns = 3 * BLOCK_NS // 2, 4 * BLOCK_NS
    spans = one.spans(start_ns, end_ns)
    at_ns = np.arange(start_ns, end_ns, 7 * SECOND)
    expected = [any(begin <= at < end for begin, end in spans) for at in at_ns.tolist()]
    assert one.cloudy(at_ns.astype(np.float64)).tolist() == expected
    assert all(a < b for span in spans for a, b in [span])
    assert one.spans(start_ns, start_ns) == []


def test_a_station_that_is_added_changes_nothing() -> None:
    alone = site(8).spans(0, BLOCK_NS)
    field = CloudField(8)
    others = [field.site(lat, 3.0, cloud_fraction=0.9) for lat in (-10.0, 0.1, 50.0)]
    for other in others:
        other.spans(0, 3 * BLOCK_NS)
    here = field.site(0.0, 0.0, cloud_fraction=0.5, correlation_s=60.0)
    assert here.spans(0, BLOCK_NS) == alone


def test_durations_say_the_same() -> None:
    fraction, correlation_s = from_durations(clear_s=3000, cloudy_s=1000)
    assert fraction == 0.25
    assert correlation_s / (1 - fraction) == 1000
    assert correlation_s / fraction == 3000


@pytest.mark.slow
def test_known_sites_are_places() -> None:
    for known in KNOWN_SITES.values():
        place = known.latitude_deg, known.longitude_deg
        one = CloudField(1).site(*place, cloud_fraction=known.cloud_fraction, correlation_s=60.0)
        assert is_cloudy_by(known.cloud_fraction, one)


# ---- rain --------------------------------------------------------------------------------------


def front_at(latitude_deg: float, longitude_deg: float, **values: float) -> RainFront:
    return RainFront(start_latitude_deg=latitude_deg, start_longitude_deg=longitude_deg, **values)


def test_a_front_comes_and_goes() -> None:
    """Along the equator at 14 m/s: over a place 140 km ahead after 10 000 s."""
    front = RainFront(
        start_latitude_deg=0, start_longitude_deg=0, heading_deg=90, speed_m_s=14, peak_db=20
    )
    ahead_deg = math.degrees(140_000 / EARTH_RADIUS_M)
    at_ns = np.arange(0, 20_000, 10, dtype=np.float64) * SECOND
    fade = front.fade_db(0.0, ahead_deg, at_ns)
    assert at_ns[np.argmax(fade)] == 10_000 * SECOND
    assert fade.max() == pytest.approx(20.0)
    half = at_ns[fade >= 10.0] / SECOND
    assert half.max() - half.min() == pytest.approx(30_000 / 14, abs=20)  # its depth at half
    assert fade[:500].max() < 0.1


@given(st.floats(-80, 80), st.floats(-180, 180), st.floats(0, 360))
def test_a_front_is_symmetric_about_its_way(lat: float, lon: float, heading: float) -> None:
    front = RainFront(
        start_latitude_deg=lat, start_longitude_deg=lon, heading_deg=heading, peak_db=10
    )
    now = np.array([0.0])
    assert front.fade_db(lat, lon, now)[0] == pytest.approx(10.0)
    # 100 km to either side is half of the length: half of the attenuation.
    for side in (-90, 90):
        place = _go(lat, lon, heading + side, 100_000)
        assert front.fade_db(*place, now)[0] == pytest.approx(5.0, rel=1e-3)
    # 15 km ahead or behind likewise.
    for turn in (0, 180):
        place = _go(lat, lon, heading + turn, 15_000)
        assert front.fade_db(*place, now)[0] == pytest.approx(5.0, rel=1e-3)


def _go(lat_deg: float, lon_deg: float, heading_deg: float, metres: float) -> tuple[float, float]:
    """Where one is after so many metres on a great circle."""
    lat, heading, way = math.radians(lat_deg), math.radians(heading_deg), metres / EARTH_RADIUS_M
    sine = math.sin(lat) * math.cos(way) + math.cos(lat) * math.sin(way) * math.cos(heading)
    turn = math.atan2(
        math.sin(heading) * math.sin(way) * math.cos(lat), math.cos(way) - math.sin(lat) * sine
    )
    return math.degrees(math.asin(sine)), lon_deg + math.degrees(turn)


# ---- scintillation -----------------------------------------------------------------------------

SAMPLES = 100_000
APART = 4e6 * np.arange(SAMPLES, dtype=np.float64)  # two coherence times: independent


@pytest.mark.parametrize(("index", "margin_db"), [(0.05, 1.0), (0.3, 3.0), (1.0, 6.0)])
def test_lognormal_fades(index: float, margin_db: float) -> None:
    model = Scintillation(1, index=index, margin_db=margin_db)
    sigma = math.sqrt(math.log(1 + index))
    threshold = (math.log(10 ** (-margin_db / 10)) + sigma**2 / 2) / sigma
    expected = 0.5 * math.erfc(-threshold / math.sqrt(2))
    assert model.mean_loss == pytest.approx(expected, rel=1e-3)
    lost = model.lost_many(APART, 1, 1)
    assert abs(lost.mean() - expected) < 5 * math.sqrt(expected / SAMPLES)
    irradiance = model.irradiance(APART)
    assert (irradiance < 10 ** (-margin_db / 10)).tolist() == lost.tolist()
    assert abs(irradiance.mean() - 1) < 5 * math.sqrt(index / SAMPLES)
    assert (model.fade_db(APART) > margin_db).tolist() == lost.tolist()


@pytest.mark.parametrize("rytov_variance", [0.1, 1.0, 5.0])
def test_gamma_gamma_is_the_product_of_two_gammas(rytov_variance: float) -> None:
    alpha, beta = gamma_gamma_shapes(rytov_variance)
    model = Scintillation(2, alpha=alpha, beta=beta, margin_db=4.0)
    irradiance = model.irradiance(APART)
    index = 1 / alpha + 1 / beta + 1 / (alpha * beta)
    assert abs(irradiance.mean() - 1) < 5 * math.sqrt(index / SAMPLES)
    assert irradiance.var() == pytest.approx(index, rel=0.1)
    rng = np.random.default_rng(1)
    drawn = rng.gamma(alpha, 1 / alpha, SAMPLES) * rng.gamma(beta, 1 / beta, SAMPLES)
    for share in (0.001, 0.01, 0.1, 0.5, 0.9, 0.99):
        below = (irradiance < np.quantile(drawn, share)).mean()
        assert abs(below - share) < 5 * math.sqrt(2 * share * (1 - share) / SAMPLES)
    expected = (drawn < 10**-0.4).mean()
    assert abs(model.mean_loss - expected) < 5 * math.sqrt(expected / SAMPLES)


def test_the_shapes_of_a_plane_wave() -> None:
    """Weak turbulence: the scintillation index is the Rytov variance itself."""
    alpha, beta = gamma_gamma_shapes(0.01)
    assert 1 / alpha + 1 / beta + 1 / (alpha * beta) == pytest.approx(0.01, rel=0.03)
    strong = gamma_gamma_shapes(1e4)
    assert strong[1] == pytest.approx(1.0, abs=0.1)  # saturated: the small scale is exponential


def test_fades_last_about_as_long_as_the_coherence() -> None:
    model = Scintillation(3, index=0.5, coherence_s=0.004, margin_db=3.0)
    at_ns = np.arange(0, 100 * SECOND, 100_000, dtype=np.float64)
    lost = model.lost_many(at_ns, 1, 1)
    starts = int((lost[1:] & ~lost[:-1]).sum())
    mean_s = lost.sum() * 1e-4 / starts
    assert 0.001 < mean_s < 0.008
    near = Scintillation(3, index=0.5, coherence_s=0.004).lost_many(at_ns + 1000.0, 1, 1)
    assert (near != lost).mean() < 0.01  # a microsecond later nearly nothing has changed


def test_samples_further_apart_are_independent() -> None:
    lost = Scintillation(4, index=0.5, coherence_s=0.002, margin_db=2.0).lost_many(APART, 1, 1)
    share = lost.mean()
    together = (lost[1:] & lost[:-1]).mean()
    assert abs(together - share**2) < 5 * math.sqrt(share**2 / SAMPLES)


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=20).map(sorted))
def test_scintillation_does_not_remember_who_asked(times: list[int]) -> None:
    one, many = (Scintillation(5, alpha=4.0, beta=2.0) for _ in range(2))
    asked = [one.lost(1, time) for time in reversed(times)]
    assert many.lost_many(np.array(times, np.float64), 1, 1).tolist() == asked[::-1]


def test_the_margin_orders_the_losses() -> None:
    shares = [Scintillation(6, index=0.4, margin_db=db).mean_loss for db in range(10)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.5  # the median of a lognormal is below its mean
    assert normal_share(np.array([0.0]))[0] == 0.5


@pytest.mark.parametrize(
    "make",
    [
        lambda: CloudField(0, efold_m=0),
        lambda: site(0, cloud_fraction=1.1),
        lambda: site(0, correlation_s=59.0),
        lambda: site(0, correlation_s=1e6),
        lambda: from_durations(clear_s=0, cloudy_s=1),
        lambda: front_at(91, 0, heading_deg=0, peak_db=1),
        lambda: front_at(0, 0, heading_deg=0, peak_db=-1),
        lambda: RainFront(
            start_latitude_deg=0, start_longitude_deg=0, heading_deg=0, peak_db=1, depth_m=0
        ),
        lambda: RainFront(
            start_latitude_deg=0, start_longitude_deg=0, heading_deg=math.inf, peak_db=1
        ),
        lambda: Scintillation(0),
        lambda: Scintillation(0, index=1, alpha=1, beta=1),
        lambda: Scintillation(0, alpha=1),
        lambda: Scintillation(0, alpha=1e9, beta=1),
        lambda: Scintillation(0, index=math.inf),
        lambda: Scintillation(0, index=1, coherence_s=0),
        lambda: gamma_gamma_shapes(0),
    ],
)
def test_nonsense_is_refused(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()
