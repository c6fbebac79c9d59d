"""What a node with keys does: protect, open, and refuse everything that is not right."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError, SecurityError
from stack.policy import DataPolicy
from stack.policy.label import policy_block
from stack.security import (
    BpSec,
    Key,
    KeyRing,
    SecurityPolicy,
    contexts,
    keys,
    load_keys,
    new_key_file,
)
from stack.security.keys import parse_keys
from stack.wire.asb import SecurityBlock, decode_asb
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    CRC_NONE,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    decode_bundle,
    decode_eid,
    encode_bundle,
    fragment_bundle,
    hop_count,
    reassemble,
)

GROUND = Eid.parse("dtn://gs1/files")
SATELLITE = Eid.parse("dtn://sat1/files")
KEYS = (Key("aes", "aes", bytes(range(32))), Key("mac", "hmac", bytes(range(48))))


def seeded(*sign_for: str) -> BpSec:
    counter = itertools.count(1)
    policy = SecurityPolicy(sign_for=sign_for)
    return BpSec(KeyRing(KEYS), lambda n: next(counter).to_bytes(n, "big"), policy)


def plain(payload: bytes, *, crc: int = 2, source: Eid = GROUND) -> Bundle:
    primary = PrimaryBlock(SATELLITE, source, Eid.NONE, 800_000_000_000, 5, 60_000, crc_type=2)
    hops = hop_count(30, 1)
    return Bundle(
        primary,
        (
            CanonicalBlock(hops.type, 2, 0, hops.data, crc),
            CanonicalBlock(1, 1, 0, payload, crc),
        ),
    )


def sent(bundle: Bundle) -> Bundle:
    return decode_bundle(encode_bundle(bundle))[0]


def test_a_made_up_label_has_no_key_derived_but_those_of_its_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Anybody can send any label: with thousands of keys that must cost little."""
    derived: list[bytes] = []

    class Counted:
        def __init__(self, *args: Any) -> None:
            self._derivation = HKDF(*args)

        def derive(self, secret: bytes) -> bytes:
            derived.append(secret)
            return self._derivation.derive(secret)

    monkeypatch.setattr(keys, "HKDF", Counted)
    ring = [Key(f"{n}", "aes", bytes([n] * 32), peers=(f"dtn://sat{n}/",)) for n in range(200)]
    ring += [Key("mac", "hmac", bytes(48)), Key("kek", "kek", bytes(32))]
    node = BpSec(KeyRing(ring), bytes, SecurityPolicy())
    protected = BpSec(KeyRing(KEYS), bytes, SecurityPolicy()).protect(
        plain(b"data", source=Eid.parse("dtn://sat7/files"))
    )
    for audit in (False, True):
        label = policy_block(DataPolicy(expires_ms=5, audit=audit), number=9, crc_type=0)
        forged = Bundle(protected.primary, (label, *protected.blocks))
        assert not node.open(forged).ok
        assert not node.open(forged).ok
    assert derived == [bytes([7] * 32)] * 2


@given(st.binary(max_size=3000), st.sampled_from([0, 1, 2]), st.booleans())
def test_what_is_protected_opens_and_shows_nothing(payload: bytes, crc: int, signed: bool) -> None:
    protected = seeded(*["*"] * signed).protect(plain(payload, crc=crc))
    encoded = encode_bundle(protected)
    assert len(payload) < 8 or payload not in encoded
    result = seeded().open(sent(protected))
    assert result.ok, result.failure
    assert result.bundle is not None
    assert bytes(result.bundle.payload.data) == payload
    assert [block.type for block in result.bundle.blocks] == [10, 1]


def test_in_whatever_form_an_eid_came_ours_goes_out() -> None:
    """Who sends a bundle in the name of a node, its EID in a longer form, changes nothing of how
    that node names itself from then on."""
    contexts.bcb_frame.cache_clear()
    ours = Eid.parse("ipn:5.1")
    theirs = decode_eid(bytes.fromhex("820283000501"))[0]
    assert (theirs, theirs.encoded) == (ours, bytes.fromhex("820283000501"))
    forged = seeded().protect(plain(b"x", source=theirs))
    assert seeded().open(sent(forged)).ok
    protected = seeded().protect(plain(b"x", source=ours))
    asb = decode_asb(protected.blocks[-2].data)
    assert (asb.source, asb.source.encoded) == (ours, None)
    assert seeded().open(sent(protected)).ok


