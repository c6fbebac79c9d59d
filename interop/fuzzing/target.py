"""What is fuzzed, and how it is reached."""

from __future__ import annotations

import ipaddress
import shlex
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from interop.fuzzing.protocols import PROTOCOLS, FuzzedProtocol
from interop.fuzzing.reaction import Reaction
from interop.fuzzing.watch import GrowthBounds
from stack.core.errors import ConfigError


class Target(Protocol):
    """One implementation that is fed with cases."""

    name: str
    judges: bool
    """Whether it says what it takes and what it refuses."""

    keeps_state: bool
    """Whether a case may have its effect in a later one."""

    opening: bytes
    """What each connection to it begins with, if anything: cases that are not whole sequences
    follow it."""

    between: tuple[bytes, ...]
    """What tells cases apart where several are fed as one."""

    def open(self) -> None:
        """Make it ready, and fresh.  Raises `ConfigError` where it cannot be reached."""

    def feed(self, messages: Sequence[bytes]) -> Reaction:
        """Give it the messages of one case."""
        ...

    def coverage(self) -> int:
        """Places in its code that were reached so far; 0 where nobody can tell."""
        ...

    def close(self) -> None:
        """Stop what `open` started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions:
    """How a target is treated."""

    start: str = ""
    """The command that starts it, for targets that are reached over a network."""

    timeout_s: float = 2.0
    """A case, or an answer to a probe, takes no longer."""

    probe: bytes | None = None
    """A message that a target in good health answers; by default that of the protocol."""

    local_port: int = 0
    """The UDP port that cases come from; 0 for any."""

    allow_remote: bool = False
    """Whether hosts other than this one may be fuzzed."""

    memory_bytes: int = 512 * 1024 * 1024
    """A target that was started here may grow by so much."""

    disk_bytes: int = 1024 * 1024 * 1024
    """And the files of its working folder by so much."""

    tell_sessions: str = ""
    """A command that prints how many sessions the target holds open."""

    refusals: tuple[str, ...] = ()
    """Names of exceptions, beside `ValueError`, by which a Python target refuses."""

    def bounds(self) -> GrowthBounds:
        """What is watched of a target that was started here.  Raises `ConfigError`."""
        tell = words_of_command("--sessions", self.tell_sessions) if self.tell_sessions else []
        return GrowthBounds(self.memory_bytes, self.disk_bytes, tuple(tell))


PYTHON: Final = "python:"


def make_target(text: str, protocol: str, options: TargetOptions) -> Target:
    """The target that a text stands for.

    ``udp://host:port`` and ``tcp://host:port`` are reached over a network; ``python:module:name``
    is a function of octets in this process; anything else is a command, run once for each case,
    which reads the case on standard input, or from a file where it says ``{}``.  Raises
    `ConfigError`.
    """
    from interop.fuzzing.command import CommandTarget
    from interop.fuzzing.network import DatagramTarget, StreamTarget
    from interop.fuzzing.python import python_target

    known = PROTOCOLS[protocol]
    if text.startswith(("udp://", "tcp://")):
        address = _address(text, known, allow_remote=options.allow_remote)
        kind = DatagramTarget if text.startswith("udp") else StreamTarget
        return kind(text, address, known, options)
    if options.start:
        raise ConfigError("--start", "is for targets at udp:// and tcp:// addresses")
    if text.startswith(PYTHON):
        return python_target(text, options)
    words = words_of_command("--target", text)
    return CommandTarget(words, options)


def words_of_command(option: str, text: str) -> list[str]:
    """A command that an option gives.  Raises `ConfigError`."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(option, f"{text!r} is no command: {error}") from None
    if words:
        return words
    if option == "--target":
        hint = "udp://HOST:PORT, tcp://HOST:PORT, python:MODULE:FUNCTION, or a command"
        raise ConfigError(option, "names nothing", hint)
    raise ConfigError(option, "is empty")


def _address(text: str, known: FuzzedProtocol, *, allow_remote: bool) -> tuple[str, int]:
    """Host and port as numbers.  Raises `ConfigError`, also for hosts that are not this one unless
    that is allowed."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port or known.port
    except ValueError as error:
        raise ConfigError("--target", f"{text!r} is no address: {error}") from None
    if not host or not port:
        raise ConfigError("--target", f"{text!r} names no host and port", "udp://127.0.0.1:1113")
    kind = socket.SOCK_DGRAM if parts.scheme == "udp" else socket.SOCK_STREAM
    try:
        found = socket.getaddrinfo(host, port, type=kind)
    except OSError as error:
        raise ConfigError("--target", f"{host}: {error.strerror or error}") from None
    number = str(found[0][4][0])
    if not allow_remote and not ipaddress.ip_address(number.partition("%")[0]).is_loopback:
        raise ConfigError(
            "--target",
            f"{host} is another machine: what is sent there may bring it down",
            "fuzz it with the consent of those who run it only; then --allow-remote",
        )
    return number, port
