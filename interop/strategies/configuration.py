"""Node files and scenario files, as TOML.

node_files() scenario_files()     files that a node or a simulation can begin with
nearly_node_files() ...           files that break one rule of `NODE_RULES`, `SCENARIO_RULES`
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring
from typing import Any

from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from interop.strategies.rules import WireRule, nearly
from interop.strategies.violation import Nearly, Violation

Document = dict[str, Any]
"""A file as a mapping, before it is written."""


def toml_octets(document: Document) -> bytes:
    """A mapping as TOML, one top-level key a line."""
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in document.items()).encode()


@functools.lru_cache(maxsize=256)
def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if type(value) is int or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


_NODES = ("dtn://gs1/", "dtn://sat1/", "dtn://relay-e/", "ipn:5.0", "ipn:977000.7.0")


@strategy
def node_documents(choose: Choices) -> Document:
    """A node of up to three links, with some settings that differ from the default."""
    names = list(_NODES)
    document: Document = {
        "id": names.pop(choose.integer(0, len(names) - 1)),
        "data_dir": choose.pick(("data", "../data", "/tmp/data ü")),  # noqa: S108 -- only a name
        "security": choose.pick(({"protect": "none"}, {"key_file": "keys.toml"})),
    }
    if choose.flip():
        document["store"] = {"kind": choose.pick(("sqlite", "memory"))}
    if choose.flip():
        document["log"] = {"level": choose.pick(("auto", "debug", "info", "off"))}
    if choose.flip():
        document["contacts"] = {"plan": "plan.json", "confidence_min": choose.integer(0, 10) / 10}
    links = [_link(choose, number, names) for number in choose.many(0, 3)]
    if links:
        document["links"] = links
    return document


def _link(choose: Choices, number: int, peers: list[str]) -> Document:
    port = choose.integer(1024, 65_000)
    link: Document = {
        "name": f"link{number}",
        "peer": peers[number],
        "local": choose.pick((f"127.0.0.1:{port}", f"[::1]:{port}")),
        "remote": choose.pick(("", f"127.0.0.1:{port + 7}")),
        "ltp": {
            "local_engine_id": choose.uint(32, 1),
            "remote_engine_id": choose.uint(32, 1),
            "segment_bytes": choose.integer(128, 60_000),
        },
    }
    if choose.flip():
        link["scheduled"] = choose.flip()
    if choose.flip():
        link["rate_bps"] = choose.pick((0.0, 9600.0, 5e7))
        link["owlt_ms"] = choose.pick((0.0, 5, 1280.5))
    if choose.flip():
        k = choose.integer(1, 200)
        link["fec"] = {"k": k, "r": choose.integer(0, 255 - k)}
    if choose.flip():
        link["authentication"] = choose.pick(("auto", "off", "null"))
    return link


_SITES = ((78.2297, 15.4075, 450), (-52.9351, -70.8713, 23), (40.6486, 16.7046, 536))


@strategy
def scenario_documents(choose: Choices) -> Document:
    """A small scenario: stations, a constellation, radios, messages and traffic."""
    stations = [
        {"id": f"dtn://gs{at}/", "latitude_deg": site[0], "longitude_deg": site[1],
         "altitude_m": site[2], "mask_deg": choose.integer(0, 20)}
        for at, site in enumerate(_SITES[: choose.integer(1, 3)])
    ]  # fmt: skip
    document: Document = {
        "title": choose.text("abc 'é\"\\", 0, 9),
        "start": "2026-10-01T00:00:00Z",
        "duration_h": choose.pick((1, 6, 0.5)),
        "seed": choose.integer(0, 1000),
        "stations": stations,
        "constellations": [
            {"id": "dtn://sat{}/", "count": choose.integer(1, 4), "planes": 1,
             "altitude_km": choose.integer(400, 1500), "inclination_deg": choose.integer(30, 120)}
        ],
        "radios": [{"up": {"preset": "s-band-up"}, "down": {"preset": "x-band-acm"}}],
    }  # fmt: skip
    if choose.flip():
        document["planning"] = {"minimum_s": choose.integer(0, 300)}
    document["traffic"] = [
        {"name": "down", "count": choose.integer(1, 9), "size_bytes": [100, 4000],
         "source": "satellites", "destination": "dtn://gs0/", "at_s": 0, "over_s": 600}
    ]  # fmt: skip
    return document


@strategy
def node_files(choose: Choices) -> bytes:
    """A node's configuration."""
    return toml_octets(node_documents.make(choose))


@strategy
def scenario_files(choose: Choices) -> bytes:
    """A scenario."""
    return toml_octets(scenario_documents.make(choose))


# ------------------------------------------------------------------------------ nearly valid


def _linked(choose: Choices) -> Document:
    """A node of two links."""
    document = node_documents.make(choose)
    peers = [node for node in _NODES if node != document["id"]]
    document["links"] = [_link(choose, number, peers) for number in range(2)]
    return document


Change = Callable[[Choices, Document], None]


def _changed(change: Change) -> Callable[[Choices, Document], bytes]:
    def spoil(choose: Choices, document: Document) -> bytes:
        changed: Document = json.loads(json.dumps(document))
        change(choose, changed)
        return toml_octets(changed)

    return spoil


