"""Contact plans: what the contacts really are, and what a misled node takes them for."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Final

from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import MILLISECOND
from stack.simulator.swarm.faults import Fault
from stack.simulator.swarm.options import Options

EPOCH_MS: Final = 830_000_000_000
"""DTN time at the start of every run."""


def own_plan(name: str, plan: Plan, options: Options) -> Plan:
    """The plan without a node's own unscheduled links, which it knows from its configuration."""
    node = f"dtn://{name}/"
    always = {
        f"dtn://{end}/"
        for link in options.links
        if link.always and name in (link.a, link.b)
        for end in (link.a, link.b)
    } - {node}
    if not always:
        return plan

    def known(a: str, b: str) -> bool:
        return (a == node and b in always) or (b == node and a in always)

    return Plan(
        [one for one in plan.contacts if not known(one.source, one.destination)],
        [one for one in plan.ranges if not known(one.source, one.destination)],
    )


def make_plan(options: Options) -> Plan:
    """What the contacts really are."""
    links = {(link.a, link.b): link for link in options.links}
    end_ms = EPOCH_MS + round(options.day_s * 1000)
    spans = [
        (links[one.a, one.b], round(one.start_s * 1000), round(one.end_s * 1000))
        for one in options.passes
    ]
    spans += [(link, 0, 2 * round(options.day_s * 1000)) for link in options.links if link.always]
    contacts = []
    ranges = []
    for link, first_ms, last_ms in spans:
        for a, b, rate_bps in (
            (link.a, link.b, link.rate_bps),
            (link.b, link.a, link.back_bps),
        ):
            contacts.append(
                Contact(
                    f"dtn://{a}/", f"dtn://{b}/", EPOCH_MS + first_ms, EPOCH_MS + last_ms, rate_bps
                )
            )
    for link in options.links:
        for a, b in ((link.a, link.b), (link.b, link.a)):
            owlt_ns = round(link.owlt_ms * MILLISECOND)
            ranges.append(Range(f"dtn://{a}/", f"dtn://{b}/", EPOCH_MS, end_ms, owlt_ns))
    return Plan(contacts, ranges)


def next_up_s(options: Options, a: str, b: str, from_s: float) -> float:
    """When the link between two nodes is up, at `from_s` or after it; infinity for never."""
    if any(link.always and {link.a, link.b} == {a, b} for link in options.links):
        return from_s
    spans = [one for one in options.passes if {one.a, one.b} == {a, b}]
    return min((max(from_s, one.start_s) for one in spans if from_s < one.end_s), default=math.inf)


USABLE_S: Final = 30.0
"""What is left of a pass, or begins of it, that can carry something."""

JOURNEYS_WANTED: Final = 3
"""A thing must arrive when there are so many ways for it, one after the other: one may fail for
reasons that need no fault (loss, a full transmitter), and another find out about it."""


def journeys(
    options: Options,
    pairs: tuple[tuple[str, str], ...],
    start_s: float,
    among: frozenset[str] | None = None,
) -> int:
    """How many times one after the other something can go all of `pairs`, from `start_s` to the
    end of the day, by what the contacts really are; over the nodes of `among` alone."""
    count = 0
    at_s = start_s
    while count < JOURNEYS_WANTED:
        for source, destination in pairs:
            at_s = _arrival_s(options, source, destination, at_s, among)
            if at_s == math.inf:
                return count
        count += 1
        at_s += USABLE_S
    return count


def _arrival_s(
    options: Options, source: str, destination: str, start_s: float, among: frozenset[str] | None
) -> float:
    """When something is at `destination` at the earliest that is at `source` at `start_s`."""
    reached = {source: start_s}
    pending = {source}
    while pending:
        node = min(pending, key=lambda name: (reached[name], name))
        pending.discard(node)
        for peer, at_s in _hops(options, node, reached[node]):
            allowed = among is None or peer in among
            if allowed and at_s < reached.get(peer, math.inf):
                reached[peer] = at_s
                pending.add(peer)
    return reached.get(destination, math.inf)


def _hops(options: Options, node: str, from_s: float) -> list[tuple[str, float]]:
    found = [
        (link.b if node == link.a else link.a, from_s)
        for link in options.links
        if node in (link.a, link.b) and link.always and from_s < options.day_s - USABLE_S
    ]
    found += [
        (one.b if node == one.a else one.a, max(from_s, one.start_s) + USABLE_S)
        for one in options.passes
        if node in (one.a, one.b)
        and max(from_s, one.start_s) + USABLE_S <= min(one.end_s, options.day_s)
    ]
    return found


def misled(plan: Plan, fault: Fault, rng: random.Random) -> Plan:
    """A plan that is wrong in the way of `fault`."""
    contacts = list(plan.contacts)
    if not contacts:
        return plan
    wrong: list[Contact] = []
    for one in contacts:
        strikes = rng.random() < 0.5
        if not strikes:
            wrong.append(one)
        elif fault.mode == "shifted":
            wrong.append(_moved(one, fault.amount))
        elif fault.mode == "rate":
            wrong.append(dataclasses.replace(one, rate_bps=one.rate_bps * fault.amount))
        elif fault.mode == "ghost":
            wrong += [one, _moved(one, fault.amount + (one.end_ms - one.start_ms) / 1000)]
    return Plan(wrong, plan.ranges)


def _moved(contact: Contact, seconds: float) -> Contact:
    by_ms = round(seconds * 1000)
    return dataclasses.replace(
        contact, start_ms=contact.start_ms + by_ms, end_ms=contact.end_ms + by_ms
    )
