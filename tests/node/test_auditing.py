"""Whole nodes write down what they do with data that asks for it, and sign what they wrote."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from link_models.clock import run_virtual
from stack.audit.event import Act, AuditEvent, decode_event
from stack.audit.export import read_export, verify_exports
from stack.audit.log import ClosedLog
from stack.audit.merkle import Peaks
from stack.audit.note import LogCheckpoint, NoteKey, NoteSigner, SignedNote, open_checkpoint
from stack.audit.story import StoryEntry, story_of
from stack.core.errors import SecurityError, StoreError
from stack.node.auditing import WAYS_MAX, LogKeeper
from stack.node.config import PolicyConfig
from stack.policy import DataPolicy, NodeSet
from stack.policy.file import load_directory
from stack.policy.label import encode_label
from stack.ports.application import Happening
from stack.ports.store import Op, Write
from stack.services.jobs import JobContext
from stack.services.messages import Mailbox, send_message
from stack.storage import sql
from stack.storage.audit_log import LOG, NOTE, SPACE, VKEY, VOUCHER, WAYS, read_log
from stack.storage.event_rows import event_check
from tests.node.test_sovereign import AT_HOME, DIRECTORY, HOUR_MS, world_of
from tests.node.test_two_nodes import SAT, channel, loop
from tests.node.world import EPOCH_MS, World

TOLD = replace(AT_HOME, audit=True)


def story(node: Any) -> list[AuditEvent]:
    """What a node has written down."""
    return [decode_event(event) for _, event in node._store.events(0, 1 << 20)]


def test_the_story_of_a_message(tmp_path: Path) -> None:
    directory = tmp_path / "nodes.toml"
    directory.write_text(DIRECTORY)

    async def main() -> None:
        nodes = world_of(tmp_path, dict.fromkeys(("gs1", "sat1", "home", "abroad"), str(directory)))
        ground, satellite, relay = nodes["gs1"], nodes["sat1"], nodes["home"]
        async with ground, satellite, relay, nodes["abroad"]:
            async with Mailbox(satellite.port) as mailbox:
                to = SAT.with_service("messages")
                await send_message(ground.port, to, b"without a policy")
                await mailbox.done(await mailbox.receive())
                await send_message(ground.port, to, b"nobody asks", policy=AT_HOME)
                bundle = await send_message(ground.port, to, b"for the family", policy=TOLD)
                for _ in range(2):
                    await mailbox.done(await mailbox.receive())
            await asyncio.sleep(61)
            stories = {name: story(node) for name, node in nodes.items()}
            notes = {
                name: [node._store.read("audit", key) for key in ("key", "log", "checkpoint")]
                for name, node in nodes.items()
            }
            events = {name: node._store.events(0, 99) for name, node in nodes.items()}
        assert {
            name: [(each.names, each.peer) for each in found] for name, found in stories.items()
        } == {
            "gs1": [
                (["made", "sealed", "stored"], "dtn://sat1/messages"),
                (["forwarded", "deleted"], "dtn://home/"),
            ],
            "home": [
                (["received", "stored"], "dtn://gs1/"),
                (["forwarded", "deleted"], "dtn://sat1/"),
            ],
            "sat1": [
                (["received", "stored", "opened"], "dtn://home/"),
                (["opened", "deleted"], "dtn://sat1/messages"),
            ],
            "abroad": [],
        }
        everything = [each for found in stories.values() for each in found]
        assert {each.object for each in everything} == {str(bundle)}
        assert len({each.label for each in everything}) == 1
        assert [each.policy for each in everything if each.policy] == [encode_label(TOLD)] * 3
        assert stories["gs1"][1].detail.startswith("contact from 20")
        for name in ("gs1", "home", "sat1"):
            secret, state, note = notes[name]
            log = ClosedLog.decode(f"dtn://{name}/", state)
            _, checkpoint = open_checkpoint(note, NoteSigner(log.origin, secret).key)
            peaks = Peaks()
            peaks.add(event for _, event in events[name])
            assert (checkpoint.size, checkpoint.root) == (2, peaks.root())
        assert notes["abroad"] == [None] * 3

    run_virtual(main)


def test_that_a_job_has_run_is_written_down_with_its_start(tmp_path: Path) -> None:
    directory = tmp_path / "nodes.toml"
    directory.write_text(DIRECTORY)

    async def nothing(context: JobContext) -> None:
        """A job that makes nothing."""

    async def main() -> None:
        told_to = dict.fromkeys(("gs1", "sat1", "home", "abroad"), str(directory))
        nodes = world_of(tmp_path, told_to)
        nodes["sat1"]._handlers["nothing"] = nothing
        ground, satellite = nodes["gs1"], nodes["sat1"]
        async with ground, satellite, nodes["home"], nodes["abroad"]:
            jobs = ground.services.jobs
            await jobs.wait(await jobs.submit(SAT, "nothing", policy=AT_HOME))
            assert not any(Act.RUN & each.acts for each in story(satellite))
            job = await jobs.submit(SAT, "nothing", policy=TOLD)
            await jobs.wait(job)
            await asyncio.sleep(3600)
            told = {name: story(node) for name, node in nodes.items()}
        (run,) = [each for each in told["sat1"] if each.has(Act.RUN)]
        assert run.detail == f"job {job.hex()}, nothing, run 1"
        entries = [
            StoryEntry(each, name, number)
            for name, events in told.items()
            for number, each in enumerate(events)
            if each.object == run.object
        ]
        names = {f"dtn://{name}/" for name in nodes}
        assert story_of(run.object, entries, names, load_directory(directory)).sound
        directory.write_text(DIRECTORY.replace("KR", "SE"))
        found = story_of(run.object, entries, names, load_directory(directory)).violations
        assert any("it was run at dtn://sat1/" in each for each in found)

    run_virtual(main)


def test_what_is_refused_is_written_down(tmp_path: Path) -> None:
    """A station has a directory by which the relay may carry it; the relay's own says no."""
    lax, strict = tmp_path / "lax.toml", tmp_path / "strict.toml"
    lax.write_text(DIRECTORY)
    strict.write_text(DIRECTORY.replace('jurisdictions = ["XX"]', 'jurisdictions = ["YY"]'))

    async def main() -> None:
        names = {"gs1": str(lax), "sat1": str(lax), "home": str(lax), "abroad": str(strict)}
        nodes = world_of(tmp_path, names)
        policy = replace(TOLD, rest=NodeSet.parse("KR | XX"), transit=NodeSet.parse("any"))
        async with nodes["gs1"], nodes["sat1"], nodes["home"], nodes["abroad"]:
            to = SAT.with_service("messages")
            await send_message(nodes["gs1"].port, to, b"for the family", policy=policy)
            await asyncio.sleep(60)
            found = story(nodes["abroad"])
        assert found
        assert {(*each.names, each.peer) for each in found} == {("refused", "dtn://gs1/")}
        assert "may rest at 'KR | XX'" in found[0].detail

    run_virtual(main)


