"""Mistakes of whole nodes: their stores, clocks, contacts, security, coding and services."""

from __future__ import annotations

from typing import Any

import pytest

from stack.core.train import Train
from stack.engines.bundle_agent import BundleAgent
from stack.engines.bundle_agent.blocks import BlockReader
from stack.engines.ltp.coding import FecShim
from stack.node.contacts import ContactDriver
from stack.ports.security import Opened
from stack.security.bpsec import BpSec
from stack.services.files.partial import Partial
from stack.storage.memory import MemoryStore
from stack.wire.bundle import Bundle, PrimaryBlock
from tests.sim.mistakes.ltp import nothing


def misses_the_next_contact(patch: pytest.MonkeyPatch) -> None:
    real, begun = ContactDriver._arm, dict[int, int]()

    def arm(self: ContactDriver) -> None:
        begun[id(self)] = begun.get(id(self), 0) + 1
        if begun[id(self)] < 20:
            real(self)

    patch.setattr(ContactDriver, "_arm", arm)


def takes_ages_for_seconds(patch: pytest.MonkeyPatch) -> None:
    real = BlockReader.expiry

    def expiry(self: BlockReader, primary: PrimaryBlock, age_ms: int | None, now_ms: int) -> int:
        return real(self, primary, None if age_ms is None else 1000 * age_ms, now_ms)

    patch.setattr(BlockReader, "expiry", expiry)


def expires_without_a_word(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BundleAgent, "_expired", nothing)


def ends_what_has_no_creation_time(patch: pytest.MonkeyPatch) -> None:
    real = BlockReader.expiry

    def expiry(self: BlockReader, primary: PrimaryBlock, age_ms: int | None, now_ms: int) -> int:
        if primary.creation_ms == 0:
            return primary.lifetime_ms
        return real(self, primary, age_ms, now_ms)

    patch.setattr(BlockReader, "expiry", expiry)


def evicts_the_urgent_first(patch: pytest.MonkeyPatch) -> None:
    def evict(
        self: MemoryStore, octets: int, bundles: int, priority: int, evicted: list[int]
    ) -> bool:
        chosen = sorted(self._held, key=lambda ref: -self._held[ref][0].priority)
        for ref in chosen:
            if not self._lacks(octets, bundles):
                break
            self._seen.pop(self._held[ref][0].key, None)
            self._drop(ref)
            evicted.append(ref)
        return not self._lacks(octets, bundles)

    patch.setattr(MemoryStore, "_evict", evict)


def takes_what_nobody_has_signed(patch: pytest.MonkeyPatch) -> None:
    real = BpSec.open

    def opened(self: BpSec, bundle: Bundle) -> Opened:
        if any(block.type in (11, 12) for block in bundle.blocks):
            return real(self, bundle)
        return Opened(True, bundle)

    patch.setattr(BpSec, "open", opened)


def swallows_lone_packets(patch: pytest.MonkeyPatch) -> None:
    real = FecShim.recover

    def recover(self: FecShim, train: Train, now: int) -> list[Train]:
        return [one for one in real(self, train, now) if one.datagram_count > 1]

    patch.setattr(FecShim, "recover", recover)


def forgets_chunks(patch: pytest.MonkeyPatch) -> None:
    real = Partial.write

    def write(self: Partial, offset: int, *args: Any) -> None:
        if offset == 0:
            real(self, offset, *args)

    patch.setattr(Partial, "write", write)
