"""Orbit mean-elements messages (CCSDS 502.0-B-3 §4) as key = value, CSV, JSON and XML.

They carry catalogue numbers above 339,999, which no TLE can.  Whatever breaks a rule is a
`ConfigError` that names the line, or in JSON the record.
"""

from __future__ import annotations

import csv
import datetime
import json
import re
from collections.abc import Mapping
from xml.parsers import expat

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

XML_DEPTH_MAX = 32
"""Deepest nesting in XML; the schema needs 7 (CCSDS 505.0-B-3 §4.6)."""

XML_TEXT_CHARS_MAX = 4096
"""Longest text of one XML element; the longest that an OMM has is a comment."""

XML_FIELDS_MAX = 256
"""Most different keywords in one OMM; the standard defines about 80."""

KVN_VERSION = re.compile(r"CCSDS_([A-Z]{3})_VERS\s*=", re.ASCII)
"""How a message in keyword = value notation begins (CCSDS 502.0-B-3 §7.4); the letters say which
message it is."""

KVN_FIELDS_MAX = 256
"""Most keywords in one OMM; the standard defines about 80."""

_KVN_LINE = re.compile(r"(?P<key>[A-Z][A-Z0-9_]*)\s*=\s*(?P<value>.*?)(?:\s*\[[^\]]*\])?")
"""A unit in brackets may follow a value (§7.7.2)."""

_EPOCH = re.compile(
    r"(?P<year>\d{4})-(?:(?P<month>\d\d)-(?P<day>\d\d)|(?P<year_day>\d{3}))"
    r"T(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d(?:\.\d{1,18})?)Z?",
    re.ASCII,
)
# SGP4 elements are of no use in another frame or time, and the message says which it uses.
_REQUIRED = {
    "CENTER_NAME": ("EARTH",),
    "REF_FRAME": ("TEME",),
    "TIME_SYSTEM": ("UTC",),
    "MEAN_ELEMENT_THEORY": ("SGP4", "SGP/SGP4"),
}


def parse_omm_csv(text: str, *, origin: str = "omm.csv") -> list[Satellite]:
    """Read OMMs below a header row of keywords.  Raises `ConfigError` with the line."""
    bound_bytes(len(text), origin)
    reader = csv.DictReader(text.splitlines(), strict=True)
    found: list[Satellite] = []
    try:
        for row in reader:
            where = f"{origin}:{reader.line_num}"
            if None in row or None in row.values():
                raise ConfigError(where, "the row has not as many columns as the header")
            found.append(_satellite(row, where))
            bound_count(found, where)
    except csv.Error as error:
        raise ConfigError(f"{origin}:{reader.line_num}", f"not CSV: {error}") from error
    return found


def parse_omm_json(text: str, *, origin: str = "omm.json") -> list[Satellite]:
    """Read one OMM object or a list of them.  Raises `ConfigError` with the record's number."""
    bound_bytes(len(text), origin)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(origin, f"not JSON: {error}") from error
    records = document if isinstance(document, list) else [document]
    found: list[Satellite] = []
    for count, record in enumerate(records, start=1):
        where = f"{origin}: record {count}"
        if not isinstance(record, dict):
            raise ConfigError(where, "an OMM is a JSON object")
        found.append(_satellite({k: _json_text(v, where) for k, v in record.items()}, where))
        bound_count(found, where)
    return found


def parse_omm_kvn(text: str, *, origin: str = "omm.kvn") -> list[Satellite]:
    """Read OMMs one after the other in keyword = value notation (CCSDS 502.0-B-3 §7).

    Raises `ConfigError` with the line.
    """
    bound_bytes(len(text), origin)
    found: list[Satellite] = []
    fields: dict[str, str] = {}
    begun = ""

    def end() -> None:
        if fields:
            found.append(_satellite(fields, begun))
            bound_count(found, begun)
            fields.clear()

    for count, raw in enumerate(text.splitlines(), start=1):
        line, where = raw.strip(), f"{origin}:{count}"
        if not line or line.split(maxsplit=1)[0] == "COMMENT":
            continue
        match = _KVN_LINE.fullmatch(line)
        if match is None:
            raise ConfigError(where, f"{line[:40]!r} is not KEYWORD = value")
        version = KVN_VERSION.match(line)
        if version is not None:
            end()
            begun = where
            if version[1] != "OMM":
                raise ConfigError(
                    where, f"this is an {version[1]}, and has no mean elements", "use an OMM"
                )
        if match["key"] in fields:
            raise ConfigError(where, f"{match['key']} again in one OMM")
        fields[match["key"]] = match["value"]
        if len(fields) > KVN_FIELDS_MAX:
            raise ConfigError(where, f"more than {KVN_FIELDS_MAX} keywords in an OMM")
    end()
    return found


