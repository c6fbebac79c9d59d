"""Routing speed beside a textbook Dijkstra in the same run.

    python -m tests.benchmarks.bench_routing [plan.json origin target]

Without a plan it makes one of the size of HDTN's 50-node plan; then one of 300 nodes and about
100,000 contacts.  Figures are the best of several runs; the machine's mood divides out of the
ratios.
"""

from __future__ import annotations

import gc
import heapq
import itertools
import random
import sys
import time
import timeit
import tracemalloc
from collections.abc import Callable

from stack.contacts.files import load_plan
from stack.contacts.plan import Contact, Plan, Range
from stack.routing.delivery import expected_delivery
from stack.routing.queue import ForwardQueue, Queued
from stack.routing.router import Router, RouterConfig

FOREVER = 10**15
EXACT = RouterConfig(tolerance_ms=0, tolerance_ratio=0)


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


def passes_plan(satellites: int = 280, stations: int = 20, days: int = 2, seed: int = 2) -> Plan:
    """Passes of many satellites over many stations, with a light time for every minute."""
    rng = random.Random(seed)
    entries, ranges = [], []
    for satellite, station in itertools.product(range(satellites), range(stations)):
        at_ms = rng.randrange(6_000_000)
        while at_ms < days * 86_400_000:
            end_ms = at_ms + rng.randrange(200_000, 600_000)
            ends = f"dtn://sat{satellite}/", f"dtn://gs{station}/"
            for a, b in (ends, ends[::-1]):
                entries.append(Contact(a, b, at_ms, end_ms, 1e7))
                for step_ms in range(at_ms, end_ms, 60_000):
                    owlt_ns = rng.randrange(2_000_000, 9_000_000)
                    ranges.append(Range(a, b, step_ms, min(end_ms, step_ms + 60_000), owlt_ns))
            at_ms += rng.randrange(5_400_000, 40_000_000)
    return Plan(entries, ranges)


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
    """Seconds of processor time of one call."""
    return min(timeit.repeat(call, number=count, repeat=runs, timer=time.process_time)) / count


def show(what: str, seconds: float, unit: str = "ms") -> None:
    """One line."""
    print(f"{what:44} {seconds * {'ms': 1e3, 'us': 1e6}[unit]:8.2f} {unit}")


def compare(plan: Plan, origin: str, target: str) -> None:
    """Searches and kept routes, beside the textbook's."""
    print(plan, origin, "->", target)
    router = Router(plan, origin)
    textbook = Textbook(plan)
    expected = textbook.arrival_ms(origin, target)
    route = router.route(target, 0, 0, 0, FOREVER)
    print("arrival", expected, "ms; ours", route and route.arrival_ms)
    assert route is not None
    show("textbook: building the graph", best_of(lambda: Textbook(plan), runs=3))
    show("textbook: search", best_of(lambda: textbook.arrival_ms(origin, target)))
    plans = [plan.after(-1) for _ in range(7)]
    cold = best_of(lambda: Router(plans.pop(), origin).route(target, 0, 0, 0, FOREVER))
    show("first route of a new plan", cold)

    def again() -> object:
        router._kept.clear()
        return router.route(target, 0, 0, 0, FOREVER)

    show("first route, plan known to another router", best_of(again))

    def several() -> object:
        return list(itertools.islice(router.alternatives(target, 0, 0, 0, FOREVER), 8))

    show("the best eight routes", best_of(several, runs=3))
    show(
        "one route over each neighbour",
        best_of(lambda: router.by_neighbour(target, 0, 0, 0, FOREVER), runs=3),
    )
    again()
    kept = best_of(lambda: router.route(target, 1000, 1, 0, FOREVER), 10_000)
    show("kept route", kept, "us")
    show("book", best_of(lambda: router.book(route, 1000, 1, 0), 10_000), "us")
    whole = best_of(lambda: expected_delivery(plan, origin, target, 10**11, 0), runs=1)
    show("delivery of 100 GB in 100,000 bundles", whole)


def large() -> None:
    """A plan of hundreds of nodes and about 100,000 contacts."""
    plan = passes_plan()
    print(plan, len(plan.nodes), "nodes")
    now_ms = plan.contacts[0].start_ms
    gc.collect()
    tracemalloc.start()
    Router(plan, "dtn://sat1/").route("dtn://sat77/", 1000, 1, now_ms, FOREVER)
    octets = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    print(f"octets of the graph for each contact         {octets / len(plan.contacts):8.1f}")
    plans = [plan.after(-1) for _ in range(3)]
    routers = [Router(plan, f"dtn://sat{n}/") for n in range(2, 9)]

    def first(router: Router) -> object:
        return router.route("dtn://sat77/", 1000, 1, now_ms, FOREVER)

    show(
        "first route of a new plan",
        best_of(lambda: first(Router(plans.pop(), "dtn://sat1/")), runs=3),
    )
    show("first route, plan known to another router", best_of(lambda: first(routers.pop())))
    router = Router(plan, "dtn://sat1/")
    first(router)
    show("kept route", best_of(lambda: first(router), 10_000), "us")
    others = [plan.after(-1) for _ in range(3)]
    show("another plan", best_of(lambda: router.update_plan(others.pop()), runs=3))
    show(
        "a contact discovered",
        best_of(
            lambda: router.contact_discovered("dtn://gs1/", 1e6, now_ms, now_ms + 60_000), runs=3
        ),
    )


def tolerances() -> None:
    """What kept routes cost in time of arrival, and save in searches."""
    plan = made_plan()
    for name, config in (("default tolerances", RouterConfig()), ("no tolerances", EXACT)):
        router = Router(plan, "ipn:1.0", config=config)
        late_ms = latest = 0
        begin = time.process_time()
        for _ in range(2000):
            route = router.route("ipn:2.0", 1_000_000, 1, 0, FOREVER)
            assert route is not None
            router.book(route, 1_000_000, 1, 0)
            late_ms += route.arrival_ms
            latest = max(latest, route.arrival_ms)
        each = (time.process_time() - begin) / 2000
        print(
            f"2,000 bundles of 1 MB, {name:19}  {each * 1e6:8.1f} us each; "
            f"mean arrival {late_ms / 2e6:.3f} s, last {latest / 1e3:.3f} s"
        )


def queues() -> None:
    """The queue."""
    queue = ForwardQueue()
    entries = [Queued(ref, 1000, ref % 3, FOREVER, "ipn:2.0") for ref in range(1, 200_001)]
    start = time.process_time()
    for entry in entries:
        queue.push(entry)
    middle = time.process_time()
    while queue.pop_next("ipn:2.0"):
        pass
    end = time.process_time()
    show("queue push", (middle - start) / len(entries), "us")
    show("queue pop", (end - middle) / len(entries), "us")


def main() -> None:
    """Print the figures."""
    if len(sys.argv) > 3:
        compare(load_plan(sys.argv[1]), sys.argv[2], sys.argv[3])
        return
    plan = made_plan()
    textbook = Textbook(plan)
    farthest = max(plan.nodes[1:], key=lambda node: textbook.arrival_ms("ipn:1.0", node) or 0)
    compare(plan, "ipn:1.0", farthest)
    large()
    tolerances()
    queues()


if __name__ == "__main__":
    main()
