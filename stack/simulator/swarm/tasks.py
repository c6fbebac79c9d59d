"""What a sweep runs for each seed: functions that another process or machine can import."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stack.core.errors import ConfigError
from stack.simulator.swarm.agents import run_agents
from stack.simulator.swarm.agents_options import draw_agents
from stack.simulator.swarm.day import RunOutcome, run
from stack.simulator.swarm.drawing import draw, under_laws
from stack.simulator.swarm.engines import draw_pair, run_pair
from stack.simulator.swarm.ledger import Violation
from stack.simulator.swarm.options import NODES_MIN, Options


def nodes(
    seed: int,
    count: int | None = NODES_MIN,
    kinds: tuple[str, ...] = (),
    *,
    laws: bool = False,
) -> RunOutcome:
    """A day of whole nodes; `kinds` are the faults that may strike, all of them if empty; with
    `laws`, in several jurisdictions."""
    return run(draw_day(seed, count, kinds, laws=laws))


def draw_day(
    seed: int, count: int | None, kinds: tuple[str, ...], *, laws: bool = False
) -> Options:
    """The options of `nodes`."""
    options = draw(seed, nodes=count, kinds=kinds) if kinds else draw(seed, nodes=count)
    return under_laws(options) if laws else options


def options(seed: int, text: str) -> RunOutcome:
    """Given options, with another seed."""
    return run(parse(text, seed))


def parse(text: str, seed: int) -> Options:
    """Options from their JSON text, with the seed of the run."""
    return dataclasses.replace(msgspec.json.decode(text, type=Options), seed=seed)


def engines(seed: int) -> RunOutcome:
    """Engines alone: two LTP engines, or, for an odd seed, some bundle agents."""
    return run_agents(seed) if seed % 2 else run_pair(seed)


def line_of_engines(seed: int) -> str:
    """What `engines` runs, in one line."""
    return draw_agents(seed).line() if seed % 2 else draw_pair(seed).line()


def failed(seed: int, why: str) -> RunOutcome:
    """The outcome of a seed that has none."""
    return RunOutcome(
        seed=seed,
        problems=(Violation("error", 0.0, why),),
        trace="",
        simulated_s=0.0,
        converged_s=None,
        faults={},
        checks={},
        events=0,
        datagrams=0,
        bundles=0,
        delivered=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioOutcome:
    """What one seed of a scenario has shown."""

    seed: int
    problems: tuple[str, ...]
    objects: int
    arrived: int
    latencies_s: tuple[tuple[str, float], ...]
    """Kind (or traffic task) and virtual time under way of each object and bundle that arrived,
    and of each job."""

    simulated_s: float
    cpu_s: float

    @property
    def ok(self) -> bool:
        """Whether everything arrived as it was sent."""
        return not self.problems


def scenario(seed: int, path: str) -> ScenarioOutcome:
    """A scenario file with the luck of `seed`."""
    from stack.simulator import load_scenario, run_scenario

    started_s = time.process_time()
    result = run_scenario(load_scenario(Path(path)), seed=seed)
    latencies = [
        (row.kind, row.arrived_s - row.sent_s)
        for row in result.objects
        if row.arrived_s is not None
    ]
    latencies += [("job", job.latency_s) for job in result.jobs if job.latency_s is not None]
    for task, values in result.series.latency_s.items():
        latencies += [(task, latency_s) for latency_s in values.tolist()]
    totals = result.totals()
    return ScenarioOutcome(
        seed=seed,
        problems=tuple(result.problems),
        objects=totals["objects"] + totals["bundles"],
        arrived=sum(row.arrived_s is not None for row in result.objects)
        + totals["bundles_arrived"],
        latencies_s=tuple(latencies),
        simulated_s=result.ended_s,
        cpu_s=time.process_time() - started_s,
    )


def scenario_failed(seed: int, why: str) -> ScenarioOutcome:
    """The outcome of a seed that has none."""
    return ScenarioOutcome(
        seed=seed,
        problems=(why,),
        objects=0,
        arrived=0,
        latencies_s=(),
        simulated_s=0.0,
        cpu_s=0.0,
    )


def check_scenario(path: Path) -> None:
    """Find out before a sweep whether a scenario can be run.  Raises `ConfigError`."""
    from stack.simulator import load_scenario

    scenario = load_scenario(path)
    if not (scenario.tasks or scenario.traffic):
        raise ConfigError(
            str(path), "has no work", "add a [[jobs]], [[files]], [[messages]] or [[traffic]]"
        )
