"""Routing speed beside a textbook Dijkstra in the same run.

    python -m tests.benchmarks.bench_routing [plan.json origin target]

Without a plan it makes one of the size of HDTN's 50-node plan.  Figures are the best of several
runs; the machine's mood divides out of the ratios.
"""

from __future__ import annotations

import heapq
import random
import sys
import timeit
from collections.abc import Callable

from stack.contacts.files import load_plan
from stack.contacts.plan import Contact, Plan, Range
from stack.routing.queue import ForwardQueue, Queued
from stack.routing.router import Router

FOREVER = 10**15


def made_plan(nodes: int = 50, contacts: int = 7186, seed: int = 1) -> Plan:
    """Random contacts of ten minutes to a day between random nodes, one second apart."""
    rng = random.Random(seed)
    names = [f"ipn:{n}.0" for n in range(1, nodes + 1)]
    entries, ranges = [], {}
    for _ in range(contacts):
        source, destination = rng.sample(names, 2)
        start_ms = rng.choice((0, rng.randrange(80_000_000)))
        end_ms = start_ms + rng.randrange(600_000, 40_000_000)
        entries.append(Contact(source, destination, start_ms, end_ms, 1e9))
        ranges[source, destination] = Range(source, destination, 0, 10**9, 10**9)
    return Plan(entries, ranges.values())


class Textbook:
    """Contact-graph Dijkstra as in the papers: every contact a vertex, labels by contact."""

    def __init__(self, plan: Plan) -> None:
        self.leaving: dict[str, list[tuple[int, int, int, int, str]]] = {}
        for place, contact in enumerate(plan.contacts):
            owlt_ns = plan.owlt_ns(contact.source, contact.destination, contact.start_ms)
            self.leaving.setdefault(contact.source, []).append(
                (place, contact.start_ms, contact.end_ms, owlt_ns // 1_000_000, contact.destination)
            )
        self.count = len(plan.contacts)

    def arrival_ms(self, origin: str, target: str) -> int | None:
        """The earliest arrival of nothing at all, from time 0."""
        reached = [FOREVER] * self.count
        done: set[int] = set()
        heap: list[tuple[int, int, str]] = [(0, -1, origin)]
        while heap:
            at_ms, place, node = heapq.heappop(heap)
            if place in done:
                continue
            done.add(place)
            if node == target:
                return at_ms
            for following, start_ms, end_ms, owlt_ms, neighbour in self.leaving.get(node, ()):
                if following not in done and end_ms > at_ms:
                    arrival_ms = max(at_ms, start_ms) + owlt_ms
                    if arrival_ms < reached[following]:
                        reached[following] = arrival_ms
                        heapq.heappush(heap, (arrival_ms, following, neighbour))
        return None


def best_of(call: Callable[[], object], count: int = 1, runs: int = 7) -> float:
    """Seconds of one call."""
    return min(timeit.repeat(call, number=count, repeat=runs)) / count


def main() -> None:
    """Print the figures."""
    if len(sys.argv) > 3:
        plan, origin, target = load_plan(sys.argv[1]), sys.argv[2], sys.argv[3]
    else:
        plan, origin, target = made_plan(), "ipn:1.0", "ipn:2.0"
    print(plan, origin, "->", target)

    def fresh() -> Plan:
        return plan.after(-1)

    def cold(of: Plan) -> object:
        return Router(of, origin).route(target, 0, 0, 0, FOREVER)

    def search() -> object:
        router.policy_changed()
        return router.route(target, 0, 0, 0, FOREVER)

    router = Router(plan, origin)
    textbook = Textbook(plan)
    expected = textbook.arrival_ms(origin, target)
    route = router.route(target, 0, 0, 0, FOREVER)
    print("arrival", expected, "ms; ours", route and route.arrival_ms)
    built = best_of(lambda: Textbook(plan), runs=3)
    found = best_of(lambda: textbook.arrival_ms(origin, target))
    print(f"textbook: building the graph      {built * 1e3:8.2f} ms")
    print(f"textbook: search                  {found * 1e3:8.2f} ms")
    plans = [fresh() for _ in range(7)]
    once = best_of(lambda: cold(plans.pop()))
    print(f"first route of a new plan         {once * 1e3:8.2f} ms")
    print(f"first route, plan indexed         {best_of(search) * 1e3:8.2f} ms")
    router.route(target, 0, 0, 0, FOREVER)

    def again() -> object:
        router._kept.clear()
        return router.route(target, 0, 0, 0, FOREVER)

    print(f"search, graph at hand             {best_of(again) * 1e3:8.2f} ms")
    kept = best_of(lambda: router.route(target, 1000, 1, 0, FOREVER), 10_000)
    print(f"kept route                        {kept * 1e6:8.2f} us")
    if route is not None:
        booked = best_of(lambda: router.book(route, 1000, 1, 0), 10_000)
        print(f"book                              {booked * 1e6:8.2f} us")

    queue = ForwardQueue()
    entries = [Queued(ref, 1000, ref % 3, FOREVER, target) for ref in range(1, 200_001)]
    start = timeit.default_timer()
    for entry in entries:
        queue.push(entry)
    middle = timeit.default_timer()
    while queue.pop_next(target):
        pass
    end = timeit.default_timer()
    push, pop = ((middle - start) / len(entries), (end - middle) / len(entries))
    print(f"queue push, pop                   {push * 1e6:8.2f} {pop * 1e6:6.2f} us")


if __name__ == "__main__":
    main()
