"""Contact plans on the command line: made, scheduled, tried out and reported."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from stack.contacts.files import dump_plan, load_plan
from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import dtn_from_iso
from stack.routing.config import RouterConfig, consumption
from tests.cli.helpers import ROOT, Cli

BEGIN = dtn_from_iso("2026-10-01T00:00:00Z")
MINUTE = 60_000
G1, G2, SAT, FAR = "dtn://g1/", "dtn://g2/", "dtn://sat/", "dtn://far/"
PNG = b"\x89PNG\r\n\x1a\n"

SCENARIO = f"""
title = "Two stations, two satellites"
start = "2026-10-01T00:00:00Z"
duration_h = 5

[planning]
guard_s = 30

[[stations]]
id = "dtn://svalbard/"
latitude_deg = 78.23
longitude_deg = 15.41

[[stations]]
id = "dtn://troll/"
latitude_deg = -72.01
longitude_deg = 2.54

[[satellites]]
id = "dtn://s2a/"
elements = "{ROOT}/examples/data/earth-observation-2026-10-01.tle"
name = "SENTINEL-2A"

[[satellites]]
id = "dtn://s2b/"
elements = "{ROOT}/examples/data/earth-observation-2026-10-01.tle"
name = "SENTINEL-2B"

[[radios]]
up = {{ preset = "s-band-up" }}
down = {{ rates = [[5.0, 50e6], [20.0, 100e6]] }}

