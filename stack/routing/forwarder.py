"""Which bundle goes to which neighbour next: the router and the queue, kept in step."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from stack.contacts.plan import Contact, Plan
from stack.routing.queue import ForwardQueue, Queued
from stack.routing.router import Router

FAILURES_MAX = 5
"""Failed transmissions in a row before a bundle steps aside.  A refusal is rare (a full store, a
damaged block), and mostly over at once."""


PART_BYTES_MIN = 4096
PART_SHARE = 0.9
"""A bundle too large for every contact may go in parts, each of at most this share of what the
best contact has left (lower layers need the rest), but not in crumbs."""


class Forwarder:
    """Every bundle that this node must forward is in one of three places: waiting for a neighbour,
    given to a link (`take`) until it is `remove`d or `returned`, or unrouted.

    `direct` are neighbours that can always be reached: what is for them needs no search.
    `default` is the neighbour that takes what the plan knows no way for.
    """

    def __init__(
        self,
        node: str,
        plan: Plan,
        *,
        direct: Collection[str] = (),
        default: str | None = None,
    ) -> None:
        self._router = Router(plan, node)
        self._direct = frozenset(direct)
        self._default = default
        self._queue = ForwardQueue()
        self._given: dict[int, Queued] = {}
        self._unrouted: dict[int, int] = {}
        self._failures: dict[int, int] = {}
        self._failed: dict[str, list[Contact]] = {}
        self.bytes_waiting = 0
        """Octets of all bundles here, those given to links and not yet acknowledged included."""

    @property
    def bundles_waiting(self) -> int:
        """Number of all bundles here."""
        return len(self._queue) + len(self._given) + len(self._unrouted)

    @property
    def unrouted(self) -> list[int]:
        """Bundles without a way, oldest first."""
        return list(self._unrouted)

    def add(
        self,
        ref: int,
        node: str,
        size: int,
        priority: int,
        expires_ms: int,
        now_ms: int,
        *,
        exclude: Collection[str] = (),
    ) -> int:
        """Find a way to `node` for a bundle, book it, and queue it; not by way of the neighbours
        in `exclude`.

        Gives 0, or, when it has no way because it is too large for every contact, the octets of
        a part that would fit.
        """
        self.bytes_waiting += size
        if node in self._direct:
            self._queue.push(Queued(ref, size, priority, expires_ms, node))
            return 0
        router = self._router
        route = router.route(node, size, priority, now_ms, expires_ms, exclude)
        if route is not None:
            router.book(route, size, priority, now_ms)
            self._queue.push(Queued(ref, size, priority, expires_ms, route.next_hop, route))
        elif self._default is not None and self._default not in exclude:
            self._queue.push(Queued(ref, size, priority, expires_ms, self._default))
        else:
            self._unrouted[ref] = size
            if size > PART_BYTES_MIN:
                part = router.route(node, PART_BYTES_MIN, priority, now_ms, expires_ms, exclude)
                if part is not None and part.volume_bytes < size:
                    return max(PART_BYTES_MIN, int(part.volume_bytes * PART_SHARE))
        return 0

    def remove(self, ref: int, now_ms: int) -> None:
        """A bundle is done here: acknowledged by the next node, expired or evicted."""
        self._failures.pop(ref, None)
        entry = self._given.pop(ref, None)
        if entry is not None:  # what a link has sent has used its booking
            self.bytes_waiting -= entry.size
            return
        entry = self._queue.remove(ref)
        if entry is not None:
            self.bytes_waiting -= entry.size
            self._release(entry, now_ms)
            return
        self.bytes_waiting -= self._unrouted.pop(ref, 0)

    def waiting(self, neighbour: str) -> bool:
        """Whether anything waits for a neighbour."""
        return self._queue.count(neighbour) > 0

    def bytes_for(self, neighbour: str) -> int:
        """Octets that wait for a neighbour."""
        return self._queue.bytes_waiting(neighbour)

    def take(self, neighbour: str, room_bytes: int, limit: int, now_ms: int) -> list[int]:
        """Take bundles for a neighbour, most urgent first, until `room_bytes` is used up.

        The last may exceed the room (a link always takes one bundle, however large).  What has
        expired is left to the store's clean-up.
        """
        taken: list[int] = []
        pop = self._queue.pop_next
        while room_bytes > 0 and len(taken) < limit:
            entry = pop(neighbour)
            if entry is None:
                break
            self._given[entry.ref] = entry
            if entry.expires_ms <= now_ms:
                continue
            room_bytes -= entry.size
            taken.append(entry.ref)
        return taken

    def returned(self, refs: Iterable[int]) -> None:
        """A link could not deliver these: they wait again, in front, in their old order.

        What has failed `FAILURES_MAX` times waits without a way until something changes, so that
        a bundle which the neighbour will not have does not hold up the rest.
        """
        for ref in reversed(tuple(refs)):
            entry = self._given.pop(ref, None)
            if entry is None:
                continue
            failures = self._failures[ref] = self._failures.get(ref, 0) + 1
            if failures % FAILURES_MAX:
                self._queue.requeue(entry)
            else:
                self._unrouted[ref] = entry.size

    def withdrawn(self, refs: Iterable[int]) -> None:
        """A link gives these back, of which it had sent nothing."""
        for ref in reversed(tuple(refs)):
            entry = self._given.pop(ref, None)
            if entry is not None:
                self._queue.requeue(entry)

    def failures(self, ref: int) -> int:
        """How often links have failed to deliver a bundle."""
        return self._failures.get(ref, 0)

    def contact_failed(self, neighbour: str, now_ms: int) -> None:
        """The contacts under way to a neighbour are of no use; call `drain`, and add again."""
        router = self._router
        plan = router.plan
        for contact in plan.active(now_ms, router.node, neighbour):
            place = plan.find(contact)
            if place is not None:
                router.contact_failed(place)
                self._failed.setdefault(neighbour, []).append(contact)

    def contact_restored(self, neighbour: str) -> bool:
        """A neighbour is heard again: its failed contacts count again.  Whether there were any;
        then what waits for it, or for others, may find a better way."""
        plan = self._router.plan
        failed = self._failed.pop(neighbour, [])
        for contact in failed:
            place = plan.find(contact)
            if place is not None:
                self._router.contact_restored(place)
        return bool(failed)

    def drain(self, neighbour: str, now_ms: int) -> list[int]:
        """Take out all that waits for a neighbour, and its bookings: its contact is over.

        Each has to be `add`ed again.  What has no way is among it: it may now find room.
        """
        refs = self._drain(neighbour, now_ms)
        refs += self._unrouted
        self.bytes_waiting -= sum(self._unrouted.values())
        self._unrouted.clear()
        return refs

    def drain_all(self, now_ms: int) -> list[int]:
        """The same for everything that waits, whatever for; also what has no way."""
        refs = [
            ref for neighbour in self._queue.neighbours() for ref in self._drain(neighbour, now_ms)
        ]
        return refs + self.drain("", now_ms)

    def set_plan(self, plan: Plan) -> None:
        """Route by another plan from now on; call `drain_all` and add everything again."""
        self._router.update_plan(plan)

    def _drain(self, neighbour: str, now_ms: int) -> list[int]:
        entries = self._queue.drain(neighbour)
        for entry in entries:
            self.bytes_waiting -= entry.size
            self._release(entry, now_ms)
        return [entry.ref for entry in entries]

    def _release(self, entry: Queued, now_ms: int) -> None:
        if entry.route is not None:
            self._router.release(entry.route, entry.size, entry.priority, now_ms)
