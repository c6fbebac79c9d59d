"""The pairs of configurations in the documents: they fit together, and our side of them works over
UDP with a stand-in that has the habits of the peer."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import re
import socket
import time
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from interop.machines.ports import free_ports
from stack.contacts.files import load_plan
from stack.core.clock import DTN_EPOCH_UNIX_S
from stack.core.eid import Eid
from stack.node.config import NodeConfig, parse_config
from stack.node.guard import make_authenticator
from stack.node.node import Node
from stack.security import load_keys, new_key_file
from stack.services.echo import ping
from stack.services.messages import Mailbox, send_message
from stack.wire.bundle import (
    CRC_16,
    IS_FRAGMENT,
    LENIENT,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    decode_bundle,
)
from tests.engines.ltp.standin import HDTN, ION, Habits, Standin
from tests.wire.bundle import reference

DOCS = Path(__file__).parents[2] / "docs"
TICK_S = 0.01
FRAGMENT_BYTES = 20_000


def files_in(document: str) -> dict[str, str]:
    """The files that a document holds, by name."""
    text = (DOCS / document).read_text()
    return dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))


ION_FILES = files_in("how-to-talk-to-ion.md")
HDTN_FILES = files_in("how-to-talk-to-hdtn.md")


def ours(files: dict[str, str]) -> NodeConfig:
    return parse_config(tomllib.loads(files["ground.toml"]), Path("/tmp"))


def ports(config: NodeConfig) -> tuple[str, str]:
    (link,) = config.links
    return link.local, link.remote


def test_the_files_for_ion_fit_together(tmp_path: Path) -> None:
    config = ours(ION_FILES)
    (link,) = config.links
    span = re.search(r"^a span (\d+) .* 'udplso (\S+)'$", ION_FILES["node2.ltprc"], re.MULTILINE)
    induct = re.search(r"^s 'udplsi (\S+)'$", ION_FILES["node2.ltprc"], re.MULTILINE)
    node = re.search(r"^1 (\d+) ''$", ION_FILES["node2.ionrc"], re.MULTILINE)
    assert span is not None
    assert induct is not None
    assert node is not None
    assert (link.local, link.remote) == (span[2], induct[1])
    assert (link.ltp.local_engine_id, link.ltp.remote_engine_id) == (int(span[1]), int(node[1]))
    assert (config.id, link.peer) == (f"ipn:{span[1]}.0", f"ipn:{node[1]}.0")
    assert f"a outduct ltp {span[1]} ltpclo" in ION_FILES["node2.bprc"]
    assert ION_FILES["node2.ipnrc"] == f"a plan {span[1]} ltp/{span[1]}\n"
    path = tmp_path / "node2.ionrc"
    path.write_text(ION_FILES["node2.ionrc"])
    both = load_plan(path).contacts
    assert {(one.source, one.destination) for one in both} == {
        (config.id, link.peer),
        (link.peer, config.id),
    }
    assert {one.rate_bps for one in both} == {link.rate_bps}
    assert "a endpoint ipn:2.2 q" in ION_FILES["node2.bprc"], "where bpecho runs"


def test_the_files_for_hdtn_fit_together(tmp_path: Path) -> None:
    config = ours(HDTN_FILES)
    (link,) = config.links
    theirs = json.loads(HDTN_FILES["hdtn.json"])
    (induct,) = theirs["inductsConfig"]["inductVector"]
    (outduct,) = theirs["outductsConfig"]["outductVector"]
    host, port = link.local.split(":")
    assert (induct["ltpRemoteUdpHostname"], induct["ltpRemoteUdpPort"]) == (host, int(port))
    assert (outduct["remoteHostname"], outduct["remotePort"]) == (host, int(port))
    assert link.remote.endswith(f":{induct['boundPort']}")
    assert induct["boundPort"] == outduct["ltpSenderBoundPort"], "where our reports go"
    for duct in (induct, outduct):
        engines = (duct["remoteLtpEngineId"], duct["thisLtpEngineId"])
        assert engines == (link.ltp.local_engine_id, link.ltp.remote_engine_id)
        assert duct["clientServiceId"] == 1
    assert (config.id, link.peer) == ("ipn:1.0", f"ipn:{theirs['myNodeId']}.0")
    assert outduct["nextHopNodeId"] == 1
    assert theirs["maxBundleSizeBytes"] >= link.ltp.block_bytes_max
    path = tmp_path / "plan.json"
    path.write_text(HDTN_FILES["plan.json"])
    both = load_plan(path).contacts
    assert {(one.source, one.destination) for one in both} == {
        (config.id, link.peer),
        (link.peer, config.id),
    }
    assert {one.rate_bps for one in both} == {link.rate_bps}


# ---- with a stand-in -------------------------------------------------------------------------


def _body(segment: bytes) -> int:
    """Where the extension counts of a segment end (RFC 5326 §3.1)."""
    at = 1
    for _ in range(2):
        while segment[at] >= 128:
            at += 1
        at += 1
    return at + 1


def sign(segment: bytes, secret: bytes) -> bytes:
    """As ION's LTPAUTH does: ciphersuite 0, no KeyID (RFC 5327 §2.1)."""
    at = _body(segment)
    assert segment[at - 1] == 0
    covered = segment[: at - 1] + b"\x11" + b"\x00\x01\x00" + segment[at:] + b"\x00\x0a"
    return covered + hmac.new(secret, covered, "sha1").digest()[:10]


