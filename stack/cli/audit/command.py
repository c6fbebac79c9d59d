"""`orbitferry audit`: what nodes have written down of data, checked, joined and proven."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stack.cli.common import FAILED, CommandError, Json, ends_with, time_of
from stack.cli.output import emit, say, say_wrapped, table
from stack.core.units import count_text

if TYPE_CHECKING:
    from stack.audit.export import LogExport, LogReport
    from stack.audit.note import NoteKey
    from stack.audit.story import Story
    from stack.policy import Directory

HELP = "See and prove what nodes have written down of data."

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
    typer.Option("--witness", metavar="VKEY", help="A witness whose word counts. Repeatable."),
]
TrustFolder = Annotated[
    Path | None,
    typer.Option(
        "--trust",
        metavar="FOLDER",
        help="Of a domain or of a node's identity: each log has to be under a key for which a "
        "certificate that it believes vouches.",
    ),
]
DirectoryPath = Annotated[
    Path | None,
    typer.Option("--directory", "-d", metavar="FILE", help="The directory of nodes."),
]


def export(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The node's data_dir, running or not.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Default: standard output."),
    ] = None,
    receipts: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write each entry as a SCITT statement (RFC 9943)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a node's log into a file that can be checked anywhere, without the node.

    With --receipts each entry that a checkpoint covers is written as a COSE_Sign1 too, with a
    receipt that it is in the log (RFC 9942), for tools that know these.

    \b
    Examples:
      orbitferry audit export /var/lib/orbitferry -o kiruna.audit
      orbitferry audit export data -o kiruna.audit --receipts kiruna.receipts --json
    """
    from stack.core.private import opener
    from stack.storage.audit_log import read_log

    log = read_log(folder)
    if receipts is not None:
        _write_receipts(folder, log, receipts)
    if output is None:
        for line in log.lines():
            print(line, end="")
        return
    with open(output, "w", encoding="utf-8", opener=opener) as file:
        file.writelines(log.lines())
    told = {"origin": log.origin, "key": str(log.key), "entries": len(log.events)}
    if as_json:
        emit({"file": str(output), "first": log.base.size, **told})
    else:
        say(
            f"{output}: {count_text(len(log.events), 'entry')} of {log.origin}, from "
            f"{log.base.size} on"
        )
        say(f"its key, to be checked by another way: {log.key}")
        say(f"next: orbitferry audit verify {output}")


def verify(
    paths: LogPaths,
    keys: Keys = [],  # noqa: B006 - typer wants a list, and nobody changes it
    witnesses: Witnesses = [],  # noqa: B006
    trust: TrustFolder = None,
    as_json: Json = False,
) -> None:
    """Check logs, checkpoints and what witnesses say of them, or the proofs that `audit prove` has
    made. Works without any node.

    Whose a log is, is known by --key, or by --trust: the node's certificate vouches for the key of
    its log, and the domain's authority for the certificate.

    Exit code 1 when anything is wrong, or a proof does not show what it claims.

    \b
    Examples:
      orbitferry audit verify kiruna.audit svalbard.audit
      orbitferry audit verify kiruna.audit --key 'dtn://kiruna/audit/3f9c...+8d02...+AX...'
      orbitferry audit verify kiruna.audit --trust domain
      orbitferry audit verify proof.json --json
    """
    from stack.audit.export import verify_exports

    if trust is not None and (paths[0].suffix == ".cose" or _is_proof(paths[0])):
        raise CommandError("--trust is for logs", "give the key of the log with --key")
    if paths[0].suffix == ".cose":
        _verify_statements(paths, keys, as_json)
        return
    if len(paths) == 1 and _is_proof(paths[0]):
        _verify_proof(paths[0], keys, as_json)
        return
    exports = _exports(paths)
    reports = verify_exports(exports, _keys(keys), _keys(witnesses))
    if trust is not None:
        _judge_keys(exports, reports, trust)
    if as_json:
        emit({"logs": [_report(report) for report in reports]})
    else:
        for report in reports:
            say(
                f"{report.origin}: {count_text(report.entries, 'entry')}, {report.closed} closed "
                "by a checkpoint" + (f", {report.open} not yet" if report.open else "")
            )
            for name, size in report.witnesses.items():
                say(f"  {name} has seen {size} of them")
            for problem in report.problems:
                say_wrapped(f"  WRONG: {problem}")
        if trust is not None:
            say("the key of each is that of its node, or it is said above that it is not")
        elif not keys:
            say("the keys are those in the files: --trust or --key show whose logs these are")
    ends_with(FAILED if any(report.problems for report in reports) else 0)


