"""With whom a node has had keys of LTP authentication, as it remembers that on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stack.core.errors import ConfigError, StoreError
from stack.node.guard import make_authenticator
from stack.node.keyed import FILE, PEERS_MAX, KeyedPeers
from stack.security.keys import KeyRing
from tests.node.test_guard import A, B, link


def has(folder: Path, *peers: str) -> list[bool]:
    """What a node that starts now remembers."""
    links = [link(peer) for peer in peers]
    keyed = KeyedPeers(folder, links)
    return [keyed.has(one) for one in links]


def test_who_has_had_keys_is_on_disk_when_that_returns(tmp_path: Path) -> None:
    keyed = KeyedPeers(tmp_path / "data", [link(B), link("ipn:2.0")])
    keyed.note([link(B)])
    assert has(tmp_path / "data", B, "ipn:2.0") == [True, False]
    assert (tmp_path / "data" / FILE).stat().st_mode & 0o077 == 0
    keyed.note([link("ipn:0.2.0")])  # the same node
    keyed.note([])
    assert has(tmp_path / "data", "ipn:2.0") == [True]


@pytest.mark.parametrize("word", ["off", "null"])
def test_a_neighbour_is_forgotten_by_the_operators_word_for_all_its_links(
    tmp_path: Path, word: str
) -> None:
    KeyedPeers(tmp_path, [link(B)]).note([link(B)])
    KeyedPeers(tmp_path, [link(B, word), link(B)]).note([link(B, word)] * (word == "null"))
    assert has(tmp_path, B) == [True]
    KeyedPeers(tmp_path, [link("ipn:3.0", word)]).note([])  # says nothing of others
    assert has(tmp_path, B) == [True]
    KeyedPeers(tmp_path, [link(B, word)]).note([link(B, word)] * (word == "null"))
    assert has(tmp_path, B) == [False]


def test_a_disk_that_takes_no_note_says_so_and_is_asked_again(tmp_path: Path) -> None:
    keyed = KeyedPeers(tmp_path, [link(B)])
    (tmp_path / (FILE + ".new")).mkdir()
    with pytest.raises(StoreError, match=FILE):
        keyed.note([link(B)])
    told: list[str] = []
    keyed.attempt([link(B)], lambda event, _: told.append(event))
    assert told == ["links_not_noted"]
    (tmp_path / (FILE + ".new")).rmdir()
    keyed.note([link(B)])
    assert has(tmp_path, B) == [True]


def test_those_without_a_link_are_forgotten_where_there_are_too_many(tmp_path: Path) -> None:
    peers = [f"ipn:{number}.0" for number in range(1, PEERS_MAX + 1)]
    (tmp_path / FILE).write_text(json.dumps(peers))
    KeyedPeers(tmp_path, [link("ipn:1.0"), link(B)]).note([link(B)])
    assert has(tmp_path, "ipn:1.0", "ipn:2.0", "ipn:3.0", B) == [True, False, True, True]


@pytest.mark.parametrize("octets", [b"", b"\xff", b"{}", b"[1]", b'["no"]', b"[" * 5000])
def test_a_note_that_cannot_be_read_stops_the_node(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / FILE).write_bytes(octets)
    with pytest.raises(ConfigError, match='"off", then remove it'):
        KeyedPeers(tmp_path, [])


def test_what_a_link_is_without_keys_depends_on_whether_it_had_any() -> None:
    alone, member = KeyRing(()), KeyRing((), A, elsewhere=lambda _: None)
    apart = KeyRing((), A, elsewhere=lambda node: False if node == B else None)
    for ring, states in (
        (alone, ["off", "shut"]),
        (member, ["open", "shut"]),
        (apart, ["open"] * 2),
    ):
        found = [
            make_authenticator(link(B), A, ring, bytes, was_keyed=was_keyed)
            for was_keyed in (False, True)
        ]
        assert ["off" if one is None else one.state for one in found] == states
