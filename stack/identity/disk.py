"""Files in the folders of nodes and authorities, which nobody else may read."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from stack.core.errors import ConfigError, DecodeError, SecurityError
from stack.core.private import FOLDER_MODE, FRESH, discard, erase, make_folder, write_file
from stack.core.sansio import Entropy
from stack.cose import SigningKey
from stack.identity import pem
from stack.identity.keys import ALGORITHMS, SigningPrivateKey, decode_private, encode_private
from stack.identity.token import (
    URI_BYTES_MAX,
    KeysLeftError,
    OpenToken,
    TokenUri,
    check_algorithm,
)

KEY = "key.pem"
FIRST_EPOCH = "first-epoch.pem"
EPOCHS = "epochs.pem"
ACCOUNT = "acme-account.pem"
TOKEN = "token.uri"  # noqa: S105 - the name of a file
"""What is secret in a folder."""

REQUEST = "request.pem"

Passphrase = Callable[[], bytes]
"""Gives the passphrase of a key file, when it has one, or the PIN of a token."""


_P = ParamSpec("_P")
_R = TypeVar("_R")
_Placed = TypeVar("_Placed", bound="Placed")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A signing key that was made for a folder, in a file to come or in a token."""

    key: SigningPrivateKey = field(repr=False)
    passphrase: bytes = field(repr=False)
    """Of the files in the folder; empty for none."""

    in_token: bool = False
    """The folder says already where in a token it is."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Have a folder to oneself: what another command does there, which reads and then writes, is
    over before, or begins after.  Waits for it; a kill leaves nothing behind.  Raises
    `ConfigError`."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        remedy = "is it the right folder?"
        raise ConfigError(str(folder), error.strerror or str(error), remedy) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


class Placed(Protocol):
    """What has a folder."""

    path: Path


def by_itself(
    method: Callable[Concatenate[_Placed, _P], _R],
) -> Callable[Concatenate[_Placed, _P], _R]:
    """A method that reads the folder of its object and then writes there: `alone`."""

    @wraps(method)
    def wrapped(placed: _Placed, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with alone(placed.path):
            return method(placed, *args, **kwargs)

    return wrapped


@contextmanager
def new_key(
    folder: Path,
    algorithm: str,
    passphrase: bytes,
    entropy: Entropy,
    check_new: Callable[[], None],
    token: str = "",
    label: str = "",
) -> Iterator[NewKey]:
    """A fresh signing key for a folder that has none, as `check_new` sees to, and is made if it is
    not there.  The key is in `token`, a URI, of which `passphrase` is the PIN, if there is one.
    Within the block nobody else changes the folder.  When it fails, key and files with secrets are
    gone again.  Raises `ConfigError`, `MissingExtraError`."""
    if algorithm not in ALGORITHMS:
        raise ConfigError("algorithm", f"no key is {algorithm}", f"one of {', '.join(ALGORITHMS)}")
    opened = _opened(token, algorithm, passphrase) if token else None
    with ExitStack() as stack:
        if opened is not None:
            stack.push(lambda kind, *_: opened.close() if kind else None)
        new_folder(folder)
        stack.enter_context(alone(folder))
        check_new()
        if opened is None:
            key = SigningKey.generate(ALGORITHMS[algorithm], entropy).key
            assert isinstance(key, SigningPrivateKey)
            made = NewKey(key, passphrase)
        else:
            made = stack.enter_context(_in_token(folder, opened, algorithm, entropy, label))
        try:
            yield made
        except BaseException:
            for name in (KEY, FIRST_EPOCH):
                discard(folder / name)
            raise


def _opened(token: str, algorithm: str, pin: bytes) -> OpenToken:
    uri = TokenUri.parse(token)
    if uri.id or uri.object:
        raise ConfigError("token", "names a key, and one is made", "leave out id= and object=")
    check_algorithm(algorithm)
    return OpenToken(uri, pin, write=True)


@contextmanager
def _in_token(
    folder: Path, opened: OpenToken, algorithm: str, entropy: Entropy, label: str
) -> Iterator[NewKey]:
    try:
        # First where the keys will be: those that a kill leaves in the token can be destroyed.
        made = opened.generate(
            algorithm,
            label,
            entropy,
            lambda found: _write(folder / TOKEN, str(found).encode() + b"\n"),
        )
        with made.undone():
            yield NewKey(made.signing_key(), made.passphrase(), in_token=True)
    except BaseException as error:
        if not isinstance(error, KeysLeftError):
            discard(folder / TOKEN)
        raise


def new_folder(folder: Path) -> None:
    """Make a folder, if need be, and let nobody else look into it.  Raises `ConfigError`, also for
    one with other things in it, to which others have a right: nobody is shut out of `/tmp`."""
    try:
        make_folder(folder)
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO) and any(folder.iterdir()):
            remedy = f"choose a folder of its own, or chmod 700 {folder}"
            message = f"others may look into it (mode {mode:04o}), and something is in it already"
            raise ConfigError(str(folder), message, remedy)
        folder.chmod(FOLDER_MODE)
    except OSError as error:
        remedy = "choose another folder"
        raise ConfigError(str(folder), error.strerror or str(error), remedy) from None


def cut_off(folder: Path) -> ConfigError:
    """What a kill or a loss of power has left, before anything was signed with its keys."""
    message = "was cut off while its keys were made, which have signed nothing"
    return ConfigError(
        str(folder), message, f"`orbitferry domain destroy {folder}`, then do this again"
    )


def keep_key(folder: Path, made: NewKey, others: Sequence[object], entropy: Entropy) -> None:
    """Write `key.pem` with the `others` and a new key, unless that is in a token.  Raises
    `ConfigError`."""
    keys = [*others] if made.in_token else [made.key, *others]
    if keys:
        write_keys(folder / KEY, keys, made.passphrase, entropy)


def find_token(folder: Path) -> TokenUri | None:
    """Where in a token the signing key of a folder is, if it is in one.  Raises `ConfigError`, also
    when the folder is not this user's alone: who writes that file says which library is run."""
    path = folder / TOKEN
    if not os.path.lexists(path):
        return None
    check_private(folder)
    try:
        if folder.stat().st_uid not in (os.geteuid(), 0):
            raise ConfigError(str(folder), "is another user's", "do this as that user")
        with path.open("rb") as file:
            octets = file.read(URI_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error)) from None
    uri = TokenUri.parse(octets.decode("utf-8", "replace").strip())
    if not uri.id:
        raise ConfigError(str(path), "names no key", "it needs id=, as `enroll` has written it")
    return uri


