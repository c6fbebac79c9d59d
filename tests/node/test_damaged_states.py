"""A flipped bit in what a node keeps of a file, a job or its log does not keep it from starting."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from link_models.clock import run_virtual
from stack.audit.event import Act
from stack.core.eid import Eid
from stack.ports.application import Happening
from stack.services.messages import Mailbox, send_message
from tests.node.test_auditing import database, lone_node


def rows(root: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(database(root))) as db:
        return list(db.execute("SELECT space, key FROM state"))


def flip(root: Path, space: str, key: str) -> None:
    with closing(sqlite3.connect(database(root), isolation_level=None)) as db:
        db.execute(
            "UPDATE state SET value = value || x'00' WHERE space = ? AND key = ?", (space, key)
        )
        assert db.total_changes == 1


@pytest.mark.slow
def test_a_node_starts_whichever_of_its_records_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(3000))
    before = tmp_path / "before"
    before.mkdir()

    async def first() -> None:
        async with lone_node(before) as node:
            await node.services.files.send(tmp_path / "a.bin", "dtn://sat1/")
            for _ in range(2):
                event = Happening(Act.KEY_DESTROYED, "key:1")
                await node.port.commit(tell=[event] * 3)
                await asyncio.sleep(61)

    run_virtual(first)
    kept = rows(before)
    assert len({space for space, _ in kept}) > 2
    for number, some in enumerate([[], *([row] for row in kept), kept]):
        root = tmp_path / str(number)
        shutil.copytree(before, root)
        for row in some:
            flip(root, *row)

        async def again(root: Path = root, count: int = len(some)) -> None:
            async with lone_node(root) as node:
                assert node.counters()["store.damaged_states"] == count
                own = Eid.parse("dtn://gs1/").with_service("messages")
                await send_message(node.port, own, b"still here")
                got = await Mailbox(node.port).receive()
                assert bytes(got.payload) == b"still here"
                await node.port.commit(tell=[Happening(Act.KEY_DESTROYED, "key:2")])
                await asyncio.sleep(61)  # and its log is closed as ever

        run_virtual(again)
