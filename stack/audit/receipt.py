"""Entries as Signed Statements of SCITT (RFC 9943), each with a COSE Receipt that it is in the log
(RFC 9942): what a regulator's own tools can check.

The payload of a statement is the entry, and the leaf of its receipt is the payload: the log holds
entries, and who signs for the log is who made them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from stack.audit.event import AuditEvent, decode_event
from stack.audit.export import LogExport
from stack.audit.log import node_of
from stack.audit.merkle import PATH_MAX, leaf_hash, root_by_path
from stack.audit.note import NoteKey
from stack.core.errors import DecodeError, SecurityError
from stack.core.train import Buffer
from stack.cose import HeaderLabel, Sign1, SigningKey, VerifyingKey, decode_sign1, sign1, values

CONTENT_TYPE: Final = "application/vnd.orbitferry.audit-event+cbor"

RECEIPTS, VDS, VDP = 394, 395, 396
"""Header labels of RFC 9942: receipts, verifiable data structure, and its proofs."""

RFC9162_SHA256, INCLUSION = 1, -1
CWT_CLAIMS, ISSUER, SUBJECT = 15, 1, 2
"""RFC 9597, RFC 8392."""

VOUCHER: Final = "voucher.bin"
"""The file beside statements that has the word of their node on the key of its log."""

RECEIPTS_MAX = 16
STATEMENT_BYTES_MAX = 128 * 1024
_SECTION = "RFC 9942 §5.2"


class Proven(NamedTuple):
    """What a statement says, and of which place in which log it is proven."""

    event: AuditEvent
    size: int
    number: int


def log_key(secret: bytes) -> SigningKey:
    """The key of a log as COSE has it.  What is signed with it by COSE begins otherwise than any
    note, so that neither passes for the other."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(secret))


def make_receipt(export: LogExport, number: int, size: int, key: SigningKey) -> bytes:
    """The receipt of an entry, as of a size of the log (RFC 9942 §5.2.1).  Raises `LocalError`
    when that was pruned."""
    path = export.tree().inclusion(number, size)
    event = export.decoded()[number - export.base.size]
    return sign1(
        export.tree().root(size),
        key,
        protected={
            **_claims(export.origin, event),
            HeaderLabel.KID: key.key_id,
            VDS: RFC9162_SHA256,
        },
        unprotected={VDP: {INCLUSION: [values.encode([size, number, path])]}},
        detached=True,
    )


def make_statement(export: LogExport, number: int, key: SigningKey, size: int) -> bytes:
    """An entry as a Signed Statement with its receipt, by the checkpoint of `size` entries.  Raises
    as `make_receipt`, and `SecurityError` for an entry that this one does not cover yet."""
    if number >= size:
        raise SecurityError(f"entry {number} is not closed by a checkpoint yet")
    return sign1(
        export.events[number - export.base.size],
        key,
        protected={
            **_claims(export.node, export.decoded()[number - export.base.size]),
            HeaderLabel.KID: key.key_id,
            HeaderLabel.CONTENT_TYPE: CONTENT_TYPE,
        },
        unprotected={RECEIPTS: [make_receipt(export, number, size, key)]},
    )


def _claims(issuer: str, event: AuditEvent) -> dict[values.Label, values.Value]:
    return {CWT_CLAIMS: {ISSUER: issuer, SUBJECT: event.object}}


def verify_statement(octets: Buffer, log: NoteKey) -> Proven:
    """What a statement says, if the log of this key has it.  Raises `DecodeError`,
    `SecurityError`."""
    if len(octets) > STATEMENT_BYTES_MAX:
        raise DecodeError(f"a statement of {len(octets)} octets", _SECTION)
    key = VerifyingKey(Ed25519PublicKey.from_public_bytes(log.public))
    statement = decode_sign1(octets)
    entry = statement.verify(key)
    event = decode_event(entry)
    if event.node != node_of(log.name):
        raise SecurityError(f"an entry of {event.node}, signed by the log of {node_of(log.name)}")
    kind = statement.headers.protected.get(HeaderLabel.CONTENT_TYPE)
    claims = statement.headers.protected.get(CWT_CLAIMS)
    if kind != CONTENT_TYPE or claims != _claims(event.node, event)[CWT_CLAIMS]:
        raise SecurityError("its header says something else of the entry than the entry does")
    receipts = statement.headers.unprotected.get(RECEIPTS)
    if not isinstance(receipts, Sequence) or not 0 < len(receipts) <= RECEIPTS_MAX:
        raise DecodeError("a statement without receipts", _SECTION)
    if not all(isinstance(each, bytes) for each in receipts):
        raise DecodeError("a receipt is a byte string", _SECTION)
    proven = [verify_receipt(each, entry, key) for each in receipts]  # type: ignore[arg-type]
    return Proven(event, *max(proven))


def verify_receipt(octets: Buffer, entry: bytes, key: VerifyingKey) -> tuple[int, int]:
    """The size of the log and the number in it that a receipt proves of an entry.  Raises
    `DecodeError`, `SecurityError`."""
    receipt = decode_sign1(octets)
    size, number, path = _inclusion(receipt)
    root = root_by_path(leaf_hash(entry), number, size, path)
    receipt.verify(key, payload=root)
    return size, number


def _inclusion(receipt: Sign1) -> tuple[int, int, list[bytes]]:
    wrong = DecodeError("no receipt of inclusion in a tree of RFC 9162", _SECTION)
    headers = receipt.headers
    proofs = headers.unprotected.get(VDP)
    if headers.protected.get(VDS) != RFC9162_SHA256 or not isinstance(proofs, Mapping):
        raise wrong
    inclusion = proofs.get(INCLUSION)
    if not isinstance(inclusion, Sequence) or len(inclusion) != 1:
        raise wrong
    if not isinstance(inclusion[0], bytes):
        raise wrong
    match values.decode(inclusion[0], _SECTION):
        case [int(size), int(number), list(path)] if len(path) <= PATH_MAX:
            hashes = [each for each in path if isinstance(each, bytes)]
            if len(hashes) == len(path):
                return size, number, hashes
    raise wrong
