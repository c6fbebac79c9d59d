"""Any number of nodes of one domain under several laws, in virtual time: for programs that embed
nodes, and for tests of them.

    async def main() -> None:
        places = {"daejeon": "KR", "sat": "KR", "abroad": "XX"}
        passes_s = {("daejeon", "sat"): [(3600, 4200)], ("daejeon", "abroad"): [(0, 4200)]}
        async with domain_nodes(tmp_path, places, passes_s) as nodes:
            sent = await nodes["daejeon"].services.files.send("scene.tif", "dtn://sat/")

    run_virtual(main)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from link_models.channel import ChannelConfig, Delay, always_up
from link_models.clock import VirtualClock, VirtualLoop, run_virtual
from link_models.loss import Bernoulli
from link_models.network import VirtualNetwork
from link_models.rng import Streams
from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import MILLISECOND
from stack.core.eid import Eid
from stack.core.errors import LocalError
from stack.engines.ltp import LtpConfig
from stack.identity import AuthorityFolder, NodeFolder, pem
from stack.node.config import IdentityConfig, LinkConfig, NodeConfig
from stack.node.environment import Environment
from stack.node.node import Node
from stack.ports.datagram import DatagramPort
from stack.security.first_epoch import approve_request
from stack.services.jobs import Handler

T = TypeVar("T")

DTN_START_MS: Final = 820_454_400_000
"""DTN time when such a run begins: 2025-12-31T00:00:00Z."""

Passes = Mapping[tuple[str, str], Sequence[tuple[float, float]]]
"""Of two nodes, by name: from when to when they are in contact, seconds from the start."""


@contextlib.asynccontextmanager
async def domain_nodes(
    folder: Path,
    places: Mapping[str, str],
    passes_s: Passes,
    *,
    revoked: Collection[str] = (),
    rate_bps: float = 1e6,
    owlt_ms: float = 5.0,
    loss: float = 0.0,
    handlers: Mapping[str, Handler] | None = None,
    seed: int = 1,
) -> AsyncIterator[dict[str, Node]]:
    """Nodes by name (`dtn://NAME/`), which run until the block ends.

    `places` says under whose law each is: its jurisdiction stands in the certificate that the
    domain's authority has given it, and the nodes know one another by these.  Those `revoked` have
    lost theirs again, and do not run.  `passes_s` is the contact plan, which all have; over each
    contact `rate_bps` bits a second pass, `owlt_ms` milliseconds of light time away, of which
    datagrams are lost with probability `loss`.  Each node runs the jobs `handlers`.  `folder` takes
    what they have on disk: ``NAME/data`` is the data directory of a node, ``nodes.toml`` names
    those that run, for the commands `policy` and `audit`.  Raises `LocalError` outside of
    `run_virtual`, and for a contact of nobody who runs.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise LocalError("domain_nodes needs virtual time: call it within run_virtual(main)")
    members = [name for name in places if name not in revoked]
    unknown = {name for pair in passes_s for name in pair}.difference(members)
    if unknown:
        raise LocalError(f"{min(unknown)!r} has contacts, and is none of the nodes that run")
    streams = Streams(seed)
    clock = VirtualClock(loop, dtn_start_ms=DTN_START_MS)
    _found_domain(folder, places, revoked, streams)
    channel = ChannelConfig(
        windows=always_up(rate_bps),
        delay=Delay.constant(owlt_ms * MILLISECOND),
        loss=lambda rng: Bernoulli(rng, loss),
    )
    network = VirtualNetwork(loop, streams)
    ports: dict[tuple[str, str], DatagramPort] = {}
    for a, b in passes_s:
        ports[a, b], ports[b, a] = network.connect(f"{a}-{b}", channel)

    async def open_port(name: str, link: LinkConfig) -> DatagramPort:
        return ports[name, link.name]

    plan = plan_of(passes_s, rate_bps, owlt_ms)
    async with contextlib.AsyncExitStack() as running:
        nodes = {}
        for name in members:
            links = tuple(_link(name, peer) for own, peer in ports if own == name)
            environment = Environment(
                clock=clock,
                entropy=streams.entropy(name),
                open_port=partial(open_port, name),
                threads=False,
            )
            node = Node(
                _config(folder / name, name, links),
                plan=plan,
                handlers=handlers,
                environment=environment,
            )
            nodes[name] = await running.enter_async_context(node)
        yield nodes


