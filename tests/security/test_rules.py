"""Security by rules: what one node adds, the next verifies and takes off, or refuses for the right
reason (RFC 9172 §3.7 to §3.9, §5, §7.1)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.core.errors import ConfigError, SecurityError
from stack.cose import HpkePrivateKey, HpkePublicKey, SigningKey, VerifyingKey
from stack.policy import DataPolicy
from stack.policy.label import policy_block
from stack.ports.security import Opened
from stack.security import BpSec, Key, KeyRing, PolicyRule, SecurityPolicy, contexts, cose_context
from stack.security.operations import COSE_TARGETS_MAX
from stack.security.reasons import CONFLICTING, FAILED, MISSING, UNEXPECTED
from stack.wire.asb import decode_asb
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    REPLICATE,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    check_bundle,
    decode_bundle,
    encode_bundle,
    encrypted_blocks,
    fragment_bundle,
)
from tests.engines.bundle_agent.desk import Desk
from tests.engines.bundle_agent.harness import NOW
from tests.security.test_operations import bib

LEGACY, FAR = "dtn://legacy/", "dtn://far/"
GATE, EXIT, OTHER = "dtn://gate/", "dtn://exit/", "dtn://other/"
KEYS = (Key("aes", "aes", bytes(range(32))), Key("mac", "hmac", bytes(range(48))))
EXTRA = 222


def node(name: str, *rules: PolicyRule, require: bool = True) -> BpSec:
    counter = itertools.count(1)
    return BpSec(
        KeyRing(KEYS, name),
        lambda count: next(counter).to_bytes(count, "big"),
        SecurityPolicy(rules=rules, require=require),
    )


def rule(role: str, service: str, block: str = "payload", **more: str) -> PolicyRule:
    return PolicyRule(role=role, service=service, block=block, **more)


def plain(payload: bytes = b"tasking of tomorrow", source: str = LEGACY + "app") -> Bundle:
    """A bundle of a node that knows no security, with a block of its own."""
    primary = PrimaryBlock(
        Eid.parse(FAR + "app"), Eid.parse(source), Eid.NONE, NOW - 1000, 5, 3_600_000, 0, 2
    )
    blocks = (CanonicalBlock(EXTRA, 2, REPLICATE, b"extra", 2), CanonicalBlock(1, 1, 0, payload, 2))
    return decode_bundle(encode_bundle(Bundle(primary, blocks)))[0]


def passed(bpsec: BpSec, bundle: Bundle) -> Opened:
    """What a node on the way makes of a bundle."""
    verified = bpsec.verify(bundle)
    if not verified.ok:
        return verified
    bundle = verified.bundle or bundle
    secured = bpsec.secure(bundle)
    result = secured.bundle or bundle
    if secured.ok:
        check_bundle(decode_bundle(encode_bundle(result))[0])
    return Opened(secured.ok, result if secured.ok else None, secured.failure, secured.reason)


CHECK = rule("verifier", "confidentiality", peer=GATE, fragments="pass")


def test_a_verifier_passes_fragments_on_only_where_its_rule_says_so() -> None:
    secured = passed(node(GATE, ADD), plain(bytes(2000))).bundle
    assert secured is not None
    fragments = [decode_bundle(encode_bundle(one))[0] for one in fragment_bundle(secured, 900)]
    assert len(fragments) > 1
    for one in fragments:
        assert passed(node(OTHER, CHECK), one).bundle == one
        refusing = passed(node(OTHER, replace(CHECK, fragments="refuse")), one)
        assert "no fragment can show" in refusing.failure
    damaged = replace(secured.payload, data=bytes(len(secured.payload.data)), encoded=None)
    forged = Bundle(secured.primary, (*secured.blocks[:-1], damaged))
    assert passed(node(OTHER, CHECK), forged).reason == FAILED, "a whole bundle is verified"


def test_what_else_a_rule_asks_for_is_asked_of_fragments_that_pass() -> None:
    secured = passed(node(GATE, ADD), plain(bytes(2000))).bundle
    assert secured is not None
    other = rule("verifier", "integrity", "222", peer=GATE)
    for one in fragment_bundle(secured, 900):
        sent = decode_bundle(encode_bundle(one))[0]
        if any(block.type == EXTRA for block in sent.blocks):
            assert passed(node(OTHER, CHECK, other), sent).reason == MISSING


def test_the_destination_takes_off_the_whole_what_fragments_have_brought() -> None:
    secured = passed(node(GATE, ADD), plain(b"tasking" * 300)).bundle
    assert secured is not None
    far = Desk(security=node(FAR, TAKE), node=FAR)
    damaged = Desk(security=node(FAR, TAKE), node=FAR)
    for one in fragment_bundle(secured, 900):
        assert far.arrive(encode_bundle(one))
        payload = replace(one.payload, data=bytes(len(one.payload.data)), encoded=None)
        damaged.arrive(encode_bundle(Bundle(one.primary, (*one.blocks[:-1], payload))))
    assert (far.got, damaged.got) == ([b"tasking" * 300], [])


@pytest.mark.parametrize(("role", "block"), [("acceptor", "payload"), ("verifier", "222")])
def test_only_a_verifier_of_payloads_can_pass_fragments_on(role: str, block: str) -> None:
    with pytest.raises(ConfigError, match="fragments"):
        rule(role, "integrity", block, fragments="pass")


def content(bundle: Bundle) -> dict[int, bytes]:
    return {block.number: bytes(block.data) for block in bundle.blocks}


ADD = rule("source", "confidentiality", peer=EXIT, destination="dtn://far/**")
TAKE = rule("acceptor", "confidentiality", peer=GATE)


def test_a_gateway_encrypts_for_another_that_takes_it_off() -> None:
    sent = plain()
    secured = passed(node(GATE, ADD), sent).bundle
    assert secured is not None
    (bcb,) = [b for b in secured.blocks if b.type == BLOCK_CONFIDENTIALITY]
    asb = decode_asb(bcb.data)
    assert (asb.source, asb.targets, bcb.flags) == (Eid.parse(GATE), (1,), REPLICATE)
    assert b"tasking" not in encode_bundle(secured)
    assert passed(node(OTHER), secured).bundle == secured, "who has no rule lets it pass"
    back = passed(node(EXIT, TAKE), secured).bundle
    assert back is not None
    assert encode_bundle(back) == encode_bundle(sent)


@pytest.mark.parametrize(
    ("accepts", "damaged", "reason"),
    [
        (replace(TAKE, peer=OTHER), False, MISSING),
        (rule("acceptor", "integrity", peer=GATE), False, MISSING),
        (rule("verifier", "confidentiality", "222", peer=GATE), False, MISSING),
        (TAKE, True, FAILED),
        (replace(TAKE, role="verifier"), True, FAILED),
    ],
)
def test_why_the_next_refuses(accepts: PolicyRule, damaged: bool, reason: int) -> None:
    secured = passed(node(GATE, ADD), plain()).bundle
    assert secured is not None
    if damaged:
        payload = secured.payload
        bad = CanonicalBlock(1, 1, 0, bytes(payload.data[:-1]) + b"?", payload.crc_type)
        secured = Bundle(secured.primary, (*secured.blocks[:-1], bad))
    result = passed(node(EXIT, accepts), secured)
    assert (result.ok, result.reason, result.bundle) == (False, reason, None)


@pytest.mark.parametrize("role", ["acceptor", "verifier"])
@pytest.mark.parametrize("service", ["confidentiality", "integrity"])
def test_what_is_not_bound_to_its_bundle_does_not_count(role: str, service: str) -> None:
    """The scope leaves out the primary block: anybody may put it into a bundle of his own; or the
    target's header: whoever carries it may put it in the place of another block."""

    def moved(scope: int) -> tuple[Opened, Opened]:
        policy = SecurityPolicy(rules=(rule("source", service, peer=EXIT),), scope=scope)
        gate = BpSec(KeyRing(KEYS, GATE), bytes, policy)
        secured = passed(gate, plain()).bundle
        assert secured is not None
        other = replace(secured.primary, sequence=6, encoded=None)
        accepts = rule(role, service, peer=GATE)
        results = (
            passed(node(EXIT, accepts), Bundle(primary, secured.blocks))
            for primary in (secured.primary, other)
        )
        return next(results), next(results)

    there, elsewhere = moved(contexts.SCOPE_ALL)
    assert (there.ok, elsewhere.reason) == (True, FAILED)
    for flag in (contexts.SCOPE_PRIMARY, contexts.SCOPE_TARGET_HEADER):
        there, elsewhere = moved(contexts.SCOPE_ALL & ~flag)
        assert (there.ok, there.reason) == (False, MISSING)
        assert "its scope leaves out the primary block" in there.failure
        reason = MISSING if flag == contexts.SCOPE_PRIMARY else FAILED
        assert (elsewhere.ok, elsewhere.reason) == (False, reason)


