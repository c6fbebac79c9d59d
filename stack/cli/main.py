"""The `orbitferry` program: its commands, and what becomes of errors.

Command modules import only what they need to describe themselves; the work is imported when a
command runs, so that ``orbitferry --help`` and shell completion answer at once.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any, Final

import typer
import typer.core

from stack.cli import bench
from stack.cli.audit import command as audit
from stack.cli.common import EXIT_CODES, FAILED, INTERRUPTED, OK, USAGE, CommandError, code_of
from stack.cli.config import command as config
from stack.cli.config import keys
from stack.cli.domain import acme, enrolment, others
from stack.cli.emulate import link
from stack.cli.emulate import run as emulate
from stack.cli.fuzz import conform, fuzz, vectors
from stack.cli.inspect import command as inspection
from stack.cli.node import contact, epochs, status
from stack.cli.node import run as node
from stack.cli.output import emit, note
from stack.cli.plan import delivery, make, report
from stack.cli.plan import show as plan
from stack.cli.policy import command as policy
from stack.cli.predict import budget, passes
from stack.cli.simulate import loopback, swarm
from stack.cli.traffic import cancel, job, ping, receive, send, transfers
from stack.core.errors import ConfigError, MissingExtraError, OrbitferryError
from stack.core.extras import missing_extra
from stack.core.units import printable
from stack.node.control.protocol import ControlError

PROGRAM = "orbitferry"

_TYPERS_WORDS: Final = (
    (r"Input should be greater than or equal to (\S+)", r"must be \1 or more"),
    (r"Input should be less than or equal to (\S+)", r"must be \1 or less"),
    (r"Input should be a valid integer.*", "must be a whole number"),
    (r"Input should be a valid number.*", "must be a number"),
)

Command = Callable[..., None]

COMMANDS: tuple[tuple[str, Command], ...] = (
    ("node", node.node),
    ("send", send.send),
    ("cancel", cancel.cancel),
    ("receive", receive.receive),
    ("ping", ping.ping),
    ("status", status.status),
    ("stop", status.stop),
    ("loopback", loopback.loopback),
    ("swarm", swarm.swarm),
    ("emulate", emulate.emulate),
    ("passes", passes.passes),
    ("budget", budget.budget),
    ("inspect", inspection.inspect),
    ("fuzz", fuzz.fuzz),
    ("conform", conform.conform),
    ("bench", bench.bench),
)

GROUPS: tuple[tuple[str, str, tuple[Command, ...]], ...] = (
    ("job", job.HELP, (job.submit, job.status, job.list_, job.wait, job.cancel)),
    ("transfers", transfers.HELP, (transfers.list_, transfers.wait, transfers.cancel)),
    (
        "plan",
        plan.HELP,
        (
            make.make,
            plan.show,
            plan.convert,
            make.schedule_,
            plan.route,
            delivery.delivery,
            report.report,
            plan.set_,
        ),
    ),
    ("contact", contact.HELP, (contact.begin, contact.end)),
    ("link", link.HELP, link.COMMANDS),
    ("vectors", vectors.HELP, (vectors.list_, vectors.show, vectors.export)),
    ("audit", audit.HELP, (audit.export, audit.witness, audit.verify, audit.story, audit.prove)),
    (
        "domain",
        enrolment.HELP,
        (
            enrolment.init,
            enrolment.enroll,
            enrolment.approve,
            acme.acme,
            others.revoke,
            others.offer,
            others.federate,
            others.list_,
            others.export,
            others.destroy,
        ),
    ),
    ("policy", policy.HELP, (policy.check, policy.explain, policy.reload)),
    (
        "keys",
        keys.HELP,
        (
            keys.new,
            keys.show,
            epochs.reload,
            epochs.status,
            epochs.list_,
            epochs.rotate,
            epochs.export,
            epochs.import_,
            epochs.destroy,
        ),
    ),
    ("config", config.HELP, (config.check, config.example, config.reference)),
)

FIRST_SENTENCE_CHARS: Final = 200
"""Room for any first sentence in a list of commands."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Group(typer.core.TyperGroup):
    """Commands with the whole first sentence of each: typer cuts it to one line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of commands in a group's help."""
        rows = [
            (name, command.get_short_help_str(limit=FIRST_SENTENCE_CHARS))
            for name, command in self.commands.items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def make_app() -> typer.Typer:
    """The program with all of its commands."""
    # Plain help: typer's rich help takes half a second to import.
    app = typer.Typer(
        name=PROGRAM,
        cls=_Group,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=CONTEXT,
        epilog=EXIT_CODES,
    )
    app.callback()(program)
    for name, function in COMMANDS:
        app.command(name, epilog=EXIT_CODES, context_settings=CONTEXT)(function)
    for name, help_text, functions in GROUPS:
        group = typer.Typer(
            name=name,
            cls=_Group,
            help=help_text,
            no_args_is_help=True,
            rich_markup_mode=None,
            context_settings=CONTEXT,
            epilog=EXIT_CODES,
        )
        for function in functions:
            command = function.__name__.rstrip("_")
            group.command(command, epilog=EXIT_CODES, context_settings=CONTEXT)(function)
        app.add_typer(group)
    return app


@cache
def parser() -> Any:
    """What parses command lines of the program; making it takes longer than using it."""
    return typer.main.get_command(make_app())


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"{PROGRAM} {version(PROGRAM)}")
        raise typer.Exit(OK)


