"""The map of nodes: what each is, where its name stands, and where data went."""

from __future__ import annotations

from html import unescape

import numpy as np
import pytest

from link_models.orbit.constellation import walker
from link_models.orbit.geometry import Station
from stack.core.eid import Eid
from stack.policy import DataPolicy, Directory, NodeSet
from stack.policy.directory import NodeFacts
from stack.policy.permissions import permissions
from stack.simulator.report import node_map
from stack.simulator.report.nodes import REFUSED, MapHop, MapPath, Places, kind_of
from stack.simulator.report.page import page
from tests.simulator.report.test_pages import check_page

LAWS = {"a": "KR", "b": "SE", "c": "JP", "d": "XX"}
DIRECTORY = Directory(
    NodeFacts(Eid.parse(f"dtn://{name}/"), jurisdictions=frozenset([law]))
    for name, law in LAWS.items()
)
POLICY = DataPolicy(
    readers=NodeSet.parse("KR"), rest=NodeSet.parse("KR | SE | JP"), transit=NodeSet.parse("SE")
)


def test_no_two_kinds_look_alike() -> None:
    """Neither in colour nor, for who sees none, in form."""
    kinds = {kind_of(permissions(POLICY, DIRECTORY, f"dtn://{name}/"))[0] for name in "abcde"}
    assert len(kinds) == len({one.colour for one in kinds}) == len({one.form for one in kinds}) == 4


def test_what_a_node_may_and_why_not() -> None:
    found = {name: permissions(POLICY, DIRECTORY, f"dtn://{name}/") for name in "abcde"}
    may = {name: one[2:5] for name, one in found.items()}
    assert may["a"] == (True, True, False)
    assert may["b"] == (False, True, True)
    assert may["c"] == (False, True, False)
    assert may["d"] == may["e"] == (False, False, False)
    assert "pass through 'SE'" in found["a"].why
    assert "read at 'KR'" in found["b"].why
    assert "rest at 'JP | KR | SE'" in found["d"].why
    assert kind_of(found["e"]) == (REFUSED, "unknown")


def test_the_map_says_what_it_shows() -> None:
    start = 849_000_000_000
    (craft,) = walker("w", 1, 1, 0, 53.0, 550_000.0, start)
    station = Station(name="g", latitude_deg=40.0, longitude_deg=190.0)
    places = Places({"dtn://<g>/": station, "dtn://far/": station}, {"dtn://s/": craft})
    kinds = {name: (REFUSED, "XX") for name in ("dtn://<g>/", "dtn://s/", "dtn://nowhere/")}
    hops = [
        MapHop("dtn://<g>/", "dtn://s/", start),
        MapHop("dtn://s/", "dtn://<g>/", start + 600_000),
    ]
    paths = [MapPath("best", hops), MapPath("else", hops[:1], refused=True)]
    drawn = node_map.node_map(places, kinds, paths, start, "Who & where")
    walk = check_page(page("map", [drawn]))
    words = unescape(walk.all("svg")[0]["aria-label"] or "")
    assert "1 station and 1 satellite. Who & where. <g>: refused" in words
    assert "Best: <g> to s, s to <g>. Else: <g> to s." in words
    assert "far" not in words
    assert drawn == node_map.node_map(places, kinds, paths, start, "Who & where")
    assert node_map.node_map(Places(), kinds, paths, start, "nobody knows") == ""


@pytest.mark.parametrize("end", [(10.0, 52.0), (-170.0, -80.0), (20.0, 40.0), (20.1, 40.0)])
def test_paths_are_the_shortest_on_a_globe(end: tuple[float, float]) -> None:
    start = (20.0, 40.0)
    longitude, latitude = node_map._shortest(start, end)
    units = np.array([node_map._unit(*here) for here in zip(longitude, latitude, strict=True)])
    steps = np.arccos(np.clip(np.sum(units[1:] * units[:-1], axis=1), -1, 1))
    whole = np.arccos(np.clip(node_map._unit(*start) @ node_map._unit(*end), -1, 1))
    assert steps.sum() == pytest.approx(whole, abs=1e-5)
    assert (longitude[-1], latitude[-1]) == pytest.approx(end)
