"""No node uses up what the file service or the job service has for others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stack.core.eid import Eid
from stack.core.errors import LocalError
from stack.services.files import Received
from stack.services.files.messages import Offer, Outcome, Receipt, decode_message
from stack.services.jobs import JobContext, JobLimits, JobState
from stack.services.jobs.messages import JobRequest
from stack.services.shares import PeerShares
from tests.services.fake_port import FakeNet, FakeNode
from tests.services.helpers import (
    GS,
    SAT,
    SAT_EID,
    SMALL,
    collect,
    files_on,
    make_file,
    running,
    virtual,
)
from tests.services.job_nodes import QUICK, JobNodes
from tests.services.test_hostile import chunk

NODES = [Eid.parse(f"dtn://node{number}/") for number in range(12)]
EVIL = "dtn://evil/files"


class SharesMachine(RuleBasedStateMachine):
    """Nodes begin what they may, and end it, in any order; counted here once more."""

    @initialize(most=st.integers(1, 5000))
    def begin_all(self, most: int) -> None:
        self.most = most
        self.shares = PeerShares("the limit", most)
        self.held: dict[Eid, dict[str, int]] = {}
        self.begun = 0

    def free(self) -> int:
        return self.most - sum(sum(keys.values()) for keys in self.held.values())

    def begin(self, node: Eid, amount: int) -> bool:
        if self.shares.refusal(node.with_service("files"), amount):
            return False
        self.begun += 1
        self.shares.add(node.with_service("files"), str(self.begun), amount)
        self.held.setdefault(node, {})[str(self.begun)] = amount
        return True

    @rule(node=st.sampled_from(NODES), amount=st.integers(0, 5000))
    def begin_one(self, node: Eid, amount: int) -> None:
        self.begin(node, amount)

    @rule(node=st.sampled_from(NODES))
    def begin_all_that_may_be(self, node: Eid) -> None:
        for bit in reversed(range(13)):
            self.begin(node, 1 << bit)
        assert not self.begin(node, 1)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def end_one(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(sorted(self.held, key=str)))
        key = data.draw(st.sampled_from(sorted(self.held[node])))
        for _ in range(2):  # what has ended does not end again
            self.shares.remove(node.with_service("other"), key)
        del self.held[node][key]
        if not self.held[node]:
            del self.held[node]

    @invariant()
    def whoever_comes_may_begin(self) -> None:
        """Beside `count` nodes there is `most // 2**count` free, and half of it for the next."""
        if not hasattr(self, "held"):
            return
        free, active = self.free(), sum(any(keys.values()) for keys in self.held.values())
        assert free >= self.most >> active
        newcomer = next(node for node in [*NODES, SAT_EID] if node not in self.held)
        assert not self.shares.refusal(newcomer, (free + 1) // 2)
        assert self.shares.refusal(newcomer, (free + 1) // 2 + 1)


TestShares = SharesMachine.TestCase
TestShares.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_one_node_alone_has_half_and_is_told_so() -> None:
    shares = PeerShares("services.jobs.jobs_max", 10)
    for number in range(5):
        assert not shares.refusal(NODES[0])
        shares.add(NODES[0], str(number))
    shares.add(NODES[1], "another's")
    assert shares.refusal(NODES[0]) == (
        "5 under way for this node and 1 for others: each may have half of what others leave of"
        " services.jobs.jobs_max = 10"
    )


def offer(object_id: bytes, size: int) -> bytes:
    return Offer(object_id, object_id.hex(), size, bytes(32), 256, 1, "", 0).encode()


def receipts(node: FakeNode) -> list[tuple[Outcome, str]]:
    """What senders were told."""
    found = [decode_message(payload) for _, _, payload in node.net.log]
    return [(one.outcome, one.text) for one in found if isinstance(one, Receipt)]


@pytest.mark.parametrize("limit", ["objects_max", "quota_bytes"])
def test_a_node_that_begins_all_it_may_leaves_room_for_the_files_of_others(
    tmp_path: Path, limit: str
) -> None:
    """Also when its own are many addresses, and they come as chunks without an offer."""
    make_file(tmp_path / "honest.bin", 5000)
    small = replace(SMALL, objects_max=10)
    config = small if limit == "objects_max" else replace(SMALL, quota_bytes=50_000)

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        sender = files_on(gs.port, tmp_path / "gs")
        receiver = files_on(sat.port, tmp_path / "sat", config)
        async with running(sender.run(), receiver.run()):
            for number in range(20):
                source = f"dtn://evil/{number}"
                sat.inject(source, "files", chunk(bytes([number]) * 16, 5000, 3))
                sat.inject(EVIL, "files", offer(bytes([99, number]) * 8, 5000))
            await asyncio.sleep(5)
            assert len(list(receiver.all_progress())) == 5
            busy = receipts(sat)
            assert {outcome for outcome, _ in busy} == {Outcome.BUSY}
            assert all(f"{limit} = " in text and "5" in text for _, text in busy)
            told = [fields for event, fields in sat.traces if event == "files.full"]
            assert {Eid.parse(fields["source"]).node for fields in told} == {
                Eid.parse("dtn://evil/")
            }
            start = asyncio.get_running_loop().time()
            progress = await sender.wait(await sender.send(tmp_path / "honest.bin", SAT_EID))
            assert progress.state == "delivered"
            assert asyncio.get_running_loop().time() - start < 60  # it did not have to ask again

    virtual(main)


def test_files_that_nobody_has_handled_count_for_their_sender(tmp_path: Path) -> None:
    """Also after a restart, and no more once they are handled."""
    contents = [make_file(tmp_path / f"{number}.bin", 300, seed=number) for number in range(6)]
    config = replace(SMALL, objects_max=8, nudge_s=1.0, nudge_max_s=1.0)

    async def main() -> None:
        net = FakeNet()
        gs, other, sat = net.node(GS), net.node("dtn://gs2/"), net.node(SAT)
        sender = files_on(gs.port, tmp_path / "gs", replace(SMALL, nudge_max_s=60.0))
        second = files_on(other.port, tmp_path / "gs2")
        async with running(sender.run(), second.run()):
            async with running(files_on(sat.port, tmp_path / "sat", config).run()):
                sent = [await sender.send(tmp_path / f"{n}.bin", SAT_EID) for n in range(6)]
                await asyncio.sleep(1000)
            receiver = files_on(sat.restart(), tmp_path / "sat", config)
            async with running(receiver.run()):
                await asyncio.sleep(1000)
                assert len(receiver.inbox) == 4
                done = await second.wait(await second.send(tmp_path / "0.bin", SAT_EID))
                assert done.state == "delivered"
                into: list[Received] = []
                async with running(collect(receiver, into)):
                    for one in sent:
                        assert (await sender.wait(one)).state == "delivered"
                    await asyncio.sleep(1)
                assert len(into) == len(contents) + 1

    virtual(main)


def test_a_node_that_takes_nothing_leaves_room_for_what_others_are_sent(tmp_path: Path) -> None:
    """Results of its jobs, for example: those of others would fail."""
    make_file(tmp_path / "a.bin", 300)

    async def main() -> None:
        net = FakeNet()
        gs = net.node(GS)
        sender = files_on(gs.port, tmp_path / "gs", replace(SMALL, objects_max=7))
        async with running(sender.run()):
            away = [await sender.send(tmp_path / "a.bin", "dtn://away/") for _ in range(4)]
            with pytest.raises(LocalError, match="4 under way for this node and 0 for others"):
                await sender.send(tmp_path / "a.bin", "dtn://away/")
            await sender.send(tmp_path / "a.bin", SAT_EID)
            await sender.cancel(away[0])
            await sender.cancel(away[1])
            await sender.send(tmp_path / "a.bin", "dtn://away/")

    virtual(main)


def test_a_node_that_begins_all_it_may_leaves_room_and_turns_for_the_jobs_of_others(
    tmp_path: Path,
) -> None:
    """However urgent it says that its jobs are."""
    runs: list[str] = []

    async def slow(context: JobContext) -> None:
        runs.append(context.args["who"])
        await asyncio.sleep(1000)

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"slow": slow}, config=replace(QUICK, jobs_max=20))
        limits = JobLimits(time_s=2000)
        async with nodes.all_running():
            for number in range(30):
                job_id = number.to_bytes(16, "big")
                request = JobRequest(job_id, "slow", {"who": "evil"}, limits=limits, priority=3)
                nodes.sat.inject("dtn://evil/any", "jobs", request.encode())
            await asyncio.sleep(10)
            job = await nodes.client.submit(
                SAT_EID, "slow", {"who": "honest"}, limits=limits, priority=0
            )
            assert (await nodes.client.wait(job)).state is JobState.FINISHED
            assert runs.index("honest") <= 2  # behind the one that ran, and one turn
            await asyncio.sleep(30_000)
        assert runs.count("evil") == 10
        told = [fields for event, fields in nodes.sat.traces if event == "jobs.full"]
        assert len(told) == 20
        assert told[0]["client"] == "dtn://evil/any"
        assert "10 under way" in told[0]["why"]
        assert "services.jobs.jobs_max = 20" in told[0]["why"]

    virtual(main)
