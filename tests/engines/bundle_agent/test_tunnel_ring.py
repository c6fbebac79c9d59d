"""Tunnels that lead round: each gateway sends on what the one before it has sent."""

from __future__ import annotations

import pytest

from stack.contacts.plan import Contact, Plan
from stack.engines.bundle_agent import AgentConfig, TunnelConfig
from stack.wire.bundle import bundle_age
from tests.engines.bundle_agent.desk import Desk
from tests.engines.bundle_agent.harness import FAR, NOW, bundle_for
from tests.engines.bundle_agent.test_tunnels import CARRIER, EXIT, GATE, bpsec, held

RING = (GATE, CARRIER, EXIT)
HOPS = 7


@pytest.mark.parametrize("aged", [False, True])
@pytest.mark.parametrize("clock", [False, True])
def test_what_three_gateways_lead_round_ends_by_its_hop_count(clock: bool, aged: bool) -> None:
    """Whatever came without one: a gateway knows of the one before it alone."""
    plan = Plan([Contact(a, b, NOW, NOW + 3_600_000, 1e6) for a in RING for b in RING if a != b])
    gates = []
    for at, name in enumerate(RING):
        onward = TunnelConfig(gateway=RING[(at + 1) % 3], destination=f"{FAR}**")
        taken = TunnelConfig(gateway=RING[at - 1], destination="dtn://gs1/**")
        config = AgentConfig(tunnels=(onward, taken), hop_limit=HOPS, trusted_clock=clock)
        gates.append(Desk(config, security=bpsec(name), node=name, contacts=plan))
    age = [bundle_age(0, number=9, crc_type=2)] * aged
    assert gates[0].arrive(bundle_for(FAR + "app", blocks=age))
    for turn in range(3 * HOPS):
        gates[turn % 3].pass_on(gates[(turn + 1) % 3])
    assert sum(gate.agent.counters["forwarded"] for gate in gates) == HOPS
    assert sum(gate.agent.counters["dropped_hop_limit_exceeded"] for gate in gates) == 1
    assert not any(map(held, gates))
