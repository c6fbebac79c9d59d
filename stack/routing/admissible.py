"""Where data under a policy may come to under a contact plan, and what stands in its way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from stack.contacts.plan import Plan
from stack.core.clock import dtn_to_iso
from stack.core.errors import DecodeError
from stack.policy import DataPolicy, NodeSet, PolicyGate
from stack.policy.gate import described
from stack.routing.route import Route
from stack.routing.router import Router

SEARCHES_MAX = 64
"""Routes looked for to find the permission that is missing; each is one search of the plan."""


class Permission(NamedTuple):
    """What a policy would have to allow besides."""

    nodes: str
    """To whom: a set as in policies, of one jurisdiction, domain or node."""

    rest: bool
    """It must be allowed to rest there."""

    transit: bool
    """It must be allowed to pass through."""

    def __str__(self) -> str:
        words = (("rest at", self.rest), ("transit through", self.transit))
        return " and ".join(word for word, wanted in words if wanted) + f" {self.nodes}"


@dataclass(frozen=True, slots=True)
class Admissible:
    """What a policy makes of a transfer."""

    route: Route | None
    """The best that is allowed."""

    missing: tuple[Permission, ...] = ()
    """What would have to be allowed for `better`: one permission, of those with which it arrives
    first the one that lets in the fewest nodes; or, where no single one helps, all."""

    better: Route | None = None
    """A path that arrives earlier."""

    in_the_way: tuple[str, ...] = ()
    """Nodes that stand in the way of all paths where no permission is known to help, and what is
    known of each."""

    full: bool = False
    """There is a path that is allowed, but others have booked it, or a neighbour is silent."""

    @property
    def closed(self) -> bool:
        """There is no path that is allowed, and there is one that is not."""
        return self.route is None and bool(self.missing or self.in_the_way)

    @property
    def words(self) -> str:
        """The same for people: what is allowed, and what would be."""
        if self.route is None:
            found = "no admissible path has room now" if self.full else "no admissible path"
        elif self.better is None:
            return f"first admissible path arrives {dtn_to_iso(self.route.arrival_ms)}"
        else:
            found = f"no admissible path before {dtn_to_iso(self.route.arrival_ms)}"
        if self.better is not None:
            with_it = " and ".join(map(str, self.missing))
            found += f"; with {with_it} it would be {dtn_to_iso(self.better.arrival_ms)}"
        elif self.in_the_way:
            found += f"; in its way is {' and '.join(self.in_the_way)}"
        return found


class RouteRequest(NamedTuple):
    """What `Router.route` is asked."""

    destination: str
    size_bytes: int
    priority: int
    now_ms: int
    expires_ms: int


def admissible(
    router: Router,
    gate: PolicyGate,
    policy: DataPolicy,
    request: RouteRequest,
    *,
    booked: bool = True,
) -> Admissible:
    """Judge a transfer from the node of `router`, of which `gate` is: beside all that is `booked`,
    or by the contact plan alone.

    What is missing is looked for with at most `SEARCHES_MAX` searches, of which nothing is kept.
    """
    destination = request.destination
    if gate.refusal(policy, delivered=False, origin=True) or not gate.may_read(policy, destination):
        return Admissible(None)
    barred = gate.barred(policy, destination, router.nodes, router.plan_version)

    def best(without: frozenset[str]) -> Route | None:
        return router.unkept_route(*request, without, booked=booked)

    route, free = best(barred), best(frozenset())
    before_ms = request.expires_ms + 1 if route is None else route.arrival_ms
    if free is None or free.arrival_ms >= before_ms:
        return Admissible(route)
    tried = [(each, best(barred - each.nodes)) for each in _groups(gate, policy, barred)]
    found = [(each, other) for each, other in tried if other and other.arrival_ms < before_ms]
    if not found:
        return _several(gate, policy, barred, route, free)
    first_ms = min(other.arrival_ms for _, other in found)
    first = [(each, other) for each, other in found if other.arrival_ms == first_ms]
    # A node lets in less than its jurisdiction, and helps at most as much.
    inside = frozenset[str]().union(*(each.nodes for each, _ in first))
    for node in _known(gate, inside)[: SEARCHES_MAX // 2]:
        alone = _relaxed(gate, policy, barred, f'node:"{node}"', [node], 2)
        if alone and (other := best(barred - alone.nodes)) and other.arrival_ms == first_ms:
            first.append((alone, other))
    group, better = min(first, key=lambda each: (len(each[0].nodes), each[0].rank, each[0].name))
    wanted = _permission(gate, policy, group.name, group.nodes & _on(better))
    return Admissible(route, (wanted,), better)


def _on(route: Route) -> frozenset[str]:
    return frozenset(contact.destination for contact in route.contacts)


class _Group(NamedTuple):
    """What one permission lets in."""

    name: str
    rank: int
    """A jurisdiction is named rather than a domain, and that rather than a node."""

    nodes: frozenset[str]


def _groups(gate: PolicyGate, policy: DataPolicy, barred: frozenset[str]) -> Iterator[_Group]:
    """The widest permissions that there are, those with the most nodes first: of each barred node
    its jurisdictions and its domain, or the node itself where it has none."""
    members: dict[tuple[str, int], list[str]] = {}
    for node in _known(gate, barred):
        facts = gate.directory.get(node)
        assert facts is not None
        ranked = [(law, 0) for law in facts.jurisdictions]
        if facts.domain:
            ranked.append((f"domain:{facts.domain}", 1))
        for each in ranked or [(f'node:"{node}"', 2)]:
            members.setdefault(each, []).append(node)
    widest = sorted(members.items(), key=lambda each: (-len(each[1]), each[0]))
    for (name, rank), nodes in widest[: SEARCHES_MAX // 2 - 2]:
        group = _relaxed(gate, policy, barred, name, nodes, rank)
        if group is not None:
            yield group


def _known(gate: PolicyGate, nodes: Iterable[str]) -> list[str]:
    return sorted(node for node in nodes if gate.directory.get(node) is not None)


def _relaxed(
    gate: PolicyGate,
    policy: DataPolicy,
    barred: frozenset[str],
    name: str,
    nodes: Iterable[str],
    rank: int,
) -> _Group | None:
    """What a policy lets in with one more set: not who is not trusted at all for that."""
    try:
        more = NodeSet.parse(name)
    except DecodeError:  # a name that no policy can mean
        return None
    wider = replace(policy, rest=policy.rest | more, transit=policy.transit | more)
    let_in = frozenset(node for node in nodes if node in barred and gate.may_carry(wider, node))
    return _Group(str(more), rank, let_in) if let_in else None


def _permission(
    gate: PolicyGate, policy: DataPolicy, name: str, nodes: Iterable[str]
) -> Permission:
    """What is missing at all of these nodes together."""
    facts = [gate.directory.get(node) for node in nodes]
    return Permission(
        name,
        not all(policy.rest.holds(one) for one in facts),
        not all(policy.transit.holds(one) for one in facts),
    )


def _several(
    gate: PolicyGate, policy: DataPolicy, barred: frozenset[str], route: Route | None, free: Route
) -> Admissible:
    """No single permission helps: all that are missing on the earliest path, if any do."""
    found = {
        node: _relaxed(gate, policy, barred, f'node:"{node}"', [node], 2)
        for node in sorted(_on(free) & barred)
    }
    in_the_way = tuple(
        described(gate.directory, node) for node, one in found.items() if one is None
    )
    if in_the_way:
        return Admissible(route, in_the_way=in_the_way)
    groups = [one for one in found.values() if one is not None]
    missing = (_permission(gate, policy, one.name, one.nodes) for one in groups)
    return Admissible(route, tuple(missing), free)


def reach(
    plan: Plan, gate: PolicyGate, policy: DataPolicy, origin: str, destination: str, now_ms: int
) -> frozenset[str]:
    """Nodes at which data from `origin` for `destination` could come to rest, at any time."""
    found = {origin} if gate.may_hold(policy, origin) else set()
    todo = [*found]
    while todo:
        for contact in plan.contacts_from(todo.pop()):
            node = contact.destination
            if contact.end_ms > now_ms and node not in found and gate.may_hold(policy, node):
                carries = gate.may_carry(policy, node)
                if carries or node == destination:
                    found.add(node)
                if carries:
                    todo.append(node)
    return frozenset(found)
