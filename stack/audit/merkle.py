"""The Merkle tree of a log (RFC 9162 §2.1): roots, and proofs of inclusion and of consistency.

A tree only grows.  `Peaks` is all that is needed to go on with one, some 32 octets for each
doubling of its size; `MerkleTree` keeps every hash from some size on, and proves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from stack.core.errors import DecodeError, LocalError, SecurityError

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
SIZE_MAX = (1 << 63) - 1
PATH_MAX = 63
"""Hashes of a path through a tree of `SIZE_MAX` leaves."""

_SECTION = "RFC 9162 §2.1"


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf (RFC 9162 §2.1.1)."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of what has two children (RFC 9162 §2.1.1)."""
    return sha256(b"\1" + left + right).digest()


class Peaks:
    """The hashes of the whole subtrees of which a tree is made, the largest first."""

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """Raises `DecodeError` for hashes that are not those of a tree of `size` leaves."""
        if not 0 <= size <= SIZE_MAX or len(hashes) != size.bit_count():
            raise DecodeError(f"{len(hashes)} peaks of a tree of {size} leaves", _SECTION)
        if any(len(each) != HASH_BYTES for each in hashes):
            raise DecodeError(f"a hash has {HASH_BYTES} octets", _SECTION)
        self.size = size
        self.hashes = [bytes(each) for each in hashes]

    def copy(self) -> Peaks:
        """The same once more: adding to it leaves this one as it is."""
        return Peaks(self.size, self.hashes)

    def add(self, entries: Iterable[bytes]) -> None:
        """Append entries."""
        new = [sha256(b"\0" + entry).digest() for entry in entries]
        size, self.size = self.size, self.size + len(new)
        peaks: list[bytes] = []
        while new:  # level by level: the odd one at the end of each is a peak
            if size & 1:
                new.insert(0, self.hashes.pop())
            if len(new) & 1:
                peaks.append(new.pop())
            new = _parents(new)
            size >>= 1
        self.hashes += reversed(peaks)

    def root(self) -> bytes:
        """The root of the tree."""
        return _folded(self.hashes)


