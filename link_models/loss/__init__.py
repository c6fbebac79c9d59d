"""Which datagrams a link loses, delays, repeats and damages.

`model` says what a loss model is; `rules` what else can happen to a datagram.  How all of it is
written in a file: `link_models.disturbances`.  Burst models run in time and not per datagram, so
that a fade of 80 ms stays 80 ms when the packet rate changes.
"""

from link_models.loss.bursts import FOREVER_NS, FourStates, GilbertElliott
from link_models.loss.model import (
    AnyOf,
    Bernoulli,
    BitErrors,
    LossFactory,
    LossModel,
    NoLoss,
    no_loss,
)
from link_models.loss.series import FrameErrors, VaryingBitErrors, VaryingLoss
from link_models.loss.slots import Slots
from link_models.loss.spans import BLACKOUTS_MAX, HOUR_NS, Blackouts, Flapping, Outages
from link_models.loss.traces import LinkTrace, Replay, load_mahimahi, load_trace

__all__ = [
    "BLACKOUTS_MAX",
    "FOREVER_NS",
    "HOUR_NS",
    "AnyOf",
    "Bernoulli",
    "BitErrors",
    "Blackouts",
    "Flapping",
    "FourStates",
    "FrameErrors",
    "GilbertElliott",
    "LinkTrace",
    "LossFactory",
    "LossModel",
    "NoLoss",
    "Outages",
    "Replay",
    "Slots",
    "VaryingBitErrors",
    "VaryingLoss",
    "load_mahimahi",
    "load_trace",
    "no_loss",
]
