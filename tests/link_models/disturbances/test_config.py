"""Disturbances in a file: read strictly, named, scoped; and nobody changes another's luck."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.channel import Channel, ChannelConfig, always_up
from link_models.disturbances.config import (
    Disturbance,
    StationPlace,
    applies,
    build_rules,
    fades,
    parse_disturbances,
)
from link_models.rng import Streams
from stack.core.clock import SECOND
from stack.core.errors import ConfigError
from stack.core.train import Train
from tests.strategies.disturbances import ALL, LOSSES, disturbance, disturbances

COUNT = 300


def lost(
    rules: list[dict[str, Any]], seed: int, direction: str = "up", scope: str = ""
) -> set[int]:
    """Which of numbered datagrams a link with these rules loses."""
    config = ChannelConfig(
        windows=always_up(8e6), rules=build_rules(parse_disturbances(rules), scope=scope)
    )
    channel = Channel(config, Streams(seed), direction)
    data = b"".join(number.to_bytes(2, "big") + bytes(598) for number in range(COUNT))
    got = channel.send(Train(data, 600), 0)
    seen = {int.from_bytes(d[:2], "big") for one in got for d in one.train.datagrams()}
    return set(range(COUNT)) - seen


@pytest.mark.slow
@given(disturbances(tuple(LOSSES)), disturbances(tuple(LOSSES)), st.integers(0, 1000))
def test_a_rule_that_is_added_changes_nobodys_luck(
    some: list[dict[str, Any]], others: list[dict[str, Any]], seed: int
) -> None:
    """What a link with both loses is exactly what a link with either loses."""
    names = {one["kind"] for one in some}
    others = [one for one in others if one["kind"] not in names]
    both = lost(some + others, seed)
    assert both == lost(others + some, seed) == lost(some, seed) | lost(others, seed)


def test_a_name_keeps_the_luck_of_a_rule() -> None:
    mine = {"kind": "random", "loss": 0.1, "name": "mine"}
    first = {"kind": "random", "loss": 0.2}
    assert lost([mine, first], 1) == lost([mine], 1) | lost([first], 1)
    assert lost([first, mine], 1) == lost([mine, first], 1)
    # Without names the second of a kind has luck of its own, the first keeps its own.
    second = {"kind": "random", "loss": 0.1}
    assert lost([first], 1) < lost([first, second], 1)
    assert lost([second], 1) != lost([first, second], 1) - lost([first], 1)


@pytest.mark.parametrize("kind", ["outage", "scintillation"])
def test_what_has_a_scope_hits_all_directions_alike(kind: str) -> None:
    rules = [disturbance(kind)]
    assert lost(rules, 3, "up", "pair") == lost(rules, 3, "down", "pair") != set()
    assert lost(rules, 3, "up") != lost(rules, 3, "down")
    assert lost(rules, 3, "up", "pair") != lost(rules, 3, "up", "other pair")


def test_datagrams_have_luck_of_their_own_in_each_direction() -> None:
    rules = [disturbance("random")]
    assert lost(rules, 3, "up", "pair") != lost(rules, 3, "down", "pair")


def test_every_kind_has_an_example_here() -> None:
    tags = {kind.__struct_config__.tag for kind in get_args(Disturbance)}
    assert tags == set(ALL) | {"trace"}


def test_a_table_of_toml() -> None:
    text = """
    [[disturbances]]
    kind = "gilbert-elliott"
    good_s = 4.0
    bad_s = 0.08

    [[disturbances]]
    kind = "outage"
    mtbf_s = 86400
    mttr_s = 600
    stations = ["svalbard"]
    from_s = 3600
    """
    first, second = parse_disturbances(tomllib.loads(text)["disturbances"])
    assert applies(first, station="troll", satellite="sat1", direction="up")
    assert applies(second, station="svalbard", direction="down")
    assert not applies(second, station="troll")
    (down,) = parse_disturbances([{"kind": "random", "loss": 0.1, "direction": "down"}])
    assert [applies(down, direction=one) for one in ("up", "down", "both")] == [False, True, True]
    (sat,) = parse_disturbances([{"kind": "random", "loss": 0.1, "satellites": ["sat1"]}])
    assert [applies(sat, satellite=one) for one in ("sat1", "sat2")] == [True, False]


@pytest.mark.parametrize(
    ("entry", "where", "word"),
    [
        ({"kind": "x"}, ".kind", "'x'"),
        ({"loss": 0.1}, "", "kind"),
        ({"kind": "random"}, "", "loss"),
        ({"kind": "random", "los": 0.1}, "", "los"),
        ({"kind": "random", "loss": "1"}, ".loss", "number"),
        ({"kind": "random", "loss": 1.1}, "", "1.1"),
        ({"kind": "random", "loss": math.nan}, "", "not a number"),
        ({"kind": "random", "loss": 0.1, "from_s": 5, "until_s": 5}, "", "from_s"),
        ({"kind": "random", "loss": 0.1, "from_s": math.nan}, "", "from_s"),
        ({"kind": "bit-errors", "bit_error_rate": 0.1, "overhead_bytes": -1}, "", "overhead"),
        ({"kind": "gilbert-elliott", "good_s": 0, "bad_s": 1}, "", "good_s"),
        ({"kind": "bursts", "loss": 0.5, "burst_packets": 1, "packets_per_s": 9}, "", "burst"),
        ({"kind": "netem-state", "p13": 0.7, "p31": 0, "p14": 0.7}, "", "p13, p14"),
        ({"kind": "blackouts", "spans_s": [[2, 1]]}, "", "sorted"),
        ({"kind": "blackouts", "spans_s": [[1, math.inf]]}, "", "inf is not within"),
        ({"kind": "outage", "mtbf_s": 0, "mttr_s": 1}, "", "mtbf_s"),
        ({"kind": "slots", "period_s": 0}, "", "period_s"),
        ({"kind": "time-slots", "period_ms": 0}, ".period_ms", "0 is not within 1e-06"),
        ({"kind": "time-slots", "period_ms": math.inf}, "", "period_ms"),
        ({"kind": "jitter", "spread_ms": 1, "shape": "odd"}, ".shape", "odd"),
        ({"kind": "reorder", "share": 0.1, "late_ms": 0}, ".late_ms", "0 is not within 1e-06"),
        ({"kind": "duplicate", "share": 2}, ".share", "2 is not within 0 to 1"),
        ({"kind": "corrupt", "share": 0.1, "bits_max": 0}, "", "bits_max"),
        ({"kind": "limit", "bytes_max": -1}, ".bytes_max", "-1 is not within 0"),
        ({"kind": "clouds"}, "", "cloud_fraction"),
        ({"kind": "clouds", "cloud_fraction": 0.5, "clear_s": 1}, "", "cloud_fraction"),
        ({"kind": "clouds", "cloud_fraction": 0.5, "correlation_s": 1}, "", "correlation_s"),
        ({"kind": "clouds", "cloud_fraction": 0.5, "latitude_deg": 1}, "", "both"),
        ({"kind": "scintillation"}, "", "index"),
        ({"kind": "scintillation", "index": 0.1, "rytov_variance": 1}, "", "alone"),
        ({"kind": "jamming", "loss": 2}, ".loss", "2 is not within 0 to 1"),
        ({"kind": "jamming", "fade_db": -1}, "", "fade_db"),
        (
            {
                "kind": "rain-front",
                "start_latitude_deg": 91,
                "start_longitude_deg": 0,
                "heading_deg": 0,
                "peak_db": 1,
            },
            ".start_latitude_deg",
            "latitude",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(entry: dict[str, Any], where: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_disturbances([{"kind": "random", "loss": 0.1}, entry], "forward.disturbances")
    assert caught.value.key.startswith(f"forward.disturbances[1]{where}")
    assert word in str(caught.value)
    first = re.split(r"[\[,]", caught.value.key.removeprefix("forward.disturbances[1]."))[0]
    kinds = {one.__struct_config__.tag: one for one in get_args(Disturbance)}
    kind = kinds.get(entry.get("kind"))
    known = {"kind"} if kind is None else {*kind.__struct_fields__, *entry}
    assert first in known, "the file has such a key"


def test_names_must_differ() -> None:
    twice = [{"kind": "random", "loss": 0.1, "name": "a"}] * 2
    with pytest.raises(ConfigError, match="names two"):
        parse_disturbances(twice)


def test_a_list_is_bounded() -> None:
    with pytest.raises(ConfigError, match="more than"):
        parse_disturbances([{"kind": "limit", "bytes_max": 1, "name": str(i)} for i in range(1001)])


def test_a_trace_is_looked_for_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("packet,lost\n0,1\n1,0\n")
    items = parse_disturbances([{"kind": "trace", "file": "a.csv"}])
    config = ChannelConfig(rules=build_rules(items, folder=tmp_path))
    channel = Channel(config, Streams(1))
    channel.send(Train(bytes(1000), 100), 0)
    assert channel.counters()["lost_datagrams"] == 5
    with pytest.raises(ConfigError, match="No such file"):
        Channel(ChannelConfig(rules=build_rules(items, folder=tmp_path / "else")), Streams(1))


# ---- weather for link budgets ------------------------------------------------------------------

FRONT = {**LOSSES["rain-front"], "kind": "rain-front", "speed_m_s": 14.0}
ZURICH = StationPlace(47.0, 8.0)


def test_fades_add_up_and_keep_their_times() -> None:
    jam = {"kind": "jamming", "fade_db": 7.0, "from_s": 100, "until_s": 200}
    items = parse_disturbances([FRONT, jam, {"kind": "random", "loss": 0.5}])
    at_ns = np.array([0, 99, 100, 199, 200], np.float64) * SECOND
    found = fades(items, Streams(1), place=ZURICH).fade_db(at_ns)
    rain = fades(items[:1], Streams(1), place=ZURICH).fade_db(at_ns)
    assert rain[0] == pytest.approx(10.0)
    assert (found - rain).tolist() == pytest.approx([0, 0, 7, 7, 0])
    assert not fades((), Streams(1), place=ZURICH).fade_db(at_ns).any()


def test_weather_is_either_a_fade_or_a_loss() -> None:
    items = parse_disturbances(
        [FRONT, disturbance("clouds"), {"kind": "jamming", "fade_db": 3.0}, disturbance("random")]
    )
    assert len(build_rules(items, place=ZURICH)) == 4
    assert len(build_rules(items, place=ZURICH, weather=False)) == 1


def test_weather_needs_a_place() -> None:
    items = parse_disturbances([{"kind": "clouds", "cloud_fraction": 0.5}])
    with pytest.raises(ConfigError, match="which place"):
        Channel(ChannelConfig(rules=build_rules(items)), Streams(1))
    Channel(ChannelConfig(rules=build_rules(items, place=ZURICH)), Streams(1))


def test_clouds_are_one_field_for_all_stations() -> None:
    """Two stations at one place have one sky, whatever the scope; and fades and losses agree."""
    items = parse_disturbances([{"kind": "clouds", "cloud_fraction": 0.5, "correlation_s": 600}])
    at_ns = np.arange(0, 86_400, 60, dtype=np.float64) * SECOND
    one, two = (
        fades(items, Streams(1), scope=scope, place=ZURICH).fade_db(at_ns) for scope in ("a", "b")
    )
    assert one.tolist() == two.tolist()
    assert set(one) == {0.0, 100.0}
    rule = build_rules(items, place=ZURICH)[0](Streams(1), "up")
    assert rule.loss is not None
    assert rule.loss.lost_many(at_ns, 1, 1).tolist() == (one > 3).tolist()


def test_the_document_names_every_kind_and_key() -> None:
    text = (Path(__file__).parents[3] / "docs" / "link-channel.md").read_text()
    table = text.split("## Disturbances")[1].split("### From netem")[0]
    rows = {line.split("`")[1]: line for line in table.splitlines() if line.startswith("| `")}
    common = {"name", "from_s", "until_s", "stations", "satellites", "direction"}
    weather = {"margin_db", "latitude_deg", "longitude_deg"}
    for kind in get_args(Disturbance):
        row = rows[str(kind.__struct_config__.tag)]
        keys = set(kind.__struct_fields__) - common - weather
        missing = [key for key in keys if f"`{key}`" not in row]
        assert not missing, f"{row}: {missing}"
    for key in common | weather:
        assert f"`{key}`" in text
