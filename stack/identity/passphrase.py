"""Where the passphrase of a key file, or the PIN of a token, comes from: a file, the environment,
or the key ring of the operating system."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from stack.core.errors import ConfigError
from stack.identity.disk import find_token, is_encrypted

VARIABLE: Final = "ORBITFERRY_PASSPHRASE"
"""The environment variable with a passphrase."""

PIN_VARIABLE: Final = "ORBITFERRY_PIN"
"""That with a PIN: of its own, as a few wrong tries lock a token."""

KEY_RING: Final = "orbitferry"
"""The service under which the key ring has it; the user is the path of the folder."""

PASSPHRASE_BYTES_MAX: Final = 1024


def find_passphrase(folder: Path, file: str) -> bytes:
    """The passphrase of the keys in a folder, or the PIN of their token: from `file`, else from the
    environment, else from the key ring; empty where they have none, and where it is in none of
    these.  Raises `ConfigError`, `SecurityError`."""
    if file:
        return read_passphrase(Path(file))
    in_token = find_token(folder) is not None
    if not in_token and not is_encrypted(folder):
        return b""
    given = os.environ.get(PIN_VARIABLE if in_token else VARIABLE, "")
    return given.encode() if given else _from_key_ring(folder)


def read_passphrase(path: Path) -> bytes:
    """The first line of a file that nobody else may read.  Raises `ConfigError`."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            line = file.readline(PASSPHRASE_BYTES_MAX + 1).rstrip(b"\r\n")
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error), "check the path") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            str(path), f"others may read this passphrase (mode {mode:04o})", f"chmod 600 {path}"
        )
    if not 0 < len(line) <= PASSPHRASE_BYTES_MAX:
        raise ConfigError(str(path), "its first line is no passphrase")
    return line


def _from_key_ring(folder: Path) -> bytes:
    try:
        import keyring
    except ImportError:
        return b""
    try:
        found = keyring.get_password(KEY_RING, str(folder.resolve()))
    except Exception:  # a key ring that is locked, or is none: the passphrase is asked for
        return b""
    return (found or "").encode()
