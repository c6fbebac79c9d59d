"""A router in another process as the machine sees it: a command, asked line by line.

    class TestTheirs(RouterPeerMachine):
        adapter = CommandRouterAdapter("python shim.py")

The command is a shim around the router, as `interop.machines.lines` says.  Times are DTN times in
milliseconds.  A plan is an object of our own format (`stack.contacts.native`): ``contacts`` and
``ranges``.  Elsewhere a contact is an object with ``source``, ``destination``, ``start_ms``,
``end_ms`` and ``rate_bps``: what the shim says of one is what it was told.

    start              node, plan
    route              destination, size_bytes, priority, now_ms
    book, release      route, size_bytes, priority, now_ms
    set_plan           plan
    contact_failed     contact
    contact_restored   contact

``route`` is answered with a ``route``, null or with ``contacts``, ``arrival_ms`` and what the
shim wants to have back as ``handle``; all others with an object.
"""

from __future__ import annotations

from typing import Any

import msgspec

from interop.machines.asked import CommandAdapter
from interop.machines.lines import Done
from interop.machines.router import FoundRoute
from stack.contacts.native import write_json
from stack.contacts.plan import Contact, Plan


class _Route(msgspec.Struct):
    """A `FoundRoute`."""

    contacts: tuple[Contact, ...]
    arrival_ms: int
    handle: Any = None


class _Found(msgspec.Struct):
    """What a router answers."""

    route: _Route | None

    def found(self) -> FoundRoute | None:
        """As the machine has it."""
        return None if self.route is None else FoundRoute(*msgspec.structs.astuple(self.route))


class CommandRouter:
    """One case with it (see `RouterPeer`).  Raises `ConfigError` for a command that cannot be
    run."""

    def __init__(self, adapter: CommandRouterAdapter, plan: Plan, node: str) -> None:
        self._process = adapter.asked()
        self._process.launch(Done, node=node, plan=_told(plan))

    def route(
        self, destination: str, size_bytes: int, priority: int, now_ms: int
    ) -> FoundRoute | None:
        """See `RouterPeer`."""
        fields = {"destination": destination, "size_bytes": size_bytes, "priority": priority}
        return self._process.ask(_Found, "route", **fields, now_ms=now_ms).found()

    def book(self, route: FoundRoute, size_bytes: int, priority: int, now_ms: int) -> None:
        """See `RouterPeer`."""
        self._with("book", route, size_bytes, priority, now_ms)

    def release(self, route: FoundRoute, size_bytes: int, priority: int, now_ms: int) -> None:
        """See `RouterPeer`."""
        self._with("release", route, size_bytes, priority, now_ms)

    def _with(
        self, do: str, route: FoundRoute, size_bytes: int, priority: int, now_ms: int
    ) -> None:
        self._process.ask(
            Done, do, route=route._asdict(), size_bytes=size_bytes, priority=priority, now_ms=now_ms
        )

    def set_plan(self, plan: Plan) -> None:
        """See `RouterPeer`."""
        self._process.ask(Done, "set_plan", plan=_told(plan))

    def contact_failed(self, contact: Contact) -> None:
        """See `RouterPeer`."""
        self._process.ask(Done, "contact_failed", contact=contact)

    def contact_restored(self, contact: Contact) -> None:
        """See `RouterPeer`."""
        self._process.ask(Done, "contact_restored", contact=contact)

    def close(self) -> None:
        """End it, and take its folder away."""
        self._process.close()


def _told(plan: Plan) -> msgspec.Raw:
    """A plan as a line has it."""
    return msgspec.Raw(msgspec.json.format(write_json(plan).encode(), indent=-1))


class CommandRouterAdapter(CommandAdapter):
    """An adapter for `RouterPeerMachine`: the router behind a command."""

    def __call__(self, plan: Plan, node: str, /) -> CommandRouter:
        """The router, for one case.  Raises `ConfigError` for a command that cannot be run."""
        return CommandRouter(self, plan, node)
