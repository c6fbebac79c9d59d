"""The form in which most bundles come, opened in one go: one BCB-AES-GCM of the bundle's source
over the payload and no other security block, with all in its scope (RFC 9173 §4.7.2), as
`stack.security.source` makes it.  What `Acceptor` does otherwise comes to the same, and takes
longer.
"""

from __future__ import annotations

from stack.core.eid import Eid
from stack.core.errors import LocalError, SecurityError
from stack.ports.security import Opened
from stack.security import contexts
from stack.security.contexts import SCOPE_ALL
from stack.security.keys import KeyRing
from stack.security.reasons import FAILED
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
    primary, payload, octets = bundle.primary, kept[-1], bytes(bcb.data)
    source = primary.source
    outcome = None
    for key in keys.accepting("aes", str(source.node)):
        size = len(key.secret)
        found = _iv_and_tag(octets, source, size) or _iv_and_tag(octets, source.node, size)
        if found is None:
            continue
        try:
            cipher = contexts.cipher(key.secret)
            plain = contexts.decrypt(cipher, found[0], SCOPE_ALL, primary, payload, bcb, found[1])
        except SecurityError:
            outcome = Opened(False, None, NO_KEY, FAILED)
            continue
        kept[-1] = CanonicalBlock(
            payload.type, payload.number, payload.flags, plain, payload.crc_type
        )
        return Opened(True, Bundle(primary, tuple(kept)))
    return outcome


def _iv_and_tag(octets: bytes, source: Eid, key_bytes: int) -> tuple[bytes, bytes] | None:
    """IV and tag of a BCB that `source` made just as we do, with a key so long."""
    try:
        before, between = contexts.bcb_frame(source, key_bytes, SCOPE_ALL, PAYLOAD_NUMBER)
    except LocalError:  # nobody can write this source
        return None
    at = len(before)
    end = at + contexts.IV_BYTES
    tag_at = end + len(between)
    if (
        len(octets) != tag_at + contexts.TAG_BYTES
        or octets[end:tag_at] != between
        or not octets.startswith(before)
    ):
        return None
    return octets[at:end], octets[tag_at:]
