"""One heap of timers, against a dictionary that is searched."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stack.core.timers import TimerHeap

KEYS = [("end", "a"), ("end", "b"), ("ask", "a"), ("ask", "b"), ("forget", "c")]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["arm", "arm", "arm", "cancel", "pop", "shift", "clear"]),
        st.sampled_from(KEYS),
        st.integers(0, 50),
    ),
    max_size=200,
)


@given(STEPS)
def test_it_does_what_a_search_of_the_deadlines_does(
    steps: list[tuple[str, tuple[str, str], int]],
) -> None:
    heap, model = TimerHeap[tuple[str, str]](), dict[tuple[str, str], tuple[int, int]]()
    now = 0
    for action, key, amount in steps:
        now += amount % 7
        match action:
            case "arm":
                heap.arm(key, now + amount, now)
                model[key] = (now + amount, now)
            case "cancel":
                heap.cancel(key)
                model.pop(key, None)
            case "shift":
                heap.shift(amount)
                model = {each: (due + amount, at) for each, (due, at) in model.items()}
            case "clear" if amount > 45:
                heap.clear()
                model.clear()
            case "pop":
                due = sorted((when, each) for each, (when, _) in model.items() if when <= now)
                assert [heap.pop_due(now) for _ in due] == [
                    (each, model.pop(each)[1]) for _, each in due
                ]
                assert heap.pop_due(now) is None
        assert len(heap) == len(model)
        assert (key in heap) == (key in model)
        assert heap.deadline(key) == model.get(key, (None,))[0]
        earliest, after = min(model.values(), default=None), heap.next()
        if earliest is None:
            assert after is None
        else:
            assert after is not None
            assert after <= earliest[0]  # never late; a stale entry may wake us early


def test_a_stale_entry_wakes_once() -> None:
    heap = TimerHeap[int]()
    heap.arm(1, 10)
    heap.arm(1, 20)
    assert heap.next() == 10
    assert heap.pop_due(10) is None
    assert heap.next() == 20
    assert heap.pop_due(20) == (1, 0)
