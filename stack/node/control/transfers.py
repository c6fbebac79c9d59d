"""Sending messages and files, and following files under way."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import Iterator
from typing import Any, Final

from stack.core.clock import dtn_to_iso
from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.core.limits import BUNDLE_BYTES_MAX
from stack.engines.bundle_agent import Entry
from stack.node.control.paths import JUDGED_MAX, path_of
from stack.node.control.protocol import ControlError
from stack.node.control.reports import Asked, Follower
from stack.node.control.request import DECADE_S, WEEK_S, Request, Session, wrong
from stack.node.node import Node
from stack.policy import DataPolicy
from stack.services.files import FileEvent, Progress
from stack.services.messages import LIFETIME_MS, PRIORITY_MAX, send_message
from stack.services.names import MESSAGES, endpoint_of

EVENT_PERIOD_S: Final = 0.1
"""Progress is told this often at most: more than eyes can follow, little beside the work."""


BUNDLES_SHOWN_MAX: Final = 10_000
"""Bundles of one answer; more than that nobody reads."""


class Changes:
    """Wakes those who follow something, whenever anything has changed."""

    def __init__(self) -> None:
        self._events: set[asyncio.Event] = set()

    def announce(self) -> None:
        """Something has changed."""
        for event in self._events:
            event.set()

    @contextlib.contextmanager
    def following(self) -> Iterator[asyncio.Event]:
        """An event that is set after every change."""
        event = asyncio.Event()
        self._events.add(event)
        try:
            yield event
        finally:
            self._events.discard(event)


class TransferOperations:
    """Operations on messages and files."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._files = node.services.files
        self._lifetime_ms = node.config.services.files.lifetime_ms
        self._changes = Changes()
        self._files.listen(self._on_file)

    def _on_file(self, event: FileEvent) -> None:
        self._changes.announce()

    async def send_message(self, request: Request, session: Session) -> dict[str, Any]:
        """Send one message, given in Base64 or by the path of a file that holds it.

        Where status reports are asked for, an event `stored` and then an event `report` for each
        that comes, until the message was delivered or deleted, or `report_s` is over.  Raises
        `ControlError` when it is too large for one bundle.
        """
        destination = request.eid("destination")
        service = request.text("service", MESSAGES)
        lifetime_s = request.number("lifetime_s", LIFETIME_MS / 1000, 0.001, DECADE_S)
        priority = request.integer("priority", 1, 0, PRIORITY_MAX)
        policy, wait_for_path = request.policy(), request.flag("wait_for_path")
        asked = Asked(request, self._node.node_id)
        report_s = request.number("report_s", 60.0, 0.0, WEEK_S)
        if request.has("path"):
            path = request.path("path")
            request.finish()
            if path.stat().st_size > BUNDLE_BYTES_MAX:
                raise ControlError(
                    "refused",
                    f"{path}: {path.stat().st_size} octets do not fit one bundle",
                    "send it as a file, which is segmented",
                )
            payload = path.read_bytes()
        else:
            text = request.text("payload")
            request.finish()
            try:
                payload = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                raise wrong("payload", "is not Base64") from None
        if destination == destination.node:
            destination = endpoint_of(destination, service)
        follower = Follower(self._node.services.reports, session, active=asked.here)
        async with follower.following():
            bundle = await send_message(
                self._node.port,
                destination,
                payload,
                service=service,
                lifetime_ms=round(lifetime_s * 1000),
                priority=priority,
                report_flags=asked.flags,
                report_to=asked.to,
                policy=policy,
                wait_for_path=wait_for_path,
            )
            flow = (destination, policy, len(payload), round(lifetime_s * 1000), priority)
            follower.sent(0, bundle)
            found = {
                "bundle": str(bundle),
                "bytes": len(payload),
                "destination": str(destination),
                "reachable": _reaches(self._node, destination),
                "path": path_of(self._node, *flow),
            }
            if asked.here:
                await session.event("stored", **found)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(follower.final.wait(), report_s)
        return found | {"reports": follower.count if asked.here else None}

    async def bundles(self, request: Request, session: Session) -> dict[str, Any]:
        """The bundles that were sent from here and have not left yet, oldest first."""
        limit = request.integer("limit", 1000, 1, BUNDLES_SHOWN_MAX)
        request.finish()
        waiting = self._node.transmissions()
        shown = [_bundle(one) | {"path": None} for one in waiting[:limit]]
        told: dict[tuple[DataPolicy | None, str], dict[str, Any] | None] = {}
        for one, fields in zip(waiting, shown, strict=False):
            key = one.policy, one.destination
            if one.policy is not None and key not in told and len(told) < JUDGED_MAX:
                lifetime_ms = one.expires_ms - self._node.port.dtn_ms()
                to = Eid.parse(one.destination)
                flow = (to, one.policy, one.size, lifetime_ms, one.priority)
                told[key] = path_of(self._node, *flow)
            fields["path"] = told.get(key)
        return {"bundles": shown, "bundles_total": len(waiting)}

    async def cancel_bundle(self, request: Request, session: Session) -> dict[str, Any]:
        """Give up a bundle that was sent from here and has not left yet (RFC 9171 §5.12)."""
        text = request.text("bundle")
        request.finish()
        try:
            cancelled = await self._node.cancel(text)
        except DecodeError:
            remedy = "write it as `orbitferry send` or `orbitferry status --bundles` prints it"
            raise wrong("bundle", f"{text[:200]!r} is no bundle id", remedy) from None
        return {"bundle": text, "bundles": cancelled.bundles, "under_way": cancelled.under_way}

    async def send_file(self, request: Request, session: Session) -> dict[str, Any]:
        """Send a file, or every file of a folder."""
        path = request.path("path")
        destination = request.eid("destination").node
        name = request.text("name", "") or None
        priority = request.integer("priority", 1, 0, PRIORITY_MAX)
        lifetime_s = request.number("lifetime_s", 0.0, 0.0, DECADE_S)
        lifetime_ms = round(lifetime_s * 1000) or self._lifetime_ms
        how: dict[str, Any] = {
            "name": name,
            "priority": priority,
            "lifetime_ms": lifetime_ms,
            "policy": request.policy(),
            "wait_for_path": request.flag("wait_for_path"),
        }
        request.finish()
        if path.is_dir():
            ids = await self._files.send_folder(path, destination, **how)
        else:
            ids = [await self._files.send(path, destination, **how)]
        return {
            "ids": [one.hex() for one in ids],
            "transfers": self._states(ids),
            "reachable": _reaches(self._node, destination),
            "path": path_of(self._node, destination, how["policy"], 1, lifetime_ms, priority),
        }

    async def transfers(self, request: Request, session: Session) -> dict[str, Any]:
        """How far every known object is, both ways."""
        request.finish()
        self._files.foresee()
        now_ms = self._node.port.dtn_ms()
        return {"transfers": [as_dict(one, now_ms) for one in self._files.all_progress()]}

    async def watch(self, request: Request, session: Session) -> dict[str, Any]:
        """Follow objects that are sent from here until all are closed, or for `timeout_s`:
        events `progress`."""
        ids = request.object_ids("ids")
        timeout_s = request.number("timeout_s", DECADE_S, 0.0, DECADE_S)
        request.finish()
        if not ids:
            raise wrong("ids", "is empty", "name at least one transfer")
        with contextlib.suppress(TimeoutError), self._changes.following() as changed:
            async with asyncio.timeout(timeout_s):
                while True:
                    changed.clear()
                    states = self._states(ids)
                    if not any(state["open"] for state in states):
                        break
                    await session.event("progress", transfers=states)
                    await changed.wait()
                    await self._node.port.sleep(EVENT_PERIOD_S)
        return {"transfers": self._states(ids)}

    async def cancel(self, request: Request, session: Session) -> dict[str, Any]:
        """Give up objects that are sent from here."""
        ids = request.object_ids("ids")
        request.finish()
        cancelled = [one.hex() for one in ids if await self._files.cancel(one)]
        if len(ids) == 1 and not cancelled:
            raise _unknown(ids[0], "it is over, or was never sent from here")
        return {"cancelled": cancelled}

    def _states(self, ids: list[bytes]) -> list[dict[str, Any]]:
        self._files.foresee()
        states, now_ms = [], self._node.port.dtn_ms()
        for one in ids:
            progress = self._files.progress(one)
            if progress is None:
                raise _unknown(one, "it was never sent from here, or was over long ago")
            states.append(as_dict(progress, now_ms))
        return states


