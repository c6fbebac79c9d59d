"""Contacts in which a neighbour does not answer."""

from __future__ import annotations

from stack.contacts.plan import Contact
from stack.routing.router import Router


class SilentContacts:
    """Remembers which contacts are of no use for now, until their neighbour is heard again."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._failed: dict[str, list[tuple[int, Contact]]] = {}

    def failed(self, neighbour: str, now_ms: int) -> None:
        """The contacts under way to a neighbour are of no use."""
        router = self._router
        found = router.books.under_way(router.node, neighbour, now_ms)
        self._failed.setdefault(neighbour, []).extend(found)
        for place, _ in found:
            router.contact_failed(place)

    def restored(self, neighbour: str) -> bool:
        """A neighbour is heard again: whether that brings contacts back."""
        failed = self._failed.pop(neighbour, [])
        for old, contact in failed:
            place = self._router.books.place_of(old, contact)
            if place is not None:
                self._router.contact_restored(place)
        return bool(failed)