def test_a_log_ends_where_an_event_is_missing() -> None:
    log = ClosedLog("dtn://a/", bytes(8), 5)
    assert log.extend([(5, b"a"), (6, b"b"), (8, b"d")]) == 2
    assert log.next == 7
    assert ClosedLog.decode("dtn://a/", log.encode()).encode() == log.encode()
    assert log.extend([(8, b"d")]) == log.extend([]) == 0


@pytest.mark.slow
def test_a_received_file_goes_with_its_policy_also_from_a_node_that_was_off(tmp_path: Path) -> None:
    directory, scene = tmp_path / "nodes.toml", tmp_path / "scene.bin"
    directory.write_text(DIRECTORY)
    scene.write_bytes(b"for the family" * 1000)
    policy = DataPolicy(readers=NodeSet.parse("KR"), expires_ms=EPOCH_MS + HOUR_MS, audit=True)

    async def main() -> None:
        world = World(loop(), tmp_path, store="sqlite")
        world.connect("gs1", "sat1", channel())
        of = PolicyConfig(directory=str(directory))
        ground = world.node("gs1", [world.link("gs1", "sat1")], policy=of)
        place = tmp_path / "sat1" / "files" / "scene.bin"
        async with ground:
            async with world.node("sat1", [world.link("sat1", "gs1")], policy=of):
                sent = await ground.services.files.send(scene, SAT, policy=policy)
                assert (await ground.services.files.wait(sent)).state == "delivered"
                assert place.read_bytes() == scene.read_bytes()
            await asyncio.sleep(2 * 3600)
            assert place.exists()
            async with world.node("sat1", [world.link("sat1", "gs1")], policy=of) as satellite:
                await asyncio.sleep(1)
                assert not place.exists()
                found = [one for one in story(satellite) if one.object.startswith("file:")]
        assert [one.names for one in found] == [["made", "stored"], ["deleted"]]
        assert found[0].detail == "scene.bin from dtn://gs1/"
        assert found[0].policy == encode_label(policy)

    run_virtual(main)


