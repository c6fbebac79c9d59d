"""A day of rotations between whole nodes: over passes, past a revocation, into a lost node."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from link_models.channel import ChannelConfig, Delay, Window
from link_models.clock import run_virtual
from stack.audit.event import Act, decode_event
from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import FOREVER_MS, MILLISECOND, SECOND
from stack.cose import Algorithm, HpkePrivateKey, SigningKey
from stack.node import node as node_module
from stack.node.config import IdentityConfig, NodeConfig
from stack.node.control.keys import KeyOperations
from stack.node.control.protocol import ControlError
from stack.node.control.request import Request
from stack.node.distribution import AuthorityCredentials, KeyCredentials
from stack.node.keys import NodeKeys
from stack.node.node import Node
from stack.security.epochs import Epoch
from stack.security.sealed_file import SealedFile
from stack.services.keys.authority import EpochTerms
from stack.services.messages import Mailbox, send_message
from stack.wire.bundle import Bundle, decode_bundle
from tests.node import test_identity as enrolled
from tests.node.test_two_nodes import channel, loop
from tests.node.world import EPOCH_MS, SeededEntropy, World

HOUR_S = 3600
HOUR_MS = 3_600_000
DAY_S = 24 * HOUR_S
SECURITY = "bundles.dropped_security"
TERMS = EpochTerms(
    period_ms=6 * HOUR_MS, overlap_ms=4 * HOUR_MS, lead_ms=4 * HOUR_MS, revoked_ms=HOUR_MS
)
NAMES = ("gs1", "sat1", "gs2")
FIRST = Epoch(
    domain="kari",
    number=1,
    secret=bytes(range(32)),
    from_ms=0,
    renew_ms=FOREVER_MS,
    until_ms=FOREVER_MS,
    others_until_ms=FOREVER_MS,
)
PASSES = [(start, start + 600) for start in range(1800, 2 * DAY_S, 6000)]


class Domain:
    """Who belongs to it, and what each has."""

    def __init__(self) -> None:
        entropy = SeededEntropy("domain")
        self.entropy = entropy
        self.signing = {name: SigningKey.generate(Algorithm.ES256, entropy) for name in NAMES}
        self.sealing = {name: HpkePrivateKey.generate(entropy) for name in NAMES}
        self.root = SigningKey.generate(Algorithm.ES256, entropy)
        self.members = list(NAMES)

    def nodes(self, now_ms: int) -> Iterator[Any]:
        for name in self.members:
            yield f"dtn://{name}/", self.signing[name].public, self.sealing[name].public

    def credentials(self, name: str) -> KeyCredentials:
        ours = AuthorityCredentials(signing=self.root, nodes=self.nodes, terms=TERMS)
        return KeyCredentials(
            domain="kari",
            node=f"dtn://{name}/",
            home="dtn://gs1/",
            authority=self.root.public,
            signing=self.signing[name],
            certified=self.sealing[name],
            first=FIRST,
            ours=ours if name == "gs1" else None,
        )


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> Domain:
    """Nodes have their identities from here."""
    made = Domain()

    def keys(config: NodeConfig, trace: Any, *rest: Any) -> NodeKeys:
        found = NodeKeys(config, trace, *rest)
        found.ring.change([])
        name = config.id.removeprefix("dtn://").rstrip("/")
        entropy = SeededEntropy(f"keys {name}")
        found.join(made.credentials(name), entropy, EPOCH_MS + loop().now_ns // 1_000_000)
        return found

    monkeypatch.setattr(node_module, "NodeKeys", keys)
    return made


def passing() -> ChannelConfig:
    windows = tuple(Window(a * SECOND, b * SECOND, 1e6) for a, b in PASSES)
    return ChannelConfig(windows=windows, delay=Delay.constant(5 * MILLISECOND))


def plan() -> Plan:
    contacts, ranges = [], []
    for start, end in PASSES:
        for a, b in (("gs1", "sat1"), ("sat1", "gs1")):
            times = EPOCH_MS + 1000 * start, EPOCH_MS + 1000 * end
            contacts.append(Contact(f"dtn://{a}/", f"dtn://{b}/", *times, 1e6))
            ranges.append(Range(f"dtn://{a}/", f"dtn://{b}/", *times, 5 * MILLISECOND))
    return Plan(contacts, ranges)


def build(root: Path) -> tuple[World, dict[str, Callable[[], Node]]]:
    world = World(loop(), root)
    world.connect("gs1", "sat1", passing())
    world.connect("gs1", "gs2", channel())
    far: dict[str, Any] = {"scheduled": True, "authentication": "on"}
    near: dict[str, Any] = {"rate_bps": 10e6, "owlt_ms": 5.0, "authentication": "on"}
    links = {
        "gs1": [world.link("gs1", "sat1", **far), world.link("gs1", "gs2", **near)],
        "sat1": [world.link("sat1", "gs1", **far)],
        "gs2": [world.link("gs2", "gs1", **near)],
    }
    return world, {name: partial(world.node, name, links[name], plan=plan()) for name in NAMES}


def sending(node: Node) -> str:
    return node.keys.ring.sending("aes", "dtn://anybody/").id


def numbers(node: Node) -> list[int]:
    assert node.keys.distribution is not None
    return [epoch.number for epoch in node.keys.distribution.member.epochs.held]


def has(domain: Domain, root: Path, name: str, secret: bytes) -> bool:
    """Whether a secret is in what a node keeps, for who has the key of its certificate; others see
    none there in any case."""
    found = []
    for path in (root / name / "epochs").iterdir():
        assert secret not in path.read_bytes()
        found.append(SealedFile(path, domain.sealing[name].raw, domain.entropy).read())
    assert found
    return any(secret in octets for octets in found)


def test_a_day_of_rotations_over_passes(tmp_path: Path, domain: Domain) -> None:
    async def main() -> None:
        _, make = build(tmp_path)
        used: set[str] = set()
        async with make["gs1"]() as gs1, make["sat1"]() as sat1, make["gs2"]() as gs2:
            async with Mailbox(sat1.port) as up, Mailbox(gs1.port) as down:
                for hour in range(24):
                    text = f"hour {hour}".encode()
                    await send_message(gs1.port, up.eid, text)
                    await send_message(sat1.port, down.eid, text)
                    used.add(sending(gs1))
                    for box in (up, down):
                        delivery = await box.receive()
                        assert bytes(delivery.payload) == text
                        await box.done(delivery)
                    start_s = (hour + 1) * HOUR_S
                    await asyncio.sleep(max(0.0, start_s - loop().time()))
            assert len(used) >= 4
            assert "kari-epoch-1-aes" in used
            assert 1 not in numbers(sat1)  # and its secret is on no disk any more
            for name in NAMES:
                assert not has(domain, tmp_path, name, FIRST.secret)
            assert numbers(sat1) == numbers(gs1) == numbers(gs2)
            # Where the domain's authority lives it is still given to nodes that enrol.
            (why,) = erased(gs1)["key:kari-epoch-1"]
            assert why.endswith(" keys: its time had ended")
            assert all(key["encryptions"] < 1000 for key in sat1.keys.table())

    run_virtual(main)


def test_who_is_revoked_reads_no_more_and_the_others_go_on(tmp_path: Path, domain: Domain) -> None:
    async def main() -> None:
        _, make = build(tmp_path)
        async with make["gs1"]() as gs1, make["sat1"]() as sat1, make["gs2"]() as gs2:
            await asyncio.sleep(HOUR_S)
            domain.members.remove("gs2")
            assert gs1.keys.distribution is not None
            gs1.keys.distribution.wake()
            await asyncio.sleep(4 * HOUR_S)
            assert numbers(sat1) == numbers(gs1)
            assert not set(numbers(gs2)) & set(numbers(gs1))
            async with Mailbox(sat1.port) as up:
                await send_message(gs1.port, up.eid, b"for those who belong here")
                assert bytes((await up.receive()).payload) == b"for those who belong here"
            before = gs2.counters()
            await send_message(gs1.port, "dtn://gs2/messages", b"not for you")
            await asyncio.sleep(60)
            after = gs2.counters()
            assert after["bundles.delivered"] == before["bundles.delivered"]
            # LTP has moved on, too: what the ground sends is not even taken for the ground's.
            assert after["link.gs1.auth.forged"] > before["link.gs1.auth.forged"]

    run_virtual(main)


def erased(node: Node) -> dict[str, list[str]]:
    """When the log of a node says that keys were destroyed, in seconds, and why."""
    found: dict[str, list[str]] = {}
    for _, octets in node._store.events(0, 1 << 20):
        event = decode_event(octets)
        if event.has(Act.KEY_DESTROYED):
            seconds = (event.time_ms - EPOCH_MS) // 1000
            found.setdefault(event.object, []).append(f"{seconds} {event.detail}")
    return found


def test_what_is_under_a_destroyed_epoch_opens_nowhere_and_each_log_says_since_when(
    tmp_path: Path, domain: Domain
) -> None:
    async def main() -> None:
        _, make = build(tmp_path)
        async with make["gs1"]() as gs1, make["sat1"]() as sat1, make["gs2"]() as gs2:
            await asyncio.sleep(3000)  # the first pass is over, and all have acknowledged
            sent = await send_message(gs1.port, "dtn://sat1/messages", b"to be forgotten")
            (entry,) = [one for one in gs1.transmissions() if one.source == "dtn://gs1/messages"]
            bundle = decode_bundle(gs1.octets(entry.ref) or b"")[0]
            assert all(has(domain, tmp_path, name, FIRST.secret) for name in NAMES)
            await gs1.cancel(sent)
            assert opens(sat1, bundle)
            operator = KeyOperations(gs1)
            plan = await ask(operator.destroy_keys, epoch=1, dry_run=True)
            assert plan["epochs"] == numbers(sat1)[:1] == [1]
            assert opens(sat1, bundle)
            done = await ask(operator.destroy_keys, epoch=1)
            assert done["destroyed"] == [1]
            assert done["still_at"] == ["dtn://gs2/", "dtn://sat1/"]
            assert erased(gs1)["key:kari-epoch-1"] == [
                "3000 keys: it was to be destroyed",
                "3000 key-authority: it was to be destroyed",
            ]
            await asyncio.sleep(60)
            assert erased(gs2)["key:kari-epoch-1"] == ["3000 keys: it was to be destroyed"]
            # The satellite is out of reach, and has it still; the station waits for a pass.
            assert erased(sat1) == {}
            assert opens(sat1, bundle)
            assert not opens(gs2, bundle)
            assert (await ask(operator.keys))["nodes"][2]["has_destroyed"] == [1]
            await asyncio.sleep(7900 - 3060)
            (at,) = erased(sat1)["key:kari-epoch-1"]
            assert 7800 <= int(at.split()[0]) < 7830
            assert (await ask(operator.keys))["nodes"][2]["has_destroyed"] == []
            for node in (gs1, sat1, gs2):
                assert not opens(node, bundle)
            async with Mailbox(sat1.port) as up:
                await send_message(gs1.port, up.eid, b"under the next")
                assert bytes((await up.receive()).payload) == b"under the next"
        assert not any(has(domain, tmp_path, name, FIRST.secret) for name in NAMES)

    run_virtual(main)


@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_under_an_epoch_that_has_not_come_waits_for_it(
    tmp_path: Path, domain: Domain, restarted: bool
) -> None:
    async def main() -> None:
        _, make = build(tmp_path)
        async with make["gs1"]() as gs1, make["sat1"](), contextlib.AsyncExitStack() as stack:
            gs2 = await stack.enter_async_context(make["gs2"]())
            await asyncio.sleep(3600)
            distribution = gs1.keys.distribution
            assert distribution is not None
            authority = distribution.authority
            assert authority is not None
            real = authority.poll

            def poll(now_ms: int) -> Any:
                return [one for one in real(now_ms) if one[0] != "dtn://gs2/"]

            authority.poll = poll  # type: ignore[method-assign]
            await ask(KeyOperations(gs1).rotate_keys)
            await asyncio.sleep(1)
            assert sending(gs1) != sending(gs2)
            await send_message(gs1.port, "dtn://gs2/messages", b"before its key")
            await asyncio.sleep(60)
            if restarted:
                await stack.aclose()
                gs2 = await stack.enter_async_context(make["gs2"]())
            async with Mailbox(gs2.port) as box:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(box.receive(), 60)
                assert gs2.gauges()["store.bundles"] == 1
                authority.poll = real  # type: ignore[method-assign]
                authority.recipients["dtn://gs2/"].due_ms = 0
                distribution.wake()
                await asyncio.sleep(60)
                assert bytes((await box.receive()).payload) == b"before its key"

    run_virtual(main)


def test_a_node_that_destroys_its_own_keys_is_given_others(tmp_path: Path, domain: Domain) -> None:
    async def main() -> None:
        _, make = build(tmp_path)
        async with make["gs1"]() as gs1, make["sat1"](), make["gs2"]() as gs2:
            await asyncio.sleep(20 * HOUR_S)
            newest = numbers(gs2)[-1]
            told = await ask(KeyOperations(gs2).destroy_keys, epoch=newest)
            assert told["everywhere"] is False
            assert numbers(gs2) == []
            assert numbers(gs1)[-1] == newest
            with pytest.raises(ControlError, match="are made at dtn://gs1/"):
                await ask(KeyOperations(gs2).rotate_keys)
            await asyncio.sleep(12 * HOUR_S)
            assert numbers(gs2)
            assert numbers(gs2)[0] > newest

    run_virtual(main)


def test_epochs_travel_in_a_file_to_a_node_that_no_link_reaches(
    tmp_path: Path, domain: Domain
) -> None:
    async def main() -> None:
        _, make = build(tmp_path)
        async with make["gs1"]() as gs1, make["gs2"]():
            async with make["sat1"]() as sat1:
                await asyncio.sleep(60)  # before the first pass
                authority, there = KeyOperations(gs1), KeyOperations(sat1)
                made = await ask(authority.rotate_keys, overlap_s=3600)
                number = made["epoch"]["number"]
                told = await ask(authority.export_keys, node="dtn://sat1/")
                assert told["epochs"] == [1, number]
                for wrong in ("dtn://sat9/", "dtn://sat1/"):
                    where = authority if wrong == "dtn://sat9/" else there
                    with pytest.raises(ControlError, match=r"gets no keys|are made at dtn://gs1/"):
                        await ask(where.export_keys, node=wrong)
                others = await ask(authority.export_keys, node="dtn://gs2/")
                cut = [*told["grants"][:1], told["grants"][1][:-2] + "00"]
                for bad in (others["grants"], cut, ["zz"], []):
                    with pytest.raises(ControlError, match=r"not for dtn://sat1/|grants:"):
                        await ask(there.import_keys, grants=bad)
                    assert numbers(sat1) == [1]
                plan = await ask(there.import_keys, grants=told["grants"], dry_run=True)
                assert (plan["new"], numbers(sat1)) == ([number], [1])
                assert (await ask(there.import_keys, grants=told["grants"]))["new"] == [number]
                assert sending(sat1) == sending(gs1) == f"kari-epoch-{number}-aes"
            async with make["sat1"]() as sat1:
                assert numbers(sat1) == [1, number]
                there = KeyOperations(sat1)
                await ask(there.destroy_keys, epoch=number)
                again = await ask(there.import_keys, grants=told["grants"])
                assert (again["new"], numbers(sat1)) == ([], [])
                # What the authority has destroyed goes by a file, too.
                await ask(authority.destroy_keys, epoch=1)
                later = (await ask(authority.export_keys, node="dtn://gs2/"))["epochs"]
                assert later == [number]

    run_virtual(main)


def test_what_a_file_says_is_destroyed_goes(tmp_path: Path, domain: Domain) -> None:
    async def main() -> None:
        _, make = build(tmp_path)
        async with make["gs1"]() as gs1, make["sat1"]() as sat1, make["gs2"]():
            await asyncio.sleep(60)
            await ask(KeyOperations(gs1).destroy_keys, epoch=1)
            told = await ask(KeyOperations(gs1).export_keys, node="dtn://sat1/")
            plan = await ask(KeyOperations(sat1).import_keys, grants=told["grants"], dry_run=True)
            assert (plan["destroys"], numbers(sat1)) == ([1], [1])
            done = await ask(KeyOperations(sat1).import_keys, grants=told["grants"])
            assert (done["destroys"], numbers(sat1)) == ([1], told["epochs"])
            assert erased(sat1)["key:kari-epoch-1"]

    run_virtual(main)


def test_an_operator_rotates(tmp_path: Path, domain: Domain) -> None:
    async def main() -> None:
        _, make = build(tmp_path)
        async with make["gs1"]() as gs1, make["sat1"](), make["gs2"]() as gs2:
            await asyncio.sleep(3600)
            before = numbers(gs2)
            told = await ask(KeyOperations(gs1).rotate_keys, overlap_s=600, dry_run=True)
            assert [int(number) for number in told["ends"]] == before[:1]
            await asyncio.sleep(60)
            assert numbers(gs2) == before
            made = await ask(KeyOperations(gs1).rotate_keys, overlap_s=600)
            assert made["nodes"] == 3
            await asyncio.sleep(60)
            # It takes the place of the one that was to send from some hours on.
            assert numbers(gs2) == [before[0], made["epoch"]["number"]]
            assert sending(gs2) == f"kari-epoch-{made['epoch']['number']}-aes"
            await asyncio.sleep(600)
            assert numbers(gs2) == [made["epoch"]["number"]]
            assert erased(gs2)["key:kari-epoch-1"][0].endswith("keys: its time had ended")

    run_virtual(main)


def opens(node: Node, bundle: Bundle) -> bool:
    security = node._agent._admission._security
    assert security is not None
    return security.open(bundle).ok


async def ask(operation: Any, **fields: Any) -> Any:
    """What an operator asks over the control socket."""
    return await operation(Request({"op": operation.__name__, **fields}), None)


def test_a_node_that_was_off_for_days_asks_and_catches_up(tmp_path: Path, domain: Domain) -> None:
    async def main() -> None:
        _, make = build(tmp_path)
        async with make["gs1"]() as gs1, make["gs2"]():
            async with make["sat1"]() as sat1:
                await asyncio.sleep(8 * HOUR_S)
                had = numbers(sat1)
            await asyncio.sleep(20 * HOUR_S)
            async with make["sat1"]() as sat1:
                assert not set(had) & set(numbers(gs1))
                await asyncio.sleep(4 * HOUR_S)
                assert numbers(sat1) == numbers(gs1)
                async with Mailbox(sat1.port) as up:
                    await send_message(gs1.port, up.eid, b"welcome back")
                    assert bytes((await up.receive()).payload) == b"welcome back"

    run_virtual(main)


def test_what_is_no_key_message_goes_before_it_is_stored(tmp_path: Path, domain: Domain) -> None:
    async def main() -> None:
        _, make = build(tmp_path)
        async with make["gs1"]() as gs1, make["gs2"]() as gs2:
            await asyncio.sleep(60)
            before, stored = gs1.counters(), gs1.gauges()["store.bundles"]
            for service in ("keys", "key-authority"):
                for payload in (b"", b"\x00" * 100, b"\xd2" + bytes(5000), bytes(100_000)):
                    await send_message(gs2.port, f"dtn://gs1/{service}", payload, service="keys")
            await asyncio.sleep(60)
            assert gs1.counters().get(SECURITY, 0) == before.get(SECURITY, 0) + 8
            assert gs1.gauges()["store.bundles"] == stored

    run_virtual(main)


def test_nodes_with_certificates_need_no_more_than_two_settings(tmp_path: Path) -> None:
    authority = enrolled.domain(tmp_path)
    for name in ("gs1", "gs2"):
        enrolled.member(tmp_path, authority, name)

    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "gs2", channel())
        nodes = []
        for name, peer in (("gs1", "gs2"), ("gs2", "gs1")):
            link = world.link(name, peer, rate_bps=10e6, owlt_ms=5.0, authentication="on")
            identity = IdentityConfig(
                folder=str(tmp_path / f"{name}-identity"),
                keys_from="dtn://gs1/",
                authority=str(tmp_path / "domain") if name == "gs1" else "",
                epoch_days=2.0,
                epoch_lead_days=0.5,
            )
            nodes.append(world.node(name, [link], identity=identity))
        async with nodes[0] as gs1, nodes[1] as gs2:
            await asyncio.sleep(300)
            assert len(numbers(gs2)) == 2
            used = set()
            for _ in range(5):
                await asyncio.sleep(DAY_S)
                assert sending(gs1) == sending(gs2)
                used.add(sending(gs1))
            assert len(used) == 3  # an epoch lasts for two days
            assert "kari-epoch-1-aes" not in used
            async with Mailbox(gs2.port) as box:
                await send_message(gs1.port, box.eid, b"under the second epoch")
                assert bytes((await box.receive()).payload) == b"under the second epoch"

    run_virtual(main)


@pytest.mark.parametrize("brought", [False, True], ids=["authority", "update"])
def test_a_revocation_makes_new_keys_within_a_minute(tmp_path: Path, brought: bool) -> None:
    """Whether it is written into the authority's folder, or brought to its node as to all."""
    authority = enrolled.domain(tmp_path)
    folders = [enrolled.member(tmp_path, authority, name) for name in ("gs1", "gs2")]

    async def main() -> None:
        world = World(loop(), tmp_path)
        identity = IdentityConfig(
            folder=str(folders[0].path),
            keys_from="dtn://gs1/",
            authority=str(tmp_path / "domain"),
        )
        async with world.node("gs1", [], identity=identity) as gs1:
            found = gs1.keys.distribution
            assert found is not None
            assert found.authority is not None
            await asyncio.sleep(600)
            before = numbers(gs1)
            now_ms = gs1.port.dtn_ms()
            authority.revoke(authority.unlock(enrolled.nothing), "dtn://gs2/", now_ms)
            if brought:
                found.look = lambda: None  # type: ignore[method-assign]
                enrolled.update(authority, folders[0], now_ms)
            await asyncio.sleep(61)
            assert list(found.authority.recipients) == ["dtn://gs1/"]
            newest = found.authority.epochs.newest
            assert newest is not None
            assert newest.number not in before
            assert newest.others_until_ms < gs1.port.dtn_ms() + 3_600_000

    run_virtual(main)
