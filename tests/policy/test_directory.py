"""A directory of nodes says of each whose it is, and its errors say what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.core.eid import Eid
from stack.core.errors import ConfigError
from stack.policy import DataPolicy, NodeSet, PolicyGate
from stack.policy.directory import Directory, NodeFacts
from stack.policy.file import load_directory

TEXT = """
[[node]]
id = "dtn://daejeon/"
domain = "kari"
jurisdictions = ["KR"]
roles = ["compute"]

[[node]]
id = "dtn://kiruna/"
jurisdictions = ["SE", "EU"]
"""


def written(path: Path, text: str) -> Path:
    file = path / "nodes.toml"
    file.write_text(text)
    return file


def test_a_directory_is_read(tmp_path: Path) -> None:
    directory = load_directory(written(tmp_path, TEXT))
    assert len(directory) == 2
    found = directory.get("dtn://kiruna/")
    assert found is not None
    assert found.jurisdictions == {"SE", "EU"}
    assert directory.get("dtn://svalbard/") is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"KR"', '"kr"', "capitals"),
        ('"KR"', '"Korea"', "capitals"),
        ('"dtn://daejeon/"', '"dtn://daejeon/files"', 'write "dtn://daejeon/"'),
        ('"dtn://daejeon/"', '"daejeon"', "id"),
        ('"dtn://daejeon/"', '"dtn://kiruna/"', "node"),
        ('"kari"', '"a b"', "letters"),
        ("domain", "domains", "domain"),
        ('id = "dtn://daejeon/"', "", "is missing"),
        ("[[node]]", "[[nodes]]", "right file"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_directory(written(tmp_path, TEXT.replace(old, new)))


def test_what_a_node_may_do_follows_from_the_directory(tmp_path: Path) -> None:
    directory = load_directory(written(tmp_path, TEXT))
    policy = DataPolicy(readers=NodeSet.parse("KR"), rest=NodeSet.parse("KR | EU"))
    korean, swedish = (PolicyGate(directory, f"dtn://{name}/") for name in ("daejeon", "kiruna"))
    assert korean.refusal(policy, delivered=True) == ""
    assert "read at 'KR', not here (dtn://kiruna/: 'EU, SE')" in swedish.refusal(
        policy, delivered=True
    )
    assert swedish.refusal(policy, delivered=False) == ""
    stranger = PolicyGate(directory, "dtn://nobody/")
    assert "nothing is known of dtn://nobody/" in stranger.refusal(DataPolicy(), delivered=False)
    nodes = ["dtn://daejeon/", "dtn://kiruna/", "dtn://nobody/"]
    closed = DataPolicy(transit=NodeSet.parse("KR"))
    barred = korean.barred(closed, "dtn://kiruna/", lambda: nodes, 1)
    assert barred == {"dtn://nobody/"}, "a destination need not pass anything on"
    barred = korean.barred(closed, "dtn://nobody/", lambda: nodes, 1)
    assert barred == {"dtn://kiruna/", "dtn://nobody/"}
    open_to_all = korean.barred(DataPolicy(), "dtn://nobody/", lambda: nodes, 1)
    assert "dtn://kiruna/" not in open_to_all, "each policy has its own"
    assert korean.barred(closed, "dtn://nobody/", lambda: nodes[:1], 2) == {"dtn://nobody/"}


def test_a_new_directory_changes_every_answer(tmp_path: Path) -> None:
    """What was answered by the one before is not answered again."""
    directory = load_directory(written(tmp_path, TEXT))
    policy = DataPolicy(readers=NodeSet.parse("KR"), rest=NodeSet.parse("KR | EU"))
    gate = PolicyGate(directory, "dtn://daejeon/")

    def answers() -> tuple[object, ...]:
        return (
            *(gate.refusal(policy, delivered=delivered) for delivered in (True, False)),
            gate.refusal(policy, delivered=False, origin=True),
            gate.may_read(policy, "dtn://daejeon/"),
            gate.barred(policy, "dtn://daejeon/", lambda: ["dtn://kiruna/"], 1),
        )

    before = answers()
    gate.follow(Directory())
    assert all(old != new for old, new in zip(before, answers(), strict=True))
    gate.follow(directory)
    assert answers() == before


def test_who_carries_also_holds(tmp_path: Path) -> None:
    """To be in `transit` is not enough: what is forwarded is stored first."""
    gate = PolicyGate(load_directory(written(tmp_path, TEXT)), "dtn://daejeon/")
    policy = DataPolicy(rest=NodeSet.parse("KR"), transit=NodeSet.parse("KR | EU"))
    assert not gate.may_carry(policy, "dtn://kiruna/")
    assert gate.may_carry(policy, "dtn://daejeon/")


def test_who_reads_also_holds(tmp_path: Path) -> None:
    """To be among the `readers` is not enough: what is delivered is stored first."""
    gate = PolicyGate(load_directory(written(tmp_path, TEXT)), "dtn://daejeon/")
    policy = DataPolicy(readers=NodeSet.parse("KR | EU"), rest=NodeSet.parse("KR"))
    assert not gate.may_read(policy, "dtn://kiruna/")
    assert gate.may_read(policy, "dtn://daejeon/")


def test_nodes_of_a_new_plan_are_judged_too(tmp_path: Path) -> None:
    gate = PolicyGate(load_directory(written(tmp_path, TEXT)), "dtn://daejeon/")
    policy = DataPolicy(transit=NodeSet.parse("KR"))
    here = "dtn://daejeon/"
    assert gate.barred(policy, here, lambda: [here], 1) == set()
    assert gate.barred(policy, here, lambda: [here, "dtn://kiruna/"], 2) == {"dtn://kiruna/"}


def test_that_data_was_made_here_does_not_let_others_pass(tmp_path: Path) -> None:
    """A node outside `transit` may send what it makes, and passes on nothing."""
    gate = PolicyGate(load_directory(written(tmp_path, TEXT)), "dtn://kiruna/")
    policy = DataPolicy(transit=NodeSet.parse("KR"))
    assert gate.refusal(policy, delivered=False, origin=True) == ""
    assert "it may pass through 'KR'" in gate.refusal(policy, delivered=False)


def test_a_jurisdiction_is_a_whole_name() -> None:
    part = NodeFacts(Eid.parse("dtn://a/"), jurisdictions=frozenset({"US-CA"}), domain="kari-2")
    assert not NodeSet.parse("US").holds(part)
    assert not NodeSet.parse("domain:kari").holds(part)
    assert NodeSet.parse("US-CA & domain:kari-2").holds(part)