[[terrestrial]]
between = ["dtn://svalbard/", "dtn://troll/"]
rate_bps = 10e6
delay_ms = 100
"""


def contact(source: str, destination: str, start: int, end: int, mbit_s: float = 8) -> Contact:
    first, last = BEGIN + start * MINUTE, BEGIN + end * MINUTE
    return Contact(source, destination, first, last, mbit_s * 1e6)


PLAN = Plan(
    [
        contact(SAT, G1, 10, 12),
        contact(SAT, G2, 30, 40),
        contact(SAT, G1, 50, 60),
        contact(G1, FAR, 0, 100),
        contact(G2, FAR, 0, 100),
    ],
    [Range(SAT, G1, BEGIN, BEGIN + 100 * MINUTE, 7_000_000)],
)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    dump_plan(PLAN, path)
    return path


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO)
    return path


# ---- make and schedule -------------------------------------------------------------------------


def test_make_a_plan_of_a_scenario(cli: Cli, scenario: Path, tmp_path: Path) -> None:
    out, ion = tmp_path / "plan.json", tmp_path / "plan.ionrc"
    ran = cli("plan", "make", scenario, "-o", out, "-o", ion)
    assert ran.code == 0
    assert "passes planned" in ran.out
    assert "below the best possible" in ran.out
    assert f"{ion}: written; node numbers: dtn://s2a/ is 1, " in ran.err
    made = load_plan(out)
    assert made.nodes == ("dtn://s2a/", "dtn://s2b/", "dtn://svalbard/", "dtn://troll/")
    assert len(load_plan(ion).contacts) == len(made.contacts)
    rows = cli("plan", "make", scenario, "--json").json
    assert {row["station"] for row in rows} == {"dtn://svalbard/", "dtn://troll/"}
    down = sum(row["down_bytes"] for row in rows)
    assert down == pytest.approx(
        sum(one.volume_bytes for one in made.contacts if one.source in ("dtn://s2a/", "dtn://s2b/"))
    )
    assert any(row["planned_s"] < row["duration_s"] for row in rows), "antennas are shared"


def test_what_of_a_foreign_plan_is_passed_over_is_told(cli: Cli, tmp_path: Path) -> None:
    ionrc, out = tmp_path / "a.ionrc", tmp_path / "b.json"
    ionrc.write_text("a contact +0 +60 1 1 10\na contact +0 +60 1 2 10\na plan 2 ltp/2\n")
    for arguments in (["show", ionrc], ["convert", ionrc, out]):
        ran = cli("plan", *arguments, "--json")
        assert ran.code == 0
        assert "1 x contact of a node with itself (first: line 1)" in ran.err
        assert "1 x command that is not of the plan (first: line 3)" in ran.err
    assert "passed over" not in cli("plan", "show", out).err


def test_make_wants_a_scenario(cli: Cli, plan: Path, tmp_path: Path) -> None:
    ran = cli("plan", "make", plan)
    assert ran.code == 2
    assert "is no scenario" in ran.err
    broken = tmp_path / "broken.toml"
    broken.write_text(SCENARIO.replace("latitude_deg = 78.23", "latitude_deg = 178.23"))
    ran = cli("plan", "make", broken)
    assert ran.code == 2
    assert "latitude_deg" in ran.err


def test_schedule_a_plan_file(cli: Cli, tmp_path: Path) -> None:
    path, out = tmp_path / "plan.json", tmp_path / "booked.json"
    dump_plan(Plan([contact(SAT, G1, 0, 10), contact(FAR, G1, 5, 15, 16)]), path)
    ran = cli("plan", "schedule", path, "-a", G1, "--guard", "60s", "-o", out)
    assert ran.code == 0
    booked = load_plan(out).contacts
    assert [(c.source, c.start_ms, c.end_ms) for c in booked] == [
        (SAT, BEGIN, BEGIN + 4 * MINUTE),
        (FAR, BEGIN + 5 * MINUTE, BEGIN + 15 * MINUTE),
    ]
    assert "antennas serve 1 whole passes and 1 parts of 2" in ran.out
    both = cli("plan", "schedule", path, "-a", f"{G1}=2", "--json").json
    assert [row["whole"] for row in both] == [True, True]
    (one,) = cli(
        "plan", "schedule", path, "-a", G1, "--whole", "--weight", f"{SAT}=9", "--json"
    ).json
    assert one["satellite"] == SAT
    assert cli("plan", "schedule", path, "-a", G1, "--fairness", "max-min").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--antennas"),
        (("-a", "dtn://x/"), "not in the plan"),
        (("-a", f"{G1}=x"), "--antennas"),
        (("-a", G1, "--weight", "3"), "--weight"),
        (("-a", G1, "--guard", "2d"), "guard_ms"),
    ],
)
def test_schedules_that_cannot_be(
    cli: Cli, plan: Path, arguments: tuple[str, ...], words: str
) -> None:
    ran = cli("plan", "schedule", plan, *arguments)
    assert ran.code == 2
    assert words in ran.err


# ---- delivery ----------------------------------------------------------------------------------


def test_delivery_by_hand(cli: Cli, plan: Path) -> None:
    # 8 Mbit/s are 1 MB a second: 100 MB in the first pass, which begins after ten minutes.
    (ran,) = cli(
        "plan",
        "delivery",
        plan,
        SAT,
        G1,
        "--size",
        "100MB",
        "--at",
        "2026-10-01T00:00:00Z",
        "--json",
    ).json
    found = ran["undisturbed"]
    assert found["complete"]
    assert found["bundles"] == 100
    (flow,) = found["flows"]
    (hop,) = flow["hops"]
    assert (hop["wait_s"], hop["light_ms"]) == (600.0, 7.0)
    # Light takes 7 ms, and each bundle uses more of the contact than its payload.
    sent_s = 100 * consumption(RouterConfig(), 1_000_000) / 1e6
    assert 100 < sent_s < 105
    assert found["last_after_s"] == pytest.approx(600 + sent_s + 0.007, abs=0.001)
    assert "changed" not in ran
    assert "weather" not in ran


def test_delivery_without_a_station(cli: Cli, plan: Path) -> None:
    arguments = ("plan", "delivery", plan, SAT, FAR, "--size", "300MB", "--at", "2026-10-01T00:00Z")
    ran = cli(*arguments, "--without", G2)
    assert ran.code == 0
    assert "without dtn://g2/:" in ran.out
    assert " later" in ran.out
    (found,) = cli(*arguments, "--without", G2, "--json").json
    assert found["later_s"] > 0
    used = {hop["source"] for flow in found["changed"]["flows"] for hop in flow["hops"]}
    assert used == {SAT, G1}
    lost = cli(*arguments, "--without", G1, "--without", G2)
    assert lost.code == 1
    assert "nothing arrives" in lost.out


def test_delivery_under_weather(cli: Cli, plan: Path) -> None:
    arguments = ("plan", "delivery", plan, SAT, G1, "-s", "60MB", "--at", "2026-10-01T00:00Z")
    (sure,) = cli(*arguments, "--weather", "100%", "--json").json
    assert sure["weather"]["delivered"] == 1.0
    assert sure["weather"]["p50_after_s"] == sure["undisturbed"]["last_after_s"]
    (half,) = cli(
        *arguments, "--weather", f"{G1}=50%", "--spell", "1m", "--days", "400", "--json"
    ).json
    weather = half["weather"]
    # Two passes, each lost on every other day: 3 of 4 days deliver, half of all in the first.
    assert abs(weather["delivered"] - 0.75) < 6 * (0.75 * 0.25 / 400) ** 0.5
    assert weather["p95_after_s"] is None
    again = cli(*arguments, "--weather", f"{G1}=50%", "--spell", "1m", "--days", "400", "--json")
    assert again.json == [half], "a seed gives the same days"
    never = cli(*arguments, "--weather", "0")
    assert never.code == 0, "the undisturbed case is what the exit code tells"
    assert "on 100% some of it has not arrived when the plan ends" in never.out


def test_delivery_over_confident_contacts(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    unsure = Contact(SAT, G1, BEGIN, BEGIN + MINUTE, 8e6, 0.4)
    dump_plan(Plan([unsure, contact(SAT, G1, 10, 20)]), path)
    (found,) = cli("plan", "delivery", path, SAT, G1, "--least", "0.5", "--json").json
    assert found["undisturbed"]["last_after_s"] < 60
    assert found["changed"]["last_after_s"] > 600
    (days,) = cli("plan", "delivery", path, SAT, G1, "--days", "50", "--json").json
    assert days["weather"]["p50_after_s"] > 0


def test_only_a_part_arrives(cli: Cli, plan: Path) -> None:
    arguments = ("plan", "delivery", plan, SAT, G1, "-s", "2GB", "--at", "2026-10-01T00:00Z")
    ran = cli(*arguments)
    assert ran.code == 1
    assert re.search("only (69|7[01])[0-9] MB of 2 GB arrive, the last of them", ran.out)
    (found,) = cli(*arguments, "--json").json
    assert not found["undisturbed"]["complete"]
    late = cli(*arguments[:-4], "-s", "60MB", "--at", "2026-10-01T00:00Z", "--lifetime", "5m")
    assert late.code == 1


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["png", "svg", "html"])
def test_the_way_is_drawn(cli: Cli, plan: Path, tmp_path: Path, ending: str) -> None:
    picture = tmp_path / f"way.{ending}"
    ran = cli(
        "plan", "delivery", plan, SAT, FAR, "-s", "300MB", "--without", G2, "--gantt", picture
    )
    assert ran.code == 0
    data = picture.read_bytes()
    if ending == "png":
        assert data.startswith(PNG)
    else:
        assert b"<svg" in data
        for needs_more in (b"<script src", b"<link", b"<img", b"<image", b"@import", b"src="):
            assert needs_more not in data
    if ending == "html":
        assert "Hops, as planned" in data.decode()
        assert f"Hops, without {G2}" in data.decode()
    cli("plan", "delivery", plan, SAT, FAR, "-s", "300MB", "--without", G2, "--gantt", picture)
    assert picture.read_bytes() == data, "the same plan has the same picture"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((SAT, "dtn://x/"), "not in the plan"),
        ((SAT, SAT), "name two nodes"),
        ((SAT, G1, "--without", SAT), "is an end of the way"),
        ((SAT, G1, "--without", "dtn://x/"), "not in the plan"),
        ((SAT, G1, "--weather", "2"), "share"),
        ((SAT, G1, "--weather", "dtn://x/=50%"), "not in the plan"),
        ((SAT, G1, "--gantt", "way.gif"), ".png, .svg or .html"),
        ((SAT, G1, "-s", "1GB", "--bundle", "1"), "--bundle"),
        ((SAT, G1, "--at", "noon"), "--at"),
    ],
)
def test_questions_that_cannot_be_asked(
    cli: Cli, plan: Path, arguments: tuple[str, ...], words: str
) -> None:
    ran = cli("plan", "delivery", plan, *arguments)
    assert ran.code == 2
    assert words in ran.err


# ---- report ------------------------------------------------------------------------------------


class _Text(HTMLParser):
    """The words of a page, and whether its tags match."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("table", "tr", "td", "th", "details", "svg", "body", "html", "p", "h2"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read_page(path: Path) -> str:
    parser = _Text()
    parser.feed(path.read_text())
    assert parser.open == []
    return " ".join(parser.words)


