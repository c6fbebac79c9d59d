"""Plans, elements, nodes and scenarios: files called right are read, those called wrong are not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from interop.strategies import mutated
from interop.strategies.configuration import (
    NODE_RULES,
    SCENARIO_RULES,
    nearly_node_files,
    nearly_scenario_files,
    node_files,
    scenario_files,
)
from interop.strategies.contact_files import (
    HDTN_RULES,
    ION_RULES,
    NATIVE_RULES,
    hdtn_files,
    ion_files,
    native_files,
    nearly_hdtn_files,
    nearly_ion_files,
    nearly_native_files,
)
from interop.strategies.contacts import plans
from interop.strategies.elements import (
    ELEMENT_RULES,
    OMM_FORMS,
    Written,
    element_files,
    mean_elements,
    nearly_element_files,
    tle,
)
from interop.strategies.making import Maker
from interop.strategies.violation import Nearly
from link_models.orbit.elements import parse_elements
from link_models.orbit.mean_elements import Satellite
from stack.contacts.hdtn import read_hdtn
from stack.contacts.ion import read_ion
from stack.contacts.native import read_json, write_json
from stack.contacts.plan import Plan
from stack.core.errors import ConfigError
from stack.core.toml import parsed
from stack.node.config import NodeConfig, parse_config
from stack.simulator.scenario.reading import parse_scenario
from stack.simulator.scenario.scenario import Scenario

HERE = Path(__file__).parent


def read_elements(octets: bytes) -> list[Satellite]:
    return parse_elements(octets.decode("utf-8", "replace"))


def read_ion_octets(octets: bytes) -> Plan:
    return read_ion(octets.decode("utf-8", "replace"))


def read_node(octets: bytes) -> NodeConfig:
    return parsed(octets.decode("utf-8", "replace"), lambda data: parse_config(data, HERE), "node")


def read_scenario(octets: bytes) -> Scenario:
    text = octets.decode("utf-8", "replace")
    return parsed(text, lambda data: parse_scenario(data, HERE), "scenario")


REFUSED: list[tuple[Any, Callable[..., Maker[Nearly]], Callable[[bytes], Any]]] = [
    *((rule, nearly_native_files.maker, read_json) for rule in NATIVE_RULES),
    *((rule, nearly_hdtn_files.maker, read_hdtn) for rule in HDTN_RULES),
    *((rule, nearly_ion_files.maker, read_ion_octets) for rule in ION_RULES),
    *((rule, nearly_element_files.maker, read_elements) for rule in ELEMENT_RULES),
    *((rule, nearly_node_files.maker, read_node) for rule in NODE_RULES),
    *((rule, nearly_scenario_files.maker, read_scenario) for rule in SCENARIO_RULES),
]


@pytest.mark.parametrize(
    ("rule", "maker", "read"), REFUSED, ids=[str(rule.violation) for rule, _, _ in REFUSED]
)
def test_a_file_that_breaks_a_rule_is_refused(
    rule: Any, maker: Callable[..., Maker[Nearly]], read: Callable[[bytes], Any]
) -> None:
    for one in islice(maker(rules=[rule]).cases(), 40):
        read(one.valid)
        with pytest.raises(ConfigError):
            read(one.encoded)


@given(plans())
def test_plans_are_what_their_file_says(plan: Plan) -> None:
    assert read_json(write_json(plan)) == plan


READERS: list[tuple[Maker[bytes], Callable[[bytes], Any]]] = [
    (native_files.maker(), read_json),
    (hdtn_files.maker(), read_hdtn),
    (ion_files.maker(), read_ion_octets),
    (element_files.maker(), read_elements),
    (node_files.maker(), read_node),
    (scenario_files.maker(), read_scenario),
]


@pytest.mark.parametrize(("maker", "read"), READERS, ids=lambda one: getattr(one, "name", ""))
def test_files_are_read_and_mutated_ones_too_or_refused(
    maker: Maker[bytes], read: Callable[[bytes], Any]
) -> None:
    for octets in islice(maker.cases(), 100):
        read(octets)
    for octets in islice(mutated.maker(maker).cases(), 200):
        with contextlib.suppress(ConfigError):
            read(octets)


@settings(max_examples=50)
@given(mean_elements())
def test_every_form_says_the_same(elements: Written) -> None:
    """Orbits agree as far as eight digits of a day do, whatever form they were written in."""
    (expected,) = read_elements(tle(elements))
    assert (expected.name, expected.catalogue_id) == (elements.name, elements.number)
    for form in OMM_FORMS:
        (found,) = read_elements(form(elements.fields))
        assert (found.name, found.catalogue_id) == (expected.name, expected.catalogue_id)
        assert abs(found.epoch_ms - expected.epoch_ms) <= 1
        for name in ("inclo", "nodeo", "ecco", "argpo", "mo", "no_kozai", "bstar"):
            assert getattr(found.satrec, name) == getattr(expected.satrec, name)
