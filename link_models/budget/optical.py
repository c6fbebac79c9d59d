"""Optical links: a beam instead of an antenna's lobe, photons instead of noise.

C/N0 is the rate at which photons arrive, in decibels; divided by the rate of bits it gives photons
for each bit, in which the sensitivity of optical receivers is stated.  Clouds and scintillation
are processes in time and belong to `link_models.weather`; `LinkSeries.margin_db` says how much of
them the link bears.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import ArrayLike, NDArray

from link_models.budget.curves import Detector
from link_models.budget.radio import LIGHT_M_S, mode_terms
from link_models.budget.rates import air_mass
from link_models.budget.series import Acm, Fade, LinkBudget, Term, Waveform, fade_of, ladder
from stack.core.bounds import Decibels
from stack.core.checks import check, check_bounds

Array = NDArray[Any]

PLANCK_J_S: Final = 6.626_070_15e-34
"""Planck's constant (SI, exact)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpticalMode:
    """A rate, and what the receiver needs for it."""

    rate_bps: Annotated[float, Meta(ge=1, le=1e15)]
    """User data."""

    photons_per_bit: Annotated[float, Meta(ge=1e-9, le=1e9)]
    """At the receiver's input (after coupling), for `bit_error_rate`."""

    bit_error_rate: Annotated[float, Meta(ge=1e-15, le=0.1)] = 1e-9
    """At that sensitivity, after decoding if there is a code."""

    exponent: Annotated[float, Meta(ge=0.25, le=2)] = 0.5
    """How the decision's quality grows with power: 0.5 where optical amplifiers or shot noise
    rule (the default, as in long links), 1 where the electronics' noise does (bare photodiodes)."""

    name: str = ""
    """In reports; default: the rate."""

    frame_bits: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 8920
    """User bits that are lost together.  Default: a frame as on radio links."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpticalLink(LinkBudget):
    """One direction of an optical link."""

    power_w: Annotated[float, Meta(ge=1e-9, le=1e5)]
    """Mean power of the transmitter."""

    transmit_aperture_m: Annotated[float, Meta(ge=1e-4, le=50)] | None = None
    """Diameter of the sending telescope: a gain of (pi D / lambda)^2, the beam as narrow as it
    gets."""

    divergence_rad: Annotated[float, Meta(ge=1e-9, le=1)] | None = None
    """Instead of the aperture: full angle of the beam, to 1/e^2 of the power at its centre."""

    receive_aperture_m: Annotated[float, Meta(ge=1e-4, le=50)]
    """Diameter of the receiving telescope."""

    obscuration: Annotated[float, Meta(ge=0, le=0.99)] = 0.0
    """Diameter of what stands in front of it, as a share of its own.  Default: none."""

    modes: tuple[OpticalMode, ...]
    """What the modem can do; the fastest that closes is used."""

    wavelength_m: Annotated[float, Meta(ge=1e-7, le=1e-4)] = 1.55e-6
    """Default: 1550 nm, the middle of the fibre band."""

    transmit_loss_db: Decibels = 1.0
    """Sending optics.  Default: 1 dB, a transmission of 0.8."""

    receive_loss_db: Decibels = 1.0
    """Receiving optics, and coupling into a fibre or detector.  Default: 1 dB, optics only."""

    pointing_jitter_rad: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Standard deviation of the pointing on each of two axes."""

    pointing_bias_rad: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Constant error of the pointing."""

    path: Literal["down", "up", "space"] = "down"
    """Through the air, down or up, or between spacecraft."""

    zenith_loss_db: Decibels = 0.5
    """Clear air towards the zenith.  Default: 0.5 dB, a transmission of 0.89 at 1550 nm: haze of
    23 km visibility; molecules absorb 0.01 dB only (ITU-R P.1621-2)."""

    other_loss_db: Decibels = 0.0
    """Whatever else there is on the way, such as the mean loss by turbulence."""

    implementation_loss_db: Decibels = 1.0
    """Receiver against its stated sensitivity.  Default: 1 dB."""

    acm: Acm = field(default_factory=Acm)
    """How the mode is chosen, and the margin kept."""

    def __post_init__(self) -> None:
        check_bounds(self)
        one = (self.transmit_aperture_m is None) != (self.divergence_rad is None)
        check("transmit_aperture_m, divergence_rad", one, "one of them, not both")
        _ = self.waveforms

    @property
    def waveforms(self) -> tuple[Waveform, ...]:
        """The modes worth using, from the most robust to the fastest."""
        return _waveforms(self.modes)

    @property
    def transmit_gain_db(self) -> float:
        """Gain at the centre of the beam: 32 / divergence^2, as a Gaussian beam has it, or that of
        the aperture."""
        if self.divergence_rad is not None:
            return 10.0 * math.log10(32.0) - 20.0 * math.log10(self.divergence_rad)
        assert self.transmit_aperture_m is not None, "checked when it was made"
        return 20.0 * math.log10(math.pi * self.transmit_aperture_m / self.wavelength_m)

    @property
    def receive_gain_db(self) -> float:
        """Gain of the open part of the receiving aperture."""
        full = 20.0 * math.log10(math.pi * self.receive_aperture_m / self.wavelength_m)
        return full + 10.0 * math.log10(1.0 - self.obscuration * self.obscuration)

    @property
    def pointing_loss_db(self) -> float:
        """Mean loss by jitter and bias of a Gaussian beam.

        With w the half-angle at 1/e^2, s the jitter and b the bias, the mean of
        exp(-2 r^2 / w^2) is exp(-2 b^2 / (w^2 + 4 s^2)) / (1 + 4 s^2 / w^2).
        """
        square = 8.0 / math.pow(10.0, self.transmit_gain_db / 10.0)
        spread = 4.0 * self.pointing_jitter_rad * self.pointing_jitter_rad
        bias = 2.0 * self.pointing_bias_rad * self.pointing_bias_rad / (square + spread)
        return 10.0 * (bias / math.log(10.0) + math.log10(1.0 + spread / square))

    @property
    def photon_dbj(self) -> float:
        """Energy of a photon, decibels above a joule."""
        return 10.0 * math.log10(PLANCK_J_S * LIGHT_M_S / self.wavelength_m)

    def received_dbw(
        self, range_m: ArrayLike, elevation_deg: ArrayLike = 90.0, fade_db: Fade = 0.0
    ) -> Array:
        """Mean power at the receiver, after its optics."""
        air = self._air_db(elevation_deg) + fade_of(fade_db, elevation_deg)
        fixed = (
            10.0 * math.log10(self.power_w)
            + self.transmit_gain_db
            + self.receive_gain_db
            - self.transmit_loss_db
            - self.receive_loss_db
            - self.pointing_loss_db
            - self.other_loss_db
        )
        distance = np.asarray(range_m, dtype=float)
        spread = 20.0 * np.log10(4.0 * math.pi / self.wavelength_m * distance)
        found: Array = fixed - spread - air
        return found

    def c_n0_db_hz(
        self, range_m: ArrayLike, elevation_deg: ArrayLike = 90.0, fade_db: Fade = 0.0
    ) -> Array:
        """Photons a second, in decibels, less the loss of implementation."""
        received = self.received_dbw(range_m, elevation_deg, fade_db)
        found: Array = received - self.photon_dbj - self.implementation_loss_db
        return found

    def _air_db(self, elevation_deg: ArrayLike) -> Array:
        if self.path == "space":
            return np.zeros(())
        return self.zenith_loss_db * air_mass(elevation_deg)

    def terms(
        self, range_m: float, elevation_deg: float = 90.0, fade_db: float = 0.0
    ) -> list[Term]:
        """Every term of the budget; the last lines are the fastest mode that closes."""
        spread = 20.0 * math.log10(4.0 * math.pi * range_m / self.wavelength_m)
        beam = self.transmit_aperture_m
        sender = f"{beam:g} m" if beam is not None else f"{1e6 * (self.divergence_rad or 0):g} urad"
        jitter = f"{1e6 * self.pointing_jitter_rad:g} urad rms a axis"
        received = float(self.received_dbw(range_m, elevation_deg, fade_db))
        c_n0 = float(self.c_n0_db_hz(range_m, elevation_deg, fade_db))
        return [
            Term("wavelength", self.wavelength_m * 1e9, "nm", "given", False),
            Term("power", 10.0 * math.log10(self.power_w), "dBW", f"{self.power_w:g} W", True),
            Term("optics, sender", 0.0 - self.transmit_loss_db, "dB", "given", True),
            Term("beam, sender", self.transmit_gain_db, "dBi", sender, True),
            Term("pointing, mean", 0.0 - self.pointing_loss_db, "dB", jitter, True),
            Term("distance", range_m / 1e3, "km", "given", False),
            Term("free space", 0.0 - spread, "dB", "20 log10(4 pi d / lambda)", True),
            Term("clear air", 0.0 - float(self._air_db(elevation_deg)), "dB", self._air(), True),
            Term("cloud and fading", 0.0 - fade_db, "dB", "given", True),
            Term("other losses", 0.0 - self.other_loss_db, "dB", "given", True),
            Term("aperture, receiver", self.receive_gain_db, "dBi", self._aperture(), True),
            Term("optics, receiver", 0.0 - self.receive_loss_db, "dB", "given", True),
            Term("received", received + 30.0, "dBm", "sum", False),
            Term("photons a joule", 0.0 - self.photon_dbj, "dBHz/W", "h c / lambda", True),
            Term("implementation", 0.0 - self.implementation_loss_db, "dB", "given", True),
            Term("photons a second", c_n0, "dBHz", "sum", False),
            *mode_terms(self.waveforms, c_n0, self.acm.margin_db),
        ]

    def _air(self) -> str:
        if self.path == "space":
            return "none between spacecraft"
        return f"{self.zenith_loss_db:g} dB towards the zenith"

    def _aperture(self) -> str:
        return f"{self.receive_aperture_m:g} m, {self.obscuration:.0%} obscured"


@lru_cache(maxsize=256)
def _waveforms(modes: tuple[OpticalMode, ...]) -> tuple[Waveform, ...]:
    return ladder(
        [
            Waveform(
                name=one.name or f"{one.rate_bps / 1e9:g} Gbit/s",
                rate_bps=one.rate_bps,
                c_n0_db_hz=10.0 * math.log10(one.photons_per_bit * one.rate_bps),
                symbol_rate_hz=one.rate_bps,
                coded_rate_bps=one.rate_bps,
                frame_bits=one.frame_bits,
                curve=Detector(
                    photons_db=10.0 * math.log10(one.photons_per_bit),
                    bit_error_rate=one.bit_error_rate,
                    exponent=one.exponent,
                    frame_bits=one.frame_bits,
                ),
            )
            for one in modes
        ]
    )
