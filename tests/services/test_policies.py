"""Everything that services make of data is under its policy, also after a crash."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.eid import Eid
from stack.core.errors import DecodeError, PolicyError
from stack.policy import DataPolicy, NodeFacts, NodeSet
from stack.ports.application import BundleId
from stack.services.codec import decode, encode
from stack.services.echo import EchoService
from stack.services.files import Prepared
from stack.services.files.messages import Cancel, Offer, Receipt, Repair, decode_message
from stack.services.files.state import SPACE_INBOX, InObject, OutSpec, Received
from stack.services.jobs import JobContext, JobFailed
from stack.services.jobs.messages import JobReport, JobRequest, JobState, RetryPolicy
from stack.services.jobs.messages import decode_message as job_message
from stack.services.jobs.state import TAG_IN, ClientJob, ServerJob, tag_of
from stack.services.policies import VERSION, about, meet
from tests.policy import cases
from tests.services.fake_port import EPOCH_MS
from tests.services.helpers import GS_EID, SAT_EID, make_file, running, until, virtual
from tests.services.job_nodes import JobNodes

KR = DataPolicy(readers=NodeSet.parse("KR"))
EU = DataPolicy(readers=NodeSet.parse("EU"), audit=True)
HOME = DataPolicy(
    readers=NodeSet.parse("KR"),
    rest=NodeSet.parse("KR | EU"),
    transit=NodeSet.parse("EU"),
    expires_ms=EPOCH_MS + 10**9,
    audit=True,
)


def test_a_file_is_sent_and_kept_under_its_policy(tmp_path: Path) -> None:
    content = make_file(tmp_path / "in.bin", 1500)

    async def main() -> None:
        nodes = JobNodes(tmp_path)
        async with nodes.all_running():
            sent = await nodes.client_files.send(tmp_path / "in.bin", SAT_EID, policy=KR)
            received = await nodes.server_files.inbox.receive()
            assert received.path.read_bytes() == content
            assert received.policy == KR
            await nodes.client_files.wait(sent)
            told = zip(nodes.net.log, nodes.net.policies, strict=True)
            assert {policy for (_, to, _), policy in told if to.node == SAT_EID.node} == {KR}
            with pytest.raises(PolicyError, match="nowhere"):
                await nodes.client_files.send(
                    tmp_path / "in.bin", SAT_EID, policy=DataPolicy(rest=NodeSet.NONE)
                )

    virtual(main)


def test_nobody_takes_part_of_an_object_out_of_its_policy(tmp_path: Path) -> None:
    make_file(tmp_path / "in.bin", 1500)

    async def main() -> None:
        nodes = JobNodes(tmp_path)
        nodes.net.up = False
        async with nodes.all_running():
            sent = await nodes.client_files.send(tmp_path / "in.bin", SAT_EID, policy=KR)
            await until(lambda: len(nodes.gs.outbound) >= 8)
            (one,) = (
                bundle
                for bundle in nodes.gs.outbound
                if isinstance(message := decode_message_of(bundle.outgoing.payload), Offer)
                and message.sent_round == 0
            )
            nodes.net.up = True
            nodes.gs.drain()
            await until(lambda: nodes.server_files._receiver.dropped == 0 and bool(nodes.sat.state))
            nodes.sat.deliver(
                one.id, one.outgoing.destination, bytes(one.outgoing.payload), one.expires_ms
            )
            await until(lambda: nodes.server_files._receiver.dropped == 1)
            received = await nodes.server_files.inbox.receive()
            assert received.policy == KR
            await nodes.client_files.wait(sent)

    virtual(main)


def test_what_is_said_about_data_takes_the_ways_of_the_data(tmp_path: Path) -> None:
    make_file(tmp_path / "in.bin", 1500)
    lost: list[bytes] = []

    def lose(source: Eid, to: Eid, payload: bytes) -> bool:
        first = len(payload) > 200 and not lost
        lost.extend([payload] * first)
        return first

    async def main() -> None:
        nodes = JobNodes(tmp_path)
        nodes.net.lose = lose
        log = nodes.net.log
        async with nodes.all_running():
            sent = await nodes.client_files.send(tmp_path / "in.bin", SAT_EID, policy=HOME)
            await nodes.client_files.wait(sent)
            repair = Repair(bytes(16), 2, ((0, 1),)).encode()
            policy = about(HOME, GS_EID)
            to = GS_EID.with_service("files")
            source = BundleId(SAT_EID.with_service("files"), EPOCH_MS, 1)
            nodes.gs.deliver(source, to, repair, EPOCH_MS + 10**9, policy=policy)
            await until(lambda: any(isinstance(decode_message(one[2]), Cancel) for one in log))
        said = {type(decode_message(one[2])) for one in log}
        assert said >= {Offer, Repair, Receipt, Cancel}
        for (_, to, payload), policy in zip(log, nodes.net.policies, strict=True):
            assert policy is not None
            assert (policy.rest, policy.transit, policy.audit) == (HOME.rest, HOME.transit, True)
            if isinstance(decode_message(payload), Repair | Receipt):
                assert (to.node, policy.expires_ms) == (GS_EID, 0)
                assert policy.readers.holds(NodeFacts(GS_EID))
                assert not policy.readers.holds(NodeFacts(SAT_EID, jurisdictions=kr))

    kr = frozenset({"KR"})
    virtual(main)


def test_a_run_tells_nothing_of_data_to_a_client_that_may_not_read_it(tmp_path: Path) -> None:
    async def fails(context: JobContext) -> None:
        raise JobFailed("the secret is 42", 7)

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"fails": fails})
        nodes.sat.unreadable = KR
        async with nodes.all_running():
            status = await nodes.client.wait(await nodes.client.submit(SAT_EID, "fails", policy=KR))
            assert (status.state.name, status.exit_code) == ("FAILED", None)
            assert "42" not in status.text
        reports = zip(nodes.net.log, nodes.net.policies, strict=True)
        told = {policy for (_, to, _), policy in reports if to.node == GS_EID}
        assert told == {about(KR, GS_EID)}
        assert nodes.messages(JobReport)

    virtual(main)


def test_a_run_that_succeeds_tells_nothing_either(tmp_path: Path) -> None:
    """The server's directory changes while the job runs: its client may not read it any more."""

    async def tells(context: JobContext) -> None:
        context.progress(0.042, "42")
        await asyncio.sleep(30)
        context.output("42.txt").write_text("42")

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"tells": tells})
        real = nodes.server_files.prepare

        async def prepare(path: Path, to: Eid, **how: Any) -> Prepared:
            found = await real(path, to, **how)
            nodes.sat.unreadable = KR
            return found

        nodes.server_files.prepare = prepare  # type: ignore[method-assign, assignment]
        async with nodes.all_running():
            job = await nodes.client.submit(SAT_EID, "tells", policy=KR)
            await until(lambda: nodes.client.status(job).progress > 0)
            status = await nodes.client.wait(job)
            assert (status.state, status.outputs) == (JobState.FINISHED, ())
            nodes.sat.unreadable = KR
            await nodes.client.submit(SAT_EID, "tells", policy=KR)
            await asyncio.sleep(100)
        about_it = zip(nodes.net.log, nodes.net.policies, strict=True)
        told = [log[2] for log, policy in about_it if policy == about(KR, GS_EID)]
        reports = [one for one in map(job_message, told) if isinstance(one, JobReport)]
        assert {one.state for one in reports} >= {JobState.RUNNING, JobState.FINISHED}
        assert not any(one.permille or one.outputs or "42" in one.text for one in reports)

    virtual(main)


