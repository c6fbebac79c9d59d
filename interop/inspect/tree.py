"""The tree that a dissection gives, and the walk over octets that grows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.wire import cbor
from stack.wire.bundle import decode_eid
from stack.wire.sdnv import decode_sdnv

NODES_MAX: Final = 20_000
"""Entries of one tree; a report of 100,000 claims is read with other tools."""

PREVIEW_BYTES: Final = 64
"""Octets of data that are shown."""

OK: Final = "ok"
WRONG: Final = "wrong"
NONE: Final = "none"
ERROR: Final = "error"


@dataclass(frozen=True, slots=True)
class Tree:
    """One thing that octets say, and the parts of it."""

    label: str
    value: int | str = ""
    note: str = ""
    """What the value means, in words."""

    offset: int = 0
    """First octet, counted from the start of what was dissected."""

    length: int = 0
    """Octets; 0 for what no octets of their own say."""

    status: str = ""
    """"ok", "wrong" or "none" (no such check) of a check; "error": here reading ended."""

    section: str = ""
    """Where a specification defines it; of an error, the rule that is broken."""

    children: tuple[Tree, ...] = ()

    def walk(self) -> Iterator[Tree]:
        """This and everything below, in the order of reading."""
        pending = [self]
        while pending:
            tree = pending.pop()
            yield tree
            pending.extend(reversed(tree.children))

    def find(self, *labels: str) -> Tree | None:
        """The first entry below with the first label, below it one with the second, and so on."""
        found = self
        for label in labels:
            below = (tree for child in found.children for tree in child.walk())
            match = next((tree for tree in below if tree.label == label), None)
            if match is None:
                return None
            found = match
        return found

    @property
    def errors(self) -> list[Tree]:
        """Where reading ended, and checks that failed."""
        return [tree for tree in self.walk() if tree.status in (ERROR, WRONG)]


class Branch:
    """A tree that still grows."""

    __slots__ = ("children", "label", "length", "note", "offset", "section", "status", "value")

    def __init__(self, label: str, offset: int) -> None:
        self.label = label
        self.offset = offset
        self.length = 0
        self.value: int | str = ""
        self.note = ""
        self.status = ""
        self.section = ""
        self.children: list[Branch] = []

    def freeze(self) -> Tree:
        """The finished tree."""
        return Tree(
            self.label,
            self.value,
            self.note,
            self.offset,
            self.length,
            self.status,
            self.section,
            tuple(child.freeze() for child in self.children),
        )


Words = Callable[[int], str]
"""What a number means."""


class Walk:
    """Reads on through octets; what it reads becomes entries of the branch that is open.

    Methods raise `DecodeError` at what cannot be read; the error then stands in the tree.
    """

    def __init__(self, view: memoryview, label: str) -> None:
        self.view = view
        self.at = 0
        self._breaks: set[int] = set()
        self.root = Branch(label, 0)
        self._open = [self.root]
        self._nodes = 0
        self._blamed: DecodeError | None = None

    # ---- structure -------------------------------------------------------------------------

    def leaf(
        self,
        label: str,
        value: int | str = "",
        start: int | None = None,
        *,
        note: str = "",
        status: str = "",
        section: str = "",
    ) -> Branch:
        """An entry for the octets from `start` to here; without `start` for no octets."""
        leaf = self._grow(label, self.at if start is None else start)
        leaf.length = self.at - leaf.offset
        leaf.value, leaf.note, leaf.status, leaf.section = value, note, status, section
        return leaf

    def blame(self, error: DecodeError) -> None:
        """Say in the open branch why reading ended, once."""
        if error is self._blamed:
            return
        self._blamed = error
        leaf = Branch("error", error.offset if error.offset >= 0 else self.at)
        sections = (branch.section for branch in reversed(self._open) if branch.section)
        leaf.value, leaf.status = error.reason, ERROR
        leaf.section = error.section or next(sections, "")
        self._open[-1].children.append(leaf)

    @contextmanager
    def branch(self, label: str, value: int | str = "", *, section: str = "") -> Iterator[Branch]:
        """What is read inside stands below an entry of its own."""
        branch = self._grow(label, self.at)
        branch.value, branch.section = value, section
        with self._within(branch):
            yield branch
            self._pass_breaks()
            branch.length = self.at - branch.offset

    @contextmanager
    def inside(self, label: str, size: int) -> Iterator[Branch]:
        """A branch of exactly `size` octets.  An error in it ends it and nothing else."""
        end = self._end(size)
        branch = self._grow(label, self.at)
        branch.length = size
        outer, self.view = self.view, self.view[:end]
        with suppress(DecodeError), self._within(branch):
            yield branch
            self._pass_breaks()
            if self.at < end:
                raise DecodeError(f"{end - self.at} octets left over", "", self.at)
        self.view, self.at = outer, end

    @contextmanager
    def _within(self, branch: Branch) -> Iterator[None]:
        """The branch is open; an error is noted in it."""
        self._open.append(branch)
        try:
            yield
        except DecodeError as error:
            branch.length = branch.length or len(self.view) - branch.offset
            self.blame(error)
            raise
        finally:
            self._open.pop()

    def attempt(self, read: Callable[[], None]) -> bool:
        """Call `read`; if it fails, be as if it had not been tried."""
        branch, at, nodes = self._open[-1], self.at, self._nodes
        count, blamed = len(branch.children), self._blamed
        try:
            read()
        except DecodeError:
            del branch.children[count:]
            self.at, self._nodes, self._blamed = at, nodes, blamed
            return False
        return True

    def _grow(self, label: str, offset: int) -> Branch:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise DecodeError(f"more than {NODES_MAX} entries to show", "", offset)
        branch = Branch(label, offset)
        self._open[-1].children.append(branch)
        return branch

    def _end(self, size: int) -> int:
        if size > len(self.view) - self.at:
            raise DecodeError("truncated", "", len(self.view))
        return self.at + size

    # ---- octets ----------------------------------------------------------------------------

    @property
    def left(self) -> int:
        """Octets still to read."""
        return len(self.view) - self.at

    def octet(self, label: str, words: Words | None = None) -> int:
        """One octet as a number."""
        start, self.at = self.at, self._end(1)
        value = self.view[start]
        self.leaf(label, value, start, note=words(value) if words else "")
        return value

    def data(self, label: str, size: int, note: str = "") -> memoryview:
        """`size` octets, shown in part."""
        start, self.at = self.at, self._end(size)
        found = self.view[start : self.at]
        self.leaf(label, preview(found), start, note=note or text_preview(found))
        return found

    def sdnv(self, label: str, words: Words | None = None) -> int:
        """A self-delimiting numeric value."""
        start = self.at
        value, self.at = decode_sdnv(self.view, start)
        self.leaf(label, value, start, note=words(value) if words else "")
        return value

    # ---- CBOR ------------------------------------------------------------------------------

    def array(self, label: str) -> int:
        """The head of an array: number of items.  Raises `DecodeError`."""
        self._pass_breaks()
        start = self.at
        try:
            count, self.at = cbor.read_array(self.view, start, False)
        except cbor.IndefiniteLength:
            count, self.at = 0, start + 1
            end = self.at
            while self.view[end : end + 1] != cbor.BREAK:
                end = cbor.skip_item(self.view, end, False)
                count += 1
                if count > cbor.ITEMS_MAX:
                    raise DecodeError("too many CBOR items", "RFC 8949 §10", end) from None
            self._breaks.add(end)
            self.leaf(label, count, start, note="indefinite length")
        else:
            self.leaf(label, count, start, note=self._form(start, count))
        return count

    def uint(self, label: str, words: Words | None = None) -> int:
        """An unsigned integer."""
        self._pass_breaks()
        start = self.at
        value, self.at = cbor.read_uint(self.view, start, False)
        note = "; ".join(filter(None, (words(value) if words else "", self._form(start, value))))
        self.leaf(label, value, start, note=note)
        return value

    def eid(self, label: str) -> Eid:
        """An endpoint identifier."""
        self._pass_breaks()
        start = self.at
        value, self.at = decode_eid(self.view, start, strict=False)
        self.leaf(label, str(value), start)
        return value

    def item(self, label: str, note: str = "") -> None:
        """A CBOR item of any kind, shown as number, octets or encoding."""
        self._pass_breaks()
        start = self.at
        major, value, end = cbor.read_head(self.view, start, False)
        if major == cbor.UINT:
            self.at = end
            self.leaf(label, value, start, note=note)
        elif major == cbor.BSTR and value != cbor.INDEFINITE:
            found, self.at = cbor.read_bstr(self.view, start, False)
            self.leaf(label, preview(found), start, note=note or f"{value} octets")
        else:
            self.at = cbor.skip_item(self.view, start, False)
            self.leaf(label, preview(self.view[start : self.at]), start, note=note or "CBOR")

    def _pass_breaks(self) -> None:
        """Pass by the ends of arrays of indefinite length that lie here."""
        while self.at in self._breaks:
            self.at += 1

    def _form(self, start: int, value: int) -> str:
        return "" if cbor.head_size(value) == self.at - start else "not in its shortest form"


def preview(data: memoryview) -> str:
    """The first octets in hexadecimal."""
    shown = bytes(data[:PREVIEW_BYTES]).hex()
    return shown + "..." if len(data) > PREVIEW_BYTES else shown


def text_preview(data: memoryview) -> str:
    """The number of octets, and the first of them as text if they look like it."""
    head = bytes(data[:PREVIEW_BYTES])
    size = f"{len(data)} octets"
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or len(data) <= PREVIEW_BYTES:
            return size
        text = head[: error.start].decode()  # a character that the preview cuts
    if not text or not all(char.isprintable() or char in "\n\t\r" for char in text):
        return size
    return f"{size}: {text!r}" + ("..." if len(data) > PREVIEW_BYTES else "")
