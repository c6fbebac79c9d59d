"""What the weather of a site takes from a radio link, and how often.

A site's file (in `link_models/budget/site_data`) lists the attenuation that is exceeded for a
share of an average year, by band and elevation.  Forward it says which fade to plan for; backward,
how probable it is that a link closes.  `link_models.budget.make_table` makes such files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from link_models.budget.rates import air_mass
from link_models.budget.series import LinkBudget
from stack.core import toml
from stack.core.errors import ConfigError

Array = NDArray[Any]

SITE_BYTES_MAX: Final = 1024 * 1024
"""A file larger than this is something else; ours have 10 KB."""

FREQUENCY_APART: Final = 0.075
"""A band serves this share above and below its frequency; attenuation then errs by 15 % at most,
as it goes about with the square of the frequency."""

ELEVATION_MIN_DEG: Final = 1.0
"""Below the lowest row the table goes on with the air's thickness down to here.  The ITU-R models
themselves begin at 5 degrees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The attenuation in one band."""

    frequency_ghz: float
    gas_db: tuple[float, ...]
    """Of the gases alone, at half of the time, by elevation."""

    total_db: tuple[tuple[float, ...], ...]
    """Of everything: a row for each elevation, in it a value for each share of the year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The attenuation at a place."""

    site: str
    latitude_deg: float
    longitude_deg: float
    altitude_m: float
    source: str
    percent: tuple[float, ...]
    elevation_deg: tuple[float, ...]
    bands: tuple[Band, ...]

    def __post_init__(self) -> None:
        percent, elevation = np.array(self.percent), np.array(self.elevation_deg)
        rising = len(percent) >= 2 and bool(np.all(np.diff(percent) > 0))
        _check("percent", rising and percent[0] > 0 and percent[-1] < 100, "rise within 0 to 100")
        rising = len(elevation) >= 2 and bool(np.all(np.diff(elevation) > 0))
        _check("elevation_deg", rising and elevation[0] > 0 and elevation[-1] <= 90, "rise to 90")
        _check("bands", bool(self.bands), "there is one at least")
        for band in self.bands:
            rows = {len(row) for row in band.total_db} == {len(percent)}
            fits = rows and len(band.total_db) == len(band.gas_db) == len(elevation)
            _check("total_db", fits, "has a row for each elevation, with a value for each share")
            total, gas = np.array(band.total_db), np.array(band.gas_db)
            _check("total_db", bool(np.all(np.isfinite(total)) and np.all(total > 0)), "above 0")
            _check("gas_db", bool(np.all(np.isfinite(gas)) and np.all(gas > 0)), "above 0")
            _check("total_db", bool(np.all(np.diff(total, axis=1) <= 0)), "falls with percent")
            _check("total_db", bool(np.all(np.diff(total, axis=0) <= 0)), "falls with elevation")

    def table(self, frequency_hz: float) -> AttenuationTable:
        """The table for a carrier.

        Raises `ConfigError` when no band is within `FREQUENCY_APART`.
        """
        band = min(self.bands, key=lambda one: abs(one.frequency_ghz * 1e9 - frequency_hz))
        if abs(band.frequency_ghz * 1e9 - frequency_hz) > FREQUENCY_APART * frequency_hz:
            known = ", ".join(f"{one.frequency_ghz:g}" for one in self.bands)
            raise ConfigError(
                "frequency_hz",
                f"{frequency_hz / 1e9:g} GHz is none of the bands of {self.site}: {known} GHz",
                "make a table with link_models.budget.make_table",
            )
        return AttenuationTable(self, band)


class AttenuationTable:
    """Attenuation at a site in a band, both ways round.

    Between its points it goes by the logarithms of attenuation and of the air's thickness, and by
    the log-odds of the share of time (its logarithm, where it is small).
    """

    def __init__(self, site: Site, band: Band) -> None:
        self.site = site
        self.frequency_hz = band.frequency_ghz * 1e9
        order = slice(None, None, -1)  # the air's thickness must rise
        self._air = np.log(air_mass(site.elevation_deg))[order]
        self._gas = np.log(band.gas_db)[order]
        self._total = np.log(band.total_db)[order]
        self._odds = _log_odds(np.array(site.percent))

    @property
    def zenith_gas_db(self) -> float:
        """Of clear air, for `RadioLink.zenith_gas_db`."""
        return float(np.exp(self._gas[0]))

    def total_db(self, elevation_deg: ArrayLike, availability_percent: float) -> Array:
        """Attenuation that is not exceeded for this share of the year, clear air included.

        Raises `ConfigError` for a share that the table does not reach.
        """
        exceeded = 100.0 - availability_percent
        least, most = self.site.percent[0], self.site.percent[-1]
        if not least - 1e-9 <= exceeded <= most + 1e-9:
            raise ConfigError(
                "availability",
                f"{availability_percent:g} % is not known for {self.site.site}",
                f"{100.0 - most:g} to {100.0 - least:g} %",
            )
        at = _log_odds(np.array(min(max(exceeded, least), most)))
        rows = np.array([np.interp(at, self._odds, row) for row in self._total])
        found: Array = np.exp(self._by_air(rows, elevation_deg))
        return found

    def gas_db(self, elevation_deg: ArrayLike) -> Array:
        """Attenuation of clear air."""
        found: Array = np.exp(self._by_air(self._gas, elevation_deg))
        return found

    def fade_db(self, elevation_deg: ArrayLike, availability_percent: float) -> Array:
        """The same as `total_db` beyond clear air: what a link takes as `fade_db`."""
        total = self.total_db(elevation_deg, availability_percent)
        found: Array = np.maximum(total - self.gas_db(elevation_deg), 0.0)
        return found

    def at(self, availability_percent: float) -> Callable[[Array], Array]:
        """The fade by elevation, for `LinkBudget.series` and `LinkBudget.rate_table`."""
        return lambda elevation_deg: self.fade_db(elevation_deg, availability_percent)

    def exceeded(self, elevation_deg: ArrayLike, fade_db: ArrayLike) -> Array:
        """The probability, 0 to 1, that the weather takes more than this beyond clear air.

        It is at least that of the rarest share in the table, and 1 for less than what is nearly
        always taken.
        """
        elevation, fade = np.broadcast_arrays(
            np.asarray(elevation_deg, dtype=float), np.asarray(fade_db, dtype=float)
        )
        allowed = np.log(np.maximum(self.gas_db(elevation) + fade, 1e-300)).ravel()
        total = np.stack([self._by_air(column, elevation.ravel()) for column in self._total.T])
        above = (total > allowed).sum(axis=0)  # the shares for which more is taken
        last = len(self._odds) - 1
        low = np.clip(above - 1, 0, last - 1)
        moment = np.arange(len(allowed))
        strong, weak = total[low, moment], total[low + 1, moment]
        part = np.clip((strong - allowed) / np.maximum(strong - weak, 1e-12), 0.0, 1.0)
        odds = self._odds[low] + part * (self._odds[low + 1] - self._odds[low])
        share = np.where(above == 0, self.site.percent[0] / 100.0, 1.0 / (1.0 + np.exp(-odds)))
        return np.where(above > last, 1.0, share).reshape(elevation.shape)

    def _by_air(self, values: Array, elevation_deg: ArrayLike) -> Array:
        """Along the logarithm of the air's thickness, straight on beyond the lowest row."""
        at = np.log(air_mass(np.maximum(elevation_deg, ELEVATION_MIN_DEG)))
        inside = np.interp(at, self._air, values)
        slope = (values[-1] - values[-2]) / (self._air[-1] - self._air[-2])
        found: Array = inside + slope * np.maximum(at - self._air[-1], 0.0)
        return found


