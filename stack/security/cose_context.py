"""The COSE security context of BPSec as pure functions over blocks (draft-ietf-dtn-bpsec-cose-16,
and what its author has changed since: `docs/cose.md`).

Nothing here chooses keys or policy.  A result is one COSE message without its tag, whose number the
result has; its content travels in the target.  What is authenticated beside it is said by the AAD
scope: for any block of the bundle whether its metadata count, and its data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias, TypeVar

from stack.core.eid import Eid
from stack.core.errors import DecodeError, SecurityError
from stack.cose import (
    Algorithm,
    Encrypt,
    Encrypt0,
    HeaderLabel,
    Mac,
    Mac0,
    SealingKey,
    Sign,
    Sign1,
    SigningKey,
    decode_encrypt,
    decode_encrypt0,
    decode_mac,
    decode_mac0,
    decode_sign,
    decode_sign1,
    mac0,
    mac_for,
    sign1,
    values,
)
from stack.cose.kdf import PARTIES
from stack.cose.messages import Headers
from stack.cose.values import Label, Value
from stack.security.contexts import canonical_primary
from stack.wire import cbor
from stack.wire.asb import CONTEXT_COSE, EncodedItem, Pair, SecurityBlock, encode_asb
from stack.wire.bundle import CanonicalBlock, PrimaryBlock, encode_eid

# §2.2: parameters
ADDITIONAL_PROTECTED = 3
ADDITIONAL_UNPROTECTED = 4
AAD_SCOPE = 5

# §2.2.2: keys of the AAD scope that are no block number, and its flags
TARGET_BLOCK = -1
SECURITY_BLOCK = -2
AAD_METADATA = 1
AAD_BTSD = 2

# §2.3: results, by the tags of COSE
RESULT_ENCRYPT0 = 16
RESULT_MAC0 = 17
RESULT_SIGN1 = 18
RESULT_ENCRYPT = 96
RESULT_MAC = 97
RESULT_SIGN = 98

MAC_KEY_BYTES = 48
"""Octets of the key of HMAC 384/384 (§3.2)."""

_SECTION = "draft-ietf-dtn-bpsec-cose §2.2"

Scope = Mapping[int, int]
Blocks = Mapping[int, CanonicalBlock]

Integrity: TypeAlias = Sign1 | Mac0 | Sign | Mac
Confidentiality: TypeAlias = Encrypt0 | Encrypt

_Message = TypeVar("_Message", bound=Integrity | Confidentiality)
_Kinds = Mapping[int, Callable[[bytes], _Message]]
_INTEGRITY: _Kinds[Integrity] = {
    RESULT_SIGN1: decode_sign1,
    RESULT_MAC0: decode_mac0,
    RESULT_SIGN: decode_sign,
    RESULT_MAC: decode_mac,
}
_CONFIDENTIALITY: _Kinds[Confidentiality] = {
    RESULT_ENCRYPT0: decode_encrypt0,
    RESULT_ENCRYPT: decode_encrypt,
}

_NONE: Headers = {}
_PARTIES: frozenset[Label] = frozenset(label for labels in PARTIES for label in labels)

SCOPE_DEFAULT: Scope = {0: AAD_METADATA, TARGET_BLOCK: AAD_METADATA, SECURITY_BLOCK: AAD_METADATA}
"""Primary, target and security block (§2.2)."""


class CoseParameters(NamedTuple):
    """The parameters of a security block of the COSE context."""

    scope: Scope = SCOPE_DEFAULT
    protected: bytes = b""
    """Additional headers, encoded, of which the scope's AAD has a copy."""

    additional: Mapping[Label, Value] = {}
    """Additional headers of both kinds; a message's own come first."""


def read_parameters(asb: SecurityBlock) -> CoseParameters:
    """The parameters of a security block (§2.2).  Raises `DecodeError` for what is not of their
    form, for other parameters, and for one that is there twice."""
    found: dict[int, object] = {}
    for number, value in asb.parameters:
        if number in found or number not in (
            ADDITIONAL_PROTECTED,
            ADDITIONAL_UNPROTECTED,
            AAD_SCOPE,
        ):
            raise DecodeError(f"security parameter {number} twice, or not known here", _SECTION)
        found[number] = value
    protected = found.get(ADDITIONAL_PROTECTED, b"")
    headers, more = (_headers(found.get(number, b"")) for number in (3, 4))
    if headers.keys() & more.keys():
        raise DecodeError("an additional header that is protected and unprotected", _SECTION)
    scope = SCOPE_DEFAULT
    if AAD_SCOPE in found:
        scope = _scope(found[AAD_SCOPE])
    assert isinstance(protected, bytes)
    return CoseParameters(scope, protected, {**headers, **more})