def account_key(folder: Path, passphrase: Passphrase, entropy: Entropy) -> object:
    """The key of the node's account at an ACME server (P-256), made where there is none: under the
    passphrase of its other keys, but for what a token has.  Raises `ConfigError`,
    `SecurityError`."""
    path = folder / ACCOUNT
    if path.exists():
        found = _read_keys(path, passphrase)
        if len(found) != 1:
            raise ConfigError(str(path), "has not one key", "remove it to begin another account")
        return found[0]
    key = SigningKey.generate(ALGORITHMS["p256"], entropy).key
    secret = b"" if find_token(folder) or not is_encrypted(folder) else passphrase()
    write_keys(path, [key], secret, entropy)
    return key


def where_keys_are(folder: Path) -> dict[str, str]:
    """Where the private keys of a folder are, by what they are for: `signing`, and for a node
    `opening` of what is sealed to it, which is never in a token; none that were destroyed.  Raises
    `ConfigError`."""
    token = find_token(folder)
    places = {} if token is None else {"signing": token.place}
    if (folder / KEY).exists():
        places.setdefault("signing", KEY)
        if (folder / REQUEST).exists():
            places["opening"] = KEY
    return places


def check_private(folder: Path) -> None:
    """Raise `ConfigError` when others may look into a folder."""
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError as error:
        remedy = "make one with `orbitferry domain enroll`"
        raise ConfigError(str(folder), error.strerror or str(error), remedy) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            str(folder), f"others may look into it (mode {mode:04o})", f"chmod 700 {folder}"
        )


def read_blocks(path: Path, remedy: str) -> list[pem.PemBlock]:
    """The blocks of a file.  Raises `ConfigError`, `SecurityError`."""
    try:
        with path.open("rb") as file:
            octets = file.read(pem.FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error), remedy) from None
    return decode_blocks(octets, f"{path}: ")


def written_at(path: Path) -> int:
    """When a file was written, in nanoseconds.  Raises `ConfigError`."""
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error)) from None


def decode_blocks(octets: bytes, where: str = "") -> list[pem.PemBlock]:
    """The blocks of a file that came from outside.  Raises `SecurityError`."""
    try:
        return pem.decode(octets)
    except DecodeError as error:
        raise SecurityError(f"{where}{error}") from None


