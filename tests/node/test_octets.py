"""A bit that flips in memory between store and link is seen, though no CRC of the bundle has it."""

from __future__ import annotations

from stack.core.sansio import Trace, no_trace
from stack.node.octets import CACHE_BYTES_MAX, Octets
from stack.ports.store import Place, Put
from stack.storage.memory import MemoryStore


def put(number: int, encoded: bytes) -> Put:
    return Put(b"%016d" % number, encoded, Place.FORWARD, "dtn://a/", "dtn://b/", 1, 1 << 40, 0)


def ignore(*args: object) -> None:
    """Nothing comes of it."""


def held(store: MemoryStore, *puts: Put, told: Trace = no_trace) -> tuple[Octets, list[int]]:
    """What a driver keeps of these bundles when they have just been stored."""
    octets = Octets(store, ignore, ignore, told)
    outcome = store.commit(puts, 0)
    octets.remember(puts, outcome)
    return octets, outcome.refs


def test_octets_that_have_changed_in_memory_come_from_the_store() -> None:
    store = MemoryStore(1 << 26)
    told: list[tuple[str, int]] = []
    octets, (one, two) = held(
        store,
        put(1, b"first"),
        put(2, b"second"),
        told=lambda event, fields: told.append((event, fields["ref"])),
    )
    octets.cache[one] = octets.cache[one]._replace(encoded=b"fi\x72Rt")
    assert octets.load([one, two]) == [b"first", b"second"]
    assert told == [("bundle_reread", one)]
    assert one not in octets.cache
    assert two in octets.cache


def test_what_is_known_of_memory_goes_with_it() -> None:
    store = MemoryStore(1 << 40)
    large = [put(number, bytes(3 << 20)) for number in range(CACHE_BYTES_MAX // (3 << 20) + 3)]
    octets, refs = held(store, *large)
    assert len(octets.cache) == len(octets._checks) < len(refs)
    for ref in refs:
        octets.forget(ref)
    assert octets._checks == {}
    assert octets._cache_bytes == 0
