"""The reference of scenarios: complete, and its examples are right."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import get_args

import pytest

from link_models.disturbances.config import Disturbance
from link_models.disturbances.disturbance import Base
from stack.cli.config.command import Subject, example_text
from stack.cli.config.reference import section_of, sections_of, toml_table
from stack.cli.config.scenario import NOT_WRITTEN, examples, scenario_reference
from stack.simulator.scenario import Scenario, parse_scenario


def test_the_examples_of_the_reference_are_a_scenario() -> None:
    scenario = parse_scenario(tomllib.loads(examples()), Path())
    kinds = {type(one) for one in scenario.disturbances}
    assert kinds == set(get_args(Disturbance))


def test_the_example_to_begin_with_is_a_scenario() -> None:
    scenario = parse_scenario(tomllib.loads(example_text(Subject.SCENARIO)), Path())
    assert len(scenario.node_ids) == 13
    assert len(scenario.radios_by_pair()) == 12


def test_every_section_has_a_purpose_keys_with_reasons_and_an_example() -> None:
    sections = [*sections_of(Scenario, NOT_WRITTEN), *map(section_of, get_args(Disturbance))]
    for section in sections:
        assert section.purpose
        assert all(key.text for key in section.keys), section
        shown = [toml_table(examples(), table) for table in section.tables]
        assert not shown or any(shown), section.tables


@pytest.mark.slow
def test_everything_is_in_the_reference() -> None:
    text = scenario_reference()
    for kind in (*get_args(Disturbance), Base):
        for key in section_of(kind).keys:
            assert f"- **`{key.name}`** (" in text
    for kind in get_args(Disturbance):
        assert text.count(f'### `kind = "{kind.__struct_config__.tag}"`') == 1
    assert "## `[radios.up]`" in text
    assert "The same keys in `[radios.down]`, `[crosslinks.link]`." in text
    assert "| `x-band-acm` |" in text
    assert "**`base`**" not in text
    assert "`svalbard`" in text


def test_a_class_is_described_once() -> None:
    sections = sections_of(Scenario)
    tables = [table for section in sections for table in section.tables]
    assert len(tables) == len(set(tables))
    (direction,) = [one for one in sections if "[radios.down]" in one.tables]
    assert direction.tables == ["[radios.up]", "[radios.down]", "[crosslinks.link]"]
