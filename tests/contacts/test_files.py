"""Plans in files: formats are told apart, errors name the file."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from stack.contacts.files import Format, dump_plan, load_plan
from stack.contacts.numbers import with_names
from stack.contacts.plan import Contact, Plan, Range
from stack.core.errors import ConfigError

PLAN = Plan(
    [Contact("ipn:1.0", "ipn:2.0", 60_000, 120_000, 8e6)],
    [
        Range("ipn:1.0", "ipn:2.0", 60_000, 120_000, 10**9),
        Range("ipn:2.0", "ipn:1.0", 60_000, 120_000, 10**9),
    ],
)


@pytest.mark.parametrize("name", ["p.json", "p.ionrc", "p.rc", "p.txt", "p.hdtn.json"])
def test_written_by_name_and_read_again(tmp_path: Path, name: str) -> None:
    dump_plan(PLAN, tmp_path / name, reference_ms=60_000)
    plan = load_plan(tmp_path / name, 60_000)
    assert plan.contacts == PLAN.contacts
    assert plan.owlt_ns("ipn:1.0", "ipn:2.0", 60_000) == 10**9


@pytest.mark.parametrize("written", ["json", "hdtn", "ion"])
def test_content_decides_where_the_name_does_not(tmp_path: Path, written: Format) -> None:
    path = tmp_path / "plan"
    dump_plan(PLAN, path, written, 60_000)
    path.write_text("\ufeff\n" + path.read_text("utf-8"), "utf-8")
    assert load_plan(path, 60_000).contacts == PLAN.contacts


def test_hdtn_plan_with_our_suffix(tmp_path: Path) -> None:
    dump_plan(PLAN, tmp_path / "contactPlan.json", "hdtn", 0)
    assert load_plan(str(tmp_path / "contactPlan.json")).contacts == PLAN.contacts


def test_toml(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('format = "orbitferry-contact-plan-1"\n')
    assert load_plan(path) == Plan()


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "p.ionrc"
    for content in (b"a contact", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"p\.ionrc"):
            load_plan(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_plan(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="cannot be written"):
        dump_plan(PLAN, tmp_path / "no" / "p.json")
    with pytest.raises(ConfigError, match="cannot be written"):
        dump_plan(PLAN, path / "p.json")
    with pytest.raises(ConfigError, match="no format to write"):
        dump_plan(PLAN, tmp_path / "p.xyz")
    with pytest.raises(ConfigError, match="zero"):
        dump_plan(PLAN, tmp_path / "p.hdtn.json")


NAMED = Plan(
    [
        Contact("dtn://sat1/", "dtn://gs1/", 60_000, 120_000, 8e6),
        Contact("dtn://gs1/", "ipn:1.0", 60_000, 120_000, 8e6),
    ],
    [Range("dtn://sat1/", "dtn://gs1/", 60_000, 120_000, 10**9)],
)


@pytest.mark.parametrize("name", ["p.ionrc", "p.hdtn.json"])
def test_names_become_numbers_and_names_again(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    numbers = dump_plan(NAMED, path, reference_ms=0)
    # In order of their names, and 1 is taken.
    assert numbers == {"dtn://gs1/": 2, "dtn://sat1/": 3}
    plan = load_plan(path)
    assert plan.nodes == ("ipn:1.0", "ipn:2.0", "ipn:3.0")
    assert with_names(plan, numbers).contacts == NAMED.contacts
    if name.endswith("rc"):
        assert "# node 2 is dtn://gs1/\n# node 3 is dtn://sat1/\n" in path.read_text()
    else:
        assert json.loads((tmp_path / "p.hdtn.json.nodes.json").read_text()) == numbers


def test_numbers_can_be_given(tmp_path: Path) -> None:
    given = {"dtn://sat1/": 40, "dtn://unused/": 1}
    path = tmp_path / "p.ionrc"
    assert dump_plan(NAMED, path, None, 0, given) == {"dtn://gs1/": 2, "dtn://sat1/": 40}
    assert " 40 2 " in path.read_text()
    for wrong in (0, 1, 1 << 32):
        with pytest.raises(ConfigError, match="sat1"):
            dump_plan(NAMED, path, None, 0, {"dtn://sat1/": wrong})
    with pytest.raises(ConfigError, match="both"):
        dump_plan(NAMED, path, None, 0, {"dtn://sat1/": 7, "dtn://gs1/": 7})


def test_numbered_plans_and_ours_have_no_list_of_numbers(tmp_path: Path) -> None:
    assert dump_plan(PLAN, tmp_path / "a.hdtn.json", reference_ms=60_000) == {}
    assert dump_plan(NAMED, tmp_path / "b.json") == {}
    assert {path.name for path in tmp_path.iterdir()} == {"a.hdtn.json", "b.json"}


def test_a_plan_is_there_whole_or_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.json"
    dump_plan(PLAN, path)
    path.chmod(0o640)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(ConfigError, match="No space left"):
            dump_plan(NAMED, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    dump_plan(NAMED, path)
    assert load_plan(path) == NAMED
    assert path.stat().st_mode & 0o777 == 0o640
