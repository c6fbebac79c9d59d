"""`orbitferry policy`, and sending under a policy."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import pytest

from stack.contacts.files import dump_plan
from stack.contacts.plan import Contact, Plan
from stack.core.clock import dtn_from_iso
from stack.policy.file import load_policy, parse_policy
from stack.policy.label import decode_label
from tests.cli.helpers import Cli, running_node, write_config, write_places
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


def test_check_says_what_may_not_even_leave(cli: Cli, files: tuple[Path, Path, Path]) -> None:
    policy, plan, directory = files
    policy.write_text('readers = "XX"\nrest = "XX"\n')
    asked = ("policy", "check", policy, plan, "dtn://gs1/", "dtn://abroad/", "-d", directory)
    ran = cli(*asked)
    assert ran.code == 1
    assert "it may not leave from there: it may rest at 'XX', not here" in " ".join(ran.out.split())
    (found,) = cli(*asked, "--json").json
    assert found["route"] is None
    assert not [node for node in found["nodes"] if node["reached"]]


@pytest.mark.parametrize(
    ("node", "words"), [("dtn://sat1", "a node id is"), ("dtn://sat1/app", 'mean "dtn://sat1/"')]
)
def test_explain_takes_node_ids_alone(
    cli: Cli, files: tuple[Path, Path, Path], node: str, words: str
) -> None:
    policy, _, directory = files
    ran = cli("policy", "explain", policy, node, "-d", directory)
    assert ran.code == 2
    assert words in ran.err


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


NOT_AT = "it may rest at '{}', not here (dtn://home/: 'KR')"
NO_FACTS = "it may {} 'KR', not {} (dtn://nowhere/, without jurisdiction, domain or role)"
UNNAMED = (
    "nothing is known of dtn://stranger/: name it in the directory of nodes, or bring its"
    " certificate (`orbitferry domain export`)"
)
ENDED = "it ended 2020-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("policy", "node", "read", "hold", "carry"),
    [
        ("", "home", "", "", ""),
        ('readers = "KR"\nrest = "KR"\ntransit = "KR"', "home", "", "", ""),
        (
            'readers = "EU"',
            "home",
            "it may be read at 'EU', not here (dtn://home/: 'KR')",
            "",
            "",
        ),
        ('rest = "EU"', "home", *3 * [NOT_AT.format("EU")]),
        ('rest = "none"\ntransit = "none"', "home", *3 * [NOT_AT.format("none")]),
        (
            'transit = "EU"',
            "home",
            "",
            "",
            "it may pass through 'EU', not through here (dtn://home/: 'KR')",
        ),
        ('expires = "2999-01-01T00:00:00Z"', "home", "", "", ""),
        ('expires = "2020-01-01T00:00:00Z"', "home", *3 * [ENDED]),
        ('rest = "EU"\nexpires = "2020-01-01T00:00:00Z"', "home", *3 * [ENDED]),
        ('rest = "KR"', "nowhere", *3 * [NO_FACTS.format("rest at", "here")]),
        ('readers = "KR"', "nowhere", NO_FACTS.format("be read at", "here"), "", ""),
        ('transit = "KR"', "nowhere", "", "", NO_FACTS.format("pass through", "through here")),
        ("", "nowhere", "", "", ""),
        ("", "stranger", *3 * [UNNAMED]),
    ],
)
def test_explain_has_words_for_each_reason(
    cli: Cli,
    files: tuple[Path, Path, Path],
    policy: str,
    node: str,
    read: str,
    hold: str,
    carry: str,
) -> None:
    path, _, directory = files
    path.write_text(policy)
    directory.write_text(DIRECTORY + '\n[[node]]\nid = "dtn://nowhere/"\n')
    asked = ("policy", "explain", path, f"dtn://{node}/", "-d", directory)
    (found,) = cli(*asked, "--json").json
    why = {"read": read, "hold": hold, "carry": carry}
    shown = {verb: {"may": not words, "why": words} for verb, words in why.items()}
    assert found == {"node": f"dtn://{node}/"} | shown
    ran = cli(*asked)
    assert ran.code == (1 if read and hold and carry else 0)
    for verb, words in why.items():
        line = f"dtn://{node}/ may not {verb} it: {words}" if words else f"may {verb} it"
        assert line in " ".join(ran.out.split())


@pytest.mark.parametrize(
    ("expires", "words"),
    [
        ("2026-11-30T23:59:59Z", "it ended 2026-11-30T23:59:59.000Z"),
        ("2026-12-01T00:30:00Z", "no admissible path; with rest at and transit through XX it"),
        ("2026-12-01T01:30:00Z", "arrives 2026-12-01T01:00:00"),
    ],
)
def test_check_counts_no_path_that_ends_after_the_policy(
    cli: Cli, files: tuple[Path, Path, Path], expires: str, words: str
) -> None:
    policy, plan, directory = files
    policy.write_text(f'{FAMILY}expires = "{expires}"')
    at = "2026-12-01T00:00:00Z"
    asked = ("dtn://gs1/", "dtn://sat1/", "-d", directory, "--at", at)
    ran = cli("policy", "check", policy, plan, *asked)
    assert words in " ".join(ran.out.split())
    assert ran.code == (0 if words.startswith("arrives") else 1)


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
            assert "bug" not in ran.err
    ran = cli("job", "submit", "dtn://sat/", "count", "--node", ground, "--policy", "KR")
    assert (ran.code, "no directory of nodes" in ran.err) == (1, True)
    ran = cli(*to, "-m", "hello", "--policy", "KR &")
    assert (ran.code, "--policy" in ran.err) == (2, True)
    ran = cli(*to, "-m", "hello", "--policy", "none.toml")
    assert (ran.code, "none.toml" in ran.err) == (2, True)


def test_what_cannot_be_sent_is_refused_at_once(cli: Cli, tmp_path: Path) -> None:
    """Without --wait, and whatever is sent: what its data policy does not let go there, by words
    that say what is missing, and what no key protects."""
    names = tmp_path / "nodes.toml"
    names.write_text(DIRECTORY)
    path = write_config(tmp_path, "gs1", extra=f'[policy]\ndirectory = "{names}"')
    keys = tmp_path / "keys.toml"
    keys.write_text(keys.read_text().replace('"*"', '"dtn://gs1/", "dtn://abroad/"'))
    abroad, home = "dtn://abroad/", "dtn://home/"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("x")
    with running_node(path):
        for to, policy, words in (
            (abroad, "KR", "it may be read at 'KR' and rest at 'KR', not at dtn://abroad/: 'XX'"),
            (home, "KR", "serves dtn://home/"),
        ):
            for asked in (
                ("send", to, "-m", "hello"),
                ("send", to, names),
                ("send", to, folder),
                ("send", to, names, "--as-message"),
                ("job", "submit", to, "count", names),
            ):
                ran = cli(*asked, "--policy", policy, "-n", path)
                assert (ran.code, ran.out, words in ran.err) == (1, "", True), ran
        assert cli("transfers", "list", "--all", "--json", "-n", path).json == []
        assert cli("job", "list", "--all", "--json", "-n", path).json == []


def test_whoever_receives_is_told_the_policy_of_what_he_gets(cli: Cli, tmp_path: Path) -> None:
    names = tmp_path / "nodes.toml"
    names.write_text(DIRECTORY)
    policy = tmp_path / "family.toml"
    policy.write_text(
        f'{FAMILY}expires = "2999-01-01"\naudit = false\n'
        '[[marking]]\npolicy_id = "KARI"\nclassification = "SECRET"\ncategories = ["SPACE"]\n'
    )
    extra = f'[policy]\ndirectory = "{names}"\n[agent]\ntrusted_clock = true'
    path = write_config(tmp_path, "gs1", extra=extra)
    at, to = ("-n", path), ("send", "dtn://gs1/", "--policy", policy)
    take = ("receive", *at, "-c", 1, "--timeout", "30s")
    line = (
        "  under a data policy: readers KR; rest KR; transit any - XX; "
        "until 2999-01-01T00:00:00.000Z; KARI SECRET SPACE\n"
    )
    with running_node(path):
        for what in (("-m", "hello"), (names,)):
            cli(*to, *what, *at)
            (event,) = cli(*take, "--json").json
            label = event["policy"].pop("label")
            assert parse_policy(event["policy"], 0) == load_policy(policy, 0)
            assert decode_label(bytes.fromhex(label)) == load_policy(policy, 0)
            cli(*to, *what, *at)
            ran = cli(*take)
            assert ran.out.endswith(line), ran
            cli("send", "dtn://gs1/", *what, *at)
            assert cli(*take, "--json").json[0]["policy"] is None
        cli(*to, "-m", "hello", *at)
        ran = cli(*take, "--raw")
        assert (ran.out, ran.err) == ("hello", line)
        (job,) = cli("job", "submit", "dtn://gs1/", "x", *to[2:], *at, "--json").json
        assert job["policy"]["readers"] == "KR"
        assert line in cli("job", "status", job["id"], *at).out


@pytest.mark.slow
def test_a_directory_is_read_anew(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = Path("nodes.toml")
    names.write_text(DIRECTORY)
    path = write_config(tmp_path, "gs1", extra='[policy]\ndirectory = "nodes.toml"')
    with running_node(path):
        again = cli("policy", "reload", "-n", path)
        assert "the node knows 4 nodes, the same as before" in again.out
        names.write_text(DIRECTORY.replace("XX", "SE").replace("home", "hut"))
        would = cli("policy", "reload", "--dry-run", "-n", path)
        news = (
            "4 nodes, new: dtn://hut/; gone: dtn://home/; changed: dtn://abroad/ from 'XX' to 'SE'"
        )
        assert f"the node would know {news}" in would.out
        told = cli("policy", "reload", "-n", path, "--json").json[0]
        assert (told["new"], told["gone"]) == (["dtn://hut/"], ["dtn://home/"])
        assert told["changed"] == [{"node": "dtn://abroad/", "before": "XX", "now": "SE"}]
        assert told["dry_run"] is False
        names.write_text("[[node]")
        wrong = cli("policy", "reload", "-n", path)
        assert (wrong.code, "nodes.toml" in wrong.err, "line 1" in wrong.err) == (2, True, True)
        assert "the same as before" in cli("keys", "reload", "-n", path).out
