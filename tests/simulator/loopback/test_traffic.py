"""Generated traffic: everything arrives and is compared, and what goes wrong is told."""

from __future__ import annotations

import copy
import dataclasses
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stack.core.errors import ConfigError, StoreError
from stack.node.application import LocalEndpoint, LocalPort
from stack.ports.application import Delivery
from stack.ports.store import Write
from stack.simulator import Result, run_scenario
from stack.simulator.loopback.traffic import times_within
from stack.simulator.scenario import Scenario, parse_scenario

HERE = Path(__file__).parent
SMALL = HERE / "small.toml"
UP = {
    "name": "up",
    "count": 40,
    "size_bytes": [1, 50_000],
    "source": "stations",
    "destination": "satellites",
    "over_s": 5000.0,
}
DOWN = UP | {"name": "down", "source": "satellites", "destination": "stations", "at_s": 10.0}


def busy(*tasks: dict[str, Any], **changes: Any) -> Scenario:
    """The small scenario with nothing but traffic."""
    data = copy.deepcopy(tomllib.loads(SMALL.read_text()))
    for key in ("jobs", "messages", "code"):
        del data[key]
    return parse_scenario(data | {"traffic": list(tasks)} | changes, HERE)


@pytest.fixture(scope="module")
def both() -> Result:
    return run_scenario(busy(UP, DOWN))


def test_everything_arrives_as_it_was_sent(both: Result) -> None:
    assert both.ok, both.problems
    for row in both.traffic:
        assert (row.handed_over, row.arrived, row.refused, row.wrong) == (40, 40, 0, 0)
        assert row.bytes_sent == row.bytes_arrived > 0
        assert row.p50_s is not None
        assert row.max_s is not None
        latencies = both.series.latency_s[row.task]
        assert len(latencies) == 40
        assert 0 < latencies.min() <= row.p50_s <= row.max_s == latencies.max() <= both.ended_s
    assert both.ended_s < both.duration_s, "the run ends when all has arrived"


def test_the_same_seed_gives_the_same_bundles(both: Result) -> None:
    again = run_scenario(busy(UP, DOWN))
    assert again.to_json() == both.to_json()
    other = run_scenario(busy(UP, DOWN), seed=6)
    assert [row.bytes_sent for row in other.traffic] != [row.bytes_sent for row in both.traffic]


def test_bursts_change_times_by_about_their_length(both: Result) -> None:
    burst_s = 0.5
    fast = run_scenario(busy(UP, DOWN, burst_ms=1000 * burst_s))
    assert fast.ok, fast.problems
    for task in ("up", "down"):
        apart = np.abs(fast.series.latency_s[task] - both.series.latency_s[task])
        # A bundle behind others waits for their bursts too; none waits for another pass.
        assert np.median(apart) < 4 * burst_s
        assert apart.max() < 60


def test_what_did_not_arrive_is_a_problem_unless_it_may(both: Result) -> None:
    late = UP | {"at_s": 10_799.0, "over_s": 0.0}
    result = run_scenario(busy(late))
    assert not result.ok
    assert result.problems == (
        "traffic up: 0 of 40 bundles arrived, 0 wrong ones, 0 were refused for want of room",
    )
    assert result.traffic[0].p50_s is None
    assert result.ended_s == result.duration_s
    assert run_scenario(busy(late | {"share_min": 0.0})).ok


def test_a_full_store_refuses_and_the_run_ends_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, calls = LocalPort.commit, 0

    async def full(
        port: LocalPort,
        *,
        consume: Sequence[Delivery] = (),
        write: Sequence[Write] = (),
        send: Sequence[Any] = (),
    ) -> Any:
        nonlocal calls
        calls += bool(send)
        if send and calls % 4 == 0:
            raise StoreError("no room")
        return await real(port, consume=consume, write=write, send=send)

    monkeypatch.setattr(LocalPort, "commit", full)
    result = run_scenario(busy(UP))
    (row,) = result.traffic
    assert (row.handed_over, row.refused, row.arrived) == (30, 10, 30)
    assert not result.ok
    assert result.ended_s < result.duration_s


@pytest.mark.parametrize("what", ["altered", "twice", "exchanged"])
def test_deliveries_that_are_wrong_are_noticed(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    real = LocalEndpoint.receive_many
    before: list[Delivery] = []

    async def tampered(endpoint: LocalEndpoint, limit: int) -> list[Delivery]:
        found = await real(endpoint, limit)
        if endpoint.eid.service != "traffic":
            return found
        first = found[0]
        if what == "altered":
            content = bytearray(first.payload)
            content[-1] ^= 1
            return [dataclasses.replace(first, payload=bytes(content)), *found[1:]]
        if what == "twice":
            return [first, *found]
        before.append(first)
        return [dataclasses.replace(first, payload=before[len(before) // 2].payload), *found[1:]]

    monkeypatch.setattr(LocalEndpoint, "receive_many", tampered)
    result = run_scenario(busy(UP))
    assert result.traffic[0].wrong > 0
    assert not result.ok


def test_between_any_nodes_and_with_numbers() -> None:
    text = SMALL.read_text()
    for name, number in (("north", 1), ("south", 2), ("sat1", 3)):
        text = text.replace(f"dtn://{name}/", f"ipn:{number}.0")
    data = tomllib.loads(text)
    for key in ("jobs", "messages", "code"):
        del data[key]
    data["traffic"] = [UP | {"source": "all", "destination": "all", "over_s": 1000.0}]
    result = run_scenario(parse_scenario(data, HERE))
    assert result.ok, result.problems


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("count", {"count": 0}),
        ("size_bytes", {"size_bytes": [10, 9]}),
        ("size_bytes", {"size_bytes": [1, 1 << 25]}),
        ("priority", {"priority": 3}),
        ("lifetime_s", {"lifetime_s": 0.0}),
        ("share_min", {"share_min": 1.1}),
        ("over_s", {"over_s": -1.0}),
        ("at_s", {"at_s": 10_000.0}),
        ("source", {"source": "dtn://nobody/"}),
        ("destination", {"destination": "dtn://nobody/"}),
        ("destination", {"source": "dtn://sat1/", "destination": "satellites"}),
        ("name", {"name": "down"}),
    ],
)
def test_what_cannot_be_is_refused(key: str, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        busy(UP | change, DOWN)
    assert key in caught.value.key


def test_the_table_of_a_large_run_is_thinned(both: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = both.to_csv().splitlines()
    assert len(whole) == 1 + len(both.series.time_s)
    monkeypatch.setattr("stack.simulator.loopback.results.CSV_CELLS_MAX", 500)
    thin = both.to_csv().splitlines()
    assert (thin[0], thin[1], thin[-1]) == (whole[0], whole[1], whole[-1])
    assert set(thin) < set(whole)
    assert (len(thin) - 2) * len(thin[0].split(",")) <= 500


def test_what_never_came_counts_among_the_half_that_is_there() -> None:
    took_s = np.array([1.0, 2.0, 3.0])
    assert times_within(took_s, 3) == [2.0, pytest.approx(2.8), pytest.approx(2.98), 3.0]
    assert times_within(took_s, 6) == [3.0, None, None, None]
    assert times_within(took_s, 100) == times_within(took_s[:0], 3) == [None] * 4
