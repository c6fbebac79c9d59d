"""The machine that is a bundle agent's world: it finds nothing in ours, and every planted fault."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from interop.machines import AgentPeerMachine, MachineFault
from tests.interop.machines.faulty_agent import FAULTS, FaultyAgent
from tests.interop.machines.our_agent import OurAgent


class OurAgentMachine(AgentPeerMachine):
    """Against our own agent."""

    adapter = OurAgent


TestOurAgent = pytest.mark.slow(OurAgentMachine.TestCase)
TestOurAgent.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)

QUICK = settings(
    max_examples=400,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_each_planted_fault_is_found_and_named(fault: str) -> None:
    agent = type("Agent", (FaultyAgent,), {"fault": fault})
    kind = type("Machine", (AgentPeerMachine,), {"adapter": agent})
    with pytest.raises(MachineFault) as found:
        run_state_machine_as_test(kind, settings=QUICK)
    assert found.value.violation.clause.removeprefix("RFC 9171 ") in FAULTS[fault].split(" or ")
