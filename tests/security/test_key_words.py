"""What is wrong with a key file, in words: where, what, and what to do about it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from stack.core.errors import ConfigError, SecurityError
from stack.security import Key, KeyRing, load_keys, new_key_file
from stack.security.keys import CHOICES_MAX, link_key, parse_keys

ENTRIES = "id, kind, secret, file, peers, send, senders, raw, key_id, issuer, "
ENTRIES += "revocations, revocations_grace_days"
QUOTES = "put it in quotes"
KINDS = (
    "aes, hmac, kek, kdk, ltp, ltp-rsa-private, ltp-rsa-public, cose-sign-private, "
    "cose-sign-public, cose-encrypt-private, cose-encrypt-public"
)
HMAC = {"id": "a", "kind": "hmac", "secret": "00" * 16}
LTP = {"id": "a", "kind": "ltp", "secret": "00" * 16}
RAW = LTP | {"raw": True}
RSA = {"id": "a", "kind": "ltp-rsa-public", "file": "a.pem"}


def complaint(entries: Any, folder: Path = Path()) -> tuple[str, str, str]:
    """Key, message and remedy of the error about the content of a key file."""
    with pytest.raises(ConfigError) as caught:
        parse_keys(entries, folder)
    return caught.value.key, caught.value.message, caught.value.remedy


@pytest.mark.parametrize(
    ("content", "key", "why", "remedy"),
    [
        ({}, "", "no [[key]] in this file", "see `orbitferry keys new --help`"),
        ({"key": [HMAC] * 4097}, "key", "more than 4096 keys", ""),
        ({"key": [HMAC], "b": 1}, "b", "unknown key", "known: key"),
        ({"key": "a"}, "key", "must be a list, not text", ""),
        ({"key": [HMAC, HMAC]}, "key[1].id", "'a' is used twice", "give each its own"),
    ],
)
def test_the_file(content: dict[str, Any], key: str, why: str, remedy: str) -> None:
    assert complaint(content) == (key, why, remedy)


@pytest.mark.parametrize(
    ("entry", "where", "why", "remedy"),
    [
        ("a", "", "must be a table, not text", ""),
        (HMAC | {"x": 1}, ".x", "unknown key", "known: " + ENTRIES),
        (HMAC | {"sekret": "00"}, ".sekret", "unknown key", "did you mean 'secret'?"),
        (HMAC | {"kind": "rot13"}, ".kind", "'rot13' is unknown", "one of " + KINDS),
        ({"kind": "hmac", "secret": "00"}, ".id", "is missing", "write id = ..."),
        ({"id": "a", "kind": "hmac"}, ".secret", "is missing", 'write secret = "..."'),
        (HMAC | {"id": 1}, ".id", "must be text, not a whole number", QUOTES),
        (HMAC | {"secret": 1}, ".secret", "must be text, not a whole number", QUOTES),
        (RSA | {"file": 1}, ".file", "must be text, not a whole number", QUOTES),
        (HMAC | {"file": "x"}, ".file", "hmac takes secret instead", "remove it"),
        (RSA | {"secret": "00"}, ".secret", "ltp-rsa-public takes file instead", "remove it"),
        (HMAC | {"secret": "0g"}, ".secret", "is not hexadecimal", ""),
        (HMAC | {"secret": "00"}, ".secret", "1 octets", "hmac takes 16 to 128"),
        (LTP | {"secret": "00" * 129}, ".secret", "129 octets", "ltp takes 16 to 128"),
        (HMAC | {"kind": "aes", "secret": "00" * 24}, ".secret", "24 octets", "aes takes 16 or 32"),
        (HMAC | {"kind": "kek", "secret": "00" * 24}, ".secret", "24 octets", "kek takes 16 or 32"),
        (HMAC | {"peers": "x"}, ".peers", "must be a list, not text", ""),
        (HMAC | {"peers": ["x", 1]}, ".peers[1]", "must be text, not a whole number", QUOTES),
        (HMAC | {"send": 1}, ".send", "must be true or false, not a whole number", ""),
        (LTP | {"raw": "true"}, ".raw", "must be true or false, not text", "without quotes"),
        (RAW | {"key_id": "0"}, ".key_id", "is not hexadecimal", ""),
        (RAW | {"key_id": 1}, ".key_id", "must be text, not a whole number", QUOTES),
        (HMAC | {"raw": True}, ".raw", "hmac keys are always used as they are", "remove it"),
        (
            LTP | {"key_id": "00"},
            ".key_id",
            "only raw keys of kind ltp have one, and kek, kdk, ltp-rsa-private, ltp-rsa-public, "
            "cose-encrypt-private, cose-encrypt-public",
            "raw = true",
        ),
        (RAW | {"key_id": "00" * 33}, ".key_id", "33 octets", "32 at most"),
    ],
)
def test_an_entry(entry: Any, where: str, why: str, remedy: str) -> None:
    good = HMAC | {"id": "good"}
    assert complaint({"key": [good, entry]}) == (f"key[1]{where}", why, remedy)


SECRET = "6f0a" * 16
APART = " ".join(["6f", "0a"] * 16)


@pytest.mark.parametrize(
    "line",
    [
        f'id = "{SECRET}"\n[[key]]\nid = "{SECRET}"\nkind = "aes"\nsecret = "{SECRET}"',
        f'kind = "{SECRET}"',
        f'{SECRET} = "secret"',
        f'kind = "{APART}"',
        f'"{APART}" = "secret"',
        f'kind = "hmac"\nsecret = "{SECRET}g"',
        f'kind = "hmac"\nsecret = "{SECRET}',
        f"kind = {SECRET}",
        f'secret = "{SECRET}"\nsecret = "{SECRET}"',
        f"[key.{SECRET}]\n[key.{SECRET}]",
        f'kind = "ltp-rsa-public"\nfile = "{SECRET}"',
    ],
)
def test_no_mistake_shows_a_secret(line: str, tmp_path: Path) -> None:
    """A secret in the wrong place, or badly written, is told with its line and not shown."""
    path = tmp_path / "k.toml"
    path.touch(0o600)
    path.write_text(f'[[key]]\nid = "a"\n{line}\n'.replace('id = "a"\nid', "id"))
    with pytest.raises(ConfigError) as caught:
        load_keys(path)
    shown = str(caught.value).removeprefix(str(path))
    assert shown.startswith(":")
    assert SECRET[:8] not in shown
    assert APART[:11] not in shown


def test_mistakes_are_told_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "k.toml"
    path.touch(0o600)
    entry = '[[key]]\nid = "a"\nkind = "hmac"\nsecret = "' + "00" * 16 + '"\n'
    path.write_text(entry + entry)
    with pytest.raises(ConfigError) as caught:
        load_keys(path)
    assert caught.value.key == f"{path}:6: key[1].id"
    assert caught.value.message == "'a' is used twice, see key[0].id on line 2"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "k.toml"

    def told() -> tuple[str, str, str]:
        with pytest.raises(ConfigError) as caught:
            load_keys(path)
        return caught.value.key, caught.value.message, caught.value.remedy

    make = f"make one with: orbitferry keys new {path}"
    assert told() == (str(path), "No such file or directory", make)
    path.touch(0o600)
    path.write_bytes(b"#" * (2**20 + 1))
    assert told() == (str(path), "too large for a key file", "")
    path.write_bytes(b"\xff")
    assert told() == (str(path), "not UTF-8 text", "is it the right file?")
    path.chmod(0o604)
    others = "others may read this key file (mode 0604)"
    assert told() == (str(path), others, f"chmod 600 {path}")
    with pytest.raises(ConfigError) as caught:
        new_key_file(path, bytes, "again")
    assert str(caught.value) == f"{path}: File exists (choose a new file)"


def pem(key: Any, *, private: bool, password: bytes | None = None) -> bytes:
    """A key as openssl writes it."""
    if not private:
        octets: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return octets
    lock = BestAvailableEncryption(password) if password else NoEncryption()
    octets = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)
    return octets


SMALL = rsa.generate_private_key(65537, 1024)
GOOD = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("private", "octets", "why", "remedy"),
    [
        (True, None, "No such file or directory", "a PEM file with an RSA private key"),
        (False, None, "No such file or directory", "a PEM file with an RSA public key"),
        (
            True,
            b"x",
            "no RSA private key in PEM without a passphrase: ValueError",
            "openssl rsa",
        ),
        (
            True,
            pem(GOOD, private=True, password=b"p"),
            "no RSA private key in PEM without a passphrase: TypeError",
            "openssl rsa",
        ),
        (
            False,
            pem(GOOD, private=True),
            "no RSA public key in PEM without a passphrase: ValueError",
            "openssl rsa",
        ),
        (True, pem(CURVE, private=True), "a key of another kind", "an RSA private key"),
        (
            False,
            pem(CURVE.public_key(), private=False),
            "a key of another kind",
            "an RSA public key",
        ),
        (True, pem(SMALL, private=True), "an RSA key of 1024 bits", "2048 to 4096"),
        (False, pem(SMALL.public_key(), private=False), "an RSA key of 1024 bits", "2048 to 4096"),
    ],
)
def test_an_rsa_key(
    tmp_path: Path, private: bool, octets: bytes | None, why: str, remedy: str
) -> None:
    path = tmp_path / "a.pem"
    if octets is not None:
        path.touch(0o600)
        path.write_bytes(octets)
    kind = "ltp-rsa-private" if private else "ltp-rsa-public"
    entry = {"id": "a", "kind": kind, "file": "a.pem"}
    assert complaint({"key": [entry]}, tmp_path) == ("key[0].file", f"{path}: {why}", remedy)


def test_an_rsa_key_is_read_with_what_it_says(tmp_path: Path) -> None:
    files = (
        ("private", pem(GOOD, private=True)),
        ("public", pem(GOOD.public_key(), private=False)),
    )
    for half, octets in files:
        path = tmp_path / half
        path.touch(0o600)
        path.write_bytes(octets)
        path.chmod(0o600 if half == "private" else 0o644)  # what is public may be read by others
    entries = [
        {"id": half, "kind": f"ltp-rsa-{half}", "file": half, "key_id": "0102", "send": False}
        for half, _ in files
    ]
    keys = parse_keys({"key": entries}, tmp_path).keys
    der = GOOD.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for key, (half, _) in zip(keys, files, strict=True):
        assert (key.id, key.kind, key.secret) == (half, f"ltp-rsa-{half}", der)
        assert (key.bits, key.key_id, key.send, key.raw) == (2048, b"\1\2", False, False)
    (tmp_path / "private").chmod(0o644)
    with pytest.raises(ConfigError, match="others may read"):
        parse_keys({"key": entries}, tmp_path)


def test_a_new_key_file_is_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "k.toml"
    before = os.umask(0)
    try:
        new_key_file(path, lambda n: bytes([n]) * n, "ring")
        new_key_file(tmp_path / "two.toml", bytes, "ring", ["dtn://a/", "ipn:*"])
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [(key.id, key.kind, key.secret, key.peers) for key in load_keys(path).keys] == [
        (f"ring-{kind}", kind, bytes([size]) * size, ("*",))
        for kind, size in (("aes", 32), ("hmac", 48), ("ltp", 32))
    ]
    assert load_keys(tmp_path / "two.toml").keys[0].peers == ("dtn://a/", "ipn:*")


def test_who_has_no_key_is_told_which() -> None:
    mine = Key("k", "aes", bytes(16), ("dtn://sat*",))
    ring = KeyRing([Key("old", "aes", bytes(16), send=False), mine])
    assert ring.sending("aes", "dtn://sat1/") is mine
    with pytest.raises(SecurityError) as caught:
        ring.sending("aes", "dtn://gs1/")
    assert str(caught.value) == (
        "no aes key in the key file serves dtn://gs1/: add one whose peers match it"
    )
    assert repr(mine) == "Key('k', 'aes')"


def test_choices_of_keys_are_remembered_and_bounded() -> None:
    ring = KeyRing([Key("k", "aes", bytes(16))])
    first = ring.accepting("aes", "dtn://a/")
    assert ring.accepting("aes", "dtn://a/") is first
    for n in range(CHOICES_MAX - 1):
        ring.accepting("aes", f"dtn://{n}/")
    assert ring.accepting("aes", "dtn://a/") is first, "the last that is remembered"
    ring.accepting("aes", "dtn://one-more/")
    assert len(ring._choices) == 1


def test_who_fails_to_follow_a_change_keeps_it_from_no_other() -> None:
    """What others have made of keys that are gone would outlive them."""
    ring, told = KeyRing([Key("k", "aes", bytes(16))]), list[str]()

    def fails() -> None:
        told.append("fails")
        raise ValueError("planted")

    ring.on_change(fails)
    ring.on_change(lambda: told.append("follows"))
    with pytest.raises(ValueError, match="planted"):
        ring.change(())
    assert told == ["fails", "follows"]


def test_the_keys_of_a_link_differ_by_direction_and_pair() -> None:
    names = ("dtn://a/", "dtn://b/", "dtn://c/")
    pairs = [link_key(bytes(16), one, two) for one in names for two in names if one != two]
    assert len(set(pairs)) == len(pairs)
    assert {(len(key_id), len(key)) for key_id, key in pairs} == {(4, 32)}
    assert link_key(bytes(16), "dtn://a/", "dtn://b/") == pairs[0]
