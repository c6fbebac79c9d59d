"""The form in which most bundles come, opened in one go: one BCB-AES-GCM of the bundle's source
over the payload and no other security block, with all in its scope (RFC 9173 §4.7.2), as
`stack.security.source` makes it.  What `Acceptor` does otherwise comes to the same, and takes
longer.
"""

from __future__ import annotations

from stack.core.errors import DecodeError, SecurityError
from stack.ports.security import Opened
from stack.security import contexts
from stack.security.keys import KeyRing
from stack.security.reasons import FAILED
from stack.wire.asb import CONTEXT_BCB_AES_GCM, decode_asb
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    DISCARD_UNPROCESSED,
    PAYLOAD_NUMBER,
    REPLICATE,
    Bundle,
    CanonicalBlock,
)

NO_KEY = "the payload does not decrypt with any key that fits"

_TARGETS = (PAYLOAD_NUMBER,)


def open_usual(bundle: Bundle, keys: KeyRing) -> Opened | None:
    """The outcome for a bundle of this form of which nobody asks more; None for any other."""
    bcb = None
    kept = []
    for block in bundle.blocks:
        kind = block.type
        if kind == BLOCK_CONFIDENTIALITY and bcb is None:
            bcb = block
        elif kind in (BLOCK_CONFIDENTIALITY, BLOCK_INTEGRITY):
            return None
        else:
            kept.append(block)
    if bcb is None or bcb.flags & (DISCARD_UNPROCESSED | REPLICATE) != REPLICATE:
        return None
    try:
        targets, context, source, parameters, results = decode_asb(bcb.data)
    except DecodeError:
        return None
    primary = bundle.primary
    if targets != _TARGETS or context != CONTEXT_BCB_AES_GCM or len(parameters) != 3:
        return None
    if source is not primary.source and source not in (primary.source, primary.source.node):
        return None
    (iv_id, iv), (variant_id, variant), (scope_id, scope) = parameters
    ids = (iv_id, variant_id, scope_id)
    if ids != (contexts.BCB_IV, contexts.BCB_AES_VARIANT, contexts.BCB_SCOPE):
        return None
    size = contexts.KEY_BYTES.get(variant) if isinstance(variant, int) else None
    if size is None or scope != contexts.SCOPE_ALL or not isinstance(iv, bytes):
        return None
    if len(results) != 1 or len(results[0]) != 1:
        return None
    ((tag_id, tag),) = results[0]
    if tag_id != contexts.BCB_RESULT_TAG or not isinstance(tag, bytes):
        return None
    if len(iv) != contexts.IV_BYTES or len(tag) != contexts.TAG_BYTES:
        return None
    payload = kept[-1]
    for key in keys.accepting("aes", str(source.node)):
        if len(key.secret) != size:
            continue
        try:
            cipher = contexts.cipher(key.secret)
            plain = contexts.decrypt(cipher, iv, scope, primary, payload, bcb, tag)
        except SecurityError:
            continue
        kept[-1] = CanonicalBlock(
            payload.type, payload.number, payload.flags, plain, payload.crc_type
        )
        return Opened(True, Bundle(primary, tuple(kept)))
    return Opened(False, None, NO_KEY, FAILED)
