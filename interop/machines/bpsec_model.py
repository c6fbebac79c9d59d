"""What an acceptor of BPSec (RFC 9172, RFC 9173) has to make of bundles whose making is known.

The model has no cryptography: it knows whether a bundle was made right, what is in it, and which
keys the acceptor has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from interop.machines.fault import MachineFault, require
from interop.machines.transitions import table
from interop.strategies.bpsec import KEYS
from interop.strategies.nearly_bpsec import CONTEXT_RULES, OPERATION_RULES, SECURITY_RULES
from interop.strategies.violation import Nearly, Violation
from stack.security import Key
from stack.wire.bundle import Bundle, decode_bundle, encode_bundle

MISSING, UNKNOWN, UNEXPECTED, FAILED, CONFLICTING = 12, 13, 14, 15, 16
"""Reasons (RFC 9172 §7.1)."""

_OTHERS = tuple(
    Key(f"other-{key.id}", key.kind, bytes(octet ^ 0x5A for octet in key.secret)) for key in KEYS
)
RINGS: Final[Mapping[str, tuple[Key, ...]]] = MappingProxyType(
    {"right": KEYS, "wrong": _OTHERS, "no": (), "old and right": (*_OTHERS, *KEYS)}
)
"""Keys that an acceptor may have.  Of several that apply, one that fits is enough."""

_ENOUGH = ("right", "old and right")

_KINDS = {
    "valid": "taken",
    "reordered": "taken",
    "nearly valid": "13 | 15 | 16",
    "unsecured": "12",
    "altered": "15",
    "stripped": "12 | 13",
}
BPSEC_TABLE: Final = (
    *table("bundle", {(f"{ring} keys", kind): after for ring in _ENOUGH
                      for kind, after in _KINDS.items()}),
    *table("bundle", {(f"{ring} keys", kind): "15" for ring in ("wrong", "no")
                      for kind in ("valid", "reordered", "altered")}),
)  # fmt: skip
"""What becomes of what, by the keys that are there."""


BundleName = tuple[str, int, int]


class Verdict(NamedTuple):
    """What an acceptor makes of a bundle."""

    payload: bytes | None
    """In plain; None: it is not delivered."""

    reason: int | None = None
    """Why not (RFC 9172 §7.1), if it says so."""

    blocks: Mapping[int, bytes] | None = None
    """Data of all other blocks in plain, by number, if it says so; without security blocks."""

    def __str__(self) -> str:
        return "taken" if self.payload is not None else str(self.reason or "refused")


@dataclass(frozen=True, slots=True)
class ShownBundle:
    """A bundle whose making is known."""

    kind: str
    octets: bytes
    plain: Verdict | None
    """What comes out of it with the right keys; None: nothing may."""

    violation: Violation | None = None
    reasons: frozenset[int] = frozenset()
    """Why it is refused with the right keys."""

    @property
    def name(self) -> BundleName:
        """What makes another bundle the same (RFC 9171 §4.2.7)."""
        primary = decode_bundle(self.octets)[0].primary
        return str(primary.source), primary.creation_ms, primary.sequence


_REASONS: Final[Mapping[str, frozenset[int]]] = MappingProxyType(
    {
        "unsecured": frozenset({MISSING}),
        "altered": frozenset({FAILED}),
        # An encrypted BIB cannot be read when nothing says that it is encrypted.
        "stripped": frozenset({MISSING, UNKNOWN, FAILED, CONFLICTING}),
    }
)


def case_of(kind: str, bundle: Bundle, plain: Bundle | None = None) -> ShownBundle:
    """A bundle of some kind; `plain`: what it was before it was secured, if it may be taken."""
    out = None
    if plain is not None:
        blocks = {block.number: bytes(block.data) for block in plain.blocks[:-1]}
        out = Verdict(bytes(plain.payload.data), None, blocks)
    why = _REASONS.get(kind, frozenset())
    return ShownBundle(kind, encode_bundle(bundle), out, reasons=why)


def reasons_for(violation: Violation) -> frozenset[int]:
    """Why a bundle that breaks a rule of `SECURITY_RULES` is refused (RFC 9172 §7.1)."""
    rule = next(rule for rule in SECURITY_RULES if rule.violation == violation)
    if rule in OPERATION_RULES:
        # What is encrypted twice cannot be read, which comes first.
        twice = violation.words == "a BCB does not encrypt a BCB"
        return frozenset({UNKNOWN if twice else CONFLICTING})
    if rule in CONTEXT_RULES:
        return frozenset({UNKNOWN, FAILED})
    return frozenset({UNKNOWN})


class SecurityModel:
    """What is right of an acceptor."""

    def __init__(self, *, says_why: bool, once: bool) -> None:
        self._says_why = says_why
        self._once = once
        self._taken: set[BundleName] = set()
        self._verdicts: dict[tuple[str, bytes], Verdict] = {}

    def nearly(self, nearly: Nearly) -> ShownBundle:
        """A case that breaks a rule."""
        why = reasons_for(nearly.violation)
        return ShownBundle("nearly valid", nearly.encoded, None, nearly.violation, why)

    def judge(self, case: ShownBundle, ring: str, verdict: Verdict) -> None:
        """The acceptor, having the keys of `ring`, has said this.  Raises `MachineFault`."""
        what = (case.kind, f"{ring} keys", case.octets.hex())
        name = case.name if self._once else None
        if name in self._taken:
            new = verdict.payload is not None
            require(not new, "RFC 9171 §4.2.7", "a bundle is delivered under an id that was", what)
            return
        if name and verdict.payload is not None:
            self._taken.add(name)
        if case.plain is not None and ring in _ENOUGH:
            self._right(case, verdict, what)
        else:
            violation = case.violation or Violation("RFC 9172 §5.1.1", f"taken: {case.kind}")
            if verdict.payload is not None:
                raise MachineFault(violation.clause, violation.words, what)
            right = case.reasons if ring in _ENOUGH else {*case.reasons, MISSING, FAILED}
            fine = not self._says_why or verdict.reason in right
            require(fine, "RFC 9172 §7.1", f"refused for another reason: {verdict.reason}, where "
                    f"{sorted(right)} would be right", what)  # fmt: skip
        before = self._verdicts.setdefault((ring, case.octets), verdict)
        same = before == verdict or self._once
        require(same, "RFC 9172 §5.1", "another verdict on the same octets", what)

    def _right(self, case: ShownBundle, verdict: Verdict, what: object) -> None:
        plain = case.plain
        assert plain is not None
        require(
            verdict.payload is not None, "RFC 9172 §5.1.1",
            f"refused, with reason {verdict.reason}, what is right", what,
        )  # fmt: skip
        require(
            verdict.payload == plain.payload, "RFC 9173 §4.8.2", "another payload than was sealed",
            what,
        )  # fmt: skip
        same = verdict.blocks is None or verdict.blocks == plain.blocks
        require(same, "RFC 9173 §4.8.2", "another block than was sealed", what)
