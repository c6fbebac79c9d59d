"""Passphrases, and questions before what cannot be undone."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stack.cli.common import FAILED, CommandError

if TYPE_CHECKING:
    from stack.identity.disk import Passphrase

PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="Its first line is the passphrase, or the PIN of the token (mode 0600). Default: "
        "ORBITFERRY_PASSPHRASE, of a token ORBITFERRY_PIN, the key ring of the system, or a "
        "question.",
    ),
]
NoPassphrase = Annotated[
    bool,
    typer.Option(
        "--no-passphrase", help="Keep the keys in a file without one, for its owner alone (0600)."
    ),
]
TokenOption = Annotated[
    str,
    typer.Option(
        metavar="URI",
        help="Make the key for signatures in a token (PKCS #11), which it never leaves: "
        '"pkcs11:token=LABEL?module-path=/LIBRARY.so" (RFC 7512, without a PIN).',
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


def confirm(question: str, yes: bool) -> None:
    """Ask before something that cannot be undone.  Raises `CommandError` where nobody can answer,
    or the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Nobody is here to answer", "say --yes", FAILED)
    if not typer.confirm(question, err=True):
        raise CommandError("nothing was done", "", FAILED)


def new_passphrase(
    file: Path | None, none: bool, *, token: str = "", optional: bool = False
) -> bytes:
    """The passphrase of keys that are to be made, or the PIN of their token; empty for none.  With
    `optional` nobody is asked for a passphrase, and without one there is none.  Raises
    `CommandError`, `ConfigError`."""
    import os

    from stack.identity.passphrase import PIN_VARIABLE, VARIABLE, read_passphrase

    if none and not token:
        return b""
    if file is not None:
        return read_passphrase(file)
    if given := os.environ.get(PIN_VARIABLE if token else VARIABLE):
        return given.encode()
    if token:
        return _asked("PIN of the token")
    if optional:
        return b""
    if not sys.stdin.isatty():
        raise CommandError(
            "the key of an authority is kept under a passphrase, and there is none",
            "give --passphrase-file FILE, or say --no-passphrase",
            FAILED,
        )
    text: str = typer.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True)
    return text.encode()


def asking(folder: Path, file: Path | None) -> Passphrase:
    """The passphrase of keys that are there, or the PIN of their token, asked for where it is
    nowhere else, and once."""
    from stack.identity.disk import find_token
    from stack.identity.passphrase import find_passphrase

    @cache
    def find() -> bytes:
        if found := find_passphrase(folder, str(file or "")):
            return found
        uri = find_token(folder)
        return _asked(f"Passphrase of {folder}" if uri is None else f"PIN of {uri.place}")

    return find


def _asked(what: str) -> bytes:
    """What somebody at a terminal types; empty where nobody is."""
    if not sys.stdin.isatty():
        return b""
    text: str = typer.prompt(what, hide_input=True, err=True)
    return text.encode()
