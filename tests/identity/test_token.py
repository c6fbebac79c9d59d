"""Keys in a token (PKCS #11), shown with SoftHSM: what it signs verifies; what fails says why."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interop.strategies.nearly_certificate import NOW_MS
from stack.core.errors import ConfigError, SecurityError
from stack.cose import decode_encrypt, encrypt_for
from stack.identity import AuthorityFolder, NodeFolder, disk, folder
from stack.identity import token as tokens
from stack.identity.disk import destroy
from stack.identity.keys import encode_private
from stack.identity.passphrase import find_passphrase
from stack.identity.token import OpenToken, TokenUri
from tests.identity.softhsm import MODULE, PIN, SoftHsm, needs_softhsm, softhsm
from tests.identity.test_folder import SAT, approve, domain
from tests.identity.test_folder import begun as begun_in_files

pytestmark = pytest.mark.slow  # each begins with a token of its own


@pytest.fixture
def hsm(tmp_path: Path) -> Iterator[SoftHsm]:
    with softhsm(tmp_path / "hsm") as found:
        yield found


def pin() -> bytes:
    return PIN


def begun(root: Path, token: str, algorithm: str = "p256") -> NodeFolder:
    """A node that has asked, its key in a token."""
    node = NodeFolder(root / "sat1")
    node.begin(
        SAT,
        jurisdictions=["KR"],
        roles=(),
        passphrase=PIN,
        entropy=os.urandom,
        algorithm=algorithm,
        token=token,
    )
    return node


@needs_softhsm
@pytest.mark.parametrize("algorithm", ["p256", "ed25519"])
def test_a_node_signs_and_opens_with_its_token(
    tmp_path: Path, hsm: SoftHsm, algorithm: str
) -> None:
    node = begun(tmp_path, hsm.token("sat1"), algorithm)
    import pkcs11

    accepted = node.accept(approve(domain(tmp_path), node), NOW_MS)
    identity = node.unlock(pin)
    accepted.node.verifying_key.verify(identity.signing_key.sign(b"word"), b"word")
    sealed = encrypt_for(b"secret", [accepted.node.hpke], os.urandom)
    assert decode_encrypt(sealed).open(identity.hpke) == b"secret"
    with pytest.raises(SecurityError, match="does not leave its token"):
        encode_private(identity.key, b"", os.urandom)
    with pytest.raises(pkcs11.AttributeSensitive):
        identity.key._inside[pkcs11.Attribute.VALUE]  # type: ignore[union-attr]
    assert not identity.key._inside[pkcs11.Attribute.EXTRACTABLE]  # type: ignore[union-attr]
    assert PIN not in b"".join(one.read_bytes() for one in node.path.iterdir())
    assert b"ENCRYPTED PRIVATE KEY" in (node.path / "key.pem").read_bytes()


@needs_softhsm
def test_an_authority_in_a_token_approves(tmp_path: Path, hsm: SoftHsm) -> None:
    authority = AuthorityFolder(tmp_path / "kari")
    token = hsm.token("kari")
    authority.create(
        "kari", passphrase=PIN, entropy=os.urandom, now_ms=NOW_MS, token=token, algorithm="p384"
    )
    assert not (authority.path / "key.pem").exists()
    node = NodeFolder(tmp_path / "sat1")
    node.begin(SAT, jurisdictions=(), roles=(), passphrase=b"", entropy=os.urandom)
    key = authority.unlock(pin)
    authority.approve(key, node.request(), jurisdictions=["KR"], roles=(), now_ms=NOW_MS)
    assert len(authority.secret(pin)) == 32
    with pytest.raises(ConfigError, match="has a domain already"):
        authority.check_new()


@needs_softhsm
def test_a_wrong_pin_and_none_are_told_and_not_said(tmp_path: Path, hsm: SoftHsm) -> None:
    token = hsm.token("sat1")
    for wrong, why in (
        (b"9999-wrong", "the PIN is wrong"),
        (b"", "no PIN"),
        (b"\xff", "the PIN is wrong"),
    ):
        with pytest.raises(ConfigError, match=why) as refused:
            OpenToken(TokenUri.parse(token), wrong)
        assert "9999" not in str(refused.value)
        assert "9999" not in "".join(traceback.format_exception(refused.value))


@needs_softhsm
def test_the_passphrase_of_a_folder_is_its_own_and_stays(tmp_path: Path, hsm: SoftHsm) -> None:
    token = OpenToken(TokenUri.parse(hsm.token("sat1")), PIN, write=True)
    one, other = (token.generate("ed25519", "a", os.urandom) for _ in range(2))
    assert one.passphrase() == OpenToken(one.uri, PIN).passphrase() != other.passphrase()
    assert one.signing_key().public_key() != other.signing_key().public_key()


@needs_softhsm
def test_what_no_token_can_do_is_refused_before_anything_is_made(
    tmp_path: Path, hsm: SoftHsm
) -> None:
    with pytest.raises(ConfigError, match="no token signs with mldsa87"):
        begun(tmp_path, hsm.token("sat1"), "mldsa87")
    assert not (tmp_path / "sat1").exists()


@needs_softhsm
def test_a_token_that_is_not_there_or_is_another_opens_nothing(
    tmp_path: Path, hsm: SoftHsm
) -> None:
    node = begun(tmp_path, hsm.token("sat1"))
    node.accept(approve(domain(tmp_path), node), NOW_MS)
    place = node.path / "token.uri"
    right = place.read_text()
    place.write_text(right.replace("token=sat1", "token=sat2"))
    with pytest.raises(ConfigError, match=r"token sat2: it is not there.*plugged in"):
        node.unlock(pin)
    hsm.token("sat2")  # of the same name, without the keys
    with pytest.raises(ConfigError, match="the key is not in it"):
        node.unlock(pin)
    place.unlink()  # what is in the files alone opens nothing
    with pytest.raises(SecurityError, match="passphrase is wrong"):
        node.unlock(pin)
    place.write_text(right.replace("module-path=/", "module-path=/nowhere/"))
    with pytest.raises(ConfigError, match=r"no library of PKCS #11"):
        node.unlock(pin)


@needs_softhsm
def test_a_library_that_does_not_start_says_where_to_look(
    hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pkcs11

    token = TokenUri.parse(hsm.token("sat1"))
    pkcs11.lib(token.module).finalize()
    monkeypatch.setenv("SOFTHSM2_CONF", str(hsm.path / "nowhere.conf"))
    with pytest.raises(ConfigError, match=r"does not start \(GeneralError\).*SOFTHSM2_CONF"):
        OpenToken(token, PIN)


@needs_softhsm
def test_what_is_destroyed_is_gone_from_the_token_too(tmp_path: Path, hsm: SoftHsm) -> None:
    import pkcs11

    node = begun(tmp_path, hsm.token("sat1"))
    kept = TokenUri.parse((node.path / "token.uri").read_text().strip())
    pkcs11.lib(MODULE).reinitialize()
    assert [one.name for one in destroy(node.path, pin)] == ["key.pem", "token.uri"]
    with pytest.raises(ConfigError, match="the PIN is wrong"):  # the login has ended with it
        OpenToken(kept, b"9999-wrong")
    with pytest.raises(ConfigError, match="the key is not in it"):
        OpenToken(kept, PIN).signing_key()


def _no_curve(patch: pytest.MonkeyPatch) -> None:
    """The secret can be made, the key pair cannot."""
    patch.setitem(tokens._OIDS, "p256", "1.3.6.1.4.1.99999.1")


def _full_disk(patch: pytest.MonkeyPatch) -> None:
    def full(path: Path, octets: bytes) -> None:
        raise OSError(28, "No space left on device")

    patch.setattr(disk, "write_file", full)


def _no_request(patch: pytest.MonkeyPatch) -> None:
    """All is in the folder but what comes last."""

    def full(path: Path, *_: object) -> None:
        raise ConfigError(str(path), "No space left on device")

    patch.setattr(folder, "write_blocks", full)


def _interrupted(patch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    patch.setattr(folder, "keep_key", interrupt)


def authority_of(root: Path, token: str) -> None:
    """A domain whose key is in a token."""
    AuthorityFolder(root / "sat1").create(
        "kari", passphrase=PIN, entropy=os.urandom, now_ms=NOW_MS, token=token
    )


@needs_softhsm
@pytest.mark.parametrize("make", [begun, authority_of])
@pytest.mark.parametrize(
    ("breaks", "why"),
    [
        (_no_curve, "does not work"),
        (_full_disk, "No space left"),
        (_no_request, "No space left"),
        (_interrupted, None),
    ],
)
def test_where_a_later_step_fails_no_key_stays(
    tmp_path: Path,
    hsm: SoftHsm,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path, str], object],
    breaks: Callable[[pytest.MonkeyPatch], None],
    why: str | None,
) -> None:
    token = hsm.token("sat1")
    with monkeypatch.context() as patch:
        breaks(patch)
        with pytest.raises((ConfigError, KeyboardInterrupt), match=why):
            make(tmp_path, token)
    assert not list(OpenToken(TokenUri.parse(token), PIN)._session.get_objects())
    make(tmp_path, token)  # nothing stands in its way


@needs_softhsm
def test_keys_that_cannot_be_destroyed_again_are_told(
    tmp_path: Path, hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = hsm.token("sat1")

    def gone(self: OpenToken) -> None:
        raise ConfigError(self.uri.place, "it was taken out")

    with monkeypatch.context() as patch:
        patch.setattr(OpenToken, "destroy", gone)
        _no_request(patch)
        why = r"No space left.*stay in it: it was taken out.*domain destroy.*the id"
        with pytest.raises(ConfigError, match=why):
            begun(tmp_path, token)
    destroy(tmp_path / "sat1", pin)
    assert not list(OpenToken(TokenUri.parse(token), PIN)._session.get_objects())


@needs_softhsm
@pytest.mark.parametrize("make", [begun, authority_of])
@pytest.mark.parametrize("step", ["generate", "write_keys"])
def test_what_a_kill_has_left_in_a_token_is_told_and_can_be_destroyed(
    tmp_path: Path,
    hsm: SoftHsm,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path, str], object],
    step: str,
) -> None:
    """A process that ends at once, after some step; nothing of it is there to undo any."""
    token = hsm.token("sat1")
    code = f"""
