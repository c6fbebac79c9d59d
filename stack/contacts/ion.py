"""The contact plan commands of ION's `ionadmin`, as in an ionrc file (ION manual, ionrc(5)).

Read: ``a``, ``c`` and ``d`` of ``contact`` and ``range``, ``@`` (reference time).  Rates are bytes
per second, ranges are light seconds; a range from a lower to a higher node number also holds in
the other direction wherever no range of that direction says otherwise.  ION itself reads whole
seconds only; fractions are accepted here.

What does no harm never makes a plan unreadable; it is passed over and counted: other commands of
ionadmin (``1``, ``s``, ``m``, ``^`` ...) and of other programs, with ``## begin`` markers or
without; contacts and ranges of a node with itself, which ION wants and nobody else needs; contacts
that carry no volume (registrations, start -1; hypothetical ones, stop 0; no rate; an end that is
not after the start); deletions of what is not there.  A line that looks like a misspelt contact or
range is an error, as it would be missed.

Node N is ``ipn:N.0``, node A.N (with an allocator) is ``ipn:A.N.0``.
"""

from __future__ import annotations

import datetime
import difflib
import math
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

from stack.contacts.passed import PassedOver
from stack.contacts.plan import (
    CONTACTS_MAX,
    FILE_BYTES_MAX,
    RANGES_MAX,
    Contact,
    Plan,
    Range,
    check_contact,
    check_range,
)
from stack.core.clock import SECOND, dtn_from_unix, dtn_to_iso, unix_from_dtn
from stack.core.errors import ConfigError

_NUMBER = re.compile(r"[0-9]{1,18}(\.[0-9]{1,9})?", re.ASCII)
_NODE = re.compile(r"([0-9]{1,10}\.)?[0-9]{1,20}", re.ASCII)
_NODE_ID = re.compile(r"ipn:((?:[0-9]+\.)?[0-9]+)\.0", re.ASCII)
_ABSOLUTE = "%Y/%m/%d-%H:%M:%S"
_ANY = "*"
_OBJECTS = ("contact", "range")

_Key = tuple[int, str, str]


def read_ion(text: str, reference_ms: int = 0, passed: PassedOver | None = None) -> Plan:
    """The plan of an ionrc text; relative times count from `reference_ms` until an ``@`` line.

    What was passed over is counted in `passed`.  Raises `ConfigError` naming the line.  Contacts of
    one direction that overlap are refused, as ION refuses them; one that is given twice counts
    once.
    """
    if len(text) > FILE_BYTES_MAX:
        raise ConfigError("contact plan", f"longer than {FILE_BYTES_MAX} octets")
    passed = PassedOver() if passed is None else passed
    reader = _Reader(reference_ms, passed)
    for number, words in _commands(text, passed):
        reader.command(words, f"line {number}")
    return reader.plan()


def _commands(text: str, passed: PassedOver) -> Iterator[tuple[int, list[str]]]:
    """The ionadmin commands of a text, each with its line number."""
    ours = True
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(None, 9)
        if not words:
            continue
        if words[0] == "##" and len(words) > 2 and words[1] in ("begin", "end"):
            ours = words[1] == "end" or words[2] == "ionadmin"
        elif words[0].startswith("#"):
            continue
        elif not ours:
            passed.add("command of another program", f"line {number}")
        else:
            for place, word in enumerate(words):
                if word.startswith("#"):
                    del words[place:]
                    break
            yield number, words