def verify(signed: bytes, secret: bytes) -> bytes:
    at = _body(signed)
    assert signed[at - 1 : at + 3] == b"\x11\x00\x01\x00"
    assert hmac.new(secret, signed[:-10], "sha1").digest()[:10] == signed[-10:]
    return signed[: at - 1] + b"\0" + signed[at + 3 : -12]


class Peer:
    """A stand-in on UDP: it sends from a port that the system chooses, echoes at one endpoint,
    adds a private block, and fragments as ION 4.1 does."""

    def __init__(self, config: NodeConfig, habits: Habits, echo: str, secret: bytes) -> None:
        (link,) = config.links
        self.node = Eid.parse(link.peer)
        self._echo = Eid.parse(echo)
        self._engine = Standin(link.ltp.remote_engine_id, link.ltp.local_engine_id, habits)
        self._in, self._out = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self._in.bind(("127.0.0.1", 0))
        self._in.setblocking(False)
        self.port = int(self._in.getsockname()[1])
        self.to = ("127.0.0.1", 0)
        self.came: list[Bundle] = []
        self.changed = asyncio.Event()
        self._sequence = 0
        self._secret = secret

    async def run(self) -> None:
        """Until cancelled."""
        taken = 0
        while True:
            now = time.monotonic_ns()
            with contextlib.suppress(BlockingIOError):
                while True:
                    datagram = self._in.recv(65_536)
                    if self._secret:
                        datagram = verify(datagram, self._secret)
                    self._engine.feed(datagram, now)
            self._engine.handle(now)
            for _, block in self._engine.blocks[taken:]:
                self._take(block)
            taken = len(self._engine.blocks)
            for datagram in self._engine.datagrams():
                signed = sign(datagram, self._secret) if self._secret else datagram
                self._out.sendto(signed, self.to)
            await asyncio.sleep(TICK_S)

    def _take(self, block: bytes) -> None:
        at = 0
        while at < len(block):
            bundle, at = decode_bundle(block, offset=at, mode=LENIENT)
            self.came.append(bundle)
            self.changed.set()
            if bundle.primary.destination == self._echo:
                self.send(bundle.primary.source, bytes(bundle.payload.data), self._echo)

    def send(self, to: Eid, payload: bytes, source: Eid) -> None:
        """One bundle, or fragments whose extension blocks have lost their numbers."""
        self._sequence += 1
        whole = len(payload) <= FRAGMENT_BYTES
        created_ms = int((time.time() - DTN_EPOCH_UNIX_S) * 1000)
        numbers = (2, 3) if whole else (0, 0)
        previous = reference.canonical(reference.eid_item(self.node))
        for at in range(0, len(payload), FRAGMENT_BYTES):
            primary = PrimaryBlock(
                to,
                source,
                Eid.NONE,
                created_ms,
                self._sequence,
                600_000,
                0 if whole else IS_FRAGMENT,
                CRC_16,
                fragment_offset=None if whole else at,
                total_adu_length=None if whole else len(payload),
            )
            blocks = (
                CanonicalBlock(193, numbers[0], 0, b"\x01"),
                CanonicalBlock(6, numbers[1], 0, previous),
                CanonicalBlock(1, 1, 0, payload[at : at + FRAGMENT_BYTES], CRC_16),
            )
            self._engine.submit(reference.encode(Bundle(primary, blocks)), time.monotonic_ns())

    def close(self) -> None:
        self._in.close()
        self._out.close()


