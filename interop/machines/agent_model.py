"""What RFC 9171 lets a bundle agent do with the bundles that it is given, as a small model.

It knows no store and no routes.  It notes what has reached the agent, and judges each bundle and
each report that leaves it and each payload that it delivers: `MachineFault` names the clause that
is broken.  `owed` says what the agent still has to do.  Nothing here comes from an agent of ours
but the codec.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from interop.machines.fault import MachineFault, require
from interop.machines.transitions import table
from stack.core.errors import DecodeError
from stack.wire.bundle import (
    BUNDLE_AGE,
    DISCARD_UNPROCESSED,
    HOP_COUNT,
    PREVIOUS_NODE,
    REPORT_DELETION,
    REPORT_DELIVERY,
    REPORT_FORWARDING,
    REPORT_RECEPTION,
    REPORT_UNPROCESSED,
    STATUS_TIME,
    Bundle,
    PrimaryBlock,
    ReportReason,
    StatusReport,
    decode_admin,
    parse_bundle_age,
    parse_hop_count,
    parse_previous_node,
)

NODE, WEST, EAST = "dtn://under-test/", "dtn://west/", "dtn://east/"
NOWHERE = "dtn://nowhere/"
UNKNOWN_TYPE = 222
"""Of blocks that no agent knows (RFC 9171 §9.1: for private use)."""

AGENT_TABLE: Final = tuple(
    table(
        "bundle",
        {
            ("new", "comes"): "waiting | forwarded | deferred | delivered | parts | stranded"
            " | refused",
            ("new", "is sent"): "waiting | forwarded | deferred | delivered | stranded",
            ("parts", "comes"): "parts | deferred | delivered",
            ("parts", "comes again"): "parts",
            ("parts", "restart"): "parts",
            ("parts", "time passes"): "ended",
            ("waiting", "comes again"): "waiting",
            ("waiting", "contact begins"): "forwarded",
            ("waiting", "restart"): "waiting",
            ("waiting", "time passes"): "ended",
            ("deferred", "comes again"): "deferred",
            ("deferred", "registration"): "delivered",
            ("deferred", "restart"): "deferred",
            ("deferred", "time passes"): "ended",
            ("stranded", "comes again"): "stranded",
            ("stranded", "restart"): "stranded",
            ("stranded", "time passes"): "ended",
            ("forwarded", "comes again"): "forwarded",
            ("forwarded", "restart"): "forwarded",
            ("delivered", "comes again"): "delivered",
            ("delivered", "restart"): "delivered",
            ("refused", "comes again"): "refused",
            ("refused", "restart"): "refused",
            ("ended", "comes again"): "ended",
            ("ended", "restart"): "ended",
        },
    )
)
"""Parts: fragments of it are missing.  Waiting: for a contact.  Deferred: nobody is registered.
Stranded: no way leads to its destination.  Ended: by its lifetime, before it was done with."""

Identity = tuple[str, int, int, int | None]


def identity(primary: PrimaryBlock | StatusReport) -> Identity:
    """What tells a bundle from others (§4.2.7), but for the length of fragments."""
    return str(primary.source), primary.creation_ms, primary.sequence, primary.fragment_offset


@dataclass
class KnownBundle:
    """A bundle, or all fragments of one for the node itself."""

    bundle: Bundle
    """Of fragments, the whole."""

    parts: tuple[bytes, ...]
    to: str
    """Where it goes: a neighbour, `NODE` or `NOWHERE`."""

    refused: ReportReason | None = None
    """Why it has to be deleted as it comes, if it has to."""

    ours: bool = False
    """An application of the agent has sent it."""

    came: Counter[int] = field(default_factory=Counter)
    """How often each part reached the agent before its lifetime ended."""

    arrivals: int = 0
    """How often any of it reached the agent at all."""

    first_ms: int = 0
    left: int = 0
    delivered: int = 0
    reports: Counter[tuple[int, int]] = field(default_factory=Counter)
    """How often each status was reported, with each reason."""

    @property
    def whole(self) -> bool:
        """Whether all of it has reached the agent."""
        return len(self.came) == len(self.parts)

    @property
    def ends_ms(self) -> int:
        """When its lifetime ends (§4.2.6)."""
        return self.bundle.primary.creation_ms + self.bundle.primary.lifetime_ms

    @property
    def unprocessed(self) -> int:
        """Blocks that want to be told of when they cannot be processed."""
        return sum(
            block.type == UNKNOWN_TYPE and bool(block.flags & REPORT_UNPROCESSED)
            for block in self.bundle.blocks
        )


class AgentModel:
    """The world of the agent under test."""

    def __init__(self, *, reports: bool, forgets: bool, slack_ms: int) -> None:
        self.known: list[KnownBundle] = []
        self.up = {WEST: False, EAST: False}
        self.registered = False
        self.now_ms = 0
        self._reports = reports
        self._forgets = forgets
        self._slack_ms = slack_ms
        self._broken: set[Identity] = set()
        self._told: set[Identity] = set()

    def state(self, one: KnownBundle) -> str:
        """One of those of `AGENT_TABLE`."""
        if not one.came:
            return "new"
        if one.refused is not None:
            return "refused"
        if one.left or one.delivered:
            return "forwarded" if one.left else "delivered"
        if self.now_ms >= one.ends_ms:
            return "ended"
        if one.to == NODE:
            return "deferred" if one.whole else "parts"
        return "stranded" if one.to == NOWHERE else "waiting"

    def comes(self, one: KnownBundle, part: int = 0) -> bytes:
        """A bundle, or a part of one, reaches the agent now: its octets."""
        one.first_ms = one.first_ms or self.now_ms
        one.arrivals += 1
        if one.refused is not None or self.now_ms < one.ends_ms:
            one.came[part] += 1
        return one.parts[part]

    def broken(self, name: Identity | None) -> None:
        """What is no bundle has reached it; such may be its name."""
        if name is not None:
            self._broken.add(name)

    # ------------------------------------------------------------------- what the agent does

    def delivers(self, payload: bytes) -> None:
        """The agent gave an application a payload.  Raises `MachineFault`."""
        require(self.registered, "RFC 9171 §5.7", "a delivery where nobody is registered")
        for one in self.known:
            if one.to == NODE and bytes(one.bundle.payload.data) == payload:
                break
        else:
            raise MachineFault("RFC 9171 §5.7", "a payload that nobody has sent", payload.hex())
        self._alive(one, "delivered")
        require(one.whole, "RFC 9171 §5.9", "a bundle is delivered before all of it came", one)
        one.delivered += 1
        most = min(one.came.values()) if self._forgets else 1
        require(one.delivered <= most, "RFC 9171 §5.7", "a bundle is delivered twice", one.bundle)

    def _alive(self, one: KnownBundle, done: str) -> None:
        reason = one.refused
        if reason is not None:
            words = f"{done} though it had to be deleted: {reason.name}"
            clause = {
                ReportReason.BLOCK_UNSUPPORTED: "§5.6",
                ReportReason.HOP_LIMIT_EXCEEDED: "§4.4.3",
            }.get(reason, "§5.5")
            raise MachineFault(f"RFC 9171 {clause}", words, one.bundle)
        require(
            self.now_ms < one.ends_ms + self._slack_ms,
            "RFC 9171 §5.5", f"{done} after its lifetime", one.bundle,
        )  # fmt: skip

    def leaves(self, bundle: Bundle, neighbour: str) -> None:
        """The agent gave a neighbour a bundle.  Raises `MachineFault`."""
        require(self.up[neighbour], "RFC 9171 §5.4", "a bundle leaves without a contact", bundle)
        name = identity(bundle.primary)
        for one in self.known:
            if one.to != NODE and identity(one.bundle.primary) == name:
                break
        else:
            raise MachineFault("RFC 9171 §5.4", "a bundle that nobody has sent", bundle)
        require(
            one.to == neighbour, "RFC 9171 §5.4", f"sent to {neighbour}, where no way is", bundle
        )
        self._alive(one, "sent")
        one.left += 1
        require(
            one.left <= max(1, one.came[0]), "RFC 9171 §5.4", "sent more often than it came", bundle
        )
        if not one.ours:
            self._unchanged(one, bundle)

    def _unchanged(self, one: KnownBundle, bundle: Bundle) -> None:
        before = one.bundle
        require(
            bundle.primary == before.primary, "RFC 9171 §4.3.1", "the primary block changes", bundle
        )
        require(
            bytes(bundle.payload.data) == bytes(before.payload.data),
            "RFC 9171 §4.3.3", "the payload changes", bundle,
        )  # fmt: skip
        was = {block.type: block for block in before.blocks}
        now = {block.type: block for block in bundle.blocks}
        if PREVIOUS_NODE in now:
            told = str(parse_previous_node(now[PREVIOUS_NODE]))
            require(told == NODE, "RFC 9171 §4.4.1", f"the previous node is {told}", bundle)
        if HOP_COUNT in was:
            limit, count = parse_hop_count(was[HOP_COUNT])
            found = parse_hop_count(now[HOP_COUNT]) if HOP_COUNT in now else None
            right = found == (limit, count + 1)
            require(right, "RFC 9171 §4.4.3", "the hop count does not grow by one", bundle)
        if BUNDLE_AGE in was:
            least = parse_bundle_age(was[BUNDLE_AGE])
            found_ms = parse_bundle_age(now[BUNDLE_AGE]) if BUNDLE_AGE in now else -1
            waited_ms = self.now_ms - one.first_ms
            require(
                least <= found_ms <= least + waited_ms + self._slack_ms,
                "RFC 9171 §4.4.2", f"{least} ms old, and after {waited_ms} ms {found_ms}", bundle,
            )  # fmt: skip
        if UNKNOWN_TYPE in was:
            block = was[UNKNOWN_TYPE]
            if block.flags & DISCARD_UNPROCESSED:
                gone = UNKNOWN_TYPE not in now
                require(gone, "RFC 9171 §5.6", "a block that was to be discarded stays", bundle)
            else:
                same = now.get(UNKNOWN_TYPE) == block
                require(same, "RFC 9171 §5.6", "an unknown block is lost or changes", bundle)

    def reports(self, carrier: Bundle, neighbour: str) -> None:
        """A status report leaves.  Raises `MachineFault`."""
        require(self.up[neighbour], "RFC 9171 §5.4", "a bundle leaves without a contact", carrier)
        require(neighbour == WEST, "RFC 9171 §5.4", "a report goes where no way is", carrier)
        name = identity(carrier.primary)
        require(name not in self._told, "RFC 9171 §4.2.7", "one report is sent twice", carrier)
        self._told.add(name)
        try:
            report = decode_admin(carrier.payload.data)
        except DecodeError as error:
            raise MachineFault("RFC 9171 §6.1", f"no administrative record: {error}") from None
        if not isinstance(report, StatusReport):
            raise MachineFault("RFC 9171 §6.1", "a record that nobody asked for", report)
        subject = identity(report)
        if subject in self._broken and report.reason == ReportReason.BLOCK_UNINTELLIGIBLE:
            return
        for one in self.known:
            if one.came and identity(one.bundle.primary) == subject:
                self._report(one, report)
                return
        raise MachineFault("RFC 9171 §5.1", "a report about a bundle that never came", report)

    def _report(self, one: KnownBundle, report: StatusReport) -> None:
        flags = one.bundle.primary.flags
        timed = report.time_ms is None or flags & STATUS_TIME
        require(timed, "RFC 9171 §6.1.1", "a time in a report that was to have none", report)
        reasons = self._reasons(one)
        statuses = (
            (report.received, REPORT_RECEPTION, one.arrivals),
            (report.forwarded, REPORT_FORWARDING, one.left),
            (report.delivered, REPORT_DELIVERY, one.delivered),
            (report.deleted, REPORT_DELETION, one.arrivals if reasons else 0),
        )
        for told, status, most in statuses:
            if not told:
                continue
            asked = bool(flags & status)
            if status == REPORT_RECEPTION and report.reason == ReportReason.BLOCK_UNSUPPORTED:
                most *= one.unprocessed
                asked = True
            require(asked, "RFC 9171 §5.1", "a report that nobody has asked for", report)
            one.reports[status, report.reason] += 1
            many = one.reports[status, report.reason] <= most
            require(many, "RFC 9171 §6.1.1", "a report of what has not happened", report)
            if status == REPORT_DELETION:
                names = " or ".join(reason.name for reason in reasons)
                require(report.reason in reasons, "RFC 9171 §9.5", f"not for {names}", report)

    def _reasons(self, one: KnownBundle) -> set[ReportReason]:
        """Why it may be deleted."""
        found = {one.refused} if one.refused is not None else set()
        if self.now_ms + self._slack_ms >= one.ends_ms:
            found.add(ReportReason.LIFETIME_EXPIRED)
        if one.to == NOWHERE:
            found |= {ReportReason.NO_ROUTE, ReportReason.DESTINATION_UNAVAILABLE}
        return found

    # ------------------------------------------------------------------------ what it owes

    def owed(self) -> Iterator[str]:
        """What the agent has to do yet, in words that begin with the clause."""
        for number, one in enumerate(self.known):
            if not one.came:
                continue
            state = self.state(one)
            if state == "deferred" and self.registered:
                yield f"§5.7: bundle {number} is not delivered"
            if state == "waiting" and self.up[one.to]:
                yield f"§5.4: bundle {number} is not sent"
            if self._reports and self.up[WEST] and not one.ours:
                yield from self._reports_owed(number, one)

    def _reports_owed(self, number: int, one: KnownBundle) -> Iterator[str]:
        gone = one.refused is not None or self.state(one) == "ended"
        for status, due, words in (
            (REPORT_RECEPTION, one.refused is None, "§5.6: no report that bundle {} came"),
            (REPORT_FORWARDING, one.left, "§5.4: no report that bundle {} was forwarded"),
            (REPORT_DELIVERY, one.delivered, "§5.7: no report that bundle {} was delivered"),
            (REPORT_DELETION, gone, "§5.10: no report that bundle {} was deleted"),
        ):
            told = any(each == status for each, _ in one.reports)
            if one.bundle.primary.flags & status and due and not told:
                yield words.format(number)
        told = (REPORT_RECEPTION, ReportReason.BLOCK_UNSUPPORTED) in one.reports
        judged = one.refused in (None, ReportReason.BLOCK_UNSUPPORTED)
        if one.unprocessed and judged and not told:
            yield f"§5.6: no report on the block that nobody knows in bundle {number}"
