"""`orbitferry fuzz`, `conform` and `vectors`, as a user runs them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from interop.vectors import catalogue, load
from tests.cli.helpers import Cli

TLV = "python:examples.fuzz.tlv:decode"
OWN = ("--protocol", "raw", "--strategy", "examples.fuzz.tlv:messages")


def test_a_fault_is_found_told_kept_and_replayed(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "campaign"
    files = {name: tmp_path / f"out.{name}" for name in ("html", "junit", "sarif")}
    reports = [word for name, path in files.items() for word in (f"--{name}", path)]
    ran = cli(
        "fuzz", "-t", TLV, *OWN, "--cases", 500, "--seed", 1, "-d", folder, "--json", *reports
    )
    assert ran.code == 1
    found, end = [json.loads(line) for line in ran.out.splitlines()]
    assert found["kind"] == "crash"
    assert found["messages"] == ["010002"]
    assert (end["cases"], end["findings"], end["seed"]) == (500, 1, 1)
    path = folder / "findings" / f"{found['id']}.json"
    again = cli("fuzz", "-t", TLV, *OWN, "--replay", path, "--json")
    assert again.code == 1
    assert json.loads(again.out)["place"] == found["place"]

    suite = ET.parse(files["junit"]).getroot()
    assert suite.get("failures") == "1"
    assert "010002" in (suite.findtext("testcase/failure") or "")
    (run,) = json.loads(files["sarif"].read_text())["runs"]
    assert run["results"][0]["partialFingerprints"]["orbitferryFinding/v1"] == found["id"]
    assert run["results"][0]["ruleId"] in [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    page = files["html"].read_text()
    assert "1 finding" in page
    assert "010002" in page


def test_the_same_seed_finds_the_same(cli: Cli) -> None:
    runs = [cli("fuzz", "-t", TLV, *OWN, "--cases", 300, "--seed", 7, "--json") for _ in range(2)]
    first, second = [[json.loads(line) for line in ran.out.splitlines()] for ran in runs]
    for each in (first, second):
        del each[-1]["seconds"]
    assert first == second


def test_nothing_found_is_success(cli: Cli) -> None:
    ran = cli("fuzz", "-t", "python:stack.wire.ltp:decode_segment", "-p", "ltp", "--cases", 300)
    assert "Crash" not in ran.out
    assert "300 cases" in ran.out


def test_another_machine_is_asked_for_by_name(cli: Cli) -> None:
    ran = cli("fuzz", "-t", "udp://192.0.2.7:1113", "-p", "ltp", "--cases", 1)
    assert ran.code == 2
    assert "another machine" in ran.err
    assert "--allow-remote" in ran.err


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("-p", "smtp"), "'smtp' is not known"),
        (("-p", "raw"), "has no cases of its own"),
        (("-p", "raw", "--strategy", "json:loads"), "json:loads"),
        (("-p", "raw", "--strategy", "builtins:dict"), "is no strategy"),
        (("-p", "raw", "--strategy", "no.such:thing"), "no.such:thing"),
        (("-p", "raw", "--corpus", "/no/such/folder"), "No such file"),
        (("--probe", "xyz"), "is not hexadecimal"),
    ],
)
def test_what_cannot_be_asked_for(cli: Cli, words: tuple[str, ...], fault: str) -> None:
    ran = cli("fuzz", "-t", TLV, "--cases", 1, *words)
    assert ran.code == 2
    assert fault in ran.err


@pytest.mark.slow
def test_which_rules_a_reader_keeps(cli: Cli) -> None:
    ran = cli("conform", "-t", "python:stack.wire.ltp:decode_segment", "-p", "ltp", "--json")
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert {row["tried"] for row in rows[1:]} == {10}
    assert rows[0]["rule"] == "valid"
    assert rows[0]["holds"]
    ours = {row["rule"]: row["holds"] for row in rows}
    assert ours["a claim beyond the scope"]
    assert ran.code == int(not all(ours.values()))
    toy = cli("conform", "-t", "python:examples.fuzz.toy_bundle:decode", "--each", "2")
    assert toy.code == 1
    assert "the version is 7" in toy.out


def test_a_target_that_does_not_judge_is_not_held_against_rules(cli: Cli) -> None:
    ran = cli("conform", "-t", "udp://127.0.0.1:9", "-p", "ltp")
    assert ran.code == 2
    assert "does not say" in ran.err


def test_vectors_are_listed_shown_and_written(cli: Cli, tmp_path: Path) -> None:
    listed = cli("vectors", "list", "--json")
    names = [json.loads(line)["file"] for line in listed.out.splitlines()]
    assert names == [one.name for one in catalogue()]
    for name in names:
        assert cli("vectors", "show", name).code == 0
        vector = load(name)[0]
        shown = cli("vectors", "show", name, vector.name)
        assert shown.code == 0
        assert vector.data.hex() in shown.out
        assert cli("vectors", "export", name, tmp_path / name).code == 0
        entries = json.loads((tmp_path / name / "vectors.json").read_text())
        octets = [(tmp_path / name / entry["file"]).read_bytes() for entry in entries]
        assert octets == [one.data for one in load(name)]
    assert "one of" in cli("vectors", "show", "nothing").err
    assert cli("vectors", "show", "ltp", "nothing").code == 2
