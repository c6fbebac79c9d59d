"""Rules of BPSec policy: for which flows, blocks and roles which security operation is asked for
(RFC 9172 §10).

Without a rule a node encrypts and authenticates the payloads that it makes, and delivers none
without: with shared keys, or for nodes of another domain with certificates, if that is trusted to
read.  A rule for the payload takes the place of that for its flow; a node on the way adds, verifies
and accepts nothing but what rules say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace

from stack.core.checks import check_node_id, check_one_of
from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError
from stack.policy.eid_pattern import EidPattern
from stack.security.keys import Elsewhere, ours
from stack.security.reasons import UNEXPECTED, Unusable
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    BUNDLE_AGE,
    DATA_POLICY,
    HOP_COUNT,
    PAYLOAD,
    PREVIOUS_NODE,
    PrimaryBlock,
)

RULES_MAX = 256
FLOWS_MAX = 1024
"""Flows whose rules are kept at hand."""

PRIMARY = 0
"""Stands for the primary block, which has no type."""

_BLOCKS = {"primary": PRIMARY, "payload": PAYLOAD, "policy": DATA_POLICY}
_CHANGING = (PREVIOUS_NODE, BUNDLE_AGE, HOP_COUNT)
_SECURITY = (BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY)
_TYPE_MAX = 1 << 32

CONTEXTS = {
    "integrity": ("rfc9173", "cose-sign", "cose-mac", "cose-kek", "cose-kdk"),
    "confidentiality": (
        "rfc9173",
        "cose-encrypt",
        "cose-hpke",
        "cose-public",
        "cose-kek",
        "cose-kdk",
    ),
    "none": ("rfc9173",),
}
"""With which contexts a service is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """One rule.  Of those that match, the first for a service on a type of block counts.  Raises
    `ConfigError`."""

    role: str
    """"source": this node adds the operation, to what it makes and to what passes through;
    "verifier": what passes through goes on only with it, as it came; "acceptor": likewise, but it
    is taken off, also at the destination."""

    service: str
    """"integrity" (a BIB), "confidentiality" (a BCB), or "none": nothing is added or asked for."""

    source: str = "*:**"
    """EID pattern of the sources of bundles (`docs/trust.md`)."""

    destination: str = "*:**"
    """EID pattern of their destinations."""

    block: str = "payload"
    """The target: "payload", "primary", "policy" (the label of a data policy), or the number of
    another type of block."""

    context: str = "rfc9173"
    """How a source makes it: "rfc9173" (HMAC-SHA2, AES-GCM with shared keys), or in the COSE
    context "cose-sign" (this node's own signature), "cose-mac" and "cose-encrypt" (shared keys),
    "cose-kek" and "cose-kdk" (under a key that a shared one of that kind wraps, or that is derived
    from it), "cose-hpke" (for the key in the certificate of `peer`) or "cose-public" (for its key
    of kind "cose-encrypt-public" in the key file: key agreement, or RSA).  The last two anybody
    can do: so what is encrypted with these or "cose-kek" or "cose-kdk" needs a rule for integrity
    of the same block beside it.  A verifier or acceptor takes any that it knows."""

    peer: str = ""
    """Node at the other end of the operation: the one that accepts it, whose keys a source uses
    (empty: the bundle's destination); or its security source (empty: the bundle's source)."""

    fragments: str = "refuse"
    """What a verifier of payloads does with fragments, which it cannot verify (RFC 9172 §5.2):
    "refuse", or "pass": whoever forges fragments comes past it, and no further than to the
    destination, which verifies the whole."""

    def __post_init__(self) -> None:
        check_one_of("role", self.role, ("source", "verifier", "acceptor"))
        check_one_of("service", self.service, tuple(CONTEXTS))
        check_one_of("context", self.context, CONTEXTS[self.service])
        for key, text in (("source", self.source), ("destination", self.destination)):
            try:
                EidPattern.parse(text)
            except DecodeError as error:
                raise ConfigError(key, error.reason, "see docs/trust.md, Rules") from None
        if self.peer:
            check_node_id("peer", self.peer)
        kind = self.kind
        check_one_of("fragments", self.fragments, ("refuse", "pass"))
        if self.fragments == "pass" and (self.role, kind) != ("verifier", PAYLOAD):
            raise ConfigError(
                "fragments", "only a verifier of payloads can pass them on unverified"
            )
        if kind in _CHANGING and self.service != "none":
            raise ConfigError("block", "changes at each hop, so nothing can vouch for it")
        if kind in _SECURITY:
            raise ConfigError("block", "BIB and BCB are secured with their targets (RFC 9172 §3.9)")
        if kind == PRIMARY and self.service == "confidentiality":
            raise ConfigError("block", "the primary block is never encrypted (RFC 9172 §3.8)")
        if kind == DATA_POLICY and self.service == "confidentiality":
            raise ConfigError("block", "who carries a bundle reads the label of its data policy")

    @property
    def kind(self) -> int:
        """The type of block; `PRIMARY` for the primary block.  Raises `ConfigError`."""
        found = _BLOCKS.get(self.block)
        if found is None and self.block.isascii() and self.block.isdecimal():
            found = int(self.block) if len(self.block) < 11 else _TYPE_MAX
        if found is None or found >= _TYPE_MAX or (found == PRIMARY and self.block != "primary"):
            known = ", ".join(_BLOCKS)
            raise ConfigError("block", f"{self.block[:64]!r} is none of {known}, nor a number")
        return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """What rules say of one flow for one role."""

    rules: tuple[PolicyRule, ...]
    """One for each service on each type of block, those of service "none" left out."""

    payload: bool
    """Whether they say anything of the payload."""

    signed: bool = False
    """Whether the source has to have signed the payload with its own key.  At the source itself:
    whether it signs the head too, for relays (`stack.security.signatures`)."""

    def headed(self, kind: int) -> Wanted:
        """With a signature of the head, which is of this type of block: last, so that it is left
        out where a rule has had that signed."""
        return replace(self, rules=(*self.rules, _HEADS[kind]))

    def lets(self, service: str, kinds: Set[int], peer: str) -> bool:
        """Whether rules name node `peer` for a service, and for it on all these types of block."""
        named = {rule.kind for rule in self.rules if (rule.service, rule.peer) == (service, peer)}
        return bool(named) and named >= kinds

    def apart(self) -> tuple[Wanted, Wanted]:
        """What is said of the payload, and the rest."""
        ours = tuple(rule for rule in self.rules if rule.kind == PAYLOAD)
        rest = tuple(rule for rule in self.rules if rule.kind != PAYLOAD)
        return Wanted(ours, self.payload), Wanted(rest, False)

    def finds(self, service: str, kind: int, peer: str, own: str) -> bool:
        """Whether a service on a type of block is asked for from node `peer`."""
        return any(
            (rule.service, rule.kind, rule.peer or own) == (service, kind, peer)
            for rule in self.rules
        )


