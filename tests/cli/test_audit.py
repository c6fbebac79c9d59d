"""`orbitferry audit`, over the logs of whole nodes."""

from __future__ import annotations

import asyncio
import csv
import json
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from link_models.clock import run_virtual
from stack.services.messages import Mailbox, send_message
from tests.cli.helpers import Cli, Ran, write_places
from tests.node.test_sovereign import AT_HOME, DIRECTORY, world_of
from tests.node.test_two_nodes import SAT
from tests.simulator.report.test_pages import check_page


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folders of nodes over which a message went, and its id."""
    root = tmp_path_factory.mktemp("world")
    directory = root / "nodes.toml"
    directory.write_text(DIRECTORY)
    sent: list[str] = []

    async def main() -> None:
        names = dict.fromkeys(("gs1", "sat1", "home", "abroad"), str(directory))
        nodes = world_of(root, names, store="sqlite")
        ground, satellite = nodes["gs1"], nodes["sat1"]
        others = nodes["home"], nodes["abroad"]
        async with ground, satellite, others[0], others[1], Mailbox(satellite.port) as mailbox:
            to, policy = SAT.with_service("messages"), replace(AT_HOME, audit=True)
            bundle = await send_message(ground.port, to, b"for the family", policy=policy)
            sent.append(str(bundle))
            await mailbox.done(await mailbox.receive())
            await asyncio.sleep(60)  # every acknowledgement is there

    run_virtual(main)
    return root, sent[0]


def keys_of(paths: Sequence[Path]) -> list[str]:
    """The keys of logs, as their nodes have told them."""
    heads = [json.loads(path.read_text().partition("\n")[0]) for path in paths]
    return [word for head in heads for word in ("--key", head["vkey"])]


@pytest.fixture
def exports(cli: Cli, folders: tuple[Path, str], tmp_path: Path) -> list[Path]:
    """The exports of the three that had it."""
    paths = [tmp_path / f"{name}.audit" for name in ("gs1", "home", "sat1")]
    for path in paths:
        ran = cli("audit", "export", folders[0] / path.stem, "-o", path)
        assert ran.code == 0
        assert f"next: orbitferry audit verify {path}" in ran.out
    return paths


def test_logs_are_exported_and_verified(
    cli: Cli, folders: tuple[Path, str], exports: list[Path]
) -> None:
    ran = cli("audit", "verify", *exports, "--json")
    assert ran.code == 0
    (found,) = ran.json
    assert [(log["node"], log["entries"], log["closed"]) for log in found["logs"]] == [
        ("dtn://gs1/", 2, 2),
        ("dtn://home/", 2, 2),
        ("dtn://sat1/", 2, 2),
    ]
    lines = exports[0].read_text().splitlines(keepends=True)
    exports[0].write_text("".join(lines[:-1]))
    ran = cli("audit", "verify", *exports)
    assert ran.code == 1
    assert "WRONG: it has signed 2 entries, and shows 1" in ran.out
    ran = cli("audit", "witness", folders[0] / "home")
    assert (ran.code, "has cosigned nothing yet" in ran.err) == (1, True)
    ran = cli("audit", "export", folders[0] / "abroad")
    assert ran.code == 1
    assert "nothing was closed by a checkpoint yet" in ran.err


def test_damaged_entries_are_passed_over_and_told(
    cli: Cli, folders: tuple[Path, str], tmp_path: Path
) -> None:
    folder, out = tmp_path / "gs1", tmp_path / "gs1.audit"
    shutil.copytree(folders[0] / "gs1", folder)
    with closing(sqlite3.connect(folder / "store" / "store.db", isolation_level=None)) as db:
        db.execute("UPDATE audit SET event = zeroblob(9) WHERE number = 0")
        assert db.total_changes == 1
    ran = cli("audit", "export", folder, "-o", out, "--json")
    assert (ran.code, ran.json[0]["entries"], ran.json[0]["missing"]) == (0, 1, 1)
    assert "1 entry from 0 on cannot be exported" in ran.err
    ran = cli("audit", "verify", out)
    assert ran.code == 1
    assert "WRONG: entries 0 to 0 are not here: damaged, or withheld" in ran.out
    (found,) = cli("audit", "verify", out, "--json").json
    assert found["logs"][0]["missing"] == 1


def test_entries_are_written_as_statements(
    cli: Cli, folders: tuple[Path, str], tmp_path: Path
) -> None:
    out, into = tmp_path / "gs1.audit", tmp_path / "gs1.receipts"
    more = ("--receipts", into)
    (made,) = cli("audit", "export", folders[0] / "gs1", "-o", out, *more, "--json").json
    files = sorted(into.iterdir())
    assert [path.name for path in files] == ["0.cose", "1.cose"]
    (found,) = cli("audit", "verify", *files, "--key", made["key"], "--json").json
    assert [each["object"] for each in found["statements"]] == [folders[1]] * 2
    files[0].write_bytes(files[0].read_bytes()[:-1] + b"?")
    assert cli("audit", "verify", *files, "--key", made["key"]).code == 1


def test_statements_of_another_log_are_not_overwritten(
    cli: Cli, folders: tuple[Path, str], tmp_path: Path
) -> None:
    into = tmp_path / "receipts"

    def export(name: str) -> Ran:
        out = tmp_path / f"{name}.audit"
        return cli("audit", "export", folders[0] / name, "-o", out, "--receipts", into)

    def there() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in into.iterdir()}

    assert export("gs1").code == 0
    first = there()
    ran = export("sat1")
    assert ran.code == 2
    assert "is no statement of the log of dtn://sat1/" in " ".join(ran.err.split())
    assert there() == first
    (into / "0.cose").rename(into / "77.cose")  # nor does it get another voucher
    (into / "1.cose").unlink()
    assert export("sat1").code == 2
    (into / "77.cose").rename(into / "0.cose")
    assert export("gs1").code == 0  # its own
    assert there().keys() == first.keys()


def test_the_story_as_words_json_csv_and_a_page(
    cli: Cli, folders: tuple[Path, str], exports: list[Path], tmp_path: Path
) -> None:
    root, bundle = folders
    sheet, page = tmp_path / "story.csv", tmp_path / "story.html"
    asked = ("audit", "story", bundle, *exports, "-d", root / "nodes.toml", *keys_of(exports))
    ran = cli(*asked, "--csv", sheet, "--html", page)
    assert [path.stat().st_mode & 0o777 for path in (sheet, page)] == [0o600] * 2
    assert ran.code == 0, ran.err
    assert "made, sealed, stored" in ran.out
    (found,) = cli(*asked, "--json").json
    (story,) = found["stories"]
    assert [stay["node"] for stay in story["stays"]] == ["dtn://gs1/", "dtn://home/", "dtn://sat1/"]
    assert not story["gaps"] + story["contradictions"] + story["violations"]
    with sheet.open() as file:
        assert [row["acts"] for row in csv.DictReader(file)] == [
            " ".join(entry["acts"]) for entry in story["entries"]
        ]
    text = page.read_text()
    assert text.count("<rect") == 3
    assert "http://" not in text.replace("http://www.w3.org/", "")
    cli(*asked, "--html", page, "--places", write_places(tmp_path))
    world, line = check_page(page.read_text()).all("svg")
    words = unescape(world["aria-label"] or "")
    assert "home: had it (KR, role:relay)" in words
    assert "abroad: did not have it, and may not (XX, role:relay)" in words
    assert "Who gave it to whom: gs1 to home, home to sat1." in words
    assert (line["aria-label"] or "").startswith("When it was where: gs1 from 20")
    ran = cli("audit", "story", "all", exports[0], "-d", root / "nodes.toml")
    assert ran.code == 1
    assert "GAP: dtn://gs1/ gave it to dtn://home/, whose log is not here" in ran.out


def test_it_is_proven_that_data_never_rested_abroad(
    cli: Cli, folders: tuple[Path, str], exports: list[Path], tmp_path: Path
) -> None:
    root, bundle = folders
    out = tmp_path / "proof.json"
    known = ("-d", root / "nodes.toml", *keys_of(exports))
    asked = ("audit", "prove", bundle, *exports, *known)
    span = ("--from", "2026-01-01T00:00:00Z", "--to", "2027-01-01T00:00:00Z")
    ran = cli(*asked, "--rest", "KR", *span, "-o", out)
    assert ran.code == 0, ran.out + ran.err
    words = " ".join(ran.out.split())
    assert f"{bundle}: never rested outside 'KR'" in words
    assert "It does not show what a reader did with the data after opening it" in words
    (found,) = cli("audit", "verify", out, *known, "--json").json
    assert (found["holds"], found["unvouched"]) == (True, [])
    proof = json.loads(out.read_text())
    proof["logs"][1]["events"].pop()
    out.write_text(json.dumps(proof))
    assert cli("audit", "verify", out, *known).code == 1
    ran = cli(*asked, "--rest", "KR - role:relay", *span)
    assert ran.code == 1
    assert "AGAINST:" in ran.out


def test_what_nobody_vouches_for_is_no_story_and_no_proof(
    cli: Cli, folders: tuple[Path, str], exports: list[Path], tmp_path: Path
) -> None:
    """Whoever hands over files may have made up all that is in them."""
    root, bundle = folders
    where, keys = ("-d", root / "nodes.toml"), keys_of(exports)
    page, out = tmp_path / "story.html", tmp_path / "proof.json"
    span = ("--from", "2026-01-01T00:00:00Z", "--to", "2027-01-01T00:00:00Z")
    story = ("audit", "story", bundle, *exports, *where)
    prove = ("audit", "prove", bundle, *exports, *where, "--rest", "KR", *span, "-o", out)
    for asked, more in ((story, ("--html", page)), (prove, ()), (("audit", "verify", out), where)):
        for given, logs in (((), 3), (keys[:2], 2)):
            ran = cli(*asked, *more, *given)
            assert (ran.code, ran.out.count("UNVOUCHED")) == (1, logs), ran.out
            assert "never rested outside" not in ran.out
            (found,) = cli(*asked, *more, *given, "--json").json
            assert len(found["unvouched"]) == logs
            assert not found.get("holds")
        ran = cli(*asked, *more, "--unvouched")
        assert (ran.code, ran.out.count("UNVOUCHED")) == (0, 3)
        assert cli(*asked, *more, *keys).code == 0
    assert "nobody vouches" not in page.read_text()
    cli(*story, "--html", page, "--unvouched")
    assert page.read_text().count("nobody vouches for the key of") == 3
    assert 'class="good"' not in page.read_text()
    # Where nodes are is a word that has to come from somewhere, too.
    ran = cli("audit", "verify", out, *keys)
    assert (ran.code, "where the nodes are is the word of" in " ".join(ran.out.split())) == (
        1,
        True,
    )


def test_the_story_of_a_log_that_was_altered_is_none(
    cli: Cli, folders: tuple[Path, str], exports: list[Path]
) -> None:
    known = ("-d", folders[0] / "nodes.toml", *keys_of(exports))
    lines = exports[2].read_text().splitlines(keepends=True)
    exports[2].write_text("".join(lines[:-1]))
    ran = cli("audit", "story", folders[1], *exports, *known)
    assert (ran.code, "WRONG: dtn://sat1/audit/" in ran.out) == (1, True)
