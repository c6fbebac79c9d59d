"""Two whole nodes in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from link_models.channel import ChannelConfig, Delay, Window
from link_models.clock import VirtualLoop, run_virtual
from link_models.loss import Bernoulli
from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import MILLISECOND, SECOND
from stack.core.eid import Eid
from stack.fec.config import FecConfig
from stack.services.echo import ping
from stack.services.files import FilesConfig
from stack.services.jobs import JobContext, JobState
from stack.services.messages import Mailbox, send_message
from stack.services.names import ECHO, endpoint_of
from stack.services.suite import ServicesConfig
from tests.node.world import EPOCH_MS, World

SAT = Eid.parse("dtn://sat1/")


def loop() -> VirtualLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


def channel(loss: float = 0.0, rate_bps: float = 10e6) -> ChannelConfig:
    forever = 1 << 62
    return ChannelConfig(
        windows=(Window(-forever, forever, rate_bps),),
        delay=Delay.constant(5 * MILLISECOND),
        loss=lambda rng: Bernoulli(rng, loss),
    )


def test_messages_pings_and_files_cross_a_lossy_link(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000

    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", channel(0.05))
        options: dict[str, Any] = {
            "rate_bps": 10e6,
            "owlt_ms": 5.0,
            "fec": FecConfig(k=32, r=8),
        }
        ground = world.node("gs1", [world.link("gs1", "sat1", **options)])
        satellite = world.node("sat1", [world.link("sat1", "gs1", **options)])
        source = tmp_path / "scene.bin"
        source.write_bytes(content)
        async with ground, satellite, Mailbox(satellite.port) as mailbox:
            await send_message(ground.port, SAT.with_service("messages"), b"hello, orbit")
            delivery = await mailbox.receive()
            assert bytes(delivery.payload) == b"hello, orbit"
            await mailbox.done(delivery)
            replies = [
                result
                async for result in ping(ground.port, endpoint_of(SAT, ECHO), count=3, interval_s=1)
            ]
            assert all(result.rtt_ns is not None for result in replies)
            sent = await ground.services.files.send(source, SAT)
            received = await anext(aiter(satellite.services.files.inbox))
            assert Path(received.path).read_bytes() == content  # noqa: ASYNC240
            progress = await ground.services.files.wait(sent)
            assert progress.bytes_done == len(content)
            counters = ground.counters()
            assert counters["link.sat1.udp.lost_datagrams"] > 0
            assert counters["link.sat1.auth.signed"] > 100  # two of our nodes: nothing to configure
            assert counters["link.sat1.auth.verified"] > 0
            assert counters["link.sat1.auth.unsigned"] + counters["link.sat1.auth.forged"] == 0

    run_virtual(main)


async def shout(context: JobContext) -> None:
    """A handler that returns its input in capitals, and how long it was."""
    text = context.inputs[0].read_text()
    context.output("length.txt", priority=2).write_text(str(len(text)))
    context.output("shouted.txt").write_text(text.upper() + context.args["end"])


def test_a_job_runs_in_orbit_and_its_results_come_down(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", channel(0.02))
        options: dict[str, Any] = {"rate_bps": 10e6, "owlt_ms": 5.0}
        ground = world.node("gs1", [world.link("gs1", "sat1", **options)])
        satellite = world.node(
            "sat1", [world.link("sat1", "gs1", **options)], handlers={"shout": shout}
        )
        source = tmp_path / "words.txt"
        source.write_text("quiet " * 1000)
        async with ground, satellite:
            jobs = ground.services.jobs
            job = await jobs.submit(SAT, "shout", {"end": "!"}, [source])
            status = await jobs.wait(job)
            assert status.state is JobState.FINISHED, status
            results = {name: path.read_text() for name, path in status.files.items()}
            assert results == {"length.txt": "6000", "shouted.txt": "QUIET " * 1000 + "!"}

    run_virtual(main)


def test_coding_spares_every_retransmission_that_it_covers(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", channel(0.03), channel())
        options: dict[str, Any] = {
            "rate_bps": 10e6,
            "owlt_ms": 5.0,
            "fec": FecConfig(k=32, r=16, block_time_ns=50 * MILLISECOND),
        }
        ground = world.node("gs1", [world.link("gs1", "sat1", **options)])
        satellite = world.node("sat1", [world.link("sat1", "gs1", **options)])
        source = tmp_path / "scene.bin"
        source.write_bytes(bytes(range(256)) * 8000)
        async with ground, satellite:
            sent = await ground.services.files.send(source, SAT)
            await ground.services.files.wait(sent)
            counters = ground.counters()
            assert counters["link.sat1.udp.lost_datagrams"] > 30
            assert counters["link.sat1.ltp.data_bytes_resent"] == 0
            assert satellite.counters()["link.gs1.fec.rx_recovered"] > 20

    run_virtual(main)


@pytest.mark.slow
def test_a_session_begun_in_one_pass_ends_in_the_next(tmp_path: Path) -> None:
    rate = 1e6
    passes = [(10, 25), (300, 330), (600, 660)]  # the first two are too short for the file

    async def main() -> None:
        world = World(loop(), tmp_path)
        windows = tuple(Window(a * SECOND, b * SECOND, rate) for a, b in passes)
        radio = ChannelConfig(windows=windows, delay=Delay.constant(5 * MILLISECOND))
        world.connect("gs1", "sat1", radio)
        contacts, ranges = [], []
        for a, b in (("dtn://gs1/", "dtn://sat1/"), ("dtn://sat1/", "dtn://gs1/")):
            for start, end in passes:
                when = EPOCH_MS + start * 1000, EPOCH_MS + end * 1000
                contacts.append(Contact(a, b, *when, rate))
                ranges.append(Range(a, b, *when, 5 * MILLISECOND))
        plan = Plan(contacts, ranges)
        blocks = {"block_bytes": 1_000_000}
        links: dict[str, Any] = {"scheduled": True, "ltp": blocks}
        files = ServicesConfig(files=FilesConfig(chunk_bytes=1_000_000))
        ground = world.node("gs1", [world.link("gs1", "sat1", **links)], plan=plan, services=files)
        satellite = world.node("sat1", [world.link("sat1", "gs1", **links)], plan=plan)
        source = tmp_path / "scene.bin"
        content = bytes(range(256)) * 28_000  # 7.2 MB: 57 s of the link
        source.write_bytes(content)
        async with ground, satellite:
            sent = await ground.services.files.send(source, SAT)
            await ground.services.files.wait(sent)
            counters = ground.counters()
            assert loop().now_ns > 600 * SECOND
            assert counters["link.sat1.ltp.export_failed"] == 0
            assert counters["link.sat1.ltp.data_bytes_sent"] < 1.02 * len(content)
            assert counters["link.sat1.ltp.data_bytes_resent"] < 20_000

    run_virtual(main)
