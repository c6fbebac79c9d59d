"""The box: two directions, what carries datagrams and streams over them, and the commands that
change them while they are in use."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any, Literal

from link_models.channel import FOREVER_NS, ChannelConfig
from link_models.emulator.agenda import Agenda
from link_models.emulator.capture import Capture
from link_models.emulator.config import (
    Address,
    EmulatorConfig,
    OpenPort,
    SocketAddress,
    StreamFaults,
)
from link_models.emulator.connections import Connections, StreamPath, StreamTransmitter
from link_models.emulator.datagrams import Relay
from link_models.emulator.direction import Direction
from link_models.emulator.world import EmulatorTime
from link_models.rng import Streams
from stack.core.clock import SECOND
from stack.core.errors import ConfigError, LocalError, bind_error
from stack.ports.capture import CaptureSink
from stack.ports.datagram import RelayPort

DirectionName = Literal["forward", "backward"]

NAMES: tuple[DirectionName, DirectionName] = ("forward", "backward")

PORT_ATTEMPTS = 16
"""Tries to find a port that is free for UDP and TCP when any port will do."""


class Emulator:
    """The box.  `run` serves until cancelled; `start` and `close` do it by hand."""

    def __init__(
        self,
        config: EmulatorConfig,
        open_port: OpenPort | None = None,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`open_port` opens UDP ports (`stack.adapters.udp.open_udp`); `clock` gives monotonic
        nanoseconds.  Raises `ConfigError`."""
        if config.udp and open_port is None:
            raise ConfigError("open_port", "is needed for UDP", "pass stack.adapters.udp.open_udp")
        self.config = config
        self._open_port = open_port
        self._clock = clock
        self._ports: list[RelayPort] = []
        self._relays: list[Relay] = []
        self._paths: list[StreamPath] = []
        self._agenda: Agenda | None = None
        self._connections: Connections | None = None
        self._capture: Capture | None = None
        self._locals: list[SocketAddress] = []
        self._world: EmulatorTime | None = None
        self._wall_ns = time.time_ns() - time.monotonic_ns()

    # -- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the sockets.  Raises `ConfigError`."""
        config = self.config
        loop = asyncio.get_running_loop()
        self._world = world = EmulatorTime(self._clock, config.schedule)
        self._agenda = Agenda(loop, world)
        streams = Streams(config.seed)
        channels = (config.forward, config.backward or config.forward)
        for name, channel, faults in zip(
            NAMES, channels, (config.forward_faults, config.backward_faults), strict=True
        ):
            direction = Direction(name, channel, config.seed, world)
            transmitter = StreamTransmitter(direction, self._agenda, world)
            uniform = streams.stream(f"{name}/connections").random
            self._paths.append(StreamPath(direction, faults, uniform, transmitter))
        try:
            await self._open("a", config.listen_a, config.peer_a)
            await self._open("b", config.listen_b, config.peer_b)
        except BaseException:
            await self.close()
            raise
        if config.udp:
            a, b = self._ports
            for path, source, sink in ((self._paths[0], a, b), (self._paths[1], b, a)):
                memory = config.memory_bytes
                self._relays.append(Relay(loop, path.direction, source, sink, world, memory))

    async def run(self) -> None:
        """Serve until cancelled."""
        await self.start()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await self.close()

    async def close(self) -> None:
        """Stop, and drop what is under way.  May be repeated."""
        for relay in self._relays:
            relay.close()
        if self._connections is not None:
            self._connections.close()
        if self._agenda is not None:
            self._agenda.close()
        for port in self._ports:
            await port.close()
        self.stop_capture()
        # Sockets that were reset or whose listener was closed go in the next rounds of the loop.
        await asyncio.sleep(0)

    # -- what it is like -------------------------------------------------------------------

    @property
    def address_a(self) -> SocketAddress:
        """Where program A sends to, once started."""
        return self._locals[0]

    @property
    def address_b(self) -> SocketAddress:
        """Where program B sends to, once started."""
        return self._locals[1]

    @property
    def world(self) -> EmulatorTime:
        """Link time and scenario time.  Raises `LocalError` before the start."""
        if self._world is None:
            raise LocalError("the emulator has not been started")
        return self._world

    def statistics(self) -> dict[str, dict[str, Any]]:
        """For `forward` and `backward`: the channel's counters, `dropped_down` (what came while the
        link was switched off), and for datagrams `under_way`, `socket_drops` (by the box itself,
        which the model did not want), `foreign` and the error of the delay, p50, p99 and maximum
        in milliseconds.  For `tcp`, if it is on: see `Connections.statistics`."""
        found: dict[str, dict[str, Any]] = {}
        for place, path in enumerate(self._paths):
            found[path.direction.name] = path.direction.counters()
            if self._relays:
                found[path.direction.name] |= self._relays[place].statistics()
        if self._connections is not None:
            found["tcp"] = dict(self._connections.statistics())
        return found

    def state(self) -> dict[str, Any]:
        """What the link is like now: times in seconds, whether it stands still, both directions
        (see `Direction.state`), and the capture under way."""
        world = self.world
        now_ns = world.now()
        found: dict[str, Any] = {
            "running_s": now_ns / SECOND,
            "scenario_s": world.scenario_ns() / SECOND,
            "factor": world.at(now_ns).factor,
            "paused": world.paused,
        }
        for path in self._paths:
            found[path.direction.name] = path.direction.state(now_ns)
        if self._connections is not None:
            found["refusing"] = self._connections.refusing
        found["capture"] = None if self._capture is None else self._capture.statistics()
        return found

    # -- commands --------------------------------------------------------------------------

    def configure(
        self, name: DirectionName, channel: ChannelConfig, faults: StreamFaults | None = None
    ) -> None:
        """From now on a direction is like `channel`, and `faults` befall new TCP connections; what
        is under way keeps its time."""
        path = self._paths[NAMES.index(name)]
        path.faults = faults
        path.direction.configure(channel)
        self._look()

    def set_up(self, up: bool, name: DirectionName | None = None) -> None:
        """Switch one direction or both on or off until further notice."""
        self._darken(FOREVER_NS if not up else -FOREVER_NS, name)

    def blackout(self, seconds: float, name: DirectionName | None = None) -> None:
        """Nothing enters one direction or both for so many seconds of link time, and what waits for
        the transmitter until then is lost; what is on its way arrives.  Raises `ConfigError` for
        what is no length."""
        if not 0 <= seconds * SECOND < FOREVER_NS:
            raise ConfigError("seconds", f"{seconds} is no length", "0 or more")
        self._darken(self.world.now() + round(seconds * SECOND), name)

    def pause(self) -> None:
        """Let the time of the link stand still: what is under way stays where it is."""
        self.world.pause()
        self._rearm()

    def resume(self) -> None:
        """Let time go on from where it was."""
        self.world.resume()
        self._rearm()

    def set_time(self, scenario_ns: int | None = None, factor: float | None = None) -> None:
        """Set scenario time or its pace.  Raises `ConfigError`."""
        self.world.set(scenario_ns, factor)
        self._look()

    async def refuse(self, on: bool) -> None:
        """Have the system refuse new TCP connections, or take them again.  Raises `ConfigError`."""
        await self._tcp().refuse(on)

    def reset_connections(self) -> int:
        """Reset (RST) every TCP connection; how many there were.  Raises `ConfigError`."""
        return self._tcp().reset_all()

    def start_capture(self, sink: CaptureSink) -> None:
        """Put what crosses the link into a capture (`stack.adapters.capture.CaptureFile`), until
        `stop_capture`; one that is under way ends."""
        self.stop_capture()
        self._capture = capture = Capture(
            sink, self._addresses, lambda: time.monotonic_ns() + self._wall_ns
        )
        self._tap(capture)

    def stop_capture(self) -> dict[str, Any] | None:
        """Finish the capture; what it has become, None when there was none."""
        capture, self._capture = self._capture, None
        self._tap(None)
        if capture is None:
            return None
        capture.close()
        return capture.statistics()

    # -- inside ----------------------------------------------------------------------------

    def _tap(self, capture: Capture | None) -> None:
        for relay in self._relays:
            relay.tap = capture
        if self._connections is not None:
            self._connections.tap = capture

    def _tcp(self) -> Connections:
        if self._connections is None:
            raise ConfigError("tcp", "is off", "start the emulator with TCP")
        return self._connections

    def _darken(self, until_ns: int, name: DirectionName | None) -> None:
        now_ns = self.world.now()
        for place, path in enumerate(self._paths):
            if name in (None, path.direction.name):
                direction = path.direction
                direction.dark(until_ns)
                # What waits for the transmitter now would be sent into the dark.
                delay_ns = direction.delay_ns(now_ns)
                span = now_ns + delay_ns, min(until_ns + delay_ns, FOREVER_NS)
                if self._relays:
                    direction.take_back(*self._relays[place].lose(*span))
                if self._connections is not None:
                    direction.take_back(*self._connections.lose(direction.name, *span))
        self._look()

    def _look(self) -> None:
        """Something has changed: those who wait for the link may be able to go on, or not."""
        for path in self._paths:
            path.transmitter.serve()

    def _rearm(self) -> None:
        for relay in self._relays:
            relay.rearm()
        if self._agenda is not None:
            self._agenda.rearm()

    def _addresses(self) -> dict[str, SocketAddress | None]:
        config = self.config
        found: dict[str, SocketAddress | None] = {}
        for place, (side, peer) in enumerate((("a", config.peer_a), ("b", config.peer_b))):
            found[f"box_{side}"] = self._locals[place]
            known = self._ports[place].remote_address if self._ports else None
            found[f"program_{side}"] = known or peer
        return found

    async def _open(self, side: Literal["a", "b"], listen: Address, peer: Address | None) -> None:
        """The sockets that face one program: UDP and TCP on the same port."""
        for attempt in range(PORT_ATTEMPTS):
            again = listen[1] == 0 and attempt < PORT_ATTEMPTS - 1
            local = await self._open_udp(side, listen, peer)
            try:
                local = await self._open_tcp(side, local)
            except OSError as error:
                if self.config.udp and again:
                    await self._ports.pop().close()
                    continue
                raise bind_error(f"listen_{side}", "TCP", local, error) from error
            self._locals.append(local)
            return

    async def _open_udp(self, side: str, listen: Address, peer: Address | None) -> SocketAddress:
        config = self.config
        if not config.udp or self._open_port is None:
            return await _resolved(f"listen_{side}", listen)
        try:
            port = await self._open_port(
                listen,
                peer,
                repair_port=config.repair_port,
                match_port=False,
                receive_buffer_bytes=config.socket_buffer_bytes,
                send_buffer_bytes=config.socket_buffer_bytes,
            )
        except ConfigError as error:
            key = ("peer_" if error.key == "remote" else "listen_") + side
            raise ConfigError(key, error.message, error.remedy) from error
        self._ports.append(port)
        return port.local_address

    async def _open_tcp(self, side: str, local: SocketAddress) -> SocketAddress:
        """The socket for connections that go to the other side, if it is known where."""
        config = self.config
        to = config.peer_b if side == "a" else config.peer_a
        if config.tcp is None or to is None or self._agenda is None:
            return local
        if self._connections is None:
            self._connections = Connections(config.tcp, self._agenda, self.world)
        forth, back = self._paths if side == "a" else self._paths[::-1]
        port = await self._connections.listen(local, forth, back, to)
        return (local[0], port, *local[2:])


async def _resolved(key: str, address: Address) -> SocketAddress:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            address[0] or None, address[1], type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigError(key, f"cannot resolve {address[0]!r}: {error}") from error
    resolved = found[0][4]
    return (str(resolved[0]), int(resolved[1]), *resolved[2:])
