"""The kinds of disturbances that come over a whole station: outages, weather, jamming."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, NamedTuple

import numpy as np
from msgspec import Meta

from link_models.disturbances.disturbance import Base, Duration, Moment, RandomSource, StationPlace
from link_models.loss.model import Bernoulli
from link_models.loss.rules import FadeLoss, FadeModel, Rule
from link_models.loss.spans import Outages
from link_models.noise import Times, Values
from link_models.weather.clouds import (
    CHANGE_S,
    CORRELATION_S,
    CORRELATION_S_MAX,
    EFOLD_M,
    CloudField,
    CloudSite,
    from_durations,
)
from link_models.weather.rain import RainFront, RainOver
from link_models.weather.scintillation import (
    COHERENCE_S,
    SHAPE_MAX,
    Scintillation,
    gamma_gamma_shapes,
)
from stack.core.bounds import Latitude, Longitude, Share
from stack.core.errors import ConfigError

Margin = Annotated[float, Meta(ge=-200, le=200)]
Fade = Annotated[float, Meta(ge=0, le=1000)]
Size = Annotated[float, Meta(ge=1, le=1e8)]
"""Metres."""


class StationOutage(Base, frozen=True, kw_only=True, tag="outage"):
    """A station or a link that fails at random and is repaired; everything is lost meanwhile."""

    mtbf_s: Duration
    """Mean seconds from a repair to the next failure."""

    mttr_s: Duration
    """Mean seconds to repair."""

    def rule(self, source: RandomSource) -> Rule:
        return Rule(loss=Outages(source.key(), **self.parameters()))


class SkyBase(Base, frozen=True, kw_only=True):
    """What weather has in common."""

    margin_db: Margin = 3.0
    """Margin of the link: with a deeper fade everything is lost.  A scenario with link budgets
    uses the fade itself instead."""

    latitude_deg: Latitude | None = None
    """Where the station stands, unless the scenario knows."""

    longitude_deg: Longitude | None = None
    """East positive."""

    def _check(self) -> None:
        if (self.latitude_deg is None) != (self.longitude_deg is None):
            raise ConfigError("latitude_deg, longitude_deg", "give both or neither")
        super()._check()

    def place(self, source: RandomSource) -> StationPlace:
        """Where the station stands.  Raises `ConfigError` when nobody knows."""
        if self.latitude_deg is not None and self.longitude_deg is not None:
            return StationPlace(self.latitude_deg, self.longitude_deg)
        if source.place is None:
            raise ConfigError(
                "latitude_deg, longitude_deg", "the weather of which place?", "give both"
            )
        return source.place

    def rule(self, source: RandomSource) -> Rule:
        fade = self.fade(source)
        assert fade is not None
        return Rule(loss=FadeLoss(fade, self.margin_db))


class Clouds(SkyBase, frozen=True, kw_only=True, tag="clouds"):
    """Clouds over an optical station (see `link_models.weather.clouds`)."""

    cloud_fraction: Share | None = None
    """Share of time that is cloudy; or `clear_s` and `cloudy_s`."""

    correlation_s: Annotated[float, Meta(ge=CHANGE_S, le=CORRELATION_S_MAX)] = CORRELATION_S
    """Seconds in which the sky changes."""

    clear_s: Duration | None = None
    """Mean seconds of clear sky, with `cloudy_s` instead of the two above."""

    cloudy_s: Duration | None = None
    """Mean seconds of clouds."""

    efold_m: Size = EFOLD_M
    """Metres over which the correlation between places falls to 1/e."""

    fade_db: Fade = 100.0
    """Attenuation of a cloud; by default nothing gets through."""

    def _fraction_and_correlation(self) -> tuple[float, float]:
        if (self.clear_s is None) != (self.cloudy_s is None) or (
            (self.cloud_fraction is None) == (self.clear_s is None)
        ):
            raise ConfigError("cloud_fraction", "give it, or clear_s and cloudy_s")
        if self.clear_s is not None and self.cloudy_s is not None:
            return from_durations(clear_s=self.clear_s, cloudy_s=self.cloudy_s)
        assert self.cloud_fraction is not None
        return self.cloud_fraction, self.correlation_s

    def site(self, source: RandomSource) -> CloudSite:
        """The sky over the station: the same object for all its links."""
        place = self.place(source)
        return _site(
            source.world("clouds"), self.efold_m, *place, *self._fraction_and_correlation()
        )

    def fade(self, source: RandomSource) -> FadeModel:
        return CloudFade(self.site(source), self.fade_db)


class Rain(SkyBase, frozen=True, kw_only=True, tag="rain-front"):
    """A rain front that moves over the stations (see `link_models.weather.rain`)."""

    start_latitude_deg: Latitude
    """Where the middle of the front is at `start_s`."""

    start_longitude_deg: Annotated[float, Meta(ge=-360, le=360)]
    """East positive."""

    start_s: Moment = 0.0
    """When it is there."""

    heading_deg: Annotated[float, Meta(ge=-360, le=360)]
    """Where it goes, from north over east."""

    speed_m_s: Annotated[float, Meta(ge=0, le=1e6)] = 14.0
    """How fast it moves."""

    depth_m: Size = 30_000.0
    """Its width at half of the attenuation, in the direction of movement."""

    length_m: Size = 200_000.0
    """Its width at half of the attenuation, along the front."""

    peak_db: Fade
    """Attenuation in its middle, in decibels."""

    def fade(self, source: RandomSource) -> FadeModel:
        return RainOver(RainFront(**self.parameters()), *self.place(source))


class Scintillating(Base, frozen=True, kw_only=True, tag="scintillation"):
    """Flicker of an optical link (see `link_models.weather.scintillation`)."""

    margin_db: Margin = 3.0
    """How far the mean power is above the threshold of the receiver."""

    coherence_ms: Annotated[float, Meta(ge=0.001, le=86_400_000)] = COHERENCE_S * 1e3
    """Milliseconds after which the power is another."""

    index: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    """Scintillation index of a lognormal irradiance; or one of the following."""

    rytov_variance: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    """Gamma-gamma irradiance by the Rytov variance of a plane wave and a point receiver."""

    alpha: Annotated[float, Meta(ge=0, le=SHAPE_MAX)] = 0.0
    """Gamma-gamma irradiance by its shape parameters, with `beta`."""

    beta: Annotated[float, Meta(ge=0, le=SHAPE_MAX)] = 0.0
    """The other shape parameter."""

    def rule(self, source: RandomSource) -> Rule:
        alpha, beta = self.alpha, self.beta
        if self.rytov_variance:
            if self.index or alpha or beta:
                raise ConfigError("rytov_variance", "stands alone")
            alpha, beta = gamma_gamma_shapes(self.rytov_variance)
        model = Scintillation(
            source.key(),
            index=self.index,
            alpha=alpha,
            beta=beta,
            coherence_s=self.coherence_ms / 1e3,
            margin_db=self.margin_db,
        )
        return Rule(loss=model)


class Jamming(Base, frozen=True, kw_only=True, tag="jamming"):
    """Interference from `from_s` to `until_s`."""

    loss: Share = 1.0
    """Share of datagrams lost meanwhile, when there is no link budget to take `fade_db` from."""

    fade_db: Fade | None = None
    """What it takes from the margin of the link, for scenarios with link budgets."""

    band: str = ""
    """Only for links of this band (as the scenario names it); empty: for all."""

    def rule(self, source: RandomSource) -> Rule:
        return Rule(loss=Bernoulli(source.stream(), self.loss))

    def fade(self, source: RandomSource) -> FadeModel | None:
        return None if self.fade_db is None else ConstantFade(self.fade_db)


class CloudFade(NamedTuple):
    """A constant attenuation while it is cloudy."""

    site: CloudSite
    cloud_db: float

    def fade_db(self, times_ns: Times) -> Values:
        return np.where(self.site.cloudy(times_ns), self.cloud_db, 0.0)


class ConstantFade(NamedTuple):
    """The same attenuation at all times."""

    db: float

    def fade_db(self, times_ns: Times) -> Values:
        return np.full(len(times_ns), self.db)


@lru_cache(maxsize=256)
def _site(
    key: int,
    efold_m: float,
    latitude_deg: float,
    longitude_deg: float,
    cloud_fraction: float,
    correlation_s: float,
) -> CloudSite:
    return _field(key, efold_m).site(
        latitude_deg, longitude_deg, cloud_fraction=cloud_fraction, correlation_s=correlation_s
    )


@lru_cache(maxsize=16)
def _field(key: int, efold_m: float) -> CloudField:
    return CloudField(key, efold_m=efold_m)
