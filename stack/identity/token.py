"""Keys in a token (PKCS #11): a smart card, an HSM, or SoftHSM.  Two belong to a folder:

    the signing key    P-256, P-384 or Ed25519: made in the token, which signs and keeps it
    a secret           for HMAC-SHA256: of it comes the passphrase of the files in the folder

No token opens what is sealed with X25519 or ML-KEM (HPKE), and none of those in use signs with
ML-DSA.  So the key for what is sealed lies in `key.pem` under a passphrase that the token alone can
tell, and is in memory while a node runs.

`token.uri` in the folder says which token and which object (RFC 7512); it has no PIN, ever."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote_to_bytes

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import Hash

from stack.core.errors import ConfigError, SecurityError
from stack.core.extras import require
from stack.core.sansio import Entropy

if TYPE_CHECKING:
    from pkcs11 import Session

URI_BYTES_MAX: Final = 4096
ID_BYTES: Final = 16
_OIDS: Final = {"p256": "1.2.840.10045.3.1.7", "p384": "1.3.132.0.34", "ed25519": "1.3.101.112"}
"""What tokens sign with."""

_CURVES: dict[str, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}

_PURPOSE = b"Orbitferry: passphrase of the files of a folder"
_ATTRIBUTE = re.compile(r"([a-z-]+)=([^;?&=\s]+)")
_EXAMPLE = "such as pkcs11:token=station?module-path=/usr/lib/softhsm/libsofthsm2.so"
_KNOWN = frozenset({"token", "serial", "object", "id", "module-path"})


@dataclass(frozen=True, slots=True)
class TokenUri:
    """Where keys are (RFC 7512): a token by label or serial number, and an object by its id."""

    module: str
    """Path of the library that speaks to the token."""

    token: str = ""
    serial: str = ""
    object: str = ""
    id: bytes = b""

    @classmethod
    def parse(cls, text: str) -> TokenUri:
        """Raises `ConfigError`; no part of the URI is in its words, as a PIN may be in it."""
        if not text.startswith("pkcs11:") or len(text) > URI_BYTES_MAX:
            raise ConfigError("token", "is no PKCS #11 URI", _EXAMPLE)
        found: dict[str, bytes] = {}
        for part in re.split("[;?&]", text.removeprefix("pkcs11:")):
            attribute = _ATTRIBUTE.fullmatch(part)
            if attribute is None or attribute[1] in found:
                raise ConfigError("token", "has a part that is no NAME=VALUE, or twice", _EXAMPLE)
            if attribute[1].startswith("pin-"):
                raise ConfigError(
                    "token",
                    "may not say the PIN",
                    "put it into a file (mode 0600) for `--passphrase-file` or `passphrase_file`, "
                    "or into `ORBITFERRY_PIN`",
                )
            if attribute[1] not in _KNOWN:
                words = f"has {attribute[1]}, which is not looked at"
                raise ConfigError("token", words, f"leave it out; {_EXAMPLE}")
            found[attribute[1]] = unquote_to_bytes(attribute[2])
        try:
            token, serial, label, module = (
                found.get(name, b"").decode()
                for name in ("token", "serial", "object", "module-path")
            )
        except UnicodeDecodeError:
            raise ConfigError("token", "is not UTF-8", _EXAMPLE) from None
        if not module.startswith("/") or not (token or serial):
            why = "needs token= or serial=, and the whole path of the library in module-path="
            raise ConfigError("token", why, _EXAMPLE)
        return cls(module, token, serial, label, found.get("id", b""))

    @property
    def place(self) -> str:
        """The token, for messages."""
        return f"token {self.token or self.serial}"

    def __str__(self) -> str:
        """As RFC 7512 has it."""
        path = [
            f"{name}={quote(value, safe='')}"
            for name, value in (
                ("token", self.token),
                ("serial", self.serial),
                ("object", self.object),
            )
            if value
        ]
        if self.id:
            path.append("id=" + "".join(f"%{octet:02X}" for octet in self.id))
        return f"pkcs11:{';'.join(path)}?module-path={quote(self.module)}"


_GONE: Final = "is it plugged in, and the same one? `pkcs11-tool -L` shows those that are there"
_WRONG: Final = ("the PIN is wrong", "look after it: a few more tries may lock the token")
_SET: Final = "its security officer can set one (`pkcs11-tool --init-pin`)"
_WORDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "PinIncorrect": _WRONG,
        "PinInvalid": _WRONG,
        "PinLenRange": _WRONG,
        "UnicodeDecodeError": _WRONG,
        "PinLocked": ("its PIN is locked", _SET),
        "PinExpired": ("its PIN has expired", _SET),
        "UserPinNotInitialized": ("it has no PIN", _SET),
        "NoSuchToken": ("it is not there", _GONE),
        "TokenNotPresent": ("it is not there", _GONE),
        "TokenNotRecognised": ("it is not there", _GONE),
        "DeviceRemoved": ("it was taken out", _GONE),
        "NoSuchKey": ("the key is not in it", _GONE),
        "MultipleTokensReturned": ("two have this name", "say which, by serial= in the URI"),
        "TokenWriteProtected": ("it cannot be written to", "take another"),
        "MechanismInvalid": (
            "it cannot do what is needed: signatures of this algorithm, and HMAC-SHA256",
            "another --algorithm, or another token; `pkcs11-tool -M` shows what it can do",
        ),
    }
)
"""What went wrong and what to do, by the error that python-pkcs11 has for it."""


def check_algorithm(algorithm: str) -> None:
    """Raise `ConfigError` for what no token signs with."""
    if algorithm not in _OIDS:
        raise ConfigError(
            "algorithm",
            f"no token signs with {algorithm}",
            f"take one of {', '.join(_OIDS)}, or keep the keys in files: no --token",
        )


class KeysLeftError(ConfigError):
    """Keys that were made for nothing are in a token still."""


class OpenToken:
    """A token, its PIN given; `uri` names the objects in it that belong to a folder, or none yet.

    PKCS #11 knows one login for a process: while that lasts, the PIN is not looked at again.  Each
    call waits for the token, and an event loop with it.  Not for several threads."""

    def __init__(self, uri: TokenUri, pin: bytes, *, write: bool = False) -> None:
        """`write`: keys will be made or destroyed.  Raises `ConfigError` for what an operator can
        mend, `MissingExtraError`."""
        self.uri = uri
        if not pin:
            raise ConfigError(
                uri.place,
                "no PIN was given",
                "put it into `--passphrase-file`, `passphrase_file` or `ORBITFERRY_PIN`",
            )
        require("pkcs11")
        import pkcs11

        try:
            library = pkcs11.lib(uri.module)
        except pkcs11.PKCS11Error as error:
            if type(error) is pkcs11.PKCS11Error:  # of python-pkcs11 itself, before any call
                remedy = "is `module-path` the library of this token?"
                raise ConfigError(uri.module, "is no library of PKCS #11", remedy) from None
            message = f"the library does not start ({type(error).__name__})"
            remedy = "look at its own configuration (of SoftHSM: `SOFTHSM2_CONF`)"
            raise ConfigError(uri.module, message, remedy) from None
        serial = uri.serial.encode() or None
        with _faults(uri.place):
            token = library.get_token(token_label=uri.token or None, token_serial=serial)
            try:
                self._session: Session = token.open(rw=write, user_pin=pin.decode())
            except pkcs11.UserAlreadyLoggedIn:
                self._session = token.open(rw=write)

    def close(self) -> None:
        """No more of it, and log out if this process has it open nowhere else."""
        with suppress(ConfigError), _faults(self.uri.place):  # it may be out by now
            self._session.close()

    def generate(
        self,
        algorithm: str,
        label: str,
        entropy: Entropy,
        announce: Callable[[TokenUri], object] = str,
    ) -> OpenToken:
        """Make a signing key and a secret in the token, both or none: the same token, with a URI
        that names them, which `announce` is given before there are any.  Raises `ConfigError`."""
        from pkcs11 import Attribute, KeyType, Mechanism
        from pkcs11.util.ec import encode_named_curve_parameters

        check_algorithm(algorithm)
        names: dict[str, Any] = {"id": entropy(ID_BYTES), "label": label, "store": True}
        hidden = {Attribute.EXTRACTABLE: False, Attribute.SENSITIVE: True, Attribute.SIGN: True}
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(_OIDS[algorithm])}
        kind, how = KeyType.EC, Mechanism.EC_KEY_PAIR_GEN
        if algorithm == "ed25519":
            kind, how = KeyType.EC_EDWARDS, Mechanism.EC_EDWARDS_KEY_PAIR_GEN
        made = OpenToken.__new__(OpenToken)
        made.uri = replace(self.uri, object=label, id=names["id"])
        made._session = self._session
        announce(made.uri)
        with made.undone(), _faults(self.uri.place):
            self._session.generate_key(
                KeyType.GENERIC_SECRET,
                256,
                mechanism=Mechanism.GENERIC_SECRET_KEY_GEN,
                template=hidden,
                **names,
            )
            self._session.create_domain_parameters(kind, curve, local=True).generate_keypair(
                mechanism=how, private_template=hidden, **names
            )
        return made

    @contextmanager
    def undone(self) -> Iterator[None]:
        """When the block fails, the keys are destroyed.  Raises `KeysLeftError` where even that
        fails."""
        try:
            yield
        except BaseException as error:
            try:
                self.destroy()
            except ConfigError as left:
                message = f"{error}; and the keys that were made stay in it: {left.message}"
                remedy = "`orbitferry domain destroy` of this folder, or of the token's objects "
                remedy += f"with the id {self.uri.id.hex()} (`pkcs11-tool --delete-object`)"
                raise KeysLeftError(self.uri.place, message, remedy) from error
            raise

    def signing_key(self) -> TokenKey:
        """The signing key.  Raises `ConfigError`."""
        from pkcs11 import Attribute, ObjectClass

        with _faults(self.uri.place):
            public = self._session.get_key(ObjectClass.PUBLIC_KEY, id=self.uri.id)
            private: Any = self._session.get_key(ObjectClass.PRIVATE_KEY, id=self.uri.id)
            parameters, point = public[Attribute.EC_PARAMS], public[Attribute.EC_POINT]
        return _key(self.uri.place, private, parameters, point)

    def passphrase(self) -> bytes:
        """That of the files in the folder.  Raises `ConfigError`."""
        from pkcs11 import Mechanism, ObjectClass

        with _faults(self.uri.place):
            secret: Any = self._session.get_key(ObjectClass.SECRET_KEY, id=self.uri.id)
            octets: bytes = secret.sign(_PURPOSE, mechanism=Mechanism.SHA256_HMAC)
        return octets.hex().encode()

    def destroy(self) -> None:
        """Destroy the keys.  Raises `ConfigError`."""
        from pkcs11 import Attribute

        with _faults(self.uri.place):
            for one in list(self._session.get_objects({Attribute.ID: self.uri.id})):
                one.destroy()


class _Inside:
    """A private key of which no octet leaves its token."""

    def __init__(self, place: str, inside: Any) -> None:
        self._place = place
        self._inside = inside

    def _sign(self, data: bytes, mechanism: str) -> bytes:
        from pkcs11 import Mechanism

        try:
            with _faults(self._place):
                signature: bytes = self._inside.sign(data, mechanism=Mechanism[mechanism])
        except ConfigError as error:  # while a node runs: nothing goes out unsigned
            raise SecurityError(f"{error}; then start the node anew") from None
        return signature

    def private_bytes(self, *args: object) -> bytes:
        """Never."""
        raise NotImplementedError

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Any:
        return self


class TokenEcKey(_Inside, ec.EllipticCurvePrivateKey):
    """ECDSA in a token, which draws the nonce of each signature itself."""

    def __init__(self, place: str, inside: Any, public: ec.EllipticCurvePublicKey) -> None:
        super().__init__(place, inside)
        self._public = public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """DER.  Raises `SecurityError` when the token does not answer."""
        algorithm = signature_algorithm.algorithm
        assert not isinstance(algorithm, Prehashed)
        hashing = Hash(algorithm)
        hashing.update(data)
        raw = self._sign(hashing.finalize(), "ECDSA")
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        """Never: this key signs."""
        raise NotImplementedError

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        """Never."""
        raise NotImplementedError


class TokenEdKey(_Inside, ed25519.Ed25519PrivateKey):
    """Ed25519 in a token."""

    def __init__(self, place: str, inside: Any, public: ed25519.Ed25519PublicKey) -> None:
        super().__init__(place, inside)
        self._public = public

    def public_key(self) -> ed25519.Ed25519PublicKey:
        return self._public

    def sign(self, data: Any) -> bytes:
        """Raises `SecurityError` when the token does not answer."""
        return self._sign(bytes(data), "EDDSA")

    def private_bytes_raw(self) -> bytes:
        """Never."""
        raise NotImplementedError


TokenKey = TokenEcKey | TokenEdKey


def _key(place: str, inside: Any, parameters: bytes, point: bytes) -> TokenKey:
    """Of what a token says: DER of the curve, and an OCTET STRING with the public key."""
    from pkcs11.util.ec import encode_named_curve_parameters

    octets = point[2:] if point[:2] == bytes((4, len(point) - 2)) else point
    try:
        if parameters == encode_named_curve_parameters(_OIDS["ed25519"]):
            return TokenEdKey(place, inside, ed25519.Ed25519PublicKey.from_public_bytes(octets))
        for name, curve in _CURVES.items():
            if parameters == encode_named_curve_parameters(_OIDS[name]):
                public = ec.EllipticCurvePublicKey.from_encoded_point(curve, octets)
                return TokenEcKey(place, inside, public)
    except ValueError:
        pass
    raise ConfigError(place, "its key is not of P-256, P-384 or Ed25519", "look at its `id`")


@contextmanager
def _faults(place: str) -> Iterator[None]:
    """What a token says, as `ConfigError` with what to do; nothing of the PIN is in it."""
    from pkcs11 import PKCS11Error

    try:
        yield
    except (PKCS11Error, UnicodeDecodeError) as error:
        message, remedy = _WORDS.get(type(error).__name__, ("", _GONE))
        message = message or f"it does not work ({type(error).__name__})"
        raise ConfigError(place, message, remedy) from None
