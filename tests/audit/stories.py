"""What logs say of stores, and what stores hold."""

from __future__ import annotations

from stack.audit.event import Act, AuditEvent, Happened, decode_event
from stack.ports.store import BundleStore, Stored
from tests.storage.bundles import NOW_MS, number_of

NODE = "dtn://sat1/"


class Told:
    """Every bundle's end is told (`EventLedger`)."""

    def left(self, stored: Stored, acts: int, why: str) -> Happened:
        """An event of it."""
        name = f"dtn://sat1/files@{NOW_MS}.{number_of(stored.key)}"
        return AuditEvent(acts, 0, NODE, name, detail=why).happened


def entries(store: BundleStore) -> list[AuditEvent]:
    """All events of a store's log, whose numbers have no gaps."""
    found = store.events(0, 1 << 30)
    assert [number for number, _ in found] == list(range(store.events_end))
    return [decode_event(event) for _, event in found]


def check(store: BundleStore) -> list[AuditEvent]:
    """The log says that a bundle is here if and only if it is; what it says."""
    events = entries(store)
    here: set[str] = set()
    for event in events:
        if event.has(Act.DELETED, Act.EXPIRED):
            assert event.object in here, event  # nothing ends that has not begun
            here.discard(event.object)
        elif event.has(Act.STORED):
            assert event.object not in here, event
            here.add(event.object)
    held = {f"dtn://sat1/files@{NOW_MS}.{number_of(one.key)}" for one in store.scan()}
    assert here == held
    return events
