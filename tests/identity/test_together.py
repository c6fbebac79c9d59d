"""Several commands at one time in one folder: nothing is lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interop.strategies.nearly_certificate import NOW_MS
from stack.core.eid import Eid
from stack.core.errors import ConfigError
from stack.identity import AuthorityFolder, NodeFolder, disk, pem
from tests.identity.test_folder import approve, begun, domain, nothing
from tests.identity.worlds import known

SAT = Eid.parse("dtn://sat1/")


def together(works: Sequence[Callable[[], object]]) -> list[bool]:
    """All of these, as near to one time as can be; of each whether it was done, and not refused.

    Threads are as good as processes: each call opens the folder for itself."""
    start = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> bool:
        start.wait(60)
        try:
            work()
        except ConfigError:
            return False
        return True

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def test_no_approval_and_no_revocation_is_lost(tmp_path: Path) -> None:
    authority = domain(tmp_path)
    nodes = [begun(tmp_path, f"dtn://sat{number}/") for number in range(6)]
    for node in nodes[:3]:
        approve(authority, node)

    def revoke(node: NodeFolder) -> Callable[[], object]:
        subject = str(node.request().node)
        return lambda: authority.revoke(authority.unlock(nothing), subject, NOW_MS)

    def give(node: NodeFolder) -> Callable[[], object]:
        return lambda: approve(authority, node)

    works = [*map(revoke, nodes[:3]), *map(give, nodes[3:])]
    assert together(works) == [True] * 6
    trust = authority.trust()
    assert set(known(trust)) == {f"dtn://sat{number}/" for number in range(3, 6)}
    assert len(list(trust.nodes())) == 6
    listed = trust.revocations("kari")
    assert listed is not None
    assert len(list(listed)) == 3


def test_of_two_that_make_keys_in_one_folder_one_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "sat1"

    def begin() -> object:
        node = NodeFolder(path)
        return node.begin(SAT, jurisdictions=[], roles=[], passphrase=b"", entropy=os.urandom)

    assert sorted(together([begin] * 4)) == [False, False, False, True]
    node = NodeFolder(path)
    node.accept(approve(domain(tmp_path), node), NOW_MS)
    assert node.unlock(nothing).node == SAT


def test_the_newer_of_two_updates_stays(tmp_path: Path) -> None:
    authority, node = domain(tmp_path), begun(tmp_path)
    node.accept(approve(authority, node), NOW_MS)
    files = []
    for number in range(4):
        approve(authority, begun(tmp_path, f"dtn://gs{number}/"))
        files.append(pem.encode(authority.export()).encode())

    def take(octets: bytes) -> Callable[[], object]:
        return lambda: node.accept(octets, NOW_MS)

    assert together([take(octets) for octets in files]) == [True] * 4
    assert len(known(node.trust())) == 5


def test_a_folder_that_others_have_things_in_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("x")
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match="choose a folder of its own"):
        AuthorityFolder(tmp_path).create("kari", passphrase=b"", entropy=os.urandom, now_ms=NOW_MS)
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert disk.where_keys_are(tmp_path) == {}
