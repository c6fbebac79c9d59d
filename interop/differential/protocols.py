"""Which implementations there are of each protocol, and what to ask them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from interop.differential.bundle_cases import BundleCases
from interop.differential.cddl import Cddl
from interop.differential.cfdp import CFDP, OurPdus, PduCases, SpacePackets
from interop.differential.command import commands
from interop.differential.ltp import LTP, OurSegments, SegmentCases
from interop.differential.ours import OurBundles
from interop.differential.pyd3tn import Pyd3tn
from interop.differential.tshark import Tshark
from interop.differential.tshark_bpv7 import BPV7
from interop.differential.verdict import Implementation, Occasional

CDDL_EVERY = 10
"""The validator reads some hundred bundles a second, and others thousands."""


class Cases(Protocol):
    """Draws inputs; the same from the same seed."""

    def draw(self) -> bytes:
        """The next one."""


@dataclass(frozen=True, slots=True)
class Readers:
    """A protocol to compare implementations of."""

    cases: Callable[[str], Cases]
    reference: Callable[[], Implementation]
    others: Callable[[], Iterator[Implementation]]
    """All that are installed here."""


def _bundle_readers() -> Iterator[Implementation]:
    yield OurBundles(strict=False)
    with suppress(ImportError):
        yield Pyd3tn()
    with suppress(FileNotFoundError):
        yield Tshark(BPV7)
    with suppress(ImportError):
        yield Occasional(Cddl(), CDDL_EVERY)
    yield from commands()


def _segment_readers() -> Iterator[Implementation]:
    with suppress(FileNotFoundError):
        yield Tshark(LTP)


def _pdu_readers() -> Iterator[Implementation]:
    with suppress(ImportError):
        yield SpacePackets()
    with suppress(FileNotFoundError):
        yield Tshark(CFDP)


READERS: Mapping[str, Readers] = {
    "bpv7": Readers(BundleCases, OurBundles, _bundle_readers),
    "ltp": Readers(SegmentCases, OurSegments, _segment_readers),
    "cfdp": Readers(PduCases, OurPdus, _pdu_readers),
}
