"""A node whose store neighbours share, in another process as the machine sees it: a command, asked
line by line.

    class TestTheirs(SharesMachine):
        adapter = CommandSharesAdapter("python shim.py")
        part_bytes = 6_000

The command is a shim around the node, as `interop.machines.lines` says.  What names a bundle is
text or a number; it is the same after a restart.  An answer has what stands behind the arrow.

    start      neighbours, quota_bytes, quota_bundles   ->
    arrive     neighbour, octets, leads, lifetime_ms    -> name, or null for what is refused
    send       octets                                   -> name, or null
    held                                                -> bundles: pairs of a name and its octets
    leave      count                                    ->
    fail       name                                     ->
    advance    milliseconds                             ->

A bundle ``leads`` ``on``, ``nowhere`` or ``here`` (see `interop.machines.shares`); no two are
alike.  A restart is SIGKILL, and the command again in the same folder: ``start`` has
``milliseconds`` then, how much time has passed since the first one.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import msgspec

from interop.machines.asked import CommandAdapter
from interop.machines.lines import Done


class _Name(msgspec.Struct):
    name: str | int | None


class _Held(msgspec.Struct):
    bundles: list[tuple[str | int, int]]


class CommandShares:
    """One case with it (see `SharesPeer`).  Raises `ConfigError` for a command that cannot be
    run."""

    def __init__(
        self,
        adapter: CommandSharesAdapter,
        neighbours: Sequence[str],
        quota_bytes: int,
        quota_bundles: int,
    ) -> None:
        self._process = adapter.asked()
        self._start = {
            "neighbours": list(neighbours),
            "quota_bytes": quota_bytes,
            "quota_bundles": quota_bundles,
        }
        self._passed_ms = 0
        self._launch()

    def _launch(self) -> None:
        self._process.launch(Done, **self._start, milliseconds=self._passed_ms)

    def arrive(self, neighbour: str, octets: int, leads: str, lifetime_ms: int) -> Hashable | None:
        """See `SharesPeer`."""
        fields = {"neighbour": neighbour, "octets": octets, "leads": leads}
        return self._process.ask(_Name, "arrive", **fields, lifetime_ms=lifetime_ms).name

    def send(self, octets: int) -> Hashable | None:
        """See `SharesPeer`."""
        return self._process.ask(_Name, "send", octets=octets).name

    def held(self) -> Mapping[Hashable, int]:
        """See `SharesPeer`."""
        return {name: octets for name, octets in self._process.ask(_Held, "held").bundles}

    def leave(self, count: int) -> None:
        """See `SharesPeer`."""
        self._process.ask(Done, "leave", count=count)

    def fail(self, name: Hashable) -> None:
        """See `SharesPeer`."""
        self._process.ask(Done, "fail", name=name)

    def advance(self, milliseconds: int) -> None:
        """See `SharesPeer`."""
        self._passed_ms += milliseconds
        self._process.ask(Done, "advance", milliseconds=milliseconds)

    def restart(self) -> None:
        """See `SharesPeer`."""
        self._process.kill()
        self._launch()

    def close(self) -> None:
        """End it, and take its folder away."""
        self._process.close()


class CommandSharesAdapter(CommandAdapter):
    """An adapter for `SharesMachine`: the node behind a command."""

    def __call__(
        self, neighbours: Sequence[str], quota_bytes: int, quota_bundles: int, /
    ) -> CommandShares:
        """The node, for one case.  Raises `ConfigError` for a command that cannot be run."""
        return CommandShares(self, neighbours, quota_bytes, quota_bundles)
