"""What one node may do with data under a policy, and whom it may give it to.

Everything fails closed: a node that the directory does not name may do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeVar

from stack.policy.directory import PURPOSES, Directory, NodeFacts
from stack.policy.label import DataPolicy

KEPT_MAX = 1024
"""Answers of each kind kept, so that a flow does not evaluate its policy for each bundle."""

_NOTHING_YET: Final = (None, "", 0, frozenset[str]())

K = TypeVar("K")
V = TypeVar("V")


class DirectoryChanges(NamedTuple):
    """What another directory says otherwise than the one before, by node id."""

    nodes: int
    """How many it names."""

    new: tuple[str, ...]
    gone: tuple[str, ...]
    changed: dict[str, tuple[str, str]]
    """Of each what was known of it and what is now, in words of policies."""


class PolicyGate:
    """Judges by what a directory says of nodes."""

    def __init__(self, directory: Directory, node_id: str) -> None:
        self.directory = directory
        self._node = node_id
        self._barred: dict[tuple[DataPolicy, str, int], frozenset[str]] = {}
        self._barred_last: tuple[DataPolicy | None, str, int, frozenset[str]] = _NOTHING_YET
        """What was asked last, and the answer: mostly those of the next bundle."""

        self._readers: dict[tuple[DataPolicy, str], bool] = {}
        self._refusals: dict[tuple[DataPolicy, bool, bool], str] = {}
        self._welcome: dict[bool, DataPolicy] = {}
        """The last of which `refusal` had nothing to say, by `delivered`: mostly that of the next
        bundle too."""

    def changes(self, directory: Directory) -> DirectoryChanges:
        """What another directory says otherwise."""
        before, now = (
            {str(node.id): node for node in each} for each in (self.directory, directory)
        )
        return DirectoryChanges(
            len(now),
            tuple(name for name in now if name not in before),
            tuple(name for name in before if name not in now),
            {
                name: (known_as(old), known_as(now[name]))
                for name, old in before.items()
                if name in now and old != now[name]
            },
        )

    def follow(self, directory: Directory) -> None:
        """Judge by another directory from now on."""
        self.directory = directory
        self._barred.clear()
        self._barred_last = _NOTHING_YET
        self._readers.clear()
        self._refusals.clear()
        self._welcome.clear()

    def may_read(self, policy: DataPolicy, node_id: str) -> bool:
        """Whether a node may have it in clear; there it also rests."""
        key = (policy, node_id)
        found = self._readers.get(key)
        if found is None:
            node = self.directory.get(node_id)
            found = _keep(self._readers, key, _reads(policy, node) and _rests(policy, node))
        return found

    def may_hold(self, policy: DataPolicy, node_id: str) -> bool:
        """Whether it may rest at a node."""
        return _rests(policy, self.directory.get(node_id))

    def may_carry(self, policy: DataPolicy, node_id: str) -> bool:
        """Whether a node may pass it on, and hold it until then."""
        node = self.directory.get(node_id)
        return _passes(policy, node) and _rests(policy, node)

    def may_get(self, policy: DataPolicy, node_id: str, destination: str) -> bool:
        """Whether it may come to a node on its way to node `destination`, which is to read it."""
        may = self.may_read if node_id == destination else self.may_carry
        return may(policy, node_id)

    def missing(self, policy: DataPolicy, node_id: str, destination: str) -> str:
        """What a policy does not allow for data to come to a node on its way to node `destination`,
        or nothing."""
        node = self.directory.get(node_id)
        wanted = (
            (_reads, f"be read at '{policy.readers}'")
            if node_id == destination
            else (_passes, f"pass through '{policy.transit}'"),
            (_rests, f"rest at '{policy.rest}'"),
        )
        words = " and ".join(words for may, words in wanted if not may(policy, node))
        return f"it may {words}, not at {described(self.directory, node_id)}" if words else ""

    def barred(
        self, policy: DataPolicy, destination: str, nodes: Callable[[], Iterable[str]], version: int
    ) -> frozenset[str]:
        """Of all `nodes` that there are contacts with, those that it must not come to on its way to
        node `destination`.  `version` changes whenever `nodes` do."""
        last, to, at, found = self._barred_last
        if last is policy and at == version and to == destination:
            return found
        key = (policy, destination, version)
        kept = self._barred.get(key)
        if kept is None:
            others = {*nodes(), destination} - {self._node}
            wrong = (each for each in others if not self.may_get(policy, each, destination))
            kept = _keep(self._barred, key, frozenset(wrong))
        self._barred_last = policy, destination, version, kept
        return kept

    def refusal(self, policy: DataPolicy, *, delivered: bool, origin: bool = False) -> str:
        """Why this node may not have data, or nothing: `delivered` where it is for here, else
        to be passed on, unless this is its `origin`."""
        if not origin and self._welcome.get(delivered) is policy:
            return ""
        key = (policy, delivered, origin)
        found = self._refusals.get(key)
        if found is None:
            found = _keep(self._refusals, key, self._refusal(policy, delivered, origin))
        if not (found or origin):
            self._welcome[delivered] = policy
        return found

    def _refusal(self, policy: DataPolicy, delivered: bool, origin: bool) -> str:
        node = self.directory.get(self._node)
        if node is None:
            words = f"nothing is known of {self._node}: name it in the directory of nodes"
            return f"{words}, or bring its certificate (`orbitferry domain export`)"
        who = described(self.directory, self._node)
        if not _rests(policy, node):
            return f"it may rest at '{policy.rest}', not here ({who})"
        if delivered and not _reads(policy, node):
            return f"it may be read at '{policy.readers}', not here ({who})"
        if not (delivered or origin) and not _passes(policy, node):
            return f"it may pass through '{policy.transit}', not through here ({who})"
        return ""


def _keep(answers: dict[K, V], key: K, answer: V) -> V:
    if len(answers) >= KEPT_MAX:
        answers.clear()
    answers[key] = answer
    return answer


def _reads(policy: DataPolicy, node: NodeFacts | None) -> bool:
    return _for("read", node) and policy.readers.holds(node)


def _rests(policy: DataPolicy, node: NodeFacts | None) -> bool:
    return _for("rest", node) and policy.rest.holds(node)


def _passes(policy: DataPolicy, node: NodeFacts | None) -> bool:
    return _for("pass", node) and policy.transit.holds(node)


def _for(purpose: str, node: NodeFacts | None) -> bool:
    return node is not None and purpose in node.purposes


def known_as(node: NodeFacts) -> str:
    """What is known of a node, in words of policies."""
    parts = sorted(node.jurisdictions)
    if node.domain:
        parts.append(f"domain:{node.domain}")
    parts += [f"role:{role}" for role in sorted(node.roles)]
    if len(node.purposes) < len(PURPOSES):
        parts.append(
            f"trusted to {', '.join(one for one in PURPOSES if one in node.purposes)} only"
        )
    return ", ".join(parts)


def described(directory: Directory, node_id: str) -> str:
    """A node and what is known of it."""
    node = directory.get(node_id)
    if node is None:
        return f"{node_id}, of whom nothing is known"
    known = known_as(node)
    return f"{node_id}: '{known}'" if known else f"{node_id}, without jurisdiction, domain or role"
