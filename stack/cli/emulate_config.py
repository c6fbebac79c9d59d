"""The configuration of `orbitferry emulate`: a TOML file, or flags that say the same."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stack.core.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from link_models.channel import ChannelConfig, Window
    from link_models.emulator import Address, EmulatorConfig
    from link_models.loss import LossModel

CONFIG_BYTES_MAX: Final = 4 * 1024 * 1024

MILLISECOND_NS: Final = 1e6

UDP_IP_BYTES: Final = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionConfig:
    """One direction of the emulated link."""

    rate_bps: float = 0.0
    """Bits a second, `overhead_bytes` of each datagram included; 0 means no limit."""

    delay_ms: float = 0.0
    """One-way delay: light time and equipment."""

    jitter_ms: float = 0.0
    """Each datagram is delayed by a further 0 to this, in order."""

    loss: float = 0.0
    """Share of datagrams lost, 0 to 1."""

    burst_ms: float = 0.0
    """Mean length of a fade in which everything is lost; 0 loses each datagram by itself."""

    reorder: float = 0.0
    """Share of datagrams that others may overtake."""

    reorder_ms: float = 1.0
    """How much later than in its turn such a datagram arrives at most."""

    duplicate: float = 0.0
    """Share of datagrams that arrive twice."""

    corrupt: float = 0.0
    """Share of datagrams that arrive with wrong bits."""

    queue_bytes: int = 1_000_000
    """Octets that may wait for the transmitter; what comes on top of it is dropped."""

    overhead_bytes: int = UDP_IP_BYTES
    """Octets of lower layers counted with each datagram: UDP and IPv4 headers."""

    windows_s: tuple[tuple[float, float], ...] = ()
    """Contacts, as seconds from the start of the emulator: [[begin, end], ...]; none means that
    the link is always up.  What is sent outside of them is lost."""

    def __post_init__(self) -> None:
        for name in ("loss", "reorder", "duplicate", "corrupt"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(name, f"{getattr(self, name)} is no share", "from 0 to 1")
        for name in ("rate_bps", "delay_ms", "jitter_ms", "burst_ms", "reorder_ms"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(name, f"{getattr(self, name)} is out of range", "0 or more")
        if self.burst_ms and not 0 < self.loss < 1:
            raise ConfigError("burst_ms", "needs a loss between 0 and 1", "set loss too")
        for begin, end in self.windows_s:
            if not begin < end:
                raise ConfigError("windows_s", f"[{begin:g}, {end:g}] is empty", "[begin, end]")

    def channel(self) -> ChannelConfig:
        """The same for the channel.  Raises `ConfigError`."""
        from link_models.channel import ChannelConfig, Delay
        from link_models.loss import no_loss

        return ChannelConfig(
            windows=self._windows(),
            delay=Delay.constant(self.delay_ms * MILLISECOND_NS),
            queue_bytes=self.queue_bytes,
            overhead_bytes=self.overhead_bytes,
            loss=self._loss_model if self.loss else no_loss,
            jitter_ns=round(self.jitter_ms * MILLISECOND_NS),
            reorder_probability=self.reorder,
            reorder_ns_max=round(self.reorder_ms * MILLISECOND_NS),
            duplicate_probability=self.duplicate,
            corrupt_probability=self.corrupt,
        )

    def _windows(self) -> tuple[Window, ...]:
        from link_models.channel import Window, always_up

        rate = self.rate_bps or float("inf")
        if not self.windows_s:
            return always_up(rate)
        return tuple(
            Window(round(begin * 1e9), round(end * 1e9), rate) for begin, end in self.windows_s
        )

    def _loss_model(self, rng: np.random.Generator) -> LossModel:
        from link_models.loss import Bernoulli, GilbertElliott

        if not self.burst_ms:
            return Bernoulli(rng, self.loss)
        bad_s = self.burst_ms / 1e3
        return GilbertElliott(rng, good_s=bad_s * (1 - self.loss) / self.loss, bad_s=bad_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulateConfig:
    """A link in a box between two programs, A and B, that speak UDP."""

    listen_a: str = "127.0.0.1:5001"
    """`address:port` of the box on A's side: where A sends to."""

    listen_b: str = "127.0.0.1:6001"
    """`address:port` of the box on B's side."""

    peer_a: str = ""
    """`address:port` at which A listens; empty learns it from A's first datagram."""

    peer_b: str = ""
    """`address:port` at which B listens, likewise."""

    repair_port: bool = True
    """Carry the port above each of these too: the repair flow of FECFRAME (RFC 6363 §5.2)."""

    seed: int = 0
    """Of all random decisions."""

    forward: DirectionConfig = field(default_factory=DirectionConfig)
    """From A to B."""

    backward: DirectionConfig | None = None
    """From B to A; absent means like `forward`, with its own luck."""

    def emulator(self) -> EmulatorConfig:
        """The same for the emulator.  Raises `ConfigError`."""
        from link_models.emulator import EmulatorConfig

        return EmulatorConfig(
            listen_a=_address("listen_a", self.listen_a),
            listen_b=_address("listen_b", self.listen_b),
            peer_a=_address("peer_a", self.peer_a) if self.peer_a else None,
            peer_b=_address("peer_b", self.peer_b) if self.peer_b else None,
            forward=self.forward.channel(),
            backward=None if self.backward is None else self.backward.channel(),
            repair_port=self.repair_port,
            seed=self.seed,
        )


def _address(key: str, text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(key, f"{text!r} is no address", 'write "127.0.0.1:5001" or "[::1]:5001"')
    return host.strip("[]"), int(port)


def load_emulate_config(path: Path) -> EmulateConfig:
    """Read and check a file.  Raises `ConfigError` that names file and key."""
    try:
        if path.stat().st_size > CONFIG_BYTES_MAX:
            raise ConfigError(str(path), "too large for a configuration", "is it the right file?")
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error), "check the path") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(str(path), f"not TOML: {error}") from None
    try:
        return parse_emulate_config(data)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.key}", error.message, error.remedy) from None


def parse_emulate_config(data: dict[str, Any]) -> EmulateConfig:
    """A configuration from a mapping.  Raises `ConfigError` that names the key."""
    import msgspec

    from stack.node.config import reject_unknown

    reject_unknown(data, EmulateConfig, "")
    where = ""
    try:
        for name in ("forward", "backward"):
            if name in data:
                where = f"{name}."
                msgspec.convert(data[name], DirectionConfig, strict=True)
        where = ""
        return msgspec.convert(data, EmulateConfig, strict=True)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        key = where + place.rstrip("`").lstrip(".")
        raise ConfigError(key.rstrip(".") or "configuration", message) from None
    except ConfigError as error:  # what the values mean together
        raise ConfigError(where + error.key, error.message, error.remedy) from None