def _reaches(node: Node, destination: Eid) -> bool:
    """Whether any chain of links and contacts that are not over leads there."""
    if node.config.contacts.default:
        return True
    return node.port.reaches(destination)


def _unknown(object_id: bytes, why: str) -> ControlError:
    return ControlError(
        "unknown",
        f"no transfer {object_id.hex()} is under way: {why}",
        "list them with `orbitferry transfers list`",
    )


def _bundle(entry: Entry) -> dict[str, Any]:
    return {
        "bundle": str(entry.id),
        "destination": entry.destination,
        "bytes": entry.size,
        "priority": entry.priority,
        "expires": dtn_to_iso(entry.expires_ms),
    }


def _eta_s(progress: Progress, now_ms: int) -> float | None:
    """What the contact plan says, else what the mean rate does."""
    if progress.expected is None:
        return progress.rest_s
    return max(progress.expected.arrival_ms - now_ms, 0) / 1000


def as_dict(progress: Progress, now_ms: int) -> dict[str, Any]:
    """How far an object is at the DTN time `now_ms`, as it travels."""
    expected = progress.expected
    return {
        "id": progress.object_id.hex(),
        "peer": str(progress.peer.node),
        "name": progress.name,
        "direction": progress.direction,
        "state": progress.state,
        "open": progress.open,
        "bytes_done": progress.bytes_done,
        "bytes_handed": progress.bytes_handed,
        "bytes_total": progress.bytes_total,
        "rate_bytes_s": progress.rate_bytes_s,
        "eta_s": _eta_s(progress, now_ms),
        "expected": None if expected is None else dtn_to_iso(expected.arrival_ms),
        "passes": None if expected is None else expected.passes,
        "unheard": [] if expected is None else list(expected.unheard),
        "text": progress.text,
    }