@pytest.mark.slow
def test_report_of_a_scenario(cli: Cli, scenario: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    ran = cli("plan", "report", scenario, "--out", folder)
    assert ran.code == 0
    assert "longest gap" in ran.out
    page = read_page(folder / "report.html")
    for words in ("Two stations, two satellites", "Antennas and gaps", "svalbard", "lasting links"):
        assert words in page
    assert " src=" not in (folder / "report.html").read_text(), "it stands alone"
    said = re.findall(r"\d[\d.,]* (?:[kMGT]?B\b|h \d\d min|min \d\d s)", ran.out)
    assert len(said) > 8
    text = (folder / "report.html").read_text()
    assert "the contacts of 2 stations and 2 other nodes: " in text
    assert [words for words in said if words not in text] == [], "page and command say the same"
    figures = json.loads((folder / "report.json").read_text())
    assert figures["schedule"]["passes"] >= figures["schedule"]["services"] / 2
    station = next(one for one in figures["nodes"] if one["node"] == "dtn://troll/")
    assert (station["antennas"], station["conflict_s"]) == (1, 0)
    assert [link["one"] for link in figures["always"]] == ["dtn://svalbard/"]
    with (folder / "contacts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == figures["contacts"]
    assert {row["confidence"] for row in rows} == {"1.0"}
    with (folder / "passes.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == figures["passes"]


@pytest.mark.slow
def test_report_of_a_plan(cli: Cli, plan: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    (found,) = cli("plan", "report", plan, "--out", folder, "--json").json
    assert found["report"] == str(folder / "report.html")
    sat = next(one for one in found["nodes"] if one["node"] == SAT)
    assert (sat["passes"], sat["sent_bytes"], sat["gaps"]["longest_s"]) == (3, 1_320_000_000, 2400)
    page = read_page(folder / "report.html")
    assert "Contacts of each node" not in page, "letters of pictures are paths"
    assert "720 MB" in page, "as the command says it"
    before = (folder / "report.html").read_bytes()
    cli("plan", "report", plan, "--out", folder)
    assert (folder / "report.html").read_bytes() == before


def test_report_of_an_unlimited_and_uncertain_plan(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    first, last = BEGIN, BEGIN + MINUTE
    dump_plan(
        Plan(
            [
                Contact(SAT, G1, first, last, float("inf")),
                Contact(SAT, G2, first, last + 1, 1e6, 0.25),
                Contact(SAT, "dtn://<b>/", first, last + 2, 1e6),
            ]
        ),
        path,
    )
    (found,) = cli("plan", "report", path, "-o", tmp_path / "r", "--json").json
    assert next(n for n in found["nodes"] if n["node"] == SAT)["sent_bytes"] is None
    page = read_page(tmp_path / "r" / "report.html")
    assert "Confidence" in page
    assert "0.250" in page
    assert "no limit" in page
    assert "<b>" not in (tmp_path / "r" / "report.html").read_text()


def test_empty_plans_have_no_report(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    dump_plan(Plan(), path)
    ran = cli("plan", "report", path, "-o", tmp_path / "r")
    assert ran.code == 2
    assert "has no contacts" in ran.err


# ---- formats -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_show_route_and_convert_take_scenarios(cli: Cli, scenario: Path, tmp_path: Path) -> None:
    assert len(cli("plan", "show", scenario, "--json").json) > 10
    way = cli("plan", "route", scenario, "dtn://s2a/", "dtn://troll/", "--json").json[0]
    assert way["departure"].startswith("2026-10-01T00:00:00")
    target = tmp_path / "plan.hdtn.json"
    ran = cli("plan", "convert", scenario, target, "--number", "dtn://troll/=77")
    assert ran.code == 0
    assert "dtn://troll/ is 77" in ran.out
    assert "ipn:77.0" in load_plan(target).nodes
    (found,) = cli("plan", "convert", scenario, target, "--json").json
    assert found["numbers"]["dtn://troll/"] == 4
    wrong = cli("plan", "convert", scenario, target, "--number", "troll")
    assert wrong.code == 2
    assert "dtn://gs1/=101" in wrong.err
