"""Looks at a run while it goes on, at times that are known beforehand."""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from link_models.channel import Window
from link_models.loopback.results import DirectionRow, PassRow, Series, Volume
from link_models.loopback.sky import SkyPass
from link_models.loopback.world import World, short_name
from stack.core.clock import SECOND

IDLE_STEP_S = 300.0
"""Time between samples while no satellite is in view."""

AFTER_PASS_S = 3.0
"""A pass is looked at this long after its end: what left in time has then arrived."""

SAMPLES_MAX = 2_000_000
"""Most samples of a run; each costs some 50 microseconds and 100 octets."""

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Moment:
    """How far a run is, for those who watch it."""

    now_s: float
    duration_s: float
    contacts: tuple[str, ...]
    """Passes under way, as `station-satellite`."""

    up_bytes: int
    down_bytes: int
    """Octets that have arrived on the links of satellites."""

    queue_bytes: int
    """Octets that wait in all nodes."""

    arrived: int
    expected: int
    """Objects."""


Watch = Callable[[Moment], None]
"""Called at each sample; must be quick.  It sees the run and cannot change it, but end it by
raising something."""


class Observer:
    """Samples counters of a world."""

    def __init__(
        self, world: World, watch: Watch | None, objects: Callable[[], tuple[int, int]]
    ) -> None:
        """`objects` tells how many objects have arrived, and how many should."""
        self._world = world
        self._watch = watch
        self._objects = objects
        self._passes = world.sky.passes
        self._pairs: list[Pair] = [
            way
            for pair in world.sky.pairs
            for way in ((pair.station, pair.satellite), (pair.satellite, pair.station))
        ]
        self._times: list[float] = []
        self._on_air: dict[Pair, list[int]] = {way: [] for way in self._pairs}
        self._data: dict[Pair, list[int]] = {way: [] for way in self._pairs}
        self._queue: dict[str, list[int]] = {node: [] for node in world.nodes}
        self._held: dict[Pair, list[int]] = {way: [] for way in self._pairs}

    async def run(self) -> None:
        """Sample until the end of the scenario."""
        world = self._world
        for at_s in sample_times(
            self._passes, world.scenario.duration_h * 3600, world.scenario.sample_s
        ):
            if at_s > world.now_s():
                await asyncio.sleep(at_s - world.now_s())
            self.sample()

    def sample(self) -> None:
        """Note the state of this moment."""
        world = self._world
        now_s = world.now_s()
        if self._times and self._times[-1] == now_s:
            return
        self._times.append(now_s)
        for source, destination in self._pairs:
            arrived = world.channels[destination, source].counters()["received_bytes"]
            self._on_air[source, destination].append(arrived)
            receiver = world.link(destination, source).engine.counters()
            self._data[source, destination].append(receiver["data_bytes_received"])
            sender = world.link(source, destination)
            room = sender.engine.room(world.loop.now_ns)
            self._held[source, destination].append(sender.config.ltp.queue_bytes - room)
        for node_id, node in world.nodes.items():
            self._queue[node_id].append(node.waiting_bytes)
        if self._watch is not None:
            self._watch(self._moment(now_s))

    def _moment(self, now_s: float) -> Moment:
        now_ns = now_s * SECOND
        up = down = 0
        for way, values in self._on_air.items():
            if way[1] in self._world.sky.satellites:
                up += values[-1]
            else:
                down += values[-1]
        arrived, expected = self._objects()
        return Moment(
            now_s=now_s,
            duration_s=self._world.scenario.duration_h * 3600,
            contacts=tuple(
                f"{short_name(one.station)} - {short_name(one.satellite)}"
                for one in self._passes
                if one.rise_ns <= now_ns < one.set_ns
            ),
            up_bytes=up,
            down_bytes=down,
            queue_bytes=sum(values[-1] for values in self._queue.values()),
            arrived=arrived,
            expected=expected,
        )

    # ---- afterwards ------------------------------------------------------------------------

    def series(self) -> Series:
        """All samples."""
        return Series(
            np.array(self._times),
            {way: np.array(values, np.float64) for way, values in self._on_air.items()},
            {way: np.array(values, np.float64) for way, values in self._data.items()},
            {node: np.array(values, np.float64) for node, values in self._queue.items()},
        )

    def pass_rows(self) -> tuple[PassRow, ...]:
        """Each pass with what went through it."""
        rows = []
        for one in self._passes:
            ways = (one.station, one.satellite), (one.satellite, one.station)
            rows.append(
                PassRow(
                    station=one.station,
                    satellite=one.satellite,
                    rise_s=one.rise_ns / SECOND,
                    set_s=one.set_ns / SECOND,
                    max_elevation_deg=round(one.max_elevation_deg, 3),
                    blackouts=len(one.blackouts_ns),
                    blackout_s=sum(end - start for start, end in one.blackouts_ns) / SECOND,
                    up=self._volume(one, ways[0]),
                    down=self._volume(one, ways[1]),
                )
            )
        return tuple(rows)

    def _volume(self, one: SkyPass, way: Pair) -> Volume:
        windows = [
            window
            for window in self._world.channels[way].channel.config.windows
            if one.rise_ns <= window.start_ns < one.set_ns
        ]
        first = self._place(one.rise_ns / SECOND)
        last = self._place(one.set_ns / SECOND + AFTER_PASS_S)
        held, times = self._held[way], self._times
        wanted = wanted_s = 0.0
        for place in range(first, last):
            part = _capacity(windows, times[place], times[place + 1]) if held[place] > 0 else 0.0
            wanted += part
            wanted_s += times[place + 1] - times[place] if part else 0.0
        on_air, data = self._on_air[way], self._data[way]
        return Volume(
            capacity=_capacity(windows, 0.0, math.inf),
            wanted=wanted,
            wanted_s=wanted_s,
            on_air=on_air[last] - on_air[first],
            data=data[last] - data[first],
        )

    def _place(self, at_s: float) -> int:
        return min(bisect_left(self._times, at_s - 1e-6), len(self._times) - 1)

    def direction_rows(self, passes: tuple[PassRow, ...]) -> tuple[DirectionRow, ...]:
        """Totals of each direction."""
        return tuple(self._direction(way, passes) for way in self._pairs)

    def _direction(self, way: Pair, passes: tuple[PassRow, ...]) -> DirectionRow:
        source, destination = way
        world = self._world
        is_up = destination in world.sky.satellites
        own = [
            one.up if is_up else one.down
            for one in passes
            if {one.station, one.satellite} == {source, destination}
        ]
        sender, receiver = world.link(source, destination), world.link(destination, source)
        sent, received = sender.counters(), receiver.counters()
        air = world.channels[way].channel.counters()
        return DirectionRow(
            source=source,
            destination=destination,
            up=is_up,
            passes=len(own),
            passes_used=sum(volume.on_air > 0 for volume in own),
            capacity=sum(volume.capacity for volume in own),
            capacity_wanted=sum(volume.wanted for volume in own),
            wanted_s=sum(volume.wanted_s for volume in own),
            offered=air["offered_bytes"],
            delivered=air["delivered_bytes"],
            lost=air["lost_bytes"],
            dropped=air["dropped_queue_bytes"] + air["dropped_window_bytes"],
            data_sent=sent["ltp.data_bytes_sent"],
            data_resent=sent["ltp.data_bytes_resent"],
            data_received=received["ltp.data_bytes_received"],
            data_duplicate=received["ltp.data_bytes_duplicate"],
            fec_source_packets=sent.get("fec.tx_source_packets", 0),
            fec_repair_packets=sent.get("fec.tx_repair_packets", 0),
            fec_recovered_packets=received.get("fec.rx_recovered", 0),
            fec_blocks_decoded=received.get("fec.rx_blocks_decoded", 0),
            fec_blocks_lost=sum(
                received.get(f"fec.rx_blocks_{how}", 0)
                for how in ("failed", "unfinished", "evicted")
            ),
            sessions=sent["ltp.export_sessions"],
            sessions_failed=sent["ltp.export_failed"],
            checkpoints_repeated=sent["ltp.checkpoints_repeated"],
        )


def _capacity(windows: Sequence[Window], start_s: float, end_s: float) -> float:
    """Octets that fit into windows between two times."""
    found = 0.0
    for window in windows:
        first_s = max(start_s, window.start_ns / SECOND)
        last_s = min(end_s, window.end_ns / SECOND)
        found += max(0.0, last_s - first_s) * window.rate_bps / 8
    return found


def sample_times(passes: tuple[SkyPass, ...], duration_s: float, step_s: float) -> list[float]:
    """When to look: at the edges of passes, often within, seldom between.  The step
    grows where there would be too many samples."""
    in_view_s = sum((one.set_ns - one.rise_ns) / SECOND for one in passes)
    step_s = max(step_s, in_view_s / SAMPLES_MAX)
    times = {0.0, duration_s}
    times.update(np.arange(0.0, duration_s, max(IDLE_STEP_S, duration_s / SAMPLES_MAX)).tolist())
    for one in passes:
        rise_s, set_s = one.rise_ns / SECOND, one.set_ns / SECOND
        times.update(np.arange(rise_s, set_s, step_s).tolist())
        times.update((set_s, set_s + AFTER_PASS_S))
    return sorted(time for time in times if time <= duration_s)
