"""`orbitferry audit`: what nodes have written down of data, checked, joined and proven."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stack.cli.audit.stories import as_dict, stay_row, tell, write_csv
from stack.cli.audit.vouching import (
    AcceptUnvouched,
    DirectoryPath,
    Keys,
    LogPaths,
    TrustFolder,
    Witnesses,
    believed,
    checked_exports,
    is_proof,
    log_keys,
    owner_by,
    read_at_most,
    read_directory,
    read_exports,
    report_row,
    tell_unvouched,
    unvouched_in,
)
from stack.cli.common import FAILED, CommandError, Json, ends_with, time_of
from stack.cli.output import emit, note, say, say_wrapped
from stack.core.units import count_text, printable

if TYPE_CHECKING:
    from stack.audit.export import LogExport
    from stack.audit.proof import Owner, RestVerdict

HELP = "See and prove what nodes have written down of data."


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
    receipt that it is in the log (RFC 9942), for tools that know these; and beside them, in
    voucher.bin, the word of the node's certificate on the key of its log, for `verify --trust`.

    \b
    Examples:
      orbitferry audit export /var/lib/orbitferry -o kiruna.audit
      orbitferry audit export data -o kiruna.audit --receipts kiruna.receipts --json
    """
    from stack.storage.audit_log import read_log

    log = read_log(folder)
    for gap in log.gaps:
        words = f"{count_text(len(gap), 'entry')} from {gap.start} on cannot be exported"
        note(f"{words}: one is damaged, or all; the log goes on behind them")
    if receipts is not None:
        _write_receipts(folder, log, receipts)
    if output is None:
        for line in log.lines():
            print(line, end="")
        return
    _write(output, "".join(log.lines()).encode())
    count, first = sum(len(part.events) for part in log.parts), log.parts[0].base.size
    told = {"origin": log.origin, "key": str(log.key), "entries": count}
    if as_json:
        missing = sum(map(len, log.gaps))
        emit({"file": str(output), "first": first, "missing": missing, **told})
    else:
        say(f"{output}: {count_text(count, 'entry')} of {log.origin}, from {first} on")
        say(f"its key, to be checked by another way: {log.key}")
        say(f"next: orbitferry audit verify {output}")


def _write(path: Path, octets: bytes) -> None:
    """Put a file in place of what was there once it is whole: an older export may be all that is
    left of entries that were pruned.  What is no file (a pipe) is written to."""
    from stack.core.private import write_file

    if path.exists() and not path.is_file():
        path.write_bytes(octets)
    else:
        write_file(path, octets)


def witness(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The witness's data_dir, running or not.")
    ],
    as_json: Json = False,
) -> None:
    """Show the key by which a node cosigns the logs of others, for `verify --witness`. It has one
    once it has cosigned.

    \b
    Examples:
      orbitferry audit witness /var/lib/orbitferry
    """
    from stack.storage.audit_log import read_witness

    key = str(read_witness(folder))
    if as_json:
        emit({"key": key})
    else:
        say(key)


def verify(
    paths: LogPaths,
    keys: Keys = [],  # noqa: B006 - typer wants a list, and nobody changes it
    witnesses: Witnesses = [],  # noqa: B006
    trust: TrustFolder = None,
    directory: DirectoryPath = None,
    unvouched: AcceptUnvouched = False,
    as_json: Json = False,
) -> None:
    """Check logs, checkpoints and what witnesses say of them, or the proofs that `audit prove` has
    made. Works without any node.

    Whose a log is, is known by --key, or by --trust: the node's certificate vouches for the key of
    its log, and the domain's authority for the certificate. Where nodes are, of a proof, is known
    by --trust or --directory.

    Exit code 1 when anything is wrong, or a proof does not show what it claims; of a proof also
    when nothing says whose its logs are or where its nodes are.

    \b
    Examples:
      orbitferry audit verify kiruna.audit svalbard.audit
      orbitferry audit verify kiruna.audit --key 'dtn://kiruna/audit/3f9c...+8d02...+AX...'
      orbitferry audit verify kiruna.audit --trust domain
      orbitferry audit verify kiruna.audit --witness 'dtn://svalbard/audit+51c3...+BN...'
      orbitferry audit verify proof.json --trust domain --json
      orbitferry audit verify kiruna.receipts/*.cose --trust domain
    """
    from stack.audit.proof import PROOF_BYTES_MAX, check_proof

    owner = None if trust is None else owner_by(believed(trust))
    if any(path.suffix == ".cose" for path in paths):
        _verify_statements(paths, keys, owner, as_json)
        return
    if any(map(is_proof, paths)):
        if len(paths) > 1:
            raise CommandError("a proof is checked by itself", "give one file")
        known = read_directory(directory)
        data = read_at_most(paths[0], PROOF_BYTES_MAX)
        verdict = check_proof(data, log_keys(keys), owner, known)
        _answer(verdict, unvouched, as_json)
        return
    _, reports, _ = checked_exports(paths, keys, owner, witnesses)
    if as_json:
        emit({"logs": [report_row(report) for report in reports]})
    else:
        for report in reports:
            say(
                f"{report.origin}: {count_text(report.entries, 'entry')}, {report.closed} closed "
                "by a checkpoint"
                + (f", {report.open} not yet" if report.open else "")
                + (f"; the first {report.first} are not here" if report.first else "")
            )
            for name, size in report.witnesses.items():
                say(f"  {name} has seen {size or 'none'} of them")
            for gap in report.gaps:
                say_wrapped(f"  GAP: {gap}")
            for problem in report.problems:
                say_wrapped(f"  WRONG: {problem}")
        if trust is not None:
            say("the key of each is that of its node, or it is said above that it is not")
        else:
            tell_unvouched(unvouched_in(reports))
    ends_with(FAILED if any(report.problems for report in reports) else 0)


