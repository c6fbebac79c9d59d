"""Checkpoints are cosigned over links, and two histories of one log are found."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from link_models.clock import run_virtual
from stack.audit.export import LogExport, verify_exports
from stack.audit.log import FORKED, log_origin
from stack.audit.note import SIGNATURES_MAX, LogCheckpoint, NoteKey, NoteSigner, SignedNote
from stack.core.errors import ConfigError, StoreError
from stack.node.config import AuditConfig, PolicyConfig
from stack.node.node import Node
from stack.node.witnesses import AGAIN_MS, ASKED
from stack.ports.store import Write
from stack.services.audit import (
    COSIGNED,
    PINNED,
    AuditService,
    checkpoint_message,
    to_witness,
    witness_signer,
)
from stack.services.messages import send_message
from stack.storage.audit_log import NOTES, read_log, read_witness
from stack.wire import cbor
from tests.node.test_sovereign import AT_HOME, DIRECTORY
from tests.node.test_two_nodes import SAT, channel, loop
from tests.node.world import World

AUDITED = replace(AT_HOME, audit=True)


def two(tmp_path: Path, told: list[tuple[str, Any]]) -> tuple[World, Any]:
    """A station whose checkpoints the satellite cosigns; made anew by each call of the second."""
    directory = tmp_path / "nodes.toml"
    directory.write_text(DIRECTORY)
    world = World(loop(), tmp_path, store="sqlite")
    world.connect("gs1", "sat1", channel(rate_bps=1e6))

    def node(name: str) -> Node:
        peer = {"gs1": "sat1", "sat1": "gs1"}[name]
        audit = AuditConfig(witness=True)
        if name == "gs1":
            audit = AuditConfig(witnesses=("dtn://sat1/",))
        made = world.node(
            name,
            [world.link(name, peer, rate_bps=1e6, owlt_ms=5.0)],
            policy=PolicyConfig(directory=str(directory)),
            audit=audit,
        )
        made._user_trace = lambda event, fields: told.append((event, fields))
        return made

    return world, node


async def says(node: Node, count: int) -> None:
    """A node has so much more to write down, and closes its log over that."""
    for _ in range(count):
        await send_message(node.port, SAT.with_service("later"), b"x", policy=AUDITED)
    await asyncio.sleep(300)


def witness_of(node: Node) -> NoteKey:
    """The public key of a witness."""
    return witness_signer(node.config.id, node._store.read("audit", "witness-key") or b"").key


def test_checkpoints_come_back_cosigned(tmp_path: Path) -> None:
    told: list[tuple[str, Any]] = []

    async def main() -> None:
        _, node = two(tmp_path, told)
        ground, satellite = node("gs1"), node("sat1")
        async with ground, satellite:
            for count in (1, 3):
                await says(ground, count)
            key = witness_of(satellite)
        report, other = verify_exports(
            [read_log(tmp_path / "gs1"), read_log(tmp_path / "sat1")], [], [key]
        )
        assert report.entries == report.closed == 8
        assert report.witnesses == {"dtn://sat1/audit": 8}
        assert read_witness(tmp_path / "sat1") == key
        with pytest.raises(StoreError, match="has cosigned nothing yet"):
            read_witness(tmp_path / "gs1")
        assert not report.problems + other.problems
        sizes = [fields["size"] for event, fields in told if event == "audit_cosigned"]
        assert sizes == sorted(sizes)
        assert len(sizes) >= 2  # each continues the one before, or it were not cosigned

    run_virtual(main)


def test_a_witness_that_was_out_of_reach_is_asked_again(tmp_path: Path) -> None:
    told: list[tuple[str, Any]] = []

    async def main() -> None:
        _, node = two(tmp_path, told)
        ground, satellite = node("gs1"), node("sat1")
        async with ground:
            await says(ground, 2)
            await says(ground, 2)
            async with satellite:
                await asyncio.sleep(600)
                key = witness_of(satellite)
        (report,) = verify_exports([read_log(tmp_path / "gs1")], [], [key])
        assert report.witnesses["dtn://sat1/audit"] >= 2

    run_virtual(main)


def test_a_witness_is_asked_again_though_the_clock_was_ahead_when_it_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody would be asked until the time has come that the clock showed then."""
    heard: list[object] = []
    monkeypatch.setattr(AuditService, "_checkpoint", lambda *_: heard.append(_))  # and is silent

    async def main() -> None:
        _, node = two(tmp_path, [])
        async with node("gs1") as ground, node("sat1"):
            for _ in range(2):
                await says(ground, 1)
                assert len(heard) == 1
            asked = ground.port.read(ASKED, "dtn://sat1/") or b""
            ahead = (
                asked[:-10] + cbor.uint(ground.port.dtn_ms() + 10 * 365 * AGAIN_MS) + cbor.bstr(b"")
            )
            await ground.port.commit(write=[Write(ASKED, "dtn://sat1/", ahead)])
            await says(ground, 1)
            assert len(heard) == 2

    run_virtual(main)


def test_a_key_that_has_signed_nothing_is_not_that_of_a_log(tmp_path: Path) -> None:
    mine, other = (
        NoteSigner(log_origin("dtn://gs1/", bytes(8)), secret) for secret in (b"a" * 32, b"b" * 32)
    )

    async def main() -> None:
        _, node = two(tmp_path, [])
        satellite = node("sat1")
        async with satellite, node("gs1") as ground:
            for signer in (other, mine):
                note = LogCheckpoint(mine.key.name, 1, bytes(32)).signed(signer).encode()
                payload = checkpoint_message(str(mine.key), note, [])
                await ground.port.commit(send=[to_witness(ground.port, "dtn://sat1/", payload)])
                await asyncio.sleep(60)
                pinned = satellite.port.read(PINNED, mine.key.name)
                assert pinned == (str(mine.key).encode() if signer is mine else None)

    run_virtual(main)


