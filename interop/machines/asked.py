"""Where an implementation is that is asked line by line: behind a command, or behind a port."""

from __future__ import annotations

from dataclasses import dataclass

from interop.machines.connection import SCHEME, AskedConnection
from interop.machines.lines import AskedPeer
from interop.machines.process import AskedProcess


@dataclass(frozen=True)
class CommandAdapter:
    """What adapters to an implementation that is asked line by line consist of."""

    command: str
    """The command that runs it, or ``tcp://HOST:PORT`` where it runs already."""

    timeout_s: float = 10.0
    """Each answer takes no longer, and the first no longer than ten times that."""

    allow_remote: bool = False
    """Whether the port may be one of another machine."""

    def asked(self) -> AskedPeer:
        """It, before its first life.  Raises `ConfigError` for what is neither."""
        if self.command.startswith(SCHEME):
            return AskedConnection(self.command, self.timeout_s, allow_remote=self.allow_remote)
        return AskedProcess(self.command, self.timeout_s)
