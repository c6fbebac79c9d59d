"""What can be asked of a running node: the table of operations, and the simple ones."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from stack.contacts.files import load_plan
from stack.contacts.passed import PassedOver
from stack.contacts.plan import OWLT_NS_MAX, RATE_BPS_MAX, Contact
from stack.core.clock import FOREVER_MS, MILLISECOND, SECOND, dtn_from_iso, dtn_to_iso
from stack.core.errors import ConfigError
from stack.engines.bundle_agent import Entry
from stack.node.control.challenges import ChallengeOperations
from stack.node.control.jobs import JobOperations
from stack.node.control.keys import KeyOperations
from stack.node.control.protocol import ControlError
from stack.node.control.receiving import ReceiveOperation, received_as_dict
from stack.node.control.reports import Asked, Follower
from stack.node.control.request import WEEK_S, Operation, Request, Session
from stack.node.control.transfers import TransferOperations
from stack.node.link import Link
from stack.node.node import Node
from stack.services.echo import ECHO_BYTES_MAX, PING_BYTES_MIN, PING_COUNT_MAX, PingStats, ping
from stack.services.messages import PRIORITY_MAX
from stack.services.names import ECHO, endpoint_of

CONTACTS_SHOWN_MAX: Final = 10_000
"""Contacts of one answer: an operator looks at some dozens, and the plan's file has them all."""


def make_operations(node: Node, stop: Callable[[], None]) -> Mapping[str, Operation]:
    """Every operation of a node by name; `stop` is called when a client wants the node to end."""
    simple = NodeOperations(node, stop)
    transfers = TransferOperations(node)
    jobs = JobOperations(node)
    keys = KeyOperations(node)
    challenges = ChallengeOperations(node)
    return {
        "status": simple.status,
        "counters": simple.counters,
        "ping": simple.ping,
        "plan": simple.plan,
        "set_plan": simple.set_plan,
        "reload_policy": simple.reload_policy,
        "contact_discovered": simple.contact_discovered,
        "contact_lost": simple.contact_lost,
        "received_files": simple.received_files,
        "stop": simple.stop,
        "receive": ReceiveOperation(node),
        "send_message": transfers.send_message,
        "bundles": transfers.bundles,
        "quarantine": simple.quarantine,
        "cancel_bundle": transfers.cancel_bundle,
        "send_file": transfers.send_file,
        "transfers": transfers.transfers,
        "watch": transfers.watch,
        "cancel": transfers.cancel,
        "submit_job": jobs.submit,
        "jobs": jobs.jobs,
        "watch_job": jobs.watch,
        "cancel_job": jobs.cancel,
        "keys": keys.keys,
        "rotate_keys": keys.rotate_keys,
        "reload_keys": keys.reload_keys,
        "destroy_keys": keys.destroy_keys,
        "export_keys": keys.export_keys,
        "import_keys": keys.import_keys,
        "expect_challenge": challenges.expect,
        "forget_challenge": challenges.forget,
    }


STORE_SHOWN: Final = (
    *("bundles", "bytes", "quota_bytes", "full", "missing", "rescues"),
    *("damaged", "damaged_states", "repaired", "repaired_octets", "scrubbed_bytes"),
)
"""What is told of the store."""


def program_version() -> str:
    """The version of the installed distribution."""
    try:
        return version("orbitferry")
    except PackageNotFoundError:  # a source tree that was never installed
        return "unknown"


