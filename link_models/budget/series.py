"""What a link does second by second: which mode it uses, how fast it is and what it loses."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, NamedTuple

import numpy as np
from msgspec import Meta
from numpy.typing import ArrayLike, NDArray

from link_models.budget.curves import Curve, Waterfall, any_of, error_rates
from link_models.budget.rates import RateTable, slant_ranges_m
from stack.core.checks import check_bounds
from stack.core.errors import ConfigError

Array = NDArray[Any]

Fade = ArrayLike | Callable[[Array], Array]
"""Attenuation beyond that of clear air, dB: one, one for each moment, or one for each elevation
(such as `AttenuationTable.at`)."""

FADE_DB_MAX: Final = 200.0
"""No fade is looked for beyond; a link with such a margin is not stopped by weather."""

SAMPLES_MAX: Final = 10_000_000
"""Most moments of a series: four months of seconds, and 700 MB."""

MODES_MAX: Final = 256
"""Most modes of a link; DVB-S2 and DVB-S2X together have 144 here."""

ELEVATION_MAX_DEG: Final = 89.9
"""Highest beginning of a step in a rate table."""


class Term(NamedTuple):
    """A line of a budget."""

    name: str
    value: float
    unit: str
    source: str
    """Where the value comes from."""

    adds: bool
    """Whether C/N0 is the sum of this and its like; the other lines inform or sum up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acm:
    """How a mode is chosen.

    With a single mode this only says how much margin is kept.
    """

    margin_db: Annotated[float, Meta(ge=0, le=60)] = 3.0
    """Kept between C/N0 and what the mode needs.  Default: 3 dB, the usual link margin of space
    agencies; adaptive links keep about 1 dB, as theirs is had by stepping down."""

    hysteresis_db: Annotated[float, Meta(ge=0, le=60)] = 0.0
    """A faster mode is taken only with this much more.  Default: none; 0.3 to 1 dB keeps a modem
    from swinging between two modes."""

    delay_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    """Age of the measurement on which the choice rests, seconds: light time there and back, and
    the report's.  Default: none, as a pass is predictable; it matters when fades are quick."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, slots=True)
class ModemMode:
    """A mode of a modem that the catalogue lacks: `rate_bps` of user data while C/N0 is at least
    `c_n0_db_hz`."""

    rate_bps: Annotated[float, Meta(ge=1, le=1e15)]
    """User data."""

    c_n0_db_hz: Annotated[float, Meta(ge=-100, le=300)]
    """Carrier to noise density that it needs, dBHz."""

    name: str = ""
    """In reports; default: the rate."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waveform:
    """A mode on the channel of one link."""

    name: str
    rate_bps: float
    """User data."""

    c_n0_db_hz: float
    """From here it is as good as error free."""

    symbol_rate_hz: float
    coded_rate_bps: float
    """User data within a coded frame: C/N0 less this, in decibels, is Eb/N0."""

    frame_bits: int
    curve: Curve

    def error_rates(self, c_n0_db_hz: ArrayLike) -> tuple[Array, Array]:
        """Rates of wrong bits and of lost frames."""
        eb_n0_db = np.asarray(c_n0_db_hz, dtype=float) - 10.0 * math.log10(self.coded_rate_bps)
        return error_rates(self.curve, eb_n0_db)


_PLAIN_FRAME_BITS: Final = 8920
_PLAIN_ERROR_RATE: Final = 1e-5
_PLAIN_WIDTH_DB: Final = 0.15
"""Of a `ModemMode`, about which no more is known: CCSDS frames, lost as by a code of 8,000 bits."""


def plain_waveform(mode: ModemMode) -> Waveform:
    """A mode of which only the rate and the need are known, with a typical waterfall."""
    eb_n0_db = mode.c_n0_db_hz - 10.0 * math.log10(mode.rate_bps)
    return Waveform(
        name=mode.name or f"{mode.rate_bps / 1e6:g} Mbit/s",
        rate_bps=mode.rate_bps,
        c_n0_db_hz=mode.c_n0_db_hz,
        symbol_rate_hz=mode.rate_bps,
        coded_rate_bps=mode.rate_bps,
        frame_bits=_PLAIN_FRAME_BITS,
        curve=Waterfall(eb_n0_db, _PLAIN_ERROR_RATE, _PLAIN_WIDTH_DB),
    )


