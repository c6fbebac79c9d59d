"""Ping, echo and single messages; and the small parts they stand on."""

from __future__ import annotations

import asyncio
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.eid import Eid
from stack.core.errors import LocalError, StoreError
from stack.ports.application import Outgoing
from stack.services.echo import ECHO_BYTES_MAX, EchoService, PingResult, PingStats, ping
from stack.services.messages import Mailbox, send_message
from stack.services.names import (
    ECHO,
    FILES,
    NUMBERS,
    PASSING_COUNT,
    PASSING_FIRST,
    endpoint_of,
    register_passing,
    service_of,
)
from stack.services.waiting import first_of
from tests.services.fake_port import FakeNet, FakeNode, Faults
from tests.services.helpers import GS, SAT, SAT_EID, running, until, virtual


def two(faults: Faults | None = None, seed: int = 0) -> tuple[FakeNet, FakeNode, FakeNode]:
    net = FakeNet(seed, faults)
    return net, net.node(GS), net.node(SAT)


# -- ping


@pytest.mark.parametrize("nodes", [(GS, SAT), ("ipn:5.0", "ipn:977000.7.0")])
def test_ping_measures_the_round_trip(nodes: tuple[str, str]) -> None:
    async def main() -> list[PingResult]:
        net = FakeNet(0, Faults(delay_s=1.25))
        here, there = net.node(nodes[0]), net.node(nodes[1])
        async with running(EchoService(there.port).run()):
            results = [one async for one in ping(here.port, endpoint_of(there.eid, ECHO), count=5)]
        assert here.port.endpoints == {}
        assert here.inbound == there.inbound == {}
        return results

    results = virtual(main)
    assert [one.sequence for one in results] == [0, 1, 2, 3, 4]
    for one in results:
        assert one.rtt_ns == pytest.approx(2.5e9, rel=1e-3)


def test_lost_and_late_pings_are_told_apart_from_answered_ones() -> None:
    async def main() -> None:
        _net, here, there = two(Faults(delay_s=0.5, jitter_s=4.0, loss=0.3, duplicate=0.5), seed=3)
        stats = PingStats()
        async with running(EchoService(there.port).run()):
            seen = set()
            async for one in ping(
                here.port, endpoint_of(SAT_EID, ECHO), count=200, interval_s=0.1, timeout_s=6.0
            ):
                assert one.sequence not in seen
                assert one.rtt_ns is None or 1.0e9 <= one.rtt_ns <= 6.0e9
                seen.add(one.sequence)
                stats.add(one)
        assert seen == set(range(200))
        assert stats.sent == 200
        assert 0.3 < stats.loss < 0.8  # 1 - 0.7 * 0.7, and what came late

    virtual(main)


def test_a_ping_that_is_not_finished_leaves_nothing() -> None:
    async def main() -> None:
        _net, here, there = two()
        async with running(EchoService(there.port).run()):
            pings = ping(here.port, endpoint_of(SAT_EID, ECHO), count=100)
            await anext(pings)
            await pings.aclose()
        assert here.port.endpoints == {}
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtual(main)


def test_what_echo_does_not_answer() -> None:
    async def main() -> None:
        net, _here, there = two()
        echo = EchoService(there.port)
        async with running(echo.run()):
            there.inject("dtn://gs1/echo", "echo", b"for ever")
            there.inject("dtn:none", "echo", b"to nobody")
            there.inject("dtn://gs1/ping-1", "echo", bytes(ECHO_BYTES_MAX + 1))
            there.inject("dtn://gs1/ping-1", "echo", b"late", lifetime_ms=0)
            there.inject("dtn://gs1/ping-1", "echo", b"this one")
            await until(lambda: echo.answered == 1 and echo.dropped == 4)
        assert [payload for _, _, payload in net.log] == [b"this one"]
        assert there.inbound == {}

    virtual(main)


@pytest.mark.parametrize(
    "options",
    [{"count": 0}, {"size": 5}, {"size": 1 << 30}, {"timeout_s": 0.0}, {"interval_s": -1.0}],
)
def test_ping_values_are_checked(options: dict[str, float]) -> None:
    async def main() -> None:
        _net, here, _there = two()
        with pytest.raises(LocalError):
            await anext(ping(here.port, SAT_EID, **options))  # type: ignore[arg-type]

    virtual(main)