def _write_receipts(folder: Path, log: LogExport, into: Path) -> None:
    from stack.audit.note import LogCheckpoint
    from stack.audit.receipt import VOUCHER, log_key, make_statement
    from stack.core.private import make_folder
    from stack.storage.audit_log import read_secret

    for path in sorted(into.glob("*.cose")):
        _check_own(path, log)
    make_folder(into)
    key = log_key(read_secret(folder))
    size = LogCheckpoint.parse(log.newest().text).size
    for number in range(log.base.size, size):
        (into / f"{number}.cose").write_bytes(make_statement(log, number, key, size))
    if log.voucher:
        (into / VOUCHER).write_bytes(log.voucher)


def _check_own(path: Path, log: LogExport) -> None:
    """Raise `ConfigError` for a file that would be overwritten, or get the voucher of this log
    beside it, unless it is a statement of this log."""
    from stack.audit.receipt import STATEMENT_BYTES_MAX, verify_statement
    from stack.core.errors import ConfigError, DecodeError, SecurityError

    try:
        verify_statement(read_at_most(path, STATEMENT_BYTES_MAX), log.key)
    except (DecodeError, SecurityError):
        why = f"is there already, and is no statement of the log of {log.node}"
        remedy = "name another folder (--receipts), or take it away"
        raise ConfigError(str(path), why, remedy) from None


def _verify_statements(
    paths: list[Path], keys: list[str], owner: Owner | None, as_json: bool
) -> None:
    from stack.audit.log import node_of
    from stack.audit.receipt import STATEMENT_BYTES_MAX, verify_statement
    from stack.core.errors import SecurityError

    if len(keys) > 1 or not (keys or owner):
        raise CommandError(
            "a statement is checked by the key of its log", "give one --key, or --trust"
        )
    known = next(iter(log_keys(keys)), None)
    found = []
    for path in paths:
        key = known if owner is None else owner(known, _voucher(path.parent))[0]
        assert key is not None
        try:
            proven = verify_statement(read_at_most(path, STATEMENT_BYTES_MAX), key)
        except SecurityError as error:
            raise SecurityError(f"{path}: not by the log of {node_of(key.name)}: {error}") from None
        event = proven.event
        found.append({"file": str(path), "object": event.object, "acts": event.names})
        if not as_json:
            words = f"{path}: {', '.join(event.names)}: {event.object}: entry {proven.number}"
            say(printable(words))
    if as_json:
        emit({"statements": found})


def _voucher(folder: Path) -> bytes:
    """What lies beside statements; nothing where there is none."""
    from stack.audit.receipt import VOUCHER
    from stack.security.vouchers import VOUCHER_BYTES_MAX

    with contextlib.suppress(FileNotFoundError), (folder / VOUCHER).open("rb") as file:
        return file.read(VOUCHER_BYTES_MAX + 1)
    return b""


