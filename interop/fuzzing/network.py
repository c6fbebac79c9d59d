"""A target behind a socket, started here or not."""

from __future__ import annotations

import abc
import contextlib
import socket
import time
from collections.abc import Sequence
from typing import Final

from interop.fuzzing.protocols import FuzzedProtocol
from interop.fuzzing.reaction import Reaction
from interop.fuzzing.server import Server
from interop.fuzzing.target import TargetOptions
from stack.core.errors import ConfigError

START_S: Final = 20.0
"""A started target answers within so long."""

RETRY_S: Final = 0.02
ENDING_S: Final = 0.5
"""A target that answers no more, and is about to end, has ended after so long."""

WATCHED_EVERY: Final = 50
"""Cases between two looks at what a started target takes."""

GLANCE_S: Final = 0.002
"""So long is looked after each case whether a target that answers no probes goes on."""

ANSWER_MAX: Final = 65_536
ANSWERS_MAX: Final = 1_048_576
OPENING: Final = 2
"""Messages of a connection that wait for an answer: contact headers and the like."""

QUIET_S: Final = 0.05
"""A connection on which nothing comes for so long has nothing more to say."""


class _Networked(abc.ABC):
    """What targets behind sockets share: the process, and how its health is told."""

    judges = False
    keeps_state = True
    between: tuple[bytes, ...] = ()

    def __init__(
        self, name: str, address: tuple[str, int], known: FuzzedProtocol, options: TargetOptions
    ) -> None:
        self.name = name
        self._address = address
        self._known = known
        self.opening = known.opening
        self._options = options
        self._server = Server(options.start, options.bounds()) if options.start else None
        self._cases = 0
        self._answers = True
        self._heard: list[bytes] = []
        """What it answered to the case under way."""

    def open(self) -> None:
        """Start the target if it is ours to start, and wait until it answers.  Raises `ConfigError`
        where it cannot be reached."""
        if self._server is None:
            self._answers = self._lives(self._options.timeout_s)
            if not self._answers and not self._reachable():
                raise ConfigError(
                    "--target", f"nothing listens at {self.name}", "start it, or give --start"
                )
            return
        self._server.start()
        end = time.monotonic() + START_S
        well = self._lives if self._has_probe() else lambda within_s: self._reachable()
        while not well(RETRY_S) and time.monotonic() < end:
            if (ended := self._server.ended()) is not None:
                raise ConfigError("--start", f"it has ended before it listened: {ended.words}")
            time.sleep(RETRY_S)
        # One that does not answer may not know these probes: that it ends will show.
        self._answers = self._has_probe() and time.monotonic() < end
        self._server.settled()

    def feed(self, messages: Sequence[bytes]) -> Reaction:
        """Send them, and see whether the target is still well."""
        self._cases += 1
        self._heard.clear()
        self._send(messages)
        server = self._server
        well = self._answers and self._lives(self._options.timeout_s)
        if not well and (ended := self._ended(ENDING_S if self._answers else GLANCE_S)) is not None:
            return ended
        if server is not None and (complained := server.complained()) is not None:
            return complained
        if self._answers and not well:
            words = f"no answer to a probe within {self._options.timeout_s:g} s"
            return Reaction("hang", words, "no answer")
        if server is not None and self._cases % WATCHED_EVERY == 0:
            grown = server.grown()
            if grown is not None:
                return grown
        kinds = tuple(kind for one in self._heard for kind in self._known.kinds(one))
        return Reaction("unsaid", "answered" if self._heard else "", answers=kinds)

    def _ended(self, within_s: float) -> Reaction | None:
        if self._server is not None:
            return self._server.ended(within_s)
        if not self._reachable():
            return Reaction("crash", f"nothing listens at {self.name} any more", "gone")
        return None

    def coverage(self) -> int:
        """Nobody sees inside."""
        return 0

    def close(self) -> None:
        """End what was started."""
        if self._server is not None:
            self._server.stop()

    @abc.abstractmethod
    def _send(self, messages: Sequence[bytes]) -> None:
        """Send a case, and hear what comes back."""

    def _has_probe(self) -> bool:
        """Whether there is anything that shows that it lives."""
        return self._options.probe is not None or self._known.probe is not None

    @abc.abstractmethod
    def _lives(self, within_s: float) -> bool:
        """Whether it answers a probe in time."""

    @abc.abstractmethod
    def _reachable(self) -> bool:
        """Whether anything listens there, as far as the system tells."""


