"""What an object of the file service goes through.

States are data.  Everything an object can go through is in `OUT_STEPS` and `IN_STEPS`; a step
that is not there is ignored, which is what makes duplicates and stragglers harmless.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


class OutState(enum.IntEnum):
    """An object on its way out."""

    SENDING = 0
    """Chunks remain to be handed to the node."""

    WAITING = 1
    """Everything asked for was handed over; the receiver has the word."""

    DELIVERED = 2
    FAILED = 3
    REFUSED = 4
    EXPIRED = 5
    CANCELLED = 6


class OutStep(enum.Enum):
    """What can happen to an object on its way out."""

    DRAINED = enum.auto()
    """The last chunk asked for was handed over."""

    REPAIR = enum.auto()
    """The receiver asked for chunks."""

    RECEIVED = enum.auto()
    REFUSED = enum.auto()
    BUSY = enum.auto()
    FAILED = enum.auto()
    """The receiver could not verify or store it, or the file here cannot be read any more."""

    DEADLINE = enum.auto()
    CANCEL = enum.auto()


OUT_OPEN: Final = frozenset({OutState.SENDING, OutState.WAITING})

OUT_STEPS: Final[Mapping[tuple[OutState, OutStep], OutState]] = MappingProxyType(
    {(OutState.SENDING, OutStep.DRAINED): OutState.WAITING}
    | {
        (state, step): then
        for state in (OutState.SENDING, OutState.WAITING)
        for step, then in (
            (OutStep.REPAIR, OutState.SENDING),
            (OutStep.BUSY, OutState.WAITING),
            (OutStep.RECEIVED, OutState.DELIVERED),
            (OutStep.REFUSED, OutState.REFUSED),
            (OutStep.FAILED, OutState.FAILED),
            (OutStep.DEADLINE, OutState.EXPIRED),
            (OutStep.CANCEL, OutState.CANCELLED),
        )
    }
)


class InState(enum.IntEnum):
    """An object on its way in."""

    RECEIVING = 0
    RECEIVED = 1
    FAILED = 2
    EXPIRED = 3
    CANCELLED = 4


class InStep(enum.Enum):
    """What can happen to an object on its way in."""

    VERIFIED = enum.auto()
    """Complete, matches its digest, in place."""

    FAILED = enum.auto()
    DEADLINE = enum.auto()
    CANCEL = enum.auto()
    """Given up by the sender, or here."""


IN_STEPS: Final[Mapping[tuple[InState, InStep], InState]] = MappingProxyType(
    {
        (InState.RECEIVING, InStep.VERIFIED): InState.RECEIVED,
        (InState.RECEIVING, InStep.FAILED): InState.FAILED,
        (InState.RECEIVING, InStep.DEADLINE): InState.EXPIRED,
        (InState.RECEIVING, InStep.CANCEL): InState.CANCELLED,
    }
)
