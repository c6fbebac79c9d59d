"""Small scheduling problems: few stations, satellites and passes, crowded in time."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from link_models.planner import ScheduleConfig
from stack.contacts.plan import Contact, Plan


@dataclass(frozen=True)
class Case:
    """What `schedule` is asked."""

    plan: Plan
    antennas: dict[str, int]
    terminals: int
    weights: dict[str, float]
    config: ScheduleConfig


@st.composite
def small_problems(
    draw: st.DrawFn, *, antennas_max: int = 2, terminals_max: int = 2, passes_max: int = 4
) -> Case:
    """Passes of one or two rates each, with times in whole seconds below a minute."""
    stations = [f"dtn://g{i}/" for i in range(draw(st.integers(1, 2)))]
    satellites = [f"dtn://s{i}/" for i in range(draw(st.integers(1, 3)))]
    contacts: list[Contact] = []
    busy: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for _ in range(draw(st.integers(1, passes_max))):
        pair = (draw(st.sampled_from(stations)), draw(st.sampled_from(satellites)))
        start = draw(st.integers(0, 30))
        end = start + draw(st.integers(2, 20))
        if any(a <= end and start <= b for a, b in busy.get(pair, [])):
            continue  # passes of one pair are apart
        busy.setdefault(pair, []).append((start, end))
        middle = draw(st.integers(start + 1, end))
        for first, last in ((start, middle), (middle, end)):
            if first < last:
                rate = 8000.0 * draw(st.integers(1, 9))
                contacts.append(Contact(pair[1], pair[0], first * 1000, last * 1000, rate))
    return Case(
        Plan(contacts),
        {name: draw(st.integers(1, antennas_max)) for name in stations},
        draw(st.integers(1, terminals_max)),
        {name: draw(st.sampled_from([1.0, 2.0, 0.5])) for name in satellites},
        ScheduleConfig(
            guard_ms=draw(st.sampled_from([0, 2000, 5000])),
            handover_ms=draw(st.sampled_from([0, 0, 3000])),
            minimum_ms=draw(st.sampled_from([0, 0, 4000])),
            cut=draw(st.booleans()),
            gap=0.0,
        ),
    )
