"""`make mutants`: would the tests notice if the core were wrong?

    python scripts/mutants.py --sample 1000 --seed 1

mutmut makes every mutant of the core (`[tool.mutmut]` in pyproject.toml); a random sample of them
is run against the tests that reach the changed function.  Prints a table by folder, and the share
of those that change more than words (a string in an error or a trace) or the case of SQL.  The
survivors' differences are in `mutants/survivors.diff`.  Exits with 1 when less than 85 % of all
were caught.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

from mutmut.stats import status_by_exit_code

ROOT = Path(__file__).parents[1]
MADE = ROOT / "mutants"
SURVIVORS = MADE / "survivors.diff"
MUTMUT = (sys.executable, "-m", "mutmut")
WANTED = 0.85
"""The share of the sample that must be caught; a timeout counts, no test at all does not."""

COLUMNS = ("killed", "timeout", "survived", "no tests", "other")
NONE = "no.mutant.has.this.name"
SPEAKS = frozenset(("_require", "check", "require", "_wrong", "_trace", "trace"))
"""Calls, beside those of a class `...Error`, whose strings are words for people."""


def statuses() -> dict[str, str]:
    """Every mutant's name, and how it fared."""
    return {
        name: status_by_exit_code[code]
        for meta in sorted(MADE.rglob("*.meta"))
        if (ROOT / meta.relative_to(MADE)).with_suffix("").exists()  # not of an earlier commit
        for name, code in json.loads(meta.read_text())["exit_code_by_key"].items()
    }


def mutmut(*names: str, jobs: int = 1, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    """Run these mutants; with temporary files in memory, for many tests wait for the disk."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
    with tempfile.TemporaryDirectory(prefix="mutants-", dir=memory) as folder:
        command = [*MUTMUT, "run", "--max-children", str(jobs), *names]
        env = {**os.environ, "TMPDIR": folder}
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=quiet, text=True)  # noqa: S603


def make_all() -> None:
    """Make all mutants, and find out which test reaches what; run none (mutmut has no command for
    this: asked for a name that nobody has, it stops after the statistics)."""
    done = mutmut(NONE, quiet=True)
    if "nothing matches" not in done.stderr:
        sys.exit(f"mutmut could not make its mutants:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")


@cache
def functions(path: Path) -> dict[str, ast.AST]:
    """The original functions and the mutants of one module, by their names there."""
    tree = ast.parse(path.read_text())
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def alters_words_only(name: str) -> bool:
    """Whether a mutant differs from its original in nothing but words for people."""
    module, _, mutant = name.rpartition(".")
    found = functions(MADE / (module.replace(".", "/") + ".py"))
    if mutant not in found:
        return False
    before, after = found[mutant.rpartition("_")[0] + "_orig"], found[mutant]
    return _alike(_parts(before), _parts(after), False)


def _parts(function: ast.AST) -> list[object]:
    return [child for name, child in ast.iter_fields(function) if name != "name"]


def _alike(old: object, new: object, spoken: bool) -> bool:
    """Whether two trees are alike, but for strings that are `spoken`, or None in their place."""
    if isinstance(new, ast.Constant) and spoken:
        said = isinstance(old, ast.JoinedStr) or (
            isinstance(old, ast.Constant) and isinstance(old.value, str)
        )
        if said and (new.value is None or isinstance(new.value, str)):
            return True
    if type(old) is not type(new):
        return False
    if isinstance(old, ast.Call) and getattr(old.func, "attr", "") == "execute":
        return (
            isinstance(new, ast.Call)
            and ast.dump(old.func) == ast.dump(new.func)
            and bool(old.args and new.args)
            and ast.dump(old.args[0]).lower() == ast.dump(new.args[0]).lower()  # SQL has no case
            and _alike(old.args[1:], new.args[1:], False)
        )
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_alike, old, new, [spoken] * len(old)))
    if not isinstance(old, ast.AST):
        return old == new
    if isinstance(old, ast.Call):
        called = old.func.attr if isinstance(old.func, ast.Attribute) else ""
        called = old.func.id if isinstance(old.func, ast.Name) else called
        spoken = called in SPEAKS or called.endswith("Error")
    elif isinstance(old, (ast.Compare, ast.Subscript)):
        spoken = False
    return all(
        _alike(getattr(old, field, None), getattr(new, field, None), spoken)
        for field in old._fields
    )


def table(fared: dict[str, str]) -> list[str]:
    """One line for each folder, and one for all."""
    count: Counter[tuple[str, str]] = Counter()
    for name, status in fared.items():
        column = status if status in COLUMNS else "other"
        folder = "/".join(name.split(".")[:2])
        count.update([(folder, column), ("all", column)])
    lines = [f"{'folder':16}" + "".join(f"{column:>10}" for column in COLUMNS) + f"{'caught':>10}"]
    for folder in [*sorted({folder for folder, _ in count} - {"all"}), "all"]:
        row = [count[folder, column] for column in COLUMNS]
        share = (row[0] + row[1]) / sum(row)
        lines.append(f"{folder:16}" + "".join(f"{number:10}" for number in row) + f"{share:10.1%}")
    return lines


def show(names: list[str]) -> None:
    """Write what was changed in these mutants."""
    with SURVIVORS.open("w") as out:
        for name in names:
            command = [*MUTMUT, "show", name]
            subprocess.run(command, cwd=ROOT, stdout=out, check=True)  # noqa: S603


def main() -> None:
    """Draw, run, and tell."""
    parser = argparse.ArgumentParser(description="Run a random sample of the core's mutants.")
    parser.add_argument("--sample", type=int, default=1000, help="how many are drawn")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="which are drawn")
    parser.add_argument("--jobs", type=int, default=1, help="how many run at a time")
    given = parser.parse_args()
    print(f"making the mutants, and running the tests once ... (seed {given.seed})", flush=True)
    make_all()
    names = sorted(statuses())
    chosen = random.Random(given.seed).sample(names, min(given.sample, len(names)))  # noqa: S311
    if mutmut(*chosen, jobs=given.jobs).returncode:
        sys.exit("mutmut could not run the sample")
    after = statuses()
    fared = {name: after[name] for name in chosen}
    caught = [name for name in chosen if fared[name] in ("killed", "timeout")]
    left = sorted(set(chosen) - set(caught))
    show(left)
    print(f"\n{len(chosen)} of {len(names)} mutants, seed {given.seed}\n")
    print("\n".join(table(fared)))
    words = {name for name in chosen if alters_words_only(name)}
    rest = len(chosen) - len(words)
    share = len(set(caught) - words) / max(1, rest)
    print(
        f"\n{len(words)} alter only words for people, or the case of SQL;"
        f" of the other {rest}, {share:.1%} were caught"
    )
    if left:
        print(f"\nnot caught (their differences are in {SURVIVORS.relative_to(ROOT)}):")
        print("\n".join(f"  {name}: {fared[name]}{' (words)' * (name in words)}" for name in left))
    sys.exit(len(caught) < WANTED * len(chosen))


if __name__ == "__main__":
    main()