class _Reader:
    """Applies commands in order, since deletions and changes refer to what came before."""

    def __init__(self, reference_ms: int, passed: PassedOver) -> None:
        self._reference_ms = reference_ms
        self._passed = passed
        self._contacts: dict[_Key, tuple[Contact, str]] = {}
        self._ranges: dict[_Key, tuple[Range, str]] = {}

    def command(self, words: list[str], line: str) -> None:
        verb = words[0]
        if verb == "@":
            self._reference_ms = self._time(_word(words, 1, "a time", line), line)
            return
        if verb not in ("a", "c", "d"):
            if difflib.get_close_matches(verb, _OBJECTS):
                raise ConfigError(line, f"{verb[:40]!r} is no command", "write `a contact ...`")
            self._passed.add("command that is not of the plan", line)
            return
        match verb, _word(words, 1, "contact or range", line):
            case "a", "contact":
                self._add_contact(words[2:], line)
            case "a", "range":
                self._add_range(words[2:], line)
            case "c", "contact":
                self._change_contact(words[2:], line)
            case "d", "contact":
                self._delete(self._contacts, words[2:], line)
            case "d", "range":
                self._delete(self._ranges, words[2:], line)
            case _ if difflib.get_close_matches(words[1], _OBJECTS):
                raise ConfigError(
                    line, f"`{verb} {words[1][:40]}` is not known", f"write `{verb} contact`"
                )
            case _:
                self._passed.add("command that is not of the plan", line)

    def plan(self) -> Plan:
        latest: dict[tuple[str, str], Contact] = {}
        for contact, line in sorted(self._contacts.values(), key=lambda item: item[0].start_ms):
            before = latest.get((contact.source, contact.destination))
            if before is not None and before.end_ms > contact.start_ms:
                raise ConfigError(
                    line,
                    f"overlaps the contact that begins at {dtn_to_iso(before.start_ms)}",
                    "end one contact of a direction before the next begins",
                )
            latest[contact.source, contact.destination] = contact
        contacts = [contact for contact, _ in self._contacts.values()]
        return Plan(contacts, _with_reverse([entry for entry, _ in self._ranges.values()]))

    def _add_contact(self, words: list[str], line: str) -> None:
        # ION 4.1 has one more value, whether the contact is announced to others.
        _count(words, 5, 7, "start stop source destination bytes/s [confidence]", line)
        if words[0] == "-1":
            self._passed.add("registration", line)
            return
        if words[1] == "0":
            self._passed.add("hypothetical contact", line)
            return
        start_ms, end_ms, source, destination = self._period(words, line)
        rate_bps = 8 * _number(words[4], "a rate", line)
        if self._needless("contact", start_ms, end_ms, source, destination, line):
            return
        if not rate_bps:
            self._passed.add("contact without a rate", line)
            return
        confidence = _number(words[5], "a confidence", line) if len(words) > 5 else 1.0
        contact = Contact(source, destination, start_ms, end_ms, rate_bps, confidence)
        check_contact(contact, line)
        key = (start_ms, source, destination)
        before = self._contacts.get(key)
        if before is not None and before[0] != contact:
            raise ConfigError(line, f"differs from the same contact at {before[1]}", "remove one")
        self._contacts[key] = (contact, line)
        if len(self._contacts) > CONTACTS_MAX:
            raise ConfigError(line, f"more than {CONTACTS_MAX} contacts", "split the plan")

    def _change_contact(self, words: list[str], line: str) -> None:
        _count(words, 4, 5, "start source destination bytes/s [confidence]", line)
        key = (self._time(words[0], line), _node(words[1], line), _node(words[2], line))
        if key[1] == key[2]:
            self._passed.add("contact of a node with itself", line)
            return
        if key not in self._contacts:
            raise ConfigError(line, "no such contact", "add it before it is changed")
        old = self._contacts[key][0]
        confidence = _number(words[4], "a confidence", line) if len(words) > 4 else old.confidence
        rate_bps = 8 * _number(words[3], "a rate", line)
        contact = Contact(
            old.source, old.destination, old.start_ms, old.end_ms, rate_bps, confidence
        )
        check_contact(contact, line)
        self._contacts[key] = (contact, line)

    def _add_range(self, words: list[str], line: str) -> None:
        _count(words, 5, 6, "start stop node node light-seconds", line)
        start_ms, end_ms, source, destination = self._period(words, line)
        owlt_ns = round(_number(words[4], "a light time in seconds", line) * SECOND)
        if self._needless("range", start_ms, end_ms, source, destination, line):
            return
        entry = Range(source, destination, start_ms, end_ms, owlt_ns)
        check_range(entry, line)
        key = (start_ms, source, destination)
        before = self._ranges.get(key)
        if before is not None and before[0] != entry:
            raise ConfigError(line, f"differs from the same range at {before[1]}", "remove one")
        self._ranges[key] = (entry, line)
        if len(self._ranges) > RANGES_MAX:
            raise ConfigError(line, f"more than {RANGES_MAX} ranges", "use longer steps")

    def _delete(
        self,
        entries: dict[_Key, tuple[Contact, str]] | dict[_Key, tuple[Range, str]],
        words: list[str],
        line: str,
    ) -> None:
        _count(words, 3, 3, "start source destination", line)
        if words[0] in ("-1", "0"):
            self._passed.add("deletion of a registration or hypothetical contact", line)
            return
        pair = (_node(words[1], line), _node(words[2], line))
        if words[0] == _ANY:
            for key in [key for key in entries if key[1:] == pair]:
                del entries[key]
        elif entries.pop((self._time(words[0], line), *pair), None) is None:
            self._passed.add("deletion of what is not there", line)

    def _needless(
        self, what: str, start_ms: int, end_ms: int, source: str, destination: str, line: str
    ) -> bool:
        """Whether a contact or range is passed over, since nobody needs it or it never is."""
        if source == destination:
            self._passed.add(f"{what} of a node with itself", line)
        elif start_ms >= end_ms:
            self._passed.add(f"{what} that ends before it begins", line)
        else:
            return False
        return True

    def _period(self, words: list[str], line: str) -> tuple[int, int, str, str]:
        return (
            self._time(words[0], line),
            self._time(words[1], line),
            _node(words[2], line),
            _node(words[3], line),
        )

    def _time(self, word: str, line: str) -> int:
        if word.startswith("+"):
            if not _NUMBER.fullmatch(word, 1):
                raise ConfigError(line, f"{word[:40]!r} is not a time", "write +seconds")
            return self._reference_ms + round(Decimal(word[1:]) * 1000)
        whole, dot, fraction = word.partition(".")
        try:
            moment = datetime.datetime.strptime(whole, _ABSOLUTE).replace(tzinfo=datetime.UTC)
            part_ms = round(Decimal(f"0.{fraction}") * 1000) if dot else 0
        except (ValueError, ArithmeticError):
            raise ConfigError(
                line, f"{word[:40]!r} is not a time", "write yyyy/mm/dd-hh:mm:ss or +seconds"
            ) from None
        return dtn_from_unix(moment.timestamp()) + part_ms


