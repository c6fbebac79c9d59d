"""BPv7: endpoint identifiers."""

from __future__ import annotations

import string

from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from stack.core.eid import IPN_LOCAL_NODE, SCHEME_IPN, Eid

_NODE_CHARS = string.ascii_letters + string.digits + "-._~!$&'()*+,;="
_DEMUX_CHARS = "".join(chr(code) for code in range(0x21, 0x7F))


@strategy
def dtn_eids(choose: Choices) -> Eid:
    """``dtn://node/demux`` of every shape that RFC 9171 §4.2.5.1.1 allows."""
    node = choose.text(_NODE_CHARS, 1, 40)
    if choose.flip(4):
        at = choose.integer(0, len(node))
        node = f"{node[:at]}%{choose.integer(0, 255):02x}{node[at:]}"
    return Eid.parse(f"dtn://{node}/{choose.text(_DEMUX_CHARS, 0, 40)}")


@strategy
def ipn_eids(choose: Choices) -> Eid:
    """ipn EIDs over the whole range of RFC 9758, null and local ones excepted."""
    allocator = choose.uint(32) if choose.flip() else 0
    node = choose.uint(32, 1)
    if node == IPN_LOCAL_NODE and not allocator:
        node -= 1
    return Eid(SCHEME_IPN, (allocator, node, choose.uint()))


@strategy
def eids(choose: Choices) -> Eid:
    """Any EID of a known scheme, not null."""
    return choose.draw((dtn_eids if choose.flip() else ipn_eids).maker())
