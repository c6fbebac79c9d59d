"""When an object arrives: what a contact plan does with it, without running a node.

The object is cut into bundles, and they are booked one after another as a node would: each takes
the best route that is left (`stack.routing.selection`), behind those before it on every contact.
Bundles that take one route are reckoned together, so that a hundred thousand cost hardly more than
one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stack.contacts.plan import Contact, Plan
from stack.core.clock import MILLISECOND
from stack.core.errors import LocalError
from stack.routing.config import RouterConfig, consumption
from stack.routing.graph import (
    NEVER_NS,
    Bounds,
    ContactGraph,
    Drift,
    Hop,
    Label,
    Network,
    Question,
    Search,
    hops_of,
    start_at,
)
from stack.routing.selection import next_arrival, preferred

BUNDLE_BYTES = 1_000_000
"""Octets of payload in a bundle, unless said otherwise: the size of a file's chunks."""

BUNDLES_MAX = 10_000_000
"""Most bundles of one object: beyond it, larger bundles say the same in less time."""

GRAINS = 250
"""Up to so many bundles are reckoned one by one, as routers would.  More of them change their way
in steps of at least this part of the object: where very many ways are nearly as good, an answer
that is right to some percent comes in seconds instead of minutes."""

_Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stage:
    """What one contact carries of a flow.  Times are DTN milliseconds."""

    contact: Contact
    octets: int
    """With what the layers below add."""

    ready_ms: int
    """When the first bundle is at the sender, and can begin to wait."""

    begin_ms: int
    """When the first octet leaves."""

    end_ms: int
    """When the last octet has left."""

    arrival_ms: int
    """When the last octet arrives."""

    light_ns: int
    """One-way light time of the first octets."""

    @property
    def wait_ms(self) -> int:
        """How long the first bundle waits for the contact, or in front of it."""
        return self.begin_ms - self.ready_ms

    @property
    def transmit_ms(self) -> int:
        """From the first octet to the last, with pauses in which nothing was there to be sent."""
        return self.end_ms - self.begin_ms


@dataclass(frozen=True, slots=True)
class Flow:
    """All bundles that go one way, one after another, though others may go another way between
    them."""

    stages: tuple[Stage, ...]
    bundles: int
    payload_bytes: int
    first_ms: int
    """When the first of them is whole at the destination."""

    last_ms: int
    """When all of them are."""

    @property
    def contacts(self) -> tuple[Contact, ...]:
        """The contacts of the way, in order."""
        return tuple(stage.contact for stage in self.stages)


@dataclass(frozen=True, slots=True)
class ContactUse:
    """What one contact carries of the object, over all its flows."""

    contact: Contact
    octets: int
    begin_ms: int
    end_ms: int

    @property
    def share(self) -> float:
        """The part of the contact's volume that this is, from 0 to 1."""
        volume = self.contact.volume_bytes
        return self.octets / volume if math.isfinite(volume) else 0.0


@dataclass(frozen=True, slots=True)
class DeliveryForecast:
    """How an object crosses the plan.  Times are DTN milliseconds."""

    source: str
    destination: str
    size_bytes: int
    start_ms: int
    flows: tuple[Flow, ...]
    """In the order in which they were begun."""

    delivered_bytes: int
    """Octets of payload that arrive in time; all of them, if `complete`."""

    @property
    def complete(self) -> bool:
        """Whether the plan carries all of the object in time."""
        return bool(self.flows) and self.delivered_bytes == self.size_bytes

    @property
    def bundles(self) -> int:
        """Number of bundles that arrive."""
        return sum(flow.bundles for flow in self.flows)

    @property
    def first_ms(self) -> int | None:
        """When the first bundle is whole at the destination; None when none arrives."""
        return min((flow.first_ms for flow in self.flows), default=None)

    @property
    def last_ms(self) -> int | None:
        """When the last bundle that arrives does so; None when none does."""
        return max((flow.last_ms for flow in self.flows), default=None)

    @property
    def use(self) -> tuple[ContactUse, ...]:
        """What each contact carries, in the order in which they begin to."""
        found: dict[Contact, ContactUse] = {}
        for flow in self.flows:
            for stage in flow.stages:
                one = ContactUse(stage.contact, stage.octets, stage.begin_ms, stage.end_ms)
                before = found.get(stage.contact)
                if before is not None:
                    one = ContactUse(
                        stage.contact,
                        before.octets + one.octets,
                        min(before.begin_ms, one.begin_ms),
                        max(before.end_ms, one.end_ms),
                    )
                found[stage.contact] = one
        return tuple(sorted(found.values(), key=lambda use: (use.begin_ms, use.end_ms)))