NOTHING = Wanted((), False)

_HEADS = {
    kind: PolicyRule(role="source", service="integrity", block=block, context="cose-sign")
    for block, kind in (("primary", PRIMARY), ("policy", DATA_POLICY))
}

BETWEEN_DOMAINS = {
    "source": Wanted(
        (
            PolicyRule(role="source", service="integrity", context="cose-sign"),
            PolicyRule(role="source", service="confidentiality", context="cose-hpke"),
        ),
        True,
        signed=True,  # relays may ask for it
    ),
    "acceptor": Wanted(
        (
            PolicyRule(role="acceptor", service="integrity"),
            PolicyRule(role="acceptor", service="confidentiality"),
        ),
        True,
        signed=True,  # who has the shared keys of this domain is none of the other
    ),
}
"""Where two nodes have no keys in common, but certificates that each believes: signed by the one,
encrypted for the other alone."""


class Rules:
    """The rules of a node, by flow."""

    def __init__(self, rules: Iterable[PolicyRule] = (), elsewhere: Elsewhere = ours) -> None:
        self._rules = tuple(rules)
        self._elsewhere = elsewhere
        self._found: dict[tuple[str, Eid, Eid], Wanted] = {}

    def __bool__(self) -> bool:
        return bool(self._rules)

    def at_ends(self, role: str, primary: PrimaryBlock) -> Wanted:
        """What is asked for of a bundle that is made here ("source"), or is for here
        ("acceptor").  Raises `Unusable` where no rule says anything of its payload, and the node at
        the other end is of a domain that is not trusted to read."""
        found = self.of(role, primary)
        if found.payload:
            return found
        other = (primary.destination if role == "source" else primary.source).node
        reads = self._elsewhere(str(other))
        if reads is None:
            return found
        if not reads:
            words = f"{other} is of a domain that is not trusted to read, and no rule names it"
            raise Unusable(UNEXPECTED, words)
        between = BETWEEN_DOMAINS[role]
        return replace(between, rules=(*between.rules, *found.rules))

    def of(self, role: str, primary: PrimaryBlock) -> Wanted:
        """What they say of a bundle."""
        if not self._rules:
            return NOTHING
        flow = (role, primary.source, primary.destination)
        found = self._found.get(flow)
        if found is None:
            if len(self._found) >= FLOWS_MAX:
                self._found.clear()
            matching = [rule for rule in self._rules if _matches(rule, *flow)]
            found = self._found[flow] = _wanted(matching)
        return found


def _matches(rule: PolicyRule, role: str, source: Eid, destination: Eid) -> bool:
    return (
        rule.role == role
        and EidPattern.parse(rule.source).matches(source)
        and EidPattern.parse(rule.destination).matches(destination)
    )


def _wanted(matching: Sequence[PolicyRule]) -> Wanted:
    first: dict[tuple[int, str], PolicyRule] = {}
    free: set[int] = set()
    for rule in matching:
        if rule.service == "none":
            free.add(rule.kind)
        elif rule.kind not in free:
            first.setdefault((rule.kind, rule.service), rule)
    # What is both signed and encrypted is signed in clear (RFC 9172 §3.9).
    order = sorted(first.values(), key=lambda rule: rule.service != "integrity")
    said = PAYLOAD in free or any(kind == PAYLOAD for kind, _ in first)
    return Wanted(tuple(order), said)