def binds(scope: Scope) -> bool:
    """Whether a scope has the primary block and the target, as `stack.security.contexts.binds`
    says why."""
    return scope.keys() >= {0, TARGET_BLOCK}


def _headers(octets: object) -> Mapping[Label, Value]:
    if not isinstance(octets, bytes):
        raise DecodeError("additional headers that are no byte string", _SECTION)
    found = values.decode(octets, _SECTION) if octets else {}
    if not isinstance(found, Mapping):
        raise DecodeError("additional headers that are no map", _SECTION)
    return found


def _scope(item: object) -> Scope:
    found = values.decode(item.octets, _SECTION) if isinstance(item, EncodedItem) else None
    if not isinstance(found, Mapping):
        raise DecodeError("an AAD scope that is no map", _SECTION)
    scope: dict[int, int] = {}
    for key, flags in found.items():
        if not isinstance(key, int) or not isinstance(flags, int) or isinstance(flags, bool):
            raise DecodeError("an AAD scope with other keys or values than integers", _SECTION)
        own = key in (0, TARGET_BLOCK, SECURITY_BLOCK)
        if flags <= 0 or (own and flags & AAD_BTSD):
            raise DecodeError(f"an AAD scope of {flags} for block {key}", _SECTION)
        scope[key] = flags
    return scope


def external_aad(
    source: Eid,
    parameters: CoseParameters,
    primary: PrimaryBlock,
    blocks: Blocks,
    target: int,
    security: CanonicalBlock,
) -> bytes:
    """What is authenticated beside the content of target block `target` (§2.5.1).  Raises
    `SecurityError` where the scope names a block that is not there."""
    scope = parameters.scope
    parts = [encode_eid(source), values.encode(dict(scope))]
    for key in sorted(scope, key=lambda key: (key < 0, abs(key))):
        number = target if key == TARGET_BLOCK else key
        block = security if key == SECURITY_BLOCK else blocks.get(number)
        if number == 0:
            parts.append(canonical_primary(primary))
            continue
        if block is None:
            raise SecurityError(f"the AAD scope names block {key}, which is not there")
        if scope[key] & AAD_METADATA:
            parts += map(cbor.uint, (block.type, block.number, block.flags))
        if scope[key] & AAD_BTSD:
            parts.append(cbor.bstr(block.data))
    parts.append(cbor.bstr(parameters.protected))
    return b"".join(parts)


def kdf_other(source: Eid, parameters: CoseParameters) -> bytes:
    """What binds a key that is derived or agreed upon to its security block: `other` of SuppPubInfo
    (§2.5.2)."""
    parts = (cbor.tstr("BPSec"), encode_eid(source), cbor.bstr(parameters.protected))
    return b"".join(parts)


def content(primary: PrimaryBlock, blocks: Blocks, target: int) -> bytes:
    """What of a target is signed: its data, or the whole primary block (§2.3.1)."""
    return canonical_primary(primary) if target == 0 else bytes(blocks[target].data)


def read_integrity(results: Sequence[Pair], more: Headers = _NONE) -> Integrity:
    """The one message of a target of a BIB (§2.3.1), of two layers at most, with additional
    headers.  Raises `DecodeError` for none, several, or one that brings its content along, and
    `SecurityError` for a kind that is not known here."""
    return _read(results, "BIB", _INTEGRITY, more)


def read_confidentiality(results: Sequence[Pair], more: Headers = _NONE) -> Confidentiality:
    """The one message of a target of a BCB (§2.3.2).  As `read_integrity`."""
    return _read(results, "BCB", _CONFIDENTIALITY, more)


