"""The link in a box, between plain sockets on the loopback interface."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from link_models import emulator
from link_models.channel import ChannelConfig, Delay, Window, always_up
from link_models.emulator import Emulator, EmulatorConfig
from link_models.loss import Replay
from stack.adapters.udp import open_udp
from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import ConfigError

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


@asynccontextmanager
async def box(
    forward: ChannelConfig, backward: ChannelConfig | None = None, **options: Any
) -> AsyncIterator[tuple[Program, Program, Emulator]]:
    a, b = Program(), Program()
    options = {"peer_a": a.address, "peer_b": b.address} | options
    link = Emulator(
        EmulatorConfig(listen_a=ANY, listen_b=ANY, forward=forward, backward=backward, **options),
        open_udp,
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

    asyncio.run(main())


def test_losses_are_those_of_the_model() -> None:
    async def main() -> None:
        trace = [False, True, False]
        async with box(ChannelConfig(loss=lambda rng: Replay(trace))) as (a, b, link):
            for number in range(30):
                a.send(bytes([number]), link.address_a)
            await until(lambda: len(b.heard) == 20)
            assert [data[0] for _, data in b.heard] == [n for n in range(30) if n % 3 != 1]
            assert link.statistics()["forward"]["lost_datagrams"] == 10

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
            await until(lambda: len(b.heard) == 80)

    asyncio.run(main())


class Stubborn:
    """A socket whose first calls to send fail."""

    def __init__(self, sock: socket.socket, *codes: int) -> None:
        self._sock = sock
        self._codes = list(codes)
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def _call(self, name: str, *arguments: Any) -> Any:
        self.calls.append(name)
        if self._codes:
            raise OSError(self._codes.pop(0), "refused")
        return getattr(self._sock, name)(*arguments)

    def sendmsg(self, *arguments: Any) -> Any:
        return self._call("sendmsg", *arguments)

    def sendto(self, *arguments: Any) -> Any:
        return self._call("sendto", *arguments)


def stubborn(link: Emulator, *codes: int) -> Stubborn:
    sock = Stubborn(link._sides[1].sockets[0], *codes)
    link._sides[1].sockets[0] = sock  # type: ignore[call-overload]
    return sock


def test_without_gso_datagrams_go_one_by_one() -> None:
    async def main() -> None:
        async with box(ChannelConfig()) as (a, b, link):
            sock = stubborn(link, errno.EINVAL)
            a.send_train(bytes(950), 100, link.address_a)
            await until(lambda: len(b.heard) == 10)
            assert sock.calls == ["sendmsg"] + ["sendto"] * 10
            assert link.statistics()["forward"]["socket_drops"] == 0

    asyncio.run(main())


def test_a_full_socket_delays_and_loses_nothing() -> None:
    async def main() -> None:
        async with box(ChannelConfig()) as (a, b, link):
            stubborn(link, errno.EAGAIN, errno.EAGAIN)
            a.send(b"one", link.address_a)
            a.send(b"two", link.address_a)
            await until(lambda: len(b.heard) == 2)
            assert [data for _, data in b.heard] == [b"one", b"two"]

    asyncio.run(main())


def test_an_unreachable_program_is_counted() -> None:
    async def main() -> None:
        async with box(ChannelConfig()) as (a, b, link):
            stubborn(link, errno.ENETUNREACH)
            a.send(b"one", link.address_a)
            await until(lambda: link.statistics()["forward"]["socket_drops"] == 1)
            a.send(b"two", link.address_a)
            await until(lambda: b.heard == [(0, b"two")])

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


def test_windows_count_from_the_start() -> None:
    async def main() -> None:
        closed = ChannelConfig(windows=(Window(3600 * SECOND, 7200 * SECOND, 1e6),))
        async with box(closed) as (a, b, link):
            a.send(b"early", link.address_a)
            await until(lambda: link.statistics()["forward"]["dropped_window_datagrams"] == 1)
            assert b.heard == []

    asyncio.run(main())


def test_strangers_and_empty_datagrams_do_not_pass() -> None:
    async def main() -> None:
        async with box(ChannelConfig(), peer_a=("127.0.0.9", 9)) as (a, b, link):
            a.send(b"from 127.0.0.1", link.address_a)
            b.send(b"", link.address_b)
            await until(lambda: link.statistics()["forward"]["foreign"] == 1)
            await until(lambda: link.statistics()["backward"]["foreign"] == 1)
            assert (a.heard, b.heard) == ([], [])

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
        await until(lambda: bool(link._directions))
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
        with pytest.raises(ConfigError, match="listen_a"):
            await Emulator(
                EmulatorConfig(listen_a=("127.0.0.1", 65_535), listen_b=ANY), open_udp
            ).start()

    asyncio.run(main())


def test_the_delay_histogram_has_a_last_bin() -> None:
    assert emulator.DELAY_BINS * emulator.DELAY_BIN_NS == SECOND
