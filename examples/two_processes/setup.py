"""Configurations of the two nodes."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from orbitferry import new_key_file

NODE = """\
id = "dtn://{name}/"
data_dir = "{name}"

[security]
key_file = "keys.toml"

[log]
file = "{name}.log"

[[links]]
name = "{peer}"
peer = "dtn://{peer}/"
local = "127.0.0.1:{local}"
remote = "127.0.0.1:{remote}"
rate_bps = {rate_bps}
owlt_ms = 5.0

[links.ltp]
local_engine_id = {engine}
remote_engine_id = {peer_engine}

[links.fec]
k = 64
r = 8
block_time_ns = 20_000_000
"""


def free_port_pairs(count: int) -> list[int]:
    """UDP ports that are free together with the port above each, which carries FEC repair."""
    found: list[int] = []
    held: list[socket.socket] = []
    while len(found) < count:
        first = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        first.bind(("127.0.0.1", 0))
        port = first.getsockname()[1]
        second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        held += [first, second]
        try:
            second.bind(("127.0.0.1", port + 1))
        except OSError:
            continue
        found.append(port)
    for sock in held:
        sock.close()
    return found


def write_configurations(folder: Path, rate_bps: float) -> tuple[int, int]:
    """Write both nodes' configurations and their keys; the two ports of the box between them."""
    ground, satellite, box_ground, box_satellite = free_port_pairs(4)
    new_key_file(folder / "keys.toml", os.urandom, "two-processes")
    for name, peer, local, remote, engine in (
        ("ground", "satellite", ground, box_ground, 1),
        ("satellite", "ground", satellite, box_satellite, 2),
    ):
        text = NODE.format(
            name=name,
            peer=peer,
            local=local,
            remote=remote,
            engine=engine,
            peer_engine=3 - engine,
            rate_bps=rate_bps,
        )
        (folder / f"{name}.toml").write_text(text)
    (folder / "ports").write_text(f"{ground} {satellite}")
    return box_ground, box_satellite
