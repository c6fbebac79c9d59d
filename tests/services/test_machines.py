"""The file service and the job service under the machines for them: nothing is found in ours, and
each planted fault is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from interop.machines import FilesMachine, JobsMachine, MachineFault
from tests.services import faulty
from tests.services.ours import OurFiles, OurJobs


class OurFilesMachine(FilesMachine):
    """Against our own, which is killed at any commit too."""

    adapter = OurFiles

    @rule(end=st.integers(0, 1), commits=st.integers(1, 6), applies=st.booleans())
    def crash_in_commit(self, end: int, commits: int, applies: bool) -> None:
        """Killed at one of the next commits, before it took effect or after."""
        self.peer[end].crash_at(commits, applies=applies)


class OurJobsMachine(JobsMachine):
    """Against our own."""

    adapter = OurJobs


TestOurFiles = pytest.mark.slow(OurFilesMachine.TestCase)
TestOurJobs = pytest.mark.slow(OurJobsMachine.TestCase)
TestOurFiles.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestOurJobs.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)

QUICK = settings(
    max_examples=200,
    stateful_step_count=20,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


@pytest.mark.slow
@pytest.mark.parametrize("fault", faulty.FILES, ids=lambda fault: fault.__name__)
def test_each_fault_of_a_file_service_is_found(fault: Any) -> None:
    class Broken(FilesMachine):
        adapter = fault

    with pytest.raises(MachineFault) as found:
        run_state_machine_as_test(Broken, settings=QUICK)
    assert found.value.violation.clause in fault.breaks


@pytest.mark.slow
@pytest.mark.parametrize("fault", faulty.JOBS, ids=lambda fault: fault.__name__)
def test_each_fault_of_a_job_service_is_found(fault: Any) -> None:
    class Broken(JobsMachine):
        adapter = fault

    with pytest.raises(MachineFault) as found:
        run_state_machine_as_test(Broken, settings=QUICK)
    assert found.value.violation.clause in fault.breaks
