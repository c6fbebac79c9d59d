"""What an emulator is told: addresses, channels, schedule, and what befalls TCP."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Annotated, Protocol

from msgspec import Meta

from link_models.channel import ChannelConfig
from link_models.emulator.world import TimeMapping
from stack.core.bounds import DayMs, OctetsOrNone, Share
from stack.core.checks import check, check_bounds
from stack.core.errors import ConfigError
from stack.ports.datagram import RelayPort

Address = tuple[str, int]
SocketAddress = tuple[str, int] | tuple[str, int, int, int]

SEGMENT_BYTES_MAX = 65_535

MEBIBYTE = 1024 * 1024

Repeat = Annotated[float, Meta(ge=0.001, le=86_400_000)]
"""Milliseconds."""


class OpenPort(Protocol):
    """Opens a UDP port: `stack.adapters.udp.open_udp`, or a simulation of it."""

    def __call__(
        self,
        local: Address,
        remote: Address | None = None,
        *,
        repair_port: bool,
        match_port: bool,
        receive_buffer_bytes: int,
        send_buffer_bytes: int,
    ) -> Awaitable[RelayPort]:
        """Raises `ConfigError`."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamFaults:
    """What befalls TCP connections in one direction beside delay, rate and loss; 0 is off."""

    share: Share = 1.0
    """Share of the connections that it befalls, 0 to 1, drawn when one is made."""

    slice_bytes: OctetsOrNone = 0
    """Cut the stream into pieces of this many octets, each written by itself."""

    slice_variation_bytes: OctetsOrNone = 0
    """Each piece is longer or shorter by up to this much, at random."""

    slice_gap_ms: DayMs = 0.0
    """At least this long between two pieces."""

    limit_bytes: OctetsOrNone = 0
    """Close the connection in good order when so many octets have been carried."""

    reset_after_bytes: OctetsOrNone = 0
    """Reset the connection (RST) when so many octets have been carried."""

    reset_after_ms: DayMs = 0.0
    """Reset the connection (RST) so long after it was accepted."""

    timeout_ms: DayMs = 0.0
    """Let nothing through, and close the connection so long after it was accepted."""

    slow_close_ms: DayMs = 0.0
    """Tell of the end of the stream this much later."""

    def __post_init__(self) -> None:
        check_bounds(self)
        fits = not self.slice_variation_bytes or self.slice_variation_bytes < self.slice_bytes
        check("slice_variation_bytes", fits, "must be less than slice_bytes")


@dataclass(frozen=True, kw_only=True, slots=True)
class TcpConfig:
    """How TCP connections cross the link.

    Each is taken here and made anew on the other side, so that two programs with any TCP see the
    link's delay, rate and stalls in their stream.  Octets are never lost: a segment that the link
    loses is sent again, and what comes behind it waits, as TCP would let it.
    """

    segment_bytes: Annotated[int, Meta(ge=1, le=SEGMENT_BYTES_MAX)] = 1448
    """Octets of the stream in a segment: an Ethernet packet of 1500 less the headers of IPv4 and
    TCP with time stamps (20 + 20 + 12, RFC 7323).  Larger is cheaper and coarser."""

    overhead_bytes: Annotated[int, Meta(ge=0, le=SEGMENT_BYTES_MAX)] = 24
    """Octets of a segment's headers beyond the channel's `overhead_bytes`, which are those of a
    datagram: TCP with time stamps has 32 where UDP has 8."""

    buffer_bytes: Annotated[int, Meta(ge=1, le=10**12)] = 16 * MEBIBYTE
    """Octets that one direction of a connection may hold, waiting, under way and not yet taken by
    its receiver; then its sender is not read from.  Too small limits the rate to this much a light
    time."""

    connections_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    """Connections at a time; more are closed as soon as they are made."""

    retransmit_ms: Repeat = 200.0
    """How long after its loss a segment is sent again, at least; a round trip if that is longer.
    Twice as long each further time (RFC 6298 §5.5).  200 ms is Linux's TCP_RTO_MIN."""

    retransmit_max_ms: Repeat = 60_000.0
    """The longest such wait (RFC 6298 §2.5)."""

    handshake: bool = True
    """The connection is made on the far side when its SYN has crossed the link, and nothing is read
    from the near side until the answer has crossed too: a round trip.  False connects at once."""

    def __post_init__(self) -> None:
        check_bounds(self)
        fits = self.segment_bytes <= self.buffer_bytes
        check("buffer_bytes, segment_bytes", fits, "buffer_bytes does not hold segment_bytes")
        fits = self.retransmit_ms <= self.retransmit_max_ms
        check("retransmit_ms, retransmit_max_ms", fits, "retransmit_ms is above retransmit_max_ms")


@dataclass(frozen=True, kw_only=True, slots=True)
class EmulatorConfig:
    """Where the box listens and what its two directions do.

    Times in the channels (windows, delay profiles) are scenario time, see `schedule`.  Raises
    `ConfigError` for what does not fit together.
    """

    listen_a: Address
    """Address of the box on program A's side; port 0 takes any."""

    listen_b: Address
    """Address of the box on program B's side."""

    peer_a: Address | None = None
    """Where program A listens; None learns it from A's first datagram.  Only A's host is checked
    on what arrives, as not every program sends from the port on which it listens.  TCP connections
    made to `listen_b` go here; without it none are taken there."""

    peer_b: Address | None = None
    """Where program B listens, likewise."""

    forward: ChannelConfig = field(default_factory=ChannelConfig)
    """From A to B."""

    backward: ChannelConfig | None = None
    """From B to A; None is like `forward`, with its own luck."""

    udp: bool = True
    """Carry datagrams."""

    repair_port: bool = True
    """Carry the UDP port above each of the four as well."""

    tcp: TcpConfig | None = None
    """Carry TCP connections between the same addresses; None takes none."""

    forward_faults: StreamFaults | None = None
    """What befalls TCP from A to B."""

    backward_faults: StreamFaults | None = None
    """What befalls TCP from B to A."""

    schedule: TimeMapping = field(default_factory=TimeMapping)
    """How scenario time runs."""

    seed: int = 0
    """Of all random decisions."""

    socket_buffer_bytes: int = 32 * MEBIBYTE
    """Asked of the kernel for each UDP socket (which caps it at net.core.rmem_max without
    privileges), so that a busy moment of the machine is not mistaken for the link's loss."""

    memory_bytes: int = 1024 * MEBIBYTE
    """Octets of datagrams under way in one direction; more are dropped and counted as
    `socket_drops`.  A gigabit a second over a quarter of a second is 31 MB."""

    def __post_init__(self) -> None:
        if not (self.udp or self.tcp):
            raise ConfigError("udp", "is off, and so is TCP", "carry one of them")
        if self.tcp and self.peer_a is None and self.peer_b is None:
            raise ConfigError("tcp", "needs to know where to connect to", "set peer_a or peer_b")
