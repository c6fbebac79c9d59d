"""What the sky does to a scenario: first what a planner foresees, then what happens.

prediction = predict(scenario)               # passes, antennas, the contact plan
sky = make_sky(scenario, Streams(seed))      # the same, and links as they turn out to be
"""

from stack.simulator.sky.model import LinkDirection, LinkKind, Sky, SkyLink, SkyPass
from stack.simulator.sky.prediction import Prediction, predict
from stack.simulator.sky.reality import make_sky

__all__ = [
    "LinkDirection",
    "LinkKind",
    "Prediction",
    "Sky",
    "SkyLink",
    "SkyPass",
    "make_sky",
    "predict",
]
