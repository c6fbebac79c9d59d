"""Signed notes (C2SP signed-note): text, and under it who signed it; and in this form the
checkpoints of logs (C2SP tlog-checkpoint) and their cosignatures (C2SP tlog-cosignature).

    dtn://kiruna/audit/3f9c02a7b11e4d58
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — dtn://kiruna/audit/3f9c02a7b11e4d58 Az3grlgtzPICa5OS8npVmf1Myq/5IZni...
    — dtn://svalbard/audit jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeol...

The keys are Ed25519, and belong to logs and witnesses alone.  What a log's key also signs are
receipts (`receipt`), which begin otherwise than any text.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from stack.audit.merkle import HASH_BYTES, SIZE_MAX
from stack.core.errors import DecodeError, SecurityError

SIGNATURES_MAX = 64
"""Under a note of ours."""

NOTE_BYTES_MAX = 128 * 1024
LINES_MAX = 4 * SIGNATURES_MAX
"""Of a note that is read: stores have some from when whatever a log or witness sent, 64 lines and
64 KiB at most, was put under one, and each line of ours beside it."""

NAME_CHARS_MAX = 255
"""As tlog-cosignature bounds the names of cosigners and the origins of logs."""

LOG_KEY = 1
"""Type of a key that signs the text itself (signed-note)."""

WITNESS_KEY = 4
"""Type of a key that signs that it has seen a checkpoint, and when (tlog-cosignature)."""

_NOTE = "C2SP signed-note"
_CHECKPOINT = "C2SP tlog-checkpoint"
_KEY = re.compile(r"([^\s+]{1,255})\+([0-9a-f]{8})\+([A-Za-z0-9+/=]{1,128})")
_SIZE = re.compile("0|[1-9][0-9]{0,18}")
_SIGNATURE_BYTES = 64
TIME_BYTES = 8
COSIGNATURE_BYTES = TIME_BYTES + _SIGNATURE_BYTES
"""Of what a witness signs: when, and the signature (tlog-cosignature)."""


class Signature(NamedTuple):
    """A line under a note."""

    name: str
    key_id: bytes
    octets: bytes

    def __str__(self) -> str:
        return f"\u2014 {self.name} {_base64(self.key_id + self.octets)}\n"


@dataclass(frozen=True, slots=True)
class NoteKey:
    """Who signs notes, and the public key by which that shows."""

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        """Four octets by which signatures say which key they are of."""
        return sha256(self.name.encode() + b"\n" + bytes((self.kind,)) + self.public).digest()[:4]

    @staticmethod
    def parse(text: str) -> NoteKey:
        """Read the text form (a vkey).  Raises `DecodeError`."""
        match = _KEY.fullmatch(text)
        octets = _octets(match[3]) if match else b""
        if match is None or len(octets) != 33 or octets[0] not in (LOG_KEY, WITNESS_KEY):
            raise DecodeError(f"{text[:64]!r} is no Ed25519 key of a log or witness", _NOTE)
        key = NoteKey(match[1], octets[0], octets[1:])
        if key.id.hex() != match[2]:
            raise DecodeError(f"the key of {key.name} has another id: a wrong letter?", _NOTE)
        return key

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_base64(bytes((self.kind,)) + self.public)}"

    def time_of(self, note: SignedNote) -> int | None:
        """Whether this key has signed the note: None if not, else when it says that it did
        (POSIX seconds), 0 for a kind that does not say.  Raises `SecurityError` for a signature
        that is wrong."""
        for name, key_id, octets in note.signatures:
            if name == self.name and key_id == self.id:
                return self._check(note.text, octets)
        return None

    def _check(self, text: str, octets: bytes) -> int:
        seconds = 0
        message = text
        if self.kind == WITNESS_KEY:
            seconds = int.from_bytes(octets[:TIME_BYTES], "big")
            octets = octets[TIME_BYTES:]
            message = _cosigned(text, seconds)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(octets, message.encode())
        except (InvalidSignature, ValueError):
            raise SecurityError(f"the signature of {self.name} is not of its key") from None
        return seconds


class NoteSigner:
    """The private half of a `NoteKey`."""

    def __init__(self, name: str, secret: bytes, kind: int = LOG_KEY) -> None:
        """`secret`: the 32 octets of an Ed25519 key.  Raises `DecodeError` for a name that cannot
        be one."""
        check_name(name)
        self._private = Ed25519PrivateKey.from_private_bytes(secret)
        self.key = NoteKey(name, kind, self._private.public_key().public_bytes_raw())

    def sign(self, text: str, seconds: int = 0) -> Signature:
        """Sign the text of a note, as of `seconds` (POSIX) where it is a witness who does."""
        key = self.key
        if key.kind == LOG_KEY:
            return Signature(key.name, key.id, self._private.sign(text.encode()))
        octets = self._private.sign(_cosigned(text, seconds).encode())
        return Signature(key.name, key.id, seconds.to_bytes(TIME_BYTES, "big") + octets)


class SignedNote(NamedTuple):
    """A text, and the signatures under it: of whom, is another matter (`NoteKey.time_of`)."""

    text: str
    signatures: tuple[Signature, ...]

    @staticmethod
    def parse(octets: bytes) -> SignedNote:
        """Read a note.  Raises `DecodeError`."""
        if len(octets) > NOTE_BYTES_MAX:
            raise DecodeError(f"a note of {len(octets)} octets", _NOTE)
        try:
            whole = bytes(octets).decode()
        except UnicodeDecodeError:
            raise DecodeError("text that is no UTF-8", _NOTE) from None
        if any(char < " " and char != "\n" for char in whole):
            raise DecodeError("a control character", _NOTE)
        text, gap, below = whole.rpartition("\n\n")
        lines = below.split("\n")
        if not (gap and lines.pop() == "" and 0 < len(lines) <= LINES_MAX):
            raise DecodeError("no text with signatures under it", _NOTE)
        return SignedNote(text + "\n", tuple(map(_signature, lines)))

    def encode(self) -> bytes:
        """Inverse of `parse`."""
        return (self.text + "\n" + "".join(map(str, self.signatures))).encode()

    def with_signatures(self, more: Iterable[Signature]) -> SignedNote:
        """The note with more signatures, each once."""
        return SignedNote(self.text, tuple(dict.fromkeys((*self.signatures, *more))))


@dataclass(frozen=True, slots=True)
class LogCheckpoint:
    """How far a log had come, and the root over all that is in it."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The text of its note.  Raises `DecodeError` for an origin that cannot be one."""
        check_name(self.origin)
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"

    @staticmethod
    def parse(text: str) -> LogCheckpoint:
        """Read the text of a note; lines of extensions are passed over.  Raises `DecodeError`."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not all(lines):
            raise DecodeError("a checkpoint has three lines, and none is empty", _CHECKPOINT)
        origin, size, root = lines[:3]
        check_name(origin)
        if _SIZE.fullmatch(size) is None or int(size) > SIZE_MAX:
            raise DecodeError(f"{size[:32]!r} is no size of a log", _CHECKPOINT)
        octets = _octets(root)
        if len(octets) != HASH_BYTES:
            raise DecodeError(f"{root[:64]!r} is no root", _CHECKPOINT)
        return LogCheckpoint(origin, int(size), octets)

    def signed(self, signer: NoteSigner) -> SignedNote:
        """Its note, signed by the log."""
        text = self.text()
        return SignedNote(text, (signer.sign(text),))


def open_checkpoint(octets: bytes, key: NoteKey) -> tuple[SignedNote, LogCheckpoint]:
    """The checkpoint in a note that `key` of the log has signed.  Raises `DecodeError`,
    `SecurityError`."""
    note = SignedNote.parse(octets)
    checkpoint = LogCheckpoint.parse(note.text)
    if key.time_of(note) is None or key.name != checkpoint.origin:
        raise SecurityError(f"a checkpoint of {checkpoint.origin} that {key.name} has not signed")
    return note, checkpoint


def check_name(name: str) -> None:
    """Raise `DecodeError` for what cannot name a key or a log."""
    bad = not 0 < len(name) <= NAME_CHARS_MAX or "+" in name or name != "".join(name.split())
    if bad or not name.isprintable():
        raise DecodeError(f"{name[:64]!r} cannot name a log or a witness", _NOTE)


def _signature(line: str) -> Signature:
    mark, name, text = [*line.split(" "), "", ""][:3] if line.count(" ") == 2 else ("", "", "")
    octets = _octets(text)
    if mark != "\u2014" or len(octets) < 5:
        raise DecodeError(f"not a line of a signature: {line[:64]!r}", _NOTE)
    check_name(name)
    return Signature(name, octets[:4], octets[4:])


def _cosigned(text: str, seconds: int) -> str:
    return f"cosignature/v1\ntime {seconds}\n{text}"


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _octets(text: str) -> bytes:
    """What base64 stands for, written as it has to be; nothing if it is not."""
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return octets if _base64(octets) == text else b""
