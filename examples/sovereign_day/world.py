"""A world in memory for whole nodes: a virtual clock, links without loss, and a domain."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from orbitferry import (
    AuthorityFolder,
    Contact,
    DatagramPort,
    Eid,
    Environment,
    Handler,
    IdentityConfig,
    LinkConfig,
    LtpConfig,
    Node,
    NodeConfig,
    NodeFolder,
    Plan,
    Train,
    approve_request,
    dtn_to_iso,
    unix_from_dtn,
)

HOUR_MS: Final = 3_600_000
DELAY_S: Final = 0.005


class Clock:
    """DTN time from a beginning, as the event loop counts."""

    def __init__(self, start_ms: int) -> None:
        self.start_ms = start_ms

    def now(self) -> int:
        """Nanoseconds."""
        return round(asyncio.get_running_loop().time() * 1e9)

    def dtn_ms(self) -> int:
        """DTN milliseconds."""
        return self.start_ms + self.now() // 1_000_000


class Wire:
    """One end of a link: what is sent is at the other end 5 ms later."""

    def __init__(self) -> None:
        self.other = self
        self.on_receive: Callable[[list[Train]], None] = lambda trains: None
        self.on_writable: Callable[[], None] = lambda: None
        self.on_stranger: Callable[[str], None] = lambda address: None

    def send(self, trains: Sequence[Train]) -> bool:
        """Of what is sent, copies: the sender uses its buffers again."""
        copies = [Train(bytes(one.data), one.size, one.flow) for one in trains]
        asyncio.get_running_loop().call_later(DELAY_S, lambda: self.other.on_receive(copies))
        return True

    def counters(self) -> dict[str, int]:
        """None."""
        return {}

    async def close(self) -> None:
        """Nothing to close."""


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `orbitferry`."""
    line = [sys.executable, "-m", "orbitferry", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True)


def no_passphrase() -> bytes:
    """Keys of an example need none."""
    return b""


def found_domain(root: Path, places: Mapping[str, str], now_ms: int) -> AuthorityFolder:
    """An authority, and nodes that have enrolled: by name, under the law of whom."""
    authority = AuthorityFolder(root / "domain")
    authority.create("family", passphrase=b"", entropy=os.urandom, now_ms=now_ms)
    for name, place in places.items():
        folder = NodeFolder(root / name / "identity")
        eid = Eid.parse(f"dtn://{name}/")
        request = folder.begin(
            eid, jurisdictions=[place], roles=(), passphrase=b"", entropy=os.urandom
        )
        answer, _ = approve_request(
            authority,
            no_passphrase,
            request,
            jurisdictions=[place],
            roles=(),
            now_ms=now_ms,
            entropy=os.urandom,
        )
        folder.accept(answer, now_ms)
    return authority


def spread_news(root: Path, names: Sequence[str], now_ms: int) -> None:
    """Bring to nodes what the authority says now."""
    done = command("domain", "export", "--folder", root / "domain", "--out", root / "update.pem")
    assert done.returncode == 0, done.stderr
    for name in names:
        NodeFolder(root / name / "identity").accept((root / "update.pem").read_bytes(), now_ms)


def make_plan(hops: Mapping[tuple[str, str], int], start_ms: int) -> Plan:
    """The contacts of `hops`: two names, and the hour from which they are in contact."""
    return Plan(
        Contact(
            f"dtn://{a}/", f"dtn://{b}/", start_ms + hour * HOUR_MS, start_ms + 9 * HOUR_MS, 1e6
        )
        for pair, hour in hops.items()
        for a, b in (pair, pair[::-1])
    )


def write_places(path: Path, spots: Mapping[str, tuple[float, float]], start_ms: int) -> None:
    """Where stations are, and a satellite above 75 degrees east that stays there, for maps."""
    sidereal_deg = 280.46062 + 360.98564737 * (unix_from_dtn(start_ms) - 946_728_000) / 86_400
    text = f'title = "Places"\nstart = "{dtn_to_iso(start_ms)}"\n' + "".join(
        f'[[stations]]\nid = "dtn://{name}/"\nlatitude_deg = {north}\nlongitude_deg = {east}\n'
        for name, (north, east) in spots.items()
    )
    text += f"""[[constellations]]
id = "dtn://sat{{}}/"
count = 1
altitude_km = 35_786
inclination_deg = 0
raan_deg = {(75 + sidereal_deg) % 360}
[[radios]]
up = {{ preset = "s-band-up" }}
down = {{ preset = "x-band-down" }}
"""
    path.write_text(text)


def make_nodes(
    root: Path, hops: Mapping[tuple[str, str], int], start_ms: int, handlers: Mapping[str, Handler]
) -> dict[str, Node]:
    """Nodes of all `hops`, by name."""
    plan = make_plan(hops, start_ms)
    wires: dict[tuple[str, str], Wire] = {}
    for pair in hops:
        wires[pair], wires[pair[::-1]] = one, other = Wire(), Wire()
        one.other, other.other = other, one

    async def open_port(name: str, link: LinkConfig) -> DatagramPort:
        return wires[name, link.name]

    def link(name: str, peer: str) -> LinkConfig:
        ids = sorted((name, peer))
        ltp = LtpConfig(local_engine_id=1 + ids.index(name), remote_engine_id=1 + ids.index(peer))
        return LinkConfig(name=peer, peer=f"dtn://{peer}/", scheduled=True, ltp=ltp)

    def node(name: str) -> Node:
        return Node(
            NodeConfig(
                id=f"dtn://{name}/",
                data_dir=str(root / name / "data"),
                identity=IdentityConfig(folder=str(root / name / "identity")),
                links=tuple(link(name, peer) for own, peer in wires if own == name),
            ),
            plan=plan,
            handlers=handlers,
            environment=Environment(
                clock=Clock(start_ms),
                entropy=os.urandom,
                open_port=partial(open_port, name),
                threads=False,
            ),
        )

    return {name: node(name) for name in dict.fromkeys(name for pair in wires for name in pair)}