def without_reserved_flags(data: bytes) -> SecurityBlock:
    """What a security block says: such flags are ignored (RFC 9172 §3.6, RFC 9173 §4.3.4)."""
    asb = decode_asb(data)
    scope = asb.parameter(contexts.BCB_SCOPE)
    assert isinstance(scope, int)
    used = (contexts.BCB_SCOPE, scope & contexts.SCOPE_ALL)
    return asb._replace(parameters=(*asb.parameters[:-1], used))


@given(st.data(), st.booleans())
@settings(max_examples=300)
def test_any_altered_bit_of_the_protected_parts_is_noticed(
    data: st.DataObject, signed: bool
) -> None:
    protected = sent(seeded(*["*"] * signed).protect(plain(b"x" * 64, crc=0)))
    index = data.draw(st.integers(1, len(protected.blocks) - 1), label="block")
    block = protected.blocks[index]
    octets = bytearray(block.data)
    bit = data.draw(st.integers(0, len(octets) * 8 - 1), label="bit")
    octets[bit // 8] ^= 1 << bit % 8
    blocks = list(protected.blocks)
    blocks[index] = CanonicalBlock(
        block.type, block.number, block.flags, bytes(octets), block.crc_type
    )
    result = seeded().open(Bundle(protected.primary, tuple(blocks)))
    if result.ok and block.number > 3:
        # A signature that cannot be read goes (RFC 9172 §5.1.1): the payload is proven without it.
        assert result.bundle is not None
        assert bytes(result.bundle.payload.data) == b"x" * 64
        return
    if result.ok:
        assert without_reserved_flags(bytes(octets)) == without_reserved_flags(bytes(block.data))
        return
    assert result.bundle is None
    assert 12 <= result.reason <= 16


def test_a_payload_does_not_open_under_another_primary_block() -> None:
    protected = seeded().protect(plain(b"tasking"))
    other = PrimaryBlock(SATELLITE, GROUND, Eid.NONE, 800_000_000_000, 6, 60_000)
    result = seeded().open(sent(Bundle(other, protected.blocks)))
    assert not result.ok
    assert result.reason == 15


@pytest.mark.parametrize("missing", [BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY])
def test_a_bundle_without_protection_is_not_accepted(missing: int) -> None:
    protected = sent(seeded("*").protect(plain(b"data")))
    stripped = tuple(block for block in protected.blocks if block.type != missing)
    assert not seeded().open(Bundle(protected.primary, stripped)).ok
    in_clear = seeded().open(plain(b"data"))
    assert not in_clear.ok
    assert in_clear.reason == 12


def test_another_source_cannot_be_claimed() -> None:
    protected = seeded().protect(plain(b"data"))
    forged = PrimaryBlock(
        SATELLITE, Eid.parse("dtn://gs2/files"), Eid.NONE, 800_000_000_000, 5, 60_000
    )
    assert seeded().open(sent(Bundle(forged, protected.blocks))).reason == 14
    service = PrimaryBlock(
        SATELLITE, Eid.parse("dtn://gs1/jobs"), Eid.NONE, 800_000_000_000, 5, 60_000
    )
    assert seeded().open(sent(Bundle(service, protected.blocks))).reason == 14


@pytest.mark.parametrize("sign_for", [(), ("*",)])
def test_damage_in_a_part_of_a_secured_payload_shows_on_the_way(sign_for: tuple[str, ...]) -> None:
    """The whole has no CRC (RFC 9173 §3.8.1, §4.8.1); a fragment, which is no target, has."""
    whole = sent(seeded(*sign_for).protect(plain(bytes(2000))))
    assert whole.payload.crc_type == CRC_NONE
    parts = [part for half in fragment_bundle(whole, 1500) for part in fragment_bundle(half, 700)]
    assert len(parts) > 3
    for part in parts:
        octets = bytearray(encode_bundle(part))
        decode_bundle(octets)
        octets[-100] ^= 1  # in the payload
        with pytest.raises(DecodeError, match="CRC"):
            decode_bundle(octets)
    assert encode_bundle(reassemble(parts[::-1])) == encode_bundle(whole), "as it was secured"


def test_fragments_open_once_they_are_whole_again() -> None:
    protected = seeded().protect(plain(bytes(range(256)) * 8))
    fragments = [sent(fragment) for fragment in fragment_bundle(sent(protected), 700)]
    assert len(fragments) > 3
    whole = reassemble(fragments[::-1])
    result = seeded().open(sent(whole))
    assert result.ok, result.failure
    assert result.bundle is not None
    assert bytes(result.bundle.payload.data) == bytes(range(256)) * 8
    assert not seeded().open(fragments[0]).ok


def test_nothing_leaves_without_a_key() -> None:
    ring = KeyRing([Key("other", "aes", bytes(32), peers=("dtn://elsewhere/",))])
    with pytest.raises(SecurityError, match="serves dtn://sat1/"):
        BpSec(ring, lambda n: bytes(n), SecurityPolicy()).protect(plain(b"data"))


def test_key_rotation_accepts_the_old_key_and_sends_with_the_new() -> None:
    old = seeded().protect(plain(b"data"))
    fresh = (Key("new", "aes", bytes(32)), Key("new-mac", "hmac", bytes(48)))
    retired = tuple(Key(key.id, key.kind, key.secret, send=False) for key in KEYS)
    after = BpSec(KeyRing([*retired, *fresh]), lambda n: b"\7" * n, SecurityPolicy())
    assert after.open(sent(old)).ok
    assert not seeded().open(sent(after.protect(plain(b"data")))).ok
    assert after.open(sent(after.protect(plain(b"data")))).ok


@given(st.binary(max_size=200), st.sampled_from([BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY]))
def test_hostile_security_blocks_fail_closed(content: bytes, kind: int) -> None:
    bundle = plain(b"data")
    hostile = Bundle(bundle.primary, (CanonicalBlock(kind, 9, 0, content), *bundle.blocks))
    result = seeded().open(hostile)
    assert not result.ok
    assert result.failure


def test_key_files(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    counter = itertools.count(1)
    new_key_file(path, lambda n: next(counter).to_bytes(n, "big"), "test", ["dtn://sat*"])
    ring = load_keys(path)
    assert [key.kind for key in ring.keys] == ["aes", "hmac", "ltp"]
    assert ring.sending("aes", "dtn://sat1/").id == "test-aes"
    assert "secret" not in repr(ring.keys)
    with pytest.raises(ConfigError, match=f"{path}.*exists.*choose a new file"):
        new_key_file(path, lambda n: bytes(n), "again")
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_keys(path)
    absent = tmp_path / "absent.toml"
    with pytest.raises(ConfigError) as caught:
        load_keys(absent)
    for part in (str(absent), "No such file", f"orbitferry keys new {absent}"):
        assert part in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601])