def ladder(waveforms: Sequence[Waveform]) -> tuple[Waveform, ...]:
    """Those worth using, from the most robust to the fastest: each is faster than all that need
    less.

    Raises `ConfigError` when there are none or too many.
    """
    if not 0 < len(waveforms) <= MODES_MAX:
        raise ConfigError("modes", f"a link has 1 to {MODES_MAX} modes")
    found: list[Waveform] = []
    for one in sorted(waveforms, key=lambda one: (one.c_n0_db_hz, -one.rate_bps)):
        if not found or one.rate_bps > found[-1].rate_bps:
            found.append(one)
    return tuple(found)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LinkSeries:
    """A link moment by moment.  All arrays are of one length."""

    waveforms: tuple[Waveform, ...]
    """The modes, from the most robust to the fastest."""

    step_s: float
    c_n0_db_hz: Array
    """Carrier to noise density; of an optical link photons a second, in decibels."""

    es_n0_db: Array
    """Of the mode in use, or of the most robust one where none is."""

    eb_n0_db: Array
    """Of user bits in the same mode; of an optical link photons for each bit."""

    mode: Array
    """Place in `waveforms`; -1 where there is no link."""

    rate_bps: Array
    """User data sent, before losses; 0 where there is no link."""

    bit_error_rate: Array
    """After decoding; 0.5 where there is no link."""

    frame_error_rate: Array
    """Frames of `waveforms[mode].frame_bits`; 1 where there is no link."""

    margin_db: Array
    """C/N0 less what the mode in use needs (the most robust one, where none is).  Fading that is
    quicker than the steps goes on top of this."""

    def datagram_loss(self, octets: int) -> Array:
        """The share of datagrams of a size that is lost: those which touch a lost frame."""
        bits = np.array([one.frame_bits for one in self.waveforms], dtype=float)
        touched = 1.0 + (8.0 * octets - 1.0) / bits[np.maximum(self.mode, 0)]
        return np.where(self.mode < 0, 1.0, any_of(self.frame_error_rate, touched))


class LinkBudget(ABC):
    """One direction of a link, radio or optical."""

    __slots__ = ()

    acm: Acm

    @property
    @abstractmethod
    def waveforms(self) -> tuple[Waveform, ...]:
        """The modes worth using, from the most robust to the fastest."""

    @abstractmethod
    def c_n0_db_hz(
        self, range_m: ArrayLike, elevation_deg: ArrayLike = 90.0, fade_db: Fade = 0.0
    ) -> Array:
        """Carrier to noise density at a distance (optical: photons a second, in decibels).

        `elevation_deg` is how the station sees the satellite; it matters to the air only.
        """

    @abstractmethod
    def terms(
        self, range_m: float, elevation_deg: float = 90.0, fade_db: float = 0.0
    ) -> list[Term]:
        """Every term of the budget, for a review."""

    def series(
        self,
        range_m: ArrayLike,
        elevation_deg: ArrayLike = 90.0,
        fade_db: Fade = 0.0,
        *,
        step_s: float = 1.0,
        expected_fade_db: Fade | None = None,
    ) -> LinkSeries:
        """The link along one pass, in steps of `step_s`.

        With `expected_fade_db` the modes are those that were planned for that fade (constant or
        variable coding after a prediction); without it they follow the measured signal, `acm`
        late.  Before the first measurement arrives the most robust mode is used.

        Raises `ConfigError` for more than `SAMPLES_MAX` moments or a step that is not above 0.
        """
        if not 0.0 < step_s < math.inf:
            raise ConfigError("step_s", "is above 0")
        if max(np.size(range_m), np.size(elevation_deg)) > SAMPLES_MAX:
            raise ConfigError("range_m", f"at most {SAMPLES_MAX:,} moments")
        actual = np.atleast_1d(self.c_n0_db_hz(range_m, elevation_deg, fade_db))
        if expected_fade_db is None:
            mode = choose(self.waveforms, actual, self.acm, step_s)
        else:
            expected = self.c_n0_db_hz(range_m, elevation_deg, expected_fade_db)
            planned = replace(self.acm, hysteresis_db=0.0, delay_s=0.0)
            mode = choose(self.waveforms, np.broadcast_to(expected, actual.shape), planned)
        return _evaluated(self.waveforms, actual, mode, step_s)

    def rate_table(
        self, altitude_m: float, mask_deg: float = 5.0, fade_db: Fade = 0.0
    ) -> RateTable:
        """Rates by elevation for a circular orbit, with the margin of `acm`.

        Raises `ConfigError` when no mode closes even at the zenith.
        """
        waveforms = self.waveforms
        needs = np.array([one.c_n0_db_hz for one in waveforms]) + self.acm.margin_db

        def closes(elevation_deg: Array) -> Array:
            distance = slant_ranges_m(altitude_m, elevation_deg)
            return np.asarray(self.c_n0_db_hz(distance, elevation_deg, fade_db) >= needs)

        low = np.full(len(needs), float(mask_deg))
        high = np.full(len(needs), max(ELEVATION_MAX_DEG, mask_deg))
        at_mask, at_top = closes(low), closes(high)
        for _ in range(50):
            middle = 0.5 * (low + high)
            good = closes(middle)
            low, high = np.where(good, low, middle), np.where(good, middle, high)
        begins = np.where(at_mask, mask_deg, high)
        steps: dict[float, float] = {}
        for one, begin, usable in zip(waveforms, begins.tolist(), at_top.tolist(), strict=True):
            if usable:
                steps[begin] = one.rate_bps
        if not steps:
            raise ConfigError("modes", "no mode closes at the zenith", "more EIRP or lower rates")
        return RateTable(tuple(sorted(steps.items())))

    def fade_margin_db(
        self, need_db_hz: ArrayLike, range_m: ArrayLike, elevation_deg: ArrayLike = 90.0
    ) -> Array:
        """The fade that a C/N0 of `need_db_hz` survives, the noise that it brings included.

        Negative where clear air is already too much, by how many decibels; at most `FADE_DB_MAX`.
        """
        clear = self.c_n0_db_hz(range_m, elevation_deg) - np.asarray(need_db_hz, dtype=float)
        low, high = np.zeros_like(clear), np.full_like(clear, FADE_DB_MAX)
        for _ in range(40):
            middle = 0.5 * (low + high)
            good = self.c_n0_db_hz(range_m, elevation_deg, middle) >= need_db_hz
            low, high = np.where(good, middle, low), np.where(good, high, middle)
        found: Array = np.where(clear < 0.0, clear, low)
        return found


