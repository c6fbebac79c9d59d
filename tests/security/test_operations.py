"""Security operations one by one: who may cover what, and what becomes of what fails (RFC 9172)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from stack.core.eid import Eid
from stack.core.errors import DecodeError, SecurityError
from stack.security import BpSec, Key, KeyRing, SecurityPolicy, contexts
from stack.wire import cbor
from stack.wire.asb import EncodedItem, SecurityBlock, decode_asb, encode_asb
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    CRC_NONE,
    DELETE_UNPROCESSED,
    DISCARD_UNPROCESSED,
    IS_FRAGMENT,
    REPLICATE,
    REPORT_UNPROCESSED,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    check_bundle,
    decode_bundle,
    decode_eid,
    encode_bundle,
    fragment_bundle,
    hop_count,
    reassemble,
)
from tests.strategies.forms import loose_bundles
from tests.wire.bundle import reference

AES, MAC, OTHER = bytes(range(32)), bytes(range(48)), b"o" * 32
SOURCE, DESTINATION = Eid.parse("dtn://gs1/files"), Eid.parse("dtn://sat1/files")
PRIMARY = PrimaryBlock(DESTINATION, SOURCE, Eid.NONE, 800_000_000_000, 5, 60_000)
PAYLOAD = CanonicalBlock(1, 1, 0, b"tasking")
EXTRA = CanonicalBlock(222, 7, 0, b"extra")
RING = KeyRing([Key("a", "aes", AES), Key("m", "hmac", MAC)])
ASSIGNED = REPLICATE | REPORT_UNPROCESSED | DELETE_UNPROCESSED | DISCARD_UNPROCESSED


def node(*, require: bool = True, sign_for: tuple[str, ...] = ()) -> BpSec:
    policy = SecurityPolicy(require=require, sign_for=sign_for)
    return BpSec(RING, lambda count: b"\7" * count, policy)


def bib(
    number: int,
    targets: Sequence[int],
    blocks: Sequence[CanonicalBlock],
    source: Eid = SOURCE,
    *,
    primary: PrimaryBlock = PRIMARY,
) -> CanonicalBlock:
    """A block integrity block that verifies."""
    shell = CanonicalBlock(BLOCK_INTEGRITY, number, 0, b"")
    there = {block.number: block for block in blocks}
    results = tuple(
        ((1, contexts.hmac_sha2(MAC, 5, 7, primary, there.get(target, primary), shell)),)
        for target in targets
    )
    asb = SecurityBlock(tuple(targets), 1, source, ((1, 5), (3, 7)), results)
    return dataclasses.replace(shell, data=encode_asb(asb))


def bcb(
    number: int,
    target: CanonicalBlock,
    key: bytes = AES,
    named: int | None = None,
    flags: int = REPLICATE,
    scope: int = 7,
) -> tuple[CanonicalBlock, CanonicalBlock]:
    """A block confidentiality block, and its target encrypted; it may name another one."""
    shell = CanonicalBlock(BLOCK_CONFIDENTIALITY, number, flags, b"")
    iv = bytes((number,)) * 12
    sealed = contexts.encrypt(AESGCM(key), iv, scope, PRIMARY, target, shell)
    asb = SecurityBlock(
        (target.number if named is None else named,),
        2,
        SOURCE,
        ((1, iv), (2, 3), (4, scope)),
        (((1, sealed[-16:]),),),
    )
    return dataclasses.replace(shell, data=encode_asb(asb)), dataclasses.replace(
        target, data=sealed[:-16]
    )


ASB = SecurityBlock((1, 2), 1, SOURCE, ((1, 5),), (((1, b"x"),), ((1, b"y"),)))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (encode_asb(ASB._replace(targets=(2, 2))), "named twice"),
        (encode_asb(ASB._replace(targets=())), "0 security targets"),
        (encode_asb(ASB._replace(results=ASB.results[:1])), "1 sets of results for 2"),
        (encode_asb(ASB._replace(results=ASB.results * 2)), "4 sets of results for 2"),
        (encode_asb(ASB) + b"\x00", "octets after"),
        (encode_asb(ASB)[:-1], "truncated"),
    ],
    ids=["twice", "none", "too few", "too many", "more", "cut"],
)
def test_what_is_no_abstract_security_block(data: bytes, why: str) -> None:
    assert decode_asb(encode_asb(ASB)) == ASB
    with pytest.raises(DecodeError, match=why):
        decode_asb(data)


@pytest.mark.parametrize("indefinite", [False, True])
def test_values_of_other_kinds_are_few_octets_in_a_security_block(indefinite: bool) -> None:
    """Each may be an item that somebody has to look at, and a target has several results."""
    item = EncodedItem(cbor.head(cbor.ARRAY, 599) + bytes(599))  # 602 octets
    if indefinite:
        item = EncodedItem(b"\x9f" + bytes(600) + b"\xff")
    value = (5, item)
    small = (6, EncodedItem(b"\x80"))
    asb = SecurityBlock((1, 2), 3, SOURCE, (value, small), ((small,), (small,) * 9))
    assert decode_asb(encode_asb(asb)).results == asb.results
    for parameters, results in (
        ((value, value), ((), ())),
        ((value,), ((), (value,))),
        ((), ((value,), (value,))),
    ):
        more = asb._replace(parameters=parameters, results=results)
        with pytest.raises(DecodeError, match="octets that are left"):
            decode_asb(encode_asb(more))


@given(st.integers(0, (1 << 64) - 1), st.booleans())
def test_reserved_security_context_flags_are_ignored(flags: int, parameters: bool) -> None:
    asb = ASB if parameters else ASB._replace(parameters=())
    head = b"\x82\x01\x02\x01"  # targets and context
    plain = encode_asb(asb)
    assert plain.startswith(head + bytes([parameters]))
    flags = flags & ~1 | parameters
    assert decode_asb(head + cbor.uint(flags) + plain[len(head) + 1 :]) == asb


def bundle(*blocks: CanonicalBlock) -> Bundle:
    return Bundle(PRIMARY, blocks)


def test_the_helpers_make_what_opens() -> None:
    signature = bib(2, (1,), (PAYLOAD,))
    (first, payload), (second, sealed) = bcb(3, PAYLOAD), bcb(4, signature)
    result = node().open(bundle(first, second, sealed, payload))
    assert result.ok, result.failure


# ---- what policy asks for ------------------------------------------------------------------


def test_a_signature_alone_is_not_enough() -> None:
    signed = bundle(bib(2, (1,), (PAYLOAD,)), PAYLOAD)
    assert node(require=False).open(signed).ok
    result = node().open(signed)
    assert (result.ok, result.bundle, result.reason) == (False, None, 12)


def test_encryption_is_enough_where_it_binds_the_payload_to_its_primary_block() -> None:
    for scope in range(8):
        result = node().open(_sealed(scope=scope, parameters=((2, 3), (4, scope))))
        assert (result.ok, result.reason) == ((True, 0) if scope & 3 == 3 else (False, 12)), scope
    assert node().open(_sealed()).ok
    # Another block that is bound is no proof of the payload.
    cover, extra = bcb(40, EXTRA)
    sealed = _sealed(scope=6, parameters=((2, 3), (4, 6)))
    result = node().open(bundle(cover, extra, *sealed.blocks))
    assert (result.ok, result.reason) == (False, 12)


@pytest.mark.parametrize("scope", range(8))
def test_what_was_encrypted_of_one_block_is_not_taken_for_the_payload(scope: int) -> None:
    """Whoever carries a bundle may put it there, where the scope does not say of which it is."""
    cover, sealed = bcb(3, EXTRA, named=1, scope=scope)
    moved = bundle(cover, dataclasses.replace(PAYLOAD, data=sealed.data))
    assert not node().open(moved).ok
    opened = node(require=False).open(moved)
    assert not (opened.ok and opened.proven)


def test_who_asks_for_a_signature_gets_one() -> None:
    for patterns, signed in (
        ((), False),
        (("dtn://other/",), False),
        (("dtn://other/", "dtn://sat*"), True),
        (("*",), True),
    ):
        made = node(sign_for=patterns).protect(bundle(PAYLOAD))
        kinds = [block.type for block in made.blocks]
        assert kinds == ([12, 12, 11, 1] if signed else [12, 1])
        assert node().open(made).ok
        moved = node().open(Bundle(dataclasses.replace(PRIMARY, sequence=6), made.blocks))
        assert (moved.ok, moved.reason) == (False, 15)


@pytest.mark.parametrize("scope", range(8))
def test_a_signature_binds_the_payload_where_its_scope_has_the_primary_block(scope: int) -> None:
    policy = SecurityPolicy(scope=scope, sign_for=("*",))
    made = BpSec(RING, lambda count: b"\7" * count, policy).protect(bundle(PAYLOAD))
    moved = Bundle(dataclasses.replace(PRIMARY, sequence=6), made.blocks)
    for one, good, needs in ((made, (True, 0), 3), (moved, (False, 15), 1)):
        result = node().open(one)
        assert (result.ok, result.reason) == (good if scope & needs == needs else (False, 12))


# ---- RFC 9172 §3.2, §3.7, §3.8 -------------------------------------------------------------


def test_a_service_covers_a_block_once() -> None:
    twice = bundle(bib(2, (1,), (PAYLOAD,)), bib(3, (1,), (PAYLOAD,)), PAYLOAD)
    result = node(require=False).open(twice)
    assert (result.ok, result.reason) == (False, 16)
    first, once = bcb(2, PAYLOAD)
    second, again = bcb(3, once)
    for order in ((first, second), (second, first)):
        result = node(require=False).open(bundle(*order, again))
        assert (result.ok, result.reason) == (False, 16)


def test_a_bib_signs_no_security_block() -> None:
    inner = bib(2, (1,), (PAYLOAD,))
    result = node(require=False).open(bundle(inner, bib(3, (2,), (inner,)), PAYLOAD))
    assert (result.ok, result.reason) == (False, 16)
    cover, payload = bcb(2, PAYLOAD)
    result = node(require=False).open(bundle(cover, bib(3, (2,), (cover,)), payload))
    assert (result.ok, result.reason) == (False, 16)


def test_a_bcb_encrypts_no_bcb_and_not_the_primary_block() -> None:
    inner, payload = bcb(2, PAYLOAD)
    outer, _ = bcb(3, inner)
    result = node(require=False).open(bundle(inner, outer, payload))
    assert (result.ok, result.reason) == (False, 16)
    primary, _ = bcb(2, PAYLOAD, named=0)
    result = node(require=False).open(bundle(primary, PAYLOAD))
    assert (result.ok, result.reason) == (False, 16)


def test_what_is_protected_has_its_bcb_in_every_fragment_and_keeps_it() -> None:
    whole = bundle(hop_count(9, 1, number=2), dataclasses.replace(PAYLOAD, data=bytes(900)))
    protected = node(sign_for=("*",)).protect(whole)
    covers = [block for block in protected.blocks if block.type == BLOCK_CONFIDENTIALITY]
    assert [bool(block.flags & REPLICATE) for block in covers] == [True, False]
    assert not any(block.flags & DISCARD_UNPROCESSED for block in covers)
    fragments = fragment_bundle(protected, 600)
    assert len(fragments) > 1
    for fragment in fragments:
        assert covers[0].number in {block.number for block in fragment.blocks}


# ---- RFC 9172 §4 ---------------------------------------------------------------------------


@given(st.integers(0, (1 << 20) - 1), st.integers(0, 1))
def test_reserved_flags_count_as_zero_and_assigned_ones_do_not(flags: int, index: int) -> None:
    protected = node().protect(bundle(PAYLOAD))
    block = protected.blocks[index]
    changed = dataclasses.replace(block, flags=block.flags ^ flags)
    blocks = (*protected.blocks[:index], changed, *protected.blocks[index + 1 :])
    result = node().open(Bundle(PRIMARY, blocks))
    assert result.ok == (not flags & ASSIGNED)


@given(st.integers(0, 15))
def test_reserved_scope_flags_count_as_zero(bit: int) -> None:
    shell = CanonicalBlock(BLOCK_INTEGRITY, 2, 0, b"")
    with_it, without = (
        contexts.hmac_sha2(MAC, contexts.HMAC_256, scope, PRIMARY, PAYLOAD, shell)
        for scope in (7 | 1 << bit, 7 & ~(1 << bit))
    )
    assert (with_it == without) == (bit > 2)


@pytest.mark.slow
@given(loose_bundles(whole=True))
def test_the_primary_block_counts_in_deterministic_encoding(drawn: tuple[Bundle, bytes]) -> None:
    # Without a CRC, so that the two encodings differ by their form alone.
    plain = dataclasses.replace(drawn[0].primary, crc_type=CRC_NONE, encoded=None)
    protected = node().protect(Bundle(plain, (PAYLOAD,)))
    open_arrays = Bundle(dataclasses.replace(plain, encoded=_open(plain)), protected.blocks)
    result = node().open(decode_bundle(encode_bundle(open_arrays))[0])
    assert result.ok, result.failure


def _open(primary: PrimaryBlock) -> bytes:
    def dump(item: reference.Item) -> bytes:
        if isinstance(item, list):
            return b"\x9f" + b"".join(dump(part) for part in item) + b"\xff"
        if isinstance(item, str):
            return b"\x7f" + reference.canonical(item) + b"\xff"
        return reference.canonical(item)

    return reference.encode_primary(primary, dump)


def test_a_source_of_three_elements_is_signed_as_it_came_and_survives_fragments() -> None:
    three, _ = decode_eid(bytes.fromhex("820283000501"))
    primary = dataclasses.replace(PRIMARY, source=three, report_to=three)
    protected = node().protect(Bundle(primary, (dataclasses.replace(PAYLOAD, data=bytes(900)),)))
    pieces = [decode_bundle(encode_bundle(f))[0] for f in fragment_bundle(protected, 600)]
    assert len(pieces) > 1
    result = node().open(decode_bundle(encode_bundle(reassemble(pieces)))[0])
    assert result.ok, result.failure
    two = dataclasses.replace(primary, source=Eid.parse("ipn:5.1"))
    assert not node().open(Bundle(two, protected.blocks)).ok


def test_eids_that_are_the_same_in_other_octets_are_not_so_to_a_signature() -> None:
    three, _ = decode_eid(bytes.fromhex("820283000501"))
    alike = [dataclasses.replace(PRIMARY, source=one) for one in (three, Eid.parse("ipn:5.1"))]
    assert alike[0] == alike[1]
    assert len({contexts.canonical_primary(one) for one in alike}) == 2


def test_an_encrypted_bib_signs_what_is_encrypted_and_no_more() -> None:
    (over_payload, payload), (over_extra, extra) = bcb(40, PAYLOAD), bcb(41, EXTRA)
    for targets, sealed, good in (
        ((1,), {1}, True),
        ((1, 7), {1, 7}, True),
        ((1,), {7}, False),
        ((1,), set[int](), False),
        ((1, 7), {1}, False),
        ((7, 1), {7}, False),
        ((0, 1), {1}, False),
    ):
        over_bib, hidden = bcb(42, bib(30, targets, (PAYLOAD, EXTRA)))
        blocks = [over_bib, hidden, extra if 7 in sealed else EXTRA]
        blocks += [over_payload] * (1 in sealed) + [over_extra] * (7 in sealed)
        result = node(require=False).open(bundle(*blocks, payload if 1 in sealed else PAYLOAD))
        assert (result.ok, result.reason) == ((True, 0) if good else (False, 16)), (targets, sealed)


@pytest.mark.parametrize(
    ("flags", "good"), [(0, False), (1, True), (0x11, False), (0x10, False), (5, True), (4, False)]
)
def test_a_bcb_whose_flags_let_it_get_lost_is_refused(flags: int, good: bool) -> None:
    cover, payload = bcb(3, PAYLOAD, flags=flags)
    result = node(require=False).open(bundle(cover, payload))
    assert (result.ok, result.reason) == ((True, 0) if good else (False, 16))
    other, extra = bcb(3, EXTRA, flags=flags & ~REPLICATE)
    assert node(require=False).open(bundle(other, extra, PAYLOAD)).ok == (not flags & 0x10)


def test_what_is_given_twice_says_nothing() -> None:
    twice = SecurityBlock((1,), 1, SOURCE, ((1, 5), (3, 7), (1, 5)), (((1, b"x"),),))
    result = node(require=False).open(
        bundle(CanonicalBlock(BLOCK_INTEGRITY, 2, 0, encode_asb(twice)), PAYLOAD)
    )
    assert (result.reason, result.failure) == (13, "a security parameter is given twice")
    asb = decode_asb(SIGNED.data)
    ((pair,),) = asb.results
    for results, good in (((pair,), True), ((pair, pair), False), ((pair, (2, 3)), True)):
        data = encode_asb(asb._replace(results=(results,)))
        made = bundle(dataclasses.replace(SIGNED, data=data), PAYLOAD)
        assert node(require=False).open(made).ok == good


# ---- RFC 9172 §5 ---------------------------------------------------------------------------


def test_an_extension_block_that_does_not_decrypt_goes_without_the_bundle() -> None:
    protected = node().protect(bundle(PAYLOAD))
    also_signed = bib(30, (7,), (EXTRA,))
    cover, extra = bcb(31, EXTRA, OTHER)
    signed_cover, signature = bcb(32, also_signed)
    blocks = (cover, signed_cover, signature, extra, *protected.blocks)
    result = node().open(Bundle(PRIMARY, blocks))
    assert result.ok, result.failure
    assert result.bundle is not None
    assert [block.type for block in result.bundle.blocks] == [1]
    readable, extra = bcb(31, EXTRA)
    result = node().open(Bundle(PRIMARY, (readable, extra, *protected.blocks)))
    assert result.bundle is not None
    assert [bytes(block.data) for block in result.bundle.blocks] == [b"extra", b"tasking"]


def test_several_blocks_that_do_not_decrypt_all_go() -> None:
    protected = node().protect(bundle(PAYLOAD))
    blocks: list[CanonicalBlock] = []
    for number in (40, 41, 42):
        blocks += bcb(number + 10, dataclasses.replace(EXTRA, number=number), OTHER)
    blocks += bcb(60, bib(43, (40,), [dataclasses.replace(EXTRA, number=40)]), OTHER)
    result = node().open(Bundle(PRIMARY, (*blocks, *protected.blocks)))
    assert result.bundle is not None
    assert [block.type for block in result.bundle.blocks] == [1]


def test_a_payload_that_does_not_decrypt_takes_the_bundle_with_it() -> None:
    for scope in (6, 7):  # with all in it, as most are, it is opened by another way
        cover, payload = bcb(3, PAYLOAD, OTHER, scope=scope)
        result = node(require=False).open(bundle(cover, payload))
        assert (result.ok, result.bundle, result.reason) == (False, None, 15)


def test_a_signature_that_does_not_decrypt_proves_nothing() -> None:
    second, signature = bcb(4, bib(2, (1,), (PAYLOAD,)), OTHER)
    for scope, reason in (
        (6, 15),
        (7, 0),
    ):  # where the encryption itself proves it, it is not needed
        cover, payload = bcb(3, PAYLOAD, scope=scope)
        result = node().open(bundle(cover, second, signature, payload))
        assert (result.ok, result.reason) == (not reason, reason)


def test_fragments_take_no_new_security_blocks() -> None:
    fragment = dataclasses.replace(
        PRIMARY, flags=IS_FRAGMENT, fragment_offset=0, total_adu_length=99
    )
    with pytest.raises(SecurityError, match=r"§5\.2"):
        node().protect(Bundle(fragment, (PAYLOAD,)))


KEK = b"k" * 32


def _sealed(
    *,
    key: bytes = AES,
    iv: bytes = b"i" * 12,
    scope: int = 7,
    parameters: tuple[tuple[int, int | bytes], ...] = (),
    tag: int = 16,
) -> Bundle:
    """A bundle with an encrypted payload, the last `tag` octets of which are a result."""
    shell = CanonicalBlock(BLOCK_CONFIDENTIALITY, 2, 1, b"")
    sealed = contexts.encrypt(AESGCM(key), iv, scope, PRIMARY, PAYLOAD, shell)
    split = len(sealed) - tag
    results = ((1, sealed[split:]),) if tag else ()
    asb = SecurityBlock((1,), 2, SOURCE, ((1, iv), *parameters), (results,))
    return bundle(
        dataclasses.replace(shell, data=encode_asb(asb)),
        dataclasses.replace(PAYLOAD, data=sealed[:split]),
    )


# ---- RFC 9172 §7.1 -------------------------------------------------------------------------


SIGNED = bib(2, (1,), (PAYLOAD,))
UNREAL = dataclasses.replace(EXTRA, number=9)


def _asb(context: int, *parameters: tuple[int, int | bytes], source: Eid = SOURCE) -> Bundle:
    """A bundle with a security block of these parameters on its payload."""
    kind = BLOCK_INTEGRITY if context != 2 else BLOCK_CONFIDENTIALITY
    asb = SecurityBlock((1,), context, source, parameters, (((1, b"x"),),))
    return bundle(CanonicalBlock(kind, 2, REPLICATE, encode_asb(asb)), PAYLOAD)


BIB_PARAMETERS = "BIB-HMAC-SHA2 parameters are not those of RFC 9173 §3.3"
BCB_PARAMETERS = "BCB-AES-GCM parameters are not those of RFC 9173 §4.3"
CLEAR = "the payload is not encrypted, as policy asks"
LOOSE = "nothing binds the payload to its place in this bundle, as policy asks"
IV = (1, b"i" * 12)


@pytest.mark.parametrize(
    ("made", "reason", "words"),
    [
        (bundle(PAYLOAD), 12, CLEAR),
        (bundle(SIGNED, PAYLOAD), 12, CLEAR),
        (bundle(*bcb(3, PAYLOAD, scope=6)), 12, LOOSE),
        (_asb(77), 13, "security context 77 is not known here"),
        (_asb(1, (9, 1), (8, 1)), 13, "security parameter 8 is not known here"),
        (_asb(2, IV, (5, 1)), 13, "security parameter 5 is not known here"),
        (_asb(1, (1, b"5")), 13, BIB_PARAMETERS),
        (_asb(1, (3, b"7")), 13, BIB_PARAMETERS),
        (_asb(1, (1, 5), (3, b"7")), 13, BIB_PARAMETERS),
        (_asb(2), 13, BCB_PARAMETERS),
        (_asb(2, (1, 12)), 13, BCB_PARAMETERS),
        (_asb(2, IV, (2, 2)), 13, BCB_PARAMETERS),
        (_asb(2, IV, (4, b"7")), 13, BCB_PARAMETERS),
        (_asb(1, (2, 5)), 13, "a wrapped key is no byte string"),
        (_asb(2, IV, (3, 5)), 13, "a wrapped key is no byte string"),
        (_asb(1, (2, b"w" * 24)), 15, "the integrity of block 1 is not proven by any key"),
        (
            bundle(CanonicalBlock(BLOCK_INTEGRITY, 2, 0, b"\x00"), PAYLOAD),
            13,
            "security block cannot be read: ",
        ),
        (
            bundle(bib(2, (1,), (PAYLOAD,), Eid.parse("dtn://other/")), PAYLOAD),
            14,
            "secured by dtn://other/, which is not its source dtn://gs1/files",
        ),
        (
            bundle(SIGNED, dataclasses.replace(PAYLOAD, data=b"Tasking")),
            15,
            "the integrity of block 1 is not proven by any key",
        ),
        (_asb(1, (1, 4)), 15, "unknown SHA variant 4 (RFC 9173 §3.3.1)"),
        (
            bundle(*bcb(3, PAYLOAD, OTHER)),
            15,
            "the payload does not decrypt with any key that fits",
        ),
        (
            bundle(*bcb(4, SIGNED, OTHER), *bcb(3, PAYLOAD, scope=6)),
            15,
            "the BIB of the payload does not decrypt with any key",
        ),
        (bundle(bib(2, (9,), (UNREAL,)), PAYLOAD), 16, "a BIB names block 9, which is not there"),
        (
            bundle(SIGNED, bib(3, (2,), (SIGNED,)), PAYLOAD),
            16,
            "a BIB names block 2, which it may not sign",
        ),
        (
            bundle(SIGNED, bib(3, (1,), (PAYLOAD,)), PAYLOAD),
            16,
            "block 1 has the same security service twice",
        ),
        (
            bundle(bcb(3, PAYLOAD, named=9)[0], PAYLOAD),
            16,
            "a BCB names block 9, which it may not encrypt",
        ),
        (
            bundle(bcb(3, PAYLOAD)[0], SIGNED, bcb(3, PAYLOAD)[1]),
            16,
            "a BIB in clear signs an encrypted block (RFC 9172 §3.9)",
        ),
    ],
)
def test_reason_codes(made: Bundle, reason: int, words: str) -> None:
    ring = KeyRing([*RING.keys, Key("k", "kek", b"k" * 32)])
    result = BpSec(ring, bytes, SecurityPolicy()).open(made)
    assert (result.ok, result.bundle, result.reason) == (False, None, reason)
    assert result.failure == words or (words.endswith(": ") and result.failure.startswith(words))


def test_a_waypoint_may_secure_what_others_send() -> None:
    other = Eid.parse("dtn://other/")
    made = bundle(bib(2, (1,), (PAYLOAD,), other), PAYLOAD)
    for waypoints, good in (((), False), (("dtn://other/",), True), (("dtn://oth",), False)):
        policy = SecurityPolicy(require=False, waypoints=waypoints)
        assert BpSec(RING, bytes, policy).open(made).ok == good


# ---- RFC 9173: parameters and results ------------------------------------------------------


def _signed(
    *,
    key: bytes = MAC,
    variant: int = 6,
    scope: int = 7,
    parameters: tuple[tuple[int, int | bytes], ...] = (),
    octets: int | None = None,
) -> Bundle:
    """A bundle with a signed payload, and only the first `octets` of its HMAC."""
    shell = CanonicalBlock(BLOCK_INTEGRITY, 2, 0, b"")
    digest = contexts.hmac_sha2(key, variant, scope, PRIMARY, PAYLOAD, shell)[:octets]
    asb = SecurityBlock((1,), 1, SOURCE, parameters, (((1, digest),),))
    return bundle(dataclasses.replace(shell, data=encode_asb(asb)), PAYLOAD)


def _reads(one: Bundle) -> bool:
    ring = KeyRing([*RING.keys, Key("a128", "aes", AES[:16]), Key("k", "kek", KEK)])
    security = BpSec(ring, lambda count: bytes(count), SecurityPolicy(require=False))
    result = security.open(one)
    assert result.ok or result.reason == 15
    return result.ok


def test_parameters_that_are_left_out_have_their_defaults() -> None:
    # RFC 9173 §3.3.1, §3.3.3: SHA-384 and every flag; §4.3.2, §4.3.4: A256GCM and every flag
    assert _reads(_signed())
    assert _reads(_sealed())
    assert not _reads(_signed(variant=5))
    assert not _reads(_signed(scope=0))
    assert not _reads(_sealed(key=AES[:16]))
    assert not _reads(_sealed(scope=0))


def test_the_variant_says_how_long_the_key_is() -> None:
    assert _reads(_sealed(key=AES[:16], parameters=((2, 1),)))
    assert _reads(_sealed(parameters=((2, 3),)))
    assert not _reads(_sealed(parameters=((2, 1),)))
    assert not _reads(_sealed(key=AES[:16], parameters=((2, 3),)))
    # RFC 9173 §4.3.2 has an unsigned integer; some write it as a byte string.
    assert _reads(_sealed(key=AES[:16], parameters=((2, b"\1"),)))
    assert not _reads(_sealed(parameters=((2, b"\1"),)))


@pytest.mark.parametrize(("scope", "good"), [(7, True), (65_535, True), (65_543, False)])
def test_no_scope_is_above_its_bound(scope: int, good: bool) -> None:
    """Of 16 bits three are in use, and the others count as 0."""
    for one in (_signed(parameters=((3, scope),)), _sealed(parameters=((4, scope),))):
        result = node(require=False).open(one)
        assert result.ok == good
        assert good or "parameters are not those of RFC 9173" in result.failure


def test_wrapped_keys() -> None:
    fresh_mac, fresh_aes = bytes(range(48)), bytes(range(32))
    for kek, good in ((KEK, True), (OTHER, False)):
        mac = keywrap.aes_key_wrap(kek, fresh_mac)
        assert _reads(_signed(key=fresh_mac, parameters=((2, mac),))) == good
        aes = keywrap.aes_key_wrap(kek, fresh_aes)
        assert _reads(_sealed(key=fresh_aes, parameters=((3, aes),))) == good


def test_tags_ivs_and_hmacs_have_their_sizes() -> None:
    for tag in (16, 0):  # as a result, or at the end of the ciphertext (RFC 9173 §4.4)
        assert _reads(_sealed(tag=tag))
    for tag in (1, 12, 15):
        assert not _reads(_sealed(tag=tag))
    for size, good in ((8, True), (12, True), (16, True), (17, False), (64, False)):
        assert _reads(_sealed(iv=b"i" * size)) == good
    for octets in (0, 16, 47):
        assert not _reads(_signed(octets=octets))


@pytest.mark.parametrize("variant", [5, 6, 7])
@pytest.mark.parametrize("scope", range(8))
def test_what_is_made_with_any_policy_is_read_with_any(variant: int, scope: int) -> None:
    policy = SecurityPolicy(sha_variant=variant, scope=scope, sign_for=("*",))
    made = BpSec(RING, lambda count: b"\7" * count, policy).protect(bundle(PAYLOAD))
    assert node(require=scope & 3 == 3).open(made).ok


# ---- what is made --------------------------------------------------------------------------


@pytest.mark.parametrize("crc", [0, 1, 2])
@pytest.mark.parametrize(("key", "variant"), [(AES[:16], 1), (AES, 3)])
@pytest.mark.parametrize("signed", [False, True])
def test_what_a_protected_bundle_consists_of(
    crc: int, key: bytes, variant: int, signed: bool
) -> None:
    ring = KeyRing([Key("a", "aes", key), Key("m", "hmac", MAC)])
    ivs = iter((b"i" * 12, b"j" * 12))
    policy = SecurityPolicy(sha_variant=5, scope=3, sign_for=("*",) * signed)

    def entropy(count: int) -> bytes:
        iv = next(ivs)
        assert len(iv) == count
        return iv

    payload = dataclasses.replace(PAYLOAD, crc_type=crc)
    made = BpSec(ring, entropy, policy).protect(bundle(EXTRA, payload))
    assert made.primary == PRIMARY
    blocks = [
        (EXTRA.type, 7, 0, EXTRA.crc_type),
        (BLOCK_CONFIDENTIALITY, 8, REPLICATE, crc),
        (BLOCK_CONFIDENTIALITY, 10, 0, crc),
        (BLOCK_INTEGRITY, 9, 0, 0),
        (1, 1, 0, 0),
    ]
    if not signed:
        del blocks[2:4]
    assert [(one.type, one.number, one.flags, one.crc_type) for one in made.blocks] == blocks
    for cover, target, iv in ((made.blocks[1], 1, b"i"), (made.blocks[2], 9, b"j"))[: 1 + signed]:
        asb = decode_asb(cover.data)
        assert (asb.targets, asb.context, asb.source) == ((target,), 2, SOURCE)
        assert asb.parameters == ((1, iv * 12), (2, variant), (4, 3))
        (((number, tag),),) = asb.results
        assert number == 1
        assert isinstance(tag, bytes)
        assert len(tag) == 16
    opened = BpSec(ring, bytes, SecurityPolicy()).open(made)
    assert opened.bundle is not None
    assert opened.bundle.blocks == (EXTRA, PAYLOAD)
    assert (opened.failure, opened.reason) == ("", 0)


@pytest.mark.parametrize("crc", [1, 2])
def test_what_kept_its_crc_when_it_was_secured_opens_as_well(crc: int) -> None:
    payload = dataclasses.replace(PAYLOAD, crc_type=crc)
    signature = dataclasses.replace(bib(2, (1,), (payload,)), crc_type=crc)
    (first, sealed), (second, hidden) = bcb(3, payload), bcb(4, signature)
    made = decode_bundle(encode_bundle(bundle(first, second, hidden, sealed)))[0]
    result = node().open(made)
    assert result.ok, result.failure


@pytest.mark.parametrize("now", [0, 1, 2], ids=["none", "16", "32"])
@pytest.mark.parametrize("then", [0, 1, 2], ids=["none", "16", "32"])
def test_a_primary_block_is_signed_without_its_crc_or_as_it_is(then: int, now: int) -> None:
    # `now` it may have got one, as in fragments, but not another one than it was signed with.
    primary = dataclasses.replace(PRIMARY, crc_type=then)
    signature = bib(2, (0, 1), (PAYLOAD,), primary=primary)
    made = Bundle(dataclasses.replace(PRIMARY, crc_type=now), (signature, PAYLOAD))
    result = node(require=False).open(decode_bundle(encode_bundle(made))[0])
    assert result.ok == (then in (0, now)), result.failure
    other = dataclasses.replace(PRIMARY, crc_type=now, sequence=6)
    assert node(require=False).open(Bundle(other, made.blocks)).reason == 15


def test_fragments_of_a_signed_primary_block_have_a_crc_of_their_own() -> None:
    three, _ = decode_eid(bytes.fromhex("820283000501"))
    primary = dataclasses.replace(PRIMARY, source=three, report_to=three, crc_type=CRC_NONE)
    payload = dataclasses.replace(PAYLOAD, data=bytes(900))
    whole = Bundle(primary, (bib(2, (0, 1), (payload,), three, primary=primary), payload))
    check_bundle(whole)
    pieces = fragment_bundle(decode_bundle(encode_bundle(whole))[0], 400)
    assert len(pieces) > 2
    for piece in pieces:
        octets = bytearray(encode_bundle(piece))
        check_bundle(decode_bundle(octets)[0])
        octets[12] ^= 1
        with pytest.raises(DecodeError, match="CRC"):
            decode_bundle(octets)
    result = node(require=False).open(reassemble(pieces[::-1]))
    assert result.ok, result.failure


def test_ciphers_are_kept_and_bounded() -> None:
    first = contexts.cipher(b"a" * 16)
    assert contexts.cipher(b"b" * 16) is not first
    assert contexts.cipher(b"a" * 16) is first
    assert contexts.cipher.cache_info().maxsize == contexts.KEYED_MAX


def test_a_key_wrapped_for_one_of_several_opens_with_the_right_one() -> None:
    keks = [Key(str(n), "kek", bytes([n]) * 32) for n in range(3)]
    security = BpSec(KeyRing([*RING.keys, *keks]), bytes, SecurityPolicy(require=False))
    for kek in keks:
        wrapped = keywrap.aes_key_wrap(kek.secret, b"m" * 48)
        assert security.open(_signed(key=b"m" * 48, parameters=((2, wrapped),))).ok


def test_what_cannot_be_signed_or_opened_is_told() -> None:
    with pytest.raises(SecurityError) as caught:
        contexts.hmac_sha2(MAC, 9, 7, PRIMARY, PAYLOAD, PAYLOAD)
    assert str(caught.value) == "unknown SHA variant 9 (RFC 9173 §3.3.1)"
    cipher = AESGCM(AES)
    length = "ciphertext or IV has an impossible length (RFC 9173 §4.3.1, §4.4)"
    wrong = "AES-GCM tag does not match: wrong key or altered octets"
    for iv, data, words in (
        (b"i" * 7, b"x" * 16, length),
        (b"i" * 8, b"x" * 16, wrong),
        (b"i" * 16, b"x" * 16, wrong),
        (b"i" * 17, b"x" * 16, length),
        (b"i" * 12, b"x" * 15, length),
    ):
        sealed = dataclasses.replace(PAYLOAD, data=data)
        with pytest.raises(SecurityError) as caught:
            contexts.decrypt(cipher, iv, 7, PRIMARY, sealed, PAYLOAD)
        assert str(caught.value) == words
    for wrapped in (b"w" * 24, b"w"):
        with pytest.raises(SecurityError) as caught:
            contexts.unwrap_key(KEK, wrapped)
        assert str(caught.value) == "the wrapped key does not open with this key"
    fragment = dataclasses.replace(
        PRIMARY, flags=IS_FRAGMENT, fragment_offset=0, total_adu_length=99
    )
    with pytest.raises(SecurityError) as caught:
        node().protect(Bundle(fragment, (PAYLOAD,)))
    assert str(caught.value) == "a fragment takes no new security blocks (RFC 9172 §5.2)"
