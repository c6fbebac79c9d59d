"""What a run of a machine says of the transitions that it took."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import rule, run_state_machine_as_test

from interop.machines import Coverage, PeerMachine, Transition, machine, table
from tests.interop.machines.ours import OurEngine
from tests.interop.machines.test_ltp_machine import OurEngineMachine

FEW = settings(max_examples=30, stateful_step_count=20, deadline=None)


def test_a_table_is_told_row_by_row() -> None:
    steps = list(table("door", {("open", "push"): "open | shut", ("shut", "pull"): "open"}))
    coverage = Coverage(steps)
    coverage.add([steps[0], steps[2]])
    coverage.add([steps[0], Transition("door", "shut", "push", "broken")])
    assert coverage.never() == [Transition("door", "open", "push", "shut")]
    assert list(coverage.lines()) == [
        "2 cases, 2 of 3 transitions taken",
        "       2  door: open -- push -> open",
        "   never  door: open -- push -> shut",
        "       1  door: shut -- pull -> open",
        "       1  door: shut -- push -> broken",
    ]


class Door(PeerMachine):
    """Two states."""

    adapter = list
    table = table("door", {("open", "push"): "shut", ("shut", "pull"): "open"})

    @rule()
    def nothing(self) -> None:
        """A machine has at least one rule."""

    def finish(self) -> None:
        assert not self.peer


def one_case(door: Door, *steps: tuple[str, str, str]) -> None:
    door.peer = type(door).adapter()
    for step in steps:
        door.took("door", *step)
    door.teardown()


def test_hypothesis_is_led_to_what_few_cases_took(monkeypatch: pytest.MonkeyPatch) -> None:
    scores: list[float] = []
    monkeypatch.setattr(machine, "target", lambda score, label: scores.append(score))
    monkeypatch.setattr(machine, "currently_in_test_context", lambda: True)
    push, pull = ("open", "push", "shut"), ("shut", "pull", "open")
    for steps in ([push], [push, push], [push], [push, pull]):
        one_case(Door(), *steps)
    assert scores == [1, 1 / 2, 1 / 3, 1 / 4 + 1]


def test_a_case_in_which_a_rule_has_failed_is_not_finished() -> None:
    door = Door()
    door.peer = ["something"]
    with pytest.raises(AssertionError):
        door.teardown()
    with pytest.raises(KeyError):
        fails(door)
    assert Door.coverage.cases >= 2


def fails(door: Door) -> None:
    """As Hypothesis does."""
    try:
        raise KeyError
    finally:
        door.teardown()


@pytest.mark.slow
def test_what_happens_to_our_engine_is_all_in_the_table_of_ltp() -> None:
    class Counted(OurEngineMachine):
        adapter = OurEngine

    run_state_machine_as_test(Counted, settings=FEW)
    coverage = Counted.coverage
    assert coverage.cases >= FEW.max_examples
    assert set(coverage.taken) <= set(coverage.table)
    assert len(coverage.never()) < len(coverage.table) / 2
