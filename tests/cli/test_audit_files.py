"""`orbitferry audit` over files of a liar: nothing that they say does more than be said."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stack.audit.event import Act
from stack.audit.export import LINE_BYTES_MAX, LogExport
from stack.audit.proof import make_proof
from tests.audit.logs import BUNDLE, CLAIM, DIRECTORY, T0, event, exported, exports, journey
from tests.cli.helpers import Cli
from tests.simulator.report.test_pages import check_page

ESCAPE = "\x1b[2J\n\x9b\u202e"
"""Clears a terminal, begins a line, and turns the direction of text."""

MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", "\r=1+1", "\n=1+1", " =1+1"]


def written(folder: Path, logs: list[LogExport]) -> list[Path]:
    """The files of these logs."""
    paths = [folder / f"{number}.audit" for number in range(len(logs))]
    for path, log in zip(paths, logs, strict=True):
        path.write_text("".join(log.lines()), encoding="utf-8")
    return paths


def nodes_file(folder: Path) -> Path:
    """Where the nodes of the small world are."""
    path = folder / "nodes.toml"
    path.write_text(
        "".join(
            f'[[node]]\nid = "{facts.id}"\njurisdictions = ["{min(facts.jurisdictions)}"]\n'
            for facts in DIRECTORY
        )
    )
    return path


@pytest.mark.parametrize("name", [ESCAPE, MARKUP, *FORMULAS])
@pytest.mark.parametrize("time_ms", [0, T0, (1 << 64) - 1])
def test_names_and_times_of_a_liar_are_only_shown(
    cli: Cli, tmp_path: Path, name: str, time_ms: int
) -> None:
    """In words, in a spreadsheet and on a page."""
    acts = Act.MADE, Act.STORED, Act.FORWARDED
    liar = event("gs1", 0, *acts, name=name)._replace(time_ms=time_ms, peer=name, detail=name)
    paths = written(tmp_path, [exported("gs1", [liar, event("gs1", 1, Act.REFUSED, label=b"")])])
    sheet, page = tmp_path / "story.csv", tmp_path / "story.html"
    ran = cli("audit", "story", "all", *paths, "-d", nodes_file(tmp_path), "--csv", sheet)
    assert ran.code == 1
    assert ran.out.replace("\n", "").isprintable()
    with sheet.open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.strip()[:1] in set("=+-@")]
    cli("audit", "story", "all", *paths, "--html", page)
    text = page.read_text(encoding="utf-8")
    check_page(text)
    assert "<script>alert" not in text
    assert "<img" not in text
    for asked in (("prove", name, *paths, "--rest", "KR", "--from", "2026-01-01"), ("story", name)):
        more = ("--to", "2026-02-01", "-d", nodes_file(tmp_path)) if asked[0] == "prove" else paths
        ran = cli("audit", *asked, *more)
        assert ran.code != 0
        assert (ran.out + ran.err).replace("\n", "").isprintable()


def huge_line(lines: list[str]) -> None:
    """A file that is one line, nearly."""
    lines.append('{"event": "' + "A" * LINE_BYTES_MAX * 2)


def deep(lines: list[str]) -> None:
    lines.append("[" * 100_000 + "\n")


def no_line(lines: list[str]) -> None:
    lines.clear()


@pytest.mark.parametrize("change", [huge_line, deep, no_line])
def test_a_file_that_is_none_is_named(
    cli: Cli, tmp_path: Path, change: Callable[[list[str]], Any]
) -> None:
    (path,) = written(tmp_path, [exports(journey())[0]])
    lines = path.read_text().splitlines(keepends=True)
    change(lines)
    path.write_text("".join(lines))
    ran = cli("audit", "verify", path)
    assert ran.code == 1
    assert f"{path}: " in ran.err


def test_exports_of_several_months_are_one_log(cli: Cli, tmp_path: Path) -> None:
    said = journey()["relay"]
    later = [*said, event("relay", 9, Act.REFUSED, label=b"")]
    logs = [exported("relay", said), exported("relay", later, pruned=1), exported("relay", later)]
    paths = written(tmp_path, logs)
    (found,) = cli("audit", "verify", *paths, "--json").json
    (log,) = found["logs"]
    assert (log["first"], log["entries"], log["problems"]) == (0, 3, [])
    assert "; the first 1 are not here" in cli("audit", "verify", paths[1]).out


def test_a_proof_is_checked_by_itself(cli: Cli, tmp_path: Path) -> None:
    """Whichever way its maker has ordered it, and of whatever size it is."""
    logs = exports(journey())
    proof = tmp_path / "proof.json"
    proof.write_text(json.dumps(make_proof(CLAIM, logs, DIRECTORY, T0)))
    paths = written(tmp_path, logs)
    ran = cli("audit", "verify", *paths, proof)
    assert (ran.code, "a proof is checked by itself" in ran.err) == (1, True)
    keys = [word for log in logs for word in ("--key", log.key)]
    (found,) = cli("audit", "verify", proof, "-d", nodes_file(tmp_path), *keys, "--json").json
    assert (found["object"], found["holds"]) == (BUNDLE, True)