def program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Delay-tolerant transport between ground stations and compute satellites.

    \b
    Start with:
      orbitferry config example > node.toml
      orbitferry domain init mine
      orbitferry domain enroll dtn://gs1/ --domain domain
      orbitferry node node.toml
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors end as one line on standard error."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = parser().main(args=given, prog_name=PROGRAM, standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except ImportError as error:
        return _report(missing_extra(error) or error, as_json="--json" in given)
    except Exception as error:
        return _report(error, as_json="--json" in given)
    code = code if isinstance(code, int) else OK
    if code == INTERRUPTED:
        note(f"{PROGRAM}: interrupted")
    return code


def _report(error: Exception, *, as_json: bool) -> int:
    """Say what went wrong, and choose the exit code."""
    kind, message, remedy, code = _described(error)
    if as_json:
        emit({"error": {"kind": kind, "message": message, "remedy": remedy}})
    if type(error).__name__ == "NoArgsIsHelpError":  # a group without a command shows its help
        note(message)
    else:  # there may be words of others in it
        note(printable(f"{PROGRAM}: {message}" + (f"; {remedy}" if remedy else "")))
    return code


def _described(error: Exception) -> tuple[str, str, str, int]:
    """Kind, message, remedy and exit code of an error."""
    match error:
        case ControlError():
            return error.kind, error.message, error.remedy, code_of(error.kind)
        case CommandError():
            return "failed", error.message, error.remedy, error.code
        case ConfigError():
            return "config", f"{error.key}: {error.message}", error.remedy, USAGE
        case MissingExtraError():
            return "extra", f"{error.package} is not installed", error.remedy, FAILED
        case OrbitferryError():
            return "failed", str(error), "", FAILED
        case MemoryError():
            return "system", "out of memory", "give this process more (see `ulimit -v`)", FAILED
        case OSError(errno=errno.EMFILE):
            return "system", str(error), "allow more open files (`ulimit -n 1024`)", FAILED
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return "system", f"{where}{error.strerror or error}", "", FAILED
    if type(error).__name__ == "NoArgsIsHelpError":
        return "usage", str(getattr(error, "message", "")), "", USAGE
    words = getattr(error, "format_message", None)
    if words is not None:  # typer's own errors, whichever class they have in this version of it
        context = getattr(error, "ctx", None)
        path = PROGRAM if context is None else context.command_path
        message = words().replace("\n", " ").rstrip(".")
        for found, said in _TYPERS_WORDS:
            message = re.sub(found, said, message)
        return "usage", message, f"see `{path} --help`", getattr(error, "exit_code", USAGE)
    if os.environ.get("ORBITFERRY_DEBUG"):
        traceback.print_exception(error)
    return (
        "internal",
        f"internal error: {type(error).__name__}: {error}",
        "this is a bug; set ORBITFERRY_DEBUG=1 to see where, and report it",
        FAILED,
    )


if __name__ == "__main__":
    sys.exit(main())
