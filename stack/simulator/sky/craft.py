"""The satellites of a scenario."""

from __future__ import annotations

import dataclasses

from link_models.orbit.constellation import walker
from link_models.orbit.elements import Satellite, load_elements
from link_models.orbit.fitness import nearest_epochs
from stack.core.errors import ConfigError
from stack.simulator.scenario import ConstellationConfig, Scenario


def load_satellites(scenario: Scenario) -> dict[str, Satellite]:
    """All satellites by node id.  Raises `ConfigError` for elements that are wrong or missing."""
    files: dict[str, list[Satellite]] = {}
    middle_ms = (scenario.start_ms + scenario.end_ms) / 2

    def listed(file: str) -> list[Satellite]:
        if file not in files:
            files[file] = nearest_epochs(load_elements(scenario.path(file)), middle_ms)
        return files[file]

    found: dict[str, Satellite] = {}
    for one in scenario.satellites:
        fitting = [craft for craft in listed(one.elements) if one.name in ("", craft.name)]
        if not fitting:
            raise ConfigError(
                "satellites.name", f"{one.name!r} is not in {one.elements}", "write it as there"
            )
        found[one.id] = dataclasses.replace(fitting[0], name=one.id)
    for group in scenario.constellations:
        members = listed(group.elements) if group.elements else _pattern(group, scenario.start_ms)
        if len(members) < group.count:
            raise ConfigError(
                "constellations.count",
                f"{group.elements} has {len(members)} satellites, not {group.count}",
            )
        for node_id, craft in zip(group.node_ids(), members, strict=False):
            found[node_id] = dataclasses.replace(craft, name=node_id)
    return found


def _pattern(group: ConstellationConfig, start_ms: int) -> list[Satellite]:
    return walker(
        "walker",
        group.count,
        group.planes,
        group.phasing,
        group.inclination_deg,
        group.altitude_km * 1e3,
        start_ms,
        star=group.star,
        raan_deg=group.raan_deg,
    )
