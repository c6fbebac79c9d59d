"""Where data under a policy may come to under a contact plan, and what stands in its way."""

from __future__ import annotations

from dataclasses import dataclass

from stack.contacts.plan import Plan
from stack.policy import DataPolicy, PolicyGate
from stack.routing.route import Route
from stack.routing.router import Router, RouterConfig

BOUNDARY_MAX = 64
"""Forbidden nodes of which each is tried as if it were allowed."""


@dataclass(frozen=True, slots=True)
class Admissible:
    """What a policy makes of a transfer."""

    route: Route | None
    """The best that is allowed."""

    reach: frozenset[str]
    """Nodes at which it could come to rest, at any time."""

    missing: tuple[str, ...] = ()
    """Nodes that would have to be allowed to pass it on for `better`."""

    better: Route | None = None
    """A way that arrives earlier: with one more node allowed, or else with all."""


def admissible(
    plan: Plan,
    gate: PolicyGate,
    policy: DataPolicy,
    origin: str,
    destination: str,
    size_bytes: int,
    now_ms: int,
    expires_ms: int,
) -> Admissible:
    """Judge a transfer of `size_bytes` from `origin`, where `gate` is that of `origin`."""
    router = Router(plan, origin, config=RouterConfig(tolerance_ms=0, tolerance_ratio=0))
    barred = gate.barred(policy, destination, router.nodes, router.plan_version)

    def best(without: frozenset[str]) -> Route | None:
        return router.route(destination, size_bytes, 1, now_ms, expires_ms, (), without)

    readable = gate.may_read(policy, destination)
    route = best(barred) if readable else None
    reach = frozenset(
        node for node in _reach(plan, gate, policy, origin, now_ms) if node not in barred
    )
    found = Admissible(route, reach)
    if not readable:
        return found
    free = best(frozenset())
    if free is None or (route is not None and free.arrival_ms >= route.arrival_ms):
        return found
    on_the_way = {contact.destination for contact in free.contacts} & barred
    missing, better = tuple(sorted(on_the_way)), free
    if len(missing) > 1:
        tried = [(node, best(barred - {node})) for node in sorted(barred)[:BOUNDARY_MAX]]
        routes = [
            (other.arrival_ms, node, other)
            for node, other in tried
            if other is not None and (route is None or other.arrival_ms < route.arrival_ms)
        ]
        if routes:
            _, node, better = min(routes, key=lambda each: each[:2])
            missing = (node,)
    return Admissible(route, reach, missing, better)


def _reach(plan: Plan, gate: PolicyGate, policy: DataPolicy, origin: str, now_ms: int) -> set[str]:
    """Nodes to which chains of contacts lead over nodes that may pass it on."""
    found, todo = {origin}, [origin]
    while todo:
        for contact in plan.contacts_from(todo.pop()):
            node = contact.destination
            if contact.end_ms > now_ms and node not in found and gate.may_hold(policy, node):
                found.add(node)
                if gate.may_carry(policy, node):
                    todo.append(node)
    return found