def _judge_keys(exports: list[LogExport], reports: list[LogReport], folder: Path) -> None:
    """Say of each log that is under a key for which its node does not vouch that it is."""
    from stack.adapters.clock import SystemClock
    from stack.core.errors import DecodeError, SecurityError
    from stack.identity import NodeFolder
    from stack.security.vouchers import read_voucher

    trust, now_ms = NodeFolder(folder).trust(), SystemClock().dtn_ms()
    for export, report in zip(exports, reports, strict=True):
        try:
            if not export.voucher:
                raise SecurityError("no certificate goes with it")
            if read_voucher(export.voucher, trust, now_ms)[0] != export.key:
                raise SecurityError("its node vouches for another key")
        except (DecodeError, SecurityError) as error:
            words = f"a foreign key: nothing shows that this is the log of {report.node}: {error}"
            report.problems.append(words)


def _write_receipts(folder: Path, log: LogExport, into: Path) -> None:
    from stack.audit.note import LogCheckpoint
    from stack.audit.receipt import log_key, make_statement
    from stack.core.private import make_folder
    from stack.storage.audit_log import read_secret

    make_folder(into)
    key = log_key(read_secret(folder))
    for number in range(log.base.size, LogCheckpoint.parse(log.newest().text).size):
        (into / f"{number}.cose").write_bytes(make_statement(log, number, key))


def _verify_statements(paths: list[Path], keys: list[str], as_json: bool) -> None:
    from stack.audit.receipt import verify_statement

    if len(keys) != 1:
        raise CommandError("a statement is checked by the key of its log", "give one --key")
    (key,) = _keys(keys)
    found = []
    for path in paths:
        proven = verify_statement(path.read_bytes(), key)
        event = proven.event
        found.append({"file": str(path), "object": event.object, "acts": event.names})
        if not as_json:
            say(f"{path}: {', '.join(event.names)}: {event.object}: entry {proven.number}")
    if as_json:
        emit({"statements": found})


def _report(report: Any) -> dict[str, Any]:
    return {
        "origin": report.origin,
        "node": report.node,
        "entries": report.entries,
        "first": report.first,
        "closed": report.closed,
        "witnesses": report.witnesses,
        "problems": report.problems,
    }