def kept(node: Any, key: str) -> bytes | None:
    """What is kept of a node's log."""
    found: bytes | None = node._store.read(SPACE, key)
    return found


@pytest.fixture
def vouching(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[NoteKey], bytes]], None]:
    """Has the log of every node vouched for by a function."""

    def vouched_by(vouch: Callable[[NoteKey], bytes]) -> None:
        def keeper(
            node: str, port: Any, config: Any, entropy: Any, trace: Any, _: object
        ) -> LogKeeper:
            return LogKeeper(node, port, config, entropy, trace, vouch)

        monkeypatch.setattr("stack.node.build.LogKeeper", keeper)

    return vouched_by


async def one_event(node: Any) -> None:
    """Something that is written down."""
    digest = Happening(Act.KEY_DESTROYED, "key:1")
    await node.port.commit(tell=[digest])


class Token:
    """What holds the node's own key, and is not there at first."""

    there = False

    def vouch(self, key: NoteKey) -> bytes:
        if not self.there:
            raise SecurityError("the token is not there")
        return str(key).encode()


def lone_node(tmp_path: Path) -> Any:
    """A node with a log, and nobody beside it."""
    directory = tmp_path / "nodes.toml"
    directory.write_text(DIRECTORY)
    world = World(loop(), tmp_path, store="sqlite")
    world.connect("gs1", "sat1", channel())
    of = PolicyConfig(directory=str(directory))
    return world.node("gs1", [world.link("gs1", "sat1")], policy=of)


def test_a_log_is_closed_while_nobody_can_vouch_for_it(
    tmp_path: Path, vouching: Callable[[Callable[[NoteKey], bytes]], None]
) -> None:
    token = Token()
    vouching(token.vouch)

    async def main() -> None:
        async with lone_node(tmp_path) as node:
            for size in (1, 2):
                await one_event(node)
                await asyncio.sleep(61)
                note = kept(node, NOTE)
                assert note is not None
                assert LogCheckpoint.parse(SignedNote.parse(note).text).size == size
                assert kept(node, VOUCHER) == (kept(node, VKEY) if token.there else None)
                token.there = True

    run_virtual(main)