def _word(words: list[str], place: int, what: str, line: str) -> str:
    if len(words) <= place:
        raise ConfigError(line, f"{what} is missing")
    return words[place]


def _count(words: list[str], least: int, most: int, form: str, line: str) -> None:
    if not least <= len(words) <= most:
        raise ConfigError(line, f"has {len(words)} values", f"write {form}")


def _node(word: str, line: str) -> str:
    if not _NODE.fullmatch(word):
        raise ConfigError(line, f"{word[:40]!r} is not a node number")
    return f"ipn:{word}.0"


def _number(word: str, what: str, line: str) -> float:
    if not _NUMBER.fullmatch(word):
        raise ConfigError(line, f"{word[:40]!r} is not {what}", "write a decimal number")
    return float(word)


def _order(node: str) -> int:
    """The fully qualified node number (RFC 9758 §3.2): the allocator is its upper 32 bits."""
    allocator, _, number = node[4:-2].rpartition(".")
    return (int(allocator or 0) << 32) + int(number)


def _with_reverse(ranges: list[Range]) -> list[Range]:
    """The ranges and what each from a lower to a higher node implies the other way round."""
    explicit: dict[tuple[str, str], list[Range]] = {}
    for entry in sorted(ranges, key=lambda entry: entry.start_ms):
        explicit.setdefault((entry.source, entry.destination), []).append(entry)
    implied: list[Range] = []
    for (source, destination), entries in explicit.items():
        if _order(source) < _order(destination):
            implied += _uncovered(entries, explicit.get((destination, source), []))
    return ranges + implied


def _uncovered(ranges: list[Range], explicit: list[Range]) -> Iterator[Range]:
    """`ranges` turned round, without the periods in which `explicit` speaks; both by start."""
    first = 0
    for entry in ranges:
        while first < len(explicit) and explicit[first].end_ms <= entry.start_ms:
            first += 1
        at_ms = entry.start_ms
        place = first
        while place < len(explicit) and explicit[place].start_ms < entry.end_ms:
            other = explicit[place]
            if other.start_ms > at_ms:
                yield Range(entry.destination, entry.source, at_ms, other.start_ms, entry.owlt_ns)
            at_ms = max(at_ms, other.end_ms)
            place += 1
        if at_ms < entry.end_ms:
            yield Range(entry.destination, entry.source, at_ms, entry.end_ms, entry.owlt_ns)


