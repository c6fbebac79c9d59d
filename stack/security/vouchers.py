"""Who a log of audit events belongs to: the log's key, certified by the identity of its node.

A voucher is a COSE_Sign1 (RFC 9052) by the key of the node's certificate over

    [vkey, time]        the log's key as notes have it, DTN milliseconds

with the certificate in its protected header (x5chain, RFC 9360 §2).  It goes with exports of the
log: whoever has what a domain's authority says of its nodes needs to know no key of a log.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from stack.audit.log import node_of
from stack.audit.note import NoteKey
from stack.core.errors import DecodeError, SecurityError
from stack.cose import HeaderLabel, decode_sign1, sign1
from stack.identity import Identity, Principal, Trust
from stack.identity.certificate import load_certificate, milliseconds
from stack.policy import NodeFacts
from stack.wire import cbor

VOUCHER_BYTES_MAX: Final = 32 * 1024
_CONTEXT: Final = b"Orbitferry audit log"
_SECTION: Final = "docs/audit.md, vouchers"
_VKEY_CHARS_MAX: Final = 512


def make_voucher(identity: Identity, key: NoteKey, now_ms: int) -> bytes:
    """The word of a node, at DTN time `now_ms`, that a log under `key` is its own."""
    certificate = identity.certificate.public_bytes(Encoding.DER)
    return sign1(
        cbor.array((cbor.tstr(str(key)), cbor.uint(now_ms))),
        identity.signing_key,
        protected={HeaderLabel.X5CHAIN: certificate},
        external_aad=_CONTEXT,
    )


def read_voucher(octets: bytes, trust: Trust, now_ms: int) -> tuple[NoteKey, Principal]:
    """The key of a log, and the node to which `trust` says that it belongs.  The certificate has to
    have been valid when the node said so, and not to be revoked as of `now_ms`, nor trust in its
    domain; and no other domain may have a node of that id.  Raises `DecodeError`,
    `SecurityError`."""
    if len(octets) > VOUCHER_BYTES_MAX:
        raise DecodeError(f"{len(octets)} octets are no voucher", _SECTION)
    message = decode_sign1(octets)
    chain = message.headers.protected.get(HeaderLabel.X5CHAIN)
    if not isinstance(chain, bytes):
        raise DecodeError("it has no certificate", _SECTION)
    node = trust.read(load_certificate(chain))
    key, said_ms = _parsed(bytes(message.verify(node.verifying_key, external_aad=_CONTEXT)))
    certificate = node.certificate
    valid_ms = milliseconds(certificate.not_valid_before_utc)
    if not valid_ms <= said_ms < milliseconds(certificate.not_valid_after_utc):
        raise SecurityError(f"the certificate of {node.facts.id} was not valid when it said so")
    trust.lists.check(node.facts.domain, certificate.serial_number, now_ms)
    trust.check_may_name(node, now_ms)
    if node_of(key.name) != str(node.facts.id):
        raise SecurityError(f"{node.facts.id} vouches for the log of {node_of(key.name)}")
    return key, node


def owner(
    key: NoteKey | None, voucher: bytes, trust: Trust, now_ms: int
) -> tuple[NoteKey, NodeFacts]:
    """The key of a log, `key` if that is given, and what `trust` says of the node whose it is, by
    the word of that node.  Raises `SecurityError` for one of which nothing says whose it is."""
    try:
        if not voucher:
            raise SecurityError("no certificate goes with it")
        found, node = read_voucher(voucher, trust, now_ms)
        if key not in (None, found):
            raise SecurityError("its node vouches for another key")
    except (DecodeError, SecurityError) as error:
        whose = (
            "whose log this is" if key is None else f"that this is the log of {node_of(key.name)}"
        )
        raise SecurityError(f"a foreign key: nothing shows {whose}: {error}") from None
    return found, node.facts


def _parsed(payload: bytes) -> tuple[NoteKey, int]:
    count, at = cbor.read_array(payload, 0)
    text, at = cbor.read_tstr(payload, at)
    said_ms, at = cbor.read_uint(payload, at)
    if count != 2 or at != len(payload) or len(text) > _VKEY_CHARS_MAX:
        raise DecodeError("no key and time", _SECTION)
    return NoteKey.parse(text), said_ms
