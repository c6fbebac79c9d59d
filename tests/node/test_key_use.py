"""No IV comes again under one key, and a restored or copied node's keys are counted on."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from link_models.clock import run_virtual
from stack.core.errors import ConfigError, StoreError
from stack.core.sansio import Entropy, no_trace
from stack.node.config import ContactsConfig
from stack.node.keys import FILE, open_use
from stack.node.node import Node
from stack.security import Key
from stack.security.contexts import BCB_IV
from stack.security.keys import KEYS_MAX
from stack.security.use import BLOCK
from stack.services.messages import send_message
from stack.wire.asb import decode_asb
from stack.wire.bundle import BLOCK_CONFIDENTIALITY, decode_bundle
from tests.core.durable import made_durable
from tests.node.test_two_nodes import channel, loop
from tests.node.world import SeededEntropy, World

MESSAGES = 20


async def live(root: Path, entropy: Entropy) -> tuple[Counter[bytes], int]:
    """A node sends messages over a relay: the IVs that reached that, and what the node counts."""
    world = World(loop(), root)
    world.connect("gs1", "sat1", channel())
    onward = ContactsConfig(default="dtn://sat1/")
    ground = world.node("gs1", [world.link("gs1", "sat1", rate_bps=10e6)], contacts=onward)
    relay = world.node("sat1", [world.link("sat1", "gs1", rate_bps=10e6)])
    ground._environment = dataclasses.replace(ground._environment, entropy=entropy)
    async with ground, relay:
        for _ in range(MESSAGES):
            await send_message(ground.port, "dtn://far/messages", b"the same")
        while ground.waiting_bytes:
            await ground.port.sleep(1.0)
        ivs = Counter(held(relay))
        (key,) = ground.keys.table()
    shutil.rmtree(root / "sat1")
    return ivs, key["encryptions"]


def held(node: Node) -> list[bytes]:
    found = []
    for ref in node._agent.entries:
        octets = node.octets(ref)
        assert octets is not None
        bundle, _ = decode_bundle(octets)
        for block in bundle.blocks:
            if block.type == BLOCK_CONFIDENTIALITY:
                iv = decode_asb(block.data).parameter(BCB_IV)
                assert isinstance(iv, bytes)
                found.append(iv)
    return found


def lives(folder: Path, entropies: list[Entropy]) -> tuple[Counter[bytes], list[int]]:
    """A node's first life, a second, one from a backup of the first, one of a clone of that."""
    first, backup, clone = folder / "first", folder / "backup", folder / "clone"
    roots = ((first, backup), (first, None), (backup, clone), (clone, None))
    ivs: Counter[bytes] = Counter()
    counts = []
    for (root, copy), entropy in zip(roots, entropies, strict=True):
        found, count = run_virtual(partial(live, root, entropy))
        ivs += found
        counts.append(count)
        if copy is not None:
            shutil.copytree(root, copy)
    return ivs, counts


def test_no_iv_comes_again_in_a_restored_backup_or_a_clone(tmp_path: Path) -> None:
    ivs, counts = lives(tmp_path, [os.urandom] * 4)
    assert ivs.total() == 4 * MESSAGES
    assert max(ivs.values()) == 1
    assert counts == [MESSAGES, 2 * MESSAGES, 2 * MESSAGES, 3 * MESSAGES]


def test_randomness_that_comes_again_with_a_backup_would_be_seen(tmp_path: Path) -> None:
    ivs, _ = lives(tmp_path, [SeededEntropy("restored") for _ in range(4)])
    assert max(ivs.values()) == 4


def test_the_count_is_on_disk_before_the_first_encryption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Key("shared", "aes", bytes(32))
    use = open_use(tmp_path, no_trace)
    durable = made_durable(tmp_path, monkeypatch)
    use.take(key)
    assert durable == [json.dumps({key.fingerprint: BLOCK}).encode(), [FILE]]
    assert open_use(tmp_path, no_trace).taken(key) == BLOCK  # as after a kill
    use.close()
    assert open_use(tmp_path, no_trace).taken(key) == 1
    (tmp_path / FILE).with_suffix(".new").mkdir()
    with pytest.raises(StoreError, match="nothing is encrypted"):
        open_use(tmp_path, no_trace).take(key)


def test_a_key_in_use_is_counted_on_however_many_others_there_have_been(tmp_path: Path) -> None:
    key = Key("oldest", "aes", bytes(32))
    others = {f"other {number}": 1 for number in range(KEYS_MAX)}
    (tmp_path / FILE).write_text(json.dumps({key.fingerprint: 7, **others}))
    use = open_use(tmp_path, no_trace)
    use.take(key)
    assert open_use(tmp_path, no_trace).taken(key) == 7 + BLOCK  # as after a kill
    use.close()
    assert open_use(tmp_path, no_trace).taken(key) == 8


@pytest.mark.parametrize("first", ["memory", "sqlite"])
@pytest.mark.parametrize("second", ["memory", "sqlite"])
def test_two_nodes_do_not_count_in_one_folder(tmp_path: Path, first: str, second: str) -> None:
    """Each would write down its own encryptions over those of the other."""

    async def both() -> None:
        world, other = (World(loop(), tmp_path, store=kind) for kind in (first, second))
        async with world.node("gs1", []):
            with pytest.raises(StoreError, match="in use by process"):
                await other.node("gs1", []).__aenter__()
        async with other.node("gs1", []):
            pass

    run_virtual(both)


@pytest.mark.parametrize(
    "octets", [b"", b"\xff", b"[]", b'{"a": -1}', b'{"a": 1e9}', b'{"a": true}', b"[" * 5000]
)
def test_a_count_that_cannot_be_read_stops_the_node(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / FILE).write_bytes(octets)
    with pytest.raises(ConfigError, match="keys new"):
        open_use(tmp_path, no_trace)
