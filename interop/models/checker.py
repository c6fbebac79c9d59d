"""Explicit-state model checking, breadth first: the first trace to a fault is a shortest one."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

State = TypeVar("State", bound=Hashable)

STATES_MAX = 2_000_000
"""A model with more was not meant for this."""

Steps = tuple[str, ...]
"""Names of what happens, one after the other, from the beginning."""


class Model(Protocol[State]):
    """A finite system: where it begins, and what can happen next."""

    def begin(self) -> State:
        """The first state."""

    def steps(self, state: State) -> Iterable[tuple[str, State]]:
        """What can happen, by name, and what is then."""

    def wrong(self, state: State) -> str:
        """What must never be and is, in words; or ""."""

    def over(self, state: State) -> bool:
        """Whether what the system is for has been reached."""


@dataclass(frozen=True, slots=True)
class Explored:
    """What all states together say."""

    states: int
    transitions: int
    depth: int
    """Steps to the state that is farthest away."""

    wrong: str = ""
    """What must never be, if it can be."""

    trace: Steps = ()
    """A shortest way to it, or to a state that is stuck."""

    stuck: bool = False
    """From some state there is no way any more to the end."""


def explore(model: Model[State], most: int = STATES_MAX) -> Explored:
    """Visit every state.  Raises `ValueError` when there are more than `most`."""
    begin = model.begin()
    came: dict[State, tuple[State, str] | None] = {begin: None}
    depths = {begin: 0}
    before: dict[State, list[State]] = {}
    ends = []
    transitions = 0
    waiting = deque([begin])
    while waiting:
        state = waiting.popleft()
        fault = model.wrong(state)
        if fault:
            depth = depths[state]
            return Explored(len(came), transitions, depth, fault, _trace(came, state))
        if model.over(state):
            ends.append(state)
        for name, after in model.steps(state):
            transitions += 1
            before.setdefault(after, []).append(state)
            if after not in came:
                came[after] = state, name
                depths[after] = depths[state] + 1
                waiting.append(after)
                if len(came) > most:
                    raise ValueError(f"more than {most:,} states: bound the model")
    good = _reaching(ends, before)
    stuck = next((state for state in came if state not in good), None)
    trace = () if stuck is None else _trace(came, stuck)
    deepest = max(depths.values())
    return Explored(len(came), transitions, deepest, "", trace, stuck is not None)


def _reaching(ends: Iterable[State], before: dict[State, list[State]]) -> set[State]:
    """All states from which one of the ends can still be reached."""
    found = set(ends)
    waiting = list(found)
    while waiting:
        for earlier in before.get(waiting.pop(), ()):
            if earlier not in found:
                found.add(earlier)
                waiting.append(earlier)
    return found


def _trace(came: dict[State, tuple[State, str] | None], state: State) -> Steps:
    names = []
    step = came[state]
    while step is not None:
        state, name = step
        names.append(name)
        step = came[state]
    return tuple(reversed(names))


def walks(model: Model[State]) -> Iterator[list[tuple[str, State]]]:
    """Walks from the beginning that together take every transition at least once.

    Each goes the shortest way to a transition that none has taken, and from there on along others
    that none has taken, as far as it can.
    """
    begin = model.begin()
    came: dict[State, tuple[State, str] | None] = {begin: None}
    order = deque([begin])
    left: dict[State, list[tuple[str, State]]] = {}
    while order:
        state = order.popleft()
        left[state] = list(model.steps(state))
        for name, after in left[state]:
            if after not in came:
                came[after] = state, name
                order.append(after)
    for start in left:
        while left[start]:
            walk = _path(came, start)
            state = start
            while left[state]:
                name, state = left[state].pop()
                walk.append((name, state))
            yield walk


def _path(came: dict[State, tuple[State, str] | None], state: State) -> list[tuple[str, State]]:
    path = []
    step = came[state]
    while step is not None:
        path.append((step[1], state))
        state = step[0]
        step = came[state]
    return path[::-1]
