"""Nodes with certificates: they talk, policies follow what is proven, and that changes in time."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from link_models.clock import run_virtual
from stack.core.eid import Eid
from stack.core.errors import ConfigError, PolicyError
from stack.identity import AuthorityFolder, NodeFolder, pem
from stack.identity.certificate import moment
from stack.node.config import IdentityConfig, SecurityConfig, parse_config
from stack.node.identity import Membership
from stack.node.keys import NodeKeys
from stack.node.node import Node
from stack.node.policy import NodePolicy
from stack.policy import DataPolicy, NodeSet
from stack.security import PolicyRule, new_key_file
from stack.security.first_epoch import approve_request
from stack.security.pinned import OutOfDate
from stack.services.messages import Mailbox, send_message
from tests.node.test_two_nodes import SAT, channel, loop
from tests.node.world import EPOCH_MS, World
from tests.security.test_cose_keys import pem_of
from tests.security.test_pinned import Folder, certificate

DAY_S = 86_400
DAY_MS = DAY_S * 1000
FAMILY = DataPolicy(readers=NodeSet.parse("KR"), rest=NodeSet.parse("KR"))


def nothing() -> bytes:
    """No passphrase."""
    return b""


def domain(root: Path) -> AuthorityFolder:
    """An authority."""
    folder = AuthorityFolder(root / "domain")
    folder.create("kari", passphrase=b"", entropy=os.urandom, now_ms=EPOCH_MS, algorithm="ed25519")
    return folder


def member(root: Path, authority: AuthorityFolder, name: str, *, days: int = 90) -> NodeFolder:
    """A node that has enrolled."""
    folder = NodeFolder(root / f"{name}-identity")
    request = folder.begin(
        Eid.parse(f"dtn://{name}/"),
        jurisdictions=["KR"],
        roles=(),
        passphrase=b"",
        entropy=os.urandom,
        algorithm="ed25519",
    )
    answer, _ = approve_request(
        authority,
        nothing,
        request,
        jurisdictions=["KR"],
        roles=(),
        now_ms=EPOCH_MS,
        entropy=os.urandom,
        days=days,
    )
    folder.accept(answer, EPOCH_MS)
    return folder


def update(authority: AuthorityFolder, folder: NodeFolder, now_ms: int = EPOCH_MS) -> None:
    """An operator brings what the authority says now."""
    folder.accept(pem.encode(authority.export()).encode(), now_ms)


def two(
    root: Path, ground: NodeFolder, satellite: NodeFolder, **security: Any
) -> tuple[Node, Node]:
    """A station and a satellite, always in contact."""
    world = World(loop(), root)
    world.connect("gs1", "sat1", channel(rate_bps=1e6))
    options: dict[str, Any] = {"rate_bps": 1e6, "owlt_ms": 5.0, "authentication": "on"}

    def node(name: str, peer: str, folder: NodeFolder) -> Node:
        identity = IdentityConfig(folder=str(folder.path))
        more: dict[str, Any] = {"security": SecurityConfig(**security)} if security else {}
        return world.node(name, [world.link(name, peer, **options)], identity=identity, **more)

    return node("gs1", "sat1", ground), node("sat1", "gs1", satellite)


def test_nodes_of_a_domain_talk_under_policies(tmp_path: Path) -> None:
    """With LTP authentication, encryption and policies, and no other file than of enrolment."""
    authority = domain(tmp_path)
    folders = [member(tmp_path, authority, name) for name in ("gs1", "sat1")]
    update(authority, folders[0])  # of whom came after it

    async def main() -> None:
        ground, satellite = two(tmp_path, *folders)
        async with ground, satellite, Mailbox(satellite.port) as mailbox:
            to = SAT.with_service("messages")
            await send_message(ground.port, to, b"for the family", policy=FAMILY)
            delivery = await mailbox.receive()
            assert (bytes(delivery.payload), delivery.policy) == (b"for the family", FAMILY)
            await mailbox.done(delivery)
            foreign = DataPolicy(readers=NodeSet.parse("EU"))
            with pytest.raises(PolicyError, match="'KR, domain:kari'"):
                await send_message(ground.port, to, b"for others", policy=foreign)

    run_virtual(main)


def test_who_has_not_been_heard_of_gets_nothing(tmp_path: Path) -> None:
    authority = domain(tmp_path)
    folders = [member(tmp_path, authority, name) for name in ("gs1", "sat1")]

    async def main() -> None:
        ground, satellite = two(tmp_path, *folders)
        to = SAT.with_service("messages")
        async with ground, satellite:
            with pytest.raises(PolicyError, match="nothing is known"):
                await send_message(ground.port, to, b"x", policy=FAMILY)
            update(authority, folders[0])
            await asyncio.sleep(61)  # news is found while the node runs
            await send_message(ground.port, to, b"x", policy=FAMILY)

    run_virtual(main)


def test_a_revoked_node_gets_nothing_more_while_others_run(tmp_path: Path) -> None:
    authority = domain(tmp_path)
    folders = [member(tmp_path, authority, name) for name in ("gs1", "sat1")]
    update(authority, folders[0])

    async def main() -> None:
        ground, _ = two(tmp_path, *folders)
        to = SAT.with_service("messages")
        async with ground:
            authority.revoke(authority.unlock(nothing), "dtn://sat1/", EPOCH_MS)
            update(authority, folders[0])
            await asyncio.sleep(61)
            with pytest.raises(PolicyError, match="nothing is known"):
                await send_message(ground.port, to, b"y", policy=FAMILY)

    run_virtual(main)


@pytest.mark.parametrize("failing", ["keys", "policy", "beside"])
def test_whoever_fails_to_follow_news_keeps_no_other_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    authority = domain(tmp_path)
    folders = [member(tmp_path, authority, name) for name in ("gs1", "sat1")]
    update(authority, folders[0])
    judged: list[str] = []

    def noting(policy: NodePolicy) -> None:
        judged.append("anew")

    def broken(_: object = None) -> None:
        raise OSError(5, "the disk is gone")

    def look_beside(_: NodeKeys, config: object, member: Membership, environment: object) -> None:
        member.look_beside(broken)

    monkeypatch.setattr(NodePolicy, "changed", broken if failing == "policy" else noting)
    if failing == "keys":
        monkeypatch.setattr(NodeKeys, "believed_anew", broken)
    elif failing == "beside":
        monkeypatch.setattr(NodeKeys, "follow", look_beside)

    async def main() -> None:
        ground, _ = two(tmp_path, *folders)
        async with ground:
            member(tmp_path, authority, "gs2")
            update(authority, folders[0])
            await asyncio.sleep(61)
            authority.revoke(authority.unlock(nothing), "dtn://sat1/", EPOCH_MS)
            update(authority, folders[0])
            await asyncio.sleep(61)
            with pytest.raises(PolicyError, match="nothing is known"):
                await send_message(ground.port, SAT.with_service("messages"), b"y", policy=FAMILY)
            assert failing == "policy" or len(judged) == 2
            assert ground.counters()["bundles.failures"] >= 2

    run_virtual(main)


def test_signatures_hold_for_as_long_as_their_certificates(tmp_path: Path) -> None:
    authority = domain(tmp_path)
    folders = [member(tmp_path, authority, name) for name in ("gs1", "sat1")]
    for folder in folders:
        update(authority, folder)

    async def main() -> None:
        ground, satellite = two(
            tmp_path, *folders, cose_sign_for=("*",), cose_require_from=("dtn://gs1/",)
        )
        to = SAT.with_service("messages")
        async with ground, satellite, Mailbox(satellite.port) as mailbox:
            await send_message(ground.port, to, b"signed")
            delivery = await mailbox.receive()
            assert bytes(delivery.payload) == b"signed"
            await mailbox.done(delivery)
            authority.revoke(authority.unlock(nothing), "dtn://gs1/", EPOCH_MS)
            update(authority, folders[1])
            await asyncio.sleep(61)
            await send_message(ground.port, to, b"of whom nobody vouches any more")
            await asyncio.sleep(61)
            counters = satellite.counters()
            assert counters["bundles.dropped_security"] > 0
            assert counters["bundles.delivered"] == 1

    run_virtual(main)


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["certificate", "revocation list"])
def test_what_is_believed_ends_by_itself(tmp_path: Path, ends: str) -> None:
    """The certificate of the other after a day; the revocation list after its seven, and the
    fourteen of grace."""
    authority = domain(tmp_path)
    days = 1 if ends == "certificate" else 90
    folders = [member(tmp_path, authority, "gs1"), member(tmp_path, authority, "sat1", days=days)]
    update(authority, folders[0])
    last = days if ends == "certificate" else 21

    async def main() -> None:
        ground, satellite = two(tmp_path, *folders)
        to = SAT.with_service("messages")
        async with ground, satellite:
            await asyncio.sleep(last * DAY_S - 60)
            await send_message(ground.port, to, b"x", policy=FAMILY)
            await asyncio.sleep(120)
            with pytest.raises(PolicyError, match="nothing is known"):
                await send_message(ground.port, to, b"x", policy=FAMILY)

    run_virtual(main)


def test_after_a_long_silence_a_node_starts_and_does_nothing_under_policies(tmp_path: Path) -> None:
    """Three weeks and a restart later it is still reached, and believes again what is newer."""
    authority = domain(tmp_path)
    folders = [member(tmp_path, authority, name) for name in ("gs1", "sat1")]
    update(authority, folders[0])
    late_ms = EPOCH_MS + 22 * DAY_MS

    async def main() -> None:
        await asyncio.sleep(22 * DAY_S)
        ground, satellite = two(tmp_path, *folders)
        to = SAT.with_service("messages")
        async with ground, satellite, Mailbox(satellite.port) as mailbox:
            with pytest.raises(PolicyError, match="nothing is known"):
                await send_message(ground.port, to, b"x", policy=FAMILY)
            await send_message(ground.port, to, b"without a policy")
            await mailbox.done(await mailbox.receive())
            authority.update(authority.unlock(nothing), (), late_ms)
            for folder in folders:
                update(authority, folder, late_ms)
            await asyncio.sleep(61)
            await send_message(ground.port, to, b"x", policy=FAMILY)
            assert bytes((await mailbox.receive()).payload) == b"x"

    run_virtual(main)


def _another(root: Path, authority: AuthorityFolder, folder: NodeFolder) -> None:
    other = member(root, authority, "other")
    folder.path.rename(root / "away")
    other.path.rename(folder.path)


def _open(root: Path, authority: AuthorityFolder, folder: NodeFolder) -> None:
    folder.path.chmod(0o755)


def _not_its_key(root: Path, authority: AuthorityFolder, folder: NodeFolder) -> None:
    other = member(root, authority, "other")
    (other.path / "key.pem").rename(folder.path / "key.pem")


def _foreign_epoch(root: Path, authority: AuthorityFolder, folder: NodeFolder) -> None:
    other = member(root, authority, "other")
    (other.path / "epochs.pem").rename(folder.path / "epochs.pem")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_another, "that of dtn://other/"),
        (_open, "chmod 700"),
        (_not_its_key, "keys are not those of its certificate"),
        (_foreign_epoch, "signature"),
        (lambda root, authority, folder: folder.path.rename(root / "away"), "domain enroll"),
    ],
)
def test_a_node_without_a_right_identity_does_not_start(
    tmp_path: Path, spoil: Any, why: str
) -> None:
    authority = domain(tmp_path)
    folder = member(tmp_path, authority, "gs1")
    spoil(tmp_path, authority, folder)

    async def main() -> None:
        ground, _ = two(tmp_path, folder, folder)
        with pytest.raises(ConfigError, match=why):
            async with ground:
                pass

    run_virtual(main)


def test_an_identity_takes_the_place_of_a_directory() -> None:
    data: dict[str, Any] = {"id": "dtn://gs1/", "data_dir": "x", "identity": {"folder": "y"}}
    assert parse_config(data, Path("/z")).identity.folder == "/z/y"
    with pytest.raises(ConfigError, match=r"remove policy\.directory"):
        parse_config(data | {"policy": {"directory": "w"}}, Path())


def test_an_identity_takes_the_place_of_shared_keys(tmp_path: Path) -> None:
    folder = member(tmp_path, domain(tmp_path), "gs1")
    keys = tmp_path / "shared.toml"
    new_key_file(keys, os.urandom, "test")

    async def main() -> None:
        ground, _ = two(tmp_path, folder, folder, key_file=str(keys))
        with pytest.raises(ConfigError, match="key test-aes is of kind aes"):
            async with ground:
                pass

    run_virtual(main)


def test_a_member_has_keys_of_key_agreement_beside_its_identity(tmp_path: Path) -> None:
    """Their certificate holds by the clock of the node; news of the domain takes no such key."""
    authority = domain(tmp_path)
    folders = [member(tmp_path, authority, name) for name in ("gs1", "sat1")]
    update(authority, folders[0])
    beside = Folder(tmp_path)
    own = ec.derive_private_key(7, ec.SECP384R1())
    begin, end = (moment(EPOCH_MS + seconds * 1000) for seconds in (-60, 3600))
    pinned = certificate(own.public_key(), begin=begin, end=end)
    beside.key("public", pinned)
    beside.key("private", pem_of(own) + pinned)
    beside.keys()
    flow: dict[str, str] = {"role": "source", "destination": "dtn://sat1/**"}
    rules = (
        PolicyRule(service="integrity", context="cose-sign", **flow),
        PolicyRule(service="confidentiality", context="cose-public", **flow),
    )
    security: dict[str, Any] = {"key_file": str(tmp_path / "keys.toml"), "rules": rules}

    async def main() -> None:
        ground, satellite = two(tmp_path, *folders, **security)
        async with ground, satellite, Mailbox(satellite.port) as mailbox:
            to = SAT.with_service("messages")
            for _ in range(2):
                await send_message(ground.port, to, b"agreed upon")
                async with asyncio.timeout(60):
                    delivery = await mailbox.receive()
                assert bytes(delivery.payload) == b"agreed upon"
                await mailbox.done(delivery)
                authority.update(authority.unlock(nothing), [], EPOCH_MS + 61_000)
                update(authority, folders[0], EPOCH_MS + 61_000)
                await asyncio.sleep(61)
            await asyncio.sleep(3600)
            with pytest.raises(OutOfDate):
                await send_message(ground.port, to, b"too late")
            newer = certificate(own.public_key(), begin=begin, end=moment(EPOCH_MS + 86_400_000))
            beside.write("0.pem", newer)
            beside.write("1.pem", pem_of(own) + newer)
            for node in (ground, satellite):
                before = [key.id for key in node.keys.ring.keys]
                told = node.keys.reload()
                assert [key.id for key in node.keys.ring.keys] == before, "and those of the domain"
                assert (told.keys, told.changed) == (("exit0", "exit1"), ("exit0", "exit1"))
            await send_message(ground.port, to, b"by the newer one")
            async with asyncio.timeout(60):
                assert bytes((await mailbox.receive()).payload) == b"by the newer one"
            beside.text += f'[[key]]\nid = "other"\nkind = "aes"\nsecret = "{bytes(32).hex()}"\n'
            beside.keys()
            with pytest.raises(ConfigError, match="the identity takes its place"):
                ground.keys.reload()
            assert "other" not in [key.id for key in ground.keys.ring.keys]

    run_virtual(main)
