"""Radio links, every term of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import ArrayLike, NDArray

from link_models.budget.modcod import modcods
from link_models.budget.rates import air_mass
from link_models.budget.series import (
    Acm,
    Fade,
    LinkBudget,
    ModemMode,
    Term,
    Waveform,
    fade_of,
    ladder,
    plain_waveform,
)
from link_models.budget.tables import tables
from stack.core.bounds import Decibels, Share
from stack.core.checks import check, check_bounds
from stack.core.errors import ConfigError

Array = NDArray[Any]

BOLTZMANN_DBW_K_HZ: Final = -228.599
"""Boltzmann's constant, 1.380649e-23 J/K (SI, exact), in decibels."""

LIGHT_M_S: Final = 299_792_458.0
"""Speed of light in vacuum (SI, exact)."""

AIR_K: Final = 275.0
"""Mean radiating temperature of the air, clouds and rain (ITU-R P.618-13 §3)."""

BEAMWIDTH_DEG: Final = 70.0
"""Half-power beamwidth of a dish: this times wavelength over diameter (Maral and Bousquet,
Satellite Communications Systems, §5.2.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Antenna:
    """An antenna, by its gain or by its size."""

    gain_dbi: Annotated[float, Meta(ge=-60, le=120)] | None = None
    """Gain at the centre of the beam, where it is known."""

    diameter_m: Annotated[float, Meta(ge=0.001, le=1000)] | None = None
    """Diameter of a dish; gives the gain where it is not known."""

    efficiency: Annotated[float, Meta(ge=0.001, le=1)] = 0.6
    """Of the aperture.  Default: 0.6, common for dishes (0.55 to 0.7)."""

    pointing_error_deg: Annotated[float, Meta(ge=0, le=90)] = 0.0
    """Angle between the centre of the beam and the other end."""

    def __post_init__(self) -> None:
        check_bounds(self)

    def gain_at(self, frequency_hz: float) -> float:
        """Gain at the centre of the beam, dBi.  Raises `ConfigError` when nothing says it."""
        if self.gain_dbi is not None:
            return self.gain_dbi
        if self.diameter_m is None:
            raise ConfigError("gain_dbi", "an antenna has a gain or a diameter")
        aperture = math.pi * self.diameter_m * frequency_hz / LIGHT_M_S
        return _db(self.efficiency * aperture * aperture)

    def beamwidth_deg(self, frequency_hz: float) -> float:
        """Half-power beamwidth of the dish, or of a dish of the same gain."""
        wavelengths = self.diameter_m and self.diameter_m * frequency_hz / LIGHT_M_S
        if not wavelengths:
            gain = 10.0 ** (self.gain_at(frequency_hz) / 10.0)
            wavelengths = math.sqrt(gain / self.efficiency) / math.pi
        return min(360.0, BEAMWIDTH_DEG / wavelengths)

    def pointing_loss_db(self, frequency_hz: float) -> float:
        """Loss by the pointing error: 12 dB times its square in beamwidths (Maral and Bousquet,
        equation 5.18)."""
        if self.pointing_error_deg == 0.0:
            return 0.0
        return 12.0 * (self.pointing_error_deg / self.beamwidth_deg(frequency_hz)) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TransmitAntenna(Antenna):
    """The sending end: an EIRP, or a power and an antenna."""

    power_w: Annotated[float, Meta(ge=1e-9, le=1e7)] = 1.0
    """Into the feeder."""

    feeder_loss_db: Annotated[float, Meta(ge=0, le=60)] = 0.0
    """Between amplifier and antenna."""

    eirp_dbw: Annotated[float, Meta(ge=-200, le=200)] | None = None
    """Instead of power, feeder and gain."""

    def __post_init__(self) -> None:
        Antenna.__post_init__(self)
        known = self.eirp_dbw is not None or self.gain_dbi is not None
        check("eirp_dbw", known or self.diameter_m is not None, "or a gain, or a diameter")

    def eirp_at(self, frequency_hz: float) -> float:
        """Equivalent isotropically radiated power, dBW."""
        if self.eirp_dbw is not None:
            return self.eirp_dbw
        return _db(self.power_w) - self.feeder_loss_db + self.gain_at(frequency_hz)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveAntenna(Antenna):
    """The receiving end: a G/T, or an antenna and a noise temperature."""

    noise_k: Annotated[float, Meta(ge=0.1, le=1e6)] | None = None
    """Noise temperature of the system under clear sky, at the antenna's port.  With a `g_over_t`
    it lets the noise of rain be counted too; without it a G/T stays as it is."""

    g_over_t_db_k: Annotated[float, Meta(ge=-200, le=200)] | None = None
    """Instead of the gain."""

    def __post_init__(self) -> None:
        Antenna.__post_init__(self)
        antenna = self.gain_dbi is not None or self.diameter_m is not None
        whole = self.g_over_t_db_k is not None or (antenna and self.noise_k is not None)
        check("g_over_t_db_k", whole, "or noise_k with a gain or a diameter")

    def g_over_t_at(self, frequency_hz: float) -> float:
        """Gain over noise temperature under clear sky, dB/K."""
        if self.g_over_t_db_k is not None:
            return self.g_over_t_db_k
        assert self.noise_k is not None, "checked when it was made"
        return self.gain_at(frequency_hz) - _db(self.noise_k)


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioLink(LinkBudget):
    """One direction of a radio link."""

    frequency_hz: Annotated[float, Meta(ge=1e7, le=1e12)]
    """Carrier."""

    transmit: TransmitAntenna
    receive: ReceiveAntenna

    modes: tuple[str | ModemMode, ...]
    """What the modem can do: names or patterns (docs/link-budget.md has the families), or rates
    with the C/N0 that they need.  The fastest that closes is used."""

    symbol_rate_hz: Annotated[float, Meta(ge=0, le=1e11)] = 0.0
    """Symbols a second; needed for modes that are named."""

    roll_off: Share = 0.2
    """Of the pulse: the band is (1 + this) times the symbol rate.  Default: 0.2, the narrowest of
    DVB-S2 (EN 302 307-1 §5.6)."""

    path: Literal["down", "up", "space"] = "down"
    """Through the air down to a station, up from one, or between spacecraft.  Only a station that
    looks up receives more noise when the air attenuates; a satellite sees the warm Earth anyway."""

    zenith_gas_db: Decibels | None = None
    """Attenuation of clear air towards the zenith.  Default: after the frequency, from sea level
    (`tables.toml`).  0 leaves it out."""

    polarisation_loss_db: Decibels = 0.5
    """Default: 0.5 dB, two circular antennas of 3 dB axial ratio each at their worst."""

    other_loss_db: Decibels = 0.0
    """Whatever else there is on the way."""

    implementation_loss_db: Decibels = 1.0
    """Modem against its theory.  Default: 1 dB, of good modems up to 8PSK; 1.5 to 2 dB for APSK
    at high symbol rates."""

    acm: Acm = field(default_factory=Acm)
    """How the mode is chosen, and the margin kept."""

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.zenith_gas_db is None and self.path != "space":
            most = tables().zenith_gas_db[-1][0] * 1e9
            check("zenith_gas_db", self.frequency_hz <= most, "must be given above 50 GHz")
        _ = self.waveforms

    @property
    def waveforms(self) -> tuple[Waveform, ...]:
        """The modes worth using, from the most robust to the fastest."""
        return _waveforms(self.modes, self.symbol_rate_hz)

    @property
    def bandwidth_hz(self) -> float:
        """Band that the signal takes."""
        return self.symbol_rate_hz * (1.0 + self.roll_off)

    @property
    def gas_db(self) -> float:
        """Attenuation of clear air towards the zenith."""
        if self.path == "space":
            return 0.0
        if self.zenith_gas_db is not None:
            return self.zenith_gas_db
        ghz, decibels = zip(*tables().zenith_gas_db, strict=True)
        return float(np.interp(self.frequency_hz / 1e9, ghz, decibels))

    def with_gas(self, zenith_gas_db: float) -> RadioLink:
        """The same link under other air, such as that of a site."""
        return replace(self, zenith_gas_db=zenith_gas_db)

    def c_n0_db_hz(
        self, range_m: ArrayLike, elevation_deg: ArrayLike = 90.0, fade_db: Fade = 0.0
    ) -> Array:
        """Carrier to noise density at a distance, all losses counted but no margin."""
        gas = self.gas_db * air_mass(elevation_deg) if self.gas_db else np.zeros(())
        fade = fade_of(fade_db, elevation_deg)
        fixed = (
            self.transmit.eirp_at(self.frequency_hz)
            - self._fixed_losses_db()
            + self.receive.g_over_t_at(self.frequency_hz)
            - BOLTZMANN_DBW_K_HZ
        )
        distance = np.asarray(range_m, dtype=float)
        spread = 20.0 * np.log10(4.0 * math.pi * self.frequency_hz / LIGHT_M_S * distance)
        found: Array = fixed - spread - gas - fade - self._noise_rise_db(gas + fade)
        return found

    def range_max_m(self, c_n0_db_hz: float) -> float:
        """The distance, straight up, at which a C/N0 is just had with the margin in hand."""
        spare_db = self.c_n0_db_hz(1.0) - self.acm.margin_db - c_n0_db_hz
        return float(10.0 ** (spare_db / 20.0))

    def _fixed_losses_db(self) -> float:
        return (
            self.transmit.pointing_loss_db(self.frequency_hz)
            + self.receive.pointing_loss_db(self.frequency_hz)
            + self.polarisation_loss_db
            + self.other_loss_db
            + self.implementation_loss_db
        )

    def _noise_rise_db(self, attenuation_db: Array) -> Array:
        """By how much the air's own noise raises that of the system (ITU-R P.618-13 §3)."""
        if self.path != "down" or self.receive.noise_k is None:
            return np.zeros(())
        added_k = AIR_K * -np.expm1(-attenuation_db * (math.log(10.0) / 10.0))
        found: Array = 10.0 * np.log10(1.0 + added_k / self.receive.noise_k)
        return found

    def terms(
        self, range_m: float, elevation_deg: float = 90.0, fade_db: float = 0.0
    ) -> list[Term]:
        """Every term of the budget; the last lines are the fastest mode that closes."""
        hz = self.frequency_hz
        gas = self.gas_db * float(air_mass(elevation_deg))
        spread = 20.0 * math.log10(4.0 * math.pi * hz / LIGHT_M_S * range_m)
        rise = float(self._noise_rise_db(np.asarray(gas + fade_db)))
        lines = [
            Term("carrier", hz / 1e9, "GHz", "given", False),
            *self._sender_terms(),
            Term("distance", range_m / 1e3, "km", "given", False),
            Term("free space", 0.0 - spread, "dB", "20 log10(4 pi d f / c)", True),
            Term("gases", 0.0 - gas, "dB", self._gas_source(), True),
            Term("rain, cloud, scintillation", 0.0 - fade_db, "dB", "beyond clear air", True),
            Term("polarisation", 0.0 - self.polarisation_loss_db, "dB", "given", True),
            Term("other losses", 0.0 - self.other_loss_db, "dB", "given", True),
            *self._receiver_terms(),
            Term("noise of the air", 0.0 - rise, "dB", "ITU-R P.618-13 §3, 275 K", True),
            Term("Boltzmann's constant", 0.0 - BOLTZMANN_DBW_K_HZ, "dBHzK/W", "SI", True),
            Term("implementation", 0.0 - self.implementation_loss_db, "dB", "given", True),
        ]
        c_n0 = float(self.c_n0_db_hz(range_m, elevation_deg, fade_db))
        closing = mode_terms(self.waveforms, c_n0, self.acm.margin_db)
        return [*lines, Term("C/N0", c_n0, "dBHz", "sum", False), *closing]

    def _sender_terms(self) -> list[Term]:
        end, hz = self.transmit, self.frequency_hz
        pointing = Term("pointing, sender", 0.0 - end.pointing_loss_db(hz), "dB", _POINTING, True)
        if end.eirp_dbw is not None:
            return [Term("EIRP", end.eirp_dbw, "dBW", "given", True), pointing]
        source = "given" if end.gain_dbi is not None else _dish(end)
        return [
            Term("power", _db(end.power_w), "dBW", f"{end.power_w:g} W", True),
            Term("feeder, sender", 0.0 - end.feeder_loss_db, "dB", "given", True),
            Term("antenna, sender", end.gain_at(hz), "dBi", source, True),
            Term("EIRP", end.eirp_at(hz), "dBW", "sum", False),
            pointing,
        ]

    def _receiver_terms(self) -> list[Term]:
        end, hz = self.receive, self.frequency_hz
        pointing = Term("pointing, receiver", 0.0 - end.pointing_loss_db(hz), "dB", _POINTING, True)
        if end.g_over_t_db_k is not None:
            return [pointing, Term("G/T", end.g_over_t_db_k, "dB/K", "given", True)]
        assert end.noise_k is not None, "checked when it was made"
        source = "given" if end.gain_dbi is not None else _dish(end)
        return [
            pointing,
            Term("antenna, receiver", end.gain_at(hz), "dBi", source, True),
            Term("system noise", 0.0 - _db(end.noise_k), "dB/K", f"{end.noise_k:g} K", True),
            Term("G/T", end.g_over_t_at(hz), "dB/K", "sum, clear sky", False),
        ]

    def _gas_source(self) -> str:
        if self.path == "space":
            return "none between spacecraft"
        return "given" if self.zenith_gas_db is not None else "ITU-R P.676-12, by elevation"


