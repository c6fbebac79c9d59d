"""Files that commands of a domain write for others to carry."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stack.core.eid import Eid

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
