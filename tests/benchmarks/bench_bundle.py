"""What the bundle codec costs: ``python -m tests.benchmarks.bench_bundle``.

Prints microseconds per call (the best of several rounds) for the bundle that most flows send: a
primary block, two extension blocks and the payload, each with CRC-32C.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from functools import partial

from stack.core.eid import Eid
from stack.core.ranges import RangeSet
from stack.wire.bundle import (
    CRC_32,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    bundle_key,
    decode_bundle,
    decode_primary,
    encode_bundle,
    fragment_bundle,
    hop_count,
    priority_block,
    reassemble,
)

ROUNDS = 5


def typical(destination: str, source: str, payload_bytes: int) -> Bundle:
    """A bundle as the agent makes them."""
    origin = Eid.parse(source)
    primary = PrimaryBlock(
        Eid.parse(destination), origin, origin.node, 850_000_000_000, 17, 86_400_000
    )
    return Bundle(
        primary,
        (
            hop_count(30, 1, crc_type=CRC_32),
            priority_block(2, crc_type=CRC_32),
            CanonicalBlock(1, 1, 0, bytes(payload_bytes), CRC_32),
        ),
    )


def microseconds(call: Callable[[], object], number: int) -> float:
    """The best of `ROUNDS` means over `number` calls."""
    return min(timeit.repeat(call, number=number, repeat=ROUNDS)) / number * 1e6


def main() -> None:
    """Print the table."""
    print("microseconds per bundle")
    heads = ("payload", "encode", "decode", "pass on", "primary", "key")
    print("scheme  " + "".join(f"{head:>9}" for head in heads))
    for destination, source in (
        ("dtn://gs1/files", "dtn://sat1/files"),
        ("ipn:5.1", "ipn:977000.3.7"),
    ):
        for payload_bytes in (1024, 65_536, 1_048_576):
            bundle = typical(destination, source, payload_bytes)
            encoded = encode_bundle(bundle)
            received, _ = decode_bundle(encoded)
            number = 20_000 if payload_bytes < 10_000 else 500
            figures = (
                microseconds(partial(encode_bundle, bundle), number),
                microseconds(partial(decode_bundle, encoded), number),
                microseconds(partial(encode_bundle, received), number),
                microseconds(partial(decode_primary, encoded, 1), number),
                microseconds(partial(bundle_key, bundle.primary), number),
            )
            columns = "".join(f"{figure:9.2f}" for figure in figures)
            print(f"{source[:3]:8}{payload_bytes:9}{columns}")
    bundle = typical("dtn://gs1/files", "dtn://sat1/files", 1_048_576)
    parts = fragment_bundle(bundle, 10_240)
    per_part = microseconds(partial(fragment_bundle, bundle, 10_240), 20) / len(parts)
    joined = microseconds(partial(reassemble, parts), 20) / len(parts)
    print(f"1 MiB in {len(parts)} fragments: {per_part:.1f} to cut, {joined:.1f} to join, each")

    def in_order() -> None:
        ranges = RangeSet()
        for start in range(0, 1_400_000, 1400):
            ranges.add(start, start + 1400)

    print(f"RangeSet.add in order: {microseconds(in_order, 50) / 1000:.2f}")


if __name__ == "__main__":
    main()
