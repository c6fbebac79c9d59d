"""Hypothesis strategies for contact plans."""

from __future__ import annotations

import itertools
import math

from hypothesis import strategies as st

from stack.contacts.plan import Contact, Plan, Range

IPN_NODES = [f"ipn:{n}.0" for n in range(1, 7)]
DTN_NODES = ["dtn://gs1/", "dtn://gs2/", "dtn://sat-α/", "dtn://sat2/"]


def pairs_of(nodes: int) -> st.SearchStrategy[tuple[str, str]]:
    """One direction between two of the first `nodes` nodes."""
    return st.sampled_from(list(itertools.permutations(IPN_NODES[:nodes], 2)))


pairs = pairs_of(len(IPN_NODES))

# Rates that make whole nanoseconds of whole octets, so that reckoning is exact.
exact_rates = st.sampled_from([1e3, 8e3, 64e3, 1e6, 8e9, math.inf])


def periods(most_ms: int, grain_ms: int = 1) -> st.SearchStrategy[tuple[int, int]]:
    """A start and a later end, on a grain."""
    most = most_ms // grain_ms
    return st.tuples(st.integers(0, most), st.integers(1, most)).map(
        lambda drawn: (drawn[0] * grain_ms, (drawn[0] + drawn[1]) * grain_ms)
    )


@st.composite
def contacts(
    draw: st.DrawFn,
    most_ms: int = 20_000,
    grain_ms: int = 1,
    rates: st.SearchStrategy[float] = exact_rates,
    nodes: int = 6,
) -> Contact:
    """One contact between two of the nodes."""
    source, destination = draw(pairs_of(nodes))
    start_ms, end_ms = draw(periods(most_ms, grain_ms))
    return Contact(source, destination, start_ms, end_ms, draw(rates))


@st.composite
def named_contacts(draw: st.DrawFn) -> Contact:
    """One contact with every field filled in."""
    source, destination = draw(st.permutations(DTN_NODES + IPN_NODES[:2]))[:2]
    start_ms, end_ms = draw(periods(10**12))
    return Contact(
        source,
        destination,
        start_ms,
        end_ms,
        draw(st.floats(1e-3, 1e15) | st.just(math.inf)),
        draw(st.floats(0, 1)),
        draw(st.text(max_size=5)),
        draw(st.text(max_size=5)),
    )


@st.composite
def light(draw: st.DrawFn, most_ms: int = 20_000, grain_ms: int = 1, nodes: int = 6) -> list[Range]:
    """The ranges of one direction: disjoint, touching or with gaps."""
    source, destination = draw(pairs_of(nodes))
    times = draw(st.lists(st.integers(0, 2 * most_ms // grain_ms), unique=True, max_size=8))
    times.sort()
    ranges = []
    for start, end in itertools.pairwise(times):
        if draw(st.booleans()):
            owlt_ns = draw(st.integers(0, 5000)) * 1_000_000 // draw(st.sampled_from([1, 1000]))
            ranges.append(Range(source, destination, start * grain_ms, end * grain_ms, owlt_ns))
    return ranges


@st.composite
def plans(
    draw: st.DrawFn,
    most_contacts: int = 12,
    most_ms: int = 20_000,
    grain_ms: int = 1,
    rates: st.SearchStrategy[float] = exact_rates,
    nodes: int = 6,
    least_contacts: int = 0,
) -> Plan:
    """A small plan: overlapping, repeated and touching contacts, light times that change."""
    entries = draw(
        st.lists(
            contacts(most_ms, grain_ms, rates, nodes=nodes),
            min_size=least_contacts,
            max_size=most_contacts,
        )
    )
    ranges: dict[tuple[str, str], list[Range]] = {}
    for group in draw(st.lists(light(most_ms, grain_ms, nodes), max_size=6)):
        if group:
            ranges[group[0].source, group[0].destination] = group
    return Plan(entries, [entry for group in ranges.values() for entry in group])
