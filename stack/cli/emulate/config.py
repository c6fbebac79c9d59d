"""The configuration of `orbitferry emulate`: a TOML file, or flags that say the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

from link_models.channel import ChannelConfig, Delay, Window, always_up
from link_models.disturbances.config import Disturbance, StationPlace, build_rules
from link_models.emulator import (
    Address,
    DirectionName,
    EmulatorConfig,
    LinkPlan,
    StreamFaults,
    TcpConfig,
    TimeMapping,
    link_between,
)
from link_models.emulator.world import FACTOR_MAX, FACTOR_MIN
from link_models.loss import Bernoulli, GilbertElliott, LossModel, no_loss
from link_models.loss.rules import RuleFactory
from stack.adapters.capture import CaptureFile
from stack.cli.plan.source import load_source
from stack.contacts.plan import Plan
from stack.core import toml
from stack.core.bounds import DayMs, Latitude, Longitude, RateBps, Share
from stack.core.checks import check_bounds, check_range
from stack.core.clock import MILLISECOND, SECOND, dtn_from_iso
from stack.core.errors import ConfigError
from stack.core.limits import IPV4_UDP_BYTES
from stack.ports.capture import CAPTURE_BYTES, CAPTURE_BYTES_MIN

CONFIG_BYTES_MAX: Final = 4 * 1024 * 1024

SCENARIO_S_MAX: Final = 1e9
"""Scenario time at most, some 30 years."""

ScenarioS = Annotated[float, Meta(ge=-SCENARIO_S_MAX, le=SCENARIO_S_MAX)]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedDirectionConfig:
    """One direction of the emulated link."""

    rate_bps: RateBps = 0.0
    """Bits a second, `overhead_bytes` of each datagram included; 0 means no limit, or what the
    contact plan says."""

    delay_ms: DayMs = 0.0
    """One-way delay: light time and equipment.  With a contact plan it is added to the plan's
    light time."""

    jitter_ms: DayMs = 0.0
    """Each datagram is delayed by a further 0 to this, in order."""

    loss: Share = 0.0
    """Share of datagrams lost, 0 to 1.  On TCP a loss is a stall."""

    burst_ms: DayMs = 0.0
    """Mean length of a fade in which everything is lost; 0 loses each datagram by itself."""

    reorder: Share = 0.0
    """Share of datagrams that others may overtake."""

    reorder_ms: DayMs = 1.0
    """How much later than in its turn such a datagram arrives at most."""

    duplicate: Share = 0.0
    """Share of datagrams that arrive twice."""

    corrupt: Share = 0.0
    """Share of datagrams that arrive with wrong bits."""

    queue_bytes: Annotated[int, Meta(ge=0, le=10**12)] = 1_000_000
    """Octets that may wait for the transmitter; what comes on top of it is dropped.  TCP is not
    read from instead."""

    queue_ms: DayMs = 0.0
    """Longest wait for the transmitter; what would wait longer is dropped.  0: no limit but
    `queue_bytes`."""

    overhead_bytes: Annotated[int, Meta(ge=0, le=65535)] = IPV4_UDP_BYTES
    """Octets of lower layers counted with each datagram: UDP and IPv4 headers."""

    cell_bytes: Annotated[int, Meta(ge=0, le=65535)] = 0
    """The link carries whole cells with so many octets of payload each (ATM: 48); 0: octets."""

    cell_overhead_bytes: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Octets of overhead of each cell (ATM: 5)."""

    coalesce_ms: DayMs = 0.5
    """Datagrams that arrive within this time of each other are handed over together, when the last
    of them arrives.  The default is below what a busy machine delays them anyway and makes fast
    links three times cheaper; 0 gives each datagram its own time."""

    windows_s: tuple[tuple[ScenarioS, ScenarioS], ...] = ()
    """Contacts, as seconds of scenario time: [[begin, end], ...]; none means that the link is
    always up.  Datagrams that are sent outside of them are lost, TCP waits."""

    disturbances: tuple[Disturbance, ...] = ()
    """Everything else that happens to datagrams (`[[forward.disturbances]]`), by `kind`: see
    `docs/link-channel.md`.  Their times are scenario time."""

    tcp: StreamFaults | None = None
    """What befalls TCP connections in this direction."""

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.burst_ms and not 0 < self.loss < 1:
            raise ConfigError("burst_ms", "needs a loss between 0 and 1", "set loss too")
        for begin, end in self.windows_s:
            if not begin < end:
                raise ConfigError("windows_s", f"[{begin:g}, {end:g}] is empty", "[begin, end]")
            for edge in (begin, end):
                check_range("windows_s", edge, -SCENARIO_S_MAX, SCENARIO_S_MAX)

    def channel(
        self, planned: LinkPlan | None = None, rules: tuple[RuleFactory, ...] = ()
    ) -> ChannelConfig:
        """The same for the channel; `planned` is what a contact plan says, `rules` are those of
        its disturbances.  Raises `ConfigError`."""
        return ChannelConfig(
            windows=self._windows(planned),
            delay=Delay.constant(self.delay_ms * MILLISECOND) if planned is None else planned.delay,
            queue_bytes=self.queue_bytes,
            queue_ns=round(self.queue_ms * MILLISECOND) if self.queue_ms else None,
            overhead_bytes=self.overhead_bytes,
            cell_bytes=self.cell_bytes,
            cell_overhead_bytes=self.cell_overhead_bytes,
            loss=self._loss_model if self.loss else no_loss,
            jitter_ns=round(self.jitter_ms * MILLISECOND),
            reorder_probability=self.reorder,
            reorder_ns_max=round(self.reorder_ms * MILLISECOND),
            duplicate_probability=self.duplicate,
            corrupt_probability=self.corrupt,
            rules=rules,
            coalesce_ns=round(self.coalesce_ms * MILLISECOND),
        )

    def _windows(self, planned: LinkPlan | None) -> tuple[Window, ...]:
        rate = self.rate_bps or math.inf
        if planned is not None:
            if not self.rate_bps:
                return planned.windows
            return tuple(window._replace(rate_bps=rate) for window in planned.windows)
        if not self.windows_s:
            return always_up(rate)
        return tuple(
            Window(round(begin * SECOND), round(end * SECOND), rate)
            for begin, end in self.windows_s
        )

    def _loss_model(self, rng: np.random.Generator) -> LossModel:
        if not self.burst_ms:
            return Bernoulli(rng, self.loss)
        bad_s = self.burst_ms / 1e3
        return GilbertElliott(rng, good_s=bad_s * (1 - self.loss) / self.loss, bad_s=bad_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeConfig:
    """Where in its schedule the link is: scenario time, in seconds from `start`."""

    plan: str = ""
    """A contact plan in any format that `orbitferry plan` reads, or a scenario: the contacts and
    light times between `a` and `b`.  Empty: the link is up as `windows_s` says."""

    a: str = ""
    """The plan's node on A's side, such as `dtn://gs1/`."""

    b: str = ""
    """The plan's node on B's side."""

    start: str = ""
    """UTC at which the emulator starts, such as `2026-10-01T12:00:00Z`: second 0 of scenario time.
    Empty: the begin of the plan's first contact between `a` and `b`."""

    offset_s: Annotated[float, Meta(ge=0, le=SCENARIO_S_MAX)] = 0.0
    """Scenario time when the emulator starts, if that is not 0."""

    factor: Annotated[float, Meta(ge=FACTOR_MIN, le=FACTOR_MAX)] = 1.0
    """Scenario seconds in a second: 60 shows an hour of passes in a minute, 0.1 is slow motion.
    What gets faster is the schedule: contacts, the course of the light time, whatever has a time in
    a disturbance.  Rates, queues and light times stay as they are."""

    loop_s: Annotated[float, Meta(ge=0, le=SCENARIO_S_MAX)] = 0.0
    """Begin again at `offset_s` after so many seconds of scenario time; 0 never does."""

    scale_delay: bool = False
    """Divide light times by `factor` too."""

    def __post_init__(self) -> None:
        if self.plan and not (self.a and self.b):
            raise ConfigError("a, b", "are needed with a plan", "name the nodes at both ends")
        check_bounds(self)
        if self.start:
            _time("start", self.start)
        self.schedule()

    def schedule(self) -> TimeMapping:
        """The same for the emulator.  Raises `ConfigError`."""
        return TimeMapping(
            start_ns=round(self.offset_s * SECOND),
            factor=self.factor,
            loop_ns=round(self.loop_s * SECOND),
            scale_delay=self.scale_delay,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StationConfig:
    """Where a station stands."""

    latitude_deg: Latitude
    """North of the equator."""

    longitude_deg: Longitude
    """East of Greenwich."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, slots=True)
class Planned:
    """What a contact plan says of both directions."""

    plan: Plan
    ends: tuple[str, str]
    """The nodes at A and B."""

    zero_ms: int
    """DTN time of second 0 of scenario time."""

    def link(self, name: DirectionName, more_ms: float) -> LinkPlan:
        """One direction, with the delay of its equipment.  Raises `ConfigError`."""
        source, destination = self.ends if name == "forward" else self.ends[::-1]
        more_ns = more_ms * MILLISECOND
        return link_between(self.plan, source, destination, self.zero_ms, more_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulateConfig:
    """A link in a box between two programs, A and B, that speak UDP or TCP."""

    listen_a: str = "127.0.0.1:5001"
    """`address:port` of the box on A's side: where A sends to."""

    listen_b: str = "127.0.0.1:6001"
    """`address:port` of the box on B's side."""

    peer_a: str = ""
    """`address:port` at which A listens; empty learns it from A's first datagram.  TCP connections
    to `listen_b` go here; without it there are none."""

    peer_b: str = ""
    """`address:port` at which B listens, likewise; TCP connections to `listen_a` go here."""

    udp: bool = True
    """Carry datagrams."""

    repair_port: bool = True
    """Carry the UDP port above each of these too: the repair flow of FECFRAME (RFC 6363 §5.2)."""

    seed: int = 0
    """Of all random decisions."""

    control: str = ""
    """Path of a control socket for `orbitferry link`, relative to this file; empty: none."""

    capture: str = ""
    """Path of a pcapng file of everything that crosses the link, relative to this file; empty:
    none (`docs/how-to-inspect.md`)."""

    capture_bytes: Annotated[int, Meta(ge=CAPTURE_BYTES_MIN, le=10**15)] = CAPTURE_BYTES
    """Octets of that file: with more it becomes the one before (`pass.1.pcapng`), which is kept,
    and a new one begins."""

    capture_keys: str = ""
    """Path of a TLS key log (SSLKEYLOGFILE) that one of the programs writes, relative to this file:
    its keys go into the capture, which then tells what was encrypted; empty: none."""

    forward: EmulatedDirectionConfig = field(default_factory=EmulatedDirectionConfig)
    """From A to B."""

    backward: EmulatedDirectionConfig | None = None
    """From B to A; absent means like `forward`, with its own luck."""

    tcp: TcpConfig | None = None
    """Carry TCP connections between the same addresses; absent takes none."""

    time: TimeConfig = field(default_factory=TimeConfig)
    """Scenario time."""

    disturbances: tuple[Disturbance, ...] = ()
    """What happens to datagrams in both directions (`[[disturbances]]`): those of each direction
    come on top of it.  Outages, slots and weather are the same for both."""

    station: StationConfig | None = None
    """Where the station stands, for disturbances that are weather."""

    folder: str = ""
    """Where files of disturbances are looked for, relative to this file.  Empty: where it is."""

    def emulator(self, planned: Planned | None = None) -> EmulatorConfig:
        """The same for the emulator; `planned` is what `plan` has read.  Raises `ConfigError`."""
        backward = self.direction("backward")
        return EmulatorConfig(
            listen_a=_address("listen_a", self.listen_a),
            listen_b=_address("listen_b", self.listen_b),
            peer_a=_address("peer_a", self.peer_a) if self.peer_a else None,
            peer_b=_address("peer_b", self.peer_b) if self.peer_b else None,
            forward=self.channel("forward", planned),
            backward=self.channel("backward", planned),
            udp=self.udp,
            repair_port=self.repair_port,
            tcp=self.tcp,
            forward_faults=self.forward.tcp,
            backward_faults=backward.tcp,
            schedule=self.time.schedule(),
            seed=self.seed,
        )

    def direction(self, name: DirectionName) -> EmulatedDirectionConfig:
        """One direction; B to A is like A to B unless it says otherwise."""
        return self.forward if name == "forward" else self.backward or self.forward

    def channel(self, name: DirectionName, planned: Planned | None) -> ChannelConfig:
        """The channel of one direction.  Raises `ConfigError`."""
        direction = self.direction(name)
        if planned is not None and direction.windows_s:
            raise ConfigError(f"{name}.windows_s", "stands beside a plan", "leave one of them out")
        link = None if planned is None else planned.link(name, direction.delay_ms)
        place = None
        if self.station is not None:
            place = StationPlace(self.station.latitude_deg, self.station.longitude_deg)
        rules = build_rules(
            self.disturbances + direction.disturbances,
            scope="link",
            place=place,
            folder=Path(self.folder),
        )
        return direction.channel(link, rules)

    def open_capture(self, path: Path) -> CaptureFile:
        """Begin a capture at `path`.  Raises `ConfigError`."""
        keys = Path(self.capture_keys) if self.capture_keys else None
        return CaptureFile(path, limit_bytes=self.capture_bytes, key_log=keys)

    def plan(self) -> Planned | None:
        """Read the contact plan, if there is one.  Raises `ConfigError`."""
        time = self.time
        if not time.plan:
            return None
        plan = load_source(Path(time.plan), time.start or None).plan
        if time.start:
            zero_ms = _time("start", time.start)
        else:
            contacts = plan.between(time.a, time.b) + plan.between(time.b, time.a)
            zero_ms = min((one.start_ms for one in contacts), default=0)
        return Planned(plan, (time.a, time.b), zero_ms)


def _time(key: str, text: str) -> int:
    try:
        return dtn_from_iso(text)
    except ValueError:
        raise ConfigError(key, f"{text!r} is no time", "2026-10-01T12:00:00Z") from None


def _address(key: str, text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(key, f"{text!r} is no address", 'write "127.0.0.1:5001" or "[::1]:5001"')
    return host.strip("[]"), int(port)


def load_emulate_config(path: Path) -> EmulateConfig:
    """Read and check a file; relative paths in it count from where it is.  Raises `ConfigError`
    that names file, line and key."""
    config = toml.load(
        path, parse_emulate_config, what="a configuration", bytes_max=CONFIG_BYTES_MAX
    )
    base = path.resolve().parent
    return replace(
        config,
        folder=str(base / config.folder),
        control=str(base / config.control) if config.control else "",
        capture=str(base / config.capture) if config.capture else "",
        capture_keys=str(base / config.capture_keys) if config.capture_keys else "",
        time=replace(config.time, plan=str(base / config.time.plan) if config.time.plan else ""),
    )


def parse_emulate_config(data: dict[str, Any]) -> EmulateConfig:
    """A configuration from a mapping.  Raises `ConfigError` that names the key."""
    return toml.convert(data, EmulateConfig)


def changed(config: EmulatedDirectionConfig, changes: dict[str, Any]) -> EmulatedDirectionConfig:
    """A direction with some keys set anew.  Raises `ConfigError` that names the key."""
    return toml.convert(msgspec.to_builtins(config) | changes, EmulatedDirectionConfig)
