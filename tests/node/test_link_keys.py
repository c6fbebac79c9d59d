"""Two nodes whose links are authenticated with other keys than those derived for each pair."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from link_models.clock import run_virtual
from stack.core.errors import ConfigError
from stack.core.train import Train
from stack.engines.ltp import LtpConfig
from stack.node.config import LinkConfig
from stack.node.guard import make_authenticator
from stack.node.node import Node
from stack.security import load_keys
from stack.services.messages import Mailbox, send_message
from tests.engines.ltp.signing import sign
from tests.node.test_two_nodes import SAT, channel, loop
from tests.node.world import World

OPTIONS: dict[str, Any] = {"rate_bps": 10e6, "owlt_ms": 5.0, "authentication": "on"}


def with_keys(world: World, name: str, entries: str) -> None:
    """The next nodes have this file: `entries` before what all share."""
    shared = (world.root / "keys.toml").read_text()
    world.keys = world.root / f"{name}-keys.toml"
    world.keys.write_text(entries + shared)
    world.keys.chmod(0o600)


async def a_message_crosses(ground: Node, satellite: Node) -> None:
    async with Mailbox(satellite.port) as mailbox:
        await send_message(ground.port, SAT.with_service("messages"), bytes(100_000))
        delivery = await mailbox.receive()
        assert bytes(delivery.payload) == bytes(100_000)
        await mailbox.done(delivery)


def dropped(node: Node) -> int:
    counters = node.counters()
    (link,) = node.links
    return counters[f"link.{link}.auth.unsigned"] + counters[f"link.{link}.auth.forged"]


def tap(world: World) -> list[bytes]:
    """What the ground will have sent."""
    seen: list[bytes] = []
    port = world.ports["gs1", "sat1"]
    send = port.send

    def both(trains: Sequence[Train]) -> bool:
        seen.extend(bytes(one) for train in trains for one in train.datagrams())
        return send(trains)

    port.send = both  # type: ignore[method-assign]
    return seen


def test_a_raw_key_signs_both_ways(tmp_path: Path) -> None:
    secret = bytes(range(20))
    entry = f'[[key]]\nid = "foreign"\nkind = "ltp"\nraw = true\nsecret = "{secret.hex()}"\n'

    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", channel())
        with_keys(world, "both", entry + 'key_id = "6b31"\n\n')
        ground = world.node("gs1", [world.link("gs1", "sat1", **OPTIONS)])
        satellite = world.node("sat1", [world.link("sat1", "gs1", **OPTIONS)])
        seen = tap(world)
        async with ground, satellite:
            await a_message_crosses(ground, satellite)
            assert dropped(ground) == dropped(satellite) == 0
        assert len(seen) > 70
        for datagram in seen:
            assert b"\x00\x03\x00k1" in datagram[:30]
            assert datagram[-10:] == hmac.new(secret, datagram[:-10], "sha1").digest()[:10]

    run_virtual(main)


# ---- RSA ---------------------------------------------------------------------------------------

Pem = dict[str, RSAPrivateKey]


@pytest.fixture(scope="module")
def owners() -> Pem:
    return {name: rsa.generate_private_key(65537, 2048) for name in ("gs1", "sat1")}


def pem(key: Any, encryption: KeySerializationEncryption | None = None) -> bytes:
    """A private key as `openssl genrsa` writes it."""
    how = encryption or NoEncryption()
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))


def pem_files(folder: Path, owners: Pem) -> None:
    for name, key in owners.items():
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pem").write_bytes(pem(key))
        (folder / f"{name}.pem").chmod(0o600)
        (folder / f"{name}-public.pem").write_bytes(public)


def entries(name: str, peer: str) -> str:
    return (
        f'[[key]]\nid = "own"\nkind = "ltp-rsa-private"\nfile = "{name}.pem"\n\n'
        f'[[key]]\nid = "theirs"\nkind = "ltp-rsa-public"\nfile = "{peer}-public.pem"\n'
        f'peers = ["dtn://{peer}/"]\n\n'
    )


def test_rsa_keys_of_two_nodes(tmp_path: Path, owners: Pem) -> None:
    async def main() -> None:
        world = World(loop(), tmp_path)
        pem_files(tmp_path, owners)
        world.connect("gs1", "sat1", channel())
        nodes = []
        for name, peer in (("gs1", "sat1"), ("sat1", "gs1")):
            with_keys(world, name, entries(name, peer))
            nodes.append(world.node(name, [world.link(name, peer, **OPTIONS)]))
        seen = tap(world)
        ground, satellite = nodes
        async with ground, satellite:
            await a_message_crosses(ground, satellite)
            assert dropped(ground) == dropped(satellite) == 0
        assert len(seen) > 70
        for datagram in seen:
            assert b"\x00\x01\x01" in datagram[:30]
            public, covered = owners["gs1"].public_key(), datagram[:-256]
            public.verify(datagram[-256:], covered, padding.PKCS1v15(), hashes.SHA256())
            assert len(datagram) <= 1400

    run_virtual(main)


def test_an_own_rsa_key_serves_those_alone_whose_public_key_is_known(
    tmp_path: Path, owners: Pem
) -> None:
    pem_files(tmp_path, owners)
    keys = tmp_path / "keys.toml"
    keys.write_text(entries("gs1", "sat1"))
    keys.chmod(0o600)
    ring = load_keys(keys)
    assert [(key.bits, key.kind) for key in ring.keys] == [
        (2048, "ltp-rsa-private"),
        (2048, "ltp-rsa-public"),
    ]
    ltp = LtpConfig(local_engine_id=1, remote_engine_id=2)
    known = LinkConfig(name="l", peer="dtn://sat1/", ltp=ltp)
    unknown = LinkConfig(name="l", peer="dtn://sat2/", ltp=ltp)
    ours = make_authenticator(known, "dtn://gs1/", ring, bytes)
    assert ours is not None
    assert ours.verify(sign(ours, Train(b"\x09\x01\x05\x00\x07", 5))) == [], "our own, sent back"
    theirs = make_authenticator(unknown, "dtn://gs1/", ring, bytes)
    assert theirs is not None
    assert theirs.state == "open"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("absent", "RSA private key"),
        ("open", "chmod 600"),
        ("public", "no RSA private key"),
        ("locked", "passphrase"),
        ("curve", "another kind"),
        ("short", "1024 bits"),
        ("noise", "no RSA private key"),
    ],
)
def test_wrong_pem_files_are_named(tmp_path: Path, owners: Pem, name: str, complaint: str) -> None:
    own = owners["gs1"]
    public = own.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    content = {
        "open": pem(own),
        "public": public,
        "locked": pem(own, BestAvailableEncryption(b"secret")),
        "curve": pem(ec.generate_private_key(ec.SECP256R1())),
        "short": pem(rsa.generate_private_key(65537, 1024)),
        "noise": b"\xff\x00noise",
    }
    path = tmp_path / "own.pem"
    if name in content:
        path.write_bytes(content[name])
        path.chmod(0o644 if name == "open" else 0o600)
    keys = tmp_path / "keys.toml"
    keys.write_text('[[key]]\nid = "own"\nkind = "ltp-rsa-private"\nfile = "own.pem"\n')
    keys.chmod(0o600)
    with pytest.raises(ConfigError, match=complaint) as raised:
        load_keys(keys)
    assert "own.pem" in str(raised.value)
