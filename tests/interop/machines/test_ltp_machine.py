"""The machine that is a peer: it finds nothing in our engine, and every fault of a toy."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from interop.machines.ltp import LtpPeerMachine
from interop.machines.ltp_model import PeerFault
from tests.engines.ltp.inside import check_sums
from tests.interop.machines.ours import OurEngine
from tests.interop.machines.toy_ltp import FAULTS, Toy


class OurEngineMachine(LtpPeerMachine):
    """Against our own engine, on both sides, whose sums can be seen."""

    adapter = OurEngine
    peer: OurEngine

    @invariant()
    def the_sums_are_right(self) -> None:
        check_sums(self.peer.engine)


TestOurEngine = pytest.mark.slow(OurEngineMachine.TestCase)
TestOurEngine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)

QUICK = settings(
    max_examples=250,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


def toy_machine(broken: str) -> type[LtpPeerMachine]:
    """The machine against a toy with one fault."""

    class Broken(Toy):
        fault = broken

    class ToyMachine(LtpPeerMachine):
        adapter = Broken

    return ToyMachine


@pytest.mark.slow
def test_a_toy_without_faults_has_none() -> None:
    run_state_machine_as_test(toy_machine(""), settings=settings(QUICK, max_examples=40))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_a_toy_is_found_and_named(fault: str) -> None:
    with pytest.raises(PeerFault) as found:
        run_state_machine_as_test(toy_machine(fault), settings=QUICK)
    clause = found.value.violation.clause.removeprefix("RFC 5326 ")
    assert clause in FAULTS[fault].split(" or ")