def test_a_word_that_was_not_stored_is_given_again_and_the_log_closed_again(
    tmp_path: Path,
    vouching: Callable[[Callable[[NoteKey], bytes]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, failed = LogKeeper._commit, 0

    async def commit(self: LogKeeper, ops: list[Op]) -> None:
        nonlocal failed
        failed += 1
        if failed == 1:
            raise StoreError("no space left on the disk")
        await real(self, ops)

    async def main() -> None:
        async with lone_node(tmp_path) as node:
            await one_event(node)
            await asyncio.sleep(61)
            assert failed == 1
            assert kept(node, NOTE) is None
            await asyncio.sleep(60)  # nothing has happened since
            assert failed == 2
            assert kept(node, NOTE) is not None
            assert kept(node, VOUCHER) == kept(node, VKEY)

    vouching(lambda key: str(key).encode())
    monkeypatch.setattr(LogKeeper, "_commit", commit)
    run_virtual(main)


def test_the_word_for_a_log_that_was_lost_does_not_go_with_the_next(
    tmp_path: Path, vouching: Callable[[Callable[[NoteKey], bytes]], None]
) -> None:
    words = [b"for the first", b""]
    vouching(lambda key: words.pop(0))

    async def main() -> None:
        node = lone_node(tmp_path)
        async with node:
            await one_event(node)
            await asyncio.sleep(61)
            assert kept(node, VOUCHER) == b"for the first"
            node._store.commit([Write(SPACE, LOG, b"none")], EPOCH_MS)
        async with lone_node(tmp_path) as node:
            await one_event(node)
            await asyncio.sleep(61)
            assert kept(node, VOUCHER) is None

    run_virtual(main)


def test_a_quiet_node_vouches_as_soon_as_it_can_also_after_a_restart(
    tmp_path: Path, vouching: Callable[[Callable[[NoteKey], bytes]], None]
) -> None:
    there, asked = False, 0

    def vouch(key: NoteKey) -> bytes:
        nonlocal asked
        asked += 1
        if not there:
            raise SecurityError("the token is not there")
        return str(key).encode()

    async def main() -> None:
        nonlocal there, asked
        async with lone_node(tmp_path) as node:
            await one_event(node)
            await asyncio.sleep(200)
            assert asked == 3
        async with lone_node(tmp_path) as node:
            note = kept(node, NOTE)
            await asyncio.sleep(200)
            assert kept(node, VOUCHER) is None
            there, asked = True, 0
            await asyncio.sleep(3600)
            assert (kept(node, VOUCHER), asked) == (kept(node, VKEY), 1)
            assert kept(node, NOTE) == note
            spoil_voucher(tmp_path)
        async with lone_node(tmp_path) as node:
            await asyncio.sleep(3600)
            assert (kept(node, VOUCHER), asked) == (kept(node, VKEY), 2)

    vouching(vouch)
    run_virtual(main)


def spoil_voucher(tmp_path: Path) -> None:
    """Its checksum is wrong from here on."""
    with closing(sqlite3.connect(database(tmp_path), isolation_level=None)) as db:
        db.execute("UPDATE state SET value = x'00' WHERE key = ?", (VOUCHER,))


def spoil_event(tmp_path: Path, number: int) -> None:
    """Its row is no array, and has the checksum of what it is."""
    with closing(sqlite3.connect(database(tmp_path), isolation_level=None)) as db:
        bad = bytes.fromhex("9f01ff")
        db.execute(sql.UPDATE_EVENT, (event_check(number, bad), bad, number))


def database(tmp_path: Path) -> Path:
    """Where the store of the lone node is."""
    return tmp_path / "gs1" / "store" / "store.db"


def test_why_nobody_vouches_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    asked = 0

    def vouch(key: NoteKey) -> bytes:
        nonlocal asked
        asked += 1
        raise SecurityError("the token is not there")

    def keeper(node: str, port: Any, config: Any, entropy: Any, *_: object) -> LogKeeper:
        return LogKeeper(node, port, config, entropy, lambda event, _: told.append(event), vouch)

    async def main() -> None:
        async with lone_node(tmp_path) as node:
            await one_event(node)
            await asyncio.sleep(3630)
        assert asked == 61  # the last time when it stops
        assert told == ["audit_unvouched", "audit_checkpoint"]

    monkeypatch.setattr("stack.node.build.LogKeeper", keeper)
    run_virtual(main)


def test_a_row_that_is_no_array_begins_another_log_and_stops_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with lone_node(tmp_path) as node:
            await one_event(node)
            await asyncio.sleep(61)
            before = read_log(tmp_path / "gs1")
            await one_event(node)
            spoil_event(tmp_path, 1)
            for _ in range(2):
                await one_event(node)
            await asyncio.sleep(61)
            log = read_log(tmp_path / "gs1")
        assert log.origin != before.origin
        # What the former one has signed is not said of this one, which is proven by its own.
        assert all(
            LogCheckpoint.parse(SignedNote.parse(each).text).origin == log.origin
            for each in log.checkpoints
        )
        older = replace(log, checkpoints=[*log.checkpoints, *before.checkpoints])
        assert LogCheckpoint.parse(older.newest().text).origin == log.origin
        assert len(log.events) == 2

    run_virtual(main)


def test_the_word_is_for_the_log_that_follows_where_one_was_lost_without_it(
    tmp_path: Path, vouching: Callable[[Callable[[NoteKey], bytes]], None]
) -> None:
    token = Token()
    vouching(token.vouch)

    async def main() -> None:
        async with lone_node(tmp_path) as node:
            await one_event(node)
            await asyncio.sleep(61)
            token.there = True
            await one_event(node)
            spoil_event(tmp_path, 1)
            await asyncio.sleep(61)
            assert kept(node, VOUCHER) is None  # of the log that follows nothing is signed yet
            await one_event(node)
            await asyncio.sleep(61)
            assert kept(node, VOUCHER) == kept(node, VKEY)

    run_virtual(main)


def of_few_events(monkeypatch: pytest.MonkeyPatch, told: list[dict[str, Any]]) -> None:
    """Every node keeps 1,000 events, in small portions; `told` of what was damaged."""

    def keeper(node: str, port: Any, config: Any, entropy: Any, *_: object) -> LogKeeper:
        def trace(event: str, fields: Any) -> None:
            told.extend([fields] * (event == "audit_entries_damaged"))

        return LogKeeper(node, port, replace(config, keep_events=1000), entropy, trace)

    monkeypatch.setattr("stack.node.auditing.BATCH", 50)
    monkeypatch.setattr("stack.node.build.LogKeeper", keeper)


async def events(node: Any, count: int) -> None:
    """Things that are written down in one transaction."""
    await node.port.commit(tell=[Happening(Act.KEY_DESTROYED, "key:1")] * count)


def test_pruning_goes_on_behind_a_damaged_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is signed and damaged stands in the way of nothing, and is counted and told."""
    told: list[dict[str, Any]] = []

    async def main() -> None:
        origin = ""
        async with lone_node(tmp_path) as node:
            for minute in range(60):
                await events(node, 40)
                await asyncio.sleep(61)
                if minute == 10:
                    origin = read_log(tmp_path / "gs1").origin
                    spoil_event(tmp_path, 239)  # the row that ends with it
            log = read_log(tmp_path / "gs1")
            assert (log.origin, log.size) == (origin, 2400)
            assert 1000 <= len(log.events) < 1100
            (report,) = verify_exports([log], [], [])
            assert (report.problems, report.closed) == ([], 2400)
            (fields,) = told
            assert (fields["origin"], fields["first"]) == (origin, 200)
            assert 40 <= fields["count"] <= 40 + 1000 // 16 + 40
            assert node.counters()["bundles.audit_damaged"] == fields["count"]
            assert len(node._store.read_all(WAYS)) <= WAYS_MAX
            await events(node, 1)
            spoil_event(tmp_path, 2400)
            await events(node, 1)
            await asyncio.sleep(61)
            assert read_log(tmp_path / "gs1").origin != origin
            assert [int(key) for key, _ in node._store.read_all(WAYS)] == [2402], "of this log"

    of_few_events(monkeypatch, told)
    run_virtual(main)


def test_an_export_passes_over_damaged_entries_and_goes_on(tmp_path: Path) -> None:
    """As soon as a state of the log is known by which it can: here that of each checkpoint."""

    async def main() -> None:
        async with lone_node(tmp_path) as node:
            for _ in range(5):
                for count in (20, 10):
                    await events(node, count)
                await asyncio.sleep(61)
            whole = read_log(tmp_path / "gs1")
            assert (whole.gaps, whole.size) == ([], 150)
            spoil_event(tmp_path, 79)  # the row of 60 to 79, and so the checkpoint at 90
            log = read_log(tmp_path / "gs1")
            assert (log.origin, log.size, log.gaps) == (whole.origin, 150, [range(60, 90)])
            assert [len(part.events) for part in log.parts] == [60, 60]
            lines = list(log.lines())
            assert list(read_export(line.encode() for line in lines).lines()) == lines
            (report,) = verify_exports([log], [], [])
            assert (report.closed, report.missing, report.first) == (150, 30, 0)
            (problem,) = report.problems
            assert "entries 60 to 89 are not here: damaged, or withheld" in problem
            await events(node, 1)
            await asyncio.sleep(61)
            assert read_log(tmp_path / "gs1").size == 151  # the log itself goes on
            for number in range(151):
                spoil_event(tmp_path, number)
            nothing = read_log(tmp_path / "gs1")
            assert (nothing.size, nothing.gaps) == (151, [range(151)])
            assert nothing.parts[0].events == nothing.events == []

    run_virtual(main)


def test_states_of_the_log_are_few_and_spread_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stack.node.auditing.WAYS_MAX", 16)

    async def main() -> None:
        async with lone_node(tmp_path) as node:
            for count in range(1, 101):
                await events(node, 10)
                await asyncio.sleep(61)
                ways = [int(key) for key, _ in node._store.read_all(WAYS)]
                assert len(ways) <= 16
                steps = [b - a for a, b in itertools.pairwise([0, *ways, 10 * count])]
                assert max(steps) <= max(20, 2 * 2 * 10 * count / 16)

    run_virtual(main)


def test_a_state_of_the_log_that_is_damaged_is_not_gone_by(tmp_path: Path) -> None:
    async def main() -> None:
        async with lone_node(tmp_path) as node:
            for _ in range(3):
                await events(node, 10)
                await asyncio.sleep(61)
            with closing(sqlite3.connect(database(tmp_path), isolation_level=None)) as db:
                db.execute(
                    "UPDATE state SET value = zeroblob(40) WHERE space = ? AND key = ?",
                    (WAYS, f"{20:020d}"),
                )
                assert db.total_changes == 1
            spoil_event(tmp_path, 19)
            assert read_log(tmp_path / "gs1").gaps == [range(10, 30)]

    run_virtual(main)


def test_all_that_is_old_goes_with_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much was written down since the last one."""

    async def main() -> None:
        async with lone_node(tmp_path) as node:
            for _ in range(7):
                await events(node, 200)
            await asyncio.sleep(61)
            assert len(node._store.events(0, 5000)) <= 1050

    of_few_events(monkeypatch, [])
    run_virtual(main)
