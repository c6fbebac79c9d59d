"""`orbitferry swarm`: many seeds, on every core, and what they found."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from stack.cli.common import FAILED, Json, Quiet, ends_with
from stack.cli.output import LiveView, emit, note, say, table
from stack.core.errors import ConfigError
from stack.core.units import duration_text

if TYPE_CHECKING:
    from rich.progress import Progress

    from stack.simulator.swarm.day import RunOutcome
    from stack.simulator.swarm.summary import ScenarioSummary, Summary

R = TypeVar("R")

FAILURES_SHOWN: Final = 10
PROBLEMS_SHOWN: Final = 5
PLAIN_LINES: Final = 10
"""Lines of progress in a log: one for each tenth of the runs."""

NODES_DEFAULT: Final = 3


def swarm(
    count: Annotated[
        int,
        typer.Argument(metavar="N", min=1, help="How many seeds, from --seed on."),
    ] = 1,
    scenario: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Run this scenario, not drawn days of nodes."),
    ] = None,
    options: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Run what this file says (.json, .toml), not drawn days."
        ),
    ] = None,
    engines: Annotated[
        bool, typer.Option("--engines", help="LTP engines and bundle agents alone.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="The first seed. Default: that of --options, else 0.")
    ] = None,
    nodes: Annotated[
        int, typer.Option(help="Nodes of a drawn day, 3 to 8; 0 draws that too.")
    ] = NODES_DEFAULT,
    faults: Annotated[
        str,
        typer.Option(
            metavar="KINDS", help='Faults that may strike, with commas; "none"; default: all.'
        ),
    ] = "",
    laws: Annotated[
        bool, typer.Option("--laws", help="Several jurisdictions, data policies, smugglers.")
    ] = False,
    shrink: Annotated[
        bool, typer.Option("--shrink", help="Make the first failing day as small as it goes.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0 is one for each core.")] = 0,
    dask: Annotated[str, typer.Option(metavar="ADDRESS", help="Run on this Dask cluster.")] = "",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run many seeds on every core, and look for what is lost, doubled, altered or shown.

    The seeds are of drawn days, in which nodes crash, disks fill up, links are cut, and clocks and
    plans are wrong; or of a scenario. Exit code 1 when anything failed, with the command for it.

    \b
    Examples:
      orbitferry swarm 1000 --seed 17 --shrink
      orbitferry swarm 100 --scenario examples/one_station/scenario.toml
      orbitferry swarm 100 --laws --nodes 0
    """
    _run(
        SwarmArguments(
            count=count,
            seed=seed,
            scenario=scenario,
            jobs=jobs,
            dask=dask,
            nodes=nodes,
            faults=faults,
            laws=laws,
            options=options,
            shrink=shrink,
            engines=engines,
            quiet=quiet,
            as_json=as_json,
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SwarmArguments:
    """What was asked for."""

    count: int
    seed: int | None
    scenario: Path | None
    jobs: int
    dask: str
    nodes: int
    faults: str
    laws: bool
    options: Path | None
    shrink: bool
    engines: bool
    quiet: bool
    as_json: bool

    def __post_init__(self) -> None:
        if sum((self.scenario is not None, self.options is not None, self.engines)) > 1:
            raise ConfigError(
                "--engines", "--scenario, --options and --engines exclude one another", "take one"
            )
        if self.shrink and (self.scenario is not None or self.engines):
            raise ConfigError("--shrink", "is for drawn days, and for those of --options")
        if self.laws and (self.scenario is not None or self.options is not None or self.engines):
            raise ConfigError("--laws", "is for drawn days", "leave it out")

    @property
    def first(self) -> int:
        """The first seed: as asked for, else that of the options, else 0."""
        if self.seed is None and self.options is not None:
            from stack.simulator.swarm import load_options

            return load_options(self.options).seed
        return self.seed or 0

    @property
    def kinds(self) -> tuple[str, ...]:
        """The faults that may strike."""
        from stack.simulator.swarm import KINDS

        if not self.faults:
            return tuple(KINDS)
        return tuple(one for one in self.faults.split(",") if one != "none")


def _run(wanted: SwarmArguments) -> None:
    """Run it, show what it found, and end with exit code 1 when it found something."""
    if wanted.scenario is not None:
        _scenario(wanted, wanted.scenario)
        return
    from stack.simulator.swarm import tasks
    from stack.simulator.swarm.summary import summarise

    started_s = time.perf_counter()
    outcomes = _sweep(wanted, _task(wanted), tasks.failed)
    wall_s = time.perf_counter() - started_s
    summary = summarise(outcomes)
    small = _shrink(wanted, summary) if wanted.shrink and summary.failed else None
    if wanted.as_json:
        emit({**summary.to_json(), "wall_s": round(wall_s, 3), "smallest": small})
    else:
        _show(wanted, summary, wall_s)
        if small is not None:
            say(f"the smallest run that fails so, for --options:\n{small}")
    if summary.failed:
        ends_with(FAILED)


def _task(wanted: SwarmArguments) -> Callable[[int], RunOutcome]:
    from stack.simulator.swarm import draw, load_options, tasks

    if wanted.engines:
        return tasks.engines
    if wanted.options is not None:
        return functools.partial(tasks.options, text=load_options(wanted.options).dumps())
    nodes = wanted.nodes or None
    draw(wanted.first, nodes=nodes, kinds=wanted.kinds)  # what is wrong shows here, and once
    return functools.partial(tasks.nodes, count=nodes, kinds=wanted.kinds, laws=wanted.laws)


def _seeds(wanted: SwarmArguments) -> range:
    first = wanted.first
    return range(first, first + wanted.count)


def _sweep(
    wanted: SwarmArguments, task: Callable[[int], R], failed: Callable[[int, str], R]
) -> list[R]:
    from stack.simulator.swarm.sweep import sweep, sweep_cluster

    with _View(wanted.count, quiet=wanted.quiet or wanted.as_json) as view:
        if wanted.dask:
            return sweep_cluster(
                task, _seeds(wanted), failed, address=wanted.dask, done=view.update
            )
        jobs = min(wanted.jobs, wanted.count) if wanted.jobs else int(wanted.count == 1)
        return sweep(task, _seeds(wanted), failed, jobs=jobs, done=view.update)


def replay_command(wanted: SwarmArguments, seed: int) -> str:
    """The one command that runs a seed again."""
    words = [f"orbitferry swarm --seed {seed}"]
    if wanted.scenario is not None:
        words.append(f"--scenario {wanted.scenario}")
    elif wanted.engines:
        words.append("--engines")
    elif wanted.options is not None:
        words.append(f"--options {wanted.options}")
    else:
        if wanted.nodes != NODES_DEFAULT:
            words.append(f"--nodes {wanted.nodes}")
        if wanted.faults:
            words.append(f"--faults {wanted.faults}")
        if wanted.laws:
            words.append("--laws")
    return " ".join(words)


def _line(wanted: SwarmArguments, seed: int) -> str:
    """What a seed consists of."""
    from stack.simulator.swarm import load_options, tasks

    if wanted.engines:
        return tasks.line_of_engines(seed)
    if wanted.options is not None:
        return tasks.parse(load_options(wanted.options).dumps(), seed).line()
    return tasks.draw_day(seed, wanted.nodes or None, wanted.kinds, laws=wanted.laws).line()


def _shrink(wanted: SwarmArguments, summary: Summary) -> str | None:
    from stack.simulator.swarm import load_options, same_failure, shrink, tasks

    seed = summary.failed[0].seed
    if wanted.options is not None:
        options = tasks.parse(load_options(wanted.options).dumps(), seed)
    else:
        options = tasks.draw_day(seed, wanted.nodes or None, wanted.kinds, laws=wanted.laws)
    fails = same_failure(options)
    if fails is None:
        note(f"seed {seed} does not fail here: it is the machine, or the time that it took")
        return None
    small = shrink(options, fails)
    state = "nothing more can go" if small.finished else "there was no time for more"
    note(f"made smaller in {small.runs} runs; {state}")
    note(small.options.line())
    return small.options.dumps()


def _show(wanted: SwarmArguments, summary: Summary, wall_s: float) -> None:
    if summary.faults:
        table(("faults injected", "times"), sorted(summary.faults.items()))
        say("")
    if summary.checks:
        table(("invariant", "looked at"), sorted(summary.checks.items()))
        say("")
    totals = summary.totals
    say(
        f"{totals['datagrams']:,} datagrams, {totals['bundles']:,} bundles stored, "
        f"{totals['delivered']:,} things delivered"
    )
    if summary.converged_s:
        found = ", ".join(
            f"{duration_text(value)} (p{key})" for key, value in summary.converged_s.items()
        )
        say(f"after the faults everything had arrived in {found}")
    _show_speed(summary, wall_s)
    for outcome in summary.failed[:FAILURES_SHOWN]:
        note(f"FAILED: {_line(wanted, outcome.seed)}")
        for problem in outcome.problems[:PROBLEMS_SHOWN]:
            note(f"  {problem.invariant} at {problem.at_s:,.3f} s: {problem.text}")
        note(f"  replay: {replay_command(wanted, outcome.seed)}")
    _show_end(len(summary.failed), summary.runs)


def _show_speed(summary: Summary | ScenarioSummary, wall_s: float) -> None:
    say(
        f"slowest seed: {summary.slowest_seed}, {summary.slowest_s:.2f} s of CPU; "
        f"{summary.cpu_s / summary.runs * 1000:.0f} ms a seed"
    )
    say(
        f"{summary.runs:,} runs in {duration_text(wall_s)}, "
        f"{summary.runs / wall_s:,.1f} a second; simulated {summary.simulated_s / 86_400:,.1f} days"
    )


def _show_end(failed: int, runs: int) -> None:
    if failed > FAILURES_SHOWN:
        note(f"FAILED: and {failed - FAILURES_SHOWN} more")
    say(f"{failed} of {runs} runs failed" if failed else f"all {runs} runs passed")


def _scenario(wanted: SwarmArguments, path: Path) -> None:
    from stack.simulator.swarm import tasks
    from stack.simulator.swarm.summary import summarise_scenario

    tasks.check_scenario(path)
    started_s = time.perf_counter()
    task = functools.partial(tasks.scenario, path=str(path.resolve()))
    outcomes = _sweep(wanted, task, tasks.scenario_failed)
    wall_s = time.perf_counter() - started_s
    summary = summarise_scenario(outcomes)
    if wanted.as_json:
        emit({**summary.to_json(), "wall_s": round(wall_s, 3)})
    else:
        rows = [
            (kind, summary.counts[kind], *(duration_text(value) for value in found.values()))
            for kind, found in summary.latencies_s.items()
        ]
        if rows:
            table(("latency of", "arrived", "p50", "p90", "p99", "worst"), rows)
            say("")
        say(f"{summary.arrived:,} of {summary.objects:,} objects arrived")
        _show_speed(summary, wall_s)
        for outcome in summary.failed[:FAILURES_SHOWN]:
            note(f"FAILED: seed {outcome.seed}")
            for problem in outcome.problems[:PROBLEMS_SHOWN]:
                note(f"  {problem}")
            note(f"  replay: {replay_command(wanted, outcome.seed)}")
        _show_end(len(summary.failed), summary.runs)
    if summary.failed:
        ends_with(FAILED)


class _View(LiveView):
    """How many seeds are done: a bar on a terminal, lines elsewhere, nothing when `quiet`."""

    def __init__(self, count: int, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._count = count
        self._done = 0
        self._failed = 0
        self._line = 0

    def update(self, outcome: Any) -> None:
        """A seed is done."""
        self._done += 1
        self._failed += not outcome.ok
        words = f"{self._failed} failed" if self._failed else ""
        if self._bars is not None:
            task = self._bars.task_ids[0]
            self._bars.update(task, completed=self._done, description=words)
        elif not self._quiet:
            line = self._done * PLAIN_LINES // self._count
            if line != self._line:
                self._line = line
                note(f"{self._done:,} of {self._count:,} seeds {words}".rstrip())

    def _made(self) -> Progress:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        bar.add_task("", total=self._count)
        return bar
