"""Orbital elements as files: TLE, and OMM (CCSDS 502.0-B-3) as JSON, CSV, key = value and XML.

mean_elements()         elements as people write them: `Written`, with all forms as properties
element_files()         a file in any of the five forms
nearly_element_files()  a file that breaks one rule of `ELEMENT_RULES`
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from interop.strategies.rules import WireRule, nearly
from interop.strategies.violation import Nearly, Violation

Fields = dict[str, str]
"""Keywords of an OMM and their values, as text."""


@dataclass(frozen=True, slots=True)
class Written:
    """Elements in digits that all forms can carry."""

    name: str
    number: int
    epoch: datetime.datetime
    """UTC, whole milliseconds."""

    inclination_deg: str
    node_deg: str
    eccentricity: str
    """The seven digits after the point."""

    perigee_deg: str
    anomaly_deg: str
    motion_rev_day: str

    @property
    def fields(self) -> Fields:
        """As keywords of an OMM."""
        return {
            "OBJECT_NAME": self.name,
            "OBJECT_ID": "1998-067A",
            "CENTER_NAME": "EARTH",
            "REF_FRAME": "TEME",
            "TIME_SYSTEM": "UTC",
            "MEAN_ELEMENT_THEORY": "SGP4",
            "EPOCH": self.epoch.isoformat(timespec="milliseconds"),
            "MEAN_MOTION": self.motion_rev_day,
            "ECCENTRICITY": f"0.{self.eccentricity}",
            "INCLINATION": self.inclination_deg,
            "RA_OF_ASC_NODE": self.node_deg,
            "ARG_OF_PERICENTER": self.perigee_deg,
            "MEAN_ANOMALY": self.anomaly_deg,
            "EPHEMERIS_TYPE": "0",
            "NORAD_CAT_ID": str(self.number),
            "BSTAR": "0.0001",
            "MEAN_MOTION_DOT": "0.00001",
            "MEAN_MOTION_DDOT": "0",
        }

    @property
    def lines(self) -> tuple[str, str, str]:
        """As name and two lines."""
        midnight = self.epoch.replace(hour=0, minute=0, second=0, microsecond=0)
        day = self.epoch.timetuple().tm_yday
        fraction = (self.epoch - midnight) / datetime.timedelta(days=1)
        moment = f"{self.epoch.year % 100:02}{day:03}{f'{fraction:.8f}'[1:]}"
        first = f"1 {self.number:05}U 98067A   {moment}  .00001000  00000+0  10000-3 0  999"
        second = (
            f"2 {self.number:05} {self.inclination_deg:>8} {self.node_deg:>8} "
            f"{self.eccentricity} {self.perigee_deg:>8} {self.anomaly_deg:>8} "
            f"{self.motion_rev_day:>11}    0"
        )
        return self.name, with_checksum(first), with_checksum(second)


def with_checksum(line: str) -> str:
    """68 columns and their checksum: the sum of all digits, a minus sign counting 1, modulo 10."""
    body = line[:68]
    return body + str(sum(int(c) if c.isdigit() else c == "-" for c in body) % 10)


def tle(elements: Written) -> bytes:
    """A three-line set."""
    return ("\n".join(elements.lines) + "\n").encode()


def omm_json(fields: Fields) -> bytes:
    """A list of one OMM, whose numbers are numbers."""
    numbers = {key: float(text) for key, text in fields.items() if _numeric(text)}
    return json.dumps([fields | numbers], ensure_ascii=False).encode()


def omm_csv(fields: Fields) -> bytes:
    """A header, and a row."""
    values = ('"' + text.replace('"', '""') + '"' for text in fields.values())
    return f"{','.join(fields)}\r\n{','.join(values)}\r\n".encode()


def omm_kvn(fields: Fields) -> bytes:
    """Keyword = value (§7)."""
    lines = ["CCSDS_OMM_VERS = 3.0", *(f"{key} = {text}" for key, text in fields.items())]
    return ("\n".join(lines) + "\n").encode()


def omm_xml(fields: Fields) -> bytes:
    """XML (CCSDS 505.0-B-3)."""
    escaped = {key: text.replace("&", "&amp;").replace("<", "&lt;") for key, text in fields.items()}
    body = "".join(f"<{key}>{text}</{key}>" for key, text in escaped.items())
    return f'<?xml version="1.0"?>\n<ndm><omm><body>{body}</body></omm></ndm>\n'.encode()


OMM_FORMS: tuple[Callable[[Fields], bytes], ...] = (omm_json, omm_csv, omm_kvn, omm_xml)


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _angle(choose: Choices, most: int) -> str:
    return f"{choose.integer(0, most * 10_000 - 1) / 10_000:.4f}"


@strategy
def mean_elements(choose: Choices) -> Written:
    """Elements of one satellite, of any orbit."""
    start = datetime.datetime(2000, 1, 1)  # noqa: DTZ001 -- messages write UTC without saying so
    epoch = start + datetime.timedelta(milliseconds=choose.integer(0, 50 * 365 * 86_400_000))
    return Written(
        name=("SAT " + choose.text("ABC-19 ()é&", 1, 15)).strip(),
        number=choose.integer(1, 99_999),
        epoch=epoch,
        inclination_deg=_angle(choose, 180),
        node_deg=_angle(choose, 360),
        eccentricity=f"{choose.integer(0, 7_999_999):07}",
        perigee_deg=_angle(choose, 360),
        anomaly_deg=_angle(choose, 360),
        motion_rev_day=f"{choose.integer(10_000_000, 1_599_999_999) / 1e8:.8f}",
    )


@strategy
def element_files(choose: Choices) -> bytes:
    """A file of one satellite or more in one of five forms."""
    made = mean_elements.maker()
    if choose.flip():
        return b"".join(tle(made(choose)) for _ in choose.many(1, 4))
    return choose.pick(OMM_FORMS)(made(choose).fields)


# ------------------------------------------------------------------------------ nearly valid


_TLE = "TLE"
_OMM = "CCSDS 502.0-B-3"


def _tle_lines(
    change: Callable[[Choices, list[str]], None], *, sound: bool = True
) -> Callable[[Choices, Written], bytes]:
    """Breaks a rule of a TLE; its checksums are right unless the rule is about them."""

    def spoil(choose: Choices, elements: Written) -> bytes:
        lines = list(elements.lines)
        change(choose, lines)
        if sound:
            lines[1:] = map(with_checksum, lines[1:])
        return ("\n".join(lines) + "\n").encode()

    return spoil


def _columns(line: int, start: int, *texts: str) -> Callable[[Choices, list[str]], None]:
    """One of these texts from a column (counted from 1) of line 1 or 2 on."""

    def change(choose: Choices, lines: list[str]) -> None:
        text = choose.pick(texts)
        lines[line] = lines[line][: start - 1] + text + lines[line][start - 1 + len(text) :]

    return change


def _checksum(choose: Choices, lines: list[str]) -> None:
    line = choose.integer(1, 2)
    wrong = (int(lines[line][-1]) + choose.integer(1, 9)) % 10
    lines[line] = lines[line][:-1] + str(wrong)


def _shifted(choose: Choices, lines: list[str]) -> None:
    line, at = choose.integer(1, 2), choose.integer(32, 60)
    lines[line] = lines[line][:at] + " " + lines[line][at:]


def _no_second(choose: Choices, lines: list[str]) -> None:
    del lines[2]


def _no_first(choose: Choices, lines: list[str]) -> None:
    del lines[1]


def _other_satellite(choose: Choices, lines: list[str]) -> None:
    number = int(lines[2][2:7]) % 99_999 + 1
    lines[2] = f"2 {number:05}{lines[2][7:]}"


def _year_day(choose: Choices, lines: list[str]) -> None:
    day = choose.pick(("000", "367", "400", "999"))
    lines[1] = lines[1][:20] + day + lines[1][23:]


def _omm_fields(
    change: Callable[[Choices, Fields], None],
) -> Callable[[Choices, Written], bytes]:
    def spoil(choose: Choices, elements: Written) -> bytes:
        fields = elements.fields
        change(choose, fields)
        return choose.pick(OMM_FORMS)(fields)

    return spoil


def _is(key: str, *texts: str) -> Callable[[Choices, Fields], None]:
    def change(choose: Choices, fields: Fields) -> None:
        fields[key] = choose.pick(texts)

    return change


_NEEDED = (
    "EPOCH", "MEAN_MOTION", "ECCENTRICITY", "INCLINATION", "RA_OF_ASC_NODE", "ARG_OF_PERICENTER",
    "MEAN_ANOMALY", "NORAD_CAT_ID", "BSTAR",
)  # fmt: skip


def _missing(choose: Choices, fields: Fields) -> None:
    fields[choose.pick(_NEEDED)] = ""


def _no_number(choose: Choices, fields: Fields) -> None:
    fields[choose.pick(_NEEDED[1:])] = choose.pick(("x", "1,5", "0x1F", "nan", "inf", "1e999"))


def _kvn_twice(choose: Choices, elements: Written) -> bytes:
    key = choose.pick(_NEEDED)
    return omm_kvn(elements.fields) + f"{key} = {elements.fields[key]}\n".encode()


def _other_message(choose: Choices, elements: Written) -> bytes:
    kind = choose.pick((b"OPM", b"OEM", b"TDM"))
    return omm_kvn(elements.fields).replace(b"CCSDS_OMM_VERS", b"CCSDS_" + kind + b"_VERS")


def _short_row(choose: Choices, elements: Written) -> bytes:
    header, row = omm_csv(elements.fields).splitlines()
    return header + b"\r\n" + row.rpartition(b",")[0] + b"\r\n"


def _doctype(choose: Choices, elements: Written) -> bytes:
    entities = b'<!DOCTYPE ndm [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>\n<ndm>'
    return omm_xml(elements.fields).replace(b"<ndm>", entities)


def _unclosed(choose: Choices, elements: Written) -> bytes:
    octets = omm_xml(elements.fields).rstrip()
    return octets[: choose.integer(octets.index(b"<ndm>") + 1, len(octets) - 1)]


def _rule(clause: str, words: str, spoil: Callable[[Choices, Written], bytes]) -> WireRule[Written]:
    return WireRule(Violation(clause, words), mean_elements.maker(), spoil)


ELEMENT_RULES = (
    _rule(_TLE, "a wrong checksum", _tle_lines(_checksum, sound=False)),
    _rule(_TLE, "a line with a column too many", _tle_lines(_shifted, sound=False)),
    _rule(_TLE, "no line 2", _tle_lines(_no_second, sound=False)),
    _rule(_TLE, "no line 1", _tle_lines(_no_first, sound=False)),
    _rule(_TLE, "two lines of two satellites", _tle_lines(_other_satellite)),
    _rule(_TLE, "a day that the year has not", _tle_lines(_year_day)),
    _rule(_TLE, "an inclination above 180 degrees",
          _tle_lines(_columns(2, 9, "180.0001", "359.0000"))),
    _rule(_TLE, "no mean motion", _tle_lines(_columns(2, 53, " 0.00000000"))),
    _rule(_TLE, "letters for digits", _tle_lines(_columns(2, 27, "12E4567", "-234567"))),
    _rule(_TLE, "another theory", _tle_lines(_columns(1, 63, "4", "6"))),
    _rule(f"{_OMM} §4.2.4", "a keyword that is needed is missing", _omm_fields(_missing)),
    _rule(f"{_OMM} §4.2.4", "a value that is no number", _omm_fields(_no_number)),
    _rule(f"{_OMM} §4.2.4", "an eccentricity of 1 or more",
          _omm_fields(_is("ECCENTRICITY", "1", "1.5", "-0.1"))),
    _rule(f"{_OMM} §4.2.4", "an epoch that is no time",
          _omm_fields(_is("EPOCH", "2026-02-30T00:00:00", "2026-366T00:00:00", "soon",
                          "2026-01-01T24:00:00", "2026-01-01T00:00:61", "2026-01-01"))),
    _rule(f"{_OMM} §4.2.4", "a catalogue number that is not whole",
          _omm_fields(_is("NORAD_CAT_ID", "1.5", "-1", "1e12"))),
    _rule(f"{_OMM} §4.2.3", "another frame, centre or time system",
          lambda choose, elements: _omm_fields(_is(
              choose.pick(("REF_FRAME", "CENTER_NAME", "TIME_SYSTEM")), "EME2000", "MARS", "TT")
          )(choose, elements)),
    _rule(f"{_OMM} §4.2.3", "another theory",
          _omm_fields(_is("MEAN_ELEMENT_THEORY", "DSST", "SGP4-XP", "USM"))),
    _rule(f"{_OMM} §7.4", "another message than an OMM", _other_message),
    _rule(f"{_OMM} §7.4", "a keyword twice", _kvn_twice),
    _rule("RFC 4180 §2", "a row shorter than its header", _short_row),
    _rule("CCSDS 505.0-B-3", "a document type with entities", _doctype),
    _rule("CCSDS 505.0-B-3", "XML that is not closed", _unclosed),
)  # fmt: skip
"""What `nearly_element_files` breaks."""


@strategy
def nearly_element_files(
    choose: Choices, *, rules: Sequence[WireRule[Written]] = ELEMENT_RULES
) -> Nearly:
    """A file of elements that breaks one rule, of `rules`; what was valid is a TLE."""
    return nearly(choose, rules, tle)
