"""What of the objects on their way out has left this node, and when the rest will have arrived."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from stack.core.clock import SECOND
from stack.core.eid import Eid
from stack.policy import DataPolicy
from stack.ports.application import AppPort
from stack.services.files.state import OutObject
from stack.services.files.steps import OUT_OPEN

_LOOK_NS: Final = SECOND // 4
"""What is held here is looked at no more often: it means to go through what was sent from here."""

_FORESEE_NS: Final = 10 * SECOND
"""The contact plan is asked no more often: a search through it takes milliseconds."""

_UNHEARD_NS: Final = SECOND
"""But while it takes a neighbour to answer: whether it has is what everybody wants to know."""


class Outlook:
    """Keeps `held_bytes` and `expected` of open objects up to date.

    A node knows how much it holds for a destination and a priority, not of which object.  The most
    urgent and then the oldest go first, so that what is left is of the youngest.
    """

    def __init__(self, port: AppPort, service: str) -> None:
        self._port = port
        self._service = service
        self._looked_ns = -_LOOK_NS
        self._foresaw_ns = -_FORESEE_NS
        self._unheard = False

    def look(self, objects: Iterable[OutObject]) -> None:
        """Bring `held_bytes` up to date."""
        now_ns = self._port.now()
        if now_ns - self._looked_ns < _LOOK_NS:
            return
        self._looked_ns = now_ns
        held = self._port.outgoing_bytes(self._service)
        for obj in sorted(_open(objects), key=_youngest):
            key = (obj.spec.destination, obj.spec.priority)
            obj.held_bytes = min(held.get(key, 0), obj.handed_bytes)
            held[key] = held.get(key, 0) - obj.held_bytes
            if obj.first_bytes is None:
                obj.first_bytes = obj.left_bytes

    def foresee(self, objects: Iterable[OutObject]) -> None:
        """Ask the contact plan when each object will be there, behind those before it: of all of
        them, or between times only of those that are new."""
        now_ns = self._port.now()
        fresh = now_ns - self._foresaw_ns < (_UNHEARD_NS if self._unheard else _FORESEE_NS)
        if not fresh:
            self._foresaw_ns, self._unheard = now_ns, False
        queues: dict[Eid, list[OutObject]] = {}
        for obj in _open(objects):
            queues.setdefault(obj.spec.destination, []).append(obj)
        for destination, queue in queues.items():
            queue.sort(key=_youngest, reverse=True)
            ends = accumulate(obj.spec.size - obj.left_bytes for obj in queue)
            asked: dict[DataPolicy | None, list[tuple[OutObject, int]]] = {}
            for obj, end in zip(queue, ends, strict=True):
                if not (fresh and obj.foreseen):
                    asked.setdefault(obj.spec.policy, []).append((obj, end))
            for policy, each in asked.items():
                octets = [end for _, end in each]
                found = self._port.expected(destination, octets, policy)
                for (obj, _), expected in zip(each, found, strict=True):
                    obj.expected, obj.foreseen = expected, True
                    self._unheard |= expected is not None and expected.unheard != ()


def _open(objects: Iterable[OutObject]) -> Iterator[OutObject]:
    return (obj for obj in objects if obj.state in OUT_OPEN)


def _youngest(obj: OutObject) -> tuple[int, int, int]:
    return (obj.spec.priority, -obj.spec.admitted_ms, -obj.order)