def test_a_stranger_secures_nothing_for_others() -> None:
    """The destination takes what its rules let a gateway secure, and nothing else."""
    secured = passed(node(GATE, ADD), plain()).bundle
    assert secured is not None
    assert node(FAR).open(secured).reason == UNEXPECTED
    opened = node(FAR, TAKE).open(secured)
    assert opened.bundle is not None
    assert content(opened.bundle) == content(plain())
    assert node(FAR, TAKE).open(plain()).reason == MISSING


FOR_FAR = rule("source", "confidentiality", peer=FAR)


@pytest.mark.parametrize(
    ("added", "names"),
    [
        ([rule("source", "integrity", "primary", peer=FAR), FOR_FAR], ("acceptor", "primary")),
        ([rule("source", "integrity", "primary", peer=FAR), FOR_FAR], ("verifier", "primary")),
        ([rule("source", "integrity", "222", peer=FAR), FOR_FAR], ("acceptor", "222")),
        ([rule("source", "integrity", peer=FAR)], ("acceptor", "222")),
        ([rule("source", "integrity", "primary", peer=FAR)], ("verifier", "primary")),
    ],
)
def test_who_is_named_for_one_thing_speaks_for_nothing_else(
    added: list[PolicyRule], names: tuple[str, str]
) -> None:
    role, block = names
    forged = passed(node(GATE, *added), plain(b"made by the gateway")).bundle
    assert forged is not None
    far = node(FAR, rule(role, "integrity", block, peer=GATE), require=False)
    assert far.open(forged).reason == UNEXPECTED


