"""A directory of nodes is read anew while its node runs: from then on all goes by it, and what is
wrong with it changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from link_models.clock import run_virtual
from stack.contacts.files import dump_plan
from stack.contacts.plan import Plan
from stack.core.eid import Eid
from stack.core.errors import ConfigError, PolicyError
from stack.engines.bundle_agent import BundleAgent
from stack.node.config import ContactsConfig, IdentityConfig
from stack.node.control.request import Session
from stack.node.node import Node
from stack.policy import DataPolicy, NodeSet
from stack.ports.application import Outgoing
from stack.services.jobs import JobContext, JobLimits, JobsConfig
from stack.services.messages import Mailbox, send_message
from stack.services.suite import ServicesConfig
from tests.node.test_identity import domain, member, nothing, update
from tests.node.test_sovereign import AT_HOME, DIRECTORY, HOUR_MS, ask, plan, world_of
from tests.node.test_two_nodes import SAT, channel, loop
from tests.node.world import EPOCH_MS, World

TO = SAT.with_service("messages")
HERE = dict.fromkeys(("gs1", "sat1", "home", "abroad"), "KR")
ABROAD = HERE | {"abroad": "XX"}


def directory(laws: dict[str, str]) -> str:
    """A file that says under whose law nodes are."""
    return "".join(
        f'[[node]]\nid = "dtn://{name}/"\njurisdictions = ["{law}"]\n' for name, law in laws.items()
    )


class Nodes:
    """Four nodes, each with a directory of its own."""

    def __init__(self, root: Path, store: str = "memory", **how: Any) -> None:
        self._root = root
        for name in HERE:
            self.write(name, ABROAD)
        self._names = {name: str(root / f"{name}.nodes") for name in HERE}
        self._how = {"store": store, **how}
        self.nodes = world_of(root, self._names, **self._how)

    def write(self, name: str, laws: dict[str, str]) -> None:
        (self._root / f"{name}.nodes").write_text(directory(laws))

    def learns(self, name: str, **laws: str) -> None:
        """A node is told something else than the others know."""
        self.write(name, ABROAD | laws)
        self.nodes[name].policy.reload()

    def received(self, name: str) -> int:
        return int(self.nodes[name].counters().get("bundles.bundles_received", 0))


def run(
    folder: Path,
    script: Callable[[Nodes], Awaitable[None]],
    running: tuple[str, ...] = tuple(HERE),
    **how: Any,
) -> None:
    async def main() -> None:
        nodes = Nodes(folder, **how)
        for name in running:
            await nodes.nodes[name].__aenter__()
        try:
            await script(nodes)
        finally:
            for name in running:
                await nodes.nodes[name].__aexit__()

    run_virtual(main)


async def to_satellite(ground: Node, words: bytes = b"x", **policy: Any) -> None:
    await send_message(ground.port, TO, words, policy=replace(AT_HOME, **policy))


async def words(satellite: Node, within_s: float = 3 * 3600.0) -> list[bytes]:
    """What an application gets within a time."""
    found: list[bytes] = []
    async with Mailbox(satellite.port) as mailbox:
        try:
            async with asyncio.timeout(within_s):
                while True:
                    delivery = await mailbox.receive()
                    found.append(bytes(delivery.payload))
                    await mailbox.done(delivery)
        except TimeoutError:
            return found


# ---- routing ---------------------------------------------------------------------------------


def test_what_waits_goes_by_who_may_have_it_now(tmp_path: Path) -> None:
    async def script(nodes: Nodes) -> None:
        ground = nodes.nodes["gs1"]
        nodes.learns("abroad", abroad="KR")
        await to_satellite(ground)
        nodes.learns("gs1", abroad="KR")
        assert await words(nodes.nodes["sat1"], 600) == [b"x"], "before the relay at home is there"
        assert nodes.received("abroad") == 1

    run(tmp_path, script)


def test_what_waits_does_not_go_by_who_may_not_have_it_any_more(tmp_path: Path) -> None:
    async def script(nodes: Nodes) -> None:
        ground = nodes.nodes["gs1"]
        await to_satellite(ground)
        assert ground.gauges()["queue.stranded"] == 0
        nodes.learns("gs1", home="XX")
        assert ground.gauges()["queue.stranded"] == 1
        await asyncio.sleep(2 * 3600)
        assert nodes.received("home") == nodes.received("abroad") == 0
        nodes.learns("gs1")
        assert await words(nodes.nodes["sat1"]) == [b"x"]

    run(tmp_path, script)


def test_what_is_with_a_link_is_taken_back(tmp_path: Path) -> None:
    """A session ends in the middle of its block; what shared it goes on."""

    async def script(nodes: Nodes) -> None:
        ground = nodes.nodes["gs1"]
        await asyncio.sleep(HOUR_MS / 1000 + 1)
        large = bytes(200_000)
        ground.set_plan(only_home())
        await ground.port.commit(
            send=[outgoing(large, AT_HOME), outgoing(bytes(100_000), None), outgoing(b"x", AT_HOME)]
        )
        await asyncio.sleep(0.5)
        assert ground.counters()["link.home.ltp.data_bytes_sent"] > 10_000
        nodes.learns("gs1", home="XX")
        sent = ground.counters()["link.home.ltp.data_bytes_sent"]
        await asyncio.sleep(600)
        counters = ground.counters()
        assert counters["link.home.ltp.data_bytes_sent"] - sent < 103_000
        assert counters["link.home.ltp.export_failed"] == 0, "nothing is wrong with the link"
        assert counters["bundles.forwarded"] == nodes.received("home") == 1
        assert ground.gauges()["queue.stranded"] == 2
        nodes.learns("gs1")
        found = await words(nodes.nodes["sat1"])
        assert sorted(map(len, found)) == [1, 100_000, 200_000]

    run(tmp_path, script)


def test_what_waits_in_a_session_for_the_next_contact_does_not_leave_then(tmp_path: Path) -> None:
    async def script(nodes: Nodes) -> None:
        ground = nodes.nodes["gs1"]
        await asyncio.sleep(HOUR_MS / 1000 + 1)
        ground.set_plan(only_home(HOUR_MS + 2000, HOUR_MS + 60_000))
        await ground.port.commit(send=[outgoing(bytes(300_000), AT_HOME)])
        await asyncio.sleep(10)
        sent = ground.counters()["link.home.ltp.data_bytes_sent"]
        assert 0 < sent < 300_000
        nodes.learns("gs1", home="XX")
        await asyncio.sleep(600)
        assert ground.counters()["link.home.ltp.data_bytes_sent"] == sent
        assert nodes.received("home") == 0
        assert ground.gauges()["queue.stranded"] == 1

    run(tmp_path, script)


def test_a_session_in_which_all_has_left_is_cancelled_at_once(tmp_path: Path) -> None:
    async def script(nodes: Nodes) -> None:
        ground = nodes.nodes["gs1"]
        await asyncio.sleep(HOUR_MS / 1000 + 1)
        await to_satellite(ground)
        await asyncio.sleep(1)
        sent = ground.counters()["link.home.udp.offered_datagrams"]
        nodes.learns("gs1", home="XX")
        await asyncio.sleep(0.001)
        assert ground.counters()["link.home.udp.offered_datagrams"] == sent + 1

    run(tmp_path, script, ("gs1",))


def outgoing(payload: bytes, policy: DataPolicy | None) -> Outgoing:
    return Outgoing(TO, payload, 4 * HOUR_MS, "messages", policy=policy)


def only_home(ends_ms: int = 4 * HOUR_MS, begins_ms: int = 4 * HOUR_MS) -> Plan:
    """The plan without the relay abroad, and a break from `ends_ms` to `begins_ms`."""
    found = []
    for one in plan().contacts:
        if "dtn://abroad/" not in (one.source, one.destination):
            found.append(replace(one, end_ms=EPOCH_MS + ends_ms))
            if begins_ms < 4 * HOUR_MS:
                found.append(replace(one, start_ms=EPOCH_MS + begins_ms))
    return Plan(found)


# ---- reception -------------------------------------------------------------------------------


def test_what_comes_is_judged_by_the_new_one(tmp_path: Path) -> None:
    async def script(nodes: Nodes) -> None:
        ground, home = nodes.nodes["gs1"], nodes.nodes["home"]
        await asyncio.sleep(HOUR_MS / 1000 + 1)
        await to_satellite(ground, b"one")
        await asyncio.sleep(10)
        assert nodes.received("home") == 1
        nodes.learns("home", home="XX")
        await to_satellite(ground, b"two")
        await asyncio.sleep(10)
        assert nodes.received("home") == 1
        assert home.counters()["bundles.dropped_not_permitted"] > 0
        assert ground.gauges()["queue.bundles"] == 1, "its sender keeps it"
        nodes.learns("home")
        assert await words(nodes.nodes["sat1"]) == [b"one", b"two"]

    run(tmp_path, script)


# ---- storage ---------------------------------------------------------------------------------


def test_what_is_held_and_may_not_rest_here_any_more_goes_where_it_may(tmp_path: Path) -> None:
    """As after a restart: it is kept, lest a slip of the pen destroy what somebody relies on, and
    goes to who may have it."""

    async def script(nodes: Nodes) -> None:
        ground, home = nodes.nodes["gs1"], nodes.nodes["home"]
        home.set_plan(ground_alone())
        await to_satellite(ground)
        await asyncio.sleep(HOUR_MS / 1000 + 60)
        assert (home.gauges()["queue.bundles"], home.gauges()["queue.stranded"]) == (1, 1)
        nodes.learns("home", home="XX")
        with pytest.raises(PolicyError, match="may rest at 'KR', not here"):
            await to_satellite(home)
        home.set_plan(plan())
        assert await words(nodes.nodes["sat1"]) == [b"x"]
        assert home.gauges()["store.bundles"] == 0

    run(tmp_path, script)


def ground_alone() -> Plan:
    """The plan without the satellite."""
    known = [one for one in plan().contacts if str(SAT) not in (one.source, one.destination)]
    return Plan(known)


@pytest.mark.parametrize("restarts", [True, False])
def test_a_node_that_is_restarted_holds_it_all_the_same(tmp_path: Path, restarts: bool) -> None:
    """On its way, for here, and with a link when that changes."""

    async def main() -> None:
        nodes = Nodes(tmp_path, "sqlite")
        satellite, home = nodes.nodes["sat1"], nodes.nodes["home"]
        async with nodes.nodes["gs1"] as ground, home:
            async with satellite:
                await to_satellite(ground, b"read")
                await to_satellite(ground, b"anybody", readers=NodeSet.ANY)
                await asyncio.sleep(HOUR_MS / 1000 + 60)
                to = Eid.parse("dtn://gs1/messages")
                for policy in (AT_HOME, None):
                    await send_message(satellite.port, to, bytes(100_000), policy=policy)
                nodes.write("sat1", ABROAD | {"home": "XX", "sat1": "EU"})
                before = satellite.counters().get("bundles.withheld", 0)
                if not restarts:
                    satellite.policy.reload()
                found = held(satellite, before)
            if restarts:
                async with world_again(nodes, "sat1") as satellite:
                    found = held(satellite, 0)
        assert found == {"withheld": 2, "store.bundles": 4, "queue.stranded": 1, "held": 2}

    run_virtual(main)


def held(node: Node, before: int) -> dict[str, int]:
    """What a node holds, and what it does not let go."""
    gauges = node.gauges()
    waiting = node._agent.waiting._queues.get("messages", ())
    return {
        "withheld": node.counters().get("bundles.withheld", 0) - before,
        "store.bundles": gauges["store.bundles"],
        "queue.stranded": gauges["queue.stranded"],
        "held": len(waiting) + len(node._agent._kept_back),
    }


def world_again(nodes: Nodes, name: str) -> Node:
    """A node of the same store and configuration, made anew."""
    old = nodes.nodes[name]
    return Node(old.config, environment=old._environment, plan=plan())


# ---- delivery --------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [False, True])
def test_what_may_not_be_read_here_any_more_is_withheld(tmp_path: Path, taken: bool) -> None:
    """Also what an application has taken, and not dealt with."""

    async def script(nodes: Nodes) -> None:
        ground, satellite = nodes.nodes["gs1"], nodes.nodes["sat1"]
        await to_satellite(ground)
        await asyncio.sleep(HOUR_MS / 1000 + 60)
        if taken:
            async with Mailbox(satellite.port) as mailbox:
                await mailbox.receive()
                nodes.learns("sat1", sat1="XX")
        else:
            nodes.learns("sat1", sat1="XX")
            assert satellite.counters()["bundles.withheld"] == 1
        assert await words(satellite, 60) == []
        assert satellite.counters()["bundles.withheld"] == 1
        nodes.learns("sat1")
        assert await words(satellite, 60) == [b"x"]

    run(tmp_path, script)


@pytest.mark.parametrize("by", ["program", "socket"])
def test_a_file_that_may_not_be_read_here_any_more_is_withheld(tmp_path: Path, by: str) -> None:
    """Received, and not taken by any application yet; what came after it does not wait for it."""
    told: list[str] = []

    async def take(satellite: Node) -> list[str]:
        """What an application gets within a minute."""
        if by == "socket":
            told.clear()
            with suppress(TimeoutError):
                await ask(satellite, "receive", kinds=["files"], timeout_s=60.0)
            return told
        found: list[str] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                async for received in satellite.services.files.inbox:
                    found += [received.name]
        return found

    async def hand_over(session: Session, kind: str, /, **fields: Any) -> None:
        told.append(fields["name"])

    async def script(nodes: Nodes) -> None:
        ground, satellite = nodes.nodes["gs1"], nodes.nodes["sat1"]
        (tmp_path / "secret").write_text("for the family")
        (tmp_path / "free").write_text("for all")
        files = ground.services.files
        sent = [await files.send(tmp_path / "secret", SAT, policy=AT_HOME)]
        await files.wait(sent[0])
        sent.append(await files.send(tmp_path / "free", SAT))
        await files.wait(sent[1])
        nodes.learns("sat1", sat1="XX")
        assert await take(satellite) == ["free"]
        assert [one.name for one in satellite.services.files.inbox.held()] == ["secret"]
        waits = asyncio.ensure_future(take(satellite))
        await asyncio.sleep(1)
        nodes.learns("sat1")
        assert await waits == ["secret"]

    with mock.patch.object(Session, "hand_over", hand_over):
        run(tmp_path, script)


@pytest.mark.parametrize("secret", ["message", "file"])
def test_a_slow_client_does_not_get_what_may_not_be_read_here_by_its_turn(
    tmp_path: Path, secret: str
) -> None:
    """It has been taken out for the client, which is still at what came before."""
    told: list[str] = []
    slow = asyncio.Event()

    async def hand_over(session: Session, kind: str, /, **fields: Any) -> None:
        told.append(kind)
        await slow.wait()

    async def script(nodes: Nodes) -> None:
        satellite = nodes.nodes["sat1"]
        receiving = asyncio.ensure_future(ask(satellite, "receive", timeout_s=60.0))
        (tmp_path / "x").write_text("x")
        for kind in ("message", "file") if secret == "file" else ("file", "message"):
            policy = AT_HOME if kind == secret else None
            if kind == "file":
                files = satellite.services.files
                await files.wait(await files.send(tmp_path / "x", SAT, policy=policy))
            else:
                await send_message(satellite.port, TO, b"x", policy=policy)
            await asyncio.sleep(1)
        nodes.learns("sat1", sat1="XX")
        slow.set()
        assert (await receiving)["count"] == 1
        assert told == ["file" if secret == "message" else "message"]
        nodes.learns("sat1")
        await ask(satellite, "receive", timeout_s=60.0)
        assert told[1:] == [secret]

    with mock.patch.object(Session, "hand_over", hand_over):
        run(tmp_path, script, ("sat1",))


def test_it_is_written_down_that_it_is_withheld(tmp_path: Path) -> None:
    async def script(nodes: Nodes) -> None:
        ground, satellite = nodes.nodes["gs1"], nodes.nodes["sat1"]
        await to_satellite(ground, audit=True)
        await asyncio.sleep(HOUR_MS / 1000 + 60)
        before = satellite._store.events_end
        nodes.learns("sat1", sat1="XX")
        await asyncio.sleep(1)
        assert satellite._store.events_end == before + 1

    run(tmp_path, script)


# ---- compute, sending ------------------------------------------------------------------------


def test_a_job_whose_input_may_not_be_read_here_any_more_does_not_run(tmp_path: Path) -> None:
    runs: list[bytes] = []

    async def work(context: JobContext) -> None:
        runs.append(context.inputs[0].read_bytes())
        await asyncio.sleep(1000)

    async def script(nodes: Nodes) -> None:
        jobs = nodes.nodes["gs1"].services.jobs
        for name in ("first", "second"):
            (tmp_path / name).write_text(name)
            await jobs.submit(SAT, "work", {}, [tmp_path / name], policy=AT_HOME)
        await asyncio.sleep(HOUR_MS / 1000 + 500)
        assert runs == [b"first"]
        nodes.learns("sat1", sat1="EU")
        await asyncio.sleep(1000)
        assert runs == [b"first"]

    run(tmp_path, script, handlers={"work": work})


READ = "run 1 was cut off: this data policy does not let it go to dtn://sat1/: it may be read"


@pytest.mark.parametrize(("policy", "told"), [({"rest": NodeSet.ANY}, READ), ({}, "")])
def test_a_run_on_what_may_not_be_read_here_any_more_is_cut_off(
    tmp_path: Path, policy: dict[str, Any], told: str
) -> None:
    """At once; what it has on disk goes, and its client hears of it, where the data might still
    leave from here; others go on."""
    ended: list[str] = []
    there: list[JobContext] = []

    async def work(context: JobContext) -> None:
        there.append(context)
        context.output("half").write_bytes(b"secret")
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            ended.append(context.args["name"])
            raise

    async def script(nodes: Nodes) -> None:
        jobs = nodes.nodes["gs1"].services.jobs
        ids, limits = [], JobLimits(time_s=5000)
        await asyncio.sleep(HOUR_MS / 1000)
        for name, label in (("under it", replace(AT_HOME, **policy)), ("free", None)):
            ids.append(await jobs.submit(SAT, "work", {"name": name}, limits=limits, policy=label))
        await asyncio.sleep(100)
        nodes.learns("sat1", home="EU")  # who else is known otherwise is no matter
        await asyncio.sleep(1)
        assert len(there) == 2
        assert ended == []
        (run,) = [one for one in there if one.args["name"] == "under it"]
        nodes.learns("sat1", sat1="EU")
        await asyncio.sleep(1)
        assert ended == ["under it"]
        assert not run.output_directory.exists()
        await asyncio.sleep(1000)
        status, free = map(jobs.status, ids)
        assert (status.state.name, told in status.text) == ("FAILED" if told else "RUNNING", True)
        assert free.state.name == "FINISHED"
        nodes.learns("sat1")
        await asyncio.sleep(2 * HOUR_MS / 1000)
        assert (len(there), jobs.status(ids[0]).state.name) == (2, "FAILED")

    run(
        tmp_path,
        script,
        handlers={"work": work},
        services=ServicesConfig(jobs=JobsConfig(concurrency=2)),
    )


def test_what_is_sent_is_judged_by_the_new_one(tmp_path: Path) -> None:
    async def script(nodes: Nodes) -> None:
        ground = nodes.nodes["gs1"]
        await to_satellite(ground)
        nodes.learns("gs1", sat1="EU")
        with pytest.raises(PolicyError, match="not at dtn://sat1/: 'EU'"):
            await to_satellite(ground)
        nodes.learns("gs1", sat1="EU", gs1="XX")
        with pytest.raises(PolicyError, match="may rest at 'KR', not here"):
            await to_satellite(ground)
        nodes.learns("gs1")
        await to_satellite(ground)

    run(tmp_path, script, ("gs1",))


# ---- what is said ----------------------------------------------------------------------------


@contextmanager
def judged_anew() -> Iterator[list[int]]:
    """How often what is held is judged anew within."""
    calls: list[int] = []
    real = BundleAgent.policy_changed

    def counted(agent: BundleAgent, now_ms: int, take_back: Callable[[str], object]) -> None:
        calls.append(now_ms)
        real(agent, now_ms, take_back)

    with mock.patch.object(BundleAgent, "policy_changed", counted):
        yield calls


def test_the_same_file_again_changes_nothing(tmp_path: Path) -> None:
    async def script(nodes: Nodes) -> None:
        ground = nodes.nodes["gs1"]
        await to_satellite(ground)
        gate = ground.policy.gate
        assert gate is not None
        known, counters, queue = gate.directory, ground.counters(), ground._agent.forwarder._queue
        waits = next(queue.waiting("dtn://home/"))
        with judged_anew() as calls:
            told = ground.policy.reload()
            path = tmp_path / "gs1.nodes"
            path.write_text("# in another order\n" + directory(dict(reversed(ABROAD.items()))))
            assert ground.policy.reload() == told == (4, (), (), {})
            assert calls == []
            assert gate.directory is known
            assert next(queue.waiting("dtn://home/")) is waits, "it keeps its place and booking"
            assert ground.counters() == counters
            nodes.learns("gs1", home="XX")
            assert len(calls) == 1

    run(tmp_path, script, ("gs1",))


def test_it_says_what_is_new_and_gone_and_otherwise(tmp_path: Path) -> None:
    text = DIRECTORY.replace("abroad", "elsewhere").replace('roles = ["relay"]', 'domain = "kari"')

    async def script(nodes: Nodes) -> None:
        ground = nodes.nodes["gs1"]
        (tmp_path / "gs1.nodes").write_text(text.replace('"KR"', '"KR", "EU"', 1))
        gate = ground.policy.gate
        assert gate is not None
        before = gate.directory
        changed = {"dtn://gs1/": ("KR", "EU, KR"), "dtn://home/": ("KR", "KR, domain:kari")}
        told = (4, ("dtn://elsewhere/",), ("dtn://abroad/",), changed)
        assert ground.policy.reload(dry_run=True) == told
        assert gate.directory is before
        asked = await ask(ground, "reload_policy", dry_run=True)
        assert gate.directory is before
        assert asked == {
            "dry_run": True,
            "nodes": 4,
            "new": ("dtn://elsewhere/",),
            "gone": ("dtn://abroad/",),
            "changed": [
                {"node": node, "before": was, "now": now} for node, (was, now) in changed.items()
            ],
        }
        assert ground.policy.reload() == told
        assert gate.directory.get("dtn://abroad/") is None
        assert (await ask(ground, "reload_policy"))["changed"] == []

    run(tmp_path, script, ("gs1",))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[node]", "line 1"),
        ("", "no \\[\\[node\\]\\]"),
        ('[[node]]\nid = "dtn://gs1/x"\n', "is no node"),
        ('[[node]]\nid = "dtn://gs1/"\njurisdictions = ["kr"]\n', "capitals"),
        ('[[node]]\nid = "ipn:5.0"\n[[node]]\nid = "ipn:0.5.0"\n', "used twice, see .* on line 2"),
        (None, "No such file"),
    ],
)
def test_what_is_wrong_changes_nothing(tmp_path: Path, text: str | None, complaint: str) -> None:
    async def script(nodes: Nodes) -> None:
        ground = nodes.nodes["gs1"]
        await to_satellite(ground)
        path = tmp_path / "gs1.nodes"
        path.unlink() if text is None else path.write_text(text)
        gate = ground.policy.gate
        assert gate is not None
        before = gate.directory
        with judged_anew() as calls, pytest.raises(ConfigError, match=complaint):
            ground.policy.reload()
        assert (calls, gate.directory) == ([], before)
        await to_satellite(ground)

    run(tmp_path, script, ("gs1",))


def test_a_node_without_one_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with world_of(tmp_path, {})["gs1"] as node:
            with pytest.raises(ConfigError, match=r"policy\.directory: this node has none"):
                node.policy.reload()

    run_virtual(main)


# ---- certificates ----------------------------------------------------------------------------


def test_what_certificates_say_is_followed_alike(tmp_path: Path) -> None:
    """They take the place of a directory.  What is with a link is taken back when nobody vouches
    for the satellite any more, and news is followed though the file of the plan is gone."""
    authority = domain(tmp_path)
    folders = {name: member(tmp_path, authority, name) for name in ("gs1", "sat1")}
    for folder in folders.values():
        update(authority, folder)
    dump_plan(plan(), tmp_path / "plan.json")

    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", channel(rate_bps=1e6))
        options: dict[str, Any] = {"rate_bps": 1e6, "owlt_ms": 5.0, "authentication": "on"}
        ground = world.node(
            "gs1",
            [world.link("gs1", "sat1", **options)],
            identity=IdentityConfig(folder=str(folders["gs1"].path)),
            contacts=ContactsConfig(plan=str(tmp_path / "plan.json")),
        )
        async with ground:
            with pytest.raises(ConfigError, match=r"policy\.directory: this node has none"):
                ground.policy.reload()
            await to_satellite(ground)
            await asyncio.sleep(10)
            assert ground.links["sat1"].engine.held_bytes > 0
            (tmp_path / "plan.json").unlink()
            authority.revoke(authority.unlock(nothing), "dtn://sat1/", EPOCH_MS)
            update(authority, folders["gs1"])
            await asyncio.sleep(61)
            assert ground.gauges()["queue.stranded"] == 1
            assert ground.links["sat1"].engine.held_bytes == 0
            authority.update(authority.unlock(nothing), (), EPOCH_MS + 100_000)
            update(authority, folders["gs1"], EPOCH_MS + 100_000)
            await asyncio.sleep(61)
            assert [each[1] for each in world.events].count("identity_changed") == 2

    run_virtual(main)
