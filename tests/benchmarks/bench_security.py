"""What BPSec costs a bundle, without store and link: `python -m tests.benchmarks.bench_security`.

Processor time to make and encode one, and to decode and open it, by protection and size, all in one
run: *clear*; *bcb*: payload encrypted (the default); *bib*: an HMAC too; *label*: encrypted, with a
data policy; *es256* and the like: encrypted, payload and head signed with such a key.  Then what
the label adds to `bcb`, and 1 GB in bundles of the size in which the file service sends it, sealed
and opened one after another: the memory that takes does not grow with the object.  A bundle by
itself is held whole, as AES-GCM has one tag for all of it (RFC 9173 §4.4).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time

from stack.adapters.loop import run
from stack.core.eid import Eid
from stack.cose import Algorithm, SigningKey
from stack.engines.bundle_agent.config import AgentConfig
from stack.engines.bundle_agent.origin import Origin
from stack.policy import DataPolicy, NodeSet
from stack.ports.application import Outgoing
from stack.security import BpSec, Key, KeyRing, SecurityPolicy
from stack.wire.bundle import decode_bundle, encode_bundle

SIZES = (1024, 10_240, 65_536, 1_048_576)
ROUNDS = 7
OCTETS = 4_000_000
"""Of payload in a measurement, in as many bundles as that takes."""

BUNDLES_MAX = 1000
CHUNK_BYTES = 256 * 1024
OBJECT_BYTES = 1 << 30
NOW_MS = 850_000_000_000
SOURCE, SINK = Eid.parse("dtn://a/"), Eid.parse("dtn://b/sink")
SIGNATURES = (Algorithm.ES256, Algorithm.ES384, Algorithm.EDDSA, Algorithm.ML_DSA_87)
RING = (Key("aes", "aes", bytes(32)), Key("mac", "hmac", bytes(48)))
POLICY = DataPolicy(readers=NodeSet.parse("KR | NZ"), rest=NodeSet.parse("KR | NZ | EU"))


class Way:
    """One protection at both ends."""

    def __init__(
        self,
        secure: bool,
        *sign_for: str,
        label: bool = False,
        signature: Algorithm | None = None,
    ) -> None:
        ring = list(RING)
        policy = SecurityPolicy(sign_for=sign_for)
        if signature is not None:
            key = SigningKey.generate(signature, os.urandom)
            ring.append(Key("own", "cose-sign-private", b"", cose=key))
            ring.append(Key("others", "cose-sign-public", b"", cose=key.public))
            policy = SecurityPolicy(cose_sign_for=("*",), cose_require_from=("*",))
        self._security = BpSec(KeyRing(ring), os.urandom, policy) if secure else None
        self._origin = Origin(SOURCE, AgentConfig(), self._security, 1)
        self._policy = POLICY if label else None

    def seal(self, payload: bytes) -> bytes:
        """The octets of a bundle."""
        one = Outgoing(SINK, payload, 3_600_000, "source", policy=self._policy)
        return encode_bundle(self._origin.make(one, NOW_MS))

    def open(self, encoded: bytes) -> None:
        """Have its payload."""
        bundle, _ = decode_bundle(encoded)
        if self._security is not None and not self._security.open(bundle).ok:
            raise SystemExit("a bundle did not open")


def cost(way: Way, size: int) -> tuple[float, float]:
    """Microseconds to seal and to open one."""
    payload = os.urandom(size)
    count = max(4, min(BUNDLES_MAX, OCTETS // size))
    begin = time.process_time()
    octets = [way.seal(payload) for _ in range(count)]
    middle = time.process_time()
    for encoded in octets:
        way.open(encoded)
    end = time.process_time()
    return (middle - begin) / count * 1e6, (end - middle) / count * 1e6


async def stream(way: Way, octets: int) -> tuple[float, float]:
    """(GB/s sealed and opened in one process, MB by which its memory grew)."""
    payload = os.urandom(CHUNK_BYTES)
    way.open(way.seal(payload))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    for _ in range(octets // CHUNK_BYTES):
        way.open(way.seal(payload))
    seconds = time.process_time() - begin
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return octets / seconds / 1e9, (after - before) / 1024


def main(arguments: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, prog="bench_security")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="octets of payloads")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default %(default)s")
    parser.add_argument("--object", type=int, default=OBJECT_BYTES, help="its octets; 0: none")
    options = parser.parse_args(arguments)
    ways = {
        "clear": Way(False),
        "bcb": Way(True),
        "bib": Way(True, "*"),
        "label": Way(True, label=True),
    }
    for signature in SIGNATURES:
        ways[signature.name.lower()] = Way(True, signature=signature)
    # First, while little memory was ever taken; with `run` as a node has it.
    rate, grown = run(stream(ways["bcb"], options.object))
    rows = []
    for size in options.sizes:
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(options.rounds):  # in turns: a busy machine is so for all
            for name, way in ways.items():
                found[name].append(cost(way, size))
        for name, each in found.items():
            seal, opened = (statistics.median(column) for column in zip(*each, strict=True))
            rows.append({"size": size, "protection": name, "seal_us": seal, "open_us": opened})
    if options.json:
        print(json.dumps({"rows": rows, "stream_gb_s": rate, "stream_mb_grown": grown}))
        return 0
    print("    bundle  protection  seal us  open us   sealed/s   opened/s")
    for row in rows:
        seal, opened = float(row["seal_us"]), float(row["open_us"])
        print(f"{row['size']:>10}  {row['protection']:>10} {seal:>8.1f} {opened:>8.1f}", end="")
        print(f" {1e6 / seal:>10,.0f} {1e6 / opened:>10,.0f}")
    if options.object:
        words = f"{options.object:,} octets in bundles of {CHUNK_BYTES}"
        print(f"{words}: {rate:.2f} GB/s, {grown:.1f} MB more memory")
    return 0


if __name__ == "__main__":
    sys.exit(main())