def test_who_is_named_for_the_payload_hides_its_bib_with_it() -> None:
    """§3.9"""
    own = plain(source=GATE + "app")
    signed = node(GATE, rule("source", "integrity")).protect(own)
    hidden = passed(node(OTHER, FOR_FAR), signed).bundle
    assert hidden is not None
    assert len(encrypted_blocks(hidden.blocks)) == 2
    opened = node(FAR, rule("acceptor", "confidentiality", peer=OTHER)).open(hidden)
    assert opened.bundle is not None
    assert content(opened.bundle) == content(own)


def test_what_a_rule_lets_come_in_clear() -> None:
    free = rule("acceptor", "none", source="dtn://legacy/**")
    assert node(FAR, free).open(plain()).ok
    assert node(FAR, free).open(plain(source="dtn://gs1/app")).reason == MISSING
    label = policy_block(DataPolicy(), number=3, crc_type=2)
    labelled = Bundle(plain().primary, (label, *plain().blocks))
    assert node(FAR, free).open(labelled).reason == MISSING, "what has a data policy never does"


def test_what_came_in_clear_is_not_proven() -> None:
    own = plain(source=GATE + "app")
    by_rule = node(FAR, rule("acceptor", "none"))
    head = node(GATE, rule("source", "none"), rule("source", "integrity", "primary"))
    signed = node(GATE, rule("source", "integrity")).protect(own)
    secured = node(GATE).protect(own)
    for far in (by_rule, node(FAR, require=False)):
        for bundle, proven in ((own, False), (head.protect(own), False), (signed, True)):
            opened = far.open(bundle)
            assert (opened.ok, opened.proven) == (True, proven)
    for far in (by_rule, node(FAR)):
        assert far.open(secured).proven
    moved = BpSec(KeyRing(KEYS, GATE), bytes, SecurityPolicy(scope=0)).protect(own)
    assert not by_rule.open(moved).proven, "it may be of another bundle"


def test_what_is_made_here_goes_as_rules_say() -> None:
    own = plain(source=GATE + "app")
    clear = rule("source", "none")
    assert node(GATE, clear).protect(own) is own
    for rules in ((rule("source", "integrity", "primary"),), ()):
        made = node(GATE, *rules).protect(own)
        assert 1 in encrypted_blocks(made.blocks), "rules for other blocks change nothing"
        opened = node(FAR, rule("acceptor", "integrity", "primary")).open(made)
        assert (opened.ok, opened.reason) == ((True, 0) if rules else (False, MISSING))
    label = policy_block(DataPolicy(), number=3, crc_type=2)
    made = node(GATE, clear).protect(Bundle(own.primary, (label, *own.blocks)))
    assert 1 in encrypted_blocks(made.blocks), "what has a data policy never goes in clear"


