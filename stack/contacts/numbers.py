"""Numbers for nodes that have names: ION and HDTN know nodes by number only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import count

from stack.contacts.plan import Plan
from stack.core.errors import ConfigError

NUMBER_MAX = (1 << 32) - 1
"""Largest node number without an allocator (RFC 9758 §3.2.1)."""

_NODE_ID = re.compile(r"ipn:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?\.0", re.ASCII)


def node_numbers(plan: Plan, given: Mapping[str, int] | None = None) -> dict[str, int]:
    """A number for every node of a plan that is not ``ipn:N.0``: that of `given`, or else, in
    order of their names, the smallest that no other node has.

    Raises `ConfigError` for a number that cannot be, or that two nodes would have.
    """
    numbers: dict[str, int] = {}
    owner: dict[int, str] = {}
    named = []
    for node in plan.nodes:
        if _NODE_ID.fullmatch(node):
            if node.count(".") == 1:
                owner[int(node[4:-2])] = node
        elif given is None or node not in given:
            named.append(node)
        else:
            numbers[node] = given[node]
    for node, number in numbers.items():
        if not 1 <= number <= NUMBER_MAX:
            raise ConfigError("numbers", f"{number} of {node} is not in 1..{NUMBER_MAX}")
        if number in owner:
            raise ConfigError("numbers", f"{node} and {owner[number]} would both be {number}")
        owner[number] = node
    free = (number for number in count(1) if number not in owner)
    return dict(sorted([*numbers.items(), *zip(named, free, strict=False)]))


def renamed(plan: Plan, names: Mapping[str, str]) -> Plan:
    """A plan in which the nodes that are in `names` are called otherwise.  Raises `ConfigError`
    when two become one that would talk to itself."""

    def name(node: str) -> str:
        return names.get(node, node)

    return Plan(
        (
            replace(contact, source=name(contact.source), destination=name(contact.destination))
            for contact in plan.contacts
        ),
        (
            replace(entry, source=name(entry.source), destination=name(entry.destination))
            for entry in plan.ranges
        ),
    )


def numbered(plan: Plan, numbers: Mapping[str, int]) -> Plan:
    """A plan whose nodes have numbers only; see `node_numbers`."""
    return renamed(plan, {node: f"ipn:{number}.0" for node, number in numbers.items()})


def with_names(plan: Plan, numbers: Mapping[str, int]) -> Plan:
    """The way back: a plan as ION or HDTN have it, with the names that its nodes had."""
    return renamed(plan, {f"ipn:{number}.0": node for node, number in numbers.items()})
