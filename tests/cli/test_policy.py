"""`orbitferry policy`, and sending under a policy."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import pytest

from stack.contacts.files import dump_plan
from stack.contacts.plan import Contact, Plan
from stack.core.clock import dtn_from_iso
from tests.cli.helpers import Cli, write_places
from tests.simulator.report.test_pages import check_page

DIRECTORY = "\n".join(
    f'[[node]]\nid = "dtn://{name}/"\njurisdictions = ["{law}"]\n'
    for name, law in (("gs1", "KR"), ("sat1", "KR"), ("home", "KR"), ("abroad", "XX"))
)
FAMILY = 'readers = "KR"\nrest = "KR"\ntransit = "any - XX"\n'


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A policy, a plan with a relay abroad that is faster than the one at home, a directory."""
    begin, hour = dtn_from_iso("2026-12-01T00:00:00Z"), 3_600_000
    plan = Plan(
        Contact(f"dtn://{a}/", f"dtn://{b}/", begin + after, begin + 4 * hour, 1e6)
        for relay, after in (("abroad", 0), ("home", hour))
        for a, b in (("gs1", relay), (relay, "sat1"))
    )
    policy, path, directory = (tmp_path / n for n in ("family.toml", "plan.json", "nodes.toml"))
    policy.write_text(FAMILY)
    dump_plan(plan, path)
    directory.write_text(DIRECTORY)
    return policy, path, directory


def test_check_shows_who_could_have_it_and_what_is_missing(
    cli: Cli, files: tuple[Path, Path, Path]
) -> None:
    policy, plan, directory = files
    asked = ("policy", "check", policy, plan, "dtn://gs1/", "dtn://sat1/", "-d", directory)
    (found,) = cli(*asked, "--json").json
    assert found["route"]["over"] == ["dtn://home/", "dtn://sat1/"]
    assert found["missing"] == [{"nodes": "XX", "rest": True, "transit": True}]
    assert found["better"]["arrival"].startswith("2026-12-01T00:00:00")
    reached = {node["node"] for node in found["nodes"] if node["reached"]}
    assert reached == {"dtn://gs1/", "dtn://home/", "dtn://sat1/"}
    ran = cli(*asked)
    assert ran.code == 0
    assert "with rest at and transit through XX it would be 2026-12-01T00:00:00" in " ".join(
        ran.out.split()
    )


def test_the_report_of_a_check_has_a_map(
    cli: Cli, files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    policy, plan, directory = files
    asked = ("policy", "check", policy, plan, "dtn://gs1/", "dtn://sat1/", "-d", directory)
    out = tmp_path / "out"
    assert f"report: {out / 'report.html'}" in cli(*asked, "--report", out).out
    assert "nobody has said where" in (out / "report.html").read_text()
    (found,) = cli(*asked, "--report", out, "--places", write_places(tmp_path), "--json").json
    walk = check_page((out / "report.html").read_text())
    words = unescape(walk.all("svg")[0]["aria-label"] or "")
    assert "home: may read, hold and carry it (KR)" in words
    assert "abroad: refused: may not even hold it (XX)" in words
    assert "Best path that is allowed: gs1 to home, home to sat1." in words
    assert "Earlier path, not allowed: gs1 to abroad, abroad to sat1." in words
    assert [node["why"] != "" for node in found["nodes"]] == [True, False, False, False]


def test_check_fails_where_nothing_is_allowed(cli: Cli, files: tuple[Path, Path, Path]) -> None:
    policy, plan, directory = files
    asked = ("policy", "check", policy, plan, "dtn://gs1/", "dtn://sat1/", "-d", directory)
    policy.write_text('transit = "none"')
    ran = cli(*asked)
    assert (ran.code, "no admissible path" in ran.out) == (1, True)
    policy.write_text('readers = "XX"')
    ran = cli(*asked)
    assert (ran.code, "may not be read at its destination" in ran.out) == (1, True)


def test_explain_says_why_not(cli: Cli, files: tuple[Path, Path, Path]) -> None:
    policy, _, directory = files
    ran = cli("policy", "explain", policy, "dtn://abroad/", "-d", directory)
    assert ran.code == 1
    assert "dtn://abroad/ may not hold it: it may rest at 'KR'" in ran.out
    (found,) = cli("policy", "explain", policy, "dtn://home/", "-d", directory, "--json").json
    assert found["carry"] == {"may": True, "why": ""}


def test_a_node_without_a_directory_sends_nothing_under_a_policy(
    cli: Cli, pair: tuple[Path, Path], files: tuple[Path, Path, Path]
) -> None:
    ground, _ = pair
    to = ("send", "dtn://sat/", "--node", ground)
    for policy in ("KR", files[0]):
        for what in (("-m", "hello"), (files[1],)):
            ran = cli(*to, *what, "--policy", policy)
            assert ran.code == 1
            assert "no directory of nodes" in ran.err
    ran = cli("job", "submit", "dtn://sat/", "count", "--node", ground, "--policy", "KR")
    assert (ran.code, "no directory of nodes" in ran.err) == (1, True)
    ran = cli(*to, "-m", "hello", "--policy", "KR &")
    assert (ran.code, "--policy" in ran.err) == (2, True)
    ran = cli(*to, "-m", "hello", "--policy", "none.toml")
    assert (ran.code, "none.toml" in ran.err) == (2, True)
