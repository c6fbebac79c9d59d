"""Plans in files: formats are told apart, errors name the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.contacts.files import Format, dump_plan, load_plan
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
    with pytest.raises(ConfigError, match="no format to write"):
        dump_plan(PLAN, tmp_path / "p.xyz")
    with pytest.raises(ConfigError, match="zero"):
        dump_plan(PLAN, tmp_path / "p.hdtn.json")
