"""One direction of a link: windows, rate, queue, light time, and every way to lose a datagram."""

from link_models.channel.channel import DATAGRAMS_PER_CALL_MAX, Channel
from link_models.channel.config import (
    FOREVER_NS,
    ChannelConfig,
    Delay,
    Window,
    always_up,
)
from link_models.channel.trains import ArrivedTrain
from link_models.noise import Times

__all__ = [
    "DATAGRAMS_PER_CALL_MAX",
    "FOREVER_NS",
    "ArrivedTrain",
    "Channel",
    "ChannelConfig",
    "Delay",
    "Times",
    "Window",
    "always_up",
]
