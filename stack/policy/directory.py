"""What is known of nodes: to whom they belong, and under whose law they stand.  A node that a
directory does not name is nowhere: policies do not admit it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from stack.core.eid import Eid
from stack.core.errors import ConfigError

PURPOSES = ("read", "rest", "pass")
"""What a domain may trust the nodes of another for: the sets of a policy, one by one."""

JURISDICTION = re.compile(r"[A-Z][A-Z0-9]{1,7}(?:-[A-Z0-9]{1,8})?")
_NAME = re.compile(r"[A-Za-z0-9._~-]{1,64}")


def check_names(domain: str, jurisdictions: Iterable[str], roles: Iterable[str]) -> None:
    """Raise `ConfigError` for names that no policy could mean."""
    for name in jurisdictions:
        if JURISDICTION.fullmatch(name) is None:
            remedy = 'capitals, such as "KR", "EU" or "US-CA"'
            raise ConfigError("jurisdictions", f"{name[:32]!r} is none", remedy)
    for key, names in (("domain", (domain,) if domain else ()), ("roles", roles)):
        for name in names:
            if _NAME.fullmatch(name) is None:
                remedy = "letters, digits and . _ ~ - alone, 64 at most"
                raise ConfigError(key, f"{name[:32]!r} is no name", remedy)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is known of a node."""

    id: Eid
    """Its administrative endpoint."""

    domain: str = ""
    jurisdictions: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset(PURPOSES)
    """What it is trusted for at all, whatever a policy allows."""

    names: frozenset[str] = field(init=False, repr=False, compare=False)
    """By what sets of nodes may mean it (`stack.policy.node_set`), each kind with a mark of its
    own, whatever somebody calls himself."""

    def __post_init__(self) -> None:
        names = {"any", *(f"law:{one}" for one in self.jurisdictions)}
        names.update(f"role:{one}" for one in self.roles)
        names.update((f"domain:{self.domain}", f"node:{self.id}"))
        object.__setattr__(self, "names", frozenset(names))


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