def choose(
    waveforms: Sequence[Waveform], measured_db_hz: Array, acm: Acm, step_s: float = 1.0
) -> Array:
    """The mode of each moment after the measurements so far; -1 for none."""
    late = round(acm.delay_s / step_s)
    needs = np.array([one.c_n0_db_hz for one in waveforms]) + acm.margin_db
    keep = np.searchsorted(needs, measured_db_hz, side="right") - 1
    mode = keep
    if acm.hysteresis_db > 0.0:
        rise = np.searchsorted(needs, measured_db_hz - acm.hysteresis_db, side="right") - 1
        mode = _held(keep, rise)
    if late > 0:
        start = np.zeros(min(late, len(mode)), dtype=mode.dtype)
        mode = np.concatenate([start, mode[: len(mode) - len(start)]])
    return mode.astype(np.int16)


def _held(keep: Array, rise: Array) -> Array:
    """Fall at once, rise only to what has the hysteresis in hand, else stay."""
    held = np.empty_like(keep)
    now = int(rise[0]) if len(rise) else -1
    for place, (most, least) in enumerate(zip(keep.tolist(), rise.tolist(), strict=True)):
        now = most if now > most else max(now, least)
        held[place] = now
    return held


def _evaluated(
    waveforms: tuple[Waveform, ...], c_n0_db_hz: Array, mode: Array, step_s: float
) -> LinkSeries:
    used = np.maximum(mode, 0)
    on = mode >= 0
    bits, frames = np.full(len(mode), 0.5), np.ones(len(mode))
    for place in np.unique(mode[on]).tolist():
        where = np.flatnonzero(mode == place)
        bits[where], frames[where] = waveforms[place].error_rates(c_n0_db_hz[where])

    def of(values: Sequence[float]) -> Array:
        return np.array(values, dtype=float)[used]

    return LinkSeries(
        waveforms=waveforms,
        step_s=step_s,
        c_n0_db_hz=c_n0_db_hz,
        es_n0_db=c_n0_db_hz - 10.0 * np.log10(of([one.symbol_rate_hz for one in waveforms])),
        eb_n0_db=c_n0_db_hz - 10.0 * np.log10(of([one.coded_rate_bps for one in waveforms])),
        mode=mode,
        rate_bps=np.where(on, of([one.rate_bps for one in waveforms]), 0.0),
        bit_error_rate=bits,
        frame_error_rate=frames,
        margin_db=c_n0_db_hz - of([one.c_n0_db_hz for one in waveforms]),
    )


def fade_of(fade_db: Fade, elevation_deg: ArrayLike) -> Array:
    """The fade at each elevation, whichever way it is given."""
    if callable(fade_db):
        return fade_db(np.asarray(elevation_deg, dtype=float))
    return np.asarray(fade_db, dtype=float)
