"""Logs from files, and what vouches for the keys that they are under."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stack.cli.common import CommandError
from stack.cli.output import say_wrapped

if TYPE_CHECKING:
    from stack.audit.export import LogExport, LogReport
    from stack.audit.note import NoteKey
    from stack.audit.proof import Owner
    from stack.identity import Trust
    from stack.policy import Directory, NodeFacts

EXPORTS_MAX = 1000

LogPaths = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Exports of logs (`audit export`).")
]
Keys = Annotated[
    list[str],
    typer.Option(
        "--key", metavar="VKEY", help="The key of a log, known from elsewhere. Repeatable."
    ),
]
Witnesses = Annotated[
    list[str],
    typer.Option(
        "--witness",
        metavar="VKEY",
        help="A witness whose word counts (`audit witness`). Repeatable.",
    ),
]
TrustFolder = Annotated[
    Path | None,
    typer.Option(
        "--trust",
        metavar="FOLDER",
        help="Of a domain or of a node's identity: each log has to be under a key for which a "
        "certificate that it believes vouches; so has each log that a proof or statement is of.",
    ),
]
DirectoryPath = Annotated[
    Path | None,
    typer.Option("--directory", "-d", metavar="FILE", help="The directory of nodes."),
]
AcceptUnvouched = Annotated[
    bool,
    typer.Option(
        "--unvouched",
        help="Exit with 0 also when nothing says whose the logs are: then it is shown only that "
        "these files fit together.",
    ),
]


def believed(folder: Path) -> Trust:
    """What the folder of a domain or node believes."""
    from stack.identity import NodeFolder

    return NodeFolder(folder).trust()


def owner_by(trust: Trust) -> Owner:
    """Whose a log is, by what is believed now."""
    from stack.adapters.clock import SystemClock
    from stack.security.vouchers import owner

    return partial(owner, trust=trust, now_ms=SystemClock().dtn_ms())


def read_directory(
    path: Path | None, trust: Trust | None = None, vouched: Iterable[NodeFacts] = ()
) -> Directory | None:
    """Where nodes are: what a file says, else certificates, else nothing.  Of nodes that have
    `vouched` for their log that is the certificate by which they did: it may have ended since."""
    from stack.adapters.clock import SystemClock
    from stack.policy import Directory
    from stack.policy.file import load_directory

    if path is not None:
        return load_directory(path)
    if trust is None:
        return None
    return Directory((*trust.directory(SystemClock().dtn_ms()), *vouched))


def log_keys(texts: Sequence[str]) -> list[NoteKey]:
    """Keys of logs as the command line has them."""
    from stack.audit.note import LOG_KEY

    return _keys(texts, LOG_KEY, "--key", "a log: `audit export` shows it")


def _keys(texts: Sequence[str], kind: int, option: str, whose: str) -> list[NoteKey]:
    from stack.audit.note import NoteKey

    keys = [NoteKey.parse(text) for text in texts]
    for key in keys:
        if key.kind != kind:
            raise CommandError(f"{option}: the key of {key.name}", f"give that of {whose}")
    return keys


def checked_exports(
    paths: list[Path], keys: Sequence[str], owner: Owner | None, witnesses: Sequence[str] = ()
) -> tuple[list[LogExport], list[LogReport], list[NodeFacts]]:
    """Logs, and what is wrong with each; a key for which the node of a log does not vouch is, where
    an `owner` is asked for; and what is known of the nodes that do."""
    from stack.audit.export import verify_exports
    from stack.audit.note import WITNESS_KEY
    from stack.core.errors import SecurityError

    exports = read_exports(paths)
    cosign = _keys(witnesses, WITNESS_KEY, "--witness", "a witness: `audit witness` shows it")
    reports = verify_exports(exports, log_keys(keys), cosign)
    vouched = []
    if owner is not None:
        for export, report in zip(exports, reports, strict=False):  # the others are not here
            try:
                vouched.append(owner(export.key, export.voucher)[1])
                report.vouched_by = "certificate"
            except SecurityError as error:
                report.problems.append(str(error))
    return exports, reports, vouched


def unvouched_in(reports: Sequence[LogReport]) -> list[str]:
    """Words on each log for which nothing vouches, and of which that is not said already."""
    from stack.audit.proof import unvouched

    return [unvouched(one.origin) for one in reports if not one.vouched_by and not one.problems]


def tell_unvouched(words: Sequence[str]) -> None:
    """Say what nobody vouches for, and what helps."""
    for each in words:
        say_wrapped(f"UNVOUCHED: {each}")
    if words:
        say_wrapped("--trust, or --key with --directory, say whose a log is and where nodes are")


def report_row(report: LogReport) -> dict[str, Any]:
    """What was found of a log, as JSON has it."""
    return {
        "origin": report.origin,
        "node": report.node,
        "entries": report.entries,
        "first": report.first,
        "closed": report.closed,
        "missing": report.missing,
        "vouched_by": report.vouched_by,
        "witnesses": report.witnesses,
        "gaps": report.gaps,
        "problems": report.problems,
    }


def read_exports(paths: list[Path]) -> list[LogExport]:
    """Logs from their files: of several of one log what is in all of them together."""
    from stack.audit.export import LINE_BYTES_MAX, merged, read_export

    if len(paths) > EXPORTS_MAX:
        raise CommandError(f"{len(paths)} files", f"give {EXPORTS_MAX} at most")
    found = []
    for path in paths:
        with _named(path), path.open("rb") as file:
            found.append(read_export(iter(partial(file.readline, LINE_BYTES_MAX + 1), b"")))
    return merged(found)


def read_at_most(path: Path, size: int) -> bytes:
    """A file, and of one that is larger than `size` as much as shows that it is."""
    with path.open("rb") as file:
        return file.read(size + 1)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    from stack.core.errors import DecodeError

    try:
        yield
    except DecodeError as error:
        raise CommandError(f"{path}: {error}", "export it again") from None


def is_proof(path: Path) -> bool:
    """Whether a file is one that `audit prove` has made."""
    from stack.audit.proof import FORMAT

    with path.open("rb") as file:
        return FORMAT.encode() in file.read(256)
