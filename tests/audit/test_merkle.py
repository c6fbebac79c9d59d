"""The tree of RFC 9162: the vectors of the Certificate Transparency test suite, and its laws."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from interop.strategies import audit
from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from stack.audit.merkle import (
    EMPTY_ROOT,
    MerkleTree,
    Peaks,
    leaf_hash,
    root_by_path,
    verify_consistency,
    verify_inclusion,
)
from stack.core.errors import DecodeError, LocalError, SecurityError

# github.com/transparency-dev/merkle, testonly/constants.go: leaves, and the root at each size.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
LEAVES += ["606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
NODES = {  # the same file: hashes of whole subtrees by level and number
    (0, 1): "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    (0, 4): "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    (0, 5): "4271a26be0d8a84f0bd54c8c302e7cb3a3b5d1fa6780a40bcce2873477dab658",
    (0, 6): "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
    (1, 0): "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    (1, 1): "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    (1, 2): "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    (1, 3): "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    (2, 0): "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    (2, 1): "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
}


def test_the_vectors_of_certificate_transparency() -> None:
    tree, peaks = MerkleTree(), Peaks()
    assert tree.root() == peaks.root() == EMPTY_ROOT == bytes.fromhex(ROOTS[0])
    for size, leaf in enumerate(LEAVES, 1):
        tree.add([bytes.fromhex(leaf)])
        peaks.add([bytes.fromhex(leaf)])
        assert tree.root().hex() == peaks.root().hex() == ROOTS[size]
    # The proofs that their tests expect of this tree, made of the hashes of its nodes.
    paths = {
        (0, 8): [(0, 1), (1, 1), (2, 1)],
        (5, 8): [(0, 4), (1, 3), (2, 0)],
        (1, 5): [(1, 1), (0, 4)],
    }
    for (index, size), nodes in paths.items():
        if index == 1:
            assert [each.hex() for each in tree.inclusion(index, size)][1:] == [
                NODES[1, 1],
                NODES[0, 4],
            ]
        else:
            assert [each.hex() for each in tree.inclusion(index, size)] == [NODES[n] for n in nodes]
    assert [each.hex() for each in tree.consistency(6, 8)] == [
        NODES[n] for n in [(1, 2), (1, 3), (2, 0)]
    ]
    assert [each.hex() for each in tree.consistency(2, 5)] == [NODES[1, 1], NODES[0, 4]]
    assert [each.hex() for each in tree.consistency(1, 8)] == [
        NODES[n] for n in [(0, 1), (1, 1), (2, 1)]
    ]


@settings(max_examples=60)
@given(audit.log())
def test_every_prefix_is_consistent_and_holds_its_leaves(log: audit.Log) -> None:
    tree = log.tree(log.old)
    peaks = Peaks()
    peaks.add(log.entries[: log.old])
    whole = log.tree()
    for known in (whole, tree):
        path = known.consistency(log.old, log.size)
        verify_consistency(log.old, log.size, peaks.root(), whole.root(log.size), path)
    for index in range(log.old, log.size):
        leaf = leaf_hash(log.entries[index])
        path = tree.inclusion(index, log.size)
        assert path == whole.inclusion(index, log.size)
        verify_inclusion(leaf, index, log.size, path, whole.root(log.size))
    assert tree.peaks().hashes == whole.peaks().hashes
    assert Peaks(tree.size, tree.peaks().hashes).root() == whole.root()


@settings(max_examples=60)
@given(audit.log())
def test_what_was_edited_is_found(log: audit.Log) -> None:
    tree = log.tree()
    edited = log._replace(entries=(log.entries[0] + b"!", *log.entries[1:])).tree()
    assert edited.root(log.old) != tree.root(log.old)
    path = edited.consistency(log.old, log.size)
    with pytest.raises(SecurityError):
        verify_consistency(log.old, log.size, tree.root(log.old), edited.root(log.size), path)
    path = tree.inclusion(log.old - 1, log.size)
    with pytest.raises(SecurityError):
        verify_inclusion(leaf_hash(b"other"), log.old - 1, log.size, path, tree.root(log.size))


@strategy
def nearly_proof(choose: Choices) -> tuple[audit.Log, list[bytes], int, int]:
    """A log, and a proof of consistency with something wrong, and sizes that may be."""
    log = audit.log.make(choose)
    path = log.tree().consistency(log.old, log.size)
    old, size = log.old, log.size
    match choose.integer(0, 4):
        case 0:
            path.insert(choose.integer(0, len(path)), choose.pick((b"", bytes(32), bytes(33))))
        case 1 if path:
            del path[choose.integer(0, len(path) - 1)]
        case 2 if path:
            path[choose.integer(0, len(path) - 1)] = choose.octets(32, 32)
        case 3:
            old = choose.integer(0, 64)
        case _:
            size = choose.integer(0, 64)
    return log, path, old, size


@settings(max_examples=200)
@given(nearly_proof())
def test_a_proof_that_is_nearly_one_proves_what_is_so_or_nothing(
    case: tuple[audit.Log, list[bytes], int, int],
) -> None:
    log, path, old, size = case
    tree = log.tree()
    sizes = len(log.entries) >= max(old, size)
    first = tree.root(log.old)
    second = tree.root(log.size)
    try:
        verify_consistency(old, size, first, second, path)
    except SecurityError:
        return
    # Roots alone do not say of how many leaves they are; what was proven is true of these.
    assert old <= size
    assert not sizes or path == tree.consistency(log.old, log.size) or first == second


def test_what_is_gone_is_said_to_be() -> None:
    peaks = Peaks()
    peaks.add([b"a", b"b", b"c"])
    tree = MerkleTree(peaks)
    tree.add([b"d"])
    with pytest.raises(LocalError, match="leaf 2 of 4"):
        tree.inclusion(2, 4)
    with pytest.raises(LocalError, match="not here any more"):
        tree.root(1)
    with pytest.raises(LocalError, match="never had 5"):
        tree.root(5)
    for size, hashes in ((3, [bytes(32)]), (1, [bytes(31)]), (-1, [])):
        with pytest.raises(DecodeError):
            Peaks(size, hashes)
    with pytest.raises(SecurityError):
        root_by_path(bytes(32), 0, 2, [])
    with pytest.raises(SecurityError):
        root_by_path(bytes(32), 2, 2, [bytes(32)])
