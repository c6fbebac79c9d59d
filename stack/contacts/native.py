"""Our own contact plan format: nothing is rounded, everything that a `Plan` holds is kept.

JSON or TOML of one shape::

    format = "orbitferry-contact-plan-1"
    [[contacts]]
    source = "dtn://gs1/"
    destination = "dtn://sat1/"
    start_ms = 825500000000              # DTN time; or start = "2026-02-27T10:26:40Z"
    end_ms = 825500600000                # or end = ...
    rate_bps = 256000                    # left out: unlimited
    confidence = 1.0                     # these three may be left out
    owner = "station company"
    jurisdiction = "NO"
    [[ranges]]
    source = "dtn://gs1/"
    destination = "dtn://sat1/"
    steps = [[825500000000, 825500001000, 3501234]]  # start_ms, end_ms, owlt_ns

``start`` and ``end`` as numbers are seconds after the reference time that the caller gives.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
from msgspec import Meta

from stack.contacts.plan import (
    CONTACTS_MAX,
    FILE_BYTES_MAX,
    OWLT_NS_MAX,
    RANGES_MAX,
    RATE_BPS_MAX,
    TIME_MS_MAX,
    Contact,
    Plan,
    Range,
    check_contact,
    check_range,
)
from stack.core import toml
from stack.core.bounds import Share
from stack.core.clock import dtn_from_iso
from stack.core.errors import ConfigError

FORMAT = "orbitferry-contact-plan-1"

TOML_BYTES_MAX = 16 * 1024 * 1024
"""Largest TOML plan: it is meant for plans written by hand, and its parser is slow."""

TimeMs = Annotated[int, Meta(ge=0, le=TIME_MS_MAX)]
Moment = Annotated[float, Meta(ge=-TIME_MS_MAX, le=TIME_MS_MAX)]
LightNs = Annotated[int, Meta(ge=0, le=OWLT_NS_MAX)]


class _Contact(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    destination: str
    start_ms: TimeMs | None = None
    end_ms: TimeMs | None = None
    start: str | Moment | None = None
    end: str | Moment | None = None
    rate_bps: Annotated[float, Meta(ge=1e-9, le=RATE_BPS_MAX)] = math.inf
    confidence: Share = 1.0
    owner: str = ""
    jurisdiction: str = ""


class _Ranges(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    destination: str
    steps: list[tuple[TimeMs, TimeMs, LightNs]]


class File(msgspec.Struct, forbid_unknown_fields=True):
    """A whole file, as it is written."""

    format: str
    contacts: list[_Contact] = []
    ranges: list[_Ranges] = []


def read_json(data: bytes | str, reference_ms: int = 0) -> Plan:
    """The plan of a JSON document.  Raises `ConfigError` naming the key that is wrong."""
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError("contact plan", f"longer than {FILE_BYTES_MAX} octets")
    try:
        return _plan(msgspec.json.decode(data, type=File), reference_ms)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _told(data, error) from None


def _told(data: bytes | str, error: Exception) -> ConfigError:
    """What is wrong with a JSON document, in the words of files."""
    try:
        found = msgspec.json.decode(data)
        if not isinstance(found, dict) or "format" not in found:
            return no_plan(found)
        toml.convert(found, File)
    except ConfigError as told:
        return told
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    return ConfigError("contact plan", f"not JSON: {error}")


def no_plan(found: object) -> ConfigError:
    """The error about a JSON document that is something else."""
    what = "a list" if isinstance(found, list) else "no object"
    if isinstance(found, dict):
        keys = ", ".join(repr(str(key)[:24]) for key in list(found)[:5])
        what = f"an object with {keys}" if keys else "an empty object"
    remedy = f'ours begins with "format": "{FORMAT}", that of HDTN has "contacts"'
    return ConfigError("contact plan", f"not a contact plan but {what}", remedy)


def read_toml(text: str, reference_ms: int = 0, where: str = "contact plan") -> Plan:
    """The plan of a TOML document, which errors call `where`.  Raises `ConfigError` naming line and
    key that are wrong."""
    if len(text) > TOML_BYTES_MAX:
        raise ConfigError(where, f"longer than {TOML_BYTES_MAX} octets", "use JSON for large plans")
    return toml.parsed(text, lambda data: _plan(toml.convert(data, File), reference_ms), where)


def _plan(file: File, reference_ms: int) -> Plan:
    if file.format != FORMAT:
        raise ConfigError("format", f"{file.format[:40]!r} is not known", f"write {FORMAT!r}")
    if len(file.contacts) > CONTACTS_MAX:
        raise ConfigError("contacts", f"more than {CONTACTS_MAX}", "split the plan")
    if sum(len(entry.steps) for entry in file.ranges) > RANGES_MAX:
        raise ConfigError("ranges", f"more than {RANGES_MAX}", "use longer steps")
    contacts = []
    for place, entry in enumerate(file.contacts):
        key = f"contacts[{place}]"
        contact = Contact(
            entry.source,
            entry.destination,
            _time(entry.start_ms, entry.start, reference_ms, f"{key}.start"),
            _time(entry.end_ms, entry.end, reference_ms, f"{key}.end"),
            entry.rate_bps,
            entry.confidence,
            entry.owner,
            entry.jurisdiction,
        )
        check_contact(contact, key)
        contacts.append(contact)
    ranges = []
    for place, group in enumerate(file.ranges):
        for step, (start_ms, end_ms, owlt_ns) in enumerate(group.steps):
            light = Range(group.source, group.destination, start_ms, end_ms, owlt_ns)
            check_range(light, f"ranges[{place}].steps[{step}]")
            ranges.append(light)
    return Plan(contacts, ranges)


def _time(exact_ms: int | None, moment: str | float | None, reference_ms: int, key: str) -> int:
    """The one of the two ways to give a time that is there."""
    if (exact_ms is None) == (moment is None):
        raise ConfigError(key, "needs one time", f"give either {key}_ms or {key}")
    if exact_ms is not None:
        return exact_ms
    if isinstance(moment, str):
        try:
            return dtn_from_iso(moment)
        except (ValueError, OverflowError):
            raise ConfigError(
                key, f"{moment[:40]!r} is not a time", "write 2026-02-27T10:26:40Z"
            ) from None
    assert moment is not None
    return reference_ms + round(moment * 1000)


def write_json(plan: Plan) -> str:
    """The plan as JSON; `read_json` gives back an equal one."""
    contacts: list[dict[str, object]] = []
    for contact in plan.contacts:
        entry: dict[str, object] = {
            "source": contact.source,
            "destination": contact.destination,
            "start_ms": contact.start_ms,
            "end_ms": contact.end_ms,
        }
        if not math.isinf(contact.rate_bps):
            entry["rate_bps"] = contact.rate_bps
        if contact.confidence != 1:
            entry["confidence"] = contact.confidence
        if contact.owner:
            entry["owner"] = contact.owner
        if contact.jurisdiction:
            entry["jurisdiction"] = contact.jurisdiction
        contacts.append(entry)
    steps: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    for light in plan.ranges:
        pair = (light.source, light.destination)
        steps.setdefault(pair, []).append((light.start_ms, light.end_ms, light.owlt_ns))
    ranges: list[dict[str, object]] = [
        {"source": source, "destination": destination, "steps": list_}
        for (source, destination), list_ in steps.items()
    ]
    # One entry a line: a plan is compared and kept under version control as text.
    lines = [f'{{"format": "{FORMAT}",', '"contacts": [']
    lines += _lines(contacts)
    lines += ["],", '"ranges": [']
    lines += _lines(ranges)
    lines += ["]}", ""]
    return "\n".join(lines)


def _lines(entries: list[dict[str, object]]) -> list[str]:
    encode = msgspec.json.Encoder().encode
    last = len(entries) - 1
    return [encode(e).decode() + ("," if place < last else "") for place, e in enumerate(entries)]
