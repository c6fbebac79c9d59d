"""`orbitferry fuzz`: cases for an implementation of any make, and what goes wrong with it."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Never

import typer

from stack.cli.common import (
    FAILED,
    INTERRUPTED,
    OK,
    Json,
    OctetCount,
    Quiet,
    Seconds,
    duration,
    ends_with,
    quantity,
    size,
)
from stack.cli.output import LiveView, emit, note, say, table
from stack.core.errors import ConfigError
from stack.core.units import duration_text, printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from interop.fuzzing import CaseStream, Course, Finding, Folder, Target

DEFAULT_TIME: Final = Seconds("60s")
"""So long a campaign takes, where nobody says how many cases."""

WORDS_SHOWN: Final = 6
HEX_SHOWN: Final = 120
PLAIN_EVERY_S: Final = 30.0
"""Between two lines of progress in a log."""

TargetOption = Annotated[
    str,
    typer.Option(
        "--target",
        "-t",
        metavar="TARGET",
        help="udp://HOST:PORT, tcp://HOST:PORT, python:MODULE:FUNCTION, or a command that reads "
        "one case on standard input, or from the file {}, each time it is run.",
    ),
]
ProtocolOption = Annotated[
    str,
    typer.Option(
        "--protocol", "-p", metavar="NAME", help="bpv7, ltp, tcpclv4, cfdp; raw for any other."
    ),
]
TimeoutOption = Annotated[float, quantity(duration, "A case takes no longer.", "--timeout")]
RefusalOption = Annotated[
    list[str] | None,
    typer.Option(
        "--refusal",
        metavar="NAME",
        help="An exception by which a Python function refuses, beside ValueError; again for more.",
    ),
]

StartOption = Annotated[
    str,
    typer.Option(metavar="COMMAND", help="Starts a network target; it is restarted when it ends."),
]
TimeOption = Annotated[float, quantity(duration, "So long at most.", "--time")]
CountOption = Annotated[int | None, typer.Option(min=1, help="So many cases.")]
SeedOption = Annotated[
    int | None, typer.Option(help="Makes the cases come again. Default: a fresh one.")
]
CorpusOption = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Octets that are right: mutants are made of them."),
]
StrategyNameOption = Annotated[
    str,
    typer.Option(
        metavar="MODULE:NAME", help="Cases from this strategy of Hypothesis, not from ours."
    ),
]
KeptOption = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        "-d",
        metavar="FOLDER",
        help="Where findings and what was learnt are kept; a later run goes on from there.",
    ),
]
ReplayOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Feed this finding, or these octets, and nothing else."),
]
MemoryOption = Annotated[int, quantity(size, "A started target that grows by more is a finding.")]
DiskOption = Annotated[int, quantity(size, "And one whose working folder grows by more, too.")]
SessionsOption = Annotated[
    str,
    typer.Option(
        metavar="COMMAND",
        help="Prints how many sessions a started target holds open: 1000 more are a finding.",
    ),
]
ProbeOption = Annotated[
    str,
    typer.Option(metavar="HEX", help="A message that the target answers as long as it lives."),
]
LocalPortOption = Annotated[
    int, typer.Option(min=0, max=65_535, help="The UDP port that cases come from; 0: any.")
]
AllowRemoteOption = Annotated[
    bool,
    typer.Option("--allow-remote", help="Take a target on another machine: with consent only."),
]
AtherisOption = Annotated[
    bool,
    typer.Option(
        "--atheris",
        help="Let Atheris, where it is installed, look for what reaches new code of a Python "
        "target, in a process of its own.",
    ),
]
HtmlOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a report.")]
JUnitOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML.")]
SarifOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Write SARIF 2.1.0.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FuzzArguments:
    """What was asked for."""

    target: str
    protocol: str
    time_s: float
    cases: int | None
    seed: int
    files: dict[str, Path | None]
    quiet: bool
    as_json: bool


def fuzz(
    target: TargetOption,
    protocol: ProtocolOption = "bpv7",
    start: StartOption = "",
    time_s: TimeOption = DEFAULT_TIME,
    cases: CountOption = None,
    seed: SeedOption = None,
    corpus: CorpusOption = None,
    strategy: StrategyNameOption = "",
    folder: KeptOption = None,
    replay: ReplayOption = None,
    timeout: TimeoutOption = Seconds("2s"),
    memory: MemoryOption = OctetCount("512MB"),
    disk: DiskOption = OctetCount("1GB"),
    sessions: SessionsOption = "",
    probe: ProbeOption = "",
    local_port: LocalPortOption = 0,
    refusal: RefusalOption = None,
    allow_remote: AllowRemoteOption = False,
    atheris: AtherisOption = False,
    html: HtmlOption = None,
    junit: JUnitOption = None,
    sarif: SarifOption = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Feed an implementation with cases until something goes wrong with it.

    Cases are valid, break exactly one rule, or are damaged at random with their checksums right.
    Looked for are crashes, hangs, growth, and wrong judgements. Each cause is shown once, with the
    smallest case that was found. Exit code 1 when anything was found.

    \b
    Examples:
      orbitferry fuzz --target ./my-decoder --protocol bpv7
      orbitferry fuzz -t python:mymodule:decode --time 10min --folder campaign
      orbitferry fuzz -t udp://127.0.0.1:1113 -p ltp --start "./my-ltp-engine"
      orbitferry fuzz -t ./my-decoder --replay campaign/findings/crash-0a1b2c3d4e.json
    """
    from interop.fuzzing import CaseStream, Folder, Guide, TargetOptions, known, make_target

    kept = Folder(folder) if folder else None
    began = _seed(seed, kept.state() if kept else {})
    options = TargetOptions(
        start=start,
        timeout_s=timeout,
        probe=_octets(probe),
        local_port=local_port,
        allow_remote=allow_remote,
        memory_bytes=memory,
        disk_bytes=disk,
        tell_sessions=sessions,
        refusals=tuple(refusal or ()),
    )
    about, made = known(protocol), make_target(target, protocol, options)
    if replay:
        _replay(made, replay, as_json)
    guide = Guide(target, protocol, began, options) if atheris else None
    stream = CaseStream(about, began, _corpus(corpus, kept), strategy, made.opening, guide)
    wanted = FuzzArguments(
        target=target,
        protocol=protocol,
        time_s=time_s if cases is None or time_s is not DEFAULT_TIME else float("inf"),
        cases=cases,
        seed=began,
        files={"html": html, "junit": junit, "sarif": sarif},
        quiet=quiet,
        as_json=as_json,
    )
    _run(wanted, made, stream, kept)


