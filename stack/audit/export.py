"""Logs as files, one JSON object a line, and what is found when such files are checked.

{"orbitferry-audit": 1, "origin": ..., "vkey": ..., "first": 0, "peaks": [...]}
{"voucher": "..."}      that the log is its node's (`stack.security.vouchers`), base64
{"checkpoint": "..."}   a checkpoint of this log, as it was signed
{"seen": "..."}         one of another log that this node has cosigned
{"event": "..."}        an entry, base64, in order from number `first` on
{"gap": {"first": 280, "peaks": [...]}}     entries are not here; from that number on it goes on
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stack.audit.event import AuditEvent, decode_event
from stack.audit.log import node_of
from stack.audit.merkle import MerkleTree, Peaks
from stack.audit.note import (
    NOTE_BYTES_MAX,
    LogCheckpoint,
    NoteKey,
    SignedNote,
    open_checkpoint,
)
from stack.audit.others import at_once, said_beside, seen_by
from stack.core.errors import DecodeError, LocalError, SecurityError

FORMAT = "orbitferry-audit"
NEVER_MS = 1 << 64
LINE_BYTES_MAX = 3 * NOTE_BYTES_MAX
"""A note whose text is all quotation marks is twice as long in JSON."""

_SECTION = "docs/audit.md"


class LogPart(NamedTuple):
    """Entries that follow one another, and the peaks of all that was before the first of them."""

    base: Peaks
    events: list[bytes]

    @property
    def size(self) -> int:
        """How many entries the log has up to the end of this part."""
        return self.base.size + len(self.events)


@dataclass(slots=True)
class LogExport:
    """A log, or what is left of it, with the checkpoints that are known of it and of others.

    Where a disk has damaged entries, it goes on behind them: `base` and `events` are of what
    follows the last of these, and all that is proven of an entry is proven by that."""

    origin: str
    key: NoteKey
    base: Peaks
    """Of what was pruned before the first event here."""

    events: list[bytes] = field(default_factory=list)
    checkpoints: list[bytes] = field(default_factory=list)
    seen: list[bytes] = field(default_factory=list)
    voucher: bytes = b""
    """What the identity of its node says of the key, if anything."""

    earlier: list[LogPart] = field(default_factory=list)
    """What is before each gap."""

    _tree: MerkleTree | None = None
    _decoded: list[AuditEvent] | None = None

    @property
    def node(self) -> str:
        """Whose log it is."""
        return node_of(self.origin)

    @property
    def size(self) -> int:
        """How many entries the log has, with those that were pruned."""
        return self.base.size + len(self.events)

    @property
    def begun_ms(self) -> int:
        """When the first entry that is here was written down; beyond all times without one."""
        with contextlib.suppress(DecodeError):
            return next((event.time_ms for _, event in self.numbered()), NEVER_MS)
        return NEVER_MS

    @property
    def parts(self) -> list[LogPart]:
        """All entries that are here."""
        return [*self.earlier, LogPart(self.base, self.events)]

    @property
    def gaps(self) -> list[range]:
        """The numbers of the entries that are not here, though later ones are."""
        parts = self.parts
        return [range(a.size, b.base.size) for a, b in itertools.pairwise(parts)]

    def resume(self, base: Peaks) -> None:
        """Go on behind a gap.  Raises `DecodeError` for what is no later state of the log."""
        if base.size <= self.size:
            raise DecodeError(f"a gap before entry {base.size}, which is here", _SECTION)
        if self.events or not self.earlier:
            self.earlier.append(LogPart(self.base, self.events))
        self.base, self.events = base, []

    def tree(self) -> MerkleTree:
        """The tree over it."""
        if self._tree is None:
            self._tree = MerkleTree(self.base)
            self._tree.add(self.events)
        return self._tree

    def decoded(self) -> list[AuditEvent]:
        """Its entries.  Raises `DecodeError` for octets that are none."""
        if self._decoded is None:
            self._decoded = [decode_event(event) for event in self.events]
        return self._decoded

    def numbered(self) -> Iterator[tuple[int, AuditEvent]]:
        """All entries that are here, before gaps too, with their numbers.  Raises as `decoded`."""
        for part in self.earlier:
            yield from enumerate(map(decode_event, part.events), part.base.size)
        yield from enumerate(self.decoded(), self.base.size)

    def newest(self) -> SignedNote:
        """The last checkpoint that this log has signed.  Raises `DecodeError`, `SecurityError`."""
        best: tuple[int, SignedNote] | None = None
        for octets in self.checkpoints:
            if not octets.startswith(f"{self.origin}\n".encode()):
                continue  # of one that its node had before
            note, checkpoint = open_checkpoint(octets, self.key)
            if best is None or checkpoint.size >= best[0]:
                best = checkpoint.size, note
        if best is None:
            raise SecurityError(f"{self.origin} has no checkpoint yet")
        return best[1]

    def lines(self) -> Iterator[str]:
        """The file."""
        yield _line(
            {
                FORMAT: 1,
                "origin": self.origin,
                "vkey": str(self.key),
                **json_of_peaks(self.parts[0].base),
            }
        )
        if self.voucher:
            yield _line({"voucher": base64.b64encode(self.voucher).decode()})
        for name, notes in (("checkpoint", self.checkpoints), ("seen", self.seen)):
            for note in notes:
                yield _line({name: note.decode()})
        for number, part in enumerate(self.parts):
            if number:
                yield _line({"gap": json_of_peaks(part.base)})
            for event in part.events:
                yield _line({"event": base64.b64encode(event).decode()})


def json_of_peaks(base: Peaks) -> dict[str, Any]:
    """The state of a tree before the first entry that follows."""
    return {"first": base.size, "peaks": [each.hex() for each in base.hashes]}


def peaks_of_json(fields: dict[str, Any]) -> Peaks:
    """Inverse of `json_of_peaks`.  Raises `DecodeError`, and as `int` and `bytes.fromhex` do."""
    return Peaks(int(fields["first"]), [bytes.fromhex(each) for each in fields["peaks"]])


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False) + "\n"


def read_export(lines: Iterable[bytes]) -> LogExport:
    """Inverse of `LogExport.lines`.  Raises `DecodeError`."""
    found: LogExport | None = None
    for number, line in enumerate(lines, 1):
        fields = _fields(line, number)
        try:
            if found is None:
                found = _head(fields)
            elif "event" in fields:
                found.events.append(base64.b64decode(fields["event"], validate=True))
            elif "gap" in fields:
                found.resume(peaks_of_json(fields["gap"]))
            elif "voucher" in fields:
                found.voucher = base64.b64decode(fields["voucher"], validate=True)
            elif "checkpoint" in fields:
                found.checkpoints.append(fields["checkpoint"].encode())
            elif "seen" in fields:
                found.seen.append(fields["seen"].encode())
            else:
                raise ValueError
        except (ValueError, OverflowError, TypeError, KeyError, AttributeError):
            raise DecodeError(f"line {number} is none of an export", _SECTION) from None
    if found is None:
        raise DecodeError("an empty file", _SECTION)
    return found


def merged(exports: Iterable[LogExport]) -> list[LogExport]:
    """Exports of one log, made one after the other as its beginning was pruned, as one.  Those that
    do not fit together stay as they are: it is said of each what is wrong."""
    found: list[LogExport] = []
    for export in sorted(exports, key=lambda each: (each.parts[0].base.size, each.size)):
        for at, other in enumerate(found):
            if (whole := _joined(other, export)) is not None:
                found[at] = whole
                break
        else:
            found.append(export)
    return found


def _joined(first: LogExport, second: LogExport) -> LogExport | None:
    """Two exports of a log as one, unless they differ or something is missing in between."""
    if (first.origin, first.key) != (second.origin, second.key):
        return None
    parts: list[LogPart] = []
    for part in sorted((*first.parts, *second.parts), key=lambda each: each.base.size):
        if not parts or part.base.size > parts[-1].size:
            parts.append(part)
            continue
        base, events = parts[-1]
        here = events[part.base.size - base.size :]
        if here[: len(part.events)] != part.events[: len(here)]:
            return None
        parts[-1] = LogPart(base, events + part.events[len(here) :])
    if len(parts) > max(len(first.parts), len(second.parts)):
        return None
    return LogExport(
        first.origin,
        first.key,
        *parts.pop(),
        [*dict.fromkeys((*first.checkpoints, *second.checkpoints))],
        [*dict.fromkeys((*first.seen, *second.seen))],
        second.voucher or first.voucher,
        parts,
    )


def _fields(line: bytes, number: int) -> dict[str, Any]:
    if len(line) > LINE_BYTES_MAX:
        raise DecodeError(f"line {number} has {len(line)} octets", _SECTION)
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise DecodeError(f"line {number} is no JSON object", _SECTION)
    return fields


def _head(fields: dict[str, Any]) -> LogExport:
    if fields.get(FORMAT) != 1:
        raise DecodeError("no export of a log: `orbitferry audit export` makes one", _SECTION)
    origin, key = str(fields["origin"]), NoteKey.parse(str(fields["vkey"]))
    node_of(origin)
    if key.name != origin:
        raise DecodeError(f"the key of {key.name} in the export of {origin}", _SECTION)
    return LogExport(origin, key, peaks_of_json(fields))


@dataclass(slots=True)
class LogReport:
    """What was found of one log."""

    origin: str
    node: str
    entries: int
    first: int
    closed: int = 0
    """How many entries its newest checkpoint covers."""

    missing: int = 0
    """How many of these are not here, though later ones are."""

    witnesses: dict[str, int] = field(default_factory=dict)
    """Of each witness that counts how many entries it has attested, at most."""

    problems: list[str] = field(default_factory=list)

    gaps: list[str] = field(default_factory=list)
    """What is not known, and speaks against nobody: other logs of the node, before this one."""

    vouched_by: str = ""
    """What says that its key is its node's: a `key` known from elsewhere, a `certificate`, or
    nothing but its own file."""

    @property
    def open(self) -> int:
        """Entries that no checkpoint covers: they can still be altered unseen."""
        return self.entries - self.closed


class _Shown(NamedTuple):
    """A checkpoint, and the logs in whose files it is."""

    note: SignedNote
    checkpoint: LogCheckpoint
    by: list[LogReport]

    @staticmethod
    def parse(octets: bytes) -> _Shown:
        """Read its note.  Raises `DecodeError`."""
        note = SignedNote.parse(octets)
        checkpoint = LogCheckpoint.parse(note.text)
        node_of(checkpoint.origin)
        return _Shown(note, checkpoint, [])

    def signed(self, key: NoteKey, origin: str) -> bool:
        """Whether the key of its log has signed it.  If not, that is told of whoever shows it."""
        with contextlib.suppress(SecurityError):
            if key.time_of(self.note) is not None:
                return True
        for report in self.by:
            report.problems.append(
                "a checkpoint that its key has not signed"
                if report.origin == origin
                else f"its file has a checkpoint of {origin} that the key of this log has not"
                " signed: it was made up, or this log has two keys"
            )
        return False

    def witnessed(self, witness: NoteKey) -> bool:
        """Whether a witness has signed it."""
        try:
            return witness.time_of(self.note) is not None
        except SecurityError as error:
            for report in self.by:
                report.problems.append(str(error))
            return False


def verify_exports(
    exports: Sequence[LogExport], keys: Iterable[NoteKey], witnesses: Iterable[NoteKey]
) -> list[LogReport]:
    """Check every entry against every checkpoint, in whichever of these files it is.  `keys` are
    those of logs that are known from elsewhere, `witnesses` those whose cosignatures count.  Behind
    the reports on these logs are those on others of which the files show two histories."""
    known = {key.name: key for key in keys}
    witnesses = list(witnesses)
    reports = [
        LogReport(each.origin, each.node, each.size, each.parts[0].base.size) for each in exports
    ]
    notes: dict[bytes, _Shown] = {}
    for export, report in zip(exports, reports, strict=True):
        for octets in dict.fromkeys((*export.checkpoints, *export.seen)):
            try:
                each = notes.get(octets) or _Shown.parse(octets)
            except DecodeError as error:
                report.problems.append(f"its file has a checkpoint that is none: {error}")
                continue
            notes.setdefault(octets, each).by.append(report)
    shown: defaultdict[str, list[_Shown]] = defaultdict(list)
    for each in notes.values():
        shown[each.checkpoint.origin].append(each)
    for export, report in zip(exports, reports, strict=True):
        _verify(export, report, known, witnesses, shown[export.origin])
    begun = {each.origin: each.begun_ms for each in exports}
    seen = [
        one
        for each in notes.values()
        for one in seen_by(each.note, each.checkpoint.origin, witnesses)
    ]
    for report in reports:
        wrong, before = at_once(report.origin, begun, seen)
        report.problems += wrong
        report.gaps += before
    names = {witness.name for witness in witnesses}
    absent = (
        _absent(origin, known.get(origin), some, begun, names)
        for origin, some in shown.items()
        if origin not in begun
    )
    reports += [report for report in absent if report.problems]
    for report in reports:
        report.problems[:] = dict.fromkeys(report.problems)
    return reports


def _absent(
    origin: str,
    key: NoteKey | None,
    shown: Iterable[_Shown],
    begun: Mapping[str, int],
    witnesses: Collection[str],
) -> LogReport:
    """What others have seen of a log that is not here: whether it has two histories, and was kept
    beside one of its node that is; as `witnesses` say, is told of that one."""
    report = LogReport(origin, node_of(origin), 0, 0, vouched_by="" if key is None else "key")
    unsure = "" if key else ", or its key, which is not known here (--key), has not signed both"
    roots: dict[int, bytes] = {}
    for each in shown:
        size, root = each.checkpoint.size, each.checkpoint.root
        counts = key is None or each.signed(key, origin)
        if counts and roots.setdefault(size, root) != root:
            report.problems.append(f"{_two_histories(size)}{unsure}")
        report.problems += said_beside(each.note, origin, begun, witnesses)
    return report


def _two_histories(size: int) -> str:
    return f"it has signed two histories of {size} entries"


def _verify(
    export: LogExport,
    report: LogReport,
    known: Mapping[str, NoteKey],
    witnesses: Iterable[NoteKey],
    shown: Iterable[_Shown],
) -> None:
    """Check a log, by what is `shown` of it anywhere."""
    parts, problems = export.parts, report.problems
    key = known.get(export.origin, export.key)
    report.vouched_by = "key" if export.origin in known else ""
    report.witnesses.update((witness.name, 0) for witness in witnesses)
    if key != export.key:
        problems.append("its file names another key than the one that is known")
    try:
        for _, event in export.numbered():
            if event.node != report.node:
                problems.append(f"an entry of {event.node} in the log of {report.node}")
    except DecodeError as error:
        problems.append(f"an entry that is none: {error}")
    trees = [*map(_tree_of, export.earlier), export.tree()]
    roots: dict[int, bytes] = {}
    covered = [part.base.size for part in parts]
    for each in shown:
        if not each.signed(key, export.origin):
            continue
        size, root = each.checkpoint.size, each.checkpoint.root
        here = _compare(each.checkpoint, trees, covered, report)
        if roots.setdefault(size, root) != root and not here:
            problems.append(_two_histories(size))
        for witness in filter(each.witnessed, witnesses):
            report.witnesses[witness.name] = max(size, report.witnesses[witness.name])
    if not report.closed and report.entries:
        problems.append("no checkpoint covers it")
    for gap, part, until in zip(export.gaps, parts, covered, strict=False):
        report.missing += len(gap)
        problems.append(
            f"entries {gap.start} to {gap.stop - 1} are not here: damaged, or withheld. Nothing"
            " shows what they say, nor that what follows continues what was before"
        )
        if until < part.size:
            problems.append(f"no checkpoint covers entries {until} to {part.size - 1} before these")


def _tree_of(part: LogPart) -> MerkleTree:
    tree = MerkleTree(part.base)
    tree.add(part.events)
    return tree


def _compare(
    checkpoint: LogCheckpoint, trees: Sequence[MerkleTree], covered: list[int], report: LogReport
) -> bool:
    """Hold a checkpoint against the entries of the part in which it lies, and note up to which that
    is `covered`; whether these are here."""
    size = checkpoint.size
    at = next((at for at, tree in enumerate(trees) if size <= tree.size), None)
    if at is None:
        report.problems.append(
            f"it has signed {size} entries, and shows {trees[-1].size}: the others are withheld"
        )
        return False
    tree = trees[at]
    try:
        root = tree.root(size)
    except LocalError:
        return False  # from before what was pruned, or within a gap
    if root != checkpoint.root:
        report.problems.append(
            f"what it shows is not what it has signed at {size} entries: an entry was altered, or"
            " it shows one history here and another one there"
        )
    else:
        report.closed = max(report.closed, size)
        covered[at] = max(covered[at], size)
    return True
