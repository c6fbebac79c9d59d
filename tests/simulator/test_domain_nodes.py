"""Nodes of one domain in virtual time, for programs that embed them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orbitferry import (
    DataPolicy,
    LocalError,
    Node,
    NodeSet,
    RunDomainNodes,
    domain_nodes,
    run_virtual,
)

KR = NodeSet.parse("KR")
AT_HOME = DataPolicy(readers=KR, rest=KR, transit=KR)


def test_a_file_takes_the_way_that_its_policy_has(tmp_path: Path) -> None:
    scene = tmp_path / "scene.bin"
    scene.write_bytes(bytes(100_000))
    passes_s = {
        ("ground", "abroad"): [(0, 7200)],
        ("abroad", "sat"): [(0, 7200)],
        ("ground", "home"): [(60, 120), (3600, 7200)],
        ("home", "sat"): [(3600, 7200)],
    }

    async def main(nodes: dict[str, Node]) -> float:
        files = nodes["ground"].services.files
        sent = await files.send(scene, "dtn://sat/", policy=AT_HOME)
        assert (await files.wait(sent)).state == "delivered"
        assert nodes["abroad"].counters().get("bundles.bundles_received", 0) == 0
        return asyncio.get_running_loop().time()

    run = RunDomainNodes(lambda: tmp_path / "nodes")
    places = {"ground": "KR", "home": "KR", "sat": "KR", "abroad": "XX"}
    assert 3600 < run(main, places, passes_s, loss=0.01) < 3700


def test_who_is_revoked_or_unknown_has_no_contacts(tmp_path: Path) -> None:
    async def main() -> None:
        for places in ({"a": "KR"}, {"a": "KR", "b": "KR"}):
            with pytest.raises(LocalError, match="'b' has contacts"):
                async with domain_nodes(tmp_path, places, {("a", "b"): [(0, 1)]}, revoked=["b"]):
                    pass

    run_virtual(main)
    with pytest.raises(LocalError, match="virtual time"):
        asyncio.run(domain_nodes(tmp_path, {}, {}).__aenter__())