def sites() -> tuple[str, ...]:
    """Names of the ready sites."""
    folder = files("link_models.budget.site_data")
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name[:-5] for name in names if name.endswith(".toml")))


def load_site(name: str | Path) -> Site:
    """A ready site by name, or one from a file.

    Raises `ConfigError` when there is none, or it is not in order.
    """
    if isinstance(name, str) and name in sites():
        text = (files("link_models.budget.site_data") / f"{name}.toml").read_text(encoding="utf-8")
        return parse_site(text, name)
    if not Path(name).is_file():
        raise ConfigError(
            "site", f"{str(name)!r} is unknown", f"a file, or one of {', '.join(sites())}"
        )
    return toml.load(Path(name), _site, what="a site's attenuation", bytes_max=SITE_BYTES_MAX)


def parse_site(text: str, name: str = "site") -> Site:
    """A site from the text of a file.  Raises `ConfigError`."""
    return toml.parsed(text, _site, name)


def _site(data: dict[str, Any]) -> Site:
    return toml.convert(data, Site)


def confidence(
    link: LinkBudget,
    table: AttenuationTable,
    range_m: ArrayLike,
    elevation_deg: ArrayLike,
    rate_bps: float = 0.0,
) -> Array:
    """The probability, 0 to 1, that weather lets the link carry at least a rate (or anything).

    Over an average year: a given pass has the weather of its day.  The margin of `acm` counts as
    there to be used up.
    """
    fitting = [one for one in link.waveforms if one.rate_bps >= rate_bps]
    if not fitting:
        return np.zeros(np.broadcast(range_m, elevation_deg).shape)
    spare = link.fade_margin_db(fitting[0].c_n0_db_hz, range_m, elevation_deg)
    closes = 1.0 - table.exceeded(elevation_deg, np.maximum(spare, 0.0))
    return np.where(spare < 0.0, 0.0, closes)


def expected_rate_bps(
    link: LinkBudget, table: AttenuationTable, range_m: ArrayLike, elevation_deg: ArrayLike
) -> Array:
    """The mean rate over an average year of a link that adapts, with the margin of `acm` kept."""
    found = np.zeros(np.broadcast(range_m, elevation_deg).shape)
    slower = 0.0
    for one in link.waveforms:
        need = one.c_n0_db_hz + link.acm.margin_db
        spare = link.fade_margin_db(need, range_m, elevation_deg)
        closes = 1.0 - table.exceeded(elevation_deg, np.maximum(spare, 0.0))
        found = found + (one.rate_bps - slower) * np.where(spare < 0.0, 0.0, closes)
        slower = one.rate_bps
    return found


def _log_odds(percent: Array) -> Array:
    found: Array = np.log(percent / (100.0 - percent))
    return found


def _check(key: str, right: bool, rule: str) -> None:
    if not right:
        raise ConfigError(key, rule)
