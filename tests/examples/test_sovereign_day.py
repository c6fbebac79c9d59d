"""The example with two jurisdictions and a relay abroad."""

from __future__ import annotations

import ast
from html import unescape
from pathlib import Path

import pytest

from examples.sovereign_day import day
from examples.sovereign_day.run import main


@pytest.mark.slow
def test_data_and_job_go_where_they_may(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(tmp_path)
    output = capsys.readouterr().out
    assert status == 0, output
    for name in ("kiruna", "busan"):
        assert f"not at dtn://{name}/" in output
    assert "after 0.0 h: b'for everybody'; the relay abroad was given 1 bundle(s)" in output
    assert "after 1.0 h: b'for KR'; the relay abroad was given 1 bundle(s)" in output
    assert "the job has made A SCENE OF OUR OWN" in output
    assert "abroad has no log" in output
    story, _, proof = output.partition("never rested outside 'KR | SE'")
    assert "dtn://kiruna/   received, stored" in story
    assert proof
    assert "dtn://abroad/" not in proof
    before, after = ((tmp_path / name).read_text() for name in ("report.html", "story.html"))
    assert "Earlier path, not allowed: daejeon to abroad, abroad to sat1." in unescape(before)
    assert "Who gave it to whom: daejeon to kiruna, kiruna to sat1." in unescape(after)
    assert "abroad: did not have it, and may not (XX)" in unescape(after)


def test_the_day_is_short_and_needs_orbitferry_alone() -> None:
    source = Path(day.__file__).read_text()
    assert len([line for line in source.splitlines() if line.strip()]) < 40
    imports = [one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.Import)]
    assert [alias.name for one in imports for alias in one.names] == ["orbitferry"]
    froms = [one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.ImportFrom)]
    assert {one.module for one in froms} == {"pathlib"}
