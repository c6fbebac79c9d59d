"""Scenarios are checked whole, and say what is wrong and where."""

from __future__ import annotations

import contextlib
import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.loopback import load_scenario, parse_scenario
from stack.core.errors import ConfigError

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SMALL = HERE / "small.toml"
DATA: dict[str, Any] = tomllib.loads(SMALL.read_text())

WRONG = [
    ('title = "Three hours"', 'titel = "Three hours"', "small.toml:2: titel", "title"),
    ("duration_h = 3", "duration_h = 0", "small.toml:4: duration_h", ""),
    ('start = "2026-10-01T00:00:00Z"', 'start = "soon"', "small.toml:3: start", "2026"),
    ("seed = 5", 'seed = "five"', "small.toml:5: seed", ""),
    ('id = "dtn://north/"', 'id = "dtn://north/files"', "no node id", 'did you mean "dtn://north'),
    ('id = "dtn://south/"', 'id = "dtn://north/"', "used twice", ""),
    ("fec = { k = 32, r = 8 }", "", "one direction has it", "give both"),
    ("k = 32", "k = 300", "k", "64 is usual"),
    ("good_s = 2.0, ", "", "one without the other", "give both"),
    ("rates = [[5.0, 4_000_000.0]]", 'preset = "z-band"', "unknown", "s-band-up"),
    ("rates = [[5.0, 4_000_000.0]]", "", "preset or rates", "s-band-up"),
    ("at_s = 10", "at_s = 10_800", "outside of the run", ""),
    ("part = 1", "part = 3", "1 <= part <= parts", ""),
    ('code = "handlers.py"', "", "jobs need handlers", ""),
    ('name = "second"', 'name = "first"', "'first' is used twice", ""),
    ("mean_s = 10", 'mean_s = 10\nshape = "square"', "shape", ""),
]


@pytest.mark.parametrize(("old", "new", "says", "remedy"), WRONG, ids=[w[1] or w[0] for w in WRONG])
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, says: str, remedy: str) -> None:
    text = SMALL.read_text()
    assert old in text
    path = tmp_path / "small.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_scenario(path)
    assert says in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"= 1", b""])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.toml"):
        load_scenario(path)
    with pytest.raises(ConfigError, match="No such file"):
        load_scenario(tmp_path / "none.toml")


def test_the_examples_are_fine() -> None:
    found = sorted((ROOT / "examples").glob("*/scenario.toml"))
    assert found
    for path in found:
        load_scenario(path)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested tables and arrays."""
    found = [at] if at else []
    entries = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in entries:
        found += paths(inner, (*at, key))
    return found


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["dtn://north/", "dtn://sat1/", "ipn:5.0", "dtn:none", "2026-01-01"]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)


@given(st.lists(st.tuples(st.sampled_from(paths(DATA)), VALUES), min_size=1, max_size=3))
def test_whatever_is_written_only_config_errors_come(
    changes: list[tuple[tuple[Any, ...], Any]],
) -> None:
    data = copy.deepcopy(DATA)
    for path, value in changes:
        table: Any = data
        try:
            for key in path[:-1]:
                table = table[key]
            table[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took that place away
    with contextlib.suppress(ConfigError):
        parse_scenario(data, HERE)
