"""Whole nodes from many seeds, with faults, in virtual time: finds what nobody thought of.

from link_models.swarm import draw, run

outcome = run(draw(17))
assert outcome.ok, outcome.problems
"""

from link_models.swarm.day import Outcome, run
from link_models.swarm.faults import KINDS, Fault
from link_models.swarm.options import Options, draw, load_options
from link_models.swarm.smaller import same_failure, shrink

__all__ = [
    "KINDS",
    "Fault",
    "Options",
    "Outcome",
    "draw",
    "load_options",
    "run",
    "same_failure",
    "shrink",
]
