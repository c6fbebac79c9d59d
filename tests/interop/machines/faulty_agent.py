"""Our bundle agent with one of `FAULTS`."""

from __future__ import annotations

from dataclasses import replace

from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.storage.memory import MemoryStore
from stack.wire.bundle import (
    HOP_COUNT,
    IS_ADMIN,
    IS_FRAGMENT,
    PREVIOUS_NODE,
    Bundle,
    CanonicalBlock,
    StatusReport,
    decode_admin,
    decode_bundle,
    encode_bundle,
    encode_status_report,
    hop_count,
    parse_hop_count,
    previous_node,
)
from tests.interop.machines.our_agent import OurAgent

FAULTS = {
    "delivers what comes again": "§5.5 or §5.7",
    "forgets all at a restart": "§4.2.7 or §5.4 or §5.7",
    "lets nothing expire": "§5.5 or §5.10",
    "does not count hops": "§4.4.3",
    "names another previous node": "§4.4.1",
    "loses blocks that it does not know": "§5.6",
    "changes the payload": "§4.3.3",
    "sends without a contact": "§5.4",
    "delivers a fragment": "§5.7",
    "delivers where nobody is registered": "§5.7",
    "never tries again": "§5.4",
    "tells no reason": "§9.5",
    "tells every time": "§6.1.1",
    "tells of no deletion": "§5.10",
    "tells twice": "§4.2.7",
}
"""What can be wrong, and the clause that it breaks."""


class FaultyAgent(OurAgent):
    """`fault` is one of `FAULTS`."""

    fault = ""

    def receive(self, bundle: bytes, neighbour: str, now_ms: int) -> None:
        again = bundle in self.seen
        self.seen.add(bundle)
        super().receive(bundle, neighbour, now_ms)
        if self.fault == "delivers what comes again" and again and self.is_for_here(bundle):
            self.got += {self._payload(bundle)} & self.given
        if (
            self.fault == "delivers a fragment"
            and self.is_for_here(bundle)
            and decode_bundle(bundle)[0].primary.flags & IS_FRAGMENT
        ):
            self.got.append(self._payload(bundle))

    def __init__(self, node: str, neighbours: tuple[str, ...], service: str) -> None:
        self.seen: set[bytes] = set()
        self.given: set[bytes] = set()
        super().__init__(node, neighbours, service)

    @staticmethod
    def _payload(octets: bytes) -> bytes:
        return bytes(decode_bundle(octets)[0].payload.data)

    def is_for_here(self, octets: bytes) -> bool:
        """Whether these octets are a bundle for the application that is here."""
        try:
            bundle, _ = decode_bundle(octets)
        except DecodeError:
            return False
        return self.active and str(bundle.primary.destination).startswith(self.node)

    def contact(self, neighbour: str, up: bool, now_ms: int) -> None:
        if up or self.fault != "sends without a contact":
            super().contact(neighbour, up, now_ms)

    def register(self, active: bool, now_ms: int) -> None:
        if active or self.fault != "delivers where nobody is registered":
            super().register(active, now_ms)

    def restart(self, now_ms: int) -> None:
        if self.fault == "forgets all at a restart":
            self.store = MemoryStore(1 << 24)
        super().restart(now_ms)

    def advance(self, now_ms: int) -> None:
        if self.fault != "lets nothing expire":
            super().advance(now_ms)

    def deliveries(self) -> list[bytes]:
        got = super().deliveries()
        self.given.update(got)
        return got

    def poll(self) -> list[tuple[str, bytes]]:
        return [
            (neighbour, encode_bundle(bundle))
            for neighbour, octets in super().poll()
            for bundle in self._leaving(decode_bundle(octets)[0])
        ]

    def _leaving(self, bundle: Bundle) -> list[Bundle]:
        if bundle.primary.flags & IS_ADMIN:
            report = decode_admin(bundle.payload.data)
            assert isinstance(report, StatusReport)
            return self._telling(bundle, report)
        if self.fault == "never tries again" and bundle.primary.creation_ms < self.at_ms - 3_000:
            return []
        return [Bundle(bundle.primary, tuple(map(self._block, self._blocks(bundle))))]

    def _blocks(self, bundle: Bundle) -> list[CanonicalBlock]:
        loses = self.fault == "loses blocks that it does not know"
        return [block for block in bundle.blocks if not (loses and block.type > 200)]

    def _block(self, block: CanonicalBlock) -> CanonicalBlock:
        if self.fault == "does not count hops" and block.type == HOP_COUNT:
            limit, count = parse_hop_count(block)
            return hop_count(limit, count - 1, number=block.number)
        if self.fault == "names another previous node" and block.type == PREVIOUS_NODE:
            return previous_node(Eid.parse("dtn://west/"), number=block.number)
        if self.fault == "changes the payload" and block.number == 1 and len(block.data) > 50:
            return replace(block, data=bytes(block.data[:-1]) + b"!", encoded=None)
        return block

    def _telling(self, bundle: Bundle, report: StatusReport) -> list[Bundle]:
        match self.fault:
            case "tells no reason":
                report = replace(report, reason=0)
            case "tells every time":
                report = replace(report, time_ms=self.at_ms)
            case "tells of no deletion" if report.deleted:
                return []
        payload = replace(bundle.payload, data=encode_status_report(report), encoded=None)
        told = Bundle(bundle.primary, (*bundle.blocks[:-1], payload))
        return [told, told] if self.fault == "tells twice" else [told]