class NodeOperations:
    """Looking at a node, pinging others, its contact plan, its end."""

    def __init__(self, node: Node, stop: Callable[[], None]) -> None:
        self._node = node
        self._files = node.services.files
        self._stop = stop
        self._begun_ns = node.port.now()

    async def status(self, request: Request, session: Session) -> dict[str, Any]:
        """What an operator wants to know at a glance."""
        request.finish()
        node = self._node
        figures = node.counters() | node.gauges()
        open_transfers = [one for one in self._files.all_progress() if one.open]
        return {
            "node": str(node.node_id),
            "version": program_version(),
            "pid": os.getpid(),
            "uptime_s": (node.port.now() - self._begun_ns) / SECOND,
            "time": dtn_to_iso(node.port.dtn_ms()),
            "store": {key: figures[f"store.{key}"] for key in STORE_SHOWN},
            "queue": {key: figures[f"queue.{key}"] for key in ("bundles", "bytes")},
            "quarantine": len(node.quarantined()),
            "links": [self._link(link, figures) for link in node.links.values()],
            "transfers_open": len(open_transfers),
            "files_waiting": len(self._files.inbox),
            "contacts": len(node.plan.contacts),
            "keys": node.keys.table(),
        }

    def _link(self, link: Link, figures: Mapping[str, int]) -> dict[str, Any]:
        node = self._node
        share = {
            key: figures[name]
            for key in ("bytes", "reserved_bytes")
            if (name := f"link.{link.name}.share.{key}") in figures
        }
        now_ms = node.port.dtn_ms()
        config = link.config
        coming = [
            contact
            for contact in node.plan.between(node.config.id, link.peer)
            if contact.end_ms > now_ms
        ]
        return {
            "name": link.name,
            "peer": link.peer,
            "up": link.state == "up",
            "state": link.state,
            "hints": link.hints,
            "scheduled": config.scheduled,
            "local": config.local,
            "remote": config.remote,
            "waiting_bytes": node.port.waiting_bytes(link.peer),
            "share": share or None,
            "contact": _contact(coming[0]) if coming and config.scheduled else None,
        }

    async def quarantine(self, request: Request, session: Session) -> dict[str, Any]:
        """The bundles on which work has failed, or with `ref` one of them with its octets.  Raises
        `ControlError` when it is not there."""
        limit = request.integer("limit", 1000, 1, CONTACTS_SHOWN_MAX)
        ref = request.integer("ref", 0, 0, 1 << 62)
        request.finish()
        found = self._node.quarantined()
        if not ref:
            shown = [_held(entry) for entry in found[:limit]]
            return {"quarantine": shown, "quarantine_total": len(found)}
        for entry in found:
            if entry.ref == ref and (octets := self._node.octets(ref)) is not None:
                return _held(entry) | {"octets": base64.b64encode(octets).decode()}
        raise ControlError("unknown", f"no bundle {ref} is in quarantine")

    async def counters(self, request: Request, session: Session) -> dict[str, Any]:
        """Every counter and every gauge by name."""
        request.finish()
        return {"counters": self._node.counters(), "gauges": self._node.gauges()}

    async def ping(self, request: Request, session: Session) -> dict[str, Any]:
        """Pings; an event `reply` for each, `rtt_ns` null for one that was lost."""
        destination = request.eid("destination")
        count = request.integer("count", 4, 1, PING_COUNT_MAX)
        interval_s = request.number("interval_s", 1.0, 0.0, WEEK_S)
        timeout_s = request.number("timeout_s", 60.0, 0.001, WEEK_S)
        size = request.integer("size", 64, PING_BYTES_MIN, ECHO_BYTES_MAX)
        priority = request.integer("priority", 2, 0, PRIORITY_MAX)
        node = self._node
        asked = Asked(request, node.node_id)
        request.finish()
        if destination == destination.node:
            destination = endpoint_of(destination, ECHO)
        stats = PingStats()
        follower = Follower(node.services.reports, session, active=asked.here)
        async with follower.following():
            async for result in ping(
                node.port,
                destination,
                count=count,
                interval_s=interval_s,
                timeout_s=timeout_s,
                size=size,
                priority=priority,
                report_flags=asked.flags,
                report_to=asked.to,
                on_sent=follower.sent,
            ):
                stats.add(result)
                await session.event("reply", sequence=result.sequence, rtt_ns=result.rtt_ns)
        return {
            "destination": str(destination),
            "sent": stats.sent,
            "received": stats.received,
            "min_ns": stats.min_ns,
            "mean_ns": stats.mean_ns,
            "max_ns": stats.max_ns,
            "deviation_ns": stats.deviation_ns,
        }

    async def plan(self, request: Request, session: Session) -> dict[str, Any]:
        """The contacts that are not over, soonest first."""
        limit = request.integer("limit", 1000, 1, CONTACTS_SHOWN_MAX)
        request.finish()
        plan, now_ms = self._node.plan, self._node.port.dtn_ms()
        coming = [contact for contact in plan.contacts if contact.end_ms > now_ms]
        return {
            "contacts": [
                _contact(contact)
                | {
                    "owlt_ms": plan.owlt_ns(
                        contact.source, contact.destination, max(contact.start_ms, now_ms)
                    )
                    / MILLISECOND
                }
                for contact in coming[:limit]
            ],
            "contacts_total": len(coming),
        }

    async def set_plan(self, request: Request, session: Session) -> dict[str, Any]:
        """Follow the plan in a file until the node ends; its configuration stays as it is.  Raises
        `ConfigError` for what is no time or no plan."""
        path = request.path("path")
        reference = request.text("reference", "")
        request.finish()
        try:
            reference_ms = dtn_from_iso(reference) if reference else self._node.port.dtn_ms()
        except ValueError:
            raise ConfigError(
                "reference", f"{reference!r} is no time", 'write "2026-10-01T12:00:00Z"'
            ) from None
        # In a thread, as a large plan takes seconds to read and links must go on meanwhile.
        passed = PassedOver()
        plan = await asyncio.to_thread(load_plan, path, reference_ms, None, passed)
        self._node.set_plan(plan)
        told = {"contacts": len(plan.contacts), "passed_over": str(passed)}
        self._node.port.trace("plan_set", {"path": str(path), **told})
        return {"ranges": len(plan.ranges), **told}

    async def reload_policy(self, request: Request, session: Session) -> dict[str, Any]:
        """Read the directory of nodes anew; with `dry_run` only say what would change.  Raises
        `ConfigError` for what is wrong with it."""
        dry_run = request.flag("dry_run")
        request.finish()
        told = self._node.policy.reload(dry_run=dry_run)
        changed = [
            {"node": node, "before": before, "now": now}
            for node, (before, now) in told.changed.items()
        ]
        return {"dry_run": dry_run, **told._asdict(), "changed": changed}

    async def contact_discovered(self, request: Request, session: Session) -> dict[str, Any]:
        """A contact that no plan foresaw has begun, and lasts for `duration_s`."""
        neighbour = str(request.eid("neighbour").node)
        duration_s = request.number("duration_s", 600.0, 0.001, WEEK_S)
        rate_bps = request.number("rate_bps", 0.0, 0.0, RATE_BPS_MAX)
        owlt_ms = request.number("owlt_ms", 0.0, 0.0, OWLT_NS_MAX / MILLISECOND)
        request.finish()
        until_ms = self._node.port.dtn_ms() + round(duration_s * 1000)
        self._node.contact_discovered(
            neighbour,
            until_ms,
            rate_bps=rate_bps or float("inf"),
            owlt_ns=round(owlt_ms * MILLISECOND),
        )
        return {"neighbour": neighbour, "until": dtn_to_iso(until_ms)}

    async def contact_lost(self, request: Request, session: Session) -> dict[str, Any]:
        """A discovered contact is over before its time."""
        neighbour = str(request.eid("neighbour").node)
        request.finish()
        return {"neighbour": neighbour, "found": self._node.contact_lost(neighbour)}

    async def received_files(self, request: Request, session: Session) -> dict[str, Any]:
        """Files that have arrived and that nobody has taken yet."""
        request.finish()
        held = self._files.inbox.held()
        return {"files": [received_as_dict(one, self._files) for one in held]}

    async def stop(self, request: Request, session: Session) -> dict[str, Any]:
        """End the node; the answer comes first."""
        request.finish()
        self._stop()
        return {"pid": os.getpid(), "node": str(self._node.node_id)}


def _held(entry: Entry) -> dict[str, Any]:
    return {
        "ref": entry.ref,
        "source": entry.source,
        "destination": entry.destination,
        "bytes": entry.size,
        "expires": dtn_to_iso(entry.expires_ms),
        "why": entry.note.decode(errors="replace"),
    }


def _contact(contact: Contact) -> dict[str, Any]:
    rate = contact.rate_bps
    return {
        "source": contact.source,
        "destination": contact.destination,
        "start": dtn_to_iso(contact.start_ms),
        "end": dtn_to_iso(contact.end_ms) if contact.end_ms < FOREVER_MS else None,
        "rate_bps": rate if rate != float("inf") else None,
        "confidence": contact.confidence,
    }