def test_whoever_may_not_read_it_does_not_hear_how_a_run_goes_on(tmp_path: Path) -> None:
    """However often it says something new, fails and begins anew, and however long it takes: its
    client hears that it has begun, how it ended, and nothing between but the same when it asks."""

    async def works(context: JobContext) -> None:
        for percent in range(7 * context.attempt):
            context.progress(percent / 100)
            await asyncio.sleep(10)
        if context.attempt < 3:
            raise JobFailed("again", 42)

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"works": works})
        nodes.sat.unreadable = KR
        retry = RetryPolicy(attempts=3, failures=True)
        async with nodes.all_running():
            job = await nodes.client.submit(SAT_EID, "works", retry=retry, policy=KR)
            for _ in range(4):
                await asyncio.sleep(60)
                (asked,) = nodes.messages(JobRequest)
                nodes.sat.inject(str(GS_EID.with_service("job-replies")), "jobs", asked.encode())
            status = await nodes.client.wait(job)
            assert (status.state, status.attempts) == (JobState.FINISHED, 0)
        told: list[Any] = nodes.messages(JobReport)
        states = [one.state.name for one in told]
        assert states == ["QUEUED", "RUNNING", *["RUNNING"] * 4, "FINISHED"]
        running = {one.encode() for one in told[1:-1]}
        assert len(running) == 1
        assert (told[-1].run_ms, told[-1].queued_ms, told[-1].exit_code) == (0, 0, None)

    virtual(main)