def _run(wanted: FuzzArguments, made: Target, stream: CaseStream, kept: Folder | None) -> None:
    with contextlib.closing(stream):
        course, interrupted = _campaign(wanted, made, stream, kept)
    if kept:
        cases = kept.state().get("cases", 0) + course.cases
        kept.keep_state({"seed": wanted.seed, "cases": cases})
    _write(wanted, course)
    _show(wanted, course, kept)
    if interrupted or course.findings:
        ends_with(INTERRUPTED if interrupted else FAILED)


def _corpus(given: Path | None, kept: Folder | None) -> list[bytes]:
    from interop.fuzzing import read_corpus

    return (read_corpus(given) if given else []) + (kept.corpus() if kept else [])


def _octets(probe: str) -> bytes | None:
    try:
        return bytes.fromhex(probe) or None
    except ValueError:
        raise ConfigError("--probe", f"{probe!r} is not hexadecimal") from None


def _seed(asked: int | None, state: dict[str, int]) -> int:
    """As asked for; else the one after the last of the folder, else a fresh one."""
    if asked is not None:
        return asked
    return state["seed"] + 1 if "seed" in state else secrets.randbits(32)


def _campaign(
    wanted: FuzzArguments, target: Target, cases: CaseStream, folder: Folder | None
) -> tuple[Course, bool]:
    """What was found, and whether Ctrl-C ended it."""
    from interop.fuzzing import Campaign, TargetGoneError

    campaign = Campaign(target, cases, folder)
    with _View(wanted) as view:
        try:
            campaign.run(_more(wanted, view.update))
        except KeyboardInterrupt:
            return campaign.course, True
        except TargetGoneError as error:
            note(f"note: {error}")
    return campaign.course, False


def _more(wanted: FuzzArguments, told: Callable[[Course], object]) -> Callable[[Course], bool]:
    def more(course: Course) -> bool:
        told(course)
        if wanted.cases is not None and course.cases >= wanted.cases:
            return False
        return course.seconds < wanted.time_s

    return more


def _replay(target: Target, path: Path, as_json: bool) -> Never:
    from interop.fuzzing import read_case

    messages = read_case(path)
    target.open()
    try:
        reaction = target.feed(messages)
    finally:
        target.close()
    if as_json:
        emit({"verdict": reaction.verdict, "place": reaction.place, "words": reaction.words})
    else:
        where = f" ({reaction.place})" if reaction.place else ""
        say(printable(f"{reaction.verdict}{where}"))
        _say_words(reaction.words)
    ends_with(FAILED if reaction.is_fault else OK)


