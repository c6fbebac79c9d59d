"""A key file is read anew while its node runs: keys change without a gap, and what is wrong with
the file changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from link_models.clock import run_virtual
from stack.core.errors import ConfigError
from stack.node.node import Node
from stack.security import new_key_file
from stack.services.messages import Mailbox, send_message
from tests.node.test_link_keys import OPTIONS, a_message_crosses, dropped
from tests.node.test_two_nodes import SAT, channel, loop
from tests.node.world import SeededEntropy, World
from tests.security.test_pinned import Folder
from tests.security.test_pinned_chains import LISTED, chain, lists_of

KINDS = ("aes", "hmac", "ltp")


def entries(name: str, peer: str = "*") -> str:
    """A set of keys, as a file has them."""
    path = Path(name)
    new_key_file(path, SeededEntropy(name), name, [peer])
    text = path.read_text()
    path.unlink()
    return text


def pair(world: World, **options: Any) -> tuple[Node, Node]:
    """Two nodes, each with a key file of its own."""
    world.connect("gs1", "sat1", channel())
    nodes = []
    for name, peer in (("gs1", "sat1"), ("sat1", "gs1")):
        world.keys = world.root / f"{name}.toml"
        write(world, name, world.root.joinpath("keys.toml").read_text())
        nodes.append(world.node(name, [world.link(name, peer, **options)]))
    return nodes[0], nodes[1]


def write(world: World, name: str, text: str) -> None:
    path = world.root / f"{name}.toml"
    path.write_text(text)
    path.chmod(0o600)


def test_a_secret_changes_without_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        world = World(loop(), tmp_path)
        old, new = (tmp_path / "keys.toml").read_text(), entries("next")
        async with (nodes := pair(world, **OPTIONS))[0] as ground, nodes[1] as satellite:
            await a_message_crosses(ground, satellite)
            both = ((ground, "gs1"), (satellite, "sat1"))
            told = []
            for text in (old + new, new + old, new):
                for node, name in both:
                    write(world, name, text)
                    before = node.keys.ring.keys
                    would = node.keys.reload(dry_run=True)
                    assert node.keys.ring.keys is before
                    assert node.keys.reload() == would
                    told.append(would[1:])
                    await a_message_crosses(ground, satellite)
            fresh, past = (tuple(f"{name}-{kind}" for kind in KINDS) for name in ("next", "test"))
            added, moved = (fresh, (), (), False, ()), ((), (), (), True, ())
            taken = ((), past, (), False, ())
            assert told == [added, added, moved, moved, taken, taken]
            assert satellite.keys.table()[0]["id"] == "next-aes"
            assert dropped(ground) == dropped(satellite) == 0
            # Who has the old ones alone is heard no more.
            write(world, "gs1", old)
            ground.keys.reload()
            await send_message(ground.port, "dtn://sat1/messages", b"not any more")
            await ground.port.sleep(1.0)
            assert dropped(satellite) > 0

    run_virtual(main)


def test_a_link_gets_its_first_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        world = World(loop(), tmp_path)
        shared = (tmp_path / "keys.toml").read_text()
        without = shared[: shared.index('id = "test-ltp"')].rpartition("[[key]]")[0]
        (tmp_path / "keys.toml").write_text(without)
        async with (nodes := pair(world, rate_bps=10e6, owlt_ms=5.0))[0] as ground, nodes[1] as sat:
            await a_message_crosses(ground, sat)
            assert ground.counters()["link.sat1.auth.signed"] == 0
            for node, name in ((ground, "gs1"), (sat, "sat1")):
                write(world, name, shared)
                assert node.keys.reload().new == ("test-ltp",)
            await a_message_crosses(ground, sat)
            assert ground.counters()["link.sat1.auth.signed"] > 70

    run_virtual(main)


@pytest.mark.parametrize("authentication", ["auto", "on"])
def test_a_link_whose_last_key_is_taken_out_is_shut_until_it_gets_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authentication: str
) -> None:
    """Who has learnt the secret gets nothing in any more, and nothing passes without one."""
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        world = World(loop(), tmp_path)
        shared = (tmp_path / "keys.toml").read_text()
        without = shared[: shared.index('id = "test-ltp"')].rpartition("[[key]]")[0]
        nodes = pair(world, **OPTIONS | {"authentication": authentication})
        async with nodes[0] as ground, nodes[1] as satellite:
            await a_message_crosses(ground, satellite)
            write(world, "sat1", without)
            before = satellite.keys.ring.keys
            would = satellite.keys.reload(dry_run=True)
            assert (would.gone, would.shut) == (("test-ltp",), ("dtn://gs1/",))
            assert satellite.keys.ring.keys is before
            await a_message_crosses(ground, satellite)
            assert satellite.keys.reload() == would
            link = satellite.links["gs1"]
            assert link.state == "shut"
            assert not link.trusted
            assert "no ltp key for dtn://gs1/ any more" in link.hints[0]
            verified = satellite.counters()["link.gs1.auth.verified"]
            await send_message(ground.port, SAT.with_service("messages"), b"later")
            await ground.port.sleep(10.0)
            assert satellite.counters()["link.gs1.auth.verified"] == verified
            assert satellite.keys.reload().shut == ()  # it is shut already
            write(world, "sat1", shared)
            assert satellite.keys.reload().shut == ()
            async with Mailbox(satellite.port) as mailbox:
                delivery = await mailbox.receive()
                assert bytes(delivery.payload) == b"later"
                await mailbox.done(delivery)

    run_virtual(main)


@pytest.mark.parametrize(
    ("text", "mode", "complaint"),
    [
        ("[[key]", 0o600, "line 1"),
        ("", 0o600, "no \\[\\[key\\]\\]"),
        ("[[key]]\nid = 'k'\nkind = 'aes'\nsecret = '00'\n", 0o600, "secret"),
        (None, 0o600, "No such file"),
        ("[[key]]\n", 0o644, "others may read"),
    ],
)
def test_what_is_wrong_changes_nothing(
    tmp_path: Path, text: str | None, mode: int, complaint: str
) -> None:
    async def main() -> None:
        world = World(loop(), tmp_path)
        async with (nodes := pair(world, **OPTIONS))[0] as ground, nodes[1] as satellite:
            path = tmp_path / "sat1.toml"
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
                path.chmod(mode)
            before = satellite.keys.ring.keys
            with pytest.raises(ConfigError, match=complaint):
                satellite.keys.reload()
            assert satellite.keys.ring.keys is before
            await a_message_crosses(ground, satellite)

    run_virtual(main)


def test_a_node_without_a_key_file_says_where_its_keys_come_from(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(loop(), tmp_path, protect=False)
        world.connect("gs1", "sat1", channel())
        async with world.node("gs1", [world.link("gs1", "sat1")]) as node:
            with pytest.raises(ConfigError, match="this node has none"):
                node.keys.reload()

    run_virtual(main)


def test_a_revocation_list_that_is_brought_holds(tmp_path: Path) -> None:
    path, folder = chain({}), Folder(tmp_path)

    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", channel())
        folder.text = world.keys.read_text()
        folder.write("authority.pem", path[-1].pem)
        folder.write("lists.pem", lists_of(path, 8))
        folder.key("public", path[0].pem, LISTED)
        pinned = folder.keys()[-1].id
        async with world.node("gs1", [world.link("gs1", "sat1")]) as node:
            assert node.keys.reload()[1:] == ((), (), (), False, ())
            folder.write("lists.pem", lists_of(path, 7))
            assert node.keys.reload()[1:] == ((), (), (pinned,), False, ())
            refusal = node.keys.ring.refusal(node.keys.ring.keys[-1])
            assert "CN=ca0 has revoked that of CN=exit" in str(refusal)

    run_virtual(main)


def test_a_link_that_had_keys_is_shut_without_them_after_a_restart_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it gets some, or the configuration says that there is to be no authentication."""
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        world = World(loop(), tmp_path)
        shared = (tmp_path / "keys.toml").read_text()
        without = shared[: shared.index('id = "test-ltp"')].rpartition("[[key]]")[0]
        world.connect("gs1", "sat1", channel())
        world.keys = tmp_path / "sat1.toml"

        async def started(text: str, authentication: str = "auto", reloaded: str = "") -> str:
            write(world, "sat1", text)
            link = world.link("sat1", "gs1", **OPTIONS | {"authentication": authentication})
            async with world.node("sat1", [link]) as node:
                if reloaded:
                    write(world, "sat1", reloaded)
                    node.keys.reload()
                (found,) = node.links.values()
                if found.state == "shut":
                    assert "no ltp key for dtn://gs1/ any more" in found.hints[0]
                    assert not found.trusted
                guard = found.guard
                return "off" if guard is None else guard.state

        assert await started(without) == "open"  # it never had a key
        assert await started(without, reloaded=shared) == "keyed"
        assert await started(without) == "shut"
        assert await started(without, reloaded=without) == "shut"
        assert await started(without, reloaded=shared) == "keyed"
        assert await started(shared, reloaded=without) == "shut"
        assert await started(without) == "shut"
        assert await started(without, "off") == "off"
        assert await started(without) == "open"
        assert await started(shared) == "keyed"
        assert await started(without, "null") == "keyed"  # everybody's key
        assert await started(without) == "open"

    run_virtual(main)