def is_encrypted(folder: Path) -> bool:
    """Whether the keys in the files of a folder are under a passphrase.  Raises `ConfigError`,
    `SecurityError`."""
    blocks = read_blocks(folder / KEY, "run `orbitferry domain enroll` first")
    return any(block.label == pem.ENCRYPTED_KEY for block in blocks)


def secret_files(folder: Path) -> list[Path]:
    """The files with secrets in a folder, and what a kill has left of the writing of one.  Raises
    `ConfigError` where there are none."""
    names = [name + end for name in (KEY, FIRST_EPOCH, EPOCHS, ACCOUNT) for end in ("", FRESH)]
    found = [folder / name for name in (*names, TOKEN) if (folder / name).exists()]
    if not found:
        raise ConfigError(str(folder), "there are no keys", "is it the right folder?")
    return found


def destroy(folder: Path, passphrase: Passphrase) -> list[Path]:
    """Overwrite and remove the private keys in a folder, and what is sealed to them; the files that
    are gone.  Keys in a token go first, for which `passphrase` gives the PIN.  Flash and
    copy-on-write file systems may keep the old octets all the same.  Raises `ConfigError`."""
    secret_files(folder)  # else no PIN is asked for
    if (uri := find_token(folder)) is not None:
        with closing(OpenToken(uri, passphrase(), write=True)) as token:
            token.destroy()
    with alone(folder):
        gone = secret_files(folder)
        for path in gone:
            try:
                erase(path)
            except OSError as error:
                raise ConfigError(str(path), error.strerror or str(error)) from None
    return gone


def write_blocks(path: Path, blocks: Sequence[pem.PemBlock], words: str = "") -> None:
    """Write a file of blocks, at once and durably.  Raises `ConfigError`, also for one that nobody
    could read: what was there stays."""
    octets = pem.encode(blocks, words).encode()
    if len(octets) > pem.FILE_BYTES_MAX or len(blocks) > pem.BLOCKS_MAX:
        message = f"would have {len(octets)} octets and {len(blocks)} objects, which nobody reads"
        raise ConfigError(str(path), message, "have fewer nodes, or smaller keys, in this domain")
    _write(path, octets)


def _write(path: Path, octets: bytes) -> None:
    try:
        write_file(path, octets)
    except OSError as error:
        raise unwritten(path, error) from None


def unwritten(path: Path, error: OSError, more: str = "") -> ConfigError:
    """A file that could not be written, and what to do; `more` of what was done before."""
    why = error.strerror or str(error)
    remedy = {
        errno.ENOSPC: "make room on this disk, then do it again",
        errno.EDQUOT: "make room on this disk, then do it again",
        errno.EROFS: "make this disk writable, then do it again",
        errno.EACCES: "do it as the user whose folder it is",
        errno.EPERM: "do it as the user whose folder it is",
    }.get(error.errno or 0, "check the path, then do it again")
    return ConfigError(str(path), f"could not be written: {why}", more or remedy)


def write_keys(path: Path, keys: Iterable[object], passphrase: bytes, entropy: Entropy) -> None:
    """Write private keys, under a passphrase unless that is empty.  Raises `ConfigError`,
    `SecurityError`."""
    label = pem.ENCRYPTED_KEY if passphrase else pem.PRIVATE_KEY
    write_blocks(
        path, [pem.PemBlock(label, encode_private(key, passphrase, entropy)) for key in keys]
    )


def read_keys(path: Path, passphrase: Passphrase) -> list[object]:
    """The private keys in a file, and that in the token of its folder.  Raises `ConfigError`,
    `SecurityError`."""
    if (uri := find_token(path.parent)) is None:
        return _read_keys(path, passphrase)
    token = OpenToken(uri, passphrase())
    files = _read_keys(path, token.passphrase) if path.exists() else []
    return [token.signing_key(), *files]


def _read_keys(path: Path, passphrase: Passphrase) -> list[object]:
    blocks = read_blocks(path, "is it the right folder?")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            str(path), f"others may read this key file (mode {mode:04o})", f"chmod 600 {path}"
        )
    secret = passphrase() if any(one.label == pem.ENCRYPTED_KEY for one in blocks) else b""
    labels = (pem.PRIVATE_KEY, pem.ENCRYPTED_KEY)
    try:
        return [
            decode_private(one.octets, secret if one.label == pem.ENCRYPTED_KEY else b"")
            for one in blocks
            if one.label in labels
        ]
    except SecurityError as error:
        raise SecurityError(f"{path}: {error}") from None