def test_a_handler_that_does_not_stop_leaves_nothing_in_clear(tmp_path: Path) -> None:
    late: list[int] = []

    async def stays(context: JobContext) -> None:
        while not late:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1000)
                late.append(1)
        context.output("deep/late.txt").write_text("secret")

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"stays": stays})
        async with nodes.all_running():
            job = await nodes.client.submit(SAT_EID, "stays", policy=KR)
            await asyncio.sleep(10)
            await nodes.client.cancel(job)
            await asyncio.sleep(3000)
            assert late
            assert not nodes.leftovers()

    virtual(main)


def test_a_job_computes_on_the_input_that_it_names(tmp_path: Path) -> None:
    """Another object of the same name and for the same place does not get in its stead, nor out of
    its own policy."""
    content = make_file(tmp_path / "in.bin", 300)
    make_file(tmp_path / "last.bin", 300, seed=2)
    make_file(tmp_path / "other" / "in.bin", 300, seed=3)
    seen = []

    async def look(context: JobContext) -> None:
        seen.append(context.inputs[0].read_bytes())

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"look": look})
        async with nodes.all_running():
            inputs = [tmp_path / "in.bin", tmp_path / "last.bin"]
            nodes.net.lose = lambda _source, to, payload: (
                last_is_late and to.service == "files" and b"last.bin" in payload
            )
            last_is_late = True
            job = await nodes.client.submit(SAT_EID, "look", {}, inputs, policy=KR)
            await until(lambda: any(space == SPACE_INBOX for space, _ in nodes.sat.state))
            tag = tag_of(TAG_IN, job, 0)
            other = tmp_path / "other" / "in.bin"
            await nodes.client_files.send(other, SAT_EID, tag=tag, policy=EU)
            await until(lambda: sum(space == SPACE_INBOX for space, _ in nodes.sat.state) == 2)
            last_is_late = False
            assert (await nodes.client.wait(job)).state is JobState.FINISHED
        assert seen == [content]

    virtual(main)


def test_an_echo_is_under_the_policy_of_what_it_echoes(tmp_path: Path) -> None:
    async def main() -> None:
        nodes = JobNodes(tmp_path)
        async with running(EchoService(nodes.sat.port).run()):
            source = BundleId(GS_EID.with_service("ping"), EPOCH_MS, 1)
            to = SAT_EID.with_service("echo")
            nodes.sat.deliver(source, to, b"secret", EPOCH_MS + 10**6, policy=KR)
            await until(lambda: bool(nodes.net.log))
        assert nodes.net.policies == [KR]

    virtual(main)


def test_what_no_pattern_can_mean_stays_under_the_whole_policy() -> None:
    assert about(HOME, Eid.parse(f"dtn://{600 * chr(97)}/")) == HOME
    assert about(None, GS_EID) is None


def decode_message_of(payload: object) -> object:
    assert isinstance(payload, bytes | bytearray | memoryview)
    return decode_message(payload)


def test_results_are_under_the_policies_of_all_that_they_are_made_of(tmp_path: Path) -> None:
    make_file(tmp_path / "in.bin", 700)
    runs = []

    async def copy(context: JobContext) -> None:
        runs.append(1)
        context.output("copy.bin").write_bytes(context.inputs[0].read_bytes())

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"copy": copy})
        async with nodes.all_running():
            job = await nodes.client.submit(SAT_EID, "copy", {}, [tmp_path / "in.bin"], policy=KR)
            status = await nodes.client.wait(job)
            assert status.complete
            told = zip(nodes.net.log, nodes.net.policies, strict=True)
            content = {
                policy
                for (_, to, payload), policy in told
                if to.service in ("jobs", "job-replies") or len(payload) > 200
            }
            assert content == {KR, about(KR, SAT_EID)}, "request, input, report, result; and an ack"
            assert None not in nodes.net.policies

    virtual(main)


