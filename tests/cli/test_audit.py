"""`orbitferry audit`, over the logs of whole nodes."""

from __future__ import annotations

import asyncio
import csv
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from link_models.clock import run_virtual
from stack.services.messages import Mailbox, send_message
from tests.cli.helpers import Cli, write_places
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


def test_the_story_as_words_json_csv_and_a_page(
    cli: Cli, folders: tuple[Path, str], exports: list[Path], tmp_path: Path
) -> None:
    root, bundle = folders
    sheet, page = tmp_path / "story.csv", tmp_path / "story.html"
    asked = ("audit", "story", bundle, *exports, "-d", root / "nodes.toml")
    ran = cli(*asked, "--csv", sheet, "--html", page)
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
    asked = ("audit", "prove", bundle, *exports, "-d", root / "nodes.toml")
    span = ("--from", "2026-01-01T00:00:00Z", "--to", "2027-01-01T00:00:00Z")
    ran = cli(*asked, "--rest", "KR", *span, "-o", out)
    assert ran.code == 0, ran.out + ran.err
    words = " ".join(ran.out.split())
    assert f"{bundle}: never rested outside 'KR'" in words
    assert "It does not show what a reader did with the data after opening it" in words
    (found,) = cli("audit", "verify", out, "--json").json
    assert found["holds"]
    out.write_text(out.read_text().replace('"index": 1', '"index": 0', 1))
    assert cli("audit", "verify", out).code == 1
    ran = cli(*asked, "--rest", "KR - role:relay", *span)
    assert ran.code == 1
    assert "AGAINST:" in ran.out