@contextlib.asynccontextmanager
async def beside(
    files: dict[str, str], habits: Habits, echo: str, folder: Path, secret: bytes = b""
) -> AsyncIterator[tuple[Node, Peer]]:
    """Our side as documented, at other addresses and without light time, and the stand-in."""
    peer = Peer(ours(files), habits, echo, secret)
    (port,) = free_ports(1)
    peer.to = ("127.0.0.1", port)
    text = re.sub(
        r"^local = .*$", f'local = "127.0.0.1:{peer.to[1]}"', files["ground.toml"], flags=re.M
    )
    text = re.sub(r"^remote = .*$", f'remote = "127.0.0.1:{peer.port}"', text, flags=re.M)
    text = text.replace("owlt_ms = 1000", "owlt_ms = 0")
    data: dict[str, Any] = tomllib.loads(text) | {
        "store": {"kind": "memory"},
        "log": {"level": "off"},
    }
    task = asyncio.ensure_future(peer.run())
    try:
        async with asyncio.timeout(60), Node(parse_config(data, folder)) as node:
            yield node, peer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        peer.close()


QUICK_ION = Habits(**{**vars(ION), "aggregation_ns": 50_000_000})
CASES = pytest.mark.parametrize(
    ("files", "habits", "echo"),
    [
        pytest.param(ION_FILES, QUICK_ION, "ipn:2.2", id="ion"),
        pytest.param(HDTN_FILES, HDTN, "ipn:10.2047", id="hdtn"),
    ],
)


@CASES
def test_pings_and_messages_with_the_documented_side(
    files: dict[str, str], habits: Habits, echo: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with beside(files, habits, echo, tmp_path) as (node, peer):
            (link,) = node.links.values()
            assert link.state == "open"
            replies = [one async for one in ping(node.port, Eid.parse(echo), count=3, interval_s=0)]
            assert all(one.rtt_ns is not None for one in replies)
            assert link.figures()["udp.dropped_foreign"] == 0
            assert link.neighbour.hints == []
            to = peer.node.with_service("1")
            sent = [bytes([n]) * 500 for n in range(61)] + [bytes(300_000)]
            for payload in sent:
                await send_message(node.port, to, payload)
            while len(peer.came) < 3 + len(sent):
                peer.changed.clear()
                await peer.changed.wait()
            came = [bytes(one.payload.data) for one in peer.came if one.primary.destination == to]
            assert sorted(came) == sorted(sent)

    asyncio.run(main())


def test_with_authentication_as_documented(tmp_path: Path) -> None:
    ground = ION_FILES["ground.toml"]
    ground = ground.replace('authentication = "off"', 'authentication = "on"')
    ground = ground.replace("[security]\n", '[security]\nkey_file = "keys.toml"\n')
    keys = tmp_path / "keys.toml"
    keys.write_text(ION_FILES["keys.toml"])
    keys.chmod(0o600)
    (entry,) = tomllib.loads(ION_FILES["keys.toml"])["key"]
    secret = bytes.fromhex(entry["secret"])
    rules = ION_FILES["node2.ltpsecrc"].split()
    assert rules == [
        "a",
        "ltpxmitauthrule",
        "1",
        "0",
        "ground",
        "a",
        "ltprecvauthrule",
        *rules[-3:],
    ]

    async def main() -> None:
        files = ION_FILES | {"ground.toml": ground}
        async with beside(files, QUICK_ION, "ipn:2.2", tmp_path, secret) as (node, _):
            (link,) = node.links.values()
            to = Eid.parse("ipn:2.2")
            replies = [one async for one in ping(node.port, to, count=2, interval_s=0)]
            assert all(one.rtt_ns is not None for one in replies)
            assert link.figures()["auth.verified"] > 0
            assert link.hints == []

    asyncio.run(main())


def test_a_key_for_everybody_does_not_reach_these_links(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    new_key_file(keys, bytes, "all")
    for files in (ION_FILES, HDTN_FILES):
        (link,) = ours(files).links
        assert make_authenticator(link, "ipn:1.0", load_keys(keys), bytes) is None


def test_fragments_that_ion_made_become_messages(tmp_path: Path) -> None:
    payload = bytes(range(256)) * 4000

    async def main() -> None:
        async with beside(ION_FILES, QUICK_ION, "ipn:2.2", tmp_path) as (node, peer):
            async with Mailbox(node.port) as mailbox:
                peer.send(mailbox.eid, payload, peer.node.with_service("1"))
                delivery = await mailbox.receive()
                assert bytes(delivery.payload) == payload
                await mailbox.done(delivery)
            assert node.counters().get("bundles.dropped_malformed", 0) == 0

    asyncio.run(main())
