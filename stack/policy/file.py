"""Files that people write: policies and directories of nodes.

A policy is what an owner of data writes:

    readers = "KR"                                  # default of each set: any
    rest = "KR | EU"
    transit = "(KR | EU) - node:dtn://kiruna/"
    expires = "2027-01-01T00:00:00Z"                # or how long from now: "7d"; default: never
    audit = true                                    # default: false

    [[marking]]                                     # as STANAG 4774 has it; any number of them
    policy_id = "KR-MSIT"
    classification = "RESTRICTED"
    categories = ["SPACE"]
    review = "2028-01-01T00:00:00Z"

A directory has one table for each node:

    [[node]]
    id = "dtn://daejeon/"
    domain = "kari"                # the agency, company or state that runs it
    jurisdictions = ["KR"]         # whose law reaches what it holds; unions beside their members
    roles = ["relay", "compute"]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.core import toml
from stack.core.checks import check_unique
from stack.core.clock import dtn_from_iso, dtn_to_iso
from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError, LocalError
from stack.core.units import parse_duration
from stack.policy.directory import Directory, NodeFacts, check_names
from stack.policy.label import DataPolicy, Marking, encode_label
from stack.policy.node_set import NodeSet

POLICY_FILE_BYTES_MAX = 64 * 1024
DIRECTORY_BYTES_MAX = 16 * 1024 * 1024
NODES_MAX = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class _Marking:
    policy_id: str
    classification: str
    categories: tuple[str, ...] = ()
    review: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PolicyFile:
    readers: str = "any"
    rest: str = "any"
    transit: str = "any"
    expires: str = ""
    audit: bool = False
    marking: tuple[_Marking, ...] = ()


def load_policy(path: Path, now_ms: int) -> DataPolicy:
    """Read a policy file; `now_ms` (DTN time) is what durations count from.  Raises `ConfigError`
    that names file, line, key and remedy."""
    return toml.load(
        path,
        lambda data: parse_policy(data, now_ms),
        what="a data policy",
        bytes_max=POLICY_FILE_BYTES_MAX,
    )


def parse_policy(data: Mapping[str, Any], now_ms: int) -> DataPolicy:
    """A policy from the content of its file.  Raises `ConfigError`."""
    file = toml.convert(dict(data), _PolicyFile)
    policy = DataPolicy(
        readers=node_set("readers", file.readers),
        rest=node_set("rest", file.rest),
        transit=node_set("transit", file.transit),
        expires_ms=_time("expires", file.expires, now_ms),
        audit=file.audit,
        markings=frozenset(_marking(index, one) for index, one in enumerate(file.marking)),
    )
    try:
        encode_label(policy)
    except LocalError as error:
        raise ConfigError("", str(error)) from None
    return policy


def policy_fields(policy: DataPolicy) -> dict[str, Any]:
    """What a file of this policy holds, with a time for each that it may have."""
    return {
        "readers": str(policy.readers),
        "rest": str(policy.rest),
        "transit": str(policy.transit),
        "expires": _iso(policy.expires_ms),
        "audit": policy.audit,
        "marking": [
            {
                "policy_id": one.policy_id,
                "classification": one.classification,
                "categories": list(one.categories),
                "review": _iso(one.review_ms),
            }
            for one in sorted(policy.markings)
        ],
    }


def _iso(dtn_ms: int) -> str:
    return dtn_to_iso(dtn_ms) if dtn_ms else ""


def node_set(key: str, text: str) -> NodeSet:
    """The set at `key`.  Raises `ConfigError`."""
    try:
        return NodeSet.parse(text)
    except DecodeError as error:
        raise ConfigError(key, error.reason, 'such as "KR | (EU - node:dtn://kiruna/)"') from None


def _marking(index: int, one: _Marking) -> Marking:
    where = f"marking[{index}]"
    try:
        review_ms = _time(f"{where}.review", one.review, None)
        return Marking(one.policy_id, one.classification, one.categories, review_ms)
    except LocalError as error:
        raise ConfigError(where, str(error)) from None


def _time(key: str, text: str, now_ms: int | None) -> int:
    """DTN milliseconds; 0 for nothing.  A duration counts from `now_ms`, where it may be one."""
    if not text:
        return 0
    try:
        return dtn_from_iso(text)
    except ValueError:
        pass
    try:
        if now_ms is not None:
            until_ms = now_ms + round(parse_duration(text) * 1000)
            if until_ms < 1 << 64:  # as labels have it
                return until_ms
    except ConfigError:
        pass
    remedy = "write it like 2027-01-01T00:00:00Z" + (" or 7d" if now_ms is not None else "")
    raise ConfigError(key, f"{text[:64]!r} is no time", remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """A node, as the file has it."""

    id: str
    domain: str = ""
    jurisdictions: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_names(self.domain, self.jurisdictions, self.roles)


@dataclass(frozen=True, slots=True)
class _DirectoryFile:
    node: tuple[_Node, ...]


def load_directory(path: Path) -> Directory:
    """Read a directory file.  Raises `ConfigError`."""
    return toml.load(
        path, parse_directory, what="directory of nodes", bytes_max=DIRECTORY_BYTES_MAX
    )


def parse_directory(data: Mapping[str, Any]) -> Directory:
    """A directory from the content of its file.  Raises `ConfigError`."""
    if not data.get("node"):
        raise ConfigError("", "no [[node]] in this file", "is it the right file?")
    entries = toml.convert(data, _DirectoryFile).node
    if len(entries) > NODES_MAX:
        raise ConfigError("node", f"more than {NODES_MAX} nodes")
    nodes = [_facts(entry, f"node[{index}]") for index, entry in enumerate(entries)]
    check_unique((f"node[{index}].id", str(node.id)) for index, node in enumerate(nodes))
    return Directory(nodes)


def _facts(entry: _Node, where: str) -> NodeFacts:
    try:
        eid = Eid.parse(entry.id)
    except DecodeError as error:
        raise ConfigError(f"{where}.id", error.reason, 'such as "dtn://kiruna/"') from None
    if eid != eid.node or eid.is_null:
        raise ConfigError(f"{where}.id", f"{entry.id} is no node", f'write "{eid.node}"')
    return NodeFacts(eid, entry.domain, frozenset(entry.jurisdictions), frozenset(entry.roles))
