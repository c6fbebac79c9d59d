"""Feed several implementations the same inputs, and say where they disagree.

    python -m interop.differential --cases 100000 --seed 1

Exit code 0: every way to disagree is known (`labels.toml`); 1: some are not; 2: there is nobody to
compare with.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from interop.differential.compare import Comparison
from interop.differential.labels import load_labels
from interop.differential.protocols import READERS, Readers
from interop.differential.report import Found, found, markdown, relabel, unlabelled
from interop.differential.verdict import Implementation

BATCH = 5_000


def run(
    protocol: str, seed: str, cases: int, differing: int = 0, rounds: int = 0, only: str = ""
) -> Found | None:
    """Compare on `cases` inputs, or on as many as it takes to find `differing` ones; make the
    smallest of each cluster minimal in so many rounds.  None when there is nobody to ask."""
    readers = READERS[protocol]
    implementations = _implementations(readers, only)
    if len(implementations) < 2:
        return None
    comparison = Comparison(implementations)
    drawn = readers.cases(seed)
    begin = time.perf_counter()
    while comparison.inputs < cases or comparison.differing < differing:
        left = cases - comparison.inputs
        size = min(BATCH, left) if left > 0 else BATCH
        comparison.feed([drawn.draw() for _ in range(size)])
        spent = time.perf_counter() - begin
        print(
            f"{protocol}: {comparison.inputs:,} inputs, {comparison.differing:,} differing, "
            f"{len(comparison.clusters)} clusters, {comparison.inputs / spent:,.0f}/s",
            file=sys.stderr,
            flush=True,
        )
    if rounds:
        comparison.minimise(rounds)
    return found(protocol, seed, comparison, load_labels(protocol))


def _implementations(readers: Readers, only: str) -> list[Implementation]:
    wanted = [name for name in only.split(",") if name]
    others = [one for one in readers.others() if not wanted or one.name in wanted]
    return [readers.reference(), *others]


def saved(path: Path) -> list[Found]:
    """What a file of `--save` has, with the labels of today."""
    every: list[Found] = json.loads(path.read_text("utf-8"))
    for one in every:
        relabel(one, load_labels(one["protocol"]))
    return every


def _runs(options: argparse.Namespace) -> list[Found]:
    every = []
    for protocol in options.protocol or list(READERS):
        one = run(
            protocol, options.seed, options.cases, options.differing, options.rounds, options.only
        )
        if one is None:
            print(f"{protocol}: no other implementation is installed", file=sys.stderr)
        else:
            every.append(one)
    return every


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m interop.differential", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--protocol", action="append", choices=list(READERS), help="all unless given"
    )
    parser.add_argument("--cases", type=int, default=20_000, help="inputs (%(default)s)")
    parser.add_argument("--differing", type=int, default=0, help="go on until so many differ")
    parser.add_argument("--seed", default="1", help="the same gives the same inputs (%(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=0, help="of making cases minimal (%(default)s)"
    )
    parser.add_argument("--only", default="", help="compare with these alone: names with commas")
    parser.add_argument("--read", type=Path, help="show what was saved there, in place of a run")
    parser.add_argument("--save", type=Path, help="write what was found as JSON")
    options = parser.parse_args()
    every = saved(options.read) if options.read else _runs(options)
    if options.save:
        options.save.write_text(json.dumps(every, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(markdown(every))
    unknown = [cluster for one in every for cluster in unlabelled(one)]
    for cluster in unknown:
        print(
            f"not labelled: {cluster['kind']} {cluster['name']}: {cluster['cause']}: "
            f"{cluster['minimal']}",
            file=sys.stderr,
        )
    return 2 if not every else bool(unknown)


if __name__ == "__main__":
    sys.exit(main())
