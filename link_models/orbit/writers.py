"""Elements of satellites as text: TLE, or OMM as JSON.  What is written reads back."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterable

from link_models.orbit.mean_elements import ALPHA5_ID_MAX, NAME_CHARS_MAX, SGP4_EPOCH_DAY, Satellite
from link_models.orbit.tle import ALPHA5_LETTERS, tle_checksum
from stack.core.errors import ConfigError

_REV_DAY = 1440.0 / (2.0 * math.pi)  # of a radian a minute
_JD_SGP4_EPOCH = 2_433_281.5


def write_tle(satellites: Iterable[Satellite]) -> str:
    """Three-line sets.  A TLE rounds: positions differ by some 10 m, the epoch by 0.4 ms.

    Raises `ConfigError` for a catalogue number above 339,999, a year outside 1957 to 2056, a name
    with control characters, or elements too large for their columns.
    """
    return "".join(_tle(one) for one in satellites)


def write_omm_json(satellites: Iterable[Satellite]) -> str:
    """OMMs (CCSDS 502.0-B-3 §4) as a JSON list: positions differ by some millimetres.

    Raises `ConfigError` for a name with control characters.
    """
    return json.dumps([_omm(one) for one in satellites], indent=1, ensure_ascii=False) + "\n"


def _omm(satellite: Satellite) -> dict[str, str | int | float]:
    satrec = satellite.satrec
    return {
        "OBJECT_NAME": _name(satellite),
        "OBJECT_ID": "",
        "CENTER_NAME": "EARTH",
        "REF_FRAME": "TEME",
        "TIME_SYSTEM": "UTC",
        "MEAN_ELEMENT_THEORY": "SGP4",
        "EPOCH": _epoch(satellite).isoformat(timespec="microseconds"),
        "MEAN_MOTION": satrec.no_kozai * _REV_DAY,
        "ECCENTRICITY": satrec.ecco,
        "INCLINATION": math.degrees(satrec.inclo),
        "RA_OF_ASC_NODE": math.degrees(satrec.nodeo),
        "ARG_OF_PERICENTER": math.degrees(satrec.argpo),
        "MEAN_ANOMALY": math.degrees(satrec.mo),
        "EPHEMERIS_TYPE": 0,
        "NORAD_CAT_ID": satellite.catalogue_id,
        "BSTAR": satrec.bstar,
        "MEAN_MOTION_DOT": satrec.ndot * _REV_DAY * 1440.0,
        "MEAN_MOTION_DDOT": satrec.nddot * _REV_DAY * 1440.0**2,
    }


def _tle(satellite: Satellite) -> str:
    satrec, name = satellite.satrec, _name(satellite)
    # A name that looks like something else is marked as line 0.
    mark = "0 " if name[:2] in ("0 ", "1 ", "2 ") or name[0] in "#<[{" else ""
    number = _alpha5(satellite)
    dot = f"{satrec.ndot * _REV_DAY * 1440.0:+.8f}".replace("+0", " ").replace("-0", "-")
    first = (
        f"1 {number}U          {_tle_epoch(satellite)} {dot} "
        f"{_implied(satrec.nddot * _REV_DAY * 1440.0**2)} {_implied(satrec.bstar)} 0  999"
    )
    eccentricity = f"{satrec.ecco:.7f}"
    second = (
        f"2 {number} {_angle(satrec.inclo)} {_angle(satrec.nodeo)} {eccentricity[2:]} "
        f"{_angle(satrec.argpo)} {_angle(satrec.mo)} {satrec.no_kozai * _REV_DAY:11.8f}    0"
    )
    if len(first) != 68 or len(second) != 68 or eccentricity[0] != "0":
        raise ConfigError(name, "elements too large for the columns of a TLE")
    lines = (f"{line}{tle_checksum(line)}" for line in (first, second))
    return "\n".join((mark + name, *lines)) + "\n"


def _name(satellite: Satellite) -> str:
    name = satellite.name.strip()
    if not name or not name.isprintable() or len(name) > NAME_CHARS_MAX:
        raise ConfigError(repr(name[:NAME_CHARS_MAX]), "no name for a file of elements")
    return name


def _alpha5(satellite: Satellite) -> str:
    number = satellite.catalogue_id
    if number > ALPHA5_ID_MAX:
        raise ConfigError(satellite.name, f"a TLE cannot carry the number {number}", "use OMM")
    if number < 100_000:
        return f"{number:05}"
    return f"{ALPHA5_LETTERS[number // 10_000 - 10]}{number % 10_000:04}"


def _epoch_us(satellite: Satellite) -> tuple[int, int]:
    """Day number (proleptic Gregorian) and microsecond of the day of the epoch."""
    satrec = satellite.satrec
    whole = satrec.jdsatepoch - _JD_SGP4_EPOCH
    day = math.floor(whole)
    microsecond = round((whole - day + satrec.jdsatepochF) * 86_400e6)
    carry, microsecond = divmod(microsecond, 86_400_000_000)
    return SGP4_EPOCH_DAY + day + carry, microsecond


def _epoch(satellite: Satellite) -> datetime.datetime:
    day, microsecond = _epoch_us(satellite)
    # Messages write UTC without saying so.
    start = datetime.datetime.fromordinal(day)
    return start + datetime.timedelta(microseconds=microsecond)


def _tle_epoch(satellite: Satellite) -> str:
    day, microsecond = _epoch_us(satellite)
    # To the last digit first, since that may end the year.
    carry, fraction = divmod(round(microsecond / 864.0), 100_000_000)
    date = datetime.date.fromordinal(day + carry)
    if not 1957 <= date.year <= 2056:
        raise ConfigError(satellite.name, f"a TLE cannot carry the year {date.year}", "use OMM")
    return f"{date.year % 100:02}{date.timetuple().tm_yday:03}.{fraction:08}"


def _angle(radians: float) -> str:
    return f"{math.degrees(radians) % 360.0:8.4f}"


def _implied(value: float) -> str:
    """0.28098e-4 as `` 28098-4``: five digits after the point, and a power of ten."""
    mantissa, exponent = f"{value:+.4e}".split("e")
    digits, power = mantissa[1] + mantissa[3:], int(exponent) + 1
    if power < -9:  # one digit is all there is for the power: fewer are left for the rest
        digits, power = f"{round(abs(value) * 1e14):05}", -9
    if digits == "00000":
        return " 00000+0"
    return f"{mantissa[0].replace('+', ' ')}{digits}{power:+d}"