def _say_words(words: str) -> None:
    for line in words.splitlines()[-WORDS_SHOWN:]:
        say(f"  {printable(line)}")


def _write(wanted: FuzzArguments, course: Course) -> None:
    from importlib.metadata import version

    from interop.fuzzing import report
    from interop.fuzzing.protocols import known

    release = version("orbitferry")
    kind = known(wanted.protocol).kind
    about = report.About(wanted.target, wanted.protocol, kind, wanted.seed, release)
    makers = {"html": report.to_html, "junit": report.to_junit, "sarif": report.to_sarif}
    for name, path in wanted.files.items():
        if path is not None:
            try:
                path.write_text(makers[name](about, course), encoding="utf-8")
            except OSError as error:
                why = error.strerror or str(error)
                raise ConfigError(f"--{name}", f"{path} cannot be written: {why}") from None


def _show(wanted: FuzzArguments, course: Course, kept: Folder | None) -> None:
    from interop.fuzzing.report import ordered

    found = ordered(list(course.findings.values()))
    if wanted.as_json:
        for one in found:
            emit(one.to_json())
        emit(
            {
                "cases": course.cases,
                "seconds": round(course.seconds, 3),
                "seed": wanted.seed,
                "forms": dict(course.forms),
                "verdicts": dict(course.verdicts),
                "coverage": course.coverage or None,
                "states": [[*pair, times] for pair, times in sorted(course.states.items())],
                "findings": len(found),
            }
        )
        return
    rules = [one for one in found if one.kind == "accepts"]
    for one in found:
        if one.kind != "accepts":
            _show_finding(one, kept.path if kept else None)
    if rules:
        rows = sorted((one.place, one.times) for one in rules)
        table(("takes what breaks", "cases"), rows)
        say("")
    if course.states:
        rows_of_states = [(*pair, times) for pair, times in sorted(course.states.items())]
        table(("after", "it answered", "times"), rows_of_states)
        say("")
    table(("verdict", "cases"), sorted(course.verdicts.items()))
    lines = f", {course.coverage:,} lines reached" if course.coverage else ""
    say(
        f"{course.cases:,} cases in {duration_text(course.seconds)}, {course.rate:,.0f} a second"
        f"{lines}; seed {wanted.seed}"
    )
    say(f"{len(found)} found in {printable(wanted.target)}" if found else "nothing found")


def _show_finding(one: Finding, folder: Path | None) -> None:
    from interop.fuzzing.report import title

    times = "once" if one.times == 1 else f"{one.times:,} times"
    say(printable(f"{title(one)} ({times})"))
    _say_words(one.words)
    for message in one.messages[-3:]:
        shown = message.hex()
        more = f"... {len(message):,} octets" if len(shown) > HEX_SHOWN else ""
        if more and folder is None:
            more += ", all of them with --folder"
        say(f"  bytes.fromhex({shown[:HEX_SHOWN]!r}){more}")
    if len(one.messages) > 3:
        say(f"  the last 3 of {len(one.messages)} messages")
    if not one.repeats:
        say("  it did not happen again with the same messages")
    if folder is not None:
        say(f"  replay: --replay {folder / 'findings' / (one.id + '.json')}")
    say("")


class _View(LiveView):
    """Cases a second and what was found: a line that changes on a terminal, now and then one
    elsewhere."""

    def __init__(self, wanted: FuzzArguments) -> None:
        super().__init__(quiet=wanted.quiet or wanted.as_json)
        self._wanted = wanted
        self._task: TaskID | None = None
        self._said_s = 0.0

    def update(self, course: Course) -> None:
        """How far it is."""
        if self._quiet or course.seconds - self._said_s < (0.2 if self._bars else PLAIN_EVERY_S):
            return
        self._said_s = course.seconds
        words = (
            f"{course.cases:,} cases, {course.rate:,.0f} a second, {len(course.findings)} found"
            + (f", {course.coverage:,} lines" if course.coverage else "")
            + (f", {len(course.states):,} states" if course.states else "")
        )
        if self._bars is None:
            note(words)
            return
        done = course.seconds / self._wanted.time_s
        if self._wanted.cases is not None:
            done = max(done, course.cases / self._wanted.cases)
        if self._task is None:
            self._task = self._bars.add_task("", total=1.0)
        self._bars.update(self._task, completed=done, description=words)

    def _made(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        return Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %", markup=False),
            TextColumn("{task.description}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