def test_ping_ends_with_the_error_of_the_store() -> None:
    async def main() -> None:
        _net, here, _there = two()
        here.refuse_sends = 1
        with pytest.raises(StoreError):
            await anext(ping(here.port, SAT_EID))

    virtual(main)


@given(st.lists(st.none() | st.integers(1, 10**12), min_size=1, max_size=50))
def test_ping_figures(rtts: list[int | None]) -> None:
    stats = PingStats()
    for sequence, rtt in enumerate(rtts):
        stats.add(PingResult(sequence, rtt))
    known = [rtt for rtt in rtts if rtt is not None]
    assert (stats.sent, stats.received) == (len(rtts), len(known))
    assert stats.loss == pytest.approx(1 - len(known) / len(rtts))
    if known:
        assert (stats.min_ns, stats.max_ns) == (min(known), max(known))
        assert stats.mean_ns == pytest.approx(statistics.fmean(known))
        assert stats.deviation_ns == pytest.approx(statistics.pstdev(known), abs=1e-3, rel=1e-6)


# -- messages


def test_messages_arrive_once_and_as_sent() -> None:
    async def main() -> None:
        _net, here, there = two(Faults(jitter_s=1.0))
        async with Mailbox(there.port) as mailbox:
            for number in range(5):
                await send_message(here.port, mailbox.eid, f"message {number}".encode())
            got = []
            async for delivery in mailbox:
                got.append(bytes(delivery.payload))
                assert delivery.id.source == Eid.parse("dtn://gs1/messages")
                if len(got) == 5:
                    break
        assert sorted(got) == [f"message {number}".encode() for number in range(5)]
        # The last was not done with when the loop was left: it is kept for the next process.
        assert len(there.inbound) == 1
        async with Mailbox(there.restart()) as again:
            assert bytes((await again.receive()).payload) == got[-1]

    virtual(main)


def test_handling_is_one_transaction() -> None:
    async def main() -> None:
        _net, here, there = two()
        async with Mailbox(there.port) as mailbox:
            await send_message(here.port, mailbox.eid, b"question")
            delivery = await mailbox.receive()
            answer = Outgoing(delivery.id.source, b"answer", 1000, "messages")
            await mailbox.done(delivery, send=[answer])
        assert there.inbound == {}
        async with Mailbox(here.port) as replies:
            assert bytes((await replies.receive()).payload) == b"answer"

    virtual(main)


@pytest.mark.parametrize(
    "options", [{"lifetime_ms": 0}, {"lifetime_ms": 1 << 50}, {"priority": 4}, {"priority": -1}]
)
def test_message_values_are_checked(options: dict[str, int]) -> None:
    async def main() -> None:
        _net, here, _there = two()
        with pytest.raises(LocalError):
            await send_message(here.port, SAT_EID, b"x", **options)  # type: ignore[arg-type]
        with pytest.raises(LocalError, match="file"):
            await send_message(here.port, SAT_EID, bytes(64 << 20))

    virtual(main)


# -- names


def test_names_and_numbers() -> None:
    ipn, dtn = Eid.parse("ipn:7.0"), Eid.parse("dtn://sat1/")
    assert str(endpoint_of(dtn, FILES)) == "dtn://sat1/files"
    assert str(endpoint_of(ipn, FILES)) == "ipn:7.64"
    assert str(endpoint_of(Eid.parse("ipn:7.99"), ECHO)) == "ipn:7.2047"
    assert service_of(ipn, "123") == "123"
    assert len(set(NUMBERS.values())) == len(NUMBERS)
    assert not any(
        n in range(PASSING_FIRST, PASSING_FIRST + PASSING_COUNT) for n in NUMBERS.values()
    )
    with pytest.raises(LocalError):
        service_of(ipn, "unheard-of")


def test_passing_endpoints_do_not_collide() -> None:
    async def main() -> None:
        net = FakeNet()
        for eid in ("dtn://x/", "ipn:1.0"):
            port = net.node(eid).port
            assert len({register_passing(port, "ping").eid for _ in range(100)}) == 100

    virtual(main)


# -- waiting


def test_first_of_passes_errors_on() -> None:
    async def fails() -> None:
        raise StoreError("broken")

    async def main() -> None:
        with pytest.raises(StoreError):
            await first_of(fails(), asyncio.sleep(1e6))

    virtual(main)
