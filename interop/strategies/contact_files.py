"""Contact plans as files: in the native format, as ION's ionadmin reads them, and as HDTN does.

native_files() ion_files() hdtn_files()     files of any plan that the format can hold
nearly_native_files() ...                   files that break one rule, with the key or line
                                            that an error should name in `Violation.words`
mutated_files(...)                          is `interop.strategies.mutated` of any of these
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from interop.strategies.choices import Choices
from interop.strategies.contacts import contacts, plans, rates
from interop.strategies.making import strategy
from interop.strategies.rules import WireRule, nearly
from interop.strategies.violation import Nearly, Violation
from stack.contacts.hdtn import write_hdtn
from stack.contacts.ion import write_ion
from stack.contacts.native import write_json
from stack.contacts.plan import OWLT_NS_MAX, Contact, Plan, Range

NATIVE = "docs/contact-plan.md"
IONRC = "ionrc(5)"
HDTN = "HDTN contactPlan.json"

_ION_RATES = (8e3, 12_344.0, 1e6, 2.5e9)
"""ION knows whole octets a second, and no link without a limit."""


def _apart(plan: Plan) -> Plan:
    """Without contacts that overlap others of their direction, as ION wants it."""
    kept: dict[tuple[str, str], Contact] = {}
    found = []
    for contact in plan.contacts:
        before = kept.get((contact.source, contact.destination))
        if before is None or before.end_ms <= contact.start_ms:
            kept[contact.source, contact.destination] = contact
            found.append(contact)
    return Plan(found, plan.ranges)


@strategy
def native_files(choose: Choices) -> bytes:
    """A plan in the native format, as JSON."""
    return write_json(plans.make(choose)).encode()


@strategy
def ion_files(choose: Choices) -> bytes:
    """A plan as commands of ionadmin, with times relative to the start."""
    made = plans.maker(grain_ms=1000, rates=rates.maker(of=_ION_RATES))
    return write_ion(_apart(made(choose)), 0).encode()


@strategy
def hdtn_files(choose: Choices) -> bytes:
    """A plan as HDTN's JSON, in whole seconds."""
    return write_hdtn(plans.make(choose, grain_ms=1000), 0).encode()


# ------------------------------------------------------------------------------ nearly valid


def _some(choose: Choices) -> Plan:
    """A plan of one contact or more, with a light time, in whole seconds."""
    made = contacts.maker(grain_ms=1000, rates=rates.maker(of=_ION_RATES))
    first = made(choose)
    light = Range(first.source, first.destination, first.start_ms, first.end_ms, 2_000_000_000)
    return _apart(Plan([first, *(made(choose) for _ in choose.many(0, 3))], [light]))


Document = dict[str, Any]


def _native(change: Callable[[Choices, Document], None]) -> Callable[[Choices, Plan], bytes]:
    return _json(write_json, change)


def _hdtn(change: Callable[[Choices, Document], None]) -> Callable[[Choices, Plan], bytes]:
    return _json(lambda plan: write_hdtn(plan, 0), change)


def _json(
    write: Callable[[Plan], str], change: Callable[[Choices, Document], None]
) -> Callable[[Choices, Plan], bytes]:
    def spoil(choose: Choices, plan: Plan) -> bytes:
        document: Document = json.loads(write(plan))
        change(choose, document)
        return json.dumps(document, ensure_ascii=False).encode()

    return spoil


def _in_contact(key: str, *values: Any) -> Callable[[Choices, Document], None]:
    """One contact has one of these values."""

    def change(choose: Choices, document: Document) -> None:
        choose.pick(document["contacts"])[key] = choose.pick(values)

    return change


def _without(key: str) -> Callable[[Choices, Document], None]:
    def change(choose: Choices, document: Document) -> None:
        del choose.pick(document["contacts"])[key]

    return change


def _with_itself(choose: Choices, document: Document) -> None:
    contact = choose.pick(document["contacts"])
    contact["destination"] = contact["source"]


def _backwards(choose: Choices, document: Document) -> None:
    contact = choose.pick(document["contacts"])
    contact["end_ms"] = contact["start_ms"] - choose.integer(0, min(1000, contact["start_ms"]))


def _other_format(choose: Choices, document: Document) -> None:
    document["format"] = choose.pick(("", "orbitferry-contact-plan-2", "contact-plan"))


def _two_times(choose: Choices, document: Document) -> None:
    choose.pick(document["contacts"])["start"] = "2026-10-01T00:00:00Z"


def _light(choose: Choices, document: Document) -> None:
    document["ranges"][0]["steps"][0][2] = choose.pick((-1, OWLT_NS_MAX + 1))


def _contradicting_light(choose: Choices, document: Document) -> None:
    steps = document["ranges"][0]["steps"]
    start, end, owlt_ns = steps[0]
    steps.append([start, end, owlt_ns + choose.integer(1, 10**9)])


def _cut(choose: Choices, plan: Plan) -> bytes:
    text = write_json(plan).rstrip()
    return text[: choose.integer(1, len(text) - 1)].encode()


def _rule(clause: str, words: str, spoil: Callable[[Choices, Plan], bytes]) -> WireRule[Plan]:
    return WireRule(Violation(clause, words), _some, spoil)


