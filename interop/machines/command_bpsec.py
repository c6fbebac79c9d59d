"""An acceptor of BPSec in another process as the machine sees it: a command, asked line by line.

    class TestTheirs(BpSecMachine):
        adapter = CommandBpSecAdapter("python shim.py")

The command is a shim around the acceptor, as `interop.machines.lines` says.

    start      once, as it begins
    use        keys: all that it has from now on, for whoever sends
    receive    bundle

A key has an ``id``, a ``kind`` (``hmac``, ``aes``, or ``kek``, that encrypts keys) and ``octets``.
``receive`` is answered with the ``payload`` in plain, or null for a bundle that is not delivered;
then with a ``reason`` (RFC 9172 §7.1), if the acceptor says one; and with ``blocks``, the data of
all others in plain by number, if it says so.  ``use`` is answered with an object.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from interop.machines.asked import CommandAdapter
from interop.machines.bpsec_model import Verdict
from interop.machines.lines import Done, Hex
from stack.security import Key


class _Opened(msgspec.Struct):
    """A `Verdict`."""

    payload: Hex | None
    reason: int | None = None
    blocks: dict[int, Hex] | None = None


class CommandAcceptor:
    """One case with it (see `BpSecPeer`).  Raises `ConfigError` for a command that cannot be
    run."""

    def __init__(self, adapter: CommandBpSecAdapter) -> None:
        self._process = adapter.asked()
        self._process.launch(Done)

    def use(self, keys: Sequence[Key]) -> None:
        """See `BpSecPeer`."""
        told = [{"id": key.id, "kind": key.kind, "octets": Hex(key.secret)} for key in keys]
        self._process.ask(Done, "use", keys=told)

    def receive(self, octets: bytes) -> Verdict:
        """See `BpSecPeer`."""
        opened = self._process.ask(_Opened, "receive", bundle=Hex(octets))
        return Verdict(opened.payload, opened.reason, opened.blocks)

    def close(self) -> None:
        """End it, and take its folder away."""
        self._process.close()


class CommandBpSecAdapter(CommandAdapter):
    """An adapter for `BpSecMachine`: the acceptor behind a command."""

    def __call__(self) -> CommandAcceptor:
        """The acceptor, for one case.  Raises `ConfigError` for a command that cannot be run."""
        return CommandAcceptor(self)
