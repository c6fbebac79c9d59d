"""The states of sessions: what is legal, what is refused, and that all of it happens."""

from __future__ import annotations

import enum
import itertools
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from stack.engines.ltp import export_session, import_session
from stack.engines.ltp.aggregator import Block
from stack.engines.ltp.export_session import ExportSession
from stack.engines.ltp.import_session import ImportSession
from stack.engines.ltp.red_part import RedPart
from stack.engines.ltp.states import (
    EXPORT_TRANSITIONS,
    IMPORT_TRANSITIONS,
    ExportInput,
    ExportState,
    IllegalTransition,
    ImportInput,
    ImportState,
    moved,
)
from stack.wire.ltp import CLIENT_BP, SessionId
from tests.engines.ltp.pair import Faults
from tests.engines.ltp.test_ltp_machine import TwoEngines

SESSION = SessionId(2, 3)

EXPORT_LEGAL = {
    ExportState.SENDING: {
        ExportInput.SENT: ExportState.WAITING,
        ExportInput.CANCEL: ExportState.CANCELLING,
        ExportInput.PEER_CANCEL: ExportState.CLOSED,
    },
    ExportState.WAITING: {
        ExportInput.COMPLETE: ExportState.CLOSED,
        ExportInput.CANCEL: ExportState.CANCELLING,
        ExportInput.PEER_CANCEL: ExportState.CLOSED,
    },
    ExportState.CANCELLING: {
        ExportInput.PEER_CANCEL: ExportState.CLOSED,
        ExportInput.END: ExportState.CLOSED,
    },
    ExportState.CLOSED: {},
}

IMPORT_LEGAL = {
    ImportState.OPEN: {
        ImportInput.COMPLETE: ImportState.HELD,
        ImportInput.CANCEL: ImportState.CANCELLING,
        ImportInput.PEER_CANCEL: ImportState.CLOSED,
        ImportInput.END: ImportState.CLOSED,
    },
    ImportState.HELD: {
        ImportInput.ACCEPT: ImportState.ACCEPTED,
        ImportInput.CANCEL: ImportState.CANCELLING,
        ImportInput.PEER_CANCEL: ImportState.CLOSED,
    },
    ImportState.ACCEPTED: {
        ImportInput.CANCEL: ImportState.CANCELLING,
        ImportInput.PEER_CANCEL: ImportState.CLOSED,
        ImportInput.END: ImportState.CLOSED,
    },
    ImportState.CANCELLING: {
        ImportInput.PEER_CANCEL: ImportState.CLOSED,
        ImportInput.END: ImportState.CLOSED,
    },
    ImportState.CLOSED: {},
}


@pytest.mark.parametrize(
    ("state", "what"), list(itertools.product(ExportState, ExportInput)), ids=str
)
def test_every_state_and_input_of_an_export(state: ExportState, what: ExportInput) -> None:
    session = ExportSession(SESSION, Block(b"x", (1,), 1, CLIENT_BP, 1), 1, 200, 0)
    assert session.state is ExportState.SENDING
    session.state = state
    check(session, what, EXPORT_LEGAL[state].get(what))


@pytest.mark.parametrize(
    ("state", "what"), list(itertools.product(ImportState, ImportInput)), ids=str
)
def test_every_state_and_input_of_an_import(state: ImportState, what: ImportInput) -> None:
    session = ImportSession(SESSION, 1, 1, RedPart(0), 0)
    assert session.state is ImportState.OPEN
    session.state = state
    check(session, what, IMPORT_LEGAL[state].get(what))


def check(session: Any, what: enum.Enum, after: enum.Enum | None) -> None:
    before = session.state
    if after is not None:
        session.move(what)
        assert session.state is after
        return
    with pytest.raises(IllegalTransition, match=f"is {before.name.lower()} met"):
        session.move(what)
    assert session.state is before


def test_two_engines_take_every_transition(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's rules, in an order that seeds draw: every legal move is seen, and no other."""
    taken: Counter[tuple[enum.Enum, enum.Enum]] = Counter()

    def counted(table: Mapping[Any, Any], state: Any, what: Any) -> Any:
        after = moved(table, state, what)
        taken[state, what] += 1
        return after

    monkeypatch.setattr(export_session, "moved", counted)
    monkeypatch.setattr(import_session, "moved", counted)
    for seed in range(40):
        walk(seed)
    never = {*EXPORT_TRANSITIONS, *IMPORT_TRANSITIONS} - set(taken)
    assert not never, f"never taken: {never}"


def walk(seed: int) -> None:
    rng = random.Random(seed)
    machine = TwoEngines()
    machine.start(
        seed=seed,
        segment_bytes=rng.choice([200, 1400]),
        commit_ms=15,
        report_delay_ms=rng.choice([0, 5]),
        async_ms=rng.choice([0, 5]),
        checkpoint_every=rng.choice([0, 3]),
        claims_max=100,
    )
    for _ in range(40):
        back = rng.random() < 0.3
        match rng.choice(["submit", "run", "run", "faults", "rate", "cancel", "green", "refuse"]):
            case "submit":
                machine.submit(sizes=[rng.randint(12, 12_000)], back=back, green=False)
            case "green":
                machine.submit(sizes=[rng.randint(12, 2000)], back=back, green=True)
            case "run":
                machine.run(milliseconds=rng.choice([1, 7, 15, 60]))
            case "faults":
                machine.change_faults(Faults(loss=rng.choice([0, 0, 0.3])))
            case "rate":
                machine.change_rate(rng.choice([None, 1e5, 1e7]))
            case "cancel":
                machine.cancel(back=back, pick=rng.randrange(1000))
            case "refuse":
                machine.refuse(back=back, every=rng.choice([0, 2]))
        if rng.random() < 0.1:
            machine.miscolour(back=back, pick=rng.randrange(1000))
        machine.the_sums_are_right()
    machine.teardown()
