"""Whole nodes from many seeds, with faults, in virtual time: finds what nobody thought of.

from stack.simulator.swarm import draw, run

outcome = run(draw(17))
assert outcome.ok, outcome.problems
"""

from stack.simulator.swarm.day import RunOutcome, run
from stack.simulator.swarm.drawing import draw
from stack.simulator.swarm.faults import KINDS, Fault
from stack.simulator.swarm.options import Options, load_options
from stack.simulator.swarm.shrink import same_failure, shrink

__all__ = [
    "KINDS",
    "Fault",
    "Options",
    "RunOutcome",
    "draw",
    "load_options",
    "run",
    "same_failure",
    "shrink",
]
