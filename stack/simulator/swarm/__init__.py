"""Whole nodes from many seeds, with faults, in virtual time: finds what nobody thought of.

from stack.simulator.swarm import draw, run

outcome = run(draw(17))
assert outcome.ok, outcome.problems
"""

from stack.simulator.swarm.day import RunOutcome as RunOutcome
from stack.simulator.swarm.day import run as run
from stack.simulator.swarm.drawing import draw as draw
from stack.simulator.swarm.drawing import under_laws as under_laws
from stack.simulator.swarm.faults import KINDS as KINDS
from stack.simulator.swarm.faults import Fault as Fault
from stack.simulator.swarm.options import Options as Options
from stack.simulator.swarm.options import load_options as load_options
from stack.simulator.swarm.shrink import same_failure as same_failure
from stack.simulator.swarm.shrink import shrink as shrink
