"""Bundles that wait for several neighbours at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from stack.contacts.plan import Contact


class _Copies:
    __slots__ = ("booked", "served", "tickets")

    def __init__(self) -> None:
        self.tickets: dict[str, int] = {}
        self.served: set[str] = set()
        self.booked: Counter[Contact] = Counter()
        """On how many ways of copies, those that have left included, a contact lies."""


class CopyTable:
    """The copies of bundles, each under a ticket of its own: a number below 0.

    A bundle that is not in here has one copy, and its ref is its ticket.

    Copies of a critical bundle whose ways meet are one bundle from there on: the node at which
    they meet knows the second again, and sends it no further.  So a contact that lies on several
    of their ways is booked once, and given back when the last of these is given up.
    """

    __slots__ = ("_last", "_of", "_owner")

    def __init__(self) -> None:
        self._of: dict[int, _Copies] = {}
        self._owner: dict[int, tuple[int, str]] = {}
        self._last = 0

    def __contains__(self, ref: int) -> bool:
        return ref in self._of

    def add(self, ref: int, neighbour: str) -> int:
        """A ticket for one more copy of a bundle."""
        self._last -= 1
        self._of.setdefault(ref, _Copies()).tickets[neighbour] = self._last
        self._owner[self._last] = ref, neighbour
        return self._last

    def ref(self, ticket: int) -> int:
        """The bundle of a copy."""
        return self._owner[ticket][0]

    def owner(self, ticket: int) -> int:
        """The same; 0 for a ticket that is none any more."""
        return self._owner.get(ticket, (0, ""))[0]

    def ticket(self, ref: int, neighbour: str) -> int:
        """The copy of a bundle for a neighbour, 0 if there is none."""
        copies = self._of.get(ref)
        return ref if copies is None else copies.tickets.get(neighbour, 0)

    def tickets(self, ref: int) -> Collection[int]:
        """All copies of a bundle that are on their way."""
        copies = self._of.get(ref)
        return () if copies is None else tuple(copies.tickets.values())

    def knows(self, ref: int, neighbour: str) -> bool:
        """Whether a neighbour has got a copy, or is to get one."""
        copies = self._of.get(ref)
        return copies is not None and (neighbour in copies.tickets or neighbour in copies.served)

    def served(self, ref: int, neighbour: str) -> bool:
        """A neighbour has its copy; whether that was the last on its way."""
        copies = self._of[ref]
        del self._owner[copies.tickets.pop(neighbour)]
        copies.served.add(neighbour)
        return not copies.tickets

    def booked(self, ticket: int, contacts: Sequence[Contact]) -> Collection[Contact]:
        """A copy goes this way: the contacts of it that another copy has booked already."""
        booked = self._of[self._owner[ticket][0]].booked
        shared = [contact for contact in contacts if contact in booked]
        booked.update(contacts)
        return shared

    def released(self, ticket: int, contacts: Sequence[Contact]) -> Collection[Contact]:
        """A copy does not go this way after all: the contacts of it that another still needs."""
        booked = self._of[self._owner[ticket][0]].booked
        booked.subtract(contacts)
        shared = [contact for contact in contacts if booked[contact]]
        for contact in contacts:
            if not booked[contact]:
                del booked[contact]
        return shared

    def drop(self, ticket: int) -> int:
        """A copy does not go its way any more; its bundle."""
        ref, neighbour = self._owner.pop(ticket)
        del self._of[ref].tickets[neighbour]
        return ref

    def forget(self, ref: int) -> bool:
        """A bundle is over, or has no way; whether a copy of it had left."""
        copies = self._of.pop(ref, None)
        if copies is None:
            return False
        for ticket in copies.tickets.values():
            del self._owner[ticket]
        return bool(copies.served)
