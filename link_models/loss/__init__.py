"""Which datagrams a link loses, delays, repeats and damages.

`model` says what a loss model is; `rules` what else can happen to a datagram.  How all of it is
written in a file: `link_models.disturbances`.  Burst models run in time and not per datagram, so
that a fade of 80 ms stays 80 ms when the packet rate changes.
"""

from link_models.loss.bursts import FOREVER_NS as FOREVER_NS
from link_models.loss.bursts import FourStates as FourStates
from link_models.loss.bursts import GilbertElliott as GilbertElliott
from link_models.loss.model import Bernoulli as Bernoulli
from link_models.loss.model import BitErrors as BitErrors
from link_models.loss.model import LossFactory as LossFactory
from link_models.loss.model import LossModel as LossModel
from link_models.loss.model import NoLoss as NoLoss
from link_models.loss.model import no_loss as no_loss
from link_models.loss.series import FrameErrors as FrameErrors
from link_models.loss.series import VaryingBitErrors as VaryingBitErrors
from link_models.loss.series import VaryingLoss as VaryingLoss
from link_models.loss.slots import Slots as Slots
from link_models.loss.spans import BLACKOUTS_MAX as BLACKOUTS_MAX
from link_models.loss.spans import HOUR_NS as HOUR_NS
from link_models.loss.spans import Blackouts as Blackouts
from link_models.loss.spans import Flapping as Flapping
from link_models.loss.spans import Outages as Outages
from link_models.loss.traces import LinkTrace as LinkTrace
from link_models.loss.traces import Replay as Replay
from link_models.loss.traces import load_mahimahi as load_mahimahi
from link_models.loss.traces import load_trace as load_trace
