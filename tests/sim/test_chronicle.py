"""What the laws of a day hold a node's log against: what it must say of what the node refused."""

from __future__ import annotations

import pytest

from stack.audit.event import Act, Circumstance
from stack.engines.bundle_agent.trail import REFUSALS_MAX
from stack.ports.store import Committed, RecordEvent, Write
from stack.simulator.swarm.chronicle import Chronicle
from stack.storage.memory import MemoryStore

NODE = "dtn://gs1/"
WHY = "it may not rest here"
NOW_MS = 800_000_000_000
NOTHING = Write("space", "key", b"")


def name(number: int) -> str:
    return f"dtn://gs2/mail@{NOW_MS}.{number}"


def refuses(chronicle: Chronicle, *numbers: int) -> None:
    for number in numbers:
        fields = {"why": "not_permitted", "detail": WHY, "bundle": name(number)}
        chronicle.hears("bundle_dropped", {**fields, "sender_keeps": False})


def record(number: int) -> RecordEvent:
    return RecordEvent((Circumstance(Act.REFUSED, NODE, b"", "", WHY, b""), name(number)))


def complaints(chronicle: Chronicle, *written: int) -> list[str]:
    store = MemoryStore(10**6)
    store.commit([record(number) for number in written], NOW_MS)
    return chronicle.compare("gs1", store, {})


@pytest.fixture
def chronicle() -> Chronicle:
    return Chronicle()


def test_what_a_process_that_goes_on_has_refused_is_missed(chronicle: Chronicle) -> None:
    refuses(chronicle, 1, 2)
    chronicle.committed([NOTHING], Committed([]), chronicle.refusals([NOTHING]))
    assert complaints(chronicle, 1) == [f"its log does not say that it refused {name(2)}: {WHY}"]
    assert complaints(chronicle, 1, 2) == []


def test_one_cut_off_before_the_record_may_have_none(chronicle: Chronicle) -> None:
    refuses(chronicle, 1, 2)
    ops = [record(1)]
    chronicle.committed(ops, Committed([]), chronicle.refusals(ops))
    chronicle.committed([NOTHING], Committed([]), chronicle.refusals([NOTHING]))
    chronicle.refusals([record(2)])  # which does not become durable
    chronicle.reopened([])
    assert complaints(chronicle, 1) == []
    assert complaints(chronicle) == [f"its log does not say that it refused {name(1)}: {WHY}"]


def test_each_refusal_has_a_record_of_its_own(chronicle: Chronicle) -> None:
    refuses(chronicle, 1, 1)
    ops = [record(1)]
    chronicle.committed(ops, Committed([]), chronicle.refusals(ops))
    assert complaints(chronicle, 1)
    assert complaints(chronicle, 1, 1) == []


@pytest.mark.parametrize("written", [REFUSALS_MAX - 1, REFUSALS_MAX])
def test_of_a_flood_a_log_has_as_many_as_it_takes(chronicle: Chronicle, written: int) -> None:
    refuses(chronicle, *range(REFUSALS_MAX + 1))
    assert bool(complaints(chronicle, *range(written))) is (written < REFUSALS_MAX)


def test_a_refusal_that_was_none_is_found(chronicle: Chronicle) -> None:
    refuses(chronicle, 1)
    says = f"its log says 1 times that it refused {name(2)}: {WHY}; it did 0 times"
    assert complaints(chronicle, 1, 2) == [says]