def expected_delivery(
    plan: Plan,
    source: str,
    destination: str,
    size_bytes: int,
    start_ms: int,
    *,
    bundle_bytes: int = BUNDLE_BYTES,
    expires_ms: int | None = None,
    config: RouterConfig | None = None,
    barred: frozenset[str] = frozenset(),
) -> DeliveryForecast:
    """How `size_bytes` octets that are at `source` at `start_ms` (DTN) reach `destination`, over
    links that carry nothing else.

    They go in bundles of `bundle_bytes`, which arrive by `expires_ms` (never mind when, if None).
    `config` is that of the routers: its tolerances say how evenly bundles are spread over ways
    that are nearly as good, and its overhead is added to every bundle.  None comes to `barred`
    nodes.  Raises `LocalError` for an object of more than `BUNDLES_MAX` bundles or none of a
    positive size.
    """
    if size_bytes < 0 or bundle_bytes < 1 or source == destination:
        raise LocalError("an object has no octets less than 0, a bundle at least 1, and two ends")
    if size_bytes > bundle_bytes * BUNDLES_MAX:
        raise LocalError(
            f"{size_bytes} octets are more than {BUNDLES_MAX} bundles of {bundle_bytes}: "
            "make the bundles larger"
        )
    deadline_ns = NEVER_NS if expires_ms is None else expires_ms * MILLISECOND
    run = _Run(plan, source, destination, start_ms, deadline_ns, config or RouterConfig(), barred)
    whole, rest = divmod(size_bytes, bundle_bytes)
    if run.send(whole, bundle_bytes) and (rest or not whole):
        run.send(1, rest)
    return DeliveryForecast(
        source, destination, size_bytes, start_ms, tuple(run.flows.values()), run.delivered_bytes
    )