def _read(results: Sequence[Pair], block: str, kinds: _Kinds[_Message], more: Headers) -> _Message:
    section = "draft-ietf-dtn-bpsec-cose §2.3"
    if len(results) != 1:
        raise DecodeError(f"{len(results)} results for one target", section)
    number, value = results[0]
    if not isinstance(value, bytes):
        raise DecodeError("a result that is no byte string", section)
    if number not in kinds:
        raise SecurityError(f"a {block} with a result {number}, which is not known here")
    found = kinds[number](value)
    content = found.ciphertext if isinstance(found, Confidentiality) else found.payload
    if value[0] >> 5 == cbor.TAG or content is not None:
        raise DecodeError("a message with its tag or its content", section)
    return _extended(found, more)


def _extended(found: _Message, more: Headers) -> _Message:
    """A message with additional headers in its last layer (§2.2.1).  Raises `DecodeError` where
    that says something of the parties of a key derivation (§3.3)."""
    if isinstance(found, Sign):
        signed = [replace(one, headers=one.headers.extended(more)) for one in found.signatures]
        return replace(found, signatures=tuple(signed))
    if not isinstance(found, Mac | Encrypt):
        return replace(found, headers=found.headers.extended(more))
    last = [replace(one, headers=one.headers.extended(more)) for one in found.recipients]
    for one in last:
        if not _PARTIES.isdisjoint({*one.headers.protected, *one.headers.unprotected}):
            section = "draft-ietf-dtn-bpsec-cose §3.3"
            raise DecodeError("parties of a key derivation, of which nothing is said here", section)
    return replace(found, recipients=tuple(last))


def mac_target(
    secret: bytes,
    primary: PrimaryBlock,
    blocks: Blocks,
    target: int,
    security: CanonicalBlock,
    source: Eid,
    scope: Scope = SCOPE_DEFAULT,
) -> bytes:
    """The data of a BIB whose head is `security`, with a MAC of a target (§2.3.1)."""
    aad = external_aad(source, CoseParameters(scope), primary, blocks, target, security)
    message = mac0(
        content(primary, blocks, target),
        secret,
        Algorithm.HMAC_384_384,
        external_aad=aad,
        detached=True,
        tagged=False,
    )
    return encode_asb(block_of(source, (target,), scope, [((RESULT_MAC0, message),)]))


def mac_target_for(
    recipient: SealingKey,
    fresh: bytes,
    primary: PrimaryBlock,
    blocks: Blocks,
    target: int,
    security: CanonicalBlock,
    source: Eid,
) -> bytes:
    """The data of a BIB whose head is `security`, with a MAC of a target under a `fresh` key, which
    `recipient` has with it (§2.3.1)."""
    parameters = CoseParameters()
    message = mac_for(
        content(primary, blocks, target),
        [recipient],
        fresh,
        external_aad=external_aad(source, parameters, primary, blocks, target, security),
        other=kdf_other(source, parameters),
        detached=True,
        tagged=False,
    )
    return encode_asb(block_of(source, (target,), SCOPE_DEFAULT, [((RESULT_MAC, message),)]))


def sign_targets(
    key: SigningKey,
    primary: PrimaryBlock,
    blocks: Blocks,
    targets: Sequence[int],
    security: CanonicalBlock,
    source: Eid,
    scope: Scope = SCOPE_DEFAULT,
    alg: Algorithm | None = None,
) -> bytes:
    """The data of a BIB whose head is `security`, with a signature of each target (§2.3.1).
    `alg`: another number for the algorithm of the key (RFC 9864)."""
    parameters = CoseParameters(scope)
    results = []
    for target in targets:
        aad = external_aad(source, parameters, primary, blocks, target, security)
        message = sign1(
            content(primary, blocks, target),
            key,
            protected={HeaderLabel.ALG: alg or key.alg},
            external_aad=aad,
            detached=True,
            tagged=False,
        )
        results.append(((RESULT_SIGN1, message),))
    return encode_asb(block_of(source, targets, scope, results))


def block_of(
    source: Eid, targets: Sequence[int], scope: Scope, results: Sequence[tuple[Pair, ...]]
) -> SecurityBlock:
    """An abstract security block of this context, which says its scope where it is another than
    that of whom nothing is said."""
    said: tuple[Pair, ...] = ()
    if scope != SCOPE_DEFAULT:
        said = ((AAD_SCOPE, EncodedItem(values.encode(dict(scope)))),)
    return SecurityBlock(tuple(targets), CONTEXT_COSE, source, said, tuple(results))
