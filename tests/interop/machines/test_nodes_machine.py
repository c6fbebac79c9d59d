"""The machine over two whole nodes: it finds nothing in ours, and every planted fault."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from interop.machines import MachineFault, NodesPeerMachine
from interop.machines.nodes import KEPT, LET_GO, ONCE
from stack.ports.application import Delivery
from stack.ports.store import Release
from stack.simulator.swarm.memory_image import MemoryImage
from tests.interop.machines.our_nodes import STORE, OurNodes, Running


class OurNodesMachine(NodesPeerMachine):
    """Against two of our nodes."""

    adapter = OurNodes


TestOurNodes = pytest.mark.slow(OurNodesMachine.TestCase)
TestOurNodes.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)

QUICK = settings(
    max_examples=200,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)

FAULTS = {
    "acknowledges what is in memory": KEPT,
    "is found empty after a kill": KEPT,
    "is found as it was when it started": f"{KEPT} or {ONCE}",
    "drops what waits with the end of a contact": KEPT,
    "lets go of a delivery before it is dealt with": KEPT,
    "deals with a delivery before it lets go of it": ONCE,
    "changes what is large": ONCE,
    "keeps what has arrived": LET_GO,
}
"""What can be wrong, and the promise that it breaks."""


class FaultyProcess(Running):
    """`fault` is one of `FAULTS`."""

    fault = ""

    async def start(self) -> None:
        self.first = self.store.copy()
        await super().start()
        if self.fault == "keeps what has arrived":
            agent = self.node.port.driver.agent
            agent.forwarded = lambda refs, now_ms, neighbour="": None  # type: ignore[method-assign]

    async def send(self, payload: bytes) -> None:
        if self.fault == "acknowledges what is in memory":
            asyncio.get_running_loop().call_later(
                0.01, lambda: asyncio.ensure_future(self._late(payload))
            )
        elif self.fault == "changes what is large" and len(payload) > 10_000:
            await super().send(payload[:-1] + b"!")
        else:
            await super().send(payload)

    async def _late(self, payload: bytes) -> None:
        if not self.hold.gone:
            await super().send(payload)

    async def deal_with(self, delivery: Delivery) -> None:
        port, note = self.node.port, self.note(delivery)
        if self.fault == "lets go of a delivery before it is dealt with":
            await port.commit(consume=[delivery])
            await asyncio.sleep(0.01)
            await port.commit(write=[note])
        elif self.fault == "deals with a delivery before it lets go of it":
            await port.commit(write=[note])
            await asyncio.sleep(0.01)
            await port.commit(consume=[delivery])
        else:
            await super().deal_with(delivery)

    async def contact(self, up: bool) -> None:
        await super().contact(up)
        if not up and self.fault == "drops what waits with the end of a contact":
            driver = self.node.port.driver
            driver.submit([Release(ref) for ref in driver.agent.entries])


def faulty(broken: str) -> type[OurNodes]:
    """Nodes with one fault."""

    class Process(FaultyProcess):
        fault = broken

    class Nodes(OurNodes):
        process = Process

        def left(self, one: Running) -> MemoryImage:
            if broken == "is found empty after a kill":
                return MemoryImage(STORE)
            if broken == "is found as it was when it started":
                assert isinstance(one, FaultyProcess)
                return one.first
            return super().left(one)

    return Nodes


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_each_planted_fault_is_found_and_named(fault: str) -> None:
    kind = type("Machine", (NodesPeerMachine,), {"adapter": faulty(fault)})
    with pytest.raises(MachineFault) as found:
        run_state_machine_as_test(kind, settings=QUICK)
    assert found.value.violation.clause in FAULTS[fault].split(" or ")