def story(
    name: Annotated[str, typer.Argument(metavar="OBJECT", help="A bundle's id, or `all`.")],
    paths: LogPaths,
    directory: DirectoryPath = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write all entries as CSV.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write one page with a time line and a map."),
    ] = None,
    places: Annotated[
        Path | None,
        typer.Option("--places", metavar="SCENARIO", help="Where nodes are, for the map."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Join the logs of several nodes into one story per object: where it was from when to when, and
    what does not fit together or to its policy.

    Exit code 1 when something does not fit.

    \b
    Examples:
      orbitferry audit story dtn://gs1/messages@850000000000.1 *.audit -d nodes.toml
      orbitferry audit story all *.audit -d nodes.toml --html story.html --csv story.csv
    """
    from stack.audit.story import stories, whole_of

    known = _directory(directory)
    found = stories(_exports(paths), known)
    if name != "all":
        found = [each for each in found if each.object == whole_of(name)]
        if not found:
            raise CommandError(f"no log here has heard of {name}", "`all` shows what there is")
    if csv is not None:
        _write_csv(csv, found)
    if html is not None:
        from stack.simulator.report.audit import audit_page
        from stack.simulator.report.nodes import Places, load_places

        where = Places() if places is None else load_places(places)
        html.write_text(audit_page(found, where, known), encoding="utf-8")
    if as_json:
        emit({"stories": [_as_dict(each) for each in found]})
    else:
        for each in found:
            _tell(each)
    ends_with(0 if all(each.sound for each in found) else FAILED)


def prove(
    name: Annotated[str, typer.Argument(metavar="OBJECT", help="A bundle's id.")],
    paths: LogPaths,
    directory: Annotated[
        Path,
        typer.Option("--directory", "-d", metavar="FILE", help="The directory of nodes."),
    ],
    rest: Annotated[str, typer.Option(metavar="SET", help='Such as "KR | EU".')],
    begin: Annotated[str, typer.Option("--from", metavar="TIME", help="ISO 8601.")],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="ISO 8601.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The proof. Default: only the answer."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove that an object never rested outside a set of nodes between two dates, as a file that
    `audit verify` checks, with the proofs of inclusion and consistency of every entry about it.

    Exit code 1 when that is not so, or does not show.

    \b
    Examples:
      orbitferry audit prove ID *.audit -d n.toml --rest KR --from 2026-01-01 --to 2026-02-01
    """
    import json

    from stack.adapters.clock import SystemClock
    from stack.audit.proof import RestClaim, check_proof, make_proof
    from stack.audit.story import whole_of
    from stack.core.private import opener
    from stack.policy.file import load_directory, node_set

    claim = RestClaim(
        whole_of(name), node_set("--rest", rest), time_of(begin, "--from"), time_of(end, "--to")
    )
    proof = make_proof(claim, _exports(paths), load_directory(directory), SystemClock().dtn_ms())
    octets = json.dumps(proof, ensure_ascii=False, indent=1).encode()
    verdict = check_proof(octets)
    if output is not None:
        with open(output, "wb", opener=opener) as file:
            file.write(octets)
    _answer(verdict, as_json)


def _verify_proof(path: Path, keys: list[str], as_json: bool) -> None:
    from stack.audit.proof import check_proof

    _answer(check_proof(path.read_bytes(), _keys(keys)), as_json)


def _answer(verdict: Any, as_json: bool) -> None:
    """Say what a proof shows, and what no such proof can."""
    from stack.audit.proof import LIMITS
    from stack.core.clock import dtn_to_iso

    claim = verdict.claim
    span = f"from {dtn_to_iso(claim.from_ms)} to {dtn_to_iso(claim.until_ms)}"
    if as_json:
        emit(
            {
                "object": claim.object,
                "rest": str(claim.rest),
                "holds": verdict.holds,
                "against": verdict.against,
                "missing": verdict.missing,
                "stays": [_stay(each) for each in verdict.stays],
                "limits": list(LIMITS),
            }
        )
    else:
        for each in verdict.stays:
            until = "(still)" if each.until_ms is None else dtn_to_iso(each.until_ms)
            say(f"{each.node}: {each.object} from {dtn_to_iso(each.since_ms)} to {until}")
        for why in verdict.against:
            say_wrapped(f"AGAINST: {why}")
        for why in verdict.missing:
            say_wrapped(f"MISSING: {why}")
        word = "never rested outside" if verdict.holds else "it is not shown that it rested only in"
        say_wrapped(f"{claim.object}: {word} '{claim.rest}' {span}")
        for limit in LIMITS:
            say_wrapped(f"note: {limit}")
    ends_with(0 if verdict.holds else FAILED)


# ---- files ---------------------------------------------------------------------------------


def _exports(paths: list[Path]) -> list[LogExport]:
    from stack.audit.export import read_export

    if len(paths) > EXPORTS_MAX:
        raise CommandError(f"{len(paths)} files", f"give {EXPORTS_MAX} at most")
    found = []
    for path in paths:
        with _named(path), path.open("rb") as file:
            found.append(read_export(file))
    return found


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    from stack.core.errors import DecodeError

    try:
        yield
    except DecodeError as error:
        raise CommandError(f"{path}: {error}", "export it again") from None


def _is_proof(path: Path) -> bool:
    from stack.audit.proof import FORMAT

    with path.open("rb") as file:
        return FORMAT.encode() in file.read(256)


def _keys(texts: list[str]) -> list[NoteKey]:
    from stack.audit.note import NoteKey

    return [NoteKey.parse(text) for text in texts]


def _directory(path: Path | None) -> Directory | None:
    from stack.policy.file import load_directory

    return None if path is None else load_directory(path)


# ---- stories -------------------------------------------------------------------------------


def _as_dict(story: Story) -> dict[str, Any]:
    return {
        "object": story.object,
        "entries": [_entry(each) for each in story.entries],
        "stays": [_stay(each) for each in story.stays],
        "gaps": story.gaps,
        "contradictions": story.contradictions,
        "violations": story.violations,
    }


def _entry(entry: Any) -> dict[str, Any]:
    from stack.core.clock import dtn_to_iso

    event = entry.event
    return {
        "time": dtn_to_iso(event.time_ms),
        "node": event.node,
        "acts": event.names,
        "object": event.object,
        "peer": event.peer,
        "detail": event.detail,
        "log": entry.origin,
        "index": entry.number,
    }


def _stay(stay: Any) -> dict[str, Any]:
    from stack.core.clock import dtn_to_iso

    until = None if stay.until_ms is None else dtn_to_iso(stay.until_ms)
    return {
        "node": stay.node,
        "object": stay.object,
        "since": dtn_to_iso(stay.since_ms),
        "until": until,
    }


def _tell(story: Story) -> None:
    say(story.object)
    rows = [_entry(each) for each in story.entries]
    table(
        ("time", "node", "what", "peer", "detail"),
        [
            (row["time"], row["node"], ", ".join(row["acts"]), row["peer"], row["detail"])
            for row in rows
        ],
    )
    for word, found in (
        ("GAP", story.gaps),
        ("CONTRADICTION", story.contradictions),
        ("VIOLATION", story.violations),
    ):
        for each in found:
            say_wrapped(f"{word}: {each}")


def _write_csv(path: Path, stories: list[Story]) -> None:
    import csv

    from stack.core.private import opener

    with open(path, "w", newline="", encoding="utf-8", opener=opener) as file:
        writer = csv.writer(file)
        columns = ("time", "node", "acts", "object", "peer", "detail", "log", "index")
        writer.writerow(columns)
        for story in stories:
            for row in map(_entry, story.entries):
                row["acts"] = " ".join(row["acts"])
                writer.writerow([_plain(row[column]) for column in columns])


def _plain(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: names come from peers."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t"):
        return "'" + value
    return value