class _Run:
    """One object on its way."""

    def __init__(
        self,
        plan: Plan,
        source: str,
        destination: str,
        start_ms: int,
        deadline_ns: int,
        config: RouterConfig,
        barred: frozenset[str],
    ) -> None:
        self._plan = plan
        self._barred = barred
        self._network = Network(ContactGraph.of(plan), {})
        self._start = start_at(source, start_ms * MILLISECOND)
        self._destination = destination
        self._deadline_ns = deadline_ns
        self._config = config
        self._margin_ns = config.margin_ms * MILLISECOND
        self._clocks: dict[int, list[int]] = {}
        self.flows: dict[tuple[Contact, ...], Flow] = {}
        self.delivered_bytes = 0

    def send(self, count: int, payload_bytes: int) -> bool:
        """Send `count` bundles; whether the plan could take them all."""
        size = consumption(self._config, payload_bytes)
        question = Question(self._network, self._clocks, size, 0, self._margin_ns, self._barred)
        least = -(-count // GRAINS)
        while count:
            search = Search(question, self._start, Bounds())
            label = search.find(self._destination)
            if label is not None and least == 1:  # else ties are beyond the grain of the answer
                label = preferred(question, self._start, label, Bounds())
            if label is None or label[0] > self._deadline_ns:
                return False
            sent, arrivals = self._pipeline(hops_of(label), size, count)
            taken = self._taken(question, label, arrivals, least)
            self._note(hops_of(label), [each[:taken] for each in sent], size, payload_bytes)
            count -= taken
        return True

    def _pipeline(self, hops: Sequence[Hop], size: int, count: int) -> tuple[list[_Times], _Times]:
        """When up to `count` bundles in a row have left on each hop, and when they arrive; as
        many as all the contacts can take."""
        start_ns = self._start[0]
        for place, begin, end, ns_per_byte, _, _ in hops:
            lasts_ns = math.ceil(size * ns_per_byte)
            if lasts_ns:
                begin = max(self._free(place, begin), start_ns)
                count = min(count, (end - begin) // lasts_ns)
        there = np.full(count, start_ns, dtype=np.int64)
        sent: list[_Times] = []
        for place, begin, end, ns_per_byte, owlt_ns, drift in hops:
            lasts_ns = math.ceil(size * ns_per_byte)
            before = np.arange(len(there), dtype=np.int64) * lasts_ns
            # Each begins when it is there and all before it have left.
            first = np.maximum(there, self._free(place, begin)) - before
            begun = np.maximum.accumulate(first) + before
            fit = min(
                np.searchsorted(begun + lasts_ns, end, side="right"), np.searchsorted(begun, end)
            )
            left = begun[:fit] + lasts_ns
            sent.append(left)
            there = _reached(left, owlt_ns, drift) + self._margin_ns
        return sent, there

    def _free(self, place: int, start_ns: int) -> int:
        clocks = self._clocks.get(place)
        return start_ns if clocks is None else clocks[0]

    def _taken(self, question: Question, label: Label, arrivals: _Times, least: int) -> int:
        """How many bundles go this way: until another would have been better for one of them by
        more than the tolerances, but not less than `least`; only those that arrive in time."""
        config = self._config
        best, last = label[0], int(arrivals[-1])
        share = config.tolerance_ratio * (best - self._start[0])
        patience = best + max(config.tolerance_ms * MILLISECOND, int(share))
        if last > patience:
            other = next_arrival(question, label, self._destination, last)
            last = last if other is None else max(other - 1, patience)
        good, timely = np.searchsorted(arrivals, (last, self._deadline_ns), side="right")
        return max(1, min(max(int(good), least), int(timely)))

    def _note(
        self, hops: Sequence[Hop], sent: Sequence[_Times], size: int, payload_bytes: int
    ) -> None:
        """Book what was sent, and write it down."""
        count = len(sent[0])
        stages: list[Stage] = []
        ready = arrived = self._start[0]
        for (place, _, _, ns_per_byte, owlt_ns, drift), left in zip(hops, sent, strict=True):
            left = left[:count]
            reached = _reached(left, owlt_ns, drift)
            first, arrived = int(left[0]), int(reached[-1])
            stages.append(
                Stage(
                    self._plan.contacts[place],
                    count * size,
                    ready // MILLISECOND,
                    (first - math.ceil(size * ns_per_byte)) // MILLISECOND,
                    -(-int(left[-1]) // MILLISECOND),
                    -(-arrived // MILLISECOND),
                    int(reached[0]) - first,
                )
            )
            self._clocks[place] = [int(left[-1])]
            ready = int(reached[0]) + self._margin_ns
        last_ms = -(-(arrived + self._margin_ns) // MILLISECOND)
        flow = Flow(tuple(stages), count, count * payload_bytes, -(-ready // MILLISECOND), last_ms)
        self.delivered_bytes += flow.payload_bytes
        before = self.flows.get(flow.contacts)
        self.flows[flow.contacts] = flow if before is None else _joined(before, flow)


def _reached(sent: _Times, owlt_ns: int, drift: Drift | None) -> _Times:
    """When what has left arrives."""
    if drift is None:
        return sent + owlt_ns
    step = np.maximum(np.searchsorted(drift.starts, sent, side="right") - 1, 0)
    owlts = np.asarray(drift.owlts, dtype=np.int64)
    floors = np.asarray(drift.floors, dtype=np.int64)
    reached: _Times = np.maximum(sent + owlts[step], floors[step])
    return reached


def _joined(before: Flow, after: Flow) -> Flow:
    """Two flows on the same way, the later behind the earlier, as one."""
    stages = tuple(
        replace(one, octets=one.octets + two.octets, end_ms=two.end_ms, arrival_ms=two.arrival_ms)
        for one, two in zip(before.stages, after.stages, strict=True)
    )
    return Flow(
        stages,
        before.bundles + after.bundles,
        before.payload_bytes + after.payload_bytes,
        before.first_ms,
        after.last_ms,
    )