import os
from pathlib import Path
from stack.identity import disk, folder
from stack.identity.token import OpenToken
from tests.identity import test_token as tests

def ends(real):
    def then(*args, **named):
        real(*args, **named)
        os._exit(9)
    return then

for each in [OpenToken] if {step!r} == "generate" else [disk, folder]:
    setattr(each, {step!r}, ends(getattr(each, {step!r})))
tests.{make.__name__}(Path({str(tmp_path)!r}), {token!r})
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 9, ended.stderr
    assert list(OpenToken(TokenUri.parse(token), PIN)._session.get_objects())
    with pytest.raises(ConfigError, match=r"was cut off.*`orbitferry domain destroy .*sat1`"):
        make(tmp_path, token)
    destroy(tmp_path / "sat1", pin)
    assert not list(OpenToken(TokenUri.parse(token), PIN)._session.get_objects())
    make(tmp_path, token)


@needs_softhsm
def test_no_key_is_made_for_a_folder_that_cannot_be(tmp_path: Path, hsm: SoftHsm) -> None:
    token = hsm.token("sat1")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"Not a directory.*choose another folder"):
        begun(tmp_path / "file", token)
    assert not list(OpenToken(TokenUri.parse(token), PIN)._session.get_objects())


@pytest.mark.parametrize("token", ["", "pkcs11:token=a?module-path=/nowhere.so"])
def test_names_are_looked_at_before_any_key_is_made(tmp_path: Path, token: str) -> None:
    """Nor is the library of a token loaded."""
    node = NodeFolder(tmp_path / "node")
    for laws, roles, algorithm, why in (
        ("kr", "relay", "p256", "capitals"),
        ("KR", "a b", "p256", "is no name"),
        ("KR", "relay", "rot13", "no key is rot13"),
    ):
        with pytest.raises(ConfigError, match=why):
            node.begin(
                SAT,
                jurisdictions=iter([laws]),
                roles=iter([roles]),
                passphrase=PIN,
                entropy=os.urandom,
                algorithm=algorithm,
                token=token,
            )
    authority = AuthorityFolder(tmp_path / "domain")
    for name in ("", "a b"):
        with pytest.raises(ConfigError, match="no name"):
            authority.create(name, passphrase=PIN, entropy=os.urandom, now_ms=NOW_MS, token=token)
    assert not list(tmp_path.iterdir())


