"""What is known of nodes: to whom they belong, and under whose law they stand.  A node that a
directory does not name is nowhere: policies do not admit it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stack.core.eid import Eid


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is known of a node."""

    id: Eid
    """Its administrative endpoint."""

    domain: str = ""
    jurisdictions: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()


class Directory:
    """What is known of each node, by its node id."""

    def __init__(self, nodes: Iterable[NodeFacts] = ()) -> None:
        self._nodes = {str(node.id): node for node in nodes}

    def get(self, node_id: str) -> NodeFacts | None:
        """What is known of a node, or None."""
        return self._nodes.get(node_id)

    def __iter__(self) -> Iterator[NodeFacts]:
        return iter(self._nodes.values())

    def __len__(self) -> int:
        return len(self._nodes)