NATIVE_RULES = (
    _rule(NATIVE, "another format", _native(_other_format)),
    _rule(NATIVE, "a document that is cut short", _cut),
    _rule(NATIVE, "an unknown key", _native(_in_contact("bandwidth", 1, "x"))),
    _rule(NATIVE, "a contact without a source", _native(_without("source"))),
    _rule(NATIVE, "a contact without an end", _native(_without("end_ms"))),
    _rule(NATIVE, "a contact of a node with itself", _native(_with_itself)),
    _rule(NATIVE, "a contact that ends before it begins", _native(_backwards)),
    _rule(NATIVE, "a time below 0", _native(_in_contact("start_ms", -1, -(1 << 63)))),
    _rule(NATIVE, "a time that is text", _native(_in_contact("start_ms", "soon", "0"))),
    _rule(NATIVE, "two starts", _native(_two_times)),
    _rule(NATIVE, "a rate that is none", _native(_in_contact("rate_bps", 0, -1, 1e300, "fast"))),
    _rule(NATIVE, "a confidence outside 0 to 1", _native(_in_contact("confidence", -0.1, 1.1))),
    _rule(NATIVE, "a node id with a blank or a control character",
          _native(_in_contact("source", "", "dtn://a b/", "dtn://a\n/", "dtn://a\u202e/"))),
    _rule(NATIVE, "a light time below 0 or above a day", _native(_light)),
    _rule(NATIVE, "two light times at once", _native(_contradicting_light)),
)  # fmt: skip

HDTN_RULES = (
    _rule(HDTN, "a contact without a start", _hdtn(_without("startTime"))),
    _rule(HDTN, "a contact without a destination", _hdtn(_without("dest"))),
    _rule(HDTN, "a node number below 0", _hdtn(_in_contact("source", -1, -(1 << 31)))),
    _rule(HDTN, "a node that is no number", _hdtn(_in_contact("source", "ipn:1.0", [], 1.5))),
    _rule(HDTN, "a time that is none", _hdtn(_in_contact("endTime", "later", 1e300, None))),
    _rule(HDTN, "a rate below 0", _hdtn(_in_contact("rateBitsPerSec", -1, -1e9))),
    _rule(HDTN, "a light time below 0", _hdtn(_in_contact("owlt", -1, -0.5))),
    _rule(HDTN, "a light time above a day", _hdtn(_in_contact("owlt", 86_401, 1e15))),
)


def _ion(change: Callable[[Choices, list[str]], str]) -> Callable[[Choices, Plan], bytes]:
    """Breaks a rule in one command of a contact."""

    def spoil(choose: Choices, plan: Plan) -> bytes:
        lines = write_ion(plan, 0).splitlines()
        at = choose.pick([n for n, line in enumerate(lines) if line.startswith("a contact")])
        lines[at] = change(choose, lines[at].split())
        return ("\n".join(lines) + "\n").encode()

    return spoil


def _word(place: int, *values: str) -> Callable[[Choices, list[str]], str]:
    def change(choose: Choices, words: list[str]) -> str:
        return " ".join([*words[:place], choose.pick(values), *words[place + 1 :]])

    return change


def _misspelt(choose: Choices, words: list[str]) -> str:
    return " ".join(["a", choose.pick(("contct", "contacts", "Contact", "contat")), *words[2:]])


def _few(choose: Choices, words: list[str]) -> str:
    return " ".join(words[: choose.integer(2, 6)])


def _many(choose: Choices, words: list[str]) -> str:
    return " ".join([*words, *("1" for _ in choose.many(2, 4))])


def _again(choose: Choices, words: list[str]) -> str:
    other = [*words[:6], str(float(words[6]) + choose.integer(1, 9)), *words[7:]]
    return " ".join(words) + "\n" + " ".join(other)


def _overlap(choose: Choices, words: list[str]) -> str:
    later = f"+{float(words[2][1:]) + 0.5:g}"
    return " ".join(words) + "\n" + " ".join([*words[:2], later, *words[3:]])


def _no_such(choose: Choices, words: list[str]) -> str:
    return " ".join(["c contact", "+99999", *words[4:6], "1000"])


ION_RULES = (
    _rule(IONRC, "a misspelt command", _ion(_misspelt)),
    _rule(IONRC, "too few values", _ion(_few)),
    _rule(IONRC, "too many values", _ion(_many)),
    _rule(IONRC, "a time that is none", _ion(_word(2, "+", "+-1", "+1e3", "2026/13/01-00:00:00",
          "2026/01/01", "noon"))),
    _rule(IONRC, "a node that is no number", _ion(_word(4, "ipn:1.0", "-1", "1.2.3", "x"))),
    _rule(IONRC, "a rate that is no number", _ion(_word(6, "-1", "fast", "1e6", "1,000"))),
    _rule(IONRC, "a confidence above 1", _ion(_word(7, "1.5", "100"))),
    _rule(IONRC, "contacts of one direction that overlap", _ion(_overlap)),
    _rule(IONRC, "a contact that is given twice, with two rates", _ion(_again)),
    _rule(IONRC, "a change of a contact that is not there", _ion(_no_such)),
)  # fmt: skip


@strategy
def nearly_native_files(
    choose: Choices, *, rules: Sequence[WireRule[Plan]] = NATIVE_RULES
) -> Nearly:
    """A file in the native format that breaks one rule, of `rules`."""
    return nearly(choose, rules, lambda plan: write_json(plan).encode())


@strategy
def nearly_ion_files(choose: Choices, *, rules: Sequence[WireRule[Plan]] = ION_RULES) -> Nearly:
    """Commands of ionadmin that break one rule, of `rules`."""
    return nearly(choose, rules, lambda plan: write_ion(plan, 0).encode())


@strategy
def nearly_hdtn_files(choose: Choices, *, rules: Sequence[WireRule[Plan]] = HDTN_RULES) -> Nearly:
    """HDTN's JSON that breaks one rule, of `rules`."""
    return nearly(choose, rules, lambda plan: write_hdtn(plan, 0).encode())
