"""One pass in detail."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from link_models.channel import Window
from stack.core.clock import MILLISECOND, SECOND
from stack.core.units import count_text, duration_text
from stack.simulator.loopback.results import PassResult, Result
from stack.simulator.report.plotting import (
    COLOURS,
    DARK,
    RED,
    WIDTH_IN,
    Floats,
    TimeAxis,
    legend,
    picture,
    rate_of,
    scale_of,
    steps,
    style,
)
from stack.simulator.sky import Sky, SkyLink, SkyPass

MARGIN_S = 15.0
"""Shown before and after the pass."""

ON_AIR, BUNDLES = "#7FA5CC", COLOURS[1]


def busiest(passes: tuple[PassResult, ...]) -> int | None:
    """The place of the pass in which most arrived, both ways together; None when nothing did."""

    def arrived(place: int) -> tuple[float, int]:
        return passes[place].up.on_air + passes[place].down.on_air, -place

    return max((place for place, row in enumerate(passes) if row.used), key=arrived, default=None)


class CloseUp:
    """Draws the pass at a place of `Result.passes`."""

    def __init__(self, result: Result, sky: Sky, place: int) -> None:
        self._series = result.series
        self._sky = sky
        self._pass: SkyPass = sky.passes[place]
        one = self._pass
        self._link: SkyLink = sky.link(one.station, one.satellite)
        self._time = TimeAxis(sky.start_ms)
        self._from_s = one.rise_ns / SECOND - MARGIN_S
        self._to_s = one.set_ns / SECOND + MARGIN_S
        times_s = self._series.time_s
        first = int(np.searchsorted(times_s, one.rise_ns / SECOND - 1e-6))
        last = int(np.searchsorted(times_s, self._to_s))
        self._near = slice(first, last)

    def picture(self) -> str:
        """The figure."""
        with style():
            figure = Figure(figsize=(WIDTH_IN, 9.0), layout="constrained")
            geometry, light, rate, up, down = figure.subplots(5, 1, sharex=True)
            self._geometry(geometry, light)
            self._rate(rate)
            self._so_far(up, is_up=True)
            self._so_far(down, is_up=False)
            for axes in (geometry, light, rate, up, down):
                for number, (start, end) in enumerate(self._pass.blackouts_ns):
                    label = None if number else "blackout"
                    axes.axvspan(
                        *self._time.ends(start, end), color=RED, alpha=0.18, lw=0, label=label
                    )
            for axes in (rate, up, down):
                legend(axes)
            self._time.show(down, self._from_s, self._to_s)
            return picture(figure, self._words())

    def _words(self) -> str:
        one = self._pass
        return (
            f"Charts over one pass of {duration_text((one.set_ns - one.rise_ns) / SECOND)}, "
            f"{one.max_elevation_deg:.0f} degrees high: elevation, light time, rate of the uplink, "
            f"what arrived up and down; {count_text(len(one.blackouts_ns), 'blackout')}."
        )

    def _geometry(self, above: Axes, below: Axes) -> None:
        one, link = self._pass, self._link
        times_ns = np.linspace(one.rise_ns, one.set_ns, 300)
        x = self._time.days(times_ns / SECOND)
        elevation = self._sky.elevations(one.station, one.satellite, times_ns)
        above.plot(x, elevation, color=COLOURS[0], label="elevation")
        above.set_ylabel("degrees")
        above.set_ylim(bottom=0)
        above.set_title("Elevation")
        light_ms = np.broadcast_to(link.delay.at(times_ns), times_ns.shape) / MILLISECOND
        below.plot(x, light_ms, color=COLOURS[1], label="light time")
        below.set_ylabel("ms")
        below.set_title("Light time, one way")

    def _rate(self, axes: Axes) -> None:
        """Datagrams on the uplink against the rate of the channel."""
        windows = self._windows(is_up=True)
        times, rates = steps(windows)
        scale, unit = scale_of(float(rates.max(initial=1.0)), "bit/s")
        axes.plot(
            self._time.days(times), rates / scale, color=DARK, lw=1.0, label="rate of the channel"
        )
        series = self._series
        octets = series.on_air[self._direction(is_up=True)][self._near]
        middle, rate = rate_of(series.time_s[self._near], octets)
        x = self._time.days(middle)
        axes.step(x, rate / scale, where="mid", color=ON_AIR, lw=1.2, label="datagrams arrived")
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
        axes.set_title("Uplink: rate (datagrams without UDP and IP headers)")

    def _so_far(self, axes: Axes, *, is_up: bool) -> None:
        """What has arrived in this pass, against what could have where that fits the scale."""
        near, direction = self._near, self._direction(is_up=is_up)
        times_s = self._series.time_s[near]
        x = self._time.days(times_s)
        air, data = (values[direction][near] for values in (self._series.on_air, self._series.data))
        air, data = air - air[0], data - data[0]
        if is_up:
            capacity = _capacity_so_far(self._windows(is_up=True), times_s)
            axes.plot(x, capacity / 1e6, color=DARK, lw=1.0, label="capacity of the channel")
        axes.plot(x, air / 1e6, color=ON_AIR, lw=1.3, label="datagrams arrived")
        axes.plot(x, data / 1e6, color=BUNDLES, lw=1.5, label="bundles, as blocks become whole")
        axes.set_ylabel("MB")
        axes.set_ylim(bottom=0)
        axes.set_title("Uplink so far in this pass" if is_up else "Downlink so far in this pass")

    def _windows(self, *, is_up: bool) -> list[Window]:
        direction = self._link.forward if is_up else self._link.backward
        return [
            w for w in direction.windows if self._pass.rise_ns <= w.start_ns < self._pass.set_ns
        ]

    def _direction(self, *, is_up: bool) -> tuple[str, str]:
        direction = self._link.forward if is_up else self._link.backward
        return direction.source, direction.destination


def _capacity_so_far(windows: list[Window], times_s: Floats) -> Floats:
    """Octets that the windows could have carried by each time."""
    found = np.zeros_like(times_s)
    for window in windows:
        open_s = np.clip(times_s, window.start_ns / SECOND, window.end_ns / SECOND)
        found += (open_s - window.start_ns / SECOND) * window.rate_bps / 8
    return found