@pytest.mark.parametrize("asked", [(), (ADD,), (rule("source", "integrity", peer=EXIT),)])
def test_what_has_a_data_policy_is_encrypted_to_its_destination(
    asked: tuple[PolicyRule, ...],
) -> None:
    """Whatever the nodes on the way are told to take off."""
    label = policy_block(DataPolicy(), number=3, crc_type=2)
    own = plain(source=GATE + "app")
    made = node(GATE, *asked).protect(Bundle(own.primary, (label, *own.blocks)))
    out = passed(node(EXIT, rule("acceptor", "confidentiality")), made).bundle
    assert out is not None
    assert b"tasking" not in encode_bundle(out)
    opened = node(FAR).open(out)
    assert opened.bundle is not None
    assert content(opened.bundle) == content(own) | {3: bytes(label.data)}
    bare = Bundle(made.primary, (label, *own.blocks))
    assert passed(node(EXIT, rule("acceptor", "confidentiality")), bare).reason == MISSING


def test_what_has_a_data_policy_is_encrypted_with_a_key_of_its_destination() -> None:
    label = policy_block(DataPolicy(), number=3, crc_type=2)
    own = plain(source=GATE + "app")
    labelled = Bundle(own.primary, (label, *own.blocks))
    keys = [Key(peer, "aes", bytes([n]) * 32, (peer,)) for n, peer in enumerate((EXIT, FAR))]
    made = BpSec(KeyRing(keys, GATE), bytes, SecurityPolicy(rules=(ADD,))).protect(labelled)
    far, leaves = (
        BpSec(KeyRing([replace(key, peers=(GATE,))], name), bytes, SecurityPolicy())
        for key, name in ((keys[1], FAR), (keys[0], EXIT))
    )
    assert far.open(made).ok
    assert leaves.open(made).reason == FAILED


def test_the_first_rule_for_a_service_on_a_block_counts() -> None:
    first = rule("acceptor", "none", source="dtn://legacy/**")
    for rules, ok in (((first, TAKE), True), ((TAKE, first), False)):
        assert passed(node(EXIT, *rules), plain()).ok is ok


def test_a_signed_block_is_encrypted_with_its_bib() -> None:
    """§3.9: also one that somebody else has signed, who finds it as it was."""
    signer = node(GATE, rule("source", "integrity", peer=FAR))
    signed = passed(signer, plain()).bundle
    assert signed is not None
    (bib,) = [b for b in signed.blocks if b.type == BLOCK_INTEGRITY]
    assert bib.number not in encrypted_blocks(signed.blocks)
    hidden = passed(node(OTHER, replace(ADD, peer=EXIT)), signed).bundle
    assert hidden is not None
    assert encrypted_blocks(hidden.blocks) == {1, bib.number}
    shown = passed(node(EXIT, replace(TAKE, peer=OTHER)), hidden).bundle
    assert shown is not None
    assert content(shown) == content(signed)
    assert node(FAR, rule("acceptor", "integrity", peer=GATE), require=False).open(shown).ok


def test_no_second_operation_and_no_bib_on_what_is_encrypted() -> None:
    """§3.2, §3.9; what comes back to the node that has secured it goes on as it is."""
    gate = node(GATE, ADD)
    secured = passed(gate, plain()).bundle
    assert secured is not None
    again = passed(gate, secured)
    assert (again.ok, again.bundle) == (True, secured)
    for service in ("confidentiality", "integrity"):
        result = passed(node(OTHER, rule("source", service)), secured)
        assert (result.ok, result.reason) == (False, CONFLICTING)


def test_a_bib_of_several_blocks_is_not_torn_apart() -> None:
    sent = plain()
    both = bib(9, (1, 2), sent.blocks, sent.primary.source, primary=sent.primary)
    result = passed(node(GATE, ADD), Bundle(sent.primary, (both, *sent.blocks)))
    assert result.reason == CONFLICTING
    # An acceptor of one of them leaves the other, which still verifies.
    signed = Bundle(sent.primary, (both, *sent.blocks))
    left = passed(node(EXIT, rule("acceptor", "integrity")), signed).bundle
    assert left is not None
    (rest,) = [b for b in left.blocks if b.type == BLOCK_INTEGRITY]
    assert decode_asb(rest.data).targets == (2,)
    assert passed(node(OTHER, rule("verifier", "integrity", "222")), left).ok


