"""One direction of a link: windows, rate, queue, light time, and every way to lose a datagram."""

from link_models.channel.channel import DATAGRAMS_PER_CALL_MAX as DATAGRAMS_PER_CALL_MAX
from link_models.channel.channel import Channel as Channel
from link_models.channel.config import FOREVER_NS as FOREVER_NS
from link_models.channel.config import ChannelConfig as ChannelConfig
from link_models.channel.config import Delay as Delay
from link_models.channel.config import Window as Window
from link_models.channel.config import always_up as always_up
from link_models.channel.trains import ArrivedTrain as ArrivedTrain
from link_models.noise import Times as Times
