"""What a running node knows of others when it judges data policies."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path

from stack.core.errors import ConfigError
from stack.core.sansio import Trace
from stack.node.application import LocalPort
from stack.node.config import NodeConfig
from stack.node.driver import BundleDriver
from stack.node.identity import Membership
from stack.node.link import Link
from stack.policy import PolicyGate
from stack.policy.file import load_directory
from stack.policy.gate import DirectoryChanges


class NodePolicy:
    """By what one node judges: certificates, or its directory of nodes."""

    def __init__(self, config: NodeConfig, trace: Trace, member: Membership | None = None) -> None:
        """Reads the directory, unless it is a `member` of a domain.  Raises `ConfigError`."""
        self._path, self._trace = config.policy.directory, trace
        self.gate: PolicyGate | None = None
        self._driver: BundleDriver
        self._port: LocalPort
        self._links: Collection[Link]
        if member is not None:
            self.gate = member.gate
        elif self._path:
            self.gate = PolicyGate(load_directory(Path(self._path)), config.id)

    def follow(self, driver: BundleDriver, port: LocalPort, links: Collection[Link]) -> None:
        """Judge what these have whenever something else is known."""
        self._driver, self._port, self._links = driver, port, links

    def reload(self, *, dry_run: bool = False) -> DirectoryChanges:
        """Judge by what the directory of nodes has now, also all that is here and on its way: see
        `BundleAgent.policy_changed`.  With `dry_run` only say what would change.  Raises
        `ConfigError`, and all stays as it is, for a file in which something is wrong, and without
        one."""
        gate = self.gate
        if gate is None or not self._path:
            remedy = "a domain says it by certificates; else name a file and start the node anew"
            raise ConfigError("policy.directory", "this node has none", remedy)
        directory = load_directory(Path(self._path))
        told = gate.changes(directory)
        if not dry_run:
            fields = {name: " ".join(getattr(told, name)) for name in ("new", "gone", "changed")}
            self._trace("directory_reloaded", {"nodes": told.nodes, **fields})
            if any(told[1:]):
                gate.follow(directory)
                self.changed()
        return told

    def changed(self) -> None:
        """Something else is known."""
        driver = self._driver
        change = driver.agent.policy_changed
        driver.attempt("policy", change, driver.clock.dtn_ms(), self._take_back)
        driver.run_pending()
        self._port.policy_changed()

    def _take_back(self, neighbour: str) -> None:
        for link in self._links:
            if link.peer == neighbour:
                self._driver.attempt("withdraw", partial(link.withdraw, begun=True))
