"""The reference of scenarios: sections, kinds of disturbances, ready links and sites."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Final, get_args

from stack.cli.config.reference import (
    fenced,
    key_markdown,
    paragraph,
    reference_markdown,
    section_of,
    toml_table,
)
from stack.core.units import rate_text

INTRO: Final = """\
One TOML file, read by `orbitferry loopback` and `orbitferry plan`; begin with `orbitferry config
example scenario`. `docs/how-to-test-a-link.md` goes through the tasks. Relative paths count from
the file. What is wrong or unknown is reported with file, line, key and remedy. Names of units end
the keys; tables may be written inline (`fec = { k = 32, r = 8 }`) or with a header of their own.
"""

KINDS: Final = """\
Each is a table with a `kind`: in `disturbances` of a direction, for that alone, or in
`[[disturbances]]`, for all links that `stations`, `satellites` and `direction` let through.
`docs/link-channel.md` says how they act together. All kinds have these keys:
"""

PRESETS: Final = """\
For `preset`. `orbitferry budget NAME` prints the budget with the source of each term.
"""

NOT_WRITTEN: Final = frozenset({"base"})
"""Fields of a scenario that its file does not give."""


def examples() -> str:
    """A scenario with every section and every kind of disturbance."""
    return (files("stack.cli.data") / "scenario-sections.toml").read_text(encoding="utf-8")


def scenario_reference() -> str:
    """All of it, as Markdown."""
    from stack.simulator.scenario import Scenario

    sections = reference_markdown("Scenarios", paragraph(INTRO), Scenario, examples(), NOT_WRITTEN)
    return sections + "\n" + "\n\n".join((*_kinds(), *_ready())) + "\n"


def _kinds() -> Iterator[str]:
    from link_models.disturbances.config import Disturbance
    from link_models.disturbances.disturbance import Base

    common = section_of(Base)
    shared = frozenset(key.name for key in common.keys)
    yield "## Kinds of disturbances"
    yield paragraph(KINDS)
    yield from map(key_markdown, common.keys)
    for kind in get_args(Disturbance):
        head = f'kind = "{kind.__struct_config__.tag}"'
        section = section_of(kind, shared)
        yield f"### `{head}`"
        yield paragraph(section.purpose)
        yield from map(key_markdown, section.keys)
        yield fenced(toml_table(examples(), "[[disturbances]]", head))


def _ready() -> Iterator[str]:
    from link_models.budget import presets, sites

    yield "## Ready links"
    yield paragraph(PRESETS)
    rows = [
        f"| `{one.name}` | {rate_text(one.steps[-1][1])} | {one.description} |" for one in presets()
    ]
    yield "\n".join(("| preset | up to | what it is |", "|---|---|---|", *rows))
    yield "## Ready sites"
    yield paragraph(f"For `site` of a station: {', '.join(f'`{one}`' for one in sites())}.")
