"""Makes an attenuation table of a site from the ITU-R models, once.

    python -m link_models.budget.make_table NAME LATITUDE LONGITUDE ALTITUDE_M > name.toml

It needs the extra ``itur`` (``pip install 'orbitferry[itur]'``); reading the tables does not.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stack.core.extras import require

FREQUENCIES_GHZ: Final = (2.2, 7.2, 8.2, 20.0, 26.0, 30.0)
"""S band; X band up and down; Ka band down, near-Earth down and up (ITU Radio Regulations, art. 5:
2,025-2,290 MHz, 7,190-7,250 MHz, 8,025-8,400 MHz, 17.7-21.2, 25.5-27.0 and 27.5-31.0 GHz)."""

ELEVATIONS_DEG: Final = (5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0)
"""ITU-R P.618-13 holds from 5 degrees."""

PERCENT: Final = (
    *(0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0),
    *(10.0, 20.0, 30.0, 50.0, 70.0, 90.0, 99.0),
)
"""Shares of an average year."""

ANTENNA_M: Final = 5.0
"""Aperture that averages scintillation.  A common size; it matters little (ITU-R P.618-13 §2.4.1).
"""

EFFICIENCY: Final = 0.6
"""Of the aperture."""

SCINTILLATION_PERCENT_MAX: Final = 50.0
"""ITU-R P.618-13 §2.4.1 gives the depth of fades up to here, where it is nothing any more."""


def make_table(name: str, latitude_deg: float, longitude_deg: float, altitude_m: float) -> str:
    """The text of a table.

    Gases by P.676-12, rain by P.618-13 (it stops at the share of the year in which it rains,
    P.837-7), clouds by P.840-7, scintillation by P.618-13, put together by P.618-13 §2.5.

    Raises `MissingExtraError` when the extra is not installed.
    """
    require("itur")
    import itur

    place = (latitude_deg, longitude_deg)
    lines = [
        "# Attenuation exceeded in an average year, dB.  Rows go with elevation_deg, columns with",
        "# percent.  gas_db is that of the gases alone, at half of the time.",
        f'site = "{name}"',
        f"latitude_deg = {latitude_deg}",
        f"longitude_deg = {longitude_deg}",
        f"altitude_m = {altitude_m}",
        f'source = """ITU-R P.618-13, P.676-12, P.837-7, P.838-3, P.839-4, P.840-7 and P.836-6 as '
        f"computed by itur {itur.__version__}: circular polarisation, {ANTENNA_M:g} m antenna, "
        f'rain rate {_rain_rate(place):.1f} mm/h exceeded for 0.01 % of the year"""',
        f"percent = {_row(PERCENT)}",
        f"elevation_deg = {_row(ELEVATIONS_DEG)}",
    ]
    for frequency_ghz in FREQUENCIES_GHZ:
        gas, total = _attenuation(place, altitude_m / 1000.0, frequency_ghz)
        lines += ["", "[[bands]]", f"frequency_ghz = {frequency_ghz}", f"gas_db = {_row(gas)}"]
        lines += ["total_db = [", *(f"    {_row(row)}," for row in total), "]"]
    return "\n".join(lines) + "\n"


def _rain_rate(place: tuple[float, float]) -> float:
    from itur.models import itu837

    return float(itu837.rainfall_rate(*place, 0.01).value)


def _attenuation(
    place: tuple[float, float], altitude_km: float, frequency_ghz: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Gases at half of the time, by elevation; and everything, by elevation and percent."""
    import itur
    from itur.models import itu837

    rains_percent = float(itu837.rainfall_probability(*place).value)
    elevations = np.array(ELEVATIONS_DEG)
    columns = []
    gas_median = np.zeros_like(elevations)
    for percent in PERCENT:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rain above 5 % is wanted, see `make_table`
            parts = itur.atmospheric_attenuation_slant_path(
                *place,
                frequency_ghz,
                elevations,
                percent,
                ANTENNA_M,
                hs=altitude_km,
                eta=EFFICIENCY,
                return_contributions=True,
            )
        gas, cloud, rain, scintillation, _ = (np.asarray(part.value) for part in parts)
        if percent > rains_percent:
            rain = np.zeros_like(rain)
        if percent > SCINTILLATION_PERCENT_MAX:
            scintillation = np.zeros_like(scintillation)
        if percent == 50.0:
            gas_median = gas
        columns.append(gas + np.hypot(rain + cloud, scintillation))  # P.618-13 §2.5 (64)
    total = np.stack(columns, axis=1)
    # What is rarer is not weaker, and a lower satellite is not seen through less.  The models, put
    # together, break this: by some hundredths of a decibel mostly, but in the tropics the rain
    # model gives the zenith up to a third more than 60 degrees.  The larger value is taken.
    total = np.maximum.accumulate(total[:, ::-1], axis=1)[:, ::-1]
    return gas_median, np.maximum.accumulate(total[::-1], axis=0)[::-1]


def _row(values: Sequence[float] | NDArray[Any]) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"


def main(arguments: Sequence[str]) -> None:
    """Print the table of a site."""
    if len(arguments) != 4:
        raise SystemExit(__doc__)
    name, *numbers = arguments
    sys.stdout.write(make_table(name, *(float(number) for number in numbers)))


if __name__ == "__main__":
    main(sys.argv[1:])
