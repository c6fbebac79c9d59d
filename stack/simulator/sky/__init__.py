"""What the sky does to a scenario: first what a planner foresees, then what happens.

prediction = predict(scenario)               # passes, antennas, the contact plan
sky = make_sky(scenario, Streams(seed))      # the same, and links as they turn out to be
"""

from stack.simulator.sky.model import LinkDirection as LinkDirection
from stack.simulator.sky.model import LinkKind as LinkKind
from stack.simulator.sky.model import Sky as Sky
from stack.simulator.sky.model import SkyLink as SkyLink
from stack.simulator.sky.model import SkyPass as SkyPass
from stack.simulator.sky.prediction import Prediction as Prediction
from stack.simulator.sky.prediction import predict as predict
from stack.simulator.sky.reality import make_sky as make_sky
