"""Two-line element sets, with or without a name line, and with Alpha-5 catalogue numbers.

Read by column, strictly: a set with a wrong checksum or a shifted column is an error, since SGP4
would propagate it into a wrong orbit.
"""

from __future__ import annotations

import calendar
import datetime
import re

from link_models.orbit.mean_elements import (
    NAME_CHARS_MAX,
    SGP4_EPOCH_DAY,
    MeanElements,
    Satellite,
    bound_bytes,
    bound_count,
    number,
    refuse_other_theory,
)
from stack.core.errors import ConfigError

TLE_COLUMNS = 69

_ID = r"(?P<id>[ \d]{4}\d|[A-HJ-NP-Z]\d{4})"
_LINE_1 = re.compile(
    rf"1 {_ID}[A-Z ] .{{8}} (?P<year>\d\d)(?P<day>[ \d]{{3}}\.\d{{8}}) "
    r"(?P<motion_dot>[ +-]\.\d{8}) "
    r"(?P<motion_ddot>[ +-][ \d]{5}[ +-]\d) (?P<bstar>[ +-][ \d]{5}[ +-]\d) "
    r"(?P<type>[ \d]) [ \d]{4}\d",
    re.ASCII,
)
_LINE_2 = re.compile(
    rf"2 {_ID} "
    r"(?P<inclination>[ \d]{3}\.\d{4}) (?P<node>[ \d]{3}\.\d{4}) (?P<eccentricity>[ \d]{7}) "
    r"(?P<perigee>[ \d]{3}\.\d{4}) (?P<anomaly>[ \d]{3}\.\d{4}) "
    r"(?P<motion>[ \d]{2}\.\d{8})[ \d]{5}\d",
    re.ASCII,
)
_ALMOST = re.compile(r"[12] [ \dA-Z][ \d]{3}\d[A-Z ]? .{28,}", re.ASCII)
"""Long enough, and begun as a line of elements: no name, but a line that lost or won a column."""

_HEADING = re.compile(r"SB KEPS\b|2Line\b|HR AMSAT\b", re.ASCII)
"""A bulletin of AMSAT begins with lines of its own, up to one that ends in BT; its end is /EX."""

ALPHA5_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
"""All but I and O: they stand for 10 to 33 in the leading column of a catalogue number."""

_ALPHA5 = {letter: value for value, letter in enumerate(ALPHA5_LETTERS, start=10)}


def tle_checksum(line: str) -> int:
    """Sum of the digits in the first 68 columns plus one for each minus sign, modulo 10."""
    body = line[: TLE_COLUMNS - 1]
    return (sum(map(int, re.findall("[0-9]", body))) + body.count("-")) % 10


def parse_tle(text: str, *, origin: str = "tle") -> list[Satellite]:
    """Read two- and three-line sets; blank lines, lines that begin with ``#``, and the heading and
    end mark of AMSAT's bulletins are passed over.

    Raises `ConfigError`, whose key is ``origin:line``, for a wrong checksum, column or value.
    """
    bound_bytes(len(text), origin)
    found: list[Satellite] = []
    name, named_at = "", ""
    heading = False
    first: re.Match[str] | None = None
    for count, raw in enumerate(text.splitlines(), start=1):
        where = f"{origin}:{count}"
        line = raw.rstrip()
        if not line or line.startswith("#"):
            continue
        if first is not None:
            found.append(_satellite(name, first, _columns(line, _LINE_2, where), where))
            bound_count(found, where)
            name, first = "", None
        elif _is_elements(line, "1"):
            first, heading = _columns(line, _LINE_1, where), False
        elif _is_elements(line, "2"):
            raise ConfigError(where, "line 2 of a TLE without a line 1 before it")
        elif not name and _HEADING.match(line):
            heading = True
        elif line.strip().upper() == "/EX":
            _refuse_lone(name, named_at)
            heading = False
        elif heading and line.endswith(" BT"):
            name, heading = "", False
        else:
            if not heading:
                _refuse_lone(name, named_at)
            name, named_at = line.removeprefix("0 ").strip(), where
            if len(name) > NAME_CHARS_MAX:
                raise ConfigError(where, "this is neither a line of a TLE nor a satellite's name")
    if first is not None:
        raise ConfigError(origin, "the last TLE has no line 2")
    _refuse_lone(name, named_at)
    return found


def _is_elements(line: str, which: str) -> bool:
    """Whether a line is one of elements, or almost one; other lines are names, also those that
    begin with a digit and a space."""
    return line.startswith(f"{which} ") and (
        len(line) == TLE_COLUMNS or _ALMOST.fullmatch(line) is not None
    )


def _refuse_lone(name: str, where: str) -> None:
    if name:
        raise ConfigError(
            where, f"the name {name!r} is not followed by a TLE", "add its two lines, or remove it"
        )


def _columns(line: str, pattern: re.Pattern[str], where: str) -> re.Match[str]:
    if len(line) != TLE_COLUMNS or not line.isascii():
        raise ConfigError(where, f"a TLE line has {TLE_COLUMNS} ASCII columns")
    if line[-1] != str(tle_checksum(line)):
        raise ConfigError(where, f"checksum {tle_checksum(line)} expected, {line[-1]!r} found")
    match = pattern.fullmatch(line)
    if match is None:
        raise ConfigError(where, f"not line {pattern.pattern[0]} of a TLE, column by column")
    return match


def _satellite(name: str, first: re.Match[str], second: re.Match[str], where: str) -> Satellite:
    if first["id"] != second["id"]:
        raise ConfigError(where, "lines 1 and 2 are of different satellites")
    refuse_other_theory(first["type"], where)
    year = int(first["year"])
    year += 2000 if year < 57 else 1900  # the first satellite flew in 1957
    day = number(first["day"], where)
    days = 365 + calendar.isleap(year)
    if not 1.0 <= day < days + 1:
        raise ConfigError(where, f"day of the year out of range: {year} has {days}, not {day:g}")
    elements = MeanElements(
        name=name or first["id"].strip(),
        catalogue_id=_catalogue_id(first["id"], where),
        epoch_days=datetime.date(year, 1, 1).toordinal() - SGP4_EPOCH_DAY + day - 1.0,
        inclination_deg=number(second["inclination"], where),
        node_deg=number(second["node"], where),
        eccentricity=number("0." + second["eccentricity"].replace(" ", "0"), where),
        perigee_deg=number(second["perigee"], where),
        anomaly_deg=number(second["anomaly"], where),
        motion_rev_day=number(second["motion"], where),
        motion_dot=number(first["motion_dot"], where),
        motion_ddot=_implied_exponent(first["motion_ddot"], where),
        bstar=_implied_exponent(first["bstar"], where),
    )
    return elements.satellite(where)


def _catalogue_id(text: str, where: str) -> int:
    if text[0] in _ALPHA5:
        return _ALPHA5[text[0]] * 10_000 + int(text[1:])
    return int(number(text, where))


def _implied_exponent(column: str, where: str) -> float:
    """`` 28098-4`` stands for 0.28098e-4."""
    mantissa = column[1:6].replace(" ", "0")
    return number(f"{column[0].strip()}0.{mantissa}e{column[6:].replace(' ', '+')}", where)
