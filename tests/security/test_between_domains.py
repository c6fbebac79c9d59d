"""Between two domains: certificates in common and no keys, for whoever forges."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from stack.core.errors import SecurityError
from stack.policy import DataPolicy
from stack.policy.label import policy_block
from stack.security import BpSec, Key, KeyRing, PolicyRule, SecurityPolicy
from stack.security.keys import Elsewhere, ours
from stack.security.reasons import MISSING, UNEXPECTED
from stack.wire.asb import CONTEXT_BIB_HMAC_SHA2, CONTEXT_COSE, decode_asb
from stack.wire.bundle import (
    BLOCK_INTEGRITY,
    DATA_POLICY,
    Bundle,
    decode_bundle,
    encode_bundle,
    encrypted_blocks,
)
from tests.security.test_rules import EXIT, FAR, LEGACY, OTHER, Certified, passed, plain, rule

FOREIGN = "dtn://gate/"
SHARED = (
    Key("kari-epoch-1-aes", "aes", bytes(range(32)), per_node=True),
    Key("kari-epoch-1-hmac", "hmac", bytes(range(48)), per_node=True),
)
LABEL = policy_block(DataPolicy(expires_ms=900_000_000_000), number=77, crc_type=2)


def reads(node: str) -> bool | None:
    """Of two domains that trust each other to read: who is of the other."""
    return True


def only_passes(node: str) -> bool | None:
    """Another domain is not trusted to read."""
    return False if node == FOREIGN else None


def node(
    name: str, elsewhere: Elsewhere = reads, rules: Sequence[PolicyRule] = (), **policy: Any
) -> BpSec:
    count = itertools.count(1)
    return BpSec(
        KeyRing(SHARED, name, elsewhere=elsewhere),
        lambda size: next(count).to_bytes(size, "big"),
        SecurityPolicy(rules=tuple(rules), **policy),
        signers=Certified(name),
    )


def labelled(bundle: Bundle) -> Bundle:
    """The bundle with a label before all else, as a carrier would put it in."""
    return decode_bundle(encode_bundle(Bundle(bundle.primary, (LABEL, *bundle.blocks))))[0]


def back() -> Bundle:
    """A bundle for the other domain."""
    bundle = plain(source=FAR + "app")
    there = plain(source=FOREIGN + "app").primary.source
    return Bundle(replace(bundle.primary, destination=there, encoded=None), bundle.blocks)


def test_what_the_source_has_signed_and_encrypted_opens() -> None:
    for bundle in (plain(source=FOREIGN + "app"), labelled(plain(source=FOREIGN + "app"))):
        opened = node(FAR).open(node(FOREIGN).protect(bundle))
        assert (opened.ok, opened.proven) == (True, True), opened.failure


def test_who_has_the_shared_keys_of_a_domain_speaks_for_no_node_of_another() -> None:
    bundle = plain(source=FOREIGN + "app")
    for sign_for in ((), ("*",)):
        forged = node(FOREIGN, ours, sign_for=sign_for).protect(bundle)
        assert node(FAR, ours).open(forged).ok  # as if that were a node of one's own
        assert not node(FAR).open(forged).ok
        assert node(FAR, only_passes).open(forged).reason == UNEXPECTED


def test_nothing_is_sent_to_who_is_not_trusted_to_read() -> None:
    for bundle in (back(), labelled(back())):
        with pytest.raises(SecurityError, match="not trusted to read, and no rule names it"):
            node(FAR, only_passes).protect(bundle)
        assert node(FAR, ours).protect(bundle) != bundle


SIGNS = rule("source", "integrity", context="cose-sign")
SEALS = rule("source", "confidentiality", context="cose-hpke")


def test_a_rule_that_names_who_is_not_trusted_to_read_holds_for_him() -> None:
    bundle = plain(source=FOREIGN + "app")
    named = [
        rule("acceptor", each, source=FOREIGN + "**") for each in ("integrity", "confidentiality")
    ]
    sent = node(FOREIGN, ours, [SIGNS, SEALS]).protect(bundle)
    opened = node(FAR, only_passes, named).open(sent)
    assert (opened.ok, opened.proven) == (True, True), opened.failure


def test_a_gateway_of_ours_vouches_for_who_is_not_trusted_to_read() -> None:
    adds = rule("source", "confidentiality", source=FOREIGN + "**")
    takes = rule("acceptor", "confidentiality", source=FOREIGN + "**", peer=EXIT)
    secured = passed(node(EXIT, only_passes, [adds]), plain(source=FOREIGN + "app")).bundle
    assert secured is not None
    opened = node(FAR, only_passes, [takes]).open(secured)
    assert opened.ok, opened.failure


@pytest.mark.parametrize("elsewhere", [reads, only_passes])
def test_no_rule_has_the_keys_of_a_domain_speak_for_another(elsewhere: Elsewhere) -> None:
    """Neither at the destination nor on the way; and none has them encrypt for it."""
    taken, checked = (
        node(name, elsewhere, [rule(role, "integrity")], require=False)
        for name, role in ((FAR, "acceptor"), (OTHER, "verifier"))
    )
    for context in ("rfc9173", "cose-mac"):
        signs = rule("source", "integrity", context=context)
        forged = node(FOREIGN, ours, [signs]).protect(plain(source=FOREIGN + "app"))
        own = node(LEGACY, ours, [signs]).protect(plain())
        for bundle, fine in ((forged, False), (own, elsewhere is only_passes)):
            assert taken.open(bundle).ok is fine
            assert checked.verify(bundle).ok is fine
        with pytest.raises(SecurityError, match="is of another domain: no key"):
            node(FAR, elsewhere, [signs]).protect(back())


def test_no_rule_has_them_open_what_has_a_label() -> None:
    """What has one is encrypted, also where a rule lets the rest come in clear."""
    taken = node(FAR, only_passes, [rule("acceptor", "none")])
    for source, fine in ((FOREIGN, False), (LEGACY, True)):
        made = node(source, ours).protect(labelled(plain(source=source + "app")))
        assert taken.open(made).ok is fine


def heads(bundle: Bundle) -> list[tuple[int, int]]:
    """Which blocks are signed for everybody to see, and in which context."""
    hidden = encrypted_blocks(bundle.blocks)
    bibs = [b for b in bundle.blocks if b.type == BLOCK_INTEGRITY and b.number not in hidden]
    asbs = [decode_asb(bib.data) for bib in bibs]
    return [(number, asb.context) for asb in asbs for number in asb.targets]


@pytest.mark.parametrize(
    "bundle", [plain(source=FOREIGN + "app"), labelled(plain(source=FOREIGN + "app"))]
)
def test_relays_that_ask_for_signatures_pass_on_what_goes_between_domains(bundle: Bundle) -> None:
    relay = node(OTHER, cose_require_from=(FOREIGN,))
    for sender in (node(FOREIGN), node(FOREIGN, ours, [SIGNS, SEALS], cose_sign_for=(FAR,))):
        sent = sender.protect(bundle)
        assert relay.verify(sent).ok, relay.verify(sent).failure
        assert node(FAR).open(sent).ok
        assert heads(sent) == [(LABEL.number if bundle.blocks[0] == LABEL else 0, CONTEXT_COSE)]
        hidden = encrypted_blocks(sent.blocks)
        kept = [b for b in sent.blocks if b.type != BLOCK_INTEGRITY or b.number in hidden]
        assert relay.verify(Bundle(sent.primary, tuple(kept))).reason == MISSING


def test_the_head_is_signed_once_and_as_rules_say() -> None:
    heading = rule("source", "integrity", "primary")
    for rules, context in (
        ([heading, SIGNS, SEALS], CONTEXT_BIB_HMAC_SHA2),
        ([SIGNS, SEALS], CONTEXT_COSE),
    ):
        sent = node(FOREIGN, ours, rules, cose_sign_for=(FAR,)).protect(
            plain(source=FOREIGN + "app")
        )
        assert heads(sent) == [(0, context)]
    free = rule("source", "none")
    assert heads(node(FOREIGN, ours, [free], cose_sign_for=(FAR,)).protect(plain())) == []


def test_no_label_is_put_on_or_taken_off_on_the_way() -> None:
    bundle = plain(source=FOREIGN + "app")
    added = node(FAR).open(labelled(node(FOREIGN).protect(bundle)))
    assert (added.ok, "does not bind the label" in added.failure) == (False, True)
    sent = node(FOREIGN).protect(labelled(bundle))
    bare = [block for block in sent.blocks if block.type != DATA_POLICY]
    assert not node(FAR).open(Bundle(sent.primary, tuple(bare))).ok
