"""TCP connections across the box, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from link_models.channel import ChannelConfig, Delay, Window, always_up
from link_models.emulator import StreamFaults, TcpConfig
from link_models.loss import Bernoulli
from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import ConfigError
from tests.link_models.emulator.memory import BOX_A, BOX_B, A, B, MemoryLoop, in_memory, start

LIGHT_NS = 20 * MILLISECOND
LIGHT = ChannelConfig(delay=Delay.constant(LIGHT_NS))
TCP = TcpConfig()


def test_a_request_and_its_answer_take_two_round_trips() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, LIGHT, tcp=TCP)
        served = loop.listen(B)
        client = loop.connect(BOX_A)
        client.transport.write(b"ask")
        await asyncio.sleep(0.070)
        (server,) = served
        assert server.heard == [(3 * LIGHT_NS, b"ask")], "SYN there, answer back, octets there"
        server.transport.write(b"answer")
        await asyncio.sleep(1)
        assert client.heard == [(70 * MILLISECOND + LIGHT_NS, b"answer")]
        client.transport.write_eof()
        await asyncio.sleep(1)
        assert server.ended_ns == 1070 * MILLISECOND + LIGHT_NS
        server.transport.write(b"half open")
        await asyncio.sleep(1)
        assert client.data == b"answerhalf open"
        assert client.ended_ns is None
        server.transport.write_eof()
        await asyncio.sleep(1)
        assert client.ended_ns is not None
        counts = link.statistics()["tcp"]
        assert (counts["open"], counts["accepted"], counts["finished"]) == (0, 1, 1)
        assert (counts["forward_bytes"], counts["backward_bytes"]) == (3, 15)

    in_memory(main)


def test_without_a_handshake_octets_leave_at_once_and_either_side_may_call() -> None:
    async def main(loop: MemoryLoop) -> None:
        await start(loop, LIGHT, tcp=TcpConfig(handshake=False))
        served = loop.listen(A)
        client = loop.connect(BOX_B, caller=B)
        client.transport.write(b"from B")
        await asyncio.sleep(1)
        assert served[0].heard == [(LIGHT_NS, b"from B")]

    in_memory(main)


def test_nobody_there_resets_the_caller_after_a_round_trip() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, LIGHT, tcp=TCP)
        client = loop.connect(BOX_A)
        await asyncio.sleep(1)
        assert client.reset_ns == 2 * LIGHT_NS
        assert link.statistics()["tcp"]["unreachable"] == 1

    in_memory(main)


def test_a_reset_crosses_the_link() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, LIGHT, tcp=TCP)
        served = loop.listen(B)
        client = loop.connect(BOX_A)
        await asyncio.sleep(0.1)
        client.transport.abort()
        await asyncio.sleep(1)
        assert served[0].reset_ns == 100 * MILLISECOND + LIGHT_NS
        assert link.statistics()["tcp"]["reset"] == 1
        assert link.statistics()["tcp"]["open"] == 0

    in_memory(main)


def test_a_reset_after_the_end_still_crosses() -> None:
    """A server that closes without having read everything: first its end comes, then RST."""

    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, LIGHT, tcp=TCP)
        served = loop.listen(B)
        client = loop.connect(BOX_A)
        await asyncio.sleep(0.1)
        served[0].transport.write_eof()
        await asyncio.sleep(0.1)
        assert client.ended_ns is not None
        served[0].transport.abort()
        await asyncio.sleep(1)
        assert client.reset_ns == 200 * MILLISECOND + LIGHT_NS
        assert link.statistics()["tcp"]["open"] == 0

    in_memory(main)


def test_a_reset_overtakes_no_end() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, LIGHT, tcp=TCP)
        served = loop.listen(B)
        client = loop.connect(BOX_A)
        await asyncio.sleep(0.1)
        served[0].transport.write(b"last words")
        served[0].transport.write_eof()
        await asyncio.sleep(0.001)
        served[0].transport.abort()
        await asyncio.sleep(1)
        assert (client.data, client.reset_ns is not None) == (b"last words", True)
        assert link.statistics()["tcp"]["open"] == 0

    in_memory(main)


def test_a_reset_reaches_a_program_that_does_not_read() -> None:
    async def main(loop: MemoryLoop) -> None:
        await start(loop, LIGHT, tcp=TcpConfig(buffer_bytes=1_000_000))
        served = loop.listen(B)
        client = loop.connect(BOX_A)
        await asyncio.sleep(0.1)
        served[0].transport.pause_reading()
        client.transport.write(bytes(900_000))
        await asyncio.sleep(1)
        client.transport.abort()
        await asyncio.sleep(1)
        assert served[0].reset_ns is not None

    in_memory(main)


def test_back_pressure_reaches_the_sender_and_memory_stays_bounded() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, LIGHT, tcp=TcpConfig(buffer_bytes=100_000))
        served = loop.listen(B)
        client = loop.connect(BOX_A)
        await asyncio.sleep(0.1)
        server = served[0]
        server.transport.pause_reading()
        content = bytes(range(256)) * 8000
        sent = 0
        while sent < len(content) and not client.transport.peer.unread:
            client.transport.write(content[sent : sent + 10_000])
            sent += 10_000
            await asyncio.sleep(0.05)
        held = link.statistics()["tcp"]["held_bytes"]
        assert 100_000 <= held <= 110_000
        assert sent < len(content), "the sender has to wait"
        client.transport.write(content[sent:])
        server.transport.resume_reading()
        await asyncio.sleep(10)
        assert server.data == content
        assert link.statistics()["tcp"]["held_bytes"] == 0

    in_memory(main)


def test_connections_share_the_rate_evenly() -> None:
    async def main(loop: MemoryLoop) -> None:
        config = ChannelConfig(windows=always_up(8e6), queue_bytes=20_000)
        await start(loop, config, tcp=TcpConfig(overhead_bytes=0, segment_bytes=1000))
        served = loop.listen(B)
        clients = [loop.connect(BOX_A) for _ in range(10)]
        await asyncio.sleep(0.1)
        for client in clients:
            client.transport.write(bytes(1_000_000))
        await asyncio.sleep(2)
        amounts = [len(server.data) for server in served]
        assert sum(amounts) == pytest.approx(2_000_000, rel=0.02)
        assert max(amounts) - min(amounts) <= 3000

    in_memory(main)


def test_datagrams_and_streams_share_the_link() -> None:
    async def main(loop: MemoryLoop) -> None:
        config = ChannelConfig(windows=always_up(8e6), queue_bytes=50_000)
        await start(loop, config, tcp=TcpConfig(overhead_bytes=0, segment_bytes=1000))
        served = loop.listen(B)
        client = loop.connect(BOX_A)
        await asyncio.sleep(0.1)
        client.transport.write(bytes(1_000_000))
        await asyncio.sleep(0.5)
        loop.ports[0].hears(b"x")
        await asyncio.sleep(2)
        ((at_ns, _, _),) = loop.ports[1].sent
        assert at_ns > 620 * MILLISECOND, "behind what waits for the transmitter"
        assert len(served[0].data) == 1_000_000

    in_memory(main)


def test_a_contact_that_is_over_stalls_and_the_next_goes_on() -> None:
    async def main(loop: MemoryLoop) -> None:
        passes = ChannelConfig(
            windows=(Window(0, SECOND, 8e4), Window(60 * SECOND, 160 * SECOND, 8e4)),
            delay=Delay.constant(LIGHT_NS),
        )
        await start(loop, passes, tcp=TCP)
        served = loop.listen(B)
        client = loop.connect(BOX_A)
        content = bytes(range(250)) * 200
        client.transport.write(content)
        await asyncio.sleep(59)
        early = len(served[0].data)
        assert 0 < early <= 10_000
        late_caller = loop.connect(BOX_A)
        await asyncio.sleep(40)
        assert served[0].data == content
        assert len(served) == 2, "the SYN of the second waited for the contact"
        assert late_caller.reset_ns is None

    in_memory(main)


def test_down_and_blackouts_stall_and_lose_nothing() -> None:
    async def main(loop: MemoryLoop) -> None:
        config = ChannelConfig(windows=always_up(8e5), delay=Delay.constant(LIGHT_NS))
        link = await start(loop, config, tcp=TCP)
        served = loop.listen(B)
        client = loop.connect(BOX_A)
        content = bytes(range(256)) * 2000  # about five seconds
        client.transport.write(content)
        await asyncio.sleep(1)
        link.blackout(10)
        await asyncio.sleep(1)
        amount = len(served[0].data)
        await asyncio.sleep(8)
        assert len(served[0].data) == amount
        await asyncio.sleep(2)
        assert len(served[0].data) > amount
        link.set_up(False)
        await asyncio.sleep(100)
        link.set_up(True)
        await asyncio.sleep(60)
        assert served[0].data == content

    in_memory(main)


def test_a_pause_holds_streams_too() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, LIGHT, tcp=TCP)
        served = loop.listen(B)
        client = loop.connect(BOX_A)
        await asyncio.sleep(0.1)
        client.transport.write(b"under way")
        await asyncio.sleep(0.001)
        link.pause()
        await asyncio.sleep(10)
        assert served[0].heard == []
        link.resume()
        await asyncio.sleep(1)
        assert [at for at, _ in served[0].heard] == [10_120 * MILLISECOND]

    in_memory(main)


def test_too_many_connections_are_turned_away() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, LIGHT, tcp=TcpConfig(connections_max=2))
        loop.listen(B)
        clients = [loop.connect(BOX_A) for _ in range(3)]
        await asyncio.sleep(1)
        assert [client.reset_ns is not None for client in clients] == [False, False, True]
        assert link.statistics()["tcp"]["too_many"] == 1
        assert link.reset_connections() == 2
        await asyncio.sleep(1)
        assert all(client.reset_ns is not None for client in clients)

    in_memory(main)


def test_refused_connections_and_connections_again() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, LIGHT, tcp=TCP)
        loop.listen(B)
        await link.refuse(True)
        assert link.state()["refusing"]
        with pytest.raises(ConnectionRefusedError):
            loop.connect(BOX_A)
        await link.refuse(False)
        await link.refuse(False)
        loop.connect(BOX_A)
        await link.refuse(True)
        loop.listen(BOX_A)
        with pytest.raises(ConfigError, match="refuse: cannot listen again"):
            await link.refuse(False)

    in_memory(main)


@pytest.mark.parametrize(
    ("faults", "reset"), [({"limit_bytes": 1000}, False), ({"reset_after_bytes": 1000}, True)]
)
def test_faults_end_connections(faults: dict[str, int], reset: bool) -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, LIGHT, tcp=TCP, forward_faults=StreamFaults(**faults))
        served = loop.listen(B)
        client = loop.connect(BOX_A)
        client.transport.write(bytes(5000))
        await asyncio.sleep(1)
        assert len(served[0].data) == 1000
        assert (client.reset_ns is not None) is reset
        assert (client.ended_ns is not None) is not reset
        assert link.statistics()["tcp"]["open"] == 0

    in_memory(main)


def test_a_share_of_connections_is_hit_and_can_be_changed() -> None:
    async def main(loop: MemoryLoop) -> None:
        faults = StreamFaults(share=0.3, reset_after_ms=1)
        link = await start(loop, LIGHT, tcp=TCP, forward_faults=faults)
        loop.listen(B)

        async def hit() -> int:
            clients = [loop.connect(BOX_A) for _ in range(200)]
            await asyncio.sleep(1)
            return sum(client.reset_ns is not None for client in clients)

        assert 35 <= await hit() <= 85
        link.configure("forward", LIGHT, None)
        assert await hit() == 0

    in_memory(main)


def test_slices_are_written_by_themselves() -> None:
    async def main(loop: MemoryLoop) -> None:
        faults = StreamFaults(slice_bytes=10)
        await start(loop, LIGHT, tcp=TCP, forward_faults=faults)
        served = loop.listen(B)
        client = loop.connect(BOX_A)
        client.transport.write(bytes(35))
        await asyncio.sleep(1)
        assert [len(data) for data in served[0].transport.peer.writes] == [10, 10, 10, 5]

    in_memory(main)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.booleans(), st.integers(1, 5000), st.integers(0, 50)),
        max_size=30,
    ),
    st.floats(0, 0.4),
    st.integers(0, 9),
)
def test_all_octets_of_all_connections_arrive_whatever_happens(
    writes: list[tuple[int, bool, int, int]], loss: float, seed: int
) -> None:
    async def main(loop: MemoryLoop) -> None:
        config = ChannelConfig(
            windows=always_up(2e5),
            delay=Delay.constant(LIGHT_NS),
            loss=lambda rng: Bernoulli(rng, loss),
            jitter_ns=LIGHT_NS,
            queue_bytes=8000,
        )
        tcp = TcpConfig(buffer_bytes=6000, segment_bytes=500, retransmit_max_ms=2000)
        link = await start(loop, config, tcp=tcp, seed=seed)
        served = loop.listen(B)
        clients = [loop.connect(BOX_A) for _ in range(4)]
        while len(served) < 4:  # noqa: ASYNC110 - nobody signals it, and time is virtual
            await asyncio.sleep(1)
        # Which server belongs to which client: the first octet says it.
        for number, client in enumerate(clients):
            client.transport.write(bytes([number]))
        await asyncio.sleep(60)
        servers = {server.data[0]: server for server in served}
        expected: dict[Any, bytes] = {}
        for number, there, size, wait_ms in writes:
            one = clients[number] if there else servers[number]
            other = servers[number] if there else clients[number]
            data = bytes([size % 256]) * size
            one.transport.write(data)
            expected[other] = expected.get(other, b"") + data
            await asyncio.sleep(wait_ms / 1e3)
        link.blackout(1.0)
        for one in (*clients, *served):
            one.transport.write_eof()
        await asyncio.sleep(3000)
        for number, server in servers.items():
            assert server.data[1:] == expected.get(server, b"")
            assert clients[number].data == expected.get(clients[number], b"")
            assert server.ended_ns is not None
            assert clients[number].ended_ns is not None
        counts = link.statistics()["tcp"]
        assert (counts["open"], counts["finished"], counts["held_bytes"]) == (0, 4, 0)

    in_memory(main)


def test_closing_the_box_resets_what_is_open() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, LIGHT, tcp=TCP)
        served = loop.listen(B)
        client = loop.connect(BOX_A)
        await asyncio.sleep(1)
        connecting = loop.connect(BOX_A)
        await link.close()
        await link.close()
        await asyncio.sleep(1)
        assert client.reset_ns is not None
        assert connecting.reset_ns is not None
        assert served[0].reset_ns is not None
        assert BOX_A not in loop.servers
        assert all(port.closed for port in loop.ports)

    in_memory(main)


def test_tcp_needs_somewhere_to_go() -> None:
    async def main(loop: MemoryLoop) -> None:
        with pytest.raises(ConfigError, match="peer_a or peer_b"):
            await start(loop, LIGHT, tcp=TCP, peer_a=None, peer_b=None)
        with pytest.raises(ConfigError, match="udp: is off"):
            await start(loop, LIGHT, udp=False)
        link = await start(loop, LIGHT)
        with pytest.raises(ConfigError, match="tcp: is off"):
            link.reset_connections()
        await link.close()
        link = await start(loop, LIGHT, tcp=TCP, peer_a=None)
        assert BOX_B not in loop.servers
        await link.close()
        loop.listen(BOX_A)
        with pytest.raises(ConfigError, match=r"listen_a: cannot bind TCP .*is another program"):
            await start(loop, LIGHT, tcp=TCP)

    in_memory(main)
