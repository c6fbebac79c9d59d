"""A sender or receiver of FECFRAME in another process as the machine sees it: a command, asked line
by line.

    class TestTheirs(FecMachine):
        adapter = CommandFecAdapter("python shim.py")

The command is a shim around the implementation, as `interop.machines.lines` says; one runs for
the sender, and one for the receiver.  Times are nanoseconds from any moment.

    start      config, first_sbn: once, as it begins
    protect    adus, now_ns
    flush      now_ns
    advance    now_ns
    receive    packets, now_ns

``config`` has the fields of `FecConfig` (``k``, ``r``, ``interleave``, ``adu_bytes_max``,
``block_time_ns``, ``decode_timeout_ns``, ``flow_id``, ``fill_short_blocks``, ``memory_bytes_max``).
A packet is a pair: whether it is one of the repair flow, and its octets.  Each answer has the
``packets`` that leave, the ``adus`` that came of what arrived, and ``held_bytes``, the octets of
packets that a receiver keeps.  An ADU is genuine if its last four octets are the CRC-32 of the
others; an implementation that cannot be told so has a machine with ``damage_max = 0``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from interop.machines.asked import CommandAdapter
from interop.machines.lines import Done, Hex
from interop.strategies.fecframe import Packet
from stack.fec.config import FecConfig


class _Outcome(msgspec.Struct):
    """What one answers."""

    packets: list[tuple[bool, Hex]] = []
    adus: list[Hex] = []
    held_bytes: int = 0


class CommandFec:
    """One case with it (see `FecPeer`).  Raises `ConfigError` for a command that cannot be run."""

    def __init__(self, adapter: CommandFecAdapter, config: FecConfig, first_sbn: int) -> None:
        self._process = adapter.asked()
        self._held_bytes = 0
        self._process.launch(Done, config=config, first_sbn=first_sbn)

    def _ask(self, do: str, now_ns: int, **fields: Any) -> _Outcome:
        outcome = self._process.ask(_Outcome, do, now_ns=now_ns, **fields)
        self._held_bytes = outcome.held_bytes
        return outcome

    def protect(self, adus: Sequence[bytes], now_ns: int) -> Iterable[Packet]:
        """See `FecPeer`."""
        return self._left(self._ask("protect", now_ns, adus=[Hex(adu) for adu in adus]))

    def flush(self, now_ns: int) -> Iterable[Packet]:
        """See `FecPeer`."""
        return self._left(self._ask("flush", now_ns))

    def advance(self, now_ns: int) -> Iterable[Packet]:
        """See `FecPeer`."""
        return self._left(self._ask("advance", now_ns))

    def _left(self, outcome: _Outcome) -> list[Packet]:
        return [Packet(repair, octets) for repair, octets in outcome.packets]

    def receive(self, packets: Sequence[Packet], now_ns: int) -> Iterable[bytes]:
        """See `FecPeer`."""
        came = [(one.repair, Hex(one.octets)) for one in packets]
        return self._ask("receive", now_ns, packets=came).adus

    def held_bytes(self) -> int:
        """See `FecPeer`."""
        return self._held_bytes

    def close(self) -> None:
        """End it, and take its folder away."""
        self._process.close()


class CommandFecAdapter(CommandAdapter):
    """An adapter for `FecMachine`: the implementation behind a command."""

    def __call__(
        self, config: FecConfig, first_sbn: int, genuine: Callable[[memoryview], bool], /
    ) -> CommandFec:
        """One side, for one case.  Raises `ConfigError` for a command that cannot be run."""
        return CommandFec(self, config, first_sbn)
