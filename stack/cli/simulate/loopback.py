"""`orbitferry loopback`: whole nodes over simulated links, a day in seconds."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stack.cli.common import (
    FAILED,
    PCAP_LIMIT,
    Json,
    PcapFile,
    PcapLimit,
    PcapLinks,
    Quiet,
    check_pcap_limit,
    ends_with,
)
from stack.cli.output import LiveView, emit, note, say, table, tell_capture, tell_doubts
from stack.core.errors import OrbitferryError
from stack.core.units import count_text, duration_text, size_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from stack.adapters.capture import CaptureFile
    from stack.simulator import Result
    from stack.simulator.loopback.observe import Moment
    from stack.simulator.loopback.results import JobRow, TrafficRow

REDRAW_S: Final = 0.1
"""Time between two drawings on a terminal: what eyes follow."""

PLAIN_LINES: Final = 10
"""Lines of progress in a log: one for each tenth of the run."""

PROBLEMS_SHOWN: Final = 20


def loopback(
    scenario: Annotated[
        Path, typer.Argument(metavar="SCENARIO", help="Stations, satellites, links, work; TOML.")
    ],
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write report.html, results.json and series.csv there."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of everything random. Default: the scenario's.")
    ] = None,
    input: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="File or folder to send, instead of the scenario's."),
    ] = None,
    pcap: PcapFile = None,
    pcap_limit: PcapLimit = PCAP_LIMIT,
    pcap_links: PcapLinks = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run whole nodes over simulated links, a day in seconds.

    Ground stations and satellites run in this process, in virtual time, over links with the
    passes, rates, light times and losses of a scenario. The same scenario, seed and input give
    the same report to the octet. Exit code 1 when anything did not arrive, or arrived wrong.

    \b
    Examples:
      orbitferry loopback examples/sso_day/scenario.toml
      orbitferry loopback examples/sso_day/scenario.toml --report out/day --seed 7
      orbitferry loopback examples/sso_day/scenario.toml --input images/ --json
      orbitferry loopback scenario.toml --pcap run.pcapng --pcap-link gs1-sat1
    """
    from stack.simulator import load_scenario, run_scenario

    loaded = load_scenario(scenario)
    capture = None if pcap is None else _begin(pcap, pcap_limit)
    with _View(quiet=quiet or as_json) as view, _stopped_by_signal(view), _closed(capture):
        result = run_scenario(
            loaded,
            seed=seed,
            input=input,
            report_dir=report,
            progress=view.update,
            capture=capture,
            capture_links=pcap_links or (),
        )
    found = None if capture is None else capture.statistics()
    if as_json:
        emit(_summary(result, report) | ({"capture": found} if found else {}))
    else:
        _show(result, report)
        if found:
            tell_capture(found)
    if not result.ok:
        ends_with(FAILED)


def _begin(path: Path, limit: int) -> CaptureFile:
    """In virtual time nobody waits for a disk, so it is written at once.  Raises `ConfigError`."""
    from stack.adapters.capture import CaptureFile

    check_pcap_limit(limit)
    return CaptureFile(path, limit_bytes=limit, inline=True)


@contextlib.contextmanager
def _closed(capture: CaptureFile | None) -> Iterator[None]:
    try:
        yield
    finally:
        if capture is not None:
            capture.close()


def _summary(result: Result, report: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ok": result.ok,
        "problems": list(result.problems),
        "doubts": list(result.doubts),
        "seed": result.seed,
        "simulated_s": round(result.ended_s, 3),
        "wall_s": round(result.wall_s, 3),
        "simulated_s_per_s": round(result.speed, 1),
        "totals": result.totals(),
        "jobs": [
            {"name": job.name, "state": job.state, "latency_s": job.latency_s}
            for job in result.jobs
        ],
        "traffic": [
            {
                "name": row.task,
                "bundles": row.count,
                "arrived": row.arrived,
                "p50_s": row.p50_s,
                "p99_s": row.p99_s,
            }
            for row in result.traffic
        ],
    }
    if report is not None:
        found["report"] = str(report / "report.html")
    return found


