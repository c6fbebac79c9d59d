"""The machine that asks a router: it finds nothing in ours, and every planted fault."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from interop.machines import FoundRoute, MachineFault, RouterPeerMachine
from stack.contacts.plan import Contact, Plan
from stack.routing.route import Route
from stack.routing.router import Router, RouterConfig

FOREVER = 10**12


class OurRouter:
    """Our router, without tolerances."""

    def __init__(self, plan: Plan, node: str) -> None:
        self.router = Router(plan, node, config=RouterConfig(tolerance_ms=0, tolerance_ratio=0))

    def route(self, destination: str, size: int, priority: int, now_ms: int) -> FoundRoute | None:
        found = self.router.route(destination, size, priority, now_ms, FOREVER)
        return None if found is None else FoundRoute(found.contacts, found.arrival_ms, found)

    def book(self, way: FoundRoute, size: int, priority: int, now_ms: int) -> None:
        assert isinstance(way.handle, Route)
        self.router.book(way.handle, size, priority, now_ms)

    def release(self, way: FoundRoute, size: int, priority: int, now_ms: int) -> None:
        assert isinstance(way.handle, Route)
        self.router.release(way.handle, size, priority, now_ms)

    def set_plan(self, plan: Plan) -> None:
        self.router.update_plan(plan)

    def contact_failed(self, contact: Contact) -> None:
        self.router.contact_failed(self._place(contact))

    def contact_restored(self, contact: Contact) -> None:
        self.router.contact_restored(self._place(contact))

    def _place(self, contact: Contact) -> int:
        place = self.router.plan.find(contact)
        assert place is not None
        return place


class OurRouterMachine(RouterPeerMachine):
    """Against our own router."""

    adapter = OurRouter


TestOurRouter = pytest.mark.slow(OurRouterMachine.TestCase)
TestOurRouter.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)

QUICK = settings(
    max_examples=400,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)

FAULTS = {
    "books nothing": "§3.2.6",
    "gives nothing back": "§3.2.6",
    "does not hear of failures": "§3.2.6",
    "does not hear of contacts that come back": "§3.2.6",
    "keeps the first plan": "§3.2.6",
    "takes priorities for equal": "§3.2.6",
    "tells the arrival without the light time": "§3.2.6.6",
    "stays with its first answer": "§3.2.6",
}
"""What can be wrong, and the clause that it breaks, or one below it."""


class FaultyRouter(OurRouter):
    """`fault` is one of `FAULTS`."""

    fault = ""

    def __init__(self, plan: Plan, node: str) -> None:
        super().__init__(plan, node)
        self.answers: dict[tuple[str, int], FoundRoute | None] = {}

    def route(self, destination: str, size: int, priority: int, now_ms: int) -> FoundRoute | None:
        if self.fault == "takes priorities for equal":
            priority = 0
        found = super().route(destination, size, priority, now_ms)
        if self.fault == "stays with its first answer":
            return self.answers.setdefault((destination, size), found)
        if found is not None and self.fault == "tells the arrival without the light time":
            owlt_ns = self.router.plan.owlt_ns(
                found.contacts[-1].source, destination, found.arrival_ms
            )
            return found._replace(arrival_ms=found.arrival_ms - owlt_ns // 10**6)
        return found

    def book(self, way: FoundRoute, size: int, priority: int, now_ms: int) -> None:
        if self.fault != "books nothing":
            super().book(way, size, priority, now_ms)

    def release(self, way: FoundRoute, size: int, priority: int, now_ms: int) -> None:
        if self.fault != "gives nothing back":
            super().release(way, size, priority, now_ms)

    def contact_failed(self, contact: Contact) -> None:
        if self.fault != "does not hear of failures":
            super().contact_failed(contact)

    def contact_restored(self, contact: Contact) -> None:
        if self.fault != "does not hear of contacts that come back":
            super().contact_restored(contact)

    def set_plan(self, plan: Plan) -> None:
        if self.fault != "keeps the first plan":
            super().set_plan(plan)

    def _place(self, contact: Contact) -> int:
        return self.router.plan.find(contact) or 0


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_each_planted_fault_is_found_and_named(fault: str) -> None:
    router = type("Faulty", (FaultyRouter,), {"fault": fault})
    kind = type("Machine", (RouterPeerMachine,), {"adapter": router})
    with pytest.raises(MachineFault) as found:
        run_state_machine_as_test(kind, settings=QUICK)
    assert found.value.violation.clause.startswith(f"CCSDS 734.3-B-1 {FAULTS[fault]}")
