"""Plans made of plans: tidied, without a node, under weather."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from stack.contacts.plan import Contact, Plan
from stack.core.errors import ConfigError

Probability = float | Mapping[str, float] | Callable[[Contact], float]
"""How likely a link is to be there: one number for all, a number for each node that has one (the
two of a contact are multiplied), or a function of the contact."""


def tidy(plan: Plan, *, merge_gap_ms: int = 0, minimum_ms: int = 0, guard_ms: int = 0) -> Plan:
    """A plan as an operator would book it.

    First contacts of one direction that are alike and no farther apart than `merge_gap_ms` become
    one, which counts the gap as usable.  Then each pass loses `guard_ms` at either end; a pass is
    a time in which two nodes are in contact without a break, be it in one direction or in both.
    At last passes of which less than `minimum_ms` is left are dropped.  Steps of the rate within
    a pass stay as they are.

    Raises `ConfigError` for times below 0.
    """
    for key, value in (
        ("merge_gap_ms", merge_gap_ms),
        ("minimum_ms", minimum_ms),
        ("guard_ms", guard_ms),
    ):
        if value < 0:
            raise ConfigError(key, "a time is 0 or more")
    kept: list[Contact] = []
    for group in passes_of(joined(plan.contacts, merge_gap_ms)):
        start_ms = group[0].start_ms + guard_ms
        end_ms = max(contact.end_ms for contact in group) - guard_ms
        if end_ms - start_ms >= max(1, minimum_ms):
            kept.extend(clipped(group, start_ms, end_ms))
    return plan.with_contacts(kept)


def joined(contacts: Collection[Contact], gap_ms: int) -> list[Contact]:
    """Contacts (by start) of which those that are alike, and no farther apart, have become one."""
    merged: list[Contact] = []
    growing: dict[Contact, int] = {}
    for contact in contacts:  # by start
        alike = replace(contact, start_ms=0, end_ms=1)
        place = growing.get(alike)
        if place is not None and contact.start_ms - merged[place].end_ms <= gap_ms:
            end_ms = max(merged[place].end_ms, contact.end_ms)
            merged[place] = replace(merged[place], end_ms=end_ms)
        else:
            growing[alike] = len(merged)
            merged.append(contact)
    return merged


def passes_of(contacts: Collection[Contact]) -> list[list[Contact]]:
    """Contacts by pass, each by start; passes by start.

    A pass is a time in which two nodes are in contact without a break, in either direction.
    """
    found: list[list[Contact]] = []
    open_: dict[tuple[str, str], tuple[int, int]] = {}
    for contact in sorted(contacts, key=lambda one: one.start_ms):
        one, other = contact.source, contact.destination
        pair = (one, other) if one < other else (other, one)
        place, end_ms = open_.get(pair, (0, -1))
        if contact.start_ms > end_ms:
            place = len(found)
            found.append([])
        found[place].append(contact)
        open_[pair] = (place, max(end_ms, contact.end_ms))
    return found


def clipped(contacts: Collection[Contact], start_ms: int, end_ms: int) -> list[Contact]:
    """What lies in a period of each contact."""
    found = []
    for contact in contacts:
        first, last = max(contact.start_ms, start_ms), min(contact.end_ms, end_ms)
        if first < last:
            whole = (first, last) == (contact.start_ms, contact.end_ms)
            found.append(contact if whole else replace(contact, start_ms=first, end_ms=last))
    return found


def without(plan: Plan, *nodes: str) -> Plan:
    """The plan as it is when nodes are lost.  Raises `ConfigError` for one that is not in it."""
    known = set(plan.nodes)
    for node in nodes:
        if node not in known:
            some = ", ".join(plan.nodes[:8])
            raise ConfigError("without", f"{node!r} is not in the plan", f"its nodes: {some}")
    lost = frozenset(nodes)
    return Plan(
        (one for one in plan.contacts if not lost & {one.source, one.destination}),
        (one for one in plan.ranges if not lost & {one.source, one.destination}),
    )


def with_weather(plan: Plan, probability: Probability) -> Plan:
    """The plan with the confidence of each contact multiplied by the probability that the weather
    lets it through.  Raises `ConfigError` for a probability that is not in 0..1."""
    return plan.with_contacts(_derated(contact, probability) for contact in plan.contacts)


def _derated(contact: Contact, probability: Probability) -> Contact:
    if callable(probability):
        factor = probability(contact)
    elif isinstance(probability, Mapping):
        factor = probability.get(contact.source, 1.0) * probability.get(contact.destination, 1.0)
    else:
        factor = probability
    if not 0.0 <= factor <= 1.0 or math.isnan(factor):
        raise ConfigError(
            "weather",
            f"{contact.source} to {contact.destination}: {factor} is no probability",
            "use 0 to 1",
        )
    return contact if factor == 1.0 else replace(contact, confidence=contact.confidence * factor)


def confident(plan: Plan, least: float) -> Plan:
    """The contacts that take place with a probability of at least `least`."""
    return plan.with_contacts(one for one in plan.contacts if one.confidence >= least)
