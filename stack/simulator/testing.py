"""Two nodes, a link and a virtual clock, for the tests of programs that embed a node.

    def test_what_is_sent_arrives(tmp_path: Path) -> None:
        async def main() -> None:
            async with two_nodes(tmp_path, passes_s=[(0, 300), (5400, 5700)]) as (ground, sat):
                sent = await ground.services.files.send("scene.tif", sat.node_id)
                assert (await ground.services.files.wait(sent)).state == "delivered"

        run_virtual(main)

Hours pass in milliseconds, and the same seed gives the same run.  The fixture `run_two_nodes` of
`orbitferry.pytest_plugin` is both in one, `run_two_ports` the same for protocols without a node.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypedDict, TypeVar, Unpack

from link_models.channel import ChannelConfig, Delay, Window, always_up
from link_models.clock import VirtualClock, VirtualLoop, run_virtual
from link_models.loss import Bernoulli
from link_models.network import VirtualNetwork, VirtualPort
from link_models.rng import Streams
from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import LocalError
from stack.engines.ltp import LtpConfig
from stack.node.config import LinkConfig, NodeConfig, SecurityConfig, StoreSection
from stack.node.environment import Environment
from stack.node.node import Node
from stack.ports.datagram import DatagramPort
from stack.security import new_key_file
from stack.services.jobs import Handler
from stack.simulator.domain import DTN_START_MS as DTN_START_MS
from stack.simulator.domain import plan_of

GROUND: Final = "dtn://ground/"
SATELLITE: Final = "dtn://satellite/"

T = TypeVar("T")


class TwoNodes(NamedTuple):
    """The nodes of `two_nodes`; both run, until the block ends."""

    ground: Node
    satellite: Node


@contextlib.asynccontextmanager
async def two_nodes(
    folder: Path,
    *,
    rate_bps: float = 1e6,
    owlt_ms: float = 5.0,
    loss: float = 0.0,
    passes_s: Sequence[tuple[float, float]] | None = None,
    foreseen: bool = True,
    handlers: Mapping[str, Handler] | None = None,
    seed: int = 1,
) -> AsyncIterator[TwoNodes]:
    """A ground station `dtn://ground/` and a satellite `dtn://satellite/` that share keys, and a
    link of `rate_bps` bits a second and `owlt_ms` milliseconds of light time that loses datagrams
    with probability `loss`.

    `passes_s` are begins and ends of the passes, seconds from the start; both nodes have them as
    their contact plan, unless they are not `foreseen`: `Node.contact_discovered` and
    `Node.set_plan` are for these.  Without any the link is always up.  `handlers` are the jobs that
    the satellite runs.  `folder` takes the nodes' files.  Raises `LocalError` outside of
    `run_virtual`.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise LocalError("two_nodes needs virtual time: call it within run_virtual(main)")
    streams = Streams(seed)
    new_key_file(folder / "keys.toml", streams.entropy("keys"), "test")
    windows = always_up(rate_bps)
    if passes_s is not None:
        windows = tuple(Window(round(a * SECOND), round(b * SECOND), rate_bps) for a, b in passes_s)
    channel = ChannelConfig(
        windows=windows,
        delay=Delay.constant(owlt_ms * MILLISECOND),
        loss=lambda rng: Bernoulli(rng, loss),
    )
    ends = VirtualNetwork(loop, streams).connect("link", channel)
    plan = None
    if passes_s is not None:
        plan = plan_of({("ground", "satellite"): passes_s if foreseen else ()}, rate_bps, owlt_ms)
    sides = ((GROUND, SATELLITE, None), (SATELLITE, GROUND, handlers))
    nodes = [
        Node(
            _configuration(folder, own, peer, rate_bps, owlt_ms, scheduled=plan is not None),
            handlers=jobs,
            plan=plan,
            environment=_environment(loop, streams, own, end),
        )
        for (own, peer, jobs), end in zip(sides, ends, strict=True)
    ]
    async with nodes[0], nodes[1]:
        yield TwoNodes(*nodes)


class TwoNodesOptions(TypedDict, total=False):
    """The parameters of `two_nodes`, whose defaults hold for what is left out."""

    rate_bps: float
    owlt_ms: float
    loss: float
    passes_s: Sequence[tuple[float, float]] | None
    foreseen: bool
    handlers: Mapping[str, Handler] | None
    seed: int


class RunTwoNodes:
    """What the pytest fixture `run_two_nodes` gives: `two_nodes` within `run_virtual`, in one call.

    It can be called several times in one test; each time the nodes are new.
    """

    def __init__(self, make_folder: Callable[[], Path]) -> None:
        self._make_folder = make_folder

    def __call__(
        self,
        main: Callable[[Node, Node], Coroutine[Any, Any, T]],
        **options: Unpack[TwoNodesOptions],
    ) -> T:
        """Run `main(ground, satellite)` to its end in virtual time; what it returns.

        The options are those of `two_nodes`.  Raises what `main` raises, and as `run_virtual` does.
        """

        async def whole() -> T:
            async with two_nodes(self._make_folder(), **options) as (ground, satellite):
                return await main(ground, satellite)

        return run_virtual(whole)


def run_two_ports(
    main: Callable[[DatagramPort, DatagramPort], Coroutine[Any, Any, T]],
    channel: ChannelConfig | None = None,
    *,
    back: ChannelConfig | None = None,
    seed: int = 1,
) -> T:
    """Run `main(a, b)` in virtual time, with the two ends of a link between them: for the tests of
    any protocol over datagrams.  What it returns.

    `channel` is what befalls datagrams from `a` to `b`, and back unless `back` is given: rate,
    light time, loss, duplicates, reordering, damage, passes; by default nothing.  The same `seed`
    gives the same run.  Raises what `main` raises, and as `run_virtual` does.
    """

    async def whole() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        network = VirtualNetwork(loop, Streams(seed))
        return await main(*network.connect("link", channel or ChannelConfig(), back))

    return run_virtual(whole)


def _configuration(
    folder: Path, own: str, peer: str, rate_bps: float, owlt_ms: float, *, scheduled: bool
) -> NodeConfig:
    return NodeConfig(
        id=own,
        data_dir=str(folder / own.strip("/").rpartition("/")[2]),
        security=SecurityConfig(key_file=str(folder / "keys.toml")),
        store=StoreSection(kind="memory"),
        links=(
            LinkConfig(
                name="link",
                peer=peer,
                scheduled=scheduled,
                rate_bps=0.0 if scheduled else rate_bps,
                owlt_ms=0.0 if scheduled else owlt_ms,
                ltp=LtpConfig(
                    local_engine_id=1 + (own == SATELLITE), remote_engine_id=1 + (own == GROUND)
                ),
            ),
        ),
    )


def _environment(loop: VirtualLoop, streams: Streams, own: str, end: VirtualPort) -> Environment:
    async def open_port(link: LinkConfig) -> DatagramPort:
        return end

    return Environment(
        clock=VirtualClock(loop, dtn_start_ms=DTN_START_MS),
        entropy=streams.entropy(own),
        open_port=open_port,
        threads=False,
    )
