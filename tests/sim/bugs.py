"""Bugs that the swarm has found in the product, to be planted again: each is how it was before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from stack.core.errors import StoreError
from stack.core.train import Buffer
from stack.engines.bundle_agent import BundleAgent, Shares
from stack.engines.bundle_agent.admission import Admission
from stack.engines.bundle_agent.blocks import BlockReader, Refused
from stack.engines.bundle_agent.custody import Custody
from stack.engines.bundle_agent.extensions import Extensions
from stack.engines.bundle_agent.reassembly import FragmentLedger
from stack.engines.ltp.driver import LtpDriver
from stack.engines.ltp.import_table import ImportTable
from stack.engines.ltp.import_table import _Closed as Closed
from stack.engines.ltp.receiver import Receiver
from stack.engines.ltp.reports_seen import ReportsSeen
from stack.engines.ltp.states import ImportState
from stack.node import build
from stack.node.driver import BundleDriver
from stack.node.octets import Octets
from stack.ports.store import Op, Place
from stack.wire.bundle import Bundle, ReportReason
from stack.wire.ltp import CancelReason, DataSegment, SessionId

Plant = Callable[[pytest.MonkeyPatch], None]


def note_refused(patch: pytest.MonkeyPatch) -> None:
    """A session that could not be noted, for want of disk space, was never reported on: its
    sender waited until the session's lifetime ended."""

    def refuse(
        self: Receiver, session_id: SessionId, reason: CancelReason, now: int, hold_ns: int = 0
    ) -> None:
        session = self.table.get(session_id)
        if session is not None and session.state is ImportState.HELD:
            self.table.cancel(session, reason)

    patch.setattr(Receiver, "refuse", refuse)


def flip(patch: pytest.MonkeyPatch) -> None:
    """A bit that flipped in memory stopped the link that was to send the bundle."""

    def again(self: BundleDriver, ref: int, work: object, error: Exception) -> bool:
        raise error

    def cached(self: Octets, ref: int) -> Buffer | None:
        put = self.cache.get(ref)
        return None if put is None else put.encoded

    patch.setattr(BundleDriver, "_reread", again)
    patch.setattr(Octets, "_cached", cached)


def damaged(patch: pytest.MonkeyPatch) -> None:
    """One of several bundles that were loaded together was damaged on disk: the node went on
    counting on it."""

    def load(self: Octets, ref: int, why: Exception) -> Buffer | None:
        for _ in range(2):
            try:
                return self._store.load([ref])[0]
            except StoreError:
                continue
        return None

    patch.setattr(Octets, "_load", load)


def owed(patch: pytest.MonkeyPatch) -> None:
    """What was sent while the disk was full stayed in the store until its lifetime ended."""

    def refused(self: BundleAgent, ops: Iterable[Op]) -> list[Op]:
        return []

    patch.setattr(BundleAgent, "refused", refused)


def cancelled(patch: pytest.MonkeyPatch) -> None:
    """A session that somebody had cancelled in its sender's name was never answered again: its
    sender asked until the session's lifetime ended."""

    late = ImportTable._late

    def quiet(self: ImportTable, segment: DataSegment, closed: Closed) -> None:
        if closed.cancelled is not None or closed.red_bytes:
            late(self, segment, closed)

    patch.setattr(ImportTable, "_late", quiet)


def no_shares(patch: pytest.MonkeyPatch) -> None:
    """Strangers filled the store: files of this node waited until there was room for all."""
    patch.setattr(build, "make_shares", lambda *args: Shares())


def parts_kept(patch: pytest.MonkeyPatch) -> None:
    """Forged fragments of bundles that had been delivered filled the store at the destination."""
    no_shares(patch)
    patch.setattr(Admission, "_whole", lambda self, primary: b"")
    patch.setattr(FragmentLedger, "parts_of", lambda self, primary: [])


def counts_on(patch: pytest.MonkeyPatch) -> None:
    """A receiver that was set back to a backup had half of a block claimed, by reports of its
    former life, and the other half by those of the new one: its sender let go of the block."""
    patch.setattr(ReportsSeen, "elsewhere", lambda self, serial: False)


def policy_ended(patch: pytest.MonkeyPatch) -> None:
    """What came after the end of its policy was refused as by a node that must not have it, not as
    what has expired: its sender, whose session had begun in time, was to find another way."""
    limits = BlockReader.limits

    def refuse(
        self: BlockReader, bundle: Bundle, found: Extensions, place: Place, now_ms: int
    ) -> Refused | None:
        if found.policy and 0 < found.policy.expires_ms <= now_ms:
            return Refused(ReportReason.NO_INFORMATION, "not_permitted", "ended", intact=False)
        return limits(self, bundle, found, place, now_ms)

    patch.setattr(BlockReader, "limits", refuse)
    # Else the sender's link ends the session in good time, on that day.
    patch.setattr(Custody, "_give_up", Custody._deleted)


def asked_in_vain(patch: pytest.MonkeyPatch) -> None:
    """A block with a forged bundle in it was refused as if there were no room: later, and its
    sender fell back to one block at a time.  A flood kept a slow link from carrying anything."""
    answer = LtpDriver.answer

    def slowly(self: LtpDriver, *args: Any, at_once: bool = False) -> None:
        answer(self, *args)

    patch.setattr(LtpDriver, "answer", slowly)


def contradicted(patch: pytest.MonkeyPatch) -> None:
    """Of octets of a block that differ the first ones won: a relay passed on what somebody had
    written into it, and where it was encrypted its destination refused it for good."""
    patch.setattr(ImportTable, "contradicted", anything)


FOUND: dict[str, tuple[Plant, str]] = {
    "contradicted": (contradicted, "lost"),
    "note-refused": (note_refused, "lost"),
    "flip": (flip, "error"),
    "damaged": (damaged, "unaccounted"),
    "owed": (owed, "unaccounted"),
    "cancelled": (cancelled, "lost"),
    "no-shares": (no_shares, "lost"),
    "parts-kept": (parts_kept, "lost"),
    "counted-anew": (counts_on, "custody"),
    "policy-ended": (policy_ended, "hop"),
    "asked-in-vain": (asked_in_vain, "lost"),
}
"""Each by the name of the options in `tests/sim/found` that show it, and the invariant that it
breaks."""


def anything(*args: Any) -> None:
    """Takes everything and does nothing."""
