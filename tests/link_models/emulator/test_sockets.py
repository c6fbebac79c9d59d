"""The link in a box, between plain sockets on the loopback interface."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from link_models.channel import ChannelConfig, Delay, always_up
from link_models.emulator import Emulator, EmulatorConfig, TcpConfig
from stack.adapters.udp import open_udp
from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import ConfigError, bind_error

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control messages of Linux")

ANY = ("127.0.0.1", 0)


class Program:
    """A program with two neighbouring ports that collects what it hears, and when."""

    def __init__(self) -> None:
        while True:
            self.sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
            self.sockets[0].bind(ANY)
            try:
                self.sockets[1].bind(("127.0.0.1", self.sockets[0].getsockname()[1] + 1))
            except (OSError, OverflowError):
                self.close()
                continue
            break
        self.address: tuple[str, int] = self.sockets[0].getsockname()
        self.heard: list[tuple[int, bytes]] = []
        self.times_ns: list[int] = []
        for flow, sock in enumerate(self.sockets):
            sock.setblocking(False)
            asyncio.get_running_loop().add_reader(sock.fileno(), self._hear, flow)

    def _hear(self, flow: int) -> None:
        try:
            while True:
                self.heard.append((flow, self.sockets[flow].recv(65_536)))
                self.times_ns.append(time.monotonic_ns())
        except BlockingIOError:
            pass

    def send(self, data: bytes, to: Any, flow: int = 0) -> None:
        self.sockets[flow].sendto(data, (to[0], to[1] + flow))

    def send_train(self, data: bytes, size: int, to: Any) -> None:
        control = [(socket.IPPROTO_UDP, 103, size.to_bytes(2, sys.byteorder))]
        self.sockets[0].sendmsg([data], control, 0, to)

    def close(self) -> None:
        for sock in self.sockets:
            if self.__dict__.get("address") and sock.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop work until something has happened that nobody signals; ten seconds at most."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def box(
    forward: ChannelConfig,
    backward: ChannelConfig | None = None,
    open_port: Any = open_udp,
    **options: Any,
) -> AsyncIterator[tuple[Program, Program, Emulator]]:
    a, b = Program(), Program()
    options = {"peer_a": a.address, "peer_b": b.address} | options
    link = Emulator(
        EmulatorConfig(listen_a=ANY, listen_b=ANY, forward=forward, backward=backward, **options),
        open_port,
    )
    await link.start()
    try:
        yield a, b, link
    finally:
        await link.close()
        await link.close()
        a.close()
        b.close()


def test_both_ways_on_both_ports_never_earlier_than_light() -> None:
    async def main() -> None:
        delay = ChannelConfig(delay=Delay.constant(20 * MILLISECOND))
        async with box(delay, ChannelConfig()) as (a, b, link):
            sent_ns = time.monotonic_ns()
            a.send(b"ping", link.address_a)
            a.send(b"ping repair", link.address_a, flow=1)
            await until(lambda: len(b.heard) == 2)
            assert sorted(b.heard) == [(0, b"ping"), (1, b"ping repair")]
            assert min(b.times_ns) - sent_ns >= 20 * MILLISECOND
            b.send(b"pong", link.address_b)
            b.send(b"pong repair", link.address_b, flow=1)
            await until(lambda: len(a.heard) == 2)
            assert sorted(a.heard) == [(0, b"pong"), (1, b"pong repair")]
            counts = link.statistics()
            for direction in ("forward", "backward"):
                assert counts[direction]["delivered_datagrams"] == 2
                assert counts[direction]["under_way"] == 0
                assert counts[direction]["socket_drops"] == 0
                assert counts[direction]["delay_error_p50_ms"] > 0
                assert (
                    counts[direction]["delay_error_p50_ms"]
                    <= counts[direction]["delay_error_p99_ms"]
                    <= counts[direction]["delay_error_max_ms"]
                )

    asyncio.run(main())


def test_the_peers_are_learned() -> None:
    async def main() -> None:
        async with box(ChannelConfig(), peer_a=None, peer_b=None) as (a, b, link):
            a.send(b"too early", link.address_a)
            await until(lambda: link.statistics()["forward"]["socket_drops"] == 1)
            b.send(b"repair first", link.address_b, flow=1)
            await until(lambda: a.heard == [(1, b"repair first")])
            a.send(b"answer", link.address_a)
            await until(lambda: b.heard == [(0, b"answer")])
            for direction in link.statistics().values():
                assert direction["delivered_datagrams"] - direction["socket_drops"] == 1

    asyncio.run(main())


@pytest.mark.parametrize("coalesce_ns", [0, SECOND // 100])
def test_whole_trains_come_out_as_their_datagrams(coalesce_ns: int) -> None:
    async def main() -> None:
        config = ChannelConfig(coalesce_ns=coalesce_ns, delay=Delay.constant(MILLISECOND))
        async with box(config) as (a, b, link):
            expected = []
            for turn in range(3):
                data = bytes((turn + i // 100) % 256 for i in range(1950))
                a.send_train(data, 100, link.address_a)
                expected += [data[i : i + 100] for i in range(0, 1950, 100)]
            await until(lambda: len(b.heard) == len(expected))
            assert [data for _, data in b.heard] == expected

    asyncio.run(main())


def test_trains_longer_than_one_call_are_cut() -> None:
    async def main() -> None:
        config = ChannelConfig(coalesce_ns=SECOND // 20)
        async with box(config) as (a, b, link):
            for _ in range(2):  # read in one go: a train of 80 datagrams
                a.send_train(bytes(40_000), 1000, link.address_a)
            await until(lambda: len(b.heard) >= 80)
            assert b.heard == [(0, bytes(1000))] * 80

    asyncio.run(main())


def test_reordered_datagrams_overtake() -> None:
    async def main() -> None:
        config = ChannelConfig(
            windows=always_up(8e6),
            delay=Delay.constant(MILLISECOND),
            reorder_probability=0.3,
            reorder_ns_max=30 * MILLISECOND,
        )
        async with box(config) as (a, b, link):
            for number in range(100):
                a.send(bytes([number]) * 100, link.address_a)
            await until(lambda: len(b.heard) == 100)
            order = [data[0] for _, data in b.heard]
            assert sorted(order) == list(range(100)) != order

    asyncio.run(main())


def test_strangers_do_not_pass() -> None:
    async def main() -> None:
        async with box(ChannelConfig(), peer_a=("127.0.0.9", 9)) as (a, b, link):
            a.send(b"from 127.0.0.1", link.address_a)
            await until(lambda: link.statistics()["forward"]["foreign"] == 1)
            assert b.heard == []

    asyncio.run(main())


@pytest.mark.parametrize("fast", [True, False])
def test_empty_datagrams_pass_in_their_turn(fast: bool) -> None:
    async def main() -> None:
        open_port = functools.partial(open_udp, fast=fast)
        async with box(ChannelConfig(), open_port=open_port) as (a, b, link):
            for data in (b"one", b"", b"three", b"", b""):
                a.send(data, link.address_a)
            await until(lambda: len(b.heard) == 5)
            assert [data for _, data in b.heard] == [b"one", b"", b"three", b"", b""]
            b.send(b"", link.address_b, flow=1)
            await until(lambda: a.heard == [(1, b"")])

    asyncio.run(main())


def test_a_thousand_datagrams_pass_a_fast_link_whole_and_in_order() -> None:
    async def main() -> None:
        config = ChannelConfig(windows=always_up(1e9), delay=Delay.constant(5 * MILLISECOND))
        async with box(config) as (a, b, link):
            for number in range(1000):
                a.send(number.to_bytes(2, "big") * 300, link.address_a)
                if number % 50 == 49:  # the programs' own socket buffers are small
                    await until(lambda n=number: len(b.heard) == n + 1)  # type: ignore[misc]
            assert [int.from_bytes(data[:2], "big") for _, data in b.heard] == list(range(1000))

    asyncio.run(main())


def test_run_serves_until_cancelled_and_frees_its_ports() -> None:
    async def main() -> None:
        a = Program()
        link = Emulator(EmulatorConfig(listen_a=ANY, listen_b=ANY, peer_a=a.address), open_udp)
        serving = asyncio.create_task(link.run())
        await until(lambda: bool(link._locals[1:]))
        taken = link.address_a
        b = Program()
        b.send(b"hello", link.address_b)
        await until(lambda: a.heard == [(0, b"hello")])
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        again = Emulator(EmulatorConfig(listen_a=(taken[0], taken[1]), listen_b=ANY), open_udp)
        await again.start()
        with pytest.raises(ConfigError, match="listen_b: cannot bind"):
            await Emulator(
                EmulatorConfig(listen_a=ANY, listen_b=(taken[0], taken[1])), open_udp
            ).start()
        await again.close()
        a.close()
        b.close()

    asyncio.run(main())


def test_bad_addresses_are_clear_errors() -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match="peer_a: cannot resolve"):
            await Emulator(
                EmulatorConfig(listen_a=ANY, listen_b=ANY, peer_a=("host.invalid", 1)),
                open_udp,
            ).start()
        with pytest.raises(ConfigError, match=r"listen_a"):
            await Emulator(
                EmulatorConfig(listen_a=("127.0.0.1", 65_535), listen_b=ANY), open_udp
            ).start()

    asyncio.run(main())


@contextlib.asynccontextmanager
async def stream_box(
    serve: Any, *, host: str = "127.0.0.1", delay_ns: int = MILLISECOND, **options: Any
) -> AsyncIterator[Emulator]:
    """A box in front of a TCP server."""
    server = await asyncio.start_server(serve, host, 0)
    address = server.sockets[0].getsockname()[:2]
    light = ChannelConfig(delay=Delay.constant(delay_ns))
    config = EmulatorConfig(
        listen_a=(host, 0),
        listen_b=(host, 0),
        peer_b=address,
        forward=light,
        tcp=TcpConfig(),
        **options,
    )
    link = Emulator(config, open_udp)
    await link.start()
    try:
        yield link
    finally:
        await link.close()
        server.close()
        await server.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
        await reader.read()
    except ConnectionError:
        pass
    finally:
        writer.close()


LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
HOSTS = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


@LOOPS
@HOSTS
def test_a_stream_there_and_back_with_its_end(new_loop: Any, host: str) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), stream_box(echo, host=host) as link:
            begun_ns = time.monotonic_ns()
            reader, writer = await asyncio.open_connection(*link.address_a[:2])
            content = bytes(range(256)) * 4000
            writer.write(content)
            writer.write_eof()
            assert await reader.read(-1) == content
            assert time.monotonic_ns() - begun_ns >= 4 * MILLISECOND
            writer.close()
            await until(lambda: link.statistics()["tcp"]["open"] == 0)
            counts = link.statistics()["tcp"]
            assert counts["finished"] == 1
            assert counts["forward_bytes"] == counts["backward_bytes"] == len(content)
            assert link.statistics()["forward"]["dropped_queue_datagrams"] == 0

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@LOOPS
def test_what_is_written_right_after_connecting_arrives(new_loop: Any) -> None:
    async def main() -> None:
        heard: list[int] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(len(await reader.read(-1)))
            writer.close()

        def call(address: tuple[str, int]) -> bytes:
            with socket.create_connection(address, timeout=20) as client:
                client.sendall(bytes(1000))
                client.shutdown(socket.SHUT_WR)
                return client.recv(1)

        async with asyncio.timeout(60), stream_box(serve) as link:
            address = link.address_a[:2]
            for _ in range(12):
                assert await asyncio.to_thread(call, address) == b""
            assert heard == [1000] * 12
            await until(lambda: link.statistics()["tcp"]["open"] == 0)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@LOOPS
@pytest.mark.parametrize("greeting", [b"", b"hello"])
def test_a_server_that_hangs_up_at_once_leaves_nobody_hanging(
    new_loop: Any, greeting: bytes
) -> None:
    """It closes with what came unread, so that its system resets the connection."""

    def serve(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                client.sendall(greeting)
                client.close()

    def call(address: tuple[str, int]) -> bytes:
        found = b""
        with socket.create_connection(address, timeout=20) as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(bytes(1000))
                while data := client.recv(100):
                    found += data
            with contextlib.suppress(ConnectionError):
                while True:  # until the reset is here
                    client.sendall(bytes(1000))
        return found

    async def main() -> None:
        server = socket.create_server(ANY)
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        config = EmulatorConfig(
            listen_a=ANY, listen_b=ANY, peer_b=server.getsockname(), tcp=TcpConfig(), udp=False
        )
        link = Emulator(config)
        await link.start()
        try:
            async with asyncio.timeout(60):
                for _ in range(12):
                    found = await asyncio.to_thread(call, link.address_a[:2])
                    assert greeting.startswith(found)
                await until(lambda: link.statistics()["tcp"]["open"] == 0)
        finally:
            await link.close()
            server.shutdown(socket.SHUT_RDWR)
            server.close()
            thread.join()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@LOOPS
def test_resets_are_resets_at_the_other_end(new_loop: Any) -> None:
    async def main() -> None:
        errors: list[BaseException] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.read()
            except ConnectionResetError as error:
                errors.append(error)
            writer.close()

        async with asyncio.timeout(30), stream_box(serve) as link:
            reader, writer = await asyncio.open_connection(*link.address_a[:2])
            writer.write(b"x")
            await until(lambda: link.statistics()["tcp"]["forward_bytes"] == 1)
            sock = writer.get_extra_info("socket")
            with socket.socket(fileno=os.dup(sock.fileno())) as own:
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            await until(lambda: len(errors) == 1)
            reader, writer = await asyncio.open_connection(*link.address_a[:2])
            await until(lambda: link.statistics()["tcp"]["open"] == 1)
            assert link.reset_connections() == 1
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@LOOPS
def test_a_refusing_box_and_a_box_in_front_of_nobody(new_loop: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), stream_box(echo) as link:
            await link.refuse(True)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*link.address_a[:2])
            await link.refuse(False)
            reader, writer = await asyncio.open_connection(*link.address_a[:2])
            writer.write(b"again")
            assert await reader.readexactly(5) == b"again"
            writer.close()
        with socket.socket() as nobody:
            nobody.bind(ANY)
            config = EmulatorConfig(
                listen_a=ANY, listen_b=ANY, peer_b=nobody.getsockname(), tcp=TcpConfig(), udp=False
            )
            link = Emulator(config)
            await link.start()
            reader, writer = await asyncio.open_connection(*link.address_a[:2])
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            await link.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def test_a_hundred_connections_at_a_time() -> None:
    async def main() -> None:
        async with asyncio.timeout(60), stream_box(echo) as link:

            async def call(number: int) -> bytes:
                reader, writer = await asyncio.open_connection(*link.address_a[:2])
                writer.write(number.to_bytes(2, "big") * 5000)
                writer.write_eof()
                data = await reader.read(-1)
                writer.close()
                return data

            found = await asyncio.gather(*map(call, range(100)))
            assert found == [number.to_bytes(2, "big") * 5000 for number in range(100)]
            await until(lambda: link.statistics()["tcp"]["open"] == 0)
            assert link.statistics()["tcp"]["finished"] == 100

    asyncio.run(main())


def test_udp_and_tcp_are_on_the_same_port_and_a_taken_one_is_a_clear_error() -> None:
    async def main() -> None:
        async with stream_box(echo) as link:
            udp, tcp = (
                Emulator(
                    EmulatorConfig(
                        listen_a=(str(link.address_a[0]), link.address_a[1]),
                        listen_b=ANY,
                        peer_b=ANY,
                        udp=carry_udp,
                        tcp=TcpConfig(),
                    ),
                    open_udp,
                )
                for carry_udp in (True, False)
            )
            with pytest.raises(ConfigError, match=r"listen_a: cannot bind UDP .*another program"):
                await udp.start()
            with pytest.raises(ConfigError, match=r"listen_a: cannot bind TCP .*another program"):
                await tcp.start()

    asyncio.run(main())


def test_a_port_without_the_right_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*arguments: Any, **options: Any) -> Any:
        denied = PermissionError(errno.EACCES, "Permission denied")
        raise bind_error("local", "UDP", ("127.0.0.1", 53), denied)

    async def main() -> None:
        link = Emulator(EmulatorConfig(listen_a=("127.0.0.1", 53), listen_b=ANY), refuse)
        with pytest.raises(ConfigError, match=r"listen_a.*ports below 1024 need privileges"):
            await link.start()

    asyncio.run(main())