class MerkleTree:
    """Every hash of a tree from `base` on.  Of what lies before it knows the peaks: enough for
    whatever is proven of leaves and sizes from there on."""

    def __init__(self, base: Peaks | None = None) -> None:
        base = base or Peaks()
        self.base = base.size
        self.size = base.size
        self._levels: list[list[bytes]] = []
        self._firsts: list[int] = []
        """Of each level the number of the first node that is kept."""
        peaks = list(reversed(base.hashes))
        for level in range(max(1, base.size.bit_length())):
            peak = base.size >> level & 1
            self._levels.append([peaks.pop(0)] if peak else [])
            self._firsts.append((base.size >> level) - peak)

    def add(self, entries: Iterable[bytes]) -> None:
        """Append entries."""
        self.add_hashes([sha256(b"\0" + entry).digest() for entry in entries])

    def add_hashes(self, leaves: Sequence[bytes]) -> None:
        """Append leaves of which the hashes are known."""
        before, self.size = self.size, self.size + len(leaves)
        new: Sequence[bytes] = leaves
        level = 0
        while new:
            if level == len(self._levels):
                self._levels.append([])
                self._firsts.append(0)
            nodes = self._levels[level]
            nodes += new
            # The pairs that have become whole by these.
            first = (before >> level + 1 << 1) - self._firsts[level]
            pairs = (self.size >> level + 1) - (before >> level + 1)
            of = nodes[first : first + 2 * pairs]
            new = _parents(of)
            level += 1

    def peaks(self) -> Peaks:
        """What is needed to go on from here."""
        levels = reversed(range(self.size.bit_length()))
        hashes = [self._node(n, (self.size >> n) - 1) for n in levels if self.size >> n & 1]
        return Peaks(self.size, hashes)

    def root(self, size: int | None = None) -> bytes:
        """The root that the tree had at `size`.  Raises `LocalError` when it never had that size,
        or what is needed for it is gone."""
        size = self.size if size is None else size
        if not 0 <= size <= self.size:
            raise LocalError(f"a tree of {self.size} leaves never had {size}")
        return self._over(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The path from a leaf to the root at `size` (RFC 9162 §2.1.3.1).  Raises `LocalError` as
        `root` does."""
        if not self.base <= index < size <= self.size:
            raise LocalError(f"leaf {index} of {size}: {self.base} to {self.size} are here")
        begin, end = 0, size
        path: list[bytes] = []
        while end - begin > 1:
            middle = begin + _split(end - begin)
            if index < middle:
                path.append(self._over(middle, end))
                end = middle
            else:
                path.append(self._over(begin, middle))
                begin = middle
        path.reverse()
        return path

    def consistency(self, old: int, size: int) -> list[bytes]:
        """The proof that the tree of `size` continues that of `old` (RFC 9162 §2.1.4.1).  Raises
        `LocalError` as `root` does."""
        if not 0 < old <= size <= self.size:
            raise LocalError(f"no proof from {old} to {size} in a tree of {self.size} leaves")
        begin, end = 0, size
        path: list[bytes] = []
        while old < end:
            middle = begin + _split(end - begin)
            if old <= middle:
                path.append(self._over(middle, end))
                end = middle
            else:
                path.append(self._over(begin, middle))
                begin = middle
        if begin:
            path.append(self._over(begin, end))
        path.reverse()
        return path

    def _node(self, level: int, number: int) -> bytes:
        index = number - self._firsts[level] if level < len(self._levels) else -1
        if index < 0:
            raise LocalError(f"the log below leaf {self.base} is not here any more")
        return self._levels[level][index]

    def _over(self, begin: int, end: int) -> bytes:
        """The root over some leaves, from a multiple of the power of two that spans them on."""
        hashes = []
        while begin < end:
            level = (end - begin).bit_length() - 1
            hashes.append(self._node(level, begin >> level))
            begin += 1 << level
        return _folded(hashes)


def _parents(nodes: Sequence[bytes]) -> list[bytes]:
    """The hashes of what has these as children, two and two."""
    pairs = zip(nodes[::2], nodes[1::2], strict=True)
    return [sha256(b"\1" + left + right).digest() for left, right in pairs]


def _folded(hashes: Sequence[bytes]) -> bytes:
    if not hashes:
        return EMPTY_ROOT
    found = hashes[-1]
    for left in reversed(hashes[:-1]):
        found = node_hash(left, found)
    return found


def _split(count: int) -> int:
    """The largest power of two below `count` (RFC 9162 §2.1.1)."""
    return 1 << (count - 1).bit_length() - 1


def root_by_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root to which a path of inclusion leads from the hash of a leaf (RFC 9162 §2.1.3.2).
    Raises `SecurityError` for a path that leads nowhere."""
    if not 0 <= index < size <= SIZE_MAX:
        raise SecurityError(f"leaf {index} cannot be in a tree of {size}")
    at, last, found = index, size - 1, leaf
    for each in path:
        if len(each) != HASH_BYTES or not last:
            raise SecurityError("the path of inclusion has a hash too many, or one that is none")
        if at & 1 or at == last:
            found = node_hash(each, found)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            found = node_hash(found, each)
        at >>= 1
        last >>= 1
    if last:
        raise SecurityError("the path of inclusion ends before the root")
    return found


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> None:
    """Raise `SecurityError` unless the leaf of hash `leaf` is that of `index` in the tree of `size`
    leaves and this root (RFC 9162 §2.1.3.2)."""
    if root_by_path(leaf, index, size, path) != root:
        raise SecurityError(f"leaf {index} is not what the root of {size} leaves says")


def verify_consistency(
    old: int, size: int, old_root: bytes, root: bytes, path: Sequence[bytes]
) -> None:
    """Raise `SecurityError` unless the tree of `size` leaves and `root` continues that of `old`
    leaves and `old_root` (RFC 9162 §2.1.4.2)."""
    wrong = SecurityError(f"the log of {size} entries does not continue that of {old}")
    if not 0 <= old <= size <= SIZE_MAX or any(len(each) != HASH_BYTES for each in path):
        raise wrong
    if old in (0, size):
        if path or old_root != (root if old else EMPTY_ROOT):
            raise wrong
        return
    hashes = list(path)
    if not old & (old - 1):
        hashes.insert(0, old_root)
    if not hashes:
        raise wrong
    at, last = old - 1, size - 1
    while at & 1:
        at >>= 1
        last >>= 1
    first = second = hashes[0]
    for each in hashes[1:]:
        if not last:
            raise wrong
        if at & 1 or at == last:
            first = node_hash(each, first)
            second = node_hash(each, second)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            second = node_hash(second, each)
        at >>= 1
        last >>= 1
    if last or first != old_root or second != root:
        raise wrong
