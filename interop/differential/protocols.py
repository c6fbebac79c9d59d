"""Which implementations there are of each protocol, and what to ask them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from interop.differential.agent import agents
from interop.differential.bundle_cases import BundleCases
from interop.differential.cddl import Cddl
from interop.differential.cfdp import CFDP, OurPdus, PduCases, SpacePackets
from interop.differential.command import KNOWN as COMMANDS
from interop.differential.command import commands
from interop.differential.demo_agent import DemoAgent
from interop.differential.ltp import LTP, OurSegments, SegmentCases
from interop.differential.ours import OurBundles
from interop.differential.pyd3tn import Pyd3tn
from interop.differential.tcpcl import TCPCL, OurStreams, StreamCases
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

    known: Mapping[str, str]
    """Everybody who would be asked, and how to have them."""


def _bundle_readers() -> Iterator[Implementation]:
    yield OurBundles(strict=False)
    with suppress(ImportError):
        yield Pyd3tn()
    with suppress(FileNotFoundError):
        yield Tshark(BPV7)
    with suppress(ImportError):
        yield Occasional(Cddl(), CDDL_EVERY)
    with suppress(ImportError):
        yield DemoAgent()
    yield from commands()
    yield from agents()


def _segment_readers() -> Iterator[Implementation]:
    with suppress(FileNotFoundError):
        yield Tshark(LTP)


def _pdu_readers() -> Iterator[Implementation]:
    with suppress(ImportError):
        yield SpacePackets()
    with suppress(FileNotFoundError):
        yield Tshark(CFDP)


def _stream_readers() -> Iterator[Implementation]:
    with suppress(FileNotFoundError):
        yield Tshark(TCPCL)


_TSHARK = {"tshark": "apt install tshark"}
_BUNDLE_READERS = {
    "pyD3TN": "pip install pyd3tn",
    **_TSHARK,
    "CDDL": "pip install cddl-verifier cbor2",
    **{name: f"{words[0]} on PATH" for name, words in COMMANDS.items()},
    "dtn-demo-agent": "its package bp, or a running one",
    "ION": "a running one",
    "HDTN": "a running one",
}

READERS: Mapping[str, Readers] = {
    "bpv7": Readers(BundleCases, OurBundles, _bundle_readers, _BUNDLE_READERS),
    "ltp": Readers(SegmentCases, OurSegments, _segment_readers, _TSHARK),
    "cfdp": Readers(
        PduCases, OurPdus, _pdu_readers, {"spacepackets": "pip install spacepackets", **_TSHARK}
    ),
    "tcpcl": Readers(StreamCases, OurStreams, _stream_readers, _TSHARK),
}


def absent(readers: Readers, present: Collection[str]) -> str:
    """Who is not asked, and what it takes; empty when everybody is."""
    return ", ".join(
        f"{name} ({how})" for name, how in readers.known.items() if name not in present
    )
