"""Whether a data policy leaves a path for what is sent from here, and what is missing in it."""

from __future__ import annotations

from dataclasses import replace

from stack.core.clock import dtn_to_iso
from stack.core.eid import Eid
from stack.core.errors import PolicyError
from stack.engines.bundle_agent.tunnels import Tunnels
from stack.policy import DataPolicy, PolicyGate
from stack.policy.gate import described
from stack.routing.admissible import Admissible, RouteRequest, admissible
from stack.routing.forwarder import PART_BYTES_MIN, Forwarder


class PathJudge:
    """Asks the contact plan in force; nobody's data takes part in that."""

    def __init__(self, forwarder: Forwarder, gate: PolicyGate | None, tunnels: Tunnels) -> None:
        self._forwarder = forwarder
        self._gate = gate
        self._tunnels = tunnels

    def check(self, policy: DataPolicy, destination: Eid, request: RouteRequest) -> None:
        """Raise `PolicyError` when a data policy leaves no path for octets from here in their
        lifetime, or for a first part of them, while there is a path that it does not allow.  What
        a policy leaves and others have booked, or a silent neighbour keeps, is waited for."""
        if self._gate is None:
            return  # then nothing under a policy leaves at all
        forwarder = self._forwarder
        router, node = forwarder.router, request.destination
        barred = self._gate.barred(policy, node, forwarder.nodes, router.plan_version)
        part = request._replace(size_bytes=min(request.size_bytes, PART_BYTES_MIN))
        volume = router.consumption(part.size_bytes)
        if router.route(*part._replace(size_bytes=volume), (), barred) is not None:
            return
        found = self.admissible(policy, destination, part, booked=False)
        if found is not None and found.closed:
            raise PolicyError(
                f"{destination.node} by {dtn_to_iso(request.expires_ms)}: {found.words}. Nothing"
                " was sent: widen its data policy, or let it wait for another contact plan"
                " (--wait-for-path, `wait_for_path`)"
            )

    def admissible(
        self, policy: DataPolicy, destination: Eid, request: RouteRequest, *, booked: bool = True
    ) -> Admissible | None:
        """What a data policy makes of sending octets from here, beside all that is `booked`, and
        what is missing in it for an earlier path; None where no contact plan says when they
        arrive."""
        gate, forwarder = self._gate, self._forwarder
        router, node, default = forwarder.router, request.destination, forwarder.default
        if gate is None or node == router.node or self._tunnels.takes(destination):
            return None
        barred = gate.barred(policy, node, forwarder.nodes, router.plan_version)
        if (default and default not in barred) or (node in forwarder.direct and node not in barred):
            return None
        found, part = Admissible(None), request
        # What fits into no contact goes in parts.
        for octets in (request.size_bytes, min(request.size_bytes, PART_BYTES_MIN)):
            part = request._replace(size_bytes=router.consumption(octets))
            found = admissible(router, gate, policy, part, booked=booked)
            if found.route is not None:
                return found
        if booked and router.unkept_route(*part, barred, booked=False) is not None:
            return replace(found, full=True)
        if found.closed or default is None:
            return found
        return replace(found, in_the_way=(described(gate.directory, default),))
