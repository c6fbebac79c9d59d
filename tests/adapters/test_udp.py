"""UDP ports on the loopback interface: the Linux path and the portable one do the same."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.adapters import udp, udp_linux
from stack.adapters.loop import run
from stack.adapters.udp import PortableUdpPort, open_udp
from stack.adapters.udp_linux import LinuxUdpPort
from stack.core.train import FLOW_REPAIR, FLOW_SOURCE, Train, single
from stack.ports.datagram import DatagramPort

LINUX = sys.platform == "linux"
PATHS = [pytest.param(True, marks=pytest.mark.skipif(not LINUX, reason="Linux only")), False]
both_paths = pytest.mark.parametrize("fast", PATHS, ids=["linux", "portable"])

LOCAL = ("127.0.0.1", 0)
Loops = Callable[[Any], Any]


def ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture(params=["asyncio", "uvloop"])
def on_loop(request: pytest.FixtureRequest) -> Loops:
    """Runs a coroutine on plain asyncio or on the loop that programs use; ten seconds at most."""

    async def limited(main: Awaitable[Any]) -> Any:
        async with asyncio.timeout(10):
            return await main

    if request.param == "asyncio":
        return lambda main: asyncio.run(limited(main))
    return lambda main: run(limited(main))


class Inbox:
    """What a port received, and waiting for it."""

    def __init__(self, port: DatagramPort) -> None:
        self.trains: list[Train] = []
        self._changed = asyncio.Event()
        port.on_receive = self._receive

    def _receive(self, trains: list[Train]) -> None:
        self.trains += trains
        self._changed.set()

    def datagrams(self, flow: int | None = None) -> list[bytes]:
        return [
            bytes(datagram)
            for train in self.trains
            if flow is None or train.flow == flow
            for datagram in train.datagrams()
        ]

    async def wait(self, count: int) -> list[bytes]:
        while len(self.datagrams()) < count:
            self._changed.clear()
            await self._changed.wait()
        return self.datagrams()


def address(port: DatagramPort) -> tuple[str, int]:
    assert isinstance(port, LinuxUdpPort | PortableUdpPort)
    return (port.local_address[0], port.local_address[1])


@asynccontextmanager
async def pair(
    fast: bool, host: str = "127.0.0.1", **options: Any
) -> AsyncIterator[tuple[DatagramPort, DatagramPort]]:
    """Two ports: the second knows the first, the first learns."""
    near = await open_udp((host, 0), fast=fast, **options)
    far = await open_udp((host, 0), address(near), fast=fast, **options)
    try:
        yield near, far
    finally:
        await near.close()
        await far.close()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop work until something has happened that nobody signals."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


def datagrams(trains: list[Train]) -> list[bytes]:
    return [bytes(datagram) for train in trains for datagram in train.datagrams()]


@both_paths
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not ipv6(), reason="no IPv6"))],
)
def test_trains_go_both_ways(on_loop: Loops, fast: bool, host: str) -> None:
    async def main() -> None:
        async with pair(fast, host) as (near, far):
            there, back = Inbox(near), Inbox(far)
            out = [
                Train(bytes(range(250)) * 40, 1400),
                single(b"alone"),
                Train(b"abcdefgh", 3),
                Train(bytes(200_000), 1000),  # more than one call takes
                single(bytes(65_507)),
            ]
            far.send(out)
            assert await there.wait(8 + 1 + 3 + 200 + 1) == datagrams(out)
            near.send([single(b"answer")])
            assert await back.wait(1) == [b"answer"]
            sent, received = far.counters(), near.counters()
            assert sent["sent_datagrams"] == received["received_datagrams"] == 213
            assert sent["sent_bytes"] == received["received_bytes"] == 10_000 + 13 + 265_507

    on_loop(main())


@both_paths
@settings(max_examples=25, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 30), st.integers(0, 1)), max_size=8)
)
def test_any_mix_of_trains_arrives_as_sent(fast: bool, shapes: list[tuple[int, int, int]]) -> None:
    """Joining equal sizes into one call, and what arrives into trains, changes no datagram."""
    trains = [
        Train(bytes((place * 31 + i) % 256 for i in range(octets)), size, flow)
        for place, (size, octets, flow) in enumerate(shapes)
    ]

    async def main() -> None:
        async with asyncio.timeout(10), pair(fast, repair_port=True) as (near, far):
            inbox = Inbox(near)
            far.send(trains)
            await inbox.wait(len(datagrams(trains)))
            for flow in (FLOW_SOURCE, FLOW_REPAIR):
                expected = datagrams([train for train in trains if train.flow == flow])
                assert inbox.datagrams(flow) == expected
            assert all(train.size > 0 and len(train.data) for train in inbox.trains)

    asyncio.run(main())


@both_paths
def test_the_repair_flow_has_its_own_port(on_loop: Loops, fast: bool) -> None:
    async def main() -> None:
        async with pair(fast, repair_port=True) as (near, far):
            inbox = Inbox(near)
            # The repair flow may be heard first: the peer is learned from it all the same.
            far.send([Train(b"rrss", 2, FLOW_REPAIR)])
            await inbox.wait(2)
            far.send([single(b"source")])
            await inbox.wait(3)
            assert inbox.datagrams(FLOW_REPAIR) == [b"rr", b"ss"]
            assert inbox.datagrams(FLOW_SOURCE) == [b"source"]
            with (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
                pytest.raises(OSError, match="use"),
            ):
                sock.bind(("127.0.0.1", address(near)[1] + 1))
            back = Inbox(far)
            near.send([single(b"r", FLOW_REPAIR), single(b"s")])
            await back.wait(2)
            assert (back.datagrams(FLOW_REPAIR), back.datagrams(FLOW_SOURCE)) == ([b"r"], [b"s"])

    on_loop(main())


@both_paths
def test_without_a_repair_port_both_flows_share_the_socket(on_loop: Loops, fast: bool) -> None:
    async def main() -> None:
        async with pair(fast) as (near, far):
            inbox = Inbox(near)
            far.send([single(b"r", FLOW_REPAIR), single(b"s")])
            assert await inbox.wait(2) == [b"r", b"s"]
            assert {train.flow for train in inbox.trains} == {FLOW_SOURCE}

    on_loop(main())


@both_paths
def test_strangers_and_empty_datagrams_are_counted_drops(on_loop: Loops, fast: bool) -> None:
    async def main() -> None:
        async with pair(fast, match_port=True) as (near, far):
            inbox = Inbox(far)  # knows whom it talks to
            told: list[str] = []
            far.on_stranger = told.append
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind(LOCAL)
                for _ in range(5):
                    stranger.sendto(b"evil", address(far))
                stranger.sendto(b"", address(far))
            far.send([single(b"hello")])
            assert await Inbox(near).wait(1) == [b"hello"]
            near.send([single(b"good")])
            assert await inbox.wait(1) == [b"good"]
            counts = far.counters()
            assert (counts["dropped_foreign"], counts["received_datagrams"]) == (6, 1)
            assert len(told) == 1, "each stranger is told of once"
            assert told[0].startswith("127.0.0.1:")

    on_loop(main())


@both_paths
def test_an_empty_datagram_of_the_peer_is_a_counted_drop(on_loop: Loops, fast: bool) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(LOCAL)
            port = await open_udp(LOCAL, peer.getsockname(), fast=fast)
            inbox = Inbox(port)
            peer.sendto(b"", address(port))
            peer.sendto(b"full", address(port))
            assert await inbox.wait(1) == [b"full"]
            assert port.counters()["dropped_empty"] == 1
            await port.close()

    on_loop(main())


@both_paths
def test_empty_datagrams_cross_in_their_turn_when_somebody_wants_them(
    on_loop: Loops, fast: bool
) -> None:
    async def main() -> None:
        far = await open_udp(LOCAL, fast=fast, repair_port=True)
        near = await open_udp(LOCAL, address(far), fast=fast, repair_port=True)
        assert far.remote_address is None
        heard: list[Any] = []
        full = asyncio.Event()

        def hear(what: Any) -> None:
            heard.append(what)
            if len(heard) == 5:
                full.set()

        def hear_all(trains: list[Train]) -> None:
            for train in trains:
                for one in train.datagrams():
                    hear(bytes(one))

        far.on_empty = hear
        far.on_receive = hear_all
        far.send_empty(0)  # to nobody yet
        near.send([single(b"one")])
        near.send_empty(0)
        near.send([single(b"three")])
        near.send_empty(0)
        near.send_empty(1)
        async with asyncio.timeout(10):
            await full.wait()
        assert [one for one in heard if one != 1] == [b"one", 0, b"three", 0]
        assert 1 in heard, "the other socket has an order of its own"
        assert near.counters()["sent_datagrams"] == 5
        assert near.counters()["sent_bytes"] == 8
        assert far.counters()["dropped_empty"] == 0
        assert far.counters()["send_dropped"] == 1
        assert far.remote_address is not None
        await near.close()
        near.send_empty(0)
        await far.close()

    on_loop(main())


@both_paths
def test_the_first_sender_becomes_the_peer_and_stays_it(on_loop: Loops, fast: bool) -> None:
    async def main() -> None:
        near = await open_udp(LOCAL, fast=fast, match_port=True)
        near.send([Train(b"abc", 1)])  # to nobody
        inbox = Inbox(near)
        first = await open_udp(LOCAL, address(near), fast=fast)
        second = await open_udp(LOCAL, address(near), fast=fast)
        first.send([single(b"first")])
        await inbox.wait(1)
        second.send([single(b"second")])
        first.send([single(b"third")])
        assert await inbox.wait(2) == [b"first", b"third"]
        assert near.counters()["send_dropped"] == 3
        assert near.counters()["dropped_foreign"] == 1
        for port in (near, first, second):
            await port.close()

    on_loop(main())


@both_paths
def test_nobody_is_learned_when_that_is_not_allowed(on_loop: Loops, fast: bool) -> None:
    async def main() -> None:
        async with pair(fast, learn_peer=False) as (near, far):
            back = Inbox(far)
            far.send([single(b"knock")])
            await until(lambda: near.counters()["dropped_foreign"] == 1)
            near.send([single(b"x")])
            assert near.counters()["received_datagrams"] == 0
            assert back.trains == []

    on_loop(main())


@both_paths
def test_a_peer_that_sends_from_another_port(on_loop: Loops, fast: bool) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(LOCAL)
            peer.settimeout(10)
            port = await open_udp(LOCAL, peer.getsockname(), fast=fast)
            inbox = Inbox(port)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(b"mine too", address(port))
            assert await inbox.wait(1) == [b"mine too"]
            port.send([single(b"answer")])
            answer = await asyncio.get_running_loop().run_in_executor(None, peer.recv, 100)
            assert answer == b"answer", "it goes where the peer listens"
            await port.close()

    on_loop(main())


@both_paths
def test_few_of_many_strangers_are_told_of(on_loop: Loops, fast: bool) -> None:
    async def main() -> None:
        port = await open_udp(LOCAL, ("127.0.0.1", 9), fast=fast, match_port=True)
        told: list[str] = []
        port.on_stranger = told.append
        strangers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(40)]
        for _ in range(2):
            for one in strangers:
                one.sendto(b"knock", address(port))
        await until(lambda: port.counters()["dropped_foreign"] == 80)
        assert len(told) == len(set(told)) == 16
        for one in strangers:
            one.close()
        await port.close()

    on_loop(main())


@both_paths
def test_ten_thousand_datagrams_with_flow_control(on_loop: Loops, fast: bool) -> None:
    """A window of two trains, moved on by answers: nothing is lost, all in order."""
    count, size, per_train = 10_000, 1000, 50

    async def main() -> None:
        async with pair(fast) as (near, far):
            got = bytearray()
            finished = asyncio.Event()

            def receive(trains: list[Train]) -> None:
                for train in trains:
                    assert train.size == size
                    got.extend(train.data)
                near.send([single(len(got).to_bytes(8, "big"))])

            sent = 0

            def advance(acknowledged: int) -> None:
                nonlocal sent
                while sent < count and sent * size - acknowledged < 2 * per_train * size:
                    numbers = range(sent, sent + per_train)
                    data = b"".join(i.to_bytes(4, "big") * (size // 4) for i in numbers)
                    far.send([Train(data, size)])
                    sent += per_train
                if acknowledged == count * size:
                    finished.set()

            def answered(trains: list[Train]) -> None:
                for train in trains:
                    for answer in train.datagrams():
                        advance(int.from_bytes(answer, "big"))

            near.on_receive = receive
            far.on_receive = answered
            advance(0)
            await finished.wait()
            seen = [int.from_bytes(got[i : i + 4], "big") for i in range(0, len(got), size)]
            assert seen == list(range(count))

    on_loop(main())


@both_paths
def test_received_buffers_are_never_written_again(on_loop: Loops, fast: bool) -> None:
    async def main() -> None:
        async with pair(fast) as (near, far):
            inbox = Inbox(near)
            expected = []
            for turn in range(30):  # several arenas
                train = Train(bytes([turn]) * 40_000, 4000)
                expected += datagrams([train])
                far.send([train])
                await inbox.wait(len(expected))
            assert inbox.datagrams() == expected

    on_loop(main())


@both_paths
def test_closing_while_sending_and_twice(on_loop: Loops, fast: bool) -> None:
    async def main() -> None:
        near = await open_udp(LOCAL, ("127.0.0.1", 9), fast=fast, repair_port=True)
        own = address(near)
        near.send([Train(bytes(2_000_000), 1000)])
        await near.close()
        await near.close()
        assert near.send([single(b"late")])
        again = await open_udp(own, ("127.0.0.1", 9), fast=fast, repair_port=True)  # ports are free
        await again.close()

    on_loop(main())


@both_paths
def test_closing_from_inside_the_callback(on_loop: Loops, fast: bool) -> None:
    async def main() -> None:
        async with pair(fast) as (near, far):
            closing: list[asyncio.Task[None]] = []
            near.on_receive = lambda trains: closing.append(asyncio.create_task(near.close()))
            far.send([single(b"a")])
            await until(lambda: bool(closing))
            far.send([single(b"b")])
            await closing[0]
            assert len(closing) == 1

    on_loop(main())


@both_paths
def test_what_cannot_be_sent_is_counted_and_the_rest_goes(on_loop: Loops, fast: bool) -> None:
    async def main() -> None:
        async with pair(fast) as (near, far):
            inbox = Inbox(near)
            far.send([single(bytes(65_508)), single(b"fits")])  # one octet too long for IPv4
            assert await inbox.wait(1) == [b"fits"]
            # The portable path is told of an error when it next turns to the socket.
            far.send([single(b"next")])
            await until(lambda: far.counters()["send_errors"] == 1)

    on_loop(main())


# The Linux path alone.


class Stubborn:
    """A socket that refuses its first calls with the given errors."""

    def __init__(self, sock: socket.socket, refusals: list[OSError]) -> None:
        self._sock = sock
        self._refusals = refusals
        self.calls: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendmsg(self, pieces: Any, control: Any, flags: int, to: Any) -> int:
        self.calls.append(("sendmsg", sum(len(piece) for piece in pieces)))
        if self._refusals:
            raise self._refusals.pop(0)
        return self._sock.sendmsg(pieces, control, flags, to)

    def sendto(self, data: Any, to: Any) -> int:
        self.calls.append(("sendto", len(data)))
        if self._refusals:
            raise self._refusals.pop(0)
        return self._sock.sendto(data, to)


def stubborn(port: DatagramPort, *errors: int) -> Stubborn:
    assert isinstance(port, LinuxUdpPort)
    sock = Stubborn(port._flows[0].sock, [OSError(code, "refused") for code in errors])
    port._flows[0].sock = sock  # type: ignore[assignment]
    return sock


linux_only = pytest.mark.skipif(not LINUX, reason="Linux only")


@linux_only
def test_a_train_is_one_call_out_and_one_train_in(on_loop: Loops) -> None:
    async def main() -> None:
        async with pair(True) as (near, far):
            inbox, sock = Inbox(near), stubborn(far)
            far.send([Train(bytes(56_000), 1400), Train(bytes(4200), 1400), single(bytes(1400))])
            await inbox.wait(44)
            assert sock.calls == [("sendmsg", 61_600)]  # neighbours of one size share it
            assert [(len(train.data), train.size) for train in inbox.trains] == [(61_600, 1400)]

    on_loop(main())


@linux_only
@pytest.mark.parametrize("code", sorted(udp_linux.GSO_REFUSALS))
def test_without_gso_datagrams_go_one_by_one(on_loop: Loops, code: int) -> None:
    async def main() -> None:
        async with pair(True) as (near, far):
            inbox, sock = Inbox(near), stubborn(far, code)
            out = [Train(bytes(range(100)) * 45, 1000), single(bytes(1000)), Train(b"aabbc", 2)]
            for _ in range(2):
                far.send(out)
            assert await inbox.wait(18) == datagrams(out) * 2
            refused = ("sendmsg", 4500)
            # Above the refused size one by one from then on; below it still in one call.
            each = [("sendto", 1000)] * 4 + [("sendto", 500), ("sendto", 1000), ("sendmsg", 5)]
            assert sock.calls == [refused, *each, *each]
            assert far.counters()["send_errors"] == 0

    on_loop(main())


@linux_only
def test_a_full_socket_is_waited_for(on_loop: Loops) -> None:
    async def main() -> None:
        async with pair(True) as (near, far):
            inbox = Inbox(near)
            stubborn(far, errno.EAGAIN, errno.EAGAIN)
            writable = asyncio.Event()
            far.on_writable = writable.set
            assert not far.send([Train(b"aabb", 2)])
            assert not far.send([single(b"cc")])
            await writable.wait()
            assert await inbox.wait(3) == [b"aa", b"bb", b"cc"]
            assert far.send([single(b"dd")])
            assert await inbox.wait(4) == [b"aa", b"bb", b"cc", b"dd"]

    on_loop(main())


@linux_only
def test_the_queue_before_a_full_socket_is_bounded(
    on_loop: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp_linux, "PENDING_BYTES_MAX", 1000)

    async def main() -> None:
        async with pair(True) as (_, far):
            stubborn(far, *[errno.EAGAIN] * 100)
            assert not far.send([Train(bytes(1000), 100)])
            assert not far.send([single(b"x")])
            assert far.counters()["send_dropped"] == 0
            assert not far.send([Train(bytes(500), 100)])
            assert far.counters()["send_dropped"] == 5

    on_loop(main())


@linux_only
def test_errors_of_the_network_are_counted(on_loop: Loops) -> None:
    async def main() -> None:
        async with pair(True) as (near, far):
            inbox = Inbox(near)
            stubborn(far, errno.ECONNREFUSED, errno.ENETUNREACH)
            assert far.send([single(b"one"), Train(b"aabb", 2), single(b"three")])
            assert await inbox.wait(1) == [b"three"]
            assert far.counters()["send_errors"] == 3

    on_loop(main())


@linux_only
def test_drops_of_the_kernel_are_counted(on_loop: Loops) -> None:
    async def main() -> None:
        async with pair(True) as (near, far):
            inbox = Inbox(near)
            assert isinstance(near, LinuxUdpPort)
            near._flows[0].sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            assert isinstance(far, LinuxUdpPort)
            far._flows[0].gso_size_max = 0  # the kernel counts a GRO train as one drop
            far.send([single(bytes([i])) for i in range(200)])
            await inbox.wait(1)
            far.send([single(b"end")])
            await until(lambda: inbox.datagrams()[-1] == b"end")
            counts = near.counters()
            assert counts["dropped_kernel"] > 0
            assert counts["dropped_kernel"] + counts["received_datagrams"] == 201

    on_loop(main())


@linux_only
def test_the_portable_port_has_a_bounded_queue(
    on_loop: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp, "QUEUE_BYTES_HIGH", 1000)
    monkeypatch.setattr(udp, "QUEUE_BYTES_MAX", 3000)

    async def main() -> None:
        async with pair(False) as (near, far):
            inbox, writable = Inbox(near), asyncio.Event()
            far.on_writable = writable.set
            assert far.send([Train(bytes(1000), 100)])
            assert not far.send([Train(bytes(2001), 100)])
            assert not far.send([Train(bytes(300), 100)])
            assert far.counters()["send_dropped"] == 3
            await writable.wait()
            assert far.send([single(b"x")])
            await inbox.wait(32)

    on_loop(main())