class DatagramTarget(_Networked):
    """A target behind a UDP port.  It lives as long as it answers probes; one that answers none
    lives as long as its port is open."""

    _socket: socket.socket
    _probes = 0

    def open(self) -> None:
        """Bind the port that cases come from, too.  Raises `ConfigError`."""
        host, _ = self._address
        family, own = (socket.AF_INET6, "::") if ":" in host else (socket.AF_INET, "")
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.bind((own, self._options.local_port))
            self._socket.connect(self._address)
        except OSError as error:
            self._socket.close()
            raise ConfigError("--local-port", error.strerror or str(error)) from None
        self._probes = time.time_ns() // 1_000_000 % 1_000_000_000
        super().open()

    def close(self) -> None:
        """End what was started, and give the port back."""
        super().close()
        self._socket.close()

    def tell(self, message: bytes) -> None:
        """Send one datagram, whatever becomes of it."""
        self._socket.setblocking(False)
        # A port that is closed shows as an error of the next call; a datagram may be too long.
        with contextlib.suppress(OSError):
            self._socket.send(message)

    def hear(self, within_s: float = 0) -> bytes | None:
        """The next datagram that comes within a time, or None."""
        end = time.monotonic() + within_s
        while True:
            self._socket.settimeout(max(0.0, end - time.monotonic()))
            try:
                return self._socket.recv(ANSWER_MAX)
            except ConnectionError:
                continue
            except OSError:
                return None

    def _send(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            self.tell(message)
        self._drain()

    def _drain(self) -> None:
        while (answer := self.hear()) is not None:
            self._heard.append(answer)

    def _lives(self, within_s: float) -> bool:
        probe = self._probe()
        if probe is None:
            return False
        self._drain()
        end = time.monotonic() + within_s
        try:
            self._socket.send(probe)
            while (left := end - time.monotonic()) > 0:
                self._socket.settimeout(left)
                answer = self._socket.recv(ANSWER_MAX)
                if self._options.probe is not None or self._known.answers(probe, answer):
                    return True
                self._heard.append(answer)
        except OSError:
            return False
        return False

    def _probe(self) -> bytes | None:
        if self._options.probe is not None:
            return self._options.probe
        make = self._known.probe
        self._probes += 1
        return None if make is None else make(self._probes)

    def _reachable(self) -> bool:
        self._drain()
        self._socket.setblocking(False)
        try:
            self._socket.send(b"\0")
            time.sleep(0.002)  # the refusal comes back as an error of the next call
            self._socket.send(b"\0")
        except ConnectionError:
            return False
        except OSError:
            return True
        return True


class StreamTarget(_Networked):
    """A target behind a TCP port: a connection for each case; an empty message ends one and
    begins another.  It lives as long as it takes connections, and answers the opening of its
    protocol on them."""

    between: tuple[bytes, ...] = (b"",)

    def _has_probe(self) -> bool:
        return True

    def _send(self, messages: Sequence[bytes]) -> None:
        begin = 0
        for end in (*(at for at, one in enumerate(messages) if not one), len(messages)):
            if begin < end:
                with contextlib.suppress(OSError):
                    self._talk(messages[begin:end])
            begin = end + 1

    def _talk(self, messages: Sequence[bytes]) -> None:
        """One connection.  The first messages open a session: they wait for an answer, as most
        peers do."""
        heard = b""
        with self._connected(self._options.timeout_s) as stream:
            try:
                for number, message in enumerate(messages):
                    stream.sendall(message)
                    stream.settimeout(QUIET_S if number < OPENING else 0)
                    with contextlib.suppress(BlockingIOError, TimeoutError):
                        heard += stream.recv(ANSWER_MAX)
                    stream.settimeout(self._options.timeout_s)
                stream.shutdown(socket.SHUT_WR)
                stream.settimeout(QUIET_S)
                while (more := stream.recv(ANSWER_MAX)) and len(heard) < ANSWERS_MAX:
                    heard += more
            finally:
                if heard:
                    self._heard.append(heard)

    def _lives(self, within_s: float) -> bool:
        probe = self._options.probe or self._known.opening
        try:
            with self._connected(within_s) as stream:
                if not probe:
                    return True
                stream.sendall(probe)
                return bool(stream.recv(ANSWER_MAX))
        except OSError:
            return False

    def _reachable(self) -> bool:
        try:
            self._connected(self._options.timeout_s).close()
        except OSError:
            return False
        return True

    def _connected(self, within_s: float) -> socket.socket:
        stream = socket.create_connection(self._address, timeout=within_s)
        stream.settimeout(within_s)
        return stream
