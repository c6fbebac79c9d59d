"""What audit logs show to others, each breaking one rule: entries, notes with checkpoints (C2SP
signed-note, tlog-checkpoint), what nodes and witnesses send each other, and receipts (RFC 9942)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from interop.strategies.audit import Log, event, log
from interop.strategies.choices import Choices
from interop.strategies.fields import (
    FieldBreak,
    FieldList,
    cut_off,
    fewer_fields,
    more_fields,
    more_octets,
    with_field,
)
from interop.strategies.making import strategy
from interop.strategies.rules import WireRule, nearly
from interop.strategies.violation import Nearly, Violation
from stack.audit.event import ACTS_MAX, TEXT_BYTES_MAX, encode_event
from stack.audit.merkle import PATH_MAX, SIZE_MAX, MerkleTree
from stack.audit.note import LINES_MAX, LogCheckpoint, NoteKey, NoteSigner, SignedNote
from stack.audit.receipt import INCLUSION, RFC9162_SHA256, VDP, VDS, log_key
from stack.cose import SigningKey, sign1
from stack.cose.values import Label, Value, encode

# ---- entries


def _event(choose: Choices) -> FieldList:
    return list(event.make(choose))


def _no_utf8(choose: Choices, fields: FieldList) -> bytes:
    """A text in which an octet is none."""
    mark = "\u2603" * 4
    whole = with_field(choose.pick((2, 3, 5, 6)), mark)(choose, fields)
    return whole.replace(mark.encode(), choose.pick((b"\xff", b"\xc3", b"\x80")) * 12)


_TOO_LONG = "x" * (TEXT_BYTES_MAX + 1)
_EVENT_RULES: tuple[tuple[str, FieldBreak], ...] = (
    ("an entry is of some acts", with_field(0, 0, ACTS_MAX + 1, -1, b"", None)),
    ("a time is unsigned", with_field(1, -1, "", b"", None)),
    ("a node is text", with_field(2, b"dtn://a/", 0, None, _TOO_LONG)),
    ("an object is text", with_field(3, b"dtn://a/", 0, None, _TOO_LONG)),
    ("a label is a digest", with_field(4, bytes(15), bytes(17), b"\0", "", 0)),
    ("a peer is text", with_field(5, b"dtn://a/", 0, None, _TOO_LONG)),
    ("a policy is that of the label", with_field(7, bytes(9), b"\x87", "", 0)),
    ("text is UTF-8", _no_utf8),
    ("an entry has all its fields", fewer_fields),
    ("an entry has no more fields", more_fields),
    ("nothing stands behind an entry", more_octets),
    ("an entry ends where its array does", cut_off),
)

EVENT_RULES: Final[tuple[WireRule[FieldList], ...]] = tuple(
    WireRule(Violation("docs/audit.md", words), _event, spoil) for words, spoil in _EVENT_RULES
)
"""What can be wrong with an entry of a log."""


@strategy
def encoded_events(choose: Choices) -> bytes:
    """An entry."""
    return encode_event(event.make(choose))


@strategy
def nearly_events(choose: Choices, *, rules: Sequence[WireRule[FieldList]] = EVENT_RULES) -> Nearly:
    """An entry that breaks one of some rules."""
    return nearly(choose, rules, encode)


# ---- notes

_LOG = NoteSigner("dtn://kiruna/audit/1", bytes([1]) * 32)
LOG_KEY: Final[NoteKey] = _LOG.key
"""Whose notes they are."""


def _log(choose: Choices) -> tuple[Log, MerkleTree]:
    """A log, and its tree."""
    of = log.make(choose)
    return of, of.tree()


def _note(choose: Choices) -> SignedNote:
    of, tree = choose.prepared(_log)
    size = choose.integer(1, len(of.entries))
    note = LogCheckpoint(of.signer.key.name, size, tree.root(size)).signed(of.signer)
    if not choose.flip():
        return note
    return note.with_signatures((of.witness.sign(note.text, choose.integer(0, 1 << 31)),))


Texts = Callable[[Choices, list[str]], list[str]]


def _lines(change: Texts) -> Callable[[Choices, SignedNote], bytes]:
    """The log has signed other lines."""

    def spoil(choose: Choices, note: SignedNote) -> bytes:
        text = "\n".join(change(choose, note.text.split("\n")))
        return SignedNote(text, (_LOG.sign(text),)).encode()

    return spoil


def _line(index: int, *options: str) -> Callable[[Choices, SignedNote], bytes]:
    return _lines(lambda choose, lines: [*lines[:index], choose.pick(options), *lines[index + 1 :]])


def _swapped(old: bytes, *options: bytes) -> Callable[[Choices, SignedNote], bytes]:
    """The first of some octets are others."""
    return lambda choose, note: note.encode().replace(old, choose.pick(options), 1)


_OTHERS = tuple(NoteSigner(LOG_KEY.name, bytes([number]) * 32) for number in range(2, 10))


def _by_another(choose: Choices, note: SignedNote) -> bytes:
    other = choose.pick(_OTHERS)
    return SignedNote(note.text, (other.sign(note.text),)).encode()


def _changed(choose: Choices, note: SignedNote) -> bytes:
    return note.encode().replace(b"\n", b"\n" + str(choose.integer(1, 9)).encode(), 1)


def _many(choose: Choices, note: SignedNote) -> bytes:
    return SignedNote(note.text, note.signatures[:1] * (LINES_MAX + 1)).encode()


def _without_signatures(choose: Choices, note: SignedNote) -> bytes:
    return choose.pick((note.text, note.text + "\n", "\n\n", "")).encode()


_DASH = "\u2014 ".encode()
_NOTES, _CHECKPOINTS = "C2SP signed-note", "C2SP tlog-checkpoint"
NOTE_RULES: Final[tuple[WireRule[SignedNote], ...]] = tuple(
    WireRule(Violation(clause, words), _note, spoil)
    for clause, words, spoil in (
        (_NOTES, "a note is UTF-8", _swapped(b"dtn", b"\xff", b"\xc3(", b"\xed\xa0\x80")),
        (_NOTES, "a note has no control characters", _swapped(b"dtn", b"\0", b"\r", b"\x1b")),
        (_NOTES, "a note has signatures", _without_signatures),
        (_NOTES, "a note has few signatures", _many),
        (_NOTES, "a blank line is above the signatures", _swapped(b"\n\n", b"\n")),
        (_NOTES, "a signature begins with a dash",
         _swapped(_DASH, b"- ", "\u2013 ".encode(), _DASH.rstrip(), b"")),
        (_NOTES, "a name has no blank and no plus", _swapped(_DASH, _DASH + b"a ", _DASH + b"a+")),
        (_NOTES, "a signature is base64", _swapped(b"=\n", b"\n", b"==\n", b"*\n", b"=")),
        (_NOTES, "the key has signed it", _by_another),
        (_NOTES, "the text is what was signed", _changed),
        (_CHECKPOINTS, "the first line is the origin", _line(0, "", "a+b", "a b", "x" * 256)),
        (_CHECKPOINTS, "a log signs its own checkpoints", _line(0, "dtn://other/audit/1")),
        (_CHECKPOINTS, "the second line is the size",
         _line(1, "", "01", "-1", "+1", " 1", "1e3", "\u0661", str(SIZE_MAX + 1), "9" * 19)),
        (_CHECKPOINTS, "the third line is the root",
         _line(2, "", "AAAA", "A" * 43, "A" * 44 + "=")),
        (_CHECKPOINTS, "a checkpoint has three lines",
         _lines(lambda choose, lines: [*lines[: choose.integer(0, 2)], ""])),
        (_CHECKPOINTS, "no line is empty",
         _lines(lambda choose, lines: [*lines, "x", "", "y", ""])),
    )
)  # fmt: skip
"""What can be wrong with a note that is a checkpoint of the log of `LOG_KEY`."""


@strategy
def encoded_notes(choose: Choices) -> bytes:
    """A checkpoint of the log of `LOG_KEY`, cosigned or not."""
    return _note(choose).encode()


@strategy
def nearly_notes(choose: Choices, *, rules: Sequence[WireRule[SignedNote]] = NOTE_RULES) -> Nearly:
    """Such a checkpoint that breaks one of some rules."""
    return nearly(choose, rules, SignedNote.encode)


# ---- messages of nodes and witnesses

SENDER: Final = "dtn://kiruna/"
"""The node that sends all of them."""

_SENDERS = NoteSigner(f"{SENDER}audit/{'0a' * 8}", bytes([3]) * 32)
_ANOTHERS = NoteSigner(f"dtn://svalbard/audit/{'0a' * 8}", bytes([3]) * 32)


def _shown(choose: Choices, by: NoteSigner = _SENDERS) -> FieldList:
    note = LogCheckpoint(by.key.name, choose.uint(40), choose.octets(32, 32)).signed(by)
    path: FieldList = [choose.octets(32, 32) for _ in choose.many(0, 4)]
    return ["audit-checkpoint", str(by.key), note.encode(), path]


def _cosigned(choose: Choices) -> FieldList:
    return ["audit-cosigned", _note(choose).encode()]


def _known(choose: Choices) -> FieldList:
    return ["audit-known", _SENDERS.key.name, choose.uint()]


def _any_message(choose: Choices) -> FieldList:
    return choose.pick((_shown, _cosigned, _known))(choose)


def _wrong_id(choose: Choices, fields: FieldList) -> bytes:
    name, key_id, public = str(_SENDERS.key).split("+")
    key_id = f"{int(key_id, 16) ^ 1 << choose.integer(0, 31):08x}"
    return with_field(1, f"{name}+{key_id}+{public}")(choose, fields)


_MESSAGE_RULES: tuple[tuple[str, Callable[[Choices], FieldList], FieldBreak], ...] = (
    ("a message is of a kind", _any_message, with_field(0, "", "audit", "audit-Known", b"", 0)),
    ("a message has all its fields", _any_message, fewer_fields),
    ("a message has no more fields", _any_message, more_fields),
    ("a message fills its payload", _any_message, more_octets),
    ("a message ends where its array does", _any_message, cut_off),
    ("a key is one of a log", _shown, with_field(1, "", "a+b+c", _SENDERS.key.name, b"", 0)),
    ("the id of a key is that of the key", _shown, _wrong_id),
    ("a node shows its own log", _shown, lambda choose, fields: encode(_shown(choose, _ANOTHERS))),
    ("a note is octets", _shown, with_field(2, "", 0, [], None)),
    ("a note is signed by its log", _shown,
     lambda choose, fields: encode([*fields[:2], _note(choose).encode(), *fields[3:]])),
    ("a path is of hashes", _shown, with_field(3, 0, b"", [b""], [bytes(31)], [bytes(33)], [0])),
    ("a path is short", _shown, with_field(3, [bytes(32)] * (2 * PATH_MAX + 1))),
    ("a cosigned note is octets", _cosigned, with_field(1, "", 0, [], None)),
    ("a log is named by text", _known, with_field(1, b"", 0, None)),
    ("a size is unsigned", _known, with_field(2, -1, "", b"", None)),
)  # fmt: skip

MESSAGE_RULES: Final[tuple[WireRule[FieldList], ...]] = tuple(
    WireRule(Violation("docs/audit.md", words), made, spoil)
    for words, made, spoil in _MESSAGE_RULES
)
"""What can be wrong with a message of the audit service from `SENDER`."""


@strategy
def encoded_audit_messages(choose: Choices) -> bytes:
    """A message of the audit service from `SENDER`."""
    return encode(_any_message(choose))


@strategy
def nearly_audit_messages(
    choose: Choices, *, rules: Sequence[WireRule[FieldList]] = MESSAGE_RULES
) -> Nearly:
    """Such a message that breaks one of some rules."""
    return nearly(choose, rules, encode)


# ---- receipts

_SIGNING = log_key(bytes([1]) * 32)
RECEIPT_KEY: Final = _SIGNING.public
"""Who has signed all receipts."""

ENTRY: Final = b"the entry"
"""Of which they are receipts."""


@dataclass(frozen=True, slots=True)
class ReceiptParts:
    """What a receipt is made of."""

    root: bytes
    proof: list[Any]
    """Size, number and path."""

    structure: Value = RFC9162_SHA256
    proofs: Value = None
    """In place of the one proof."""

    signing: SigningKey = _SIGNING

    def encode(self) -> bytes:
        """Signed."""
        proofs: Value = self.proofs or {INCLUSION: [encode(self.proof)]}
        protected: dict[Label, Value] = {} if self.structure is None else {VDS: self.structure}
        return sign1(
            self.root,
            self.signing,
            protected=protected,
            unprotected={} if proofs == "none" else {VDP: proofs},
            detached=True,
        )


def _with_entry(choose: Choices) -> tuple[int, MerkleTree]:
    """How many entries a log has, of which each second one is `ENTRY`, and its tree."""
    of = log.make(choose)
    entries = tuple(one if at % 2 else ENTRY for at, one in enumerate(of.entries))
    return len(entries), of._replace(entries=entries).tree()


def _receipt(choose: Choices) -> ReceiptParts:
    entries, tree = choose.prepared(_with_entry)
    size = choose.integer(1, entries)
    number = 2 * choose.integer(0, (size - 1) // 2)
    return ReceiptParts(tree.root(size), [size, number, tree.inclusion(number, size)])


ReceiptBreak = Callable[[Choices, ReceiptParts], bytes]


def _proof(change: Callable[[Choices, int, int, list[bytes]], list[Any]]) -> ReceiptBreak:
    return lambda choose, parts: replace(parts, proof=change(choose, *parts.proof)).encode()


def _set(name: str, *options: Value) -> ReceiptBreak:
    def spoil(choose: Choices, parts: ReceiptParts) -> bytes:
        changed: dict[str, Any] = {name: choose.pick(options)}
        return replace(parts, **changed).encode()

    return spoil


_OTHER_KEYS = tuple(log_key(bytes([number]) * 32) for number in range(2, 10))


def _other_key(choose: Choices, parts: ReceiptParts) -> bytes:
    return replace(parts, signing=choose.pick(_OTHER_KEYS)).encode()


_ANY_PROOF = encode([1, 0, []])
RECEIPT_RULES: Final[tuple[WireRule[ReceiptParts], ...]] = tuple(
    WireRule(Violation(clause, words), _receipt, spoil)
    for clause, words, spoil in (
        ("RFC 9942 §5.2", "the tree is one of RFC 9162", _set("structure", 2, 0, "1", None, -1)),
        ("RFC 9942 §5.2", "there are proofs", _set("proofs", "none", [_ANY_PROOF], b"\x01", 1)),
        ("RFC 9942 §5.2", "there is one proof of inclusion", _set(
            "proofs", {INCLUSION: []}, {INCLUSION: [_ANY_PROOF] * 2}, {-2: [_ANY_PROOF]})),
        ("RFC 9942 §5.2", "a proof is a byte string", _set(
            "proofs", {INCLUSION: [1]}, {INCLUSION: [[1, 0, []]]}, {INCLUSION: ["x"]})),
        ("RFC 9942 §5.2", "a proof has a size, a number and a path", _proof(
            lambda choose, size, number, path: choose.pick(
                ([size, number], [size, number, path, 0], [], ["1", number, path])))),
        ("RFC 9942 §5.2", "a path is of hashes", _proof(
            lambda choose, size, number, path: [
                size, number, [*path, choose.pick((0, "", b"x"))]])),
        ("RFC 9942 §5.2", "a path is short", _proof(
            lambda choose, size, number, path: [size, number, [bytes(32)] * (PATH_MAX + 1)])),
        ("RFC 9162 §2.1.3", "an entry is one of those of the tree", _proof(
            lambda choose, size, number, path: choose.pick(
                ([size, size, path], [size, -1, path], [0, 0, path], [size, 1 << 63, path])))),
        ("RFC 9162 §2.1.3", "a path leads to the root", _proof(
            lambda choose, size, number, path: [size, number, [*path, bytes(32)]])),
        ("RFC 9052 §4.4", "the log has signed it", _other_key),
    )
)  # fmt: skip
"""What can be wrong with a receipt of `ENTRY`."""


@strategy
def encoded_receipts(choose: Choices) -> bytes:
    """A receipt of `ENTRY` in some log, signed by the owner of `RECEIPT_KEY`."""
    return _receipt(choose).encode()


@strategy
def nearly_receipts(
    choose: Choices, *, rules: Sequence[WireRule[ReceiptParts]] = RECEIPT_RULES
) -> Nearly:
    """Such a receipt that breaks one of some rules."""
    return nearly(choose, rules, ReceiptParts.encode)