class RunDomainNodes:
    """What the pytest fixture `run_domain_nodes` gives: `domain_nodes` within `run_virtual`, in one
    call.  It can be called several times in one test; each time the nodes are new."""

    def __init__(self, make_folder: Callable[[], Path]) -> None:
        self._make_folder = make_folder

    def __call__(
        self,
        main: Callable[[dict[str, Node]], Coroutine[Any, Any, T]],
        places: Mapping[str, str],
        passes_s: Passes,
        **options: Any,
    ) -> T:
        """Run `main(nodes)` to its end in virtual time; what it returns.

        The options are those of `domain_nodes`.  Raises what `main` raises, and as `run_virtual`
        does.
        """

        async def whole() -> T:
            async with domain_nodes(self._make_folder(), places, passes_s, **options) as nodes:
                return await main(nodes)

        return run_virtual(whole)


def _found_domain(
    folder: Path, places: Mapping[str, str], revoked: Collection[str], streams: Streams
) -> None:
    """The authority of the domain, and nodes that have enrolled and know one another."""
    entropy, now_ms = streams.entropy("domain"), DTN_START_MS
    domain = AuthorityFolder(folder / "domain")
    authority = domain.create("test", passphrase=b"", entropy=entropy, now_ms=now_ms)
    members = {name: NodeFolder(folder / name / "identity") for name in places}
    for name, law in places.items():
        eid = Eid.parse(f"dtn://{name}/")
        member = members[name]
        request = member.begin(eid, jurisdictions=[law], roles=(), passphrase=b"", entropy=entropy)
        answer, _ = approve_request(
            domain,
            _nothing,
            request,
            jurisdictions=[law],
            roles=(),
            now_ms=now_ms,
            entropy=entropy,
        )
        member.accept(answer, now_ms)
    for name in revoked:
        domain.revoke(authority, f"dtn://{name}/", now_ms)
    lines = []
    for name, law in places.items():
        if name not in revoked:
            members[name].accept(pem.encode(domain.export()).encode(), now_ms)
            lines.append(f'[[node]]\nid = "dtn://{name}/"\njurisdictions = ["{law}"]\n')
    (folder / "nodes.toml").write_text("".join(lines))


def _nothing() -> bytes:
    """The passphrase of keys that have none."""
    return b""


def _config(folder: Path, name: str, links: tuple[LinkConfig, ...]) -> NodeConfig:
    return NodeConfig(
        id=f"dtn://{name}/",
        data_dir=str(folder / "data"),
        identity=IdentityConfig(folder=str(folder / "identity")),
        links=links,
    )


def _link(name: str, peer: str) -> LinkConfig:
    own, other = (1, 2) if name < peer else (2, 1)
    ltp = LtpConfig(local_engine_id=own, remote_engine_id=other)
    return LinkConfig(name=peer, peer=f"dtn://{peer}/", scheduled=True, ltp=ltp)


def plan_of(passes_s: Passes, rate_bps: float, owlt_ms: float) -> Plan:
    """The contact plan of these passes, both ways."""
    spans = [
        (
            f"dtn://{a}/",
            f"dtn://{b}/",
            DTN_START_MS + round(s * 1000),
            DTN_START_MS + round(e * 1000),
        )
        for pair, passes in passes_s.items()
        for a, b in (pair, pair[::-1])
        for s, e in passes
    ]
    owlt_ns = round(owlt_ms * MILLISECOND)
    return Plan().add(
        [Contact(*span, rate_bps) for span in spans], [Range(*span, owlt_ns) for span in spans]
    )
