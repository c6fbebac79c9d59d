"""Contact plans: contacts, light times and whole plans, as values of `stack.contacts.plan`.

What they are as files is in `interop.strategies.contact_files`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from interop.strategies.choices import Choices, Source
from interop.strategies.making import strategy
from stack.contacts.plan import Contact, Plan, Range

IPN_NODES = tuple(f"ipn:{number}.0" for number in range(1, 7))
DTN_NODES = ("dtn://gs1/", "dtn://gs2/", "dtn://sat-α/", "dtn://sat2/")

EXACT_RATES_BPS = (1e3, 8e3, 64e3, 1e6, 8e9, math.inf)
"""Rates that make whole nanoseconds of whole octets, so that reckoning is exact."""


@strategy
def rates(choose: Choices, *, of: Sequence[float] = EXACT_RATES_BPS) -> float:
    """One of some rates in bit/s."""
    return choose.pick(of)


_RATES = rates.maker()


@strategy
def pairs(choose: Choices, *, nodes: int = len(IPN_NODES)) -> tuple[str, str]:
    """One direction between two of the first `nodes` nodes."""
    source = choose.integer(0, nodes - 1)
    other = choose.integer(0, nodes - 2)
    return IPN_NODES[source], IPN_NODES[other + (other >= source)]


@strategy
def periods(choose: Choices, most_ms: int, grain_ms: int = 1) -> tuple[int, int]:
    """A start and a later end, on a grain."""
    most = most_ms // grain_ms
    start = choose.integer(0, most)
    return start * grain_ms, (start + choose.integer(1, most)) * grain_ms


@strategy
def contacts(
    choose: Choices,
    *,
    most_ms: int = 20_000,
    grain_ms: int = 1,
    rates: Source[float] = _RATES,
    nodes: int = len(IPN_NODES),
) -> Contact:
    """One contact between two of the nodes."""
    source, destination = pairs.make(choose, nodes=nodes)
    start_ms, end_ms = periods.make(choose, most_ms, grain_ms)
    return Contact(source, destination, start_ms, end_ms, choose.draw(rates))


@strategy
def named_contacts(choose: Choices) -> Contact:
    """One contact with every field filled in."""
    names = list(DTN_NODES + IPN_NODES[:2])
    source = names.pop(choose.integer(0, len(names) - 1))
    start_ms, end_ms = periods.make(choose, 10**12)
    return Contact(
        source,
        choose.pick(names),
        start_ms,
        end_ms,
        choose.pick((1e-3, 0.1, 9600.0, 256e3, 1e15, math.inf)),
        choose.integer(0, 1000) / 1000,
        choose.text("ab 'é\"\\", 0, 5),
        choose.text("NOit", 0, 5),
    )


@strategy
def light(
    choose: Choices,
    *,
    most_ms: int = 20_000,
    grain_ms: int = 1,
    nodes: int = len(IPN_NODES),
) -> list[Range]:
    """The ranges of one direction: disjoint, touching or with gaps."""
    source, destination = pairs.make(choose, nodes=nodes)
    times = sorted({choose.integer(0, 2 * most_ms // grain_ms) for _ in choose.many(0, 8)})
    found = []
    for start, end in itertools.pairwise(times):
        if choose.flip():
            owlt_ns = choose.integer(0, 5000) * 1_000_000 // choose.pick((1, 1000))
            found.append(Range(source, destination, start * grain_ms, end * grain_ms, owlt_ns))
    return found


@strategy
def plans(
    choose: Choices,
    *,
    most_contacts: int = 12,
    most_ms: int = 20_000,
    grain_ms: int = 1,
    rates: Source[float] = _RATES,
    nodes: int = len(IPN_NODES),
    least_contacts: int = 0,
) -> Plan:
    """A small plan: overlapping, repeated and touching contacts, light times that change."""
    contact = contacts.maker(most_ms=most_ms, grain_ms=grain_ms, rates=rates, nodes=nodes)
    times = light.maker(most_ms=most_ms, grain_ms=grain_ms, nodes=nodes)
    entries = [contact(choose) for _ in choose.many(least_contacts, most_contacts)]
    ranges: dict[tuple[str, str], list[Range]] = {}
    for _ in choose.many(0, 6):
        if group := times(choose):
            ranges[group[0].source, group[0].destination] = group
    return Plan(entries, [entry for group in ranges.values() for entry in group])
