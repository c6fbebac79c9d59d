"""The contact plan JSON of HDTN (its router module, `contactPlan.json`).

An object with an array ``contacts`` of objects: ``contact`` (a number, not used), ``source``,
``dest`` (node numbers), ``startTime``, ``endTime`` (seconds), ``rateBitsPerSec`` (0: unlimited;
older plans say ``rate``, in Mbit/s), ``owlt`` (seconds).  Times count from the moment at which
HDTN starts, or from 1970 when it runs with Unix time: `reference_ms` is the DTN time of zero
(`UNIX_REFERENCE_MS` in the second case).  HDTN writes whole seconds; fractions are read too.
Every contact has its own light time here, so overlapping contacts of a pair must agree on it.
Numbers may stand in quotes, as in some of HDTN's own plans.  Contacts that end before they begin
are passed over, as HDTN never uses them (its own plans of 10 and 50 nodes have some), and so are
those of a node with itself.
"""

from __future__ import annotations

import contextlib
import math

import msgspec

from stack.contacts.native import no_plan
from stack.contacts.passed import PassedOver
from stack.contacts.plan import (
    CONTACTS_MAX,
    FILE_BYTES_MAX,
    Contact,
    Plan,
    Range,
    check_contact,
    check_range,
)
from stack.core.clock import DTN_EPOCH_UNIX_S, SECOND
from stack.core.errors import ConfigError

UNIX_REFERENCE_MS = -DTN_EPOCH_UNIX_S * 1000
"""The DTN time of 1970-01-01T00:00:00Z."""

_SECONDS_MAX = 10**12
"""Beyond any time or light time: larger numbers are refused before they are multiplied."""


class _Entry(msgspec.Struct):
    source: int
    dest: int
    start: float = msgspec.field(name="startTime")
    end: float = msgspec.field(name="endTime")
    owlt: float = 0
    rate_bits: float | None = msgspec.field(name="rateBitsPerSec", default=None)
    rate_megabits: float = msgspec.field(name="rate", default=0)


class _File(msgspec.Struct):
    contacts: list[_Entry]


def read_hdtn(data: bytes | str, reference_ms: int = 0, passed: PassedOver | None = None) -> Plan:
    """The plan of an HDTN contact plan; what was passed over is counted in `passed`.  Raises
    `ConfigError` naming the key that is wrong."""
    passed = PassedOver() if passed is None else passed
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError("contact plan", f"longer than {FILE_BYTES_MAX} octets")
    try:
        entries = msgspec.json.decode(data, type=_File, strict=False).contacts
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        with contextlib.suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
            found = msgspec.json.decode(data)
            if not isinstance(found, dict) or "contacts" not in found:
                raise no_plan(found) from None
        raise ConfigError("HDTN contact plan", str(error)) from None
    if len(entries) > CONTACTS_MAX:
        raise ConfigError("contacts", f"more than {CONTACTS_MAX}", "split the plan")
    contacts: list[Contact] = []
    ranges: list[Range] = []
    for place, entry in enumerate(entries):
        if entry.source == entry.dest:
            passed.add("contact of a node with itself", f"contacts[{place}]")
            continue
        if entry.start >= entry.end:
            passed.add("contact that ends before it begins", f"contacts[{place}]")
            continue
        contact, light = _contact(entry, reference_ms, f"contacts[{place}]")
        contacts.append(contact)
        ranges.append(light)
    return Plan(contacts, ranges)


def _contact(entry: _Entry, reference_ms: int, key: str) -> tuple[Contact, Range]:
    if not 0 <= min(entry.source, entry.dest) <= max(entry.source, entry.dest) < 1 << 64:
        raise ConfigError(f"{key}.source or dest", "a node number is below 0 or above 64 bits")
    for value in (entry.start, entry.end, entry.owlt):
        if not abs(value) < _SECONDS_MAX:
            raise ConfigError(key, f"{value} is not a number of seconds")
    rate_bps = entry.rate_bits if entry.rate_bits is not None else entry.rate_megabits * 1e6
    source, destination = f"ipn:{entry.source}.0", f"ipn:{entry.dest}.0"
    start_ms = reference_ms + round(entry.start * 1000)
    end_ms = reference_ms + round(entry.end * 1000)
    contact = Contact(source, destination, start_ms, end_ms, rate_bps or math.inf)
    light = Range(source, destination, start_ms, end_ms, round(entry.owlt * SECOND))
    check_contact(contact, key)
    check_range(light, key)
    return contact, light


def write_hdtn(plan: Plan, reference_ms: int) -> str:
    """The plan as HDTN reads it: whole seconds from `reference_ms`, inside which each contact
    must lie whole (one that holds no whole second is left out); the light time of the start of
    a contact, to the nearest second; rates rounded down.  Raises `ConfigError` when a node is
    not ``ipn:N.0`` or a contact begins before the reference."""
    entries: list[dict[str, int]] = []
    for contact in plan.contacts:
        start = -((reference_ms - contact.start_ms) // 1000)
        end = (contact.end_ms - reference_ms) // 1000
        if start < 0:
            raise ConfigError(
                "reference_ms",
                f"a contact begins {reference_ms - contact.start_ms} ms before it",
                "give an earlier reference",
            )
        if start >= end:
            continue
        owlt_ns = plan.owlt_ns(contact.source, contact.destination, contact.start_ms)
        rate = 0 if math.isinf(contact.rate_bps) else max(1, int(contact.rate_bps))
        entries.append(
            {
                "contact": len(entries),
                "source": _number(contact.source),
                "dest": _number(contact.destination),
                "startTime": start,
                "endTime": end,
                "rateBitsPerSec": rate,
                "owlt": round(owlt_ns / SECOND),
            }
        )
    return msgspec.json.format(msgspec.json.encode({"contacts": entries}), indent=2).decode() + "\n"


def _number(node: str) -> int:
    text = node.removeprefix("ipn:").removesuffix(".0")
    if not (text.isascii() and text.isdigit() and node == f"ipn:{text}.0"):
        raise ConfigError("node", f"{node} has no HDTN node number", "name nodes ipn:N.0")
    return int(text)
