"""Feed several implementations the same inputs, and say where they disagree.

    python -m interop.differential --cases 100000 --seed 1

Exit code 0: every way to disagree is known (`labels.toml`); 1: some are not; 2: there is nobody to
compare with.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from interop.differential.compare import Comparison
from interop.differential.labels import load_labels
from interop.differential.protocols import READERS, Readers, absent
from interop.differential.report import (
    HEX_SHOWN,
    Found,
    found,
    markdown,
    relabel,
    restore,
    unlabelled,
)
from interop.differential.verdict import Implementation

BATCH = 2_000
"""Inputs between two times that what was found is kept; each batch has a seed of its own."""

FINGERPRINTED = 500
"""Inputs of which a record keeps the hash."""

Keep = Callable[[Found], None]


def fingerprint(protocol: str, seed: str) -> str:
    """The hash of the first inputs of a seed, which change when what draws them does."""
    drawn = READERS[protocol].cases(f"{seed}/0")
    whole = hashlib.sha256()
    for _ in range(FINGERPRINTED):
        octets = drawn.draw()
        whole.update(len(octets).to_bytes(4, "big") + octets)
    return whole.hexdigest()


def run(
    protocol: str,
    options: DifferentialOptions,
    before: Found | None = None,
    keep: Keep = lambda _: None,
) -> Found | None:
    """Compare, going on from what was found `before`, and `keep` what is found, time and again.
    None when there is nobody to ask.  Raises `ValueError` when the seed gives other inputs now."""
    readers = READERS[protocol]
    implementations = _implementations(readers, options.only)
    missing = absent(readers, [one.name for one in implementations])
    if missing and not options.only:
        print(f"{protocol}: not asked, for they are not here: {missing}", file=sys.stderr)
    if len(implementations) < 2:
        return None
    comparison = Comparison(implementations)
    drawn_first = fingerprint(protocol, options.seed)
    if before and before.get("fingerprint", drawn_first) != drawn_first:
        raise ValueError(f"{protocol}: seed {options.seed} gives other inputs than it did then")
    if before:
        restore(before, comparison)
    labels = load_labels(protocol)

    def told() -> Found:
        one = found(protocol, options.seed, comparison, labels)
        return one | {"fingerprint": drawn_first}

    begin, first = time.perf_counter(), comparison.inputs
    while comparison.inputs < options.cases or comparison.differing < options.differing:
        number, done = divmod(comparison.inputs, BATCH)
        left = options.cases - comparison.inputs
        size = min(BATCH, done + left) if left > 0 else BATCH
        drawn = readers.cases(f"{options.seed}/{number}")
        batch = [drawn.draw() for _ in range(size)]
        comparison.feed(batch[done:])
        keep(told())
        spent = time.perf_counter() - begin
        _say(protocol, comparison, f"{(comparison.inputs - first) / spent:,.0f}/s")

    def smaller() -> None:
        keep(told())
        minimal = sum(cluster.minimal for cluster in comparison.clusters.values())
        _say(protocol, comparison, f"{minimal} with a minimal case")

    if options.rounds:
        comparison.minimise(options.rounds, smaller)
    return told()


def _say(protocol: str, comparison: Comparison, more: str) -> None:
    print(
        f"{protocol}: {comparison.inputs:,} inputs, {comparison.differing:,} differing, "
        f"{len(comparison.clusters)} clusters, {more}",
        file=sys.stderr,
        flush=True,
    )


def _implementations(readers: Readers, only: str) -> list[Implementation]:
    wanted = [name for name in only.split(",") if name]
    others = [one for one in readers.others() if not wanted or one.name in wanted]
    return [readers.reference(), *others]


def saved(path: Path) -> list[Found]:
    """What a file of `--save` has, with the labels of today, and whether its seed still gives its
    inputs."""
    every: list[Found] = json.loads(path.read_text("utf-8"))
    for one in every:
        relabel(one, load_labels(one["protocol"]))
        if one["fingerprint"] != fingerprint(one["protocol"], one["seed"]):
            one["changed"] = True
    return every


def save(path: Path, every: Sequence[Found]) -> None:
    """Write it in one piece: whoever ends this in the middle finds the last one."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(every, indent=1, ensure_ascii=False) + "\n", "utf-8")
    part.replace(path)


def _runs(options: DifferentialOptions) -> list[Found]:
    """Raises `ValueError` when the file to go on from has another seed, or other readers."""
    kept: dict[str, Found] = {}
    if options.resume and options.save and options.save.exists():
        kept = {one["protocol"]: one for one in saved(options.save)}

    def keep(one: Found) -> None:
        kept[one["protocol"]] = one
        if options.save:
            save(options.save, list(kept.values()))

    for protocol in options.protocol or list(READERS):
        before = kept.get(protocol)
        if before and before["seed"] != options.seed:
            raise ValueError(f"{protocol}: begun with seed {before['seed']}, not {options.seed}")
        one = run(protocol, options, before, keep)
        if one is None:
            print(f"{protocol}: no other implementation is installed", file=sys.stderr)
        else:
            keep(one)
    return list(kept.values())


class DifferentialOptions(argparse.Namespace):
    """What to do."""

    protocol: Sequence[str] | None = None
    cases: int = 20_000
    differing: int = 0
    """Go on until so many inputs differ."""

    seed: str = "1"
    rounds: int = 0
    """Of making cases minimal."""

    only: str = ""
    """Names, with commas; all that are installed unless given."""

    save: Path | None = None
    resume: bool = False
    read: Path | None = None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m interop.differential", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--protocol", action="append", choices=list(READERS), help="all unless given"
    )
    parser.add_argument(
        "--cases", type=int, default=DifferentialOptions.cases, help="inputs (%(default)s)"
    )
    parser.add_argument("--differing", type=int, default=0, help="go on until so many differ")
    parser.add_argument(
        "--seed",
        default=DifferentialOptions.seed,
        help="the same gives the same inputs (%(default)s)",
    )
    parser.add_argument(
        "--rounds", type=int, default=0, help="of making cases minimal (%(default)s)"
    )
    parser.add_argument("--only", default="", help="compare with these alone: names with commas")
    parser.add_argument("--read", type=Path, help="show what was saved there, in place of a run")
    parser.add_argument("--save", type=Path, help="keep what is found there, as JSON, as it comes")
    parser.add_argument("--resume", action="store_true", help="go on from what --save has")
    return parser


def main() -> int:
    """The command."""
    options = _parser().parse_args(namespace=DifferentialOptions())
    try:
        every = saved(options.read) if options.read else _runs(options)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if options.save:
            print(f"stopped; go on with --save {options.save} --resume", file=sys.stderr)
        return 130
    print(markdown(every))
    unknown = [cluster for one in every for cluster in unlabelled(one)]
    for cluster in unknown:
        print(
            f"not labelled: {cluster['kind']} {cluster['name']}: {cluster['cause']}: "
            f"{cluster['case'][:HEX_SHOWN]}",
            file=sys.stderr,
        )
    return 2 if not every else bool(unknown)


if __name__ == "__main__":
    sys.exit(main())
