"""What new keys for a domain cost: `python -m tests.benchmarks.bench_rotation [--nodes 100]`.

The processor time of one rotation, without links and stores: the authority makes an epoch and a
grant for each node, each node takes its own and answers with what it holds, and the authority takes
that; and the octets that go each way.  Then all have it.  The least of all rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import NamedTuple

from stack.cose import Algorithm, HpkePrivateKey, SigningKey
from stack.services.keys.authority import KeyAuthority
from stack.services.keys.member import Member

NOW_MS = 850_000_000_000
DAY_MS = 86_400_000
DOMAIN, HOME = "kari", "dtn://gs1/"


class Rotation(NamedTuple):
    """Of one rotation."""

    grants_us: float
    """Of the authority, per node, as are the other times."""

    take_us: float
    """Of a node, with what it says to that."""

    answers_us: float
    """Of the authority."""

    down_bytes: int
    up_bytes: int


class Domain:
    """An authority and its nodes."""

    def __init__(self, count: int, algorithm: Algorithm) -> None:
        signing = SigningKey.generate(algorithm, os.urandom)
        self.authority = KeyAuthority(DOMAIN, signing=signing, entropy=os.urandom)
        self.members: dict[str, Member] = {}
        known = []
        for number in range(count):
            node = f"dtn://sat{number}/"
            own = SigningKey.generate(algorithm, os.urandom)
            certified = HpkePrivateKey.generate(os.urandom)
            self.members[node] = Member(
                DOMAIN,
                node,
                home=HOME,
                authority=signing.public,
                signing=own,
                certified=certified,
                entropy=os.urandom,
            )
            known.append((node, own.public, certified.public))
        self.authority.follow(known, NOW_MS)
        self.authority.poll(NOW_MS)
        for node, member in self.members.items():
            for grant in self.authority.grants(node):
                member.take(grant, NOW_MS)
        self.now_ms = NOW_MS
        self._answer(self._take([]))

    def _take(self, grants: list[tuple[str, bytes, int]]) -> list[tuple[str, bytes]]:
        """Nodes take what is for them, and say what they hold."""
        for node, grant, _ in grants:
            self.members[node].receive(grant, HOME, self.now_ms)
        return [
            (node, holding)
            for node, member in self.members.items()
            for _, holding, _ in member.poll(self.now_ms)
        ]

    def _answer(self, holdings: list[tuple[str, bytes]]) -> None:
        for node, holding in holdings:
            self.authority.receive(holding, node, self.now_ms)

    def rotate(self) -> Rotation:
        """Have a new epoch everywhere."""
        self.now_ms += DAY_MS
        begun = time.process_time()
        self.authority.rotate(self.now_ms)
        grants = self.authority.poll(self.now_ms)
        made = time.process_time()
        holdings = self._take(grants)
        taken = time.process_time()
        self._answer(holdings)
        answered = time.process_time()
        if self.authority.lacking():
            raise SystemExit("not all have the new epoch")
        us = 1e6 / len(self.members)
        return Rotation(
            (made - begun) * us,
            (taken - made) * us,
            (answered - taken) * us,
            sum(len(grant) for _, grant, _ in grants),
            sum(len(holding) for _, holding in holdings),
        )


def main(arguments: list[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="bench_rotation",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--nodes", type=int, default=100, help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    parser.add_argument("--json", action="store_true", help="a line for each kind of signature")
    options = parser.parse_args(arguments)
    for algorithm in (Algorithm.ES256, Algorithm.EDDSA, Algorithm.ML_DSA_87):
        domain = Domain(options.nodes, algorithm)
        found = [domain.rotate() for _ in range(options.rounds)]
        least = Rotation(*map(min, zip(*found, strict=True)))
        name = algorithm.name.lower()
        if options.json:
            print(json.dumps({"signatures": name, "nodes": options.nodes, **least._asdict()}))
            continue
        seconds = options.nodes * (least.grants_us + least.answers_us) / 1e6
        print(
            f"{options.nodes} nodes, signatures by {name}: authority {seconds:.2f} s of CPU in all"
        )
        print(f"  each grant {least.grants_us:,.0f} µs, each answer {least.answers_us:,.0f} µs")
        print(f"  a node takes its grant and answers in {least.take_us:,.0f} µs")
        print(f"  {least.down_bytes:,} octets to nodes, {least.up_bytes:,} from them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