def test_fragments_are_not_secured_nor_taken_for_whole() -> None:
    """§5.2"""
    pieces = fragment_bundle(plain(bytes(3000)), 1500)
    result = passed(node(GATE, ADD), pieces[0])
    assert (result.reason, result.bundle) == (MISSING, None)
    secured = passed(node(GATE, ADD), plain(bytes(3000))).bundle
    assert secured is not None
    for piece in fragment_bundle(secured, 1500):
        assert passed(node(EXIT, TAKE), piece).reason == FAILED
    head = rule("source", "integrity", "primary", peer=EXIT)
    signed = passed(node(GATE, head), plain(bytes(3000))).bundle
    assert signed is not None
    for piece in fragment_bundle(signed, 1500):
        assert passed(node(EXIT, replace(head, role="verifier", peer=GATE)), piece).ok


@pytest.mark.parametrize("service", ["confidentiality", "integrity"])
def test_an_acceptor_on_the_way_lets_no_fragment_by(service: str) -> None:
    """It does not join them, and none goes on with what should have been taken off."""
    secured = passed(node(GATE, rule("source", service, peer=EXIT)), plain(bytes(3000))).bundle
    assert secured is not None
    desk = Desk(security=node(EXIT, rule("acceptor", service, peer=GATE)), node=EXIT)
    pieces = fragment_bundle(secured, 1500)
    assert [desk.arrive(encode_bundle(piece)) for piece in pieces] == [None] * len(pieces)
    assert desk.agent.counters["dropped_security"] == len(pieces) > 1
    assert not desk.agent.entries
    assert desk.arrive(encode_bundle(secured)), "the whole goes on"
    (entry,) = desk.agent.entries.values()
    (encoded,) = desk.store.load([entry.ref])
    assert encoded is not None
    assert [block.type for block in decode_bundle(encoded)[0].blocks] == [EXTRA, 1]


def test_without_its_key_nothing_goes_on() -> None:
    gate = BpSec(KeyRing((), GATE), bytes, SecurityPolicy(rules=(ADD,)))
    with pytest.raises(SecurityError, match="no aes key"):
        gate.secure(plain())


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "sorce"},
        {"service": "privacy"},
        {"source": "ipn:x"},
        {"peer": "dtn://gw/app"},
        {"block": "7"},
        {"block": "0"},
        {"block": "bib"},
        {"block": "12"},
        {"block": "primary"},
        {"block": "policy"},
        {"context": "cose-sign"},
        {"block": "9" * 30},
    ],
)
def test_rules_that_make_no_sense(wrong: dict[str, str]) -> None:
    fine = {"role": "source", "service": "confidentiality"}
    PolicyRule(**fine)
    with pytest.raises(ConfigError) as caught:
        PolicyRule(**(fine | wrong))
    assert caught.value.key in wrong


# ---- the COSE context -------------------------------------------------------------------------


class Certified:
    """Who has a certificate of everybody, and keys of its own."""

    def __init__(self, name: str) -> None:
        self.name = name

    def signing_key(self, peer: str) -> SigningKey:
        return SIGNING[self.name]

    def verifying_key(self, node: str, key_id: bytes) -> VerifyingKey | None:
        key = SIGNING.get(node)
        return key.public if key is not None and key_id in (b"", key.public.key_id) else None

    def sealing_key(self, peer: str) -> HpkePublicKey:
        return SEALING[peer].public

    def unsealing_key(self) -> HpkePrivateKey | None:
        return SEALING.get(self.name)


NAMES = (GATE, EXIT, FAR, LEGACY, OTHER)
SIGNING = {name: SigningKey(Ed25519PrivateKey.generate()) for name in NAMES}
SEALING = {name: HpkePrivateKey("X25519", bytes([n + 1]) * 32) for n, name in enumerate(NAMES)}


def certified(name: str, *rules: PolicyRule) -> BpSec:
    counter = itertools.count(1)
    return BpSec(
        KeyRing(KEYS, name),
        lambda count: next(counter).to_bytes(count, "big"),
        SecurityPolicy(rules=rules),
        signers=Certified(name),
    )


