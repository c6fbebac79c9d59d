"""Scenarios are checked whole, and say what is wrong and where."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.cli.config.scenario import examples
from stack.core.errors import ConfigError
from stack.simulator.scenario import load_scenario, parse_scenario

HERE = Path(__file__).parents[1] / "loopback"
ROOT = HERE.parents[2]
SMALL = HERE / "small.toml"
DATA: dict[str, Any] = tomllib.loads(SMALL.read_text())

WRONG = [
    ('title = "Three hours"', 'titel = "Three hours"', "small.toml:2: titel", "title"),
    ("duration_h = 3", "duration_h = 0", "small.toml:4: duration_h", ""),
    ('start = "2026-10-01T00:00:00Z"', 'start = "soon"', "small.toml:3: start", "2026"),
    ("seed = 5", 'seed = "five"', "small.toml:5: seed", ""),
    (
        'id = "dtn://north/"',
        'id = "dtn://north/files"',
        "an endpoint, not a node",
        'did you mean "dtn://north',
    ),
    ('id = "dtn://south/"', 'id = "dtn://north/"', "used twice", ""),
    ("fec = { k = 32, r = 8 }", "", "one direction has it", "give both"),
    ("k = 32", "k = 300", "fec.k: 300 is not within 1 to 255", ""),
    ("good_s = 2.0, ", "", "good_s", ""),
    ("gilbert-elliott", "gilbert", "'gilbert' is unknown", "did you mean 'gilbert-elliott'"),
    ("bad_s = 0.05", "bad_s = 0.05, worse = 1", "worse: unknown key", ""),
    ("rates = [[5.0, 4_000_000.0]]", 'preset = "z-band"', "unknown", "s-band-up"),
    ("rates = [[5.0, 4_000_000.0]]", "", "one of preset", "s-band-up"),
    ("at_s = 10", "at_s = 10_800", "outside of the run", ""),
    ("part = 1", "part = 3", "part is above parts", ""),
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


EXAMPLES = sorted((ROOT / "examples").glob("*/scenario.toml"))


def test_the_examples_are_there() -> None:
    names = {path.parent.name for path in EXAMPLES}
    assert {"one_station", "relay_ring", "sso_day", "weather_day"} <= names


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_examples_are_fine(path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.radios_by_pair()
    assert scenario.tasks or scenario.traffic


NETWORK = """
title = "Network"
start = "2026-10-01T00:00:00Z"
[[stations]]
id = "dtn://north/"
latitude_deg = 78.0
longitude_deg = 15.0
[[constellations]]
id = "dtn://r{}/"
count = 6
planes = 2
[[crosslinks]]
topology = "grid"
among = ["dtn://r{}/"]
link = { rates = [[0, 1e9]] }
[[radios]]
satellites = ["dtn://r{}/"]
[radios.up]
rates = [[5, 1e6]]
[radios.down]
radio = { frequency_hz = 8.2e9, symbol_rate_hz = 5e6, modes = ["dvb-s2 qpsk 1/2"], \
transmit = { power_w = 2, gain_dbi = 6 }, receive = { diameter_m = 5, noise_k = 150 } }
[[disturbances]]
kind = "jamming"
from_s = 100
until_s = 200
satellites = ["dtn://r3/"]
""".replace("\\\n", "")

WRONG_NETWORK = [
    ("count = 6", "count = 7", "must divide", ""),
    ("r{}/", "r/", "needs one {}", "dtn://relay{}/"),
    ("r{}/", "r{}/{x}", "an endpoint, not a node", 'did you mean "dtn://r1/"'),
    ('among = ["dtn://r{}/"]', "", "of one constellation", ""),
    ('among = ["dtn://r{}/"]', 'among = ["dtn://s{}/"]', "none of the satellites", ""),
    ('topology = "grid"', 'topology = "pairs"', 'go with topology "pairs"', ""),
    ('topology = "grid"', 'topology = "star"', "invalid enum value 'star'", ""),
    ('satellites = ["dtn://r3/"]', 'satellites = ["dtn://r7/"]', "none of the satellites", ""),
    ("until_s = 200", "until_s = 20", "until_s", ""),
    (
        '"jamming"',
        '"outage"\nmtbf_s = 1e308\nmttr_s = 1',
        "mtbf_s: 1e+308 is not within 1e-06 to",
        "",
    ),
    (
        '"jamming"',
        '"netem-gemodel"\np = 1e-300\nr = 1e-300\npackets_per_s = 0.001',
        "too small together",
        "",
    ),
    ("dvb-s2 qpsk 1/2", "dvb-s2 qpsk 1/7", "is unknown", "families"),
    ("noise_k = 150", "noise_k = -1", "noise_k", ""),
    ("[[5, 1e6]]", "[[5, 1e6], [4, 2e6]]", "elevations must rise", ""),
]


def test_constellations_and_budgets_are_read() -> None:
    scenario = parse_scenario(tomllib.loads(NETWORK), HERE)
    assert [one.id for one in scenario.spacecraft()] == [f"dtn://r{n}/" for n in range(1, 7)]
    assert scenario.group("dtn://r{}/") == scenario.group("satellites")
    radios = scenario.radios_by_pair()
    assert set(radios) == {("dtn://north/", f"dtn://r{n}/") for n in range(1, 7)}
    assert radios["dtn://north/", "dtn://r1/"].down.rate_max_bps == pytest.approx(5e6, rel=0.05)


@pytest.mark.parametrize(("old", "new", "says", "remedy"), WRONG_NETWORK)
def test_what_is_wrong_in_a_network_is_named(old: str, new: str, says: str, remedy: str) -> None:
    assert old in NETWORK
    text = NETWORK.replace(old, new) if old == "r{}/" else NETWORK.replace(old, new, 1)
    with pytest.raises(ConfigError) as caught:
        parse_scenario(tomllib.loads(text), HERE)
    assert says in str(caught.value)
    assert remedy in str(caught.value)


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
    st.sampled_from([0, 1, -1, 1e-300, 1e308, float("inf"), float("nan"), 10**30]),
    st.sampled_from(
        ["dtn://north/", "dtn://sat1/", "ipn:5.0", "dtn:none", "2026-01-01", "{}{}", "dtn://{}/{x}"]
    ),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)


EVERYTHING: dict[str, Any] = tomllib.loads(examples())
"""Every section, own budgets of radio and optics, and every kind of disturbance."""


def changed(data: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A scenario with one to three places changed into something."""
    places = st.tuples(st.sampled_from(paths(data)), VALUES)
    return st.lists(places, min_size=1, max_size=3).map(lambda found: with_changes(data, found))


def with_changes(
    original: dict[str, Any], changes: list[tuple[tuple[Any, ...], Any]]
) -> dict[str, Any]:
    """A copy with other values at some places."""
    data = copy.deepcopy(original)
    for path, value in changes:
        table: Any = data
        try:
            for key in path[:-1]:
                table = table[key]
            table[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took that place away
    return data


@given(st.one_of(changed(DATA), changed(EVERYTHING)))
def test_whatever_is_written_only_config_errors_come(data: dict[str, Any]) -> None:
    try:
        scenario = parse_scenario(data, HERE)
    except ConfigError:
        return
    assert [one.id for one in scenario.stations] == [one["id"] for one in data["stations"]]
