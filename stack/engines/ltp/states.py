"""The states of LTP sessions, and what moves them.

One block is one session, of which each engine has its own end: the export session of the block's
sender and the import session of its receiver.  Everything that decides whether a session lives goes
through these two tables; which segments are due and which timers run follows from what has been
sent, claimed and asked, and changes no state.

Export (RFC 5326 §8.1).  A session begins when its first octet may leave.

    SENDING     octets of the block have never left (FG_XMIT, RP_XMIT and GP_XMIT in one)
    WAITING     all have; red ones are not claimed, and what reports miss is sent again
                (WAIT_RP_ACK, CHK_RPT and RP_RXMT in one)
    CANCELLING  our cancellation is repeated until it is acknowledged (CS_SENT)
    CLOSED      nothing is left of it, not even a note: a late report is acknowledged all the same

Import (§8.2, with the steps of durable acceptance).  A session begins with its first segment.

    OPEN        red octets are missing, or none has been seen (DS_REC, RCV_RP and RCV_GP in one)
    HELD        the block is whole and in the client's hands; no report says so yet
    ACCEPTED    the client has it durably; reports are repeated until they are acknowledged
                (both are WAIT_RP_REC)
    CANCELLING  our cancellation is repeated until it is acknowledged (CR_SENT)
    CLOSED      how it ended is remembered for a while, so that late segments open no ghost (§6.20)

What is not in a table cannot happen, and why:

- Nothing completes in SENDING: a report on octets that never left is not believed (§6.13), and a
  block is complete once all of it has left (§6.12).
- A cancelled session sends nothing new and completes no more: its timers are stopped and its data
  is let go (§6.19), and reports on it are acknowledged only.
- A live export session does not simply end: it completes, or one side cancels it.  Too many
  repeats, old age and the client's wish are cancellations (§6.7, §6.16, §4.2).
- A block is accepted once, and only when it was whole: the client's answer to a session that has
  been cancelled meanwhile is dropped before it gets here.
- HELD does not end by itself: reports that nobody acknowledges do not end it, its lifetime
  cancels it, and else only the client's answer or a cancellation leads out.
- CLOSED leads nowhere: closed sessions are in no table of sessions, so nothing reaches them.

Whatever breaks this is a mistake of ours and raises `IllegalTransition`; no peer can cause it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TypeVar

from stack.core.errors import LocalError


class ExportState(enum.IntEnum):
    """Where an export session stands (RFC 5326 §8.1)."""

    SENDING = enum.auto()
    WAITING = enum.auto()
    CANCELLING = enum.auto()
    CLOSED = enum.auto()


class ExportInput(enum.IntEnum):
    """What moves an export session."""

    SENT = enum.auto()
    """The last octet has left for the first time."""

    COMPLETE = enum.auto()
    """All red octets are claimed and all octets have left (RFC 5326 §6.12)."""

    CANCEL = enum.auto()
    """We cancel: the client, limits, age, a receiver without its data (RFC 5326 §6.19)."""

    PEER_CANCEL = enum.auto()
    """The receiver cancels (RFC 5326 §6.17)."""

    END = enum.auto()
    """Our cancellation is acknowledged, or given up (RFC 5326 §6.18, §6.16)."""


EXPORT_TRANSITIONS = {
    (ExportState.SENDING, ExportInput.SENT): ExportState.WAITING,
    (ExportState.SENDING, ExportInput.CANCEL): ExportState.CANCELLING,
    (ExportState.SENDING, ExportInput.PEER_CANCEL): ExportState.CLOSED,
    (ExportState.WAITING, ExportInput.COMPLETE): ExportState.CLOSED,
    (ExportState.WAITING, ExportInput.CANCEL): ExportState.CANCELLING,
    (ExportState.WAITING, ExportInput.PEER_CANCEL): ExportState.CLOSED,
    (ExportState.CANCELLING, ExportInput.PEER_CANCEL): ExportState.CLOSED,
    (ExportState.CANCELLING, ExportInput.END): ExportState.CLOSED,
}


class ImportState(enum.IntEnum):
    """Where an import session stands (RFC 5326 §8.2)."""

    OPEN = enum.auto()
    HELD = enum.auto()
    ACCEPTED = enum.auto()
    CANCELLING = enum.auto()
    CLOSED = enum.auto()


class ImportInput(enum.IntEnum):
    """What moves an import session."""

    COMPLETE = enum.auto()
    """The last missing red octet arrived (RFC 5326 §6.9)."""

    ACCEPT = enum.auto()
    """The client stored the block."""

    CANCEL = enum.auto()
    """We cancel: refusal, limits, miscolored data, age (RFC 5326 §6.19)."""

    PEER_CANCEL = enum.auto()
    """The block sender cancels (RFC 5326 §6.17)."""

    END = enum.auto()
    """All reports or the cancellation are acknowledged, or given up (RFC 5326 §6.20)."""


IMPORT_TRANSITIONS = {
    (ImportState.OPEN, ImportInput.COMPLETE): ImportState.HELD,
    (ImportState.OPEN, ImportInput.CANCEL): ImportState.CANCELLING,
    (ImportState.OPEN, ImportInput.PEER_CANCEL): ImportState.CLOSED,
    (ImportState.OPEN, ImportInput.END): ImportState.CLOSED,
    (ImportState.HELD, ImportInput.ACCEPT): ImportState.ACCEPTED,
    (ImportState.HELD, ImportInput.CANCEL): ImportState.CANCELLING,
    (ImportState.HELD, ImportInput.PEER_CANCEL): ImportState.CLOSED,
    (ImportState.ACCEPTED, ImportInput.CANCEL): ImportState.CANCELLING,
    (ImportState.ACCEPTED, ImportInput.PEER_CANCEL): ImportState.CLOSED,
    (ImportState.ACCEPTED, ImportInput.END): ImportState.CLOSED,
    (ImportState.CANCELLING, ImportInput.PEER_CANCEL): ImportState.CLOSED,
    (ImportState.CANCELLING, ImportInput.END): ImportState.CLOSED,
}

S = TypeVar("S", bound=enum.Enum)
W = TypeVar("W", bound=enum.Enum)


class IllegalTransition(LocalError):
    """A session was moved by what cannot happen in its state: a mistake of ours."""

    def __init__(self, state: enum.Enum, what: enum.Enum) -> None:
        super().__init__(f"an LTP session that is {_word(state)} met {_word(what)}")


def _word(member: enum.Enum) -> str:
    return member.name.lower().replace("_", " ")


def moved(table: Mapping[tuple[S, W], S], state: S, what: W) -> S:
    """The state that follows.  Raises `IllegalTransition` for a pair that is not in the table."""
    after = table.get((state, what))
    if after is None:
        raise IllegalTransition(state, what)
    return after
