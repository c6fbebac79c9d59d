"""Options: drawn from a seed, written down, read again, edited, made smaller."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.errors import ConfigError
from stack.simulator.swarm import (
    Fault,
    Options,
    draw,
    faults,
    load_options,
    run,
    same_failure,
    shrink,
)
from stack.simulator.swarm.options import LONG_S
from stack.simulator.swarm.plans import JOURNEYS_WANTED, journeys, make_plan, misled
from stack.simulator.swarm.work import ExpectedWork
from tests.sim.days import small

SEEDS = st.integers(0, 1 << 64)


@given(SEEDS, st.one_of(st.none(), st.integers(3, 8)))
def test_what_is_drawn_is_sound(seed: int, nodes: int | None) -> None:
    options = draw(seed, nodes=nodes)
    assert options == draw(seed, nodes=nodes)
    assert nodes in (None, len(options.nodes))
    assert 3 <= len(options.nodes) <= 8
    assert all(fault.at_s + fault.for_s <= options.faults_s + 1e-3 for fault in options.faults)
    assert "\n" not in options.line()


@pytest.mark.slow
def test_nearly_everything_must_arrive() -> None:
    """There are ways enough for it when the faults are over."""
    due = there = 0
    for seed in range(60):
        options = draw(seed, nodes=None)
        expected = ExpectedWork(options)
        due += len(expected.due(options))
        lasting = [one for one in options.messages if one.lifetime_s >= LONG_S]
        there += len(lasting) + len(options.files) + len(options.jobs)
    assert due > 0.95 * there


@given(seed=SEEDS)
def test_written_and_read_again(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    options = draw(seed, nodes=None)
    path = tmp_path_factory.getbasetemp() / "options.json"
    path.write_text(options.dumps())
    assert load_options(path) == options


def test_toml_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "options.toml"
    path.write_text(
        """