SIGNED = rule("source", "integrity", context="cose-sign", peer=EXIT)
FOR_ONE = rule("source", "confidentiality", context="cose-hpke", peer=EXIT)
COSE = {
    "mac": [rule("source", "integrity", context="cose-mac", peer=EXIT)],
    "signature": [SIGNED],
    "encryption": [rule("source", "confidentiality", context="cose-encrypt", peer=EXIT)],
    "agreement": [SIGNED, FOR_ONE],
}


@pytest.mark.parametrize("kind", COSE)
def test_what_a_gateway_adds_in_the_cose_context_another_takes_off(kind: str) -> None:
    rules = COSE[kind]
    secured = passed(certified(GATE, *rules), plain()).bundle
    assert secured is not None
    takes = [replace(one, role="acceptor", context="rfc9173", peer=GATE) for one in rules]
    back = passed(certified(EXIT, *takes), secured).bundle
    assert back is not None
    assert content(back) == content(plain())
    payload = secured.payload
    bad = CanonicalBlock(1, 1, payload.flags, b"!" + bytes(payload.data[1:]), payload.crc_type)
    damaged = Bundle(secured.primary, (*secured.blocks[:-1], bad))
    assert passed(certified(EXIT, *takes), damaged).reason == FAILED
    moved = Bundle(replace(secured.primary, sequence=6, encoded=None), secured.blocks)
    assert passed(certified(EXIT, *takes), moved).reason == FAILED, "of another bundle"
    if kind == "agreement":
        assert b"tasking" not in encode_bundle(secured)
        assert passed(certified(OTHER, *takes), secured).reason == FAILED, "for the exit alone"


def test_what_anybody_can_encrypt_has_to_be_signed() -> None:
    own = plain(source=GATE + "app")
    for rules, reason in (([SIGNED, FOR_ONE], 0), ([FOR_ONE], MISSING)):
        to_far = [replace(one, peer="") for one in rules]
        made = certified(GATE, *to_far).protect(own)
        opened = certified(FAR).open(made)
        assert opened.reason == reason, opened.failure
        assert certified(FAR, rule("acceptor", "confidentiality")).open(made).reason == reason


