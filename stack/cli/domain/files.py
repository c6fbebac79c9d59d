"""Files that commands of a domain write for others to carry."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stack.cli.output import note

if TYPE_CHECKING:
    from stack.core.eid import Eid
    from stack.identity import Trust
    from stack.identity.pem import PemBlock
    from stack.identity.recovery import Shown

ANSWER, UPDATE = "answer.pem", "update.pem"

LINE_BYTES_MAX: Final = 4096
"""Of what a file says of itself at its head."""


def check_out(out: Path) -> None:
    """Raise `ConfigError` for a file that could not be written, or that would take the place of
    something else than such a file: before anything is done that stays."""
    from stack.core.errors import ConfigError, SecurityError
    from stack.identity import pem
    from stack.identity.disk import read_blocks, unwritten

    if not out.parent.is_dir():
        raise unwritten(out, FileNotFoundError(errno.ENOENT, "there is no such folder"))
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise unwritten(out, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    if not os.path.lexists(out):
        return
    try:
        labels = {block.label for block in read_blocks(out, "")}
    except (ConfigError, SecurityError):
        labels = {""}
    # One such file may take the place of another.
    told = {pem.CERTIFICATE, pem.REVOCATIONS, pem.REQUEST, pem.FOREIGN_LIST, pem.EPOCHS, pem.GRANT}
    if not labels <= told:
        raise ConfigError(
            str(out), "is there already, and is something else", "choose another file (--out)"
        )


def check_answer(out: Path, node: Eid) -> None:
    """Raise `ConfigError` for a file that is the answer for another node than this: nobody may have
    carried it there yet."""
    from stack.core.errors import ConfigError
    from stack.security.first_epoch import addressee

    check_out(out)
    if not out.exists():
        return
    with out.open("rb") as file:
        other = addressee(file.readline(LINE_BYTES_MAX))
    if other not in ("", str(node)):
        remedy = "carry it there and take it away, or choose another file (--out)"
        raise ConfigError(str(out), f"is there already, for {other}", remedy)


def put(
    out: Path, make: Callable[[], bytes], done: str, check: Callable[[], None] = lambda: None
) -> None:
    """Write such a file; of several commands that write it at one time the last one knows what the
    others have done, or finds by `check` that it may not take the place of theirs.  Raises
    `ConfigError`, which says how to get the file, as all else is `done` already."""
    from stack.core.errors import ConfigError
    from stack.core.private import write_file
    from stack.identity.disk import alone, unwritten

    try:
        with alone(out.parent):
            check()
            write_file(out, make())
    except ConfigError as error:
        raise ConfigError(error.key, error.message, done) from None
    except OSError as error:
        raise unwritten(out, error, done) from None


def tell_older(trust: Trust, *places: Path) -> None:
    """Say so where a file, or one in a folder, shows that an authority has signed what `trust`, of
    its own folder, does not know: nodes would take nothing that it signs now."""
    from stack.core.errors import ConfigError, SecurityError
    from stack.identity.disk import read_blocks
    from stack.identity.folder import TRUST
    from stack.identity.recovery import list_number

    names = (ANSWER, UPDATE, TRUST)
    files = [one for place in places for one in (place, *(place / name for name in names))]
    for path in {one.resolve(): one for one in files if one.is_file()}.values():
        try:
            shown = _listed(trust, read_blocks(path, ""))
        except (ConfigError, SecurityError):
            continue
        if shown is not None and shown.beyond(trust):
            note(
                f"{path} has revocation list {shown.number} of domain {trust.domain}, and this "
                f"folder knows list {list_number(trust)}: it is older than what this authority has "
                "signed, as from a backup, and nodes pass over lists with a lower number, with all "
                f"that they revoke. First: orbitferry domain export --recover {path}"
            )


def tell_behind(trust: Trust, blocks: Iterable[PemBlock]) -> None:
    """Say so where the revocation list of an answer or update is older than that which a node has
    in `trust`: it is passed over."""
    from stack.identity.recovery import list_number

    shown = _listed(trust, blocks)
    if shown is not None and shown.number < (number := list_number(trust)):
        note(
            f"revocation list {shown.number} of domain {trust.domain} is passed over, as there is "
            f"list {number} already: these are old news, or the authority is from a backup and "
            "has to know this folder's trust.pem (orbitferry domain export --recover)"
        )


def _listed(trust: Trust, blocks: Iterable[PemBlock]) -> Shown | None:
    """What revocation lists in a file show, if there is one of the domain."""
    from stack.core.errors import SecurityError
    from stack.identity import pem
    from stack.identity.recovery import Shown

    try:
        return Shown(trust.root, [one for one in blocks if one.label == pem.REVOCATIONS])
    except SecurityError:
        return None