def story(
    name: Annotated[str, typer.Argument(metavar="OBJECT", help="A bundle's id, or `all`.")],
    paths: LogPaths,
    directory: DirectoryPath = None,
    keys: Keys = [],  # noqa: B006
    trust: TrustFolder = None,
    unvouched: AcceptUnvouched = False,
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

    The logs are checked as `audit verify` does it. Where nodes are is what --directory says, else
    the certificates of --trust.

    Exit code 1 when something does not fit, is wrong with a log, or nothing says whose a log is.

    \b
    Examples:
      orbitferry audit story dtn://gs1/messages@850000000000.1 *.audit --trust domain
      orbitferry audit story all *.audit --trust domain --html story.html --csv story.csv
      orbitferry audit story all *.audit -d nodes.toml --unvouched
    """
    from stack.audit.story import stories, whole_of, with_carriers

    trusted = None if trust is None else believed(trust)
    owner = None if trusted is None else owner_by(trusted)
    exports, reports, vouched = checked_exports(paths, keys, owner)
    known = read_directory(directory, trusted, vouched)
    doubts = unvouched_in(reports)
    problems = [f"{report.origin}: {each}" for report in reports for each in report.problems]
    found = stories(exports, known)
    if name != "all":
        told = {each.object: each for each in found}
        by_object = {each: told[each].entries for each in told}
        found = [told[each] for each in with_carriers(whole_of(name), by_object) if each in told]
        if not found:
            raise CommandError(f"no log here has heard of {name}", "`all` shows what there is")
    if csv is not None:
        write_csv(csv, found, {report.origin: report.vouched_by for report in reports})
    if html is not None:
        from stack.simulator.report.audit import audit_page
        from stack.simulator.report.nodes import Places, load_places

        where = Places() if places is None else load_places(places)
        _write(html, audit_page(found, where, known, [*problems, *doubts]).encode())
    if as_json:
        logs = [report_row(report) for report in reports]
        emit({"stories": [as_dict(each) for each in found], "logs": logs, "unvouched": doubts})
    else:
        for each in found:
            tell(each)
        for problem in problems:
            say_wrapped(f"WRONG: {problem}")
        tell_unvouched(doubts)
    sound = all(each.sound for each in found) and not problems and (unvouched or not doubts)
    ends_with(0 if sound else FAILED)


def prove(
    name: Annotated[str, typer.Argument(metavar="OBJECT", help="A bundle's id.")],
    paths: LogPaths,
    rest: Annotated[str, typer.Option(metavar="SET", help='Such as "KR | EU".')],
    begin: Annotated[str, typer.Option("--from", metavar="TIME", help="ISO 8601.")],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="ISO 8601.")],
    directory: DirectoryPath = None,
    keys: Keys = [],  # noqa: B006
    trust: TrustFolder = None,
    unvouched: AcceptUnvouched = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The proof. Default: only the answer."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove that an object never rested outside a set of nodes between two dates, as a file that
    `audit verify` checks, with the proofs of inclusion and consistency of every entry about it.

    Whose the logs are and where nodes are is known by --trust, or by --key and --directory.

    Exit code 1 when that is not so, does not show, or nothing says whose a log is.

    \b
    Examples:
      orbitferry audit prove ID *.audit --trust d --rest KR --from 2026-01-01 --to 2026-02-01
    """
    import json

    from stack.adapters.clock import SystemClock
    from stack.audit.proof import RestClaim, check_proof, make_proof
    from stack.audit.story import whole_of
    from stack.policy.file import node_set

    trusted = None if trust is None else believed(trust)
    known = read_directory(directory, trusted)
    if known is None:
        raise CommandError("where are the nodes?", "give --trust, or --directory")
    claim = RestClaim(
        whole_of(name), node_set("--rest", rest), time_of(begin, "--from"), time_of(end, "--to")
    )
    proof = make_proof(claim, read_exports(paths), known, SystemClock().dtn_ms())
    octets = json.dumps(proof, ensure_ascii=False, indent=1).encode()
    owner = None if trusted is None else owner_by(trusted)
    verdict = check_proof(octets, log_keys(keys), owner, known)
    if output is not None:
        _write(output, octets)
    _answer(verdict, unvouched, as_json)


def _answer(verdict: RestVerdict, accepted: bool, as_json: bool) -> None:
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
                "unvouched": verdict.unvouched,
                "stays": [stay_row(each) for each in verdict.stays],
                "limits": list(LIMITS),
            }
        )
    else:
        for each in verdict.stays:
            until = "(still)" if each.until_ms is None else dtn_to_iso(each.until_ms)
            words = f"{each.node}: {each.object} from {dtn_to_iso(each.since_ms)} to {until}"
            say(printable(words))
        for why in verdict.against:
            say_wrapped(f"AGAINST: {why}")
        for why in verdict.missing:
            say_wrapped(f"MISSING: {why}")
        tell_unvouched(verdict.unvouched)
        word = "never rested outside" if verdict.holds else "it is not shown that it rested only in"
        if accepted and verdict.fits and not verdict.holds:
            word = "if all that is so, it never rested outside"
        say_wrapped(f"{claim.object}: {word} '{claim.rest}' {span}")
        for limit in LIMITS:
            say_wrapped(f"note: {limit}")
    ends_with(0 if verdict.holds or (accepted and verdict.fits) else FAILED)
