"""Mistakes of bundle agents and of routing."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from stack.engines.bundle_agent import BundleAgent
from stack.engines.bundle_agent.blocks import BlockReader
from stack.engines.bundle_agent.reassembly import _Unit
from stack.ports.store import Place, Stored
from stack.routing.forwarder import Forwarder
from stack.routing.queue import Queued
from stack.wire.bundle import PrimaryBlock
from tests.sim.mistakes.ltp import nothing


def forgets_what_has_no_way(patch: pytest.MonkeyPatch) -> None:
    def with_unrouted(self: Forwarder, entries: list[Queued]) -> list[Queued]:
        self.bytes_waiting -= sum(entry.size for entry in self._unrouted.values())
        self._unrouted.clear()
        return entries

    patch.setattr(Forwarder, "_with_unrouted", with_unrouted)


def forgets_what_links_were_given(patch: pytest.MonkeyPatch) -> None:
    real = Forwarder.take

    def take(self: Forwarder, neighbour: str, *args: Any) -> list[int]:
        taken = real(self, neighbour, *args)
        for ref in taken:
            self._given.pop(ref, None)
        return taken

    patch.setattr(Forwarder, "take", take)


def never_tries_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BundleAgent, "retry", nothing)
    patch.setattr(BundleAgent, "contact_ended", nothing)


def never_joins_fragments(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Unit, "whole", lambda self: False)


def swaps_the_halves_of_large_payloads(patch: pytest.MonkeyPatch) -> None:
    real = BundleAgent.open

    def opened(self: BundleAgent, ref: int, encoded: Any, *args: Any, **options: Any) -> Any:
        delivery = real(self, ref, encoded, *args, **options)
        if delivery is not None and len(delivery.payload) > 1000:
            data = bytes(delivery.payload)
            half = len(data) // 2
            return dataclasses.replace(delivery, payload=data[half:] + data[:half])
        return delivery

    patch.setattr(BundleAgent, "open", opened)


def passes_over_fragments_at_a_restart(patch: pytest.MonkeyPatch) -> None:
    _passes_over(patch, Place.FRAGMENT)


def passes_over_transit_at_a_restart(patch: pytest.MonkeyPatch) -> None:
    _passes_over(patch, Place.FORWARD)


def _passes_over(patch: pytest.MonkeyPatch, place: Place) -> None:
    real = BundleAgent._restored

    def restored(self: BundleAgent, old: Stored, now_ms: int) -> None:
        if old.place is not place:
            real(self, old, now_ms)

    patch.setattr(BundleAgent, "_restored", restored)


def takes_lifetimes_for_seconds(patch: pytest.MonkeyPatch) -> None:
    real = BlockReader.expiry

    def expiry(self: BlockReader, primary: PrimaryBlock, age_ms: int | None, now_ms: int) -> int:
        return now_ms + (real(self, primary, age_ms, now_ms) - now_ms) // 1000

    patch.setattr(BlockReader, "expiry", expiry)
