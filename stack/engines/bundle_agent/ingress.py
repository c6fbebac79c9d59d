"""Bundle reception (RFC 9171 §5.6): what may be taken in, and as what."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from stack.core.errors import DecodeError, LocalError, PolicyError, SecurityError, StoreError
from stack.core.train import Buffer
from stack.engines.bundle_agent.admission import Admission
from stack.engines.bundle_agent.blocks import (
    BlockReader,
    Refused,
    ended,
    malformed,
    refused,
    unproven,
)
from stack.engines.bundle_agent.config import AgentConfig
from stack.engines.bundle_agent.entry import node_and_service
from stack.engines.bundle_agent.extensions import Extensions
from stack.engines.bundle_agent.origin import PRIORITY_DEFAULT
from stack.engines.bundle_agent.permission import refusal
from stack.engines.bundle_agent.shares import NOWHERE, OWN, Shares
from stack.engines.bundle_agent.trail import name_of
from stack.engines.bundle_agent.tunnels import DEPTH_MAX, Tunnels
from stack.policy import DataPolicy, PolicyGate
from stack.ports.security import Opened
from stack.ports.store import Place, Put
from stack.wire.bundle import (
    IS_ADMIN,
    IS_FRAGMENT,
    LENIENT,
    PAYLOAD_NUMBER,
    STRICT,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    ReportReason,
    check_bundle,
    decode_bundle,
    decode_primary,
    encode_bundle,
    encrypted_blocks,
)

FAILED_SECURITY = ReportReason.FAILED_SECURITY_OPERATION
NO_INFORMATION = ReportReason.NO_INFORMATION

UNPROVEN_MAX = 4096
"""Bundles that did not verify, and are known if they come again."""


class Arrival(NamedTuple):
    """A bundle that has come, read and not yet judged."""

    data: Buffer
    offset: int
    end: int
    """Where it ends in `data`."""

    bundle: Bundle | None
    fault: Refused | Exception | None = None
    """Why there is no `bundle`."""


class Taken(NamedTuple):
    """A bundle that may be stored."""

    bundle: Bundle
    put: Put
    unprocessed: int
    """Blocks that asked for a report because they could not be processed (§5.6 step 4)."""


class Ingress:
    """Checks bundles from outside, whoever sent them."""

    def __init__(
        self,
        config: AgentConfig,
        admission: Admission,
        shares: Shares,
        leads_to: Callable[[str], bool],
        gate: PolicyGate | None,
        tunnels: Tunnels,
    ) -> None:
        """`leads_to` tells whether any contact leads to a node; `gate` what data policies allow
        here: without one no bundle that has such a policy is taken.  `tunnels` end here."""
        self._tunnels = tunnels
        self._gate = gate
        self._config = config
        self._admission = admission
        self._shares = shares
        self._leads_to = leads_to
        self._mode = LENIENT if config.lenient else STRICT
        self._unproven: OrderedDict[bytes, None] = OrderedDict()
        self._blocks = BlockReader(config)

    def read(self, data: Buffer, offset: int = 0) -> Arrival:
        """Read the bundle that begins at `offset`, and judge nothing yet.

        Never raises for what it contains.  Where a bundle cannot be read nobody can tell where it
        ends: then the end is that of `data`.
        """
        size = len(data) - offset
        if size > self._config.bundle_bytes_max:
            words = f"{size} octets, more than bundle_bytes_max {self._config.bundle_bytes_max}"
            reason = ReportReason.DEPLETED_STORAGE
            fault = Refused(reason, "too_large", words, self._primary(data, offset))
            return Arrival(data, offset, len(data), None, fault)
        try:
            bundle, end = decode_bundle(data, offset=offset, mode=self._mode)
        except DecodeError as error:
            reason, primary = ReportReason.BLOCK_UNINTELLIGIBLE, self._primary(data, offset)
            fault = Refused(reason, "malformed", str(error), primary, intact=False)
            return Arrival(data, offset, len(data), None, fault)
        return Arrival(data, offset, end, bundle)

    def take(
        self, arrival: Arrival, now_ms: int, *, previous: str = "", trusted: bool = False
    ) -> Taken | Refused:
        """Judge what node `previous` sent.  `trusted`: the priority that it claims is believed.

        Never raises for what it contains.
        """
        data, offset, end, bundle, fault = arrival
        if bundle is None:
            if isinstance(fault, Refused):
                return fault
            raise fault or LocalError("neither a bundle nor what is wrong with it")
        try:
            check_bundle(bundle)
        except DecodeError as error:
            return malformed(bundle, error)
        most = self._config.bundle_bytes_max
        total = bundle.primary.total_adu_length or 0
        if total > most:
            words = f"part of {total} octets, more than bundle_bytes_max {most}"
            return refused(bundle, ReportReason.DEPLETED_STORAGE, "too_large", words)
        judged = self.judge(bundle, memoryview(data)[offset:end], now_ms, previous, trusted)
        if isinstance(judged, Refused):
            judged = dataclasses.replace(judged, name=name_of(bundle.primary))
            trail = self._admission.trail
            if trail is not None:
                event = trail.refused(bundle, judged.words, previous, now_ms)
                judged = dataclasses.replace(judged, event=event)
        return judged

    def _primary(self, data: Buffer, offset: int) -> PrimaryBlock | None:
        """Whom to tell about a bundle that cannot be read as a whole, if that much is certain.

        A report about a fragment would have to say how long it is, which nobody knows.
        """
        try:
            primary, _ = decode_primary(data, offset + 1, mode=self._mode)
        except DecodeError:
            return None
        return primary if primary.crc_type and not primary.flags & IS_FRAGMENT else None

    def judge(
        self,
        bundle: Bundle,
        encoded: Buffer,
        now_ms: int,
        previous: str,
        trusted: bool,
        depth: int = 0,
    ) -> Taken | Refused:
        """Judge a bundle that has been decoded and checked already, and came within `depth` others
        that were for here."""
        primary, config, admission = bundle.primary, self._config, self._admission
        found = Extensions()
        kept: list[CanonicalBlock] = []
        place = admission.place_of(bundle)
        judged = (
            self._blocks.extensions(bundle, found, kept)
            or self._blocks.limits(bundle, found, place, now_ms)
            or self._permitted(primary, found, place is not Place.FORWARD)
        )
        if judged is not None:
            return judged
        expires_ms = self._blocks.expiry(primary, found.age_ms, now_ms)
        if found.policy and found.policy.expires_ms and config.trusted_clock:
            expires_ms = min(expires_ms, found.policy.expires_ms)
        if expires_ms <= now_ms:
            words = f"lifetime ended {now_ms - expires_ms} ms ago"
            reason = ended(primary, config, expires_ms, now_ms)
            return refused(bundle, reason, "expired_on_arrival", words, found.unprocessed)
        priority = found.priority
        if place is Place.FORWARD and not trusted and priority > PRIORITY_DEFAULT:
            # The next node may trust us: what is not believed is not passed on.
            kept = [block for block in kept if block.type != config.priority_block]
        renumbered = self._mode is LENIENT and any(block.encoded is None for block in bundle.blocks)
        if renumbered or len(kept) != len(bundle.blocks):
            bundle = Bundle(primary, tuple(kept))
            encoded = encode_bundle(bundle)
        opened = None
        if place is Place.FORWARD:
            passed = self._pass(bundle, encoded, found)
            if isinstance(passed, Refused):
                return passed
            bundle, encoded = passed
        elif place is Place.DELIVER:
            opened = admission.open(bundle)
            if opened is not None:
                other = self._opened(bundle, opened, found.unprocessed, now_ms, previous, depth)
                if other is not None:
                    return other
                place = place if opened.ok else Place.DEFER  # until there are other keys
                opened = opened if opened.ok and opened.proven else None
        owner = OWN
        if previous in self._shares.neighbours and not (trusted or opened):
            owner = self._owner(primary, place, previous)
        put = admission.put(
            bundle,
            encoded,
            priority if trusted or opened else min(priority, PRIORITY_DEFAULT),
            expires_ms,
            now_ms,
            place=place,
            opened=opened,
            evicts=trusted,
            found=found,
            previous=previous,
            outside=True,
            owner=owner,
        )
        sent = self._carrier(primary, put, found.policy, now_ms)
        return sent if isinstance(sent, Refused) else Taken(bundle, sent, found.unprocessed)

    def _carrier(
        self, primary: PrimaryBlock, put: Put, policy: DataPolicy | None, now_ms: int
    ) -> Put | Refused:
        """What carries a bundle through a tunnel, if there is one for it that does not lead back.
        It is known as that bundle: if that comes again, it is a duplicate."""
        tunnel = self._tunnels.of(primary) if put.place is Place.FORWARD else None
        if tunnel is None or tunnel.gateway == put.previous:
            return put
        bundle, _ = decode_bundle(put.encoded, mode=self._mode)
        try:
            outer = self._tunnels.wrapped(
                tunnel, bundle, policy, put.priority, put.expires_ms, now_ms
            )
        except (PolicyError, SecurityError, StoreError, LocalError) as error:
            words = f"by the tunnel to {tunnel.gateway}: {error}; its sender keeps it"
            return Refused(NO_INFORMATION, "not_permitted", words, intact=False)
        encoded = encode_bundle(outer)
        if len(encoded) > self._config.bundle_bytes_max:
            words = f"{len(encoded)} octets in a tunnel, more than bundle_bytes_max"
            return refused(bundle, ReportReason.DEPLETED_STORAGE, "too_large", words)
        carrier = self._admission.put(
            outer,
            encoded,
            put.priority,
            put.expires_ms,
            now_ms,
            evicts=put.evicts,
            previous=put.previous,
            owner=put.owner,
        )
        return self._admission.carrying(carrier, outer, put.event, put.key)

    def unwrap(
        self, outer: Bundle, now_ms: int, depth: int = 0, waited_ms: int = 0
    ) -> Taken | Refused | None:
        """What becomes of the bundle within one that was for here, has waited here, and has been
        opened; None where there is none."""
        try:
            inner = self._tunnels.unwrapped(outer, self._mode, now_ms, waited_ms)
        except DecodeError as error:
            return malformed(outer, error)
        if inner is None:
            return None
        most = self._config.bundle_bytes_max
        if depth >= DEPTH_MAX or (inner.primary.total_adu_length or 0) > most:
            words = f"within {depth} bundles, or part of more than bundle_bytes_max {most} octets"
            return refused(outer, ReportReason.DEPLETED_STORAGE, "too_large", words)
        gateway = str(outer.primary.source)
        return self.judge(inner, encode_bundle(inner), now_ms, gateway, True, depth + 1)

    def _opened(
        self,
        bundle: Bundle,
        opened: Opened,
        unprocessed: int,
        now_ms: int,
        previous: str,
        depth: int,
    ) -> Taken | Refused | None:
        """What becomes of a bundle for here that security has looked at, where it is not delivered
        itself."""
        if opened.bundle is not None:
            taken = self.unwrap(opened.bundle, now_ms, depth) if opened.proven else None
            if isinstance(taken, Taken):
                inner, put, asked = taken
                taken = Taken(inner, self._admission.emptied(put, bundle, previous), asked)
            return taken
        # Neither kept nor known: it must not stand in anybody's place.
        if opened.reason == FAILED_SECURITY and self._is_new(bundle):
            words = f"{opened.failure}: asked for once more"
            return Refused(NO_INFORMATION, "security", words, intact=False, once=True)
        if not opened.later:
            return unproven(bundle, opened, unprocessed)
        # Its key may come: it is kept as something that nobody has proven; but not a record, which
        # is not for an application.
        if bundle.primary.flags & IS_ADMIN:
            return _kept(opened.failure)
        return None

    def _pass(
        self, bundle: Bundle, encoded: Buffer, found: Extensions
    ) -> tuple[Bundle, Buffer] | Refused:
        """What passes through as security lets it: as what it is known if it comes again, and the
        octets that go on, to which this node may add what is never the same twice."""
        verified = self._admission.verify(bundle)
        if verified is None:
            return bundle, encoded
        if not verified.ok:
            # As with what is for here; but of a fragment no key tells more.
            if not bundle.primary.flags & IS_FRAGMENT and (
                verified.later or (verified.reason == FAILED_SECURITY and self._is_new(bundle))
            ):
                return _kept(verified.failure, once=not verified.later)
            return unproven(bundle, verified, found.unprocessed)
        if verified.bundle is not None:
            bundle = verified.bundle
            encoded = encode_bundle(bundle)
            found.encrypted = encrypted_blocks(bundle.blocks)
            found.label = None
        try:
            secured = self._admission.secure(bundle)
        except (SecurityError, StoreError) as error:
            return _kept(error)
        if secured is not None and not secured.ok:
            return unproven(bundle, secured, found.unprocessed)
        if secured is not None and secured.bundle is not None:
            encoded = encode_bundle(secured.bundle)
        return bundle, encoded

    def _is_new(self, bundle: Bundle) -> bool:
        """Whether what does not verify comes for the first time.  What is encrypted has no CRC
        (RFC 9173 §4.8.1), so it may have been damaged since its sender loaded it, who then sends
        something else the next time; what a forger made comes again as it is, and goes."""
        unproven, digest = self._unproven, self._admission.digest(bundle)
        if digest in unproven:
            del unproven[digest]
            return False
        unproven[digest] = None
        if len(unproven) > UNPROVEN_MAX:
            unproven.popitem(last=False)
        return True

    def _permitted(
        self, primary: PrimaryBlock, found: Extensions, delivered: bool
    ) -> Refused | None:
        """Refuse what must not come to rest here.  Its sender keeps it: there may be a way that is
        allowed."""
        if (policy := found.policy) is None:
            return None
        logged, sealed = self._admission.trail is not None, PAYLOAD_NUMBER in found.encrypted
        how = policy, self._gate, self._config
        why = refusal(*how, delivered=delivered, logged=logged, sealed=sealed)
        if not why:
            return None
        words = f"the policy of data from {primary.source}: {why}"
        return Refused(NO_INFORMATION, "not_permitted", words, intact=False)

    def _owner(self, primary: PrimaryBlock, place: Place, previous: str) -> str:
        """To whose share of the store a bundle counts that nobody has proven."""
        if place is not Place.FORWARD or self._leads_to(
            node_and_service(str(primary.destination))[0]
        ):
            return previous
        return NOWHERE


def _kept(why: object, once: bool = False) -> Refused:
    """What cannot be judged, or secured, now."""
    words = f"{why}: its sender keeps it"
    return Refused(NO_INFORMATION, "security", words, intact=False, once=once)
