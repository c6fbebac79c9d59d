"""Every key of every file that people write: unknown, misspelt, of a wrong type, out of range.

The keys come from the classes of the files.  What is wrong is told with file, line, whole key, and
for a misspelling or a unit with what to write.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import tomllib
import types
import typing
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import pytest

from link_models.budget import OpticalLink, RadioLink
from link_models.orbit.geometry import Station
from stack.cli.emulate.config import EmulateConfig, load_emulate_config
from stack.cli.predict.budget import read_budget
from stack.cli.predict.passes import read_stations
from stack.contacts.files import load_plan
from stack.contacts.native import File
from stack.core.errors import ConfigError
from stack.node.config import NodeConfig, load_config
from stack.simulator.scenario import Scenario, load_scenario
from stack.simulator.swarm.drawing import draw, under_laws
from stack.simulator.swarm.options import Options, load_options

DATA = files("stack.cli.data")
NODE = """
id = "dtn://a/"
data_dir = "d"
agent = {}
store = {}
security = { protect = "none" }
contacts = {}
log = {}
services.handlers = [{ name = "h", command = ["true"] }]
services.files = {}
services.jobs.limits_max = {}
links = [
  { name = "x", peer = "dtn://b/", ltp = { local_engine_id = 1, remote_engine_id = 2 } },
  { name = "y", peer = "dtn://c/", ltp = { local_engine_id = 1, remote_engine_id = 3 }, fec = {} },
]
"""
EMULATOR = """
forward.rate_bps = 256_000
forward.tcp = {}
backward = { rate_bps = 10_000_000, tcp = {} }
tcp = {}
time = { factor = 2 }
station = { latitude_deg = 1, longitude_deg = 2 }
disturbances = [
  { kind = "random", loss = 0.1 },
  { kind = "bit-errors", bit_error_rate = 1e-6 },
  { kind = "gilbert-elliott", good_s = 4.0, bad_s = 0.1 },
  { kind = "bursts", loss = 0.01, burst_packets = 5, packets_per_s = 100 },
  { kind = "netem-gemodel", p = 0.01, r = 0.1, packets_per_s = 100 },
  { kind = "netem-state", p13 = 0.01, p31 = 0.1 },
  { kind = "blackouts", spans_s = [[1, 2]] },
  { kind = "flapping", period_s = 10, down_s = 1 },
  { kind = "slots" },
  { kind = "time-slots", period_ms = 10 },
  { kind = "jitter", mean_ms = 1.0, spread_ms = 1.0 },
  { kind = "reorder", share = 0.1 },
  { kind = "duplicate", share = 0.1 },
  { kind = "corrupt", share = 0.1 },
  { kind = "limit", bytes_max = 1000 },
  { kind = "outage", mtbf_s = 3600, mttr_s = 60 },
  { kind = "clouds", cloud_fraction = 0.3 },
  { kind = "scintillation", index = 0.1 },
  { kind = "jamming" },
]
[[forward.disturbances]]
kind = "rain-front"
start_latitude_deg = 1
start_longitude_deg = 2
heading_deg = 3
peak_db = 4
"""
OPTICAL = """
power_w = 1.0
transmit_aperture_m = 0.1
receive_aperture_m = 0.2
acm = {}
modes = [{ rate_bps = 1e9, photons_per_bit = 100 }]
"""
PLAN = """
format = "orbitferry-contact-plan-1"
contacts = [{ source = "dtn://a/", destination = "dtn://b/", start = 0, end = 9, rate_bps = 1e6 }]
ranges = [{ source = "dtn://a/", destination = "dtn://b/", steps = [[0, 9, 5]] }]
"""
STATIONS = """
station = [
  { name = "a", latitude_deg = 1, longitude_deg = 2 },
  { name = "b", latitude_deg = 3, longitude_deg = 4 },
]
"""


class StationsFile(msgspec.Struct):
    station: tuple[Station, ...]


class BudgetFile(msgspec.Struct):
    radio: RadioLink


class OpticalFile(msgspec.Struct):
    optical: OpticalLink


class Kind(NamedTuple):
    """A kind of file."""

    file: type
    document: dict[str, Any]
    load: Callable[[Path], Any]


def _scenario() -> dict[str, Any]:
    found = tomllib.loads((DATA / "scenario-sections.toml").read_text(encoding="utf-8"))
    found["disturbances"] = [
        {"kind": "random", "loss": 0.1},
        {"kind": "clouds", "cloud_fraction": 0.3},
        {"kind": "jitter", "spread_ms": 1.0},
        {"kind": "outage", "mtbf_s": 3600.0, "mttr_s": 60.0},
    ]
    return found


def without_none(value: Any) -> Any:
    """What TOML can say: nothing is left out there."""
    if isinstance(value, dict):
        return {k: without_none(v) for k, v in value.items() if v is not None}
    return [without_none(one) for one in value] if isinstance(value, list) else value


def _kinds() -> dict[str, Kind]:
    scenario = _scenario()
    radio = scenario["radios"][0]["down"]["radio"]
    options = without_none(json.loads(under_laws(draw(3)).dumps()))
    options |= {k: v[:2] for k, v in options.items() if isinstance(v, list) and k != "nodes"}
    return {
        "node": Kind(NodeConfig, tomllib.loads(NODE), load_config),
        "scenario": Kind(Scenario, scenario, load_scenario),
        "emulator": Kind(EmulateConfig, tomllib.loads(EMULATOR), load_emulate_config),
        "plan": Kind(File, tomllib.loads(PLAN), load_plan),
        "stations": Kind(StationsFile, tomllib.loads(STATIONS), read_stations),
        "budget": Kind(BudgetFile, {"radio": radio}, read_budget),
        "optical": Kind(OpticalFile, {"optical": tomllib.loads(OPTICAL)}, read_budget),
        "swarm": Kind(Options, options, load_options),
    }


KINDS = _kinds()


# ---- what keys there are ---------------------------------------------------------------------


Steps = tuple[str | int, ...]


class Key(NamedTuple):
    """A key that a table of the document has, or could have."""

    table: Steps
    name: str
    hint: Any

    @property
    def path(self) -> str:
        return path_of((*self.table, self.name))


def path_of(steps: Steps) -> str:
    text = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in steps)
    return text.lstrip(".")


def keys(kind: Any, table: Any, at: Steps = ()) -> Iterator[Key]:
    """The keys of all tables that the document has."""
    for name, hint in hints_of(kind).items():
        yield Key(at, name, hint)
        value = table.get(name)
        for steps, inner in _tables(value, (*at, name)):
            classes = [one for one in classes_in(hint) if _fits(one, inner)]
            if classes:
                yield from keys(classes[0], inner, steps)


def _tables(value: Any, at: Steps) -> Iterator[tuple[Steps, dict[str, Any]]]:
    if isinstance(value, dict):
        yield at, value
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _tables(one, (*at, index))


def _fits(kind: Any, table: dict[str, Any]) -> bool:
    config = getattr(kind, "__struct_config__", None)
    return not (config and config.tag) or table.get(config.tag_field) == config.tag


def classes_in(hint: Any) -> list[Any]:
    if typing.get_origin(hint) is Annotated or typing.get_args(hint):
        return [found for one in typing.get_args(hint) for found in classes_in(one)]
    is_struct = isinstance(hint, type) and issubclass(hint, msgspec.Struct)
    return [hint] if is_struct or dataclasses.is_dataclass(hint) else []


@cache
def hints_of(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    if issubclass(kind, msgspec.Struct):
        return {one.encode_name: hints[one.name] for one in msgspec.structs.fields(kind)}
    return {one.name: hints[one.name] for one in dataclasses.fields(kind) if one.init}


def members(hint: Any) -> tuple[Any, ...]:
    union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return typing.get_args(hint) if union else (hint,)


# ---- documents with one mistake --------------------------------------------------------------


def written(document: dict[str, Any]) -> tuple[str, dict[str, int]]:
    """The document in TOML, and the line of each key: tables below their own headings."""
    lines: list[str] = []
    where: dict[str, int] = {}

    def table(found: dict[str, Any], at: Steps, names: str) -> None:
        for name, value in found.items():
            if not _nested(value):
                lines.append(f"{json.dumps(name)} = {inline(value)}")
                where[path_of((*at, name))] = len(lines)
        for name, value in found.items():
            below = f"{names}.{json.dumps(name)}".lstrip(".")
            if isinstance(value, dict):
                lines.append(f"[{below}]")
                where[path_of((*at, name))] = len(lines)
                table(value, (*at, name), below)
            elif _nested(value):
                for index, one in enumerate(value):
                    lines.append(f"[[{below}]]")
                    where[path_of((*at, name, index))] = len(lines)
                    where.setdefault(path_of((*at, name)), len(lines))
                    table(one, (*at, name, index), below)

    table(document, (), "")
    return "\n".join(lines) + "\n", where


def _nested(value: Any) -> bool:
    is_list = isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)
    return isinstance(value, dict) or is_list


def inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value) if isinstance(value, str | bool) else repr(value)


def refused(kind: Kind, key: Key, name: str, value: Any, folder: Path) -> tuple[ConfigError, int]:
    """The error over the document with `name` in the table of `key`, and the line where it is."""
    document = copy.deepcopy(kind.document)
    table: Any = document
    for step in key.table:
        table = table[step]
    if name != key.name:
        table.pop(key.name, None)
    table[name] = value
    text, where = written(document)
    path = folder / "file.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        kind.load(path)
    return caught.value, where[path_of((*key.table, name))]


ALL = [(name, key) for name, kind in KINDS.items() for key in keys(kind.file, kind.document)]
each_key = pytest.mark.parametrize(
    ("kind", "key"), [pytest.param(KINDS[n], k, id=f"{n}:{k.path}") for n, k in ALL]
)


@pytest.mark.parametrize("name", KINDS)
def test_the_documents_are_right_to_begin_with(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_text(written(KINDS[name].document)[0])
    assert KINDS[name].load(path)


# ---- the mistakes ----------------------------------------------------------------------------


def _place(error: ConfigError, folder: Path) -> tuple[int, str]:
    """Line and key that an error names."""
    where, _, key = error.key.removeprefix(f"{folder / 'file.toml'}").partition(": ")
    return int(where.removeprefix(":") or 0), key


@each_key
def test_unknown_keys_are_told(kind: Kind, key: Key, tmp_path: Path) -> None:
    """A letter is typed twice: the key is named, and what is known."""
    name = f"{key.name}{key.name[-1]}"
    error, line = refused(kind, key, name, 1, tmp_path)
    assert _place(error, tmp_path) == (line, path_of((*key.table, name)))
    assert error.message == "unknown key"
    known = [one.name for other, one in ALL if KINDS[other] is kind and one.table == key.table]
    assert any(one in error.remedy for one in known)


@each_key
def test_wrong_types_are_told(kind: Kind, key: Key, tmp_path: Path) -> None:
    takes = {typing.get_origin(one) or one for one in members(key.hint)}
    wrong: Any = "4h" if takes & {int, float} and str not in takes else 3
    if takes & {int, float} and str in takes:
        wrong = [[]]
    error, line = refused(kind, key, key.name, wrong, tmp_path)
    assert _place(error, tmp_path) == (line, key.path)
    if key.name.endswith(("_s", "_ms", "_bytes", "_bps")) and wrong == "4h":
        assert "without quotes" in error.remedy


ABSURD = (-(10**15), 10**18, math.nan, math.inf, -1e300)
ANY_64_BITS = {"seed", "local_engine_id", "remote_engine_id"}
"""A seed is any number, and an engine id any that fits in an SDNV of 64 bits (RFC 5326 §3.1)."""


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        pytest.param(KINDS[name], key, id=f"{name}:{key.path}")
        for name, key in ALL
        if {int, float} & set(members(key.hint))
    ],
)
@pytest.mark.parametrize(
    "values", [ABSURD[:2], pytest.param(ABSURD[2:], marks=pytest.mark.slow)], ids=["whole", "float"]
)
def test_values_out_of_range_are_told(
    kind: Kind, key: Key, values: tuple[float, ...], tmp_path: Path
) -> None:
    for value in values:
        if isinstance(value, int) and key.name in ANY_64_BITS:
            continue
        error, line = refused(kind, key, key.name, value, tmp_path)
        assert _place(error, tmp_path) == (line, key.path), (value, error)


# ---- other words -----------------------------------------------------------------------------


def _told(name: str, old: str, new: str, folder: Path) -> tuple[str, str, str]:
    kind = KINDS[name]
    text = written(kind.document)[0]
    assert old in text
    path = folder / "file.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        kind.load(path)
    error = caught.value
    return error.key.removeprefix(f"{path}"), error.message, error.remedy


def test_a_date_without_quotes_is_told(tmp_path: Path) -> None:
    start = KINDS["scenario"].document["start"]
    key, message, remedy = _told("scenario", json.dumps(start), "2026-10-01", tmp_path)
    assert key.endswith(": start")
    assert (message, remedy) == ("must be text, not a date", "put it in quotes")
    key, message, remedy = _told("scenario", json.dumps(start), "soon", tmp_path)
    assert message.startswith("not TOML: Invalid value (at line")
    assert "quotes" in remedy


def test_what_is_used_twice_tells_both_places(tmp_path: Path) -> None:
    key, message, _ = _told("node", '"name" = "y"', '"name" = "x"', tmp_path)
    text = (tmp_path / "file.toml").read_text().splitlines()
    first, second = (n for n, line in enumerate(text, 1) if line == '"name" = "x"')
    assert key == f":{second}: links[1].name"
    assert message == f"'x' is used twice, see links[0].name on line {first}"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("block_time_ns = 2_000_000_000", "block_time_ns"),
        ("decode_timeout_ns = 1_000", "decode_timeout_ns"),
        (
            "block_time_ns = 2_000_000\ndecode_timeout_ns = 1_000",
            "decode_timeout_ns, block_time_ns",
        ),
        ("interleave = 200", "interleave"),
        ("k = 250", "k"),
    ],
)
def test_of_two_keys_that_do_not_fit_the_written_one_is_named(
    given: str, named: str, tmp_path: Path
) -> None:
    key, _, _ = _told("node", '["links"."fec"]', f'["links"."fec"]\n{given}', tmp_path)
    assert key.partition(": ")[2] == f"links[1].fec.{named}"


def test_a_key_that_is_there_twice_tells_both_places(tmp_path: Path) -> None:
    _, message, _ = _told("node", '["log"]', '["log"]\nfile = ""\nfile = "x"', tmp_path)
    text = (tmp_path / "file.toml").read_text().splitlines()
    first = text.index('file = ""') + 1
    assert message.startswith(f"not TOML: log.file is on line {first} already")
    _, message, _ = _told("node", '["log"]', "[log]\n[log]", tmp_path)
    text = (tmp_path / "file.toml").read_text().splitlines()
    assert message.startswith(f"not TOML: log is on line {text.index('[log]') + 1} already")
