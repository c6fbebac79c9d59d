"""Node ids validated over bundles, between whole nodes (RFC 9891)."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from interop.pcap import read_capture
from link_models.clock import run_virtual
from stack.core.eid import Eid
from stack.engines.acme.responder import EXPECTED_MAX, ExpectedChallenge
from stack.engines.acme.validator import ValidationOutcome
from stack.node.config import IdentityConfig, SecurityConfig
from stack.node.control.operations import make_operations
from stack.node.control.protocol import ControlError
from stack.node.control.request import Request
from stack.node.node import Node
from stack.ports.application import Outgoing
from stack.security import new_key_file
from stack.wire.bundle import AcmeChallenge, AcmeResponse, encode_acme_record
from tests.node.test_identity import domain, member, update
from tests.node.test_two_nodes import channel, loop
from tests.node.world import SeededEntropy, World

SAT = Eid.parse("dtn://sat1/")
CHALLENGE = {
    "id_chal": "dDtaviYTPUWFS3NK37YWfQ",
    "token_chal": "tPUZNY4ONIk6LxErRFEjVw",
    "thumbprint": "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ",
}
TOLD = ExpectedChallenge(**CHALLENGE)
RIGHT = ValidationOutcome(TOLD.id_chal, True, ())
WRONG = ValidationOutcome(TOLD.id_chal, False, (("dtn://ca/", "no response in time"),))


async def ask(at: Node, op: str, **fields: Any) -> dict[str, Any]:
    """What a control client would be answered."""
    session: Any = None  # of no use to these
    return await make_operations(at, lambda: None)[op](Request({"op": op, **fields}), session)


async def expect(at: Node, seconds: float = 600, **changes: Any) -> dict[str, Any]:
    fields = {"node": str(SAT), **CHALLENGE, "seconds": seconds, **changes}
    return await ask(at, "expect_challenge", **fields)


def run(
    root: Path,
    main: Callable[[Node, Node], Awaitable[None]],
    **sections: dict[str, Any],
) -> World:
    """A node beside an ACME server and one that is to be validated; `sections` of each."""
    made: list[World] = []

    async def started() -> None:
        found = World(loop(), root)
        made.append(found)
        found.connect("ca", "sat1", channel(rate_bps=1e6))
        options: dict[str, Any] = {"rate_bps": 1e6, "owlt_ms": 5.0, "authentication": "off"}
        links = [
            found.link("ca", "sat1", capture=str(root / "air.pcapng"), **options),
            found.link("sat1", "ca", **options),
        ]
        nodes = [
            found.node(name, [link], **sections.get(name, {}))
            for name, link in zip(("ca", "sat1"), links, strict=True)
        ]
        async with contextlib.AsyncExitStack() as stack:
            for node in nodes:
                await stack.enter_async_context(node)
            await main(*nodes)

    run_virtual(started)
    return made[0]


async def validated(node: Node, rtt_s: float | None = None) -> ValidationOutcome:
    assert node.node_ids is not None
    return await node.node_ids.validate(SAT, TOLD, rtt_s)


def test_a_node_whose_operator_has_said_so_is_valid(tmp_path: Path) -> None:
    async def main(ca: Node, sat: Node) -> None:
        assert await expect(sat) == {"node": str(SAT), "expected": 1}
        assert await validated(ca) == RIGHT
        assert await ask(sat, "forget_challenge", id_chal=TOLD.id_chal) == {"answered": 1}

    run(tmp_path, main)
    # Who listens sees the tokens, and not what they are hashed with.
    air = b"".join(record.data for record in read_capture((tmp_path / "air.pcapng").read_bytes()))
    assert bytes.fromhex("743b5abe26133d45854b734adfb6167d") in air
    assert TOLD.token_chal.encode() not in air
    assert TOLD.thumbprint.encode() not in air


def test_a_node_that_was_killed_answers_what_it_has_promised(tmp_path: Path) -> None:
    """What a kill leaves is the disk as it was when the operator was told."""
    here, left = tmp_path / "sat1", tmp_path / "left"

    async def started() -> None:
        world = World(loop(), tmp_path)
        world.connect("ca", "sat1", channel(rate_bps=1e6))
        options: dict[str, Any] = {"rate_bps": 1e6, "owlt_ms": 5.0, "authentication": "off"}
        async with world.node("ca", [world.link("ca", "sat1", **options)]) as ca:
            async with world.node("sat1", [world.link("sat1", "ca", **options)]) as sat:
                await expect(sat)
                shutil.copytree(here, left)
            shutil.rmtree(here)
            left.rename(here)
            async with world.node("sat1", [world.link("sat1", "ca", **options)]) as sat:
                assert await validated(ca) == RIGHT
                assert await ask(sat, "forget_challenge", id_chal=TOLD.id_chal) == {"answered": 1}

    run_virtual(started)


def test_a_node_with_a_certificate_signs_with_its_own_key(tmp_path: Path) -> None:
    authority = domain(tmp_path)
    folders = {name: member(tmp_path, authority, name) for name in ("ca", "sat1")}
    update(authority, folders["ca"])

    async def main(ca: Node, sat: Node) -> None:
        await expect(sat)
        assert await validated(ca) == RIGHT

    sections = {
        name: {"identity": IdentityConfig(folder=str(folder.path))}
        for name, folder in folders.items()
    }
    run(tmp_path, main, **sections)


async def nothing(sat: Node) -> None:
    """Nobody tells the node of a challenge."""


async def another(sat: Node) -> None:
    await expect(sat, id_chal="A" * 22)


async def taken_back(sat: Node) -> None:
    await expect(sat)
    await ask(sat, "forget_challenge", id_chal=TOLD.id_chal)


async def over(sat: Node) -> None:
    await expect(sat, seconds=1)
    await asyncio.sleep(1)


@pytest.mark.parametrize("prepare", [nothing, another, taken_back, over])
def test_a_node_that_was_not_told_does_not_answer(
    prepare: Callable[[Node], Awaitable[None]], tmp_path: Path
) -> None:
    async def main(ca: Node, sat: Node) -> None:
        await prepare(sat)
        began_s = loop().time()
        assert await validated(ca, rtt_s=5.0) == WRONG
        assert loop().time() - began_s == pytest.approx(10.0, abs=0.1)
        assert await validated(ca, rtt_s=1.0) == WRONG  # and may be asked again

    world = run(tmp_path, main)
    told = [fields for _, event, fields in world.events if event == "node_id_challenge"]
    assert {fields["answered"] for fields in told} == {False}


def test_who_has_other_keys_neither_challenges_nor_answers(tmp_path: Path) -> None:
    """What is not signed by a key that both have is gone before any service sees it."""
    other = tmp_path / "other.toml"

    async def main(ca: Node, sat: Node) -> None:
        await expect(sat)
        assert await validated(ca, rtt_s=1.0) == WRONG
        assert sat.counters()["bundles.dropped_security"] == 2  # it was asked for once more
        assert await ask(sat, "forget_challenge", id_chal=TOLD.id_chal) == {"answered": 0}

    new_key_file(other, SeededEntropy("others"), "test")
    security = {"security": SecurityConfig(key_file=str(other))}
    run(tmp_path, main, ca=security)


@pytest.mark.parametrize(
    ("record", "acknowledge"),
    [
        (AcmeChallenge(bytes(16), bytes(16)), False),
        (AcmeResponse(bytes(16), bytes(16), -16, bytes(32)), True),
    ],
)
def test_a_record_that_is_marked_as_the_other_kind_is_dropped(
    record: AcmeChallenge, acknowledge: bool, tmp_path: Path
) -> None:
    async def main(ca: Node, sat: Node) -> None:
        payload = encode_acme_record(record)
        one = Outgoing(SAT, payload, 60_000, "", admin=True, acknowledge=acknowledge)
        await ca.port.commit(send=[one])
        await asyncio.sleep(1)
        assert sat.counters()["bundles.dropped_security"] == 1

    run(tmp_path, main)


def test_records_that_mean_nothing_are_told_and_go(tmp_path: Path) -> None:
    async def main(ca: Node, sat: Node) -> None:
        for payload in (b"\x82\x18\xfe\x00", b"\x82\x01\x00", b"no record"):
            await ca.port.commit(send=[Outgoing(SAT, payload, 60_000, "", admin=True)])
        await asyncio.sleep(1)

    world = run(tmp_path, main)
    told = [event for name, event, _ in world.events if name == "sat1" and "admin_record" in event]
    assert sorted(told) == ["admin_record_malformed"] * 2 + ["admin_record_unknown"]


def test_what_a_control_client_may_ask(tmp_path: Path) -> None:
    async def main(ca: Node, sat: Node) -> None:
        for changes in (
            {"thumbprint": "short"},
            {"seconds": 0.5},
            {"seconds": 8 * 86_400.0},
            {"id_chal": "A" * 21 + "="},
            {"more": "x"},
        ):
            with pytest.raises(ControlError) as raised:
                await expect(sat, **changes)
            assert raised.value.kind == "usage"
        with pytest.raises(ControlError, match="not dtn://sat2/"):
            await expect(sat, node="dtn://sat2/")
        with pytest.raises(ControlError):
            await ask(sat, "forget_challenge", id_chal="!")
        assert await ask(sat, "forget_challenge", id_chal="A" * 22) == {"answered": None}
        for count in range(EXPECTED_MAX):
            await expect(sat, id_chal=f"{chr(65 + count)}" + "A" * 21)
        with pytest.raises(ControlError, match="expected already"):
            await expect(sat, id_chal="z" + "A" * 21)

    run(tmp_path, main)


def test_a_node_without_security_answers_nothing(tmp_path: Path) -> None:
    async def main(ca: Node, sat: Node) -> None:
        with pytest.raises(ControlError, match="this node signs nothing"):
            await expect(sat)
        assert await validated(ca, rtt_s=1.0) == WRONG

    run(tmp_path, main, sat1={"security": SecurityConfig(protect="none")})


def test_who_is_no_longer_waited_for_leaves_nothing(tmp_path: Path) -> None:
    async def main(ca: Node, sat: Node) -> None:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await validated(ca, rtt_s=1.0)
            await asyncio.sleep(3)
        await expect(sat)
        assert await validated(ca) == RIGHT

    run(tmp_path, main)