def test_a_node_that_begins_another_history_from_a_backup_is_found(tmp_path: Path) -> None:
    told: list[tuple[str, Any]] = []

    async def main() -> None:
        _, node = two(tmp_path, told)
        satellite = node("sat1")
        async with satellite:
            async with node("gs1") as ground:
                await says(ground, 2)
            shutil.copytree(tmp_path / "gs1", tmp_path / "backup")
            async with node("gs1") as ground:
                await says(ground, 2)
            true: LogExport = read_log(tmp_path / "gs1")
            shutil.rmtree(tmp_path / "gs1")
            shutil.copytree(tmp_path / "backup", tmp_path / "gs1")
            async with node("gs1") as ground:
                await says(ground, 2)
                # A liar would go on as if nothing were: with the proof of another history.
                false = read_log(tmp_path / "gs1")
                note = max(false.checkpoints, key=lambda each: len(SignedNote.parse(each).text))
                payload = checkpoint_message(str(false.key), note, [])
                await ground.port.commit(send=[to_witness(ground.port, "dtn://sat1/", payload)])
                await asyncio.sleep(60)
            kept = [note for _, note in satellite.port.read_all(FORKED)]
            (gone_at,) = {LogCheckpoint.parse(SignedNote.parse(each).text).size for each in kept}
        assert "audit_log_forked" in [event for event, _ in told]
        # The witness has both, signed by one key: neither story is believed any more.
        for log in (true, false):
            (report, _) = verify_exports([log, read_log(tmp_path / "sat1")], [], [])
            assert "one history here and another one there" in report.problems[0]
            assert not verify_exports([log], [], [])[0].problems
        # It needs no log for that, and not what it has cosigned last: that may go on.
        alone = read_log(tmp_path / "sat1")
        alone.seen = kept
        gone = verify_exports([alone], [true.key], [])[1]
        assert gone.problems == [f"it has signed two histories of {gone_at} entries"]

    run_virtual(main)


def test_a_witness_that_was_restored_from_a_backup_goes_on_from_what_it_has_signed(
    tmp_path: Path,
) -> None:
    told: list[tuple[str, Any]] = []

    async def main() -> None:
        _, node = two(tmp_path, told)
        async with node("gs1") as ground:
            async with node("sat1"):
                await says(ground, 2)
            shutil.copytree(tmp_path / "sat1", tmp_path / "backup")
            async with node("sat1"):
                await says(ground, 2)
            shutil.rmtree(tmp_path / "sat1")
            shutil.copytree(tmp_path / "backup", tmp_path / "sat1")
            async with node("sat1") as satellite:
                await says(ground, 2)
                key = witness_of(satellite)
        log, witness = read_log(tmp_path / "gs1"), read_log(tmp_path / "sat1")
        for logs in ([log], [read_export_of(log), witness]):
            report = verify_exports(logs, [], [key])[0]
            assert report.witnesses == {"dtn://sat1/audit": report.entries}
            assert not report.problems
        assert "audit_witness_differs" not in [event for event, _ in told]

    run_virtual(main)


def read_export_of(log: LogExport) -> LogExport:
    """A log with its newest checkpoint alone, as it has signed it."""
    return replace(log, checkpoints=[log.checkpoints[-1]])


def test_a_witness_that_sends_more_than_its_signature_spoils_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept of it goes into every export: with those of another witness under it too, a note
    of so many lines could not be read any more."""
    monkeypatch.setattr(AuditService, "_checkpoint", lambda *_: None)  # the honest one is silent
    told: list[tuple[str, Any]] = []
    witness = witness_signer("dtn://sat1/", bytes(32))

    async def main() -> None:
        _, node = two(tmp_path, told)
        async with node("gs1") as ground, node("sat1") as satellite:
            await says(ground, 2)
            note = SignedNote.parse(ground.port.read("audit", "checkpoint") or b"")
            good = witness.sign(note.text, 9)
            many = [good._replace(octets=bytes([each]) * 72) for each in range(SIGNATURES_MAX - 1)]
            # In an older store there may be such a note.
            spoiled = Write(NOTES, f"{4:020d}", note.with_signatures(many).encode())
            await ground.port.commit(write=[spoiled])
            for lines in (many, [good, many[0]], [good._replace(octets=bytes(9))], [], [good]):
                signed = note.with_signatures(lines).encode()
                payload = cbor.array((cbor.tstr(COSIGNED), cbor.bstr(signed)))
                send = [to_witness(satellite.port, "dtn://gs1/", payload)]
                await satellite.port.commit(send=send)
                await asyncio.sleep(60)
            kept = SignedNote.parse(ground.port.read(NOTES, spoiled.key) or b"")
            assert kept == note.with_signatures([good])
        dropped = [fields["why"] for event, fields in told if event == "audit_message_dropped"]
        assert dropped == ["one cosignature was asked for"] * 4
        report, _ = verify_exports(
            [read_log(tmp_path / "gs1"), read_log(tmp_path / "sat1")], [], [witness.key]
        )
        assert (report.problems, report.witnesses) == ([], {"dtn://sat1/audit": 4})

    run_virtual(main)


@pytest.mark.parametrize("witnesses", [[f"dtn://w{n}/" for n in range(64)], ["dtn://w/"] * 2])
def test_no_more_witnesses_are_asked_than_can_sign(witnesses: list[str]) -> None:
    AuditConfig(witnesses=tuple(f"dtn://w{number}/" for number in range(63)))
    with pytest.raises(ConfigError, match="witnesses"):
        AuditConfig(witnesses=tuple(witnesses))
