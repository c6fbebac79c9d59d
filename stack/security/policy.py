"""What a node demands of security blocks, and puts into its own."""

from __future__ import annotations

from dataclasses import dataclass

from stack.security import contexts
from stack.security.rules import PolicyRule


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityPolicy:
    """What a node demands."""

    require: bool = True
    """True: a bundle is delivered only if its payload was encrypted, and is proven to belong to its
    primary block: by the scope of its encryption, or of a signature."""

    sign_for: tuple[str, ...] = ()
    """Destination nodes (shell patterns) whose bundles have a BIB beside the encryption, which
    alone authenticates as much: for peers that insist on one."""

    sha_variant: int = contexts.SHA_DEFAULT
    """HMAC of what is sent: 5 SHA-256, 6 SHA-384, 7 SHA-512 (RFC 9173 §3.3.1)."""

    scope: int = contexts.SCOPE_ALL
    """What else is authenticated in what is sent (RFC 9173 §3.3.3, §4.3.4); less than everything
    lets payloads be moved from one bundle to another."""

    waypoints: tuple[str, ...] = ()
    """Node ids that may secure bundles of other sources (RFC 9172 §1.3, security waypoints)."""

    cose_sign_for: tuple[str, ...] = ()
    """Destination nodes (shell patterns) whose bundles are signed with this node's own key."""

    cose_require_from: tuple[str, ...] = ()
    """Source nodes (shell patterns) of which nothing is delivered or passed on unsigned."""

    rules: tuple[PolicyRule, ...] = ()
    """What else is asked for, by flow, type of block and role."""