def _of_others(path: Path, patch: pytest.MonkeyPatch) -> None:
    path.chmod(0o770)


def _of_another(path: Path, patch: pytest.MonkeyPatch) -> None:
    if os.geteuid():
        patch.setattr(os, "geteuid", lambda: 4321)
    else:
        os.chown(path, 4321, -1)


@pytest.mark.parametrize(
    ("whose", "why"), [(_of_others, "others may look into it"), (_of_another, "another user's")]
)
def test_no_library_is_loaded_that_somebody_else_could_have_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whose: Callable[[Path, pytest.MonkeyPatch], None],
    why: str,
) -> None:
    node, authority = begun_in_files(tmp_path), domain(tmp_path)
    node.accept(approve(authority, node), NOW_MS)

    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("the library is loaded")

    monkeypatch.setattr(disk, "OpenToken", loaded)
    for path in (node.path, authority.path):
        (path / "token.uri").write_text("pkcs11:token=a;id=%01?module-path=/nowhere.so\n")
        with pytest.raises(AssertionError, match="is loaded"):
            destroy(path, pin)
        whose(path, monkeypatch)
    for use in (
        lambda: destroy(node.path, pin),
        lambda: destroy(authority.path, pin),
        lambda: node.unlock(pin),
        lambda: authority.unlock(pin),
        lambda: authority.secret(pin),
        lambda: find_passphrase(node.path, ""),
    ):
        with pytest.raises(ConfigError, match=why):
            use()
    assert (node.path / "key.pem").exists()