def test_a_key_file_is_its_owners_alone(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.toml"
    new_key_file(path, lambda n: bytes(n), "test")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"{path}.*{mode:04o}.*chmod 600 {path}"):
        load_keys(path)


@pytest.mark.parametrize("content", [b"[[key]", b"\xff"])
def test_a_key_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.toml"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"{path}.*not (TOML|UTF-8)"):
        load_keys(path)


def test_a_key_file_of_the_greatest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    new_key_file(path, lambda n: bytes(n), "test")
    text = path.read_bytes()
    path.write_bytes(text + b"#" * (2**20 - len(text)))
    assert len(load_keys(path).keys) == 3
    path.write_bytes(text + b"#" * (2**20 + 1 - len(text)))
    with pytest.raises(ConfigError, match=f"{path}.*too large"):
        load_keys(path)


def entry(number: int, kind: str = "hmac", octets: int = 16) -> dict[str, object]:
    return {"id": str(number), "kind": kind, "secret": "00" * octets}


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("aes", (16, 32), (15, 17, 31, 33)),
        ("kek", (16, 32), (15, 17, 31, 33)),
        ("hmac", (16, 17, 128), (15, 129)),
        ("ltp", (16, 17, 128), (15, 129)),
    ],
)
def test_secrets_have_the_length_of_their_kind(
    kind: str, good: tuple[int, ...], bad: tuple[int, ...]
) -> None:
    for octets in good:
        (key,) = parse_keys({"key": [entry(1, kind, octets)]}, Path()).keys
        assert (key.kind, key.secret, key.bits) == (kind, bytes(octets), 8 * octets)
        assert (key.id, key.peers, key.send, key.raw, key.key_id) == ("1", ("*",), True, False, b"")
    for octets in bad:
        with pytest.raises(
            ConfigError, match=rf"key\[0\].secret.*{octets} octets.*{kind} takes 16"
        ):
            parse_keys({"key": [entry(1, kind, octets)]}, Path())


def test_a_raw_key_may_have_the_longest_key_id() -> None:
    raw = {**entry(1, "ltp"), "raw": True, "key_id": "0a" * 32}
    (key,) = parse_keys({"key": [raw]}, Path()).keys
    assert (key.raw, key.key_id) == (True, b"\x0a" * 32)