_POINTING: Final = "12 (error / beamwidth)^2"


def mode_terms(waveforms: tuple[Waveform, ...], c_n0_db_hz: float, margin_db: float) -> list[Term]:
    """The fastest mode that closes, or what the most robust one lacks."""
    fitting = [one for one in waveforms if one.c_n0_db_hz + margin_db <= c_n0_db_hz]
    used = fitting[-1] if fitting else waveforms[0]
    spare = c_n0_db_hz - used.c_n0_db_hz - margin_db
    return [
        Term("C/N0 needed", used.c_n0_db_hz, "dBHz", used.name, False),
        Term("margin kept", margin_db, "dB", "acm", False),
        Term("left over", spare, "dB", "closes" if fitting else "does not close", False),
        Term("rate", used.rate_bps / 1e6 if fitting else 0.0, "Mbit/s", used.name, False),
    ]


@lru_cache(maxsize=256)
def _waveforms(modes: tuple[str | ModemMode, ...], symbol_rate_hz: float) -> tuple[Waveform, ...]:
    names = tuple(one for one in modes if isinstance(one, str))
    if names and symbol_rate_hz <= 0.0:
        raise ConfigError("symbol_rate_hz", "named modes need it", "symbols a second")
    symbols_db = _db(symbol_rate_hz) if names else 0.0
    named = [
        Waveform(
            name=one.name,
            rate_bps=symbol_rate_hz * one.efficiency,
            c_n0_db_hz=symbols_db + one.es_n0_db,
            symbol_rate_hz=symbol_rate_hz,
            coded_rate_bps=symbol_rate_hz * one.code_bits,
            frame_bits=one.frame_bits,
            curve=one.curve,
        )
        for one in (modcods(*names) if names else ())
    ]
    return ladder([*named, *(plain_waveform(one) for one in modes if isinstance(one, ModemMode))])


def _dish(end: Antenna) -> str:
    return f"{end.diameter_m:g} m at {end.efficiency:.0%}"


def _db(ratio: float) -> float:
    return 10.0 * math.log10(ratio)