def test_the_passphrase_of_an_authority_is_never_tried_as_a_pin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a PIN opens no file: each has its own variable."""
    monkeypatch.setenv("ORBITFERRY_PASSPHRASE", "correct horse")
    monkeypatch.setenv("ORBITFERRY_PIN", "1234")
    authority = AuthorityFolder(tmp_path / "kari")
    authority.create("kari", passphrase=b"correct horse", entropy=os.urandom, now_ms=NOW_MS)
    assert find_passphrase(authority.path, "") == b"correct horse"
    (authority.path / "token.uri").write_text("pkcs11:token=a;id=%01?module-path=/nowhere.so\n")
    assert find_passphrase(authority.path, "") == b"1234"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no PKCS #11 URI"),
        ("pkcs11:" + "x" * 5000, "is no PKCS #11 URI"),
        ("pkcs11:token=a?module-path=/x&pin-value=1234", "may not say the PIN"),
        ("pkcs11:token=a?module-path=/x&pin-source=/y", "may not say the PIN"),
        ("pkcs11:token=a", "the whole path of the library"),
        ("pkcs11:token=a?module-path=x.so", "the whole path of the library"),
        ("pkcs11:?module-path=/x", "no NAME=VALUE"),
        ("pkcs11:token=a;token=b?module-path=/x", "or twice"),
        ("pkcs11:slot-id=1;token=a?module-path=/x", "slot-id, which is not looked at"),
        ("pkcs11:token=%FF?module-path=/x", "not UTF-8"),
    ],
)
def test_uris_are_checked_and_show_no_pin(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        TokenUri.parse(text)
    assert "1234" not in str(refused.value)


def test_a_uri_is_written_as_it_is_read() -> None:
    uri = TokenUri("/usr/lib/x y.so", "a;b", "77", "dtn://sat1/", b"\x00\xff")
    assert TokenUri.parse(str(uri)) == uri