def test_a_signature_that_may_be_of_another_bundle_says_nothing_of_who_encrypted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else who may read a signed payload could send it on to others as if it were for them."""
    own = plain(source=GATE + "app")
    sign: Callable[..., bytes] = cose_context.sign_targets
    scope = {key: flags for key, flags in cose_context.SCOPE_DEFAULT.items() if key}
    monkeypatch.setattr(cose_context, "sign_targets", lambda *args: sign(*args[:-1], scope))
    made = certified(GATE, *(replace(one, peer="") for one in (SIGNED, FOR_ONE))).protect(own)
    for rules in ([], [rule("acceptor", "confidentiality")]):
        opened = certified(FAR, *rules).open(made)
        assert (opened.reason, "not signed it" in opened.failure) == (MISSING, True)


def test_under_another_label_nothing_opens_that_was_encrypted_for_one() -> None:
    label = policy_block(DataPolicy(), number=3, crc_type=2)
    own = plain(source=GATE + "app")
    rules = [replace(one, peer="") for one in (SIGNED, FOR_ONE)]
    made = certified(GATE, *rules).protect(Bundle(own.primary, (label, *own.blocks)))
    assert certified(FAR).open(made).ok
    other = policy_block(DataPolicy(audit=True), number=3, crc_type=2)
    for blocks in ((), (other,)):
        rest = [block for block in made.blocks if block.number != 3]
        assert not certified(FAR).open(Bundle(made.primary, (*blocks, *rest))).ok


def test_without_a_certificate_nothing_is_encrypted_for_one() -> None:
    gate = BpSec(KeyRing(KEYS, GATE), bytes, SecurityPolicy(rules=(FOR_ONE,)))
    with pytest.raises(SecurityError, match="no certificate"):
        gate.secure(plain())


@pytest.mark.parametrize(("count", "ok"), [(COSE_TARGETS_MAX, True), (COSE_TARGETS_MAX + 1, False)])
def test_few_blocks_of_a_bundle_are_decrypted_that_may_have_all_others_in_their_aad(
    count: int, ok: bool
) -> None:
    """In how many BCBs they come; at the end as on the way."""
    sent = plain(source=GATE + "app")
    more = tuple(CanonicalBlock(EXTRA, n, REPLICATE, b"x", 2) for n in range(3, count + 1))
    hides = [
        rule("source", "confidentiality", block, context="cose-encrypt")
        for block in ("payload", "222")
    ]
    made = node(GATE, *hides).protect(Bundle(sent.primary, (*more, *sent.blocks)))
    takes = [replace(one, role="acceptor", context="rfc9173") for one in hides]
    one, other = node(FAR).open(made), passed(node(EXIT, *takes), made)
    assert (one.ok, other.ok) == (ok, ok)
    assert ok or (one.reason, other.reason) == (CONFLICTING, CONFLICTING)
    assert passed(node(OTHER, takes[0]), made).ok, "what it does not decrypt costs nothing"


# ---- whole agents -----------------------------------------------------------------------------


def chain(*rules: Sequence[PolicyRule]) -> list[Desk]:
    """The gateway, the exit and the destination, each with its rules."""
    ends = NOW + 3_600_000
    names = (GATE, EXIT, FAR)
    plan = Plan([Contact(a, b, NOW, ends, 1e6) for a, b in itertools.pairwise(names)])
    return [
        Desk(security=node(name, *mine), node=name, contacts=plan)
        for name, mine in zip(names, rules, strict=True)
    ]


def test_between_gateways_it_is_secured_at_rest_and_arrives_once() -> None:
    free = rule("acceptor", "none", source="dtn://legacy/**")
    gate, leaves, far = chain([ADD], [TAKE], [free])
    bundle = plain()
    assert gate.arrive(bundle)
    assert gate.arrive(bundle) == 0, "the same bundle, though it is encrypted anew"
    (stored,) = gate.store.load([old.ref for old in gate.store.scan()])
    assert stored is not None
    assert b"tasking" not in bytes(stored)
    gate.pass_on(leaves)
    leaves.pass_on(far)
    assert far.got == [b"tasking of tomorrow"]


def test_what_the_exit_refuses_is_reported_with_its_reason() -> None:
    gate, leaves, _ = chain([], [TAKE], [])
    gate.arrive(plain())
    gate.pass_on(leaves)
    assert leaves.agent.counters["dropped_security"] == 1
    assert leaves.store.usage().bundles == 0


def test_a_node_without_its_key_leaves_the_bundle_where_it_is() -> None:
    gate = Desk(security=BpSec(KeyRing((), GATE), bytes, SecurityPolicy(rules=(ADD,))), node=GATE)
    reception = gate.agent.receive(encode_bundle(plain()), NOW, 0)
    assert (reception.put, reception.intact) == (None, False)


# ---- any rules --------------------------------------------------------------------------------

SERVICES = st.sampled_from(["integrity", "confidentiality"])
BLOCKS = st.sampled_from(["payload", "primary", "222"])
PAIRS = st.sets(
    st.tuples(SERVICES, BLOCKS).filter(lambda pair: pair != ("confidentiality", "primary"))
)


@settings(max_examples=150, deadline=None)
@given(PAIRS, PAIRS, PAIRS, st.sampled_from([GATE, OTHER]))
def test_what_one_adds_the_next_accepts_or_refuses_for_the_right_reason(
    added: set[tuple[str, str]],
    verified: set[tuple[str, str]],
    accepted: set[tuple[str, str]],
    peer: str,
) -> None:
    sent = plain()
    one = node(GATE, *(rule("source", *pair, peer=EXIT) for pair in sorted(added)))
    other = node(
        EXIT,
        *(rule("acceptor", *pair, peer=peer) for pair in sorted(accepted)),
        *(rule("verifier", *pair, peer=peer) for pair in sorted(verified)),
    )
    secured = passed(one, sent).bundle
    assert secured is not None
    for service, block in added:
        if service == "confidentiality":
            assert (b"tasking" if block == "payload" else b"extra") not in encode_bundle(secured)
    result = passed(other, secured)
    wanted = accepted | verified
    by_gate = peer == GATE
    # What is verified has to be left by what was accepted before, and to be in clear by then.
    missing = bool(wanted) and (not by_gate or not wanted <= added or bool(accepted & verified))
    hidden = {
        pair
        for pair in wanted
        if pair[0] == "integrity" and ("confidentiality", pair[1]) in added - wanted
    }
    late = {
        pair
        for pair in accepted
        if pair[0] == "integrity" and ("confidentiality", pair[1]) in verified - accepted
    }
    if missing or hidden or late:
        assert not result.ok
        assert result.reason == MISSING
        return
    assert result.ok, result.failure
    assert result.bundle is not None
    if accepted == added:
        assert content(result.bundle) == content(sent)