def _set(*path: str, to: Sequence[Any]) -> Change:
    """The value at a path of keys, of which "*" is any entry of a list, is one of these."""

    def change(choose: Choices, document: Document) -> None:
        place: Any = document
        for key in path[:-1]:
            place = choose.pick(place) if key == "*" else place.setdefault(key, {})
        place[path[-1]] = choose.pick(to)

    return change


def _without(*path: str) -> Change:
    def change(choose: Choices, document: Document) -> None:
        place: Any = document
        for key in path[:-1]:
            place = choose.pick(place) if key == "*" else place[key]
        del place[path[-1]]

    return change


def _same_names(choose: Choices, document: Document) -> None:
    document["links"][1]["name"] = document["links"][0]["name"]


def _cut(choose: Choices, document: Document) -> bytes:
    octets = toml_octets(document)
    last = octets.rstrip().rindex(b"\n") + 1
    return octets[: choose.integer(last + 1, octets.index(b"=", last) + 1)]


def _key_twice(choose: Choices, document: Document) -> bytes:
    key = choose.pick(list(document))
    return toml_octets(document) + toml_octets({key: document[key]})


def _same_stations(choose: Choices, document: Document) -> None:
    document["stations"].append(dict(document["stations"][0]))


def _rules(
    clause: str,
    made: Callable[[Choices], Document],
    changes: dict[str, Change],
) -> tuple[WireRule[Document], ...]:
    spoils = {words: _changed(change) for words, change in changes.items()}
    spoils |= {"a file that is cut short": _cut, "a key twice": _key_twice}
    return tuple(WireRule(Violation(clause, words), made, spoil) for words, spoil in spoils.items())


NODE_RULES = _rules(
    "docs/configuration.md",
    _linked,
    {
        "an unknown key": _set("adress", to=("127.0.0.1",)),
        "an unknown key of a link": _set("links", "*", "rate", to=(1,)),
        "no node id": _without("id"),
        "no folder of data": _without("data_dir"),
        "a node id that is none": _set(
            "id", to=("", "gs1", "dtn://gs1/files", "dtn:none", "ipn:1", "ipn:1.2", "http://a/", 5)
        ),
        "a peer that is no node": _set("links", "*", "peer", to=("", "sat1", "ipn:0.0", "dtn://")),
        "two links of one name": _same_names,
        "a link without engine ids": _without("links", "*", "ltp", "local_engine_id"),
        "segments too short for a report": _set(
            "links", "*", "ltp", "segment_bytes", to=(0, -1, 127, 1 << 70)
        ),
        "segments longer than a train": _set("links", "*", "ltp", "train_bytes", to=(128, 127)),
        "an engine id that is no number": _set(
            "links", "*", "ltp", "local_engine_id", to=(-1, "1", 1.5, 1 << 64)
        ),
        "more symbols than a source block has": _set(
            "links", "*", "fec", to=({"k": 200, "r": 56}, {"k": 0}, {"k": 256}, {"r": -1})
        ),
        "a rate below 0": _set("links", "*", "rate_bps", to=(-1, -1e-9)),
        "a light time that is none": _set("links", "*", "owlt_ms", to=(-1, math.nan, 1e18)),
        "a word of no meaning for a setting": _set("links", "*", "authentication", to=("yes", "")),
        "a store of no kind": _set("store", "kind", to=("disk", "", 1)),
        "a level of no log": _set("log", "level", to=("warning", 3)),
        "bundles to be protected without keys": _set("security", to=({}, {"protect": "all"})),
        "a likelihood outside 0 to 1": _set("contacts", "confidence_min", to=(-0.1, 1.1, math.nan)),
        "a list for a table": _set("security", to=([], ["keys.toml"])),
    },
)

SCENARIO_RULES = _rules(
    "docs/scenario.md",
    scenario_documents.maker(),
    {
        "an unknown key": _set("length_h", to=(1,)),
        "no start": _without("start"),
        "a start that is no time": _set("start", to=("soon", "2026-13-01T00:00:00Z", "")),
        "a duration that is none": _set("duration_h", to=(0, -1, math.nan, math.inf, "day")),
        "a latitude beyond the pole": _set("stations", "*", "latitude_deg", to=(90.1, -91, "N")),
        "two stations of one id": _same_stations,
        "a station without an id": _without("stations", "*", "id"),
        "a constellation of nothing": _set("constellations", "*", "count", to=(0, -1)),
        "an orbit below the ground": _set("constellations", "*", "altitude_km", to=(-1, -7000)),
        "a radio that nobody knows": _set("radios", "*", "up", to=({"preset": "z-band"},)),
        "traffic to nobody": _set("traffic", "*", "destination", to=("dtn://mars/", "", "gs0")),
        "traffic of no bundles": _set("traffic", "*", "count", to=(-1, 1.5)),
        "sizes that are none": _set("traffic", "*", "size_bytes", to=([4000, 100], [-1, 5], [])),
    },
)


@strategy
def nearly_node_files(
    choose: Choices, *, rules: Sequence[WireRule[Document]] = NODE_RULES
) -> Nearly:
    """A node's configuration that breaks one rule, of `rules`."""
    return nearly(choose, rules, toml_octets)


@strategy
def nearly_scenario_files(
    choose: Choices, *, rules: Sequence[WireRule[Document]] = SCENARIO_RULES
) -> Nearly:
    """A scenario that breaks one rule, of `rules`."""
    return nearly(choose, rules, toml_octets)
