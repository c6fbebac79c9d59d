"""The links of a scenario as they are: values that the simulator, plans and reports share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from link_models.channel import Delay, Window
from link_models.loss.rules import RuleFactory
from link_models.orbit.elements import Satellite
from link_models.orbit.geometry import Floats, Station, look
from link_models.planner import Schedule
from stack.contacts.plan import Plan
from stack.core.clock import MILLISECOND
from stack.simulator.scenario import DirectionConfig

LinkKind = Literal["pass", "crosslink"]

Spans = tuple[tuple[int, int], ...]
"""Periods as (start, end), nanoseconds of the run."""


@dataclass(frozen=True, slots=True)
class SkyPass:
    """A satellite above the mask of a station; nanoseconds of the run."""

    station: str
    satellite: str
    rise_ns: int
    set_ns: int
    max_elevation_deg: float
    planned: bool
    """Whether an antenna was given to it, for a part at least."""

    blackouts_ns: Spans
    """Unannounced interruptions."""


@dataclass(frozen=True, slots=True)
class LinkDirection:
    """One direction of a link."""

    source: str
    destination: str
    config: DirectionConfig
    planned: tuple[Window, ...]
    """What the contact plan promises."""

    windows: tuple[Window, ...]
    """What it really carries; never outside of what is planned, as nobody points there."""

    rules: tuple[RuleFactory, ...]
    """What happens to datagrams on the way."""

    def closed(self) -> Spans:
        """Periods in which there should be a link and there is none: fades."""
        found: list[tuple[int, int]] = []
        for planned in self.planned:
            at_ns = planned.start_ns
            for window in self.windows:
                if window.end_ns <= at_ns or window.start_ns >= planned.end_ns:
                    continue
                if window.start_ns > at_ns:
                    found.append((at_ns, window.start_ns))
                at_ns = window.end_ns
            if at_ns < planned.end_ns:
                found.append((at_ns, planned.end_ns))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class SkyLink:
    """A link between a station and a satellite (in this order), or two satellites."""

    kind: LinkKind
    a: str
    b: str
    forward: LinkDirection
    """From `a` to `b`; of a pass, up."""

    backward: LinkDirection
    delay: Delay
    segment_bytes: int
    blackouts_ns: Spans
    """Unannounced interruptions of both directions."""

    @property
    def name(self) -> str:
        """Both ends."""
        return f"{self.a} {self.b}"


@dataclass(frozen=True, slots=True)
class Sky:
    """Everything about the links that is known before the run."""

    plan: Plan
    """Contacts and ranges, as the nodes are given them: without surprises."""

    schedule: Schedule | None
    """Who serves whom; None where every station serves every satellite."""

    links: tuple[SkyLink, ...]
    """Those of stations and satellites first, then those between satellites."""

    passes: tuple[SkyPass, ...]
    """By time of rise."""

    satellites: dict[str, Satellite]
    stations: dict[str, Station]
    start_ms: int
    dut1_s: float

    @property
    def crosslinks(self) -> list[SkyLink]:
        """Links between satellites."""
        return [link for link in self.links if link.kind == "crosslink"]

    def elevations(self, station: str, satellite: str, times_ns: Floats) -> Floats:
        """Elevations in degrees at times of the run."""
        times_ms = times_ns / MILLISECOND + self.start_ms
        craft, site = self.satellites[satellite], self.stations[station]
        return look(craft, site, times_ms, dut1_s=self.dut1_s).elevation_deg

    def link(self, one: str, other: str) -> SkyLink:
        """The link between two nodes.  Raises `KeyError`."""
        for link in self.links:
            if {link.a, link.b} == {one, other}:
                return link
        raise KeyError(f"{one} - {other}")