def write_ion(plan: Plan, reference_ms: int | None = None, *, fractions: bool = False) -> str:
    """The plan as ionrc commands, with times relative to `reference_ms`, or absolute for None.

    ION knows whole seconds only, so contacts shrink to them (one that holds no whole second is
    left out), rates are rounded down and light times to the nearest second.  `fractions` writes
    what was planned, for readers that take it (`read_ion` does).  Raises `ConfigError` when a
    node is not an ipn node, a contact begins before the reference, or a rate is unlimited.
    """
    lines = ["# contact: start stop source destination bytes/s confidence; range: light seconds"]
    for contact in plan.contacts:
        if math.isinf(contact.rate_bps):
            raise ConfigError("rate_bps", "ION has no unlimited rate", "set a rate")
        start, stop = contact.start_ms, contact.end_ms
        rate = contact.rate_bps / 8
        if not fractions:
            start, stop, rate = -(-start // 1000) * 1000, stop // 1000 * 1000, max(1, int(rate))
            if start >= stop:
                continue
        lines.append(
            f"a contact {_moment(start, reference_ms, fractions)} "
            f"{_moment(stop, reference_ms, fractions)} {_ion_node(contact.source)} "
            f"{_ion_node(contact.destination)} {_decimal(rate)} {_decimal(contact.confidence)}"
        )
    ranges: Iterable[Range] = plan.ranges if fractions else _whole_seconds(plan.ranges)
    for entry in ranges:
        seconds = Decimal(entry.owlt_ns) / SECOND
        lines.append(
            f"a range {_moment(entry.start_ms, reference_ms, fractions)} "
            f"{_moment(entry.end_ms, reference_ms, fractions)} {_ion_node(entry.source)} "
            f"{_ion_node(entry.destination)} {seconds.normalize():f}"
        )
    return "\n".join(lines) + "\n"


def _whole_seconds(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Ranges whose times and light times are whole seconds; equal neighbours are joined, and
    the earlier of two ranges keeps the second in which one follows the other."""
    rounded: list[Range] = []
    for entry in ranges:
        start_ms, end_ms = entry.start_ms // 1000 * 1000, -(-entry.end_ms // 1000) * 1000
        if rounded and (rounded[-1].source, rounded[-1].destination) == (
            entry.source,
            entry.destination,
        ):
            start_ms = max(start_ms, rounded[-1].end_ms)
        if start_ms < end_ms:
            owlt_ns = round(entry.owlt_ns / SECOND) * SECOND
            rounded.append(Range(entry.source, entry.destination, start_ms, end_ms, owlt_ns))
    return Plan((), rounded).ranges


def _ion_node(node: str) -> str:
    found = _NODE_ID.fullmatch(node)
    if found is None:
        raise ConfigError("node", f"{node} has no ION node number", "name nodes ipn:N.0")
    return found[1]


def _moment(dtn_ms: int, reference_ms: int | None, fractions: bool) -> str:
    if reference_ms is None:
        moment = datetime.datetime.fromtimestamp(unix_from_dtn(dtn_ms // 1000 * 1000), datetime.UTC)
        text, part_ms = moment.strftime(_ABSOLUTE), dtn_ms % 1000
        return f"{text}.{part_ms:03}" if part_ms and fractions else text
    if dtn_ms < reference_ms:
        raise ConfigError(
            "reference_ms",
            f"an entry begins {reference_ms - dtn_ms} ms before it",
            "give an earlier reference or write absolute times",
        )
    seconds = Decimal(dtn_ms - reference_ms) / 1000
    return f"+{seconds.normalize():f}" if fractions else f"+{int(seconds)}"


def _decimal(value: float) -> str:
    """A number without an exponent, exact to nine places."""
    text = f"{value:.9f}"
    return text.rstrip("0").rstrip(".")