def _show(result: Result, report: Path | None) -> None:
    from stack.simulator.report.run.summary import volumes

    totals = result.totals()
    table(*volumes(result), result.title)
    if result.jobs:
        say("")
        table(("job", "inputs", "up", "results", "down", "latency", "state"), _jobs(result.jobs))
    if result.traffic:
        say("")
        head = ("traffic", "bundles", "volume", "arrived", "half within", "99 % within", "all")
        table(head, _traffic(result.traffic))
    say("")
    say(
        f"passes: {totals['passes_used']} used of {totals['passes_planned']} planned, "
        f"{totals['passes']} in view"
    )
    if result.objects:
        say(
            f"SHA-256: {totals['objects_ok']} of {count_text(totals['objects'], 'object')} as "
            "expected"
        )
    say(
        f"simulated {duration_text(result.ended_s)} in {duration_text(result.wall_s)}: "
        f"{result.speed:,.0f} times as fast as time"
    )
    if report is not None:
        say(f"report: {report / 'report.html'}")
    tell_doubts(result.doubts)
    for problem in result.problems[:PROBLEMS_SHOWN]:
        note(f"problem: {problem}")
    if len(result.problems) > PROBLEMS_SHOWN:
        note(f"problem: and {len(result.problems) - PROBLEMS_SHOWN} more")


def _traffic(rows: tuple[TrafficRow, ...]) -> list[tuple[object, ...]]:
    return [
        (
            row.task,
            f"{row.count:,}",
            size_text(row.bytes_sent),
            f"{row.arrived:,}" + (f", {row.wrong} wrong" if row.wrong else ""),
            *("-" if at is None else duration_text(at) for at in (row.p50_s, row.p99_s, row.max_s)),
        )
        for row in rows
    ]


def _jobs(jobs: tuple[JobRow, ...]) -> list[tuple[object, ...]]:
    return [
        (
            job.name,
            job.inputs,
            size_text(job.input_bytes),
            job.results,
            size_text(job.result_bytes),
            duration_text(job.latency_s) if job.latency_s is not None else "-",
            job.state,
        )
        for job in jobs
    ]


class Stopped(OrbitferryError):
    """The user wants the run to end."""


@contextlib.contextmanager
def _stopped_by_signal(view: _View) -> Iterator[None]:
    """Ctrl-C ends the run at its next sample, outside of any protocol code; a second one at
    once."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        view.stopped = True

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    except Stopped:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, before)
    if view.stopped:
        raise KeyboardInterrupt


class _View(LiveView):
    """How far the run is: a bar on a terminal, lines elsewhere, nothing when `quiet`."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self.stopped = False
        self._task: TaskID | None = None
        self._drawn_s = 0.0
        self._line = 0

    def update(self, moment: Moment) -> None:
        """Called at each sample of the run.  Raises `Stopped` after a Ctrl-C."""
        if self.stopped:
            raise Stopped
        if self._quiet:
            return
        if self._bars is None:
            line = int(moment.now_s * PLAIN_LINES / moment.duration_s)
            if line != self._line:
                self._line = line
                note(f"after {_clock(moment)}: {_figures(moment)}")
            return
        now_s = time.monotonic()
        if now_s - self._drawn_s < REDRAW_S:
            return
        self._drawn_s = now_s
        if self._task is None:
            total = moment.duration_s
            self._task = self._bars.add_task("", total=total, clock="", contact="", figures="")
        contacts = ", ".join(moment.contacts) or "no contact"
        self._bars.update(
            self._task,
            completed=moment.now_s,
            clock=_clock(moment),
            contact=contacts,
            figures=_figures(moment),
            refresh=True,
        )

    def _made(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        return Progress(
            TextColumn("{task.fields[clock]}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[contact]}", markup=False),
            TextColumn("{task.fields[figures]}", markup=False),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
        )


def _clock(moment: Moment) -> str:
    """Hours, minutes and seconds of the run."""
    whole = int(moment.now_s)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def _figures(moment: Moment) -> str:
    return (
        f"up {size_text(moment.up_bytes)}, down {size_text(moment.down_bytes)}, "
        f"waiting {size_text(moment.queue_bytes)}, {moment.arrived} of "
        f"{count_text(moment.expected, 'object')} so far"
    )
