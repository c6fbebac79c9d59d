"""What a node does with BPSec: protect what its applications send, open what is for them, and add,
verify and take off on the way what rules say.

A protected bundle carries one BCB over its payload: AES-GCM, which authenticates payload, primary
block and the headers of both blocks (RFC 9173 §4.7.2).  Where policy asks for it, a BIB signs the
payload too, with a BCB of its own, as RFC 9172 §3.9 asks: each encryption needs its own IV, and
RFC 9173 §4.3.1 gives a BCB one.
"""

from __future__ import annotations

from typing import NamedTuple

from stack.core.errors import DecodeError
from stack.core.sansio import Entropy
from stack.policy.label import label_of
from stack.ports.security import Opened
from stack.security import contexts
from stack.security.acceptor import Acceptor
from stack.security.keys import KeyRing
from stack.security.policy import SecurityPolicy
from stack.security.reasons import UNKNOWN, Unusable
from stack.security.rules import Rules
from stack.security.signatures import PASSED, Signatures, Signers
from stack.security.source import SecuritySource
from stack.security.use import KeyUse
from stack.wire.bundle import Bundle

LABELS_MAX = 64
"""Data policies whose keys are kept: anybody can make up others."""


class _Roles(NamedTuple):
    """Who acts with the keys for one data policy (RFC 9172 §1.4)."""

    source: SecuritySource
    acceptor: Acceptor


class BpSec:
    """Implements `stack.ports.security.Security` with shared keys."""

    def __init__(
        self,
        keys: KeyRing,
        entropy: Entropy,
        policy: SecurityPolicy,
        *,
        use: KeyUse | None = None,
        signers: Signers | None = None,
    ) -> None:
        """`use` counts encryptions, by itself where none is given.  `signers` has the keys of
        signatures: by default `keys`."""
        self._keys = keys
        self._use = use or KeyUse()
        self._entropy = entropy
        self._policy = policy
        self._rules = Rules(policy.rules, keys.elsewhere)
        self._signatures = Signatures(
            signers or keys, policy.cose_sign_for, policy.cose_require_from
        )
        self._plain = self._roles(keys)
        self._bound: dict[bytes, _Roles] = {}
        keys.on_change(self._forget)

    def _forget(self) -> None:
        """Nothing of keys that may be gone stays prepared."""
        self._bound.clear()
        contexts.forget_keys()

    def _roles(self, keys: KeyRing) -> _Roles:
        policy, signatures, rules = self._policy, self._signatures, self._rules
        return _Roles(
            SecuritySource(keys, self._use, self._entropy, policy, signatures, rules),
            Acceptor(keys, policy, signatures, rules),
        )

    def _under(self, label: bytes) -> _Roles:
        """For bundles of one data policy: their keys are made from ours and the label, so that a
        payload opens under the very label that it was sealed under, and under no other."""
        if not label:
            return self._plain
        found = self._bound.get(label)
        if found is None:
            if len(self._bound) >= LABELS_MAX:
                self._bound.clear()
            found = self._bound[label] = self._roles(self._keys.bound(label))
        return found

    def protect(self, bundle: Bundle) -> Bundle:
        """The bundle, secured as policy says.  Raises `SecurityError` without keys, and for a
        fragment."""
        label = label_of(bundle.blocks)
        return self._under(label).source.protect(bundle, labelled=bool(label))

    def open(self, bundle: Bundle) -> Opened:
        """Verify and decrypt as acceptor, remove the security blocks; fail closed."""
        label = label_of(bundle.blocks)
        return self._under(label).acceptor.open(bundle, labelled=bool(label))

    def verify(self, bundle: Bundle) -> Opened:
        """As verifier and acceptor on the way (RFC 9172 §5.1), as policy asks."""
        if not (self._policy.cose_require_from or self._rules):
            return PASSED
        label = label_of(bundle.blocks)
        return self._under(label).acceptor.pass_on(bundle, labelled=bool(label))

    def secure(self, bundle: Bundle) -> Opened:
        """Add, as security source on the way, what rules ask for.  Raises `SecurityError` without
        keys."""
        if not self._rules:
            return PASSED
        try:
            secured = self._under(label_of(bundle.blocks)).source.secure(bundle)
        except Unusable as problem:
            return Opened(False, None, str(problem), problem.reason)
        except DecodeError as error:
            return Opened(False, None, f"security block cannot be read: {error}", UNKNOWN)
        return PASSED if secured is bundle else Opened(True, secured)