def test_results_of_data_of_several_owners_are_under_the_meet(tmp_path: Path) -> None:
    make_file(tmp_path / "in.bin", 700)

    async def main() -> None:
        nodes = JobNodes(tmp_path)
        real = nodes.client_files.prepare

        async def prepare(path: Path, to: Eid, **how: Any) -> Prepared:
            return await real(path, to, **how | {"policy": EU})

        nodes.client_files.prepare = prepare  # type: ignore[method-assign, assignment]
        async with nodes.all_running():
            job = await nodes.client.submit(SAT_EID, "double", {}, [tmp_path / "in.bin"], policy=KR)
            assert (await nodes.client.wait(job)).complete
        told = zip(nodes.net.log, nodes.net.policies, strict=True)
        results = {p for (_, to, octets), p in told if to.node == GS_EID.node and len(octets) > 200}
        assert results == {KR.meet(EU)}

    virtual(main)


def test_a_job_whose_inputs_have_policies_that_fit_into_none_fails_alone(tmp_path: Path) -> None:
    """Of two sets of nearly the most names that a label can have."""
    inputs = [tmp_path / name for name in ("one.bin", "other.bin")]
    for path in inputs:
        make_file(path, 300)
    names = [f"{letter}{number:03}" for letter in "AB" for number in range(60)]
    sets = (NodeSet.parse(f"any - ({'|'.join(names[at : at + 60])})") for at in (0, 60))
    policies = [DataPolicy(readers=each) for each in sets]

    async def main() -> None:
        nodes = JobNodes(tmp_path)
        real = nodes.client_files.prepare

        async def prepare(path: Path, to: Eid, **how: Any) -> Prepared:
            return await real(path, to, **how | {"policy": policies[inputs.index(path)]})

        nodes.client_files.prepare = prepare  # type: ignore[method-assign, assignment]
        async with nodes.all_running():
            submit = nodes.client.submit
            status = await nodes.client.wait(await submit(SAT_EID, "double", {}, inputs, policy=KR))
            assert status.state is JobState.FAILED
            assert "do not fit into one" in status.text
            assert (
                await nodes.client.wait(await submit(SAT_EID, "double", {}, inputs[:1]))
            ).complete

    virtual(main)


def test_the_meet_of_what_says_nothing() -> None:
    assert meet() is None
    assert meet(None, None) is None
    assert meet(None, KR) == KR
    assert meet(KR, None, EU) == KR.meet(EU)


@given(st.none() | cases.policies)
def test_records_keep_policies_and_old_ones_have_none(policy: DataPolicy | None) -> None:
    spec = OutSpec(bytes(16), "/a", SAT_EID, "a", 1, bytes(32), 0, 256, 1, "", 10, 0, policy)
    obj = InObject("k", SAT_EID, bytes(16), 1, 256, 10, None, policy)
    received = Received("k", SAT_EID, bytes(16), "a", Path("/a"), 1, bytes(32), "", 1, 10, policy)
    server = ServerJob("k", SAT_EID, bytes(16), None, 10, 0, policy=policy)
    for record, read in (
        (spec.encode(), OutSpec.decode),
        (obj.encode(), lambda data: InObject.decode("k", data)),
        (received.encode(), lambda data: Received.decode("k", data)),
        (server.encode(), lambda data: ServerJob.decode("k", data)),
    ):
        assert read(record).policy == policy
        fields = decode(record, "test")._items
        assert fields[0] == VERSION
        before = fields[1:-2] if record == server.encode() else fields[1:-1]
        old = encode([1, *before])
        assert read(old).policy is None
        with pytest.raises(DecodeError):
            read(encode([VERSION, *fields[1:-1]]))
    assert ClientJob.__dataclass_fields__["policy"].default is None
