"""One direction of an emulated link: a channel that can be changed while it is in use."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from operator import attrgetter
from typing import Any

from link_models.channel import (
    FOREVER_NS,
    ArrivedTrain,
    Channel,
    ChannelConfig,
    Delay,
    Times,
    Window,
)
from link_models.emulator.world import EmulatorTime, Stretch
from link_models.loss.rules import Rule, RuleFactory, retimed
from link_models.rng import Streams
from stack.core.clock import MILLISECOND, SECOND
from stack.core.train import Train

POLL_NS = MILLISECOND
"""Shortest wait for room in a queue whose emptying is known only roughly."""


UNITS = ("datagrams", "bytes")

DARK = "lost: the link is down"
"""What a capture says of a datagram that finds the link switched off."""


class Direction:
    """A channel on a schedule, the switch in front of it, and its totals.

    Calls must be in order of time.  A change of the configuration, of the schedule, or a new turn
    of the loop makes a new channel, which goes on with the transmitter of the one before.
    """

    def __init__(self, name: str, config: ChannelConfig, seed: int, world: EmulatorTime) -> None:
        """Its channels draw from the substreams `name`/1/..., `name`/2/... of the seed."""
        self.name = name
        self._seed = seed
        self._world = world
        self._changes = 0
        self._totals: dict[str, int] = dict.fromkeys(
            (
                f"{what}_{unit}"
                for what in ("offered", "delivered", "dropped_down")
                for unit in UNITS
            ),
            0,
        )
        self._dark_until_ns = -FOREVER_NS
        self._config = config
        self._stretch = world.at(world.now())
        self._channel = self._make()

    @property
    def config(self) -> ChannelConfig:
        """As it is now, in scenario time."""
        return self._config

    def configure(self, config: ChannelConfig) -> None:
        """From now on the link is like this.  What is under way keeps the time that it was given,
        and nothing overtakes it."""
        self._config = config
        self._renew()

    def dark(self, until_ns: int) -> None:
        """Nothing is let in until link time `until_ns`; a time that is past ends a blackout."""
        self._dark_until_ns = until_ns

    def take_back(self, datagrams: int, octets: int) -> None:
        """Count as `dropped_down` what the channel had counted as delivered."""
        for unit, count in zip(UNITS, (datagrams, octets), strict=True):
            self._totals[f"dropped_down_{unit}"] += count
            self._totals[f"delivered_{unit}"] -= count

    def send(self, train: Train, now_ns: int) -> list[ArrivedTrain]:
        """Offer a train at link time `now_ns`; what arrives of it, in order of arrival."""
        if now_ns < self._dark_until_ns:
            return self._in_the_dark(train)
        if self._world.at(now_ns) is not self._stretch:
            self._renew()
        return self._channel.send(train, now_ns)

    def send_told(self, train: Train, now_ns: int) -> tuple[list[ArrivedTrain], list[str]]:
        """`send`, and in words what becomes of each datagram; nothing else is different."""
        if now_ns < self._dark_until_ns:
            return self._in_the_dark(train), [DARK] * train.datagram_count
        if self._world.at(now_ns) is not self._stretch:
            self._renew()
        deliveries, fates = self._channel.send_told(train, now_ns)
        return deliveries, fates.words()

    def admits_ns(self, octets: int, now_ns: int) -> int:
        """The earliest link time, from `now_ns` on, at which the link seems to have room for a
        datagram of `octets`; for senders that wait rather than lose.  They leave half of the queue
        to those who do not: a queue that was always full would lose every datagram."""
        if now_ns < self._dark_until_ns:
            return self._dark_until_ns
        if self._world.at(now_ns) is not self._stretch:
            self._renew()
        channel = self._channel
        config = channel.config
        if channel.window_at(now_ns) is None:
            return self._next_window_ns(now_ns)
        wire_bytes = config.wire_bytes(octets)
        idle_ns = channel.drained_ns(0, now_ns)
        if not self._fits(wire_bytes, idle_ns):
            return self._next_window_ns(idle_ns)
        if config.queue_ns is not None and idle_ns - now_ns > config.queue_ns:
            return max(idle_ns - config.queue_ns, now_ns + POLL_NS)
        backlog_bytes = channel.backlog_bytes(now_ns)
        share_bytes = config.queue_bytes // 2
        if not backlog_bytes or backlog_bytes + wire_bytes <= share_bytes:
            return now_ns
        room_ns = channel.drained_ns(max(0, share_bytes - wire_bytes), now_ns)
        return max(room_ns, now_ns + POLL_NS)

    def delay_ns(self, now_ns: int) -> int:
        """Light time and equipment for what is sent now."""
        return self._channel.delay_ns(now_ns)

    def counters(self) -> dict[str, int]:
        """Totals of all channels so far, and `dropped_down` for what came while the link was
        switched off; see `Channel.counters`."""
        totals = dict(self._totals)
        for name, count in self._channel.counters().items():
            totals[name] = totals.get(name, 0) + count
        return totals

    def state(self, now_ns: int) -> dict[str, Any]:
        """What the link is like now: `up`, `rate_bps` (None without limit), `delay_ms`, and the
        octets that wait for the transmitter."""
        if self._world.at(now_ns) is not self._stretch:
            self._renew()
        window = self._channel.window_at(now_ns)
        up = window is not None and now_ns >= self._dark_until_ns
        rate = window.rate_bps if window is not None and up else 0.0
        return {
            "up": up,
            "rate_bps": None if rate == float("inf") else rate,
            "delay_ms": self.delay_ns(now_ns) / MILLISECOND,
            "backlog_bytes": self._channel.backlog_bytes(now_ns),
        }

    def _in_the_dark(self, train: Train) -> list[ArrivedTrain]:
        totals = self._totals
        for unit, count in zip(UNITS, (train.datagram_count, len(train.data)), strict=True):
            totals[f"offered_{unit}"] += count
            totals[f"dropped_down_{unit}"] += count
        return []

    def _fits(self, wire_bytes: int, idle_ns: int) -> bool:
        """Whether what the transmitter begins with at `idle_ns` is done before the contact ends."""
        window = self._channel.window_at(idle_ns)
        if window is None:
            return False
        done_ns = idle_ns + wire_bytes * 8 * SECOND / window.rate_bps
        return done_ns <= window.end_ns or self._channel.window_at(window.end_ns) is not None

    def _next_window_ns(self, now_ns: int) -> int:
        windows = self._channel.config.windows
        place = bisect_right(windows, now_ns, key=attrgetter("start_ns"))
        coming_ns = windows[place].start_ns if place < len(windows) else FOREVER_NS
        return min(coming_ns, self._stretch.end_ns)

    def _renew(self) -> None:
        self._totals = self.counters()
        before = self._channel
        now_ns = self._world.now()
        self._stretch = self._world.at(now_ns)
        self._channel = self._make()
        self._channel.follow(before, now_ns)

    def _make(self) -> Channel:
        self._changes += 1
        config = on_stretch(self._config, self._stretch, self._world.schedule.scale_delay)
        # A record of its own for each channel's names: a loop makes channels without end.
        return Channel(config, Streams(self._seed), f"{self.name}/{self._changes}")


def on_stretch(config: ChannelConfig, stretch: Stretch, scale_delay: bool) -> ChannelConfig:
    """The same channel in link time.  Its loss model and jitter live in link time anyway: a fade of
    80 ms is one at any pace."""
    if stretch.plain:
        return config
    windows = []
    for window in config.windows:
        start_ns, end_ns = stretch.link(window.start_ns), stretch.link(window.end_ns)
        if start_ns < end_ns:
            windows.append(Window(start_ns, end_ns, window.rate_bps))
    return replace(
        config,
        windows=tuple(windows),
        delay=_StretchedDelay(config.delay, stretch, stretch.factor if scale_delay else 1.0),
        rules=tuple(_retimed(rule, stretch) for rule in config.rules),
    )


class _StretchedDelay(Delay):
    """A delay over scenario time, asked in link time."""

    def __init__(self, delay: Delay, stretch: Stretch, divisor: float) -> None:
        self._delay = delay
        self._stretch = stretch
        self._divisor = divisor
        constant_ns = delay.constant_ns
        self.constant_ns = None if constant_ns is None else constant_ns / divisor

    def at(self, sent_ns: Times) -> Times | float:
        start = self._stretch
        scenario_ns = start.scenario_ns + (sent_ns - start.link_ns) * start.factor
        return self._delay.at(scenario_ns) / self._divisor

    def at_one(self, sent_ns: float) -> float:
        return self._delay.at_one(self._stretch.scenario(sent_ns)) / self._divisor


def _retimed(factory: RuleFactory, stretch: Stretch) -> RuleFactory:
    def make(streams: Streams, name: str) -> Rule:
        return retimed(factory(streams, name), stretch.scenario)

    return make
