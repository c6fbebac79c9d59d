"""`orbitferry audit` over files of a liar: nothing that they say does more than be said."""

from __future__ import annotations

import csv
import json
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stack.adapters.clock import SystemClock
from stack.audit.event import Act
from stack.audit.export import LINE_BYTES_MAX, LogExport
from stack.audit.note import WITNESS_KEY, NoteSigner
from stack.audit.proof import make_proof
from stack.security.vouchers import make_voucher
from tests.audit.logs import BUNDLE, CLAIM, DIRECTORY, HOUR, T0, event, exported, exports, journey
from tests.cli.helpers import Cli
from tests.node.test_federated import Domains
from tests.node.test_identity import nothing
from tests.node.world import EPOCH_MS
from tests.simulator.report.test_pages import check_page

WITNESS = NoteSigner("dtn://svalbard/audit", bytes(32), WITNESS_KEY)

ESCAPE = "\x1b[2J\n\x9b\u202e"
"""Clears a terminal, begins a line, and turns the direction of text."""

MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
FORMULAS = [
    *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", "\r=1+1", "\n=1+1", " =1+1"),
    *("x;=1+1", "x\t =1+1", "x\n@SUM(A1)", "\uff1d1+1", "x; \uff0b1"),
]


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
    parts = [part.strip() for cell in cells for part in re.split("[;\t\r\n]", cell)]
    assert not [part for part in parts if part[:1] in set("=+-@\uff1d\uff0b")]
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


def test_a_key_of_another_kind_counts_for_nothing(cli: Cli, tmp_path: Path) -> None:
    """A log that is taken for its own witness had been seen whole by somebody, as it seemed."""
    logs = exports(journey())
    paths = written(tmp_path, logs)
    for option, key in (("--witness", logs[0].key), ("--key", WITNESS.key)):
        ran = cli("audit", "verify", *paths, option, key)
        assert (ran.code, f"{option}: the key of {key.name}" in ran.err) == (1, True)


def test_where_a_node_was_is_what_its_certificate_said_then(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it has ended since makes nobody one of whom nothing is known."""
    domains = Domains(tmp_path)
    domains.nodes["kiruna"] = domains.enrolled(tmp_path / "short", "kiruna", "esa", days=1)
    domains.trusts("kari", "esa", "pass")
    domains.bring()
    logs = exports(journey("kiruna"))
    for log, name in zip(logs, ("gs1", "kiruna", "sat1"), strict=True):
        log.voucher = make_voucher(domains.nodes[name].unlock(nothing), log.key, EPOCH_MS + 60_000)
    paths = written(tmp_path, logs)
    asked = ("audit", "story", BUNDLE, *paths, "--trust", tmp_path / "sat1-identity", "--json")
    told = []
    for hours in (1, 25):
        now_ms = EPOCH_MS + hours * HOUR
        monkeypatch.setattr(SystemClock, "dtn_ms", lambda _, now_ms=now_ms: now_ms)
        (found,) = cli(*asked).json
        assert not [each["problems"] for each in found["logs"] if each["problems"]]
        told.append(found["stories"])
    assert told[0] == told[1]
    assert told[0][0]["violations"] == [
        "it rested at dtn://kiruna/: 'SE, domain:esa'; it may at 'EU | KR'"
    ]


def test_a_log_that_others_have_seen_and_that_is_not_here_is_judged_with_trust_too(
    cli: Cli, tmp_path: Path
) -> None:
    Domains(tmp_path)
    _, first, second = exports(journey())
    for log, other in ((first, Act.REFUSED), (second, Act.OPENED)):
        log.seen += exported("gs1", [event("gs1", 0, other)]).checkpoints
    paths = written(tmp_path, [first, second])
    (found,) = cli("audit", "verify", *paths, "--trust", tmp_path / "sat1-identity", "--json").json
    assert [each["node"] for each in found["logs"]][2:] == ["dtn://gs1/"]


@pytest.mark.parametrize("command", ["export", "prove"])
def test_a_file_takes_the_place_of_another_once_it_is_whole(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """What was pruned since is in the older one alone; a disk that is full does not take that."""
    logs = exports(journey())
    monkeypatch.setattr("stack.storage.audit_log.read_log", lambda _: logs[0])
    paths, out = written(tmp_path, logs), tmp_path / "out"
    span = ("--from", "2026-12-07", "--to", "2026-12-08", "--unvouched")
    prove = ("prove", BUNDLE, *paths, "-d", nodes_file(tmp_path), "--rest", "KR | EU", *span)
    asked = ("audit", *(("export", tmp_path) if command == "export" else prove), "-o", out)
    assert cli(*asked).code == 0
    whole = out.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) // 2, limits[1]))
    try:
        assert cli(*asked).code == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert out.read_bytes() == whole
    assert [*tmp_path.glob("out*")] == [out]
    assert cli(*asked[:-1], "/dev/full").code == 1
    assert cli(*asked[:-1], "/dev/null").code == 0
