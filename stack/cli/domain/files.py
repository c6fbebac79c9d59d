"""Files that commands of a domain write for others to carry."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path


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


def put(out: Path, make: Callable[[], bytes], done: str) -> None:
    """Write such a file; of several commands that write it at one time the last one knows what the
    others have done.  Raises `ConfigError`, which says how to get the file, as all else is `done`
    already."""
    from stack.core.private import write_file
    from stack.identity.disk import alone, unwritten

    try:
        with alone(out.parent):
            write_file(out, make())
    except OSError as error:
        raise unwritten(out, error, done) from None