def _json_text(value: object, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError(where, "the values of an OMM are strings and numbers")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # some writers know no other numbers: type 0.0 is type 0
    return str(value)


def parse_omm_xml(text: str, *, origin: str = "omm.xml") -> list[Satellite]:
    """Read one `omm`, or an `ndm` of several (CCSDS 505.0-B-3).

    Streams, so that memory stays small, and refuses a document type declaration, so that no
    entity expands.  Raises `ConfigError` with the line.
    """
    bound_bytes(len(text), origin)
    return _XmlReader(origin).read(text)


class _XmlReader:
    """Collects the leaf elements of each `omm` into one mapping of keywords."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        # The text is decoded already: an encoding that the document declares does not count.
        self._parser = expat.ParserCreate("utf-8")
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._depth = 0
        self._inside = False
        self._text: list[str] = []
        self._text_chars = 0
        self._fields: dict[str, str] = {}
        self._found: list[Satellite] = []

    def read(self, text: str) -> list[Satellite]:
        try:
            self._parser.Parse(text.encode("utf-8"), True)
        except (expat.ExpatError, UnicodeEncodeError) as error:
            raise ConfigError(self._where(), f"not XML: {error}") from error
        return self._found

    def _where(self) -> str:
        return f"{self._origin}:{self._parser.CurrentLineNumber}"

    def _doctype(self, *_: object) -> None:
        raise ConfigError(self._where(), "document type declarations are refused")

    def _start(self, tag: str, _: object) -> None:
        self._depth += 1
        if self._depth > XML_DEPTH_MAX:
            raise ConfigError(self._where(), f"elements nest deeper than {XML_DEPTH_MAX}")
        if tag.rpartition(":")[2] == "omm":
            self._inside = True
            self._fields = {}
        self._text = []
        self._text_chars = 0

    def _characters(self, text: str) -> None:
        self._text_chars += len(text)
        if self._text_chars > XML_TEXT_CHARS_MAX:
            raise ConfigError(self._where(), f"text longer than {XML_TEXT_CHARS_MAX} characters")
        self._text.append(text)

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if tag.rpartition(":")[2] == "omm":
            self._found.append(_satellite(self._fields, self._where()))
            bound_count(self._found, self._where())
            self._inside = False
        elif self._inside:
            # Enclosing elements come by here too, with only white space: no keyword is theirs.
            self._fields[tag] = "".join(self._text).strip()
            if len(self._fields) > XML_FIELDS_MAX:
                raise ConfigError(self._where(), f"more than {XML_FIELDS_MAX} keywords in an OMM")
        self._text = []
        self._text_chars = 0


def _satellite(fields: Mapping[str, str], where: str) -> Satellite:
    for key, allowed in _REQUIRED.items():
        text = fields.get(key, "").strip().upper()
        if text and text not in allowed:
            raise ConfigError(where, f"{key} is {text[:20]!r}, not {allowed[0]}")
    refuse_other_theory(fields.get("EPHEMERIS_TYPE", ""), where)

    def value(key: str, default: float | None = None) -> float:
        text = fields.get(key, "").strip()
        if text:
            return number(text, f"{where}: {key}")
        if default is None:
            raise ConfigError(where, f"{key} is missing")
        return default

    catalogue_id = value("NORAD_CAT_ID")
    if catalogue_id != int(catalogue_id):
        raise ConfigError(where, "NORAD_CAT_ID is not a whole number")
    elements = MeanElements(
        name=fields.get("OBJECT_NAME", "").strip()[:NAME_CHARS_MAX] or str(int(catalogue_id)),
        catalogue_id=int(catalogue_id),
        epoch_days=_epoch_days(fields.get("EPOCH", ""), where),
        inclination_deg=value("INCLINATION"),
        node_deg=value("RA_OF_ASC_NODE"),
        eccentricity=value("ECCENTRICITY"),
        perigee_deg=value("ARG_OF_PERICENTER"),
        anomaly_deg=value("MEAN_ANOMALY"),
        motion_rev_day=value("MEAN_MOTION"),
        motion_dot=value("MEAN_MOTION_DOT", 0.0),
        motion_ddot=value("MEAN_MOTION_DDOT", 0.0),
        bstar=value("BSTAR"),
    )
    return elements.satellite(where)


def _epoch_days(text: str, where: str) -> float:
    """Days since SGP4's origin, of a calendar or day-of-year time (CCSDS 301.0-B-4 §3.5)."""
    match = _EPOCH.fullmatch(text.strip())
    if match is None:
        raise ConfigError(where, f"EPOCH {text[:40]!r} is not a UTC time")
    try:
        year = int(match["year"])
        if match["year_day"] is None:
            date = datetime.date(year, int(match["month"]), int(match["day"]))
        else:
            date = datetime.date(year, 1, 1) + datetime.timedelta(int(match["year_day"]) - 1)
        datetime.time(int(match["hour"]), int(match["minute"]))
    except (ValueError, OverflowError):
        raise ConfigError(where, f"EPOCH {text[:40]!r} does not exist") from None
    second = float(match["second"])
    # A leap second is the last that a day can have.
    if date.year != year or second >= 61.0:
        raise ConfigError(where, f"EPOCH {text[:40]!r} does not exist")
    seconds = int(match["hour"]) * 3600 + int(match["minute"]) * 60 + second
    return date.toordinal() - SGP4_EPOCH_DAY + seconds / 86_400.0