seed = 3
faults_s = 10.0
nodes = ["gs1", "sat1"]
passes = [{a = "gs1", b = "sat1", start_s = 0.0, end_s = 100.0}]
links = [{a = "gs1", b = "sat1", rate_bps = 1e5, back_bps = 1e5, owlt_ms = 5.0}]
faults = [{kind = "restart", node = "sat1", at_s = 5.0}]
"""
    )
    options = load_options(path)
    assert options.faults == (Fault(kind="restart", node="sat1", at_s=5.0),)
    assert options.day_s == 86_400.0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"kind": "full"', '"kind": "flood"'),
        ('"node": "gs1"', '"node": "gs9"'),
        ('"start_s": 0.0', '"start_s": 1e9'),
        ('"faults_s": 3600.0', '"faults_s": 1e9'),
        ('"seed": 1', '"seeds": 1'),
        ('"priority": 1', '"prio": 1'),
        ('"destination": "gs2"', '"destination": "gs1"'),
        ("{", "["),
    ],
)
def test_what_is_wrong_is_told(old: str, new: str, tmp_path: Path) -> None:
    options = small(Fault(kind=faults.FULL, node="gs1", at_s=1.0, for_s=1.0))
    text = options.dumps()
    assert old in text
    path = tmp_path / "options.json"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=r"options\.json"):
        load_options(path)
    with pytest.raises(ConfigError, match="nothing"):
        load_options(tmp_path / "nothing.json")


def test_impossible_wishes() -> None:
    with pytest.raises(ConfigError, match="flood"):
        draw(1, kinds=["flood"])
    with pytest.raises(ConfigError, match="nodes"):
        draw(1, nodes=9)


@pytest.mark.slow
def test_every_kind_and_every_feature_is_drawn() -> None:
    drawn = [draw(seed, nodes=None) for seed in range(300)]
    struck = Counter(fault.kind for options in drawn for fault in options.faults)
    assert set(struck) == set(faults.KINDS)
    assert {options.store for options in drawn} == {"memory", "sqlite"}
    assert {options.fec for options in drawn} == {options.protect for options in drawn}
    assert {len(options.nodes) for options in drawn} == set(range(3, 9))
    assert any(one.lifetime_s < LONG_S for options in drawn for one in options.messages)


def test_kinds_that_are_switched_off_change_nothing_else() -> None:
    for seed in range(50):
        whole, part = draw(seed), draw(seed, kinds=[faults.CUT, faults.FULL])
        assert part == dataclasses.replace(
            whole,
            faults=tuple(one for one in whole.faults if one.kind in (faults.CUT, faults.FULL)),
        )


# ---- plans -------------------------------------------------------------------------------------


class Always:
    """Strikes every contact."""

    def random(self) -> float:
        return 0.0


@pytest.mark.parametrize("mode", faults.PLAN_MODES)
def test_a_misled_plan(mode: str) -> None:
    plan = make_plan(small())
    fault = Fault(kind=faults.PLAN, node="gs1", at_s=0.0, mode=mode, amount=2.0)
    wrong = misled(plan, fault, Always())  # type: ignore[arg-type]
    contacts = list(plan.contacts)
    match mode:
        case "missing":
            assert not wrong.contacts
        case "shifted":
            assert [one.start_ms for one in wrong.contacts] == [
                one.start_ms + 2000 for one in contacts
            ]
        case "rate":
            assert [one.rate_bps for one in wrong.contacts] == [
                2 * one.rate_bps for one in contacts
            ]
        case _:
            assert set(contacts) < set(wrong.contacts)
            assert len(wrong.contacts) == 2 * len(contacts)


def test_journeys_are_bounded_by_the_passes() -> None:
    options = small()
    there = (("gs1", "gs2"),)
    assert journeys(options, there, 0.0) == JOURNEYS_WANTED
    assert journeys(options, there, options.day_s) == 0
    assert journeys(dataclasses.replace(options, passes=options.passes[:2]), there, 0.0) == 1


# ---- shrinking ---------------------------------------------------------------------------------


def test_shrinking_leaves_what_fails() -> None:
    """A failure that needs one message and one fault, and the node of each."""
    options = draw(5, nodes=5)
    fault = Fault(kind=faults.FULL, node="gs1", at_s=1.0, for_s=64.0)
    options = dataclasses.replace(options, faults=(*options.faults, fault))
    number = options.messages[3].number

    def fails(candidate: Options) -> bool:
        return any(one.number == number for one in candidate.messages) and any(
            one.kind == faults.FULL and one.node == "gs1" for one in candidate.faults
        )

    found = shrink(options, fails)
    assert found.finished
    assert [one.number for one in found.options.messages] == [number]
    assert [one.kind for one in found.options.faults] == [faults.FULL]
    assert found.options.faults[0].for_s < 1.1
    assert not found.options.files + found.options.jobs + found.options.passes
    kept = {found.options.messages[0].source, found.options.messages[0].destination, "gs1"}
    assert set(found.options.nodes) <= kept | {options.nodes[-1], options.nodes[-2]}
    assert found == shrink(options, fails), "not deterministic"


def test_shrinking_is_bounded() -> None:
    options = draw(5)
    asked = []

    def fails(candidate: Options) -> bool:
        asked.append(candidate)
        return False

    found = shrink(options, fails, runs_max=10)
    assert (found.runs, found.finished, len(asked)) == (10, False, 10)
    assert found.options == options
    ticks = iter(range(100))
    found = shrink(options, fails, seconds_max=5, clock=lambda: next(ticks))
    assert not found.finished


def test_a_real_failure_is_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    from stack.node.link import Link

    def block(self: Link, event: object) -> None:
        self.engine.accept(event.session)  # type: ignore[attr-defined]

    monkeypatch.setattr(Link, "_block", block)
    options = small()
    fails = same_failure(options)
    assert fails is not None
    found = shrink(options, fails, runs_max=200)
    assert len(found.options.messages) + len(found.options.files) == 1
    assert len(found.options.passes) <= 2
    assert not run(found.options).ok


def test_what_does_not_fail_is_not_shrunk() -> None:
    assert same_failure(small()) is None
