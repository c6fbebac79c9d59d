"""What one node may do with data under a policy, and whom it may give it to.

Everything fails closed: a node that the directory does not name may do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from stack.policy.directory import Directory, NodeFacts
from stack.policy.label import DataPolicy

KEPT_MAX = 1024
"""Answers kept, so that a flow does not evaluate its policy for each bundle."""


class PolicyGate:
    """Judges by what a directory says of nodes."""

    def __init__(self, directory: Directory, node_id: str) -> None:
        self.directory = directory
        self._node = node_id
        self._barred: dict[tuple[DataPolicy, str, int], frozenset[str]] = {}

    def may_read(self, policy: DataPolicy, node_id: str) -> bool:
        """Whether a node may have it in clear; there it also rests."""
        node = self.directory.get(node_id)
        return policy.readers.holds(node) and policy.rest.holds(node)

    def may_hold(self, policy: DataPolicy, node_id: str) -> bool:
        """Whether it may rest at a node."""
        return policy.rest.holds(self.directory.get(node_id))

    def may_carry(self, policy: DataPolicy, node_id: str) -> bool:
        """Whether a node may pass it on, and hold it until then."""
        node = self.directory.get(node_id)
        return policy.transit.holds(node) and policy.rest.holds(node)

    def barred(
        self, policy: DataPolicy, destination: str, nodes: Callable[[], Iterable[str]], version: int
    ) -> frozenset[str]:
        """Of all `nodes` that there are contacts with, those that it must not come to on its way to
        node `destination`.  `version` changes whenever `nodes` do."""
        key = (policy, destination, version)
        found = self._barred.get(key)
        if found is None:
            if len(self._barred) >= KEPT_MAX:
                self._barred.clear()
            wrong = {each for each in nodes() if not self.may_carry(policy, each)} - {self._node}
            if self.may_hold(policy, destination):
                wrong.discard(destination)
            else:
                wrong.add(destination)
            found = self._barred[key] = frozenset(wrong)
        return found

    def refusal(self, policy: DataPolicy, *, delivered: bool, origin: bool = False) -> str:
        """Why this node may not have data, or nothing: `delivered` where it is for here, else
        to be passed on, unless this is its `origin`."""
        node = self.directory.get(self._node)
        if node is None:
            return f"nothing is known of {self._node}: name it in the directory of nodes"
        who = described(self.directory, self._node)
        if not policy.rest.holds(node):
            return f"it may rest at '{policy.rest}', not here ({who})"
        if delivered and not policy.readers.holds(node):
            return f"it may be read at '{policy.readers}', not here ({who})"
        if not (delivered or origin) and not policy.transit.holds(node):
            return f"it may pass through '{policy.transit}', not through here ({who})"
        return ""


def known_as(node: NodeFacts) -> str:
    """What is known of a node, in words of policies."""
    parts = sorted(node.jurisdictions)
    if node.domain:
        parts.append(f"domain:{node.domain}")
    return ", ".join([*parts, *(f"role:{role}" for role in sorted(node.roles))])


def described(directory: Directory, node_id: str) -> str:
    """A node and what is known of it."""
    node = directory.get(node_id)
    return (
        f"{node_id}, of whom nothing is known" if node is None else f"{node_id}: '{known_as(node)}'"
    )
