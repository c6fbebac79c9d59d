"""A node's configuration: one TOML file, read once, checked whole before anything is opened."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError
from stack.engines.bundle_agent import AgentConfig
from stack.engines.ltp import LtpConfig
from stack.fec.config import FecConfig
from stack.services.suite import ServicesConfig
from stack.storage.config import StoreConfig

CONFIG_BYTES_MAX = 4 * 1024 * 1024
"""A configuration larger than this is some other file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """One link to one neighbour: BP over LTP, over FECFRAME where configured, over UDP."""

    name: str
    """The link's name in logs and counters; unique in the node."""

    peer: str
    """Node id of the neighbour (`dtn://sat1/` or `ipn:5.0`)."""

    local: str = ""
    """`address:port` to bind. With FEC, the repair flow uses the port after it (RFC 6363 §5.2)."""

    remote: str = ""
    """`address:port` where the peer (or the emulator or modem in between) listens.  Empty: the
    first that sends datagrams is the peer, with just that address; only for closed networks."""

    match_port: bool = False
    """True: only datagrams from exactly `remote` are taken.  False: those from any port of its
    host, since many peers (ION, HDTN) send from another port than they listen on.  Answers go to
    `remote` either way.  Who is at the other end is proven by authentication alone: addresses can
    be forged."""

    trusted: bool = False
    """True: nobody but our own nodes can send on this link, and the priority of what it brings is
    believed, as on any link with LTP authentication.  False: bundles in transit have normal
    priority at most from here on, and none makes a full store let go of another; who has access to
    the link could else do so with one octet."""

    authentication: str = "auto"
    """LTP authentication (RFC 5327): "auto" (on when an `ltp` key of the key file serves the
    peer, or a pair of RSA keys: `docs/trust.md`),
    "on" (the same, and an error without such a key), "off" (for peers that do not know it) or
    "null" (everybody's key: damage is found, forgery is not).  Both ends must agree.  Where
    it is on, segments without a valid authentication value are dropped, whatever they are."""

    cookies: bool = False
    """LTP cookies (RFC 5327): True: every session of this node has a random cookie, which the peer
    has to return, and what comes with another is dropped.  They keep off whoever can send to this
    link and cannot read it, cost 10 octets a segment (18 are reserved), and add nothing to
    authentication.  A peer that does not know them, or has them off, passes them over, and then
    nobody is kept off; a peer of another make that has them on may want them on here, too."""

    scheduled: bool = False
    """True: the link is up only during its contacts in the plan, with their rate and light time.
    False: it is always up, with `rate_bps` and `owlt_ms` as given here.  Routes then count on it
    for ever, unless the plan has the link too, both ways and until the plan's end."""

    rate_bps: float = 0.0
    """Transmission rate of an unscheduled link in bit/s, UDP and IP headers included; 0 means as
    fast as the receiver takes it.  Too large for the real link, and its queue drops datagrams."""

    owlt_ms: float = 0.0
    """One-way light time of an unscheduled link, milliseconds."""

    ltp: LtpConfig
    """LTP parameters (RFC 5326); the engine ids must be given.  `segment_bytes` is what is asked
    for: where the path's MTU is smaller, segments are made to fit it."""

    fec: FecConfig | None = None
    """Erasure coding under LTP (RFC 6363, RFC 6865); absent means none.  Both ends must agree."""

    receive_buffer_bytes: int = 8 * 1024 * 1024
    """Socket receive buffer to ask for.  Too small, and bursts are lost before they are read."""

    fast: bool = True
    """False keeps to the portable asyncio path even where UDP GSO and GRO exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityConfig:
    """BPSec (RFC 9172, RFC 9173) for the applications of this node."""

    key_file: str = ""
    """Path of the key file, which nobody else may read (mode 0600)."""

    protect: str = "all"
    """"all": every bundle made here is encrypted and integrity-protected, and none is accepted
    for delivery without; "none": security is off (only for laboratories, and logged)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSection(StoreConfig):
    """Where bundles wait, and how many of them."""

    kind: str = "sqlite"
    """"sqlite" (durable: acknowledged means on disk) or "memory" (lost with the process; of the
    other settings only the quotas apply)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactsConfig:
    """The contact plan."""

    plan: str = ""
    """Path of a contact plan: ours (.json, .toml), ION (.txt, .ionrc) or HDTN (.json)."""

    reference: str = ""
    """ISO 8601 time that relative times in the plan count from; empty: when the node starts."""

    default: str = ""
    """Node id of the neighbour that takes what the plan knows no way for; empty: it waits."""

    confidence_min: float = 0.0
    """Ways that come about with less likelihood (the product of the confidence of their contacts)
    are not used; 0 to 1.  Too high a limit leaves bundles waiting."""

    confidence_wanted: float = 0.0
    """Below this likelihood a bundle goes over several neighbours at once, as many as make it
    likely enough that one copy arrives; 0 to 1, 0: never.  Every copy costs its volume."""

    def __post_init__(self) -> None:
        for key in ("confidence_min", "confidence_wanted"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"contacts.{key}", f"{getattr(self, key)} is not in 0..1")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """Structured logs: one JSON object a line."""

    file: str = ""
    """Path; empty means standard error."""

    level: str = "info"
    """"debug" (every event), "info" (what an operator wants to know) or "off"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """Everything that a node needs to know."""

    id: str
    """Node id: `dtn://name/` or `ipn:N.0`."""

    data_dir: str
    """Folder of the store, received files and job state; made if absent."""

    agent: AgentConfig = field(default_factory=AgentConfig)
    """Rules of the bundle protocol."""

    store: StoreSection = field(default_factory=StoreSection)
    security: SecurityConfig = field(default_factory=SecurityConfig)
    contacts: ContactsConfig = field(default_factory=ContactsConfig)
    services: ServicesConfig = field(default_factory=ServicesConfig)
    log: LogConfig = field(default_factory=LogConfig)
    links: tuple[LinkConfig, ...] = ()
    control: str = ""
    """Path of the UNIX socket for the command line; empty: `control.sock` in `data_dir`."""

    def __post_init__(self) -> None:
        names = [link.name for link in self.links]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError("links.name", f"{name!r} is used twice", "give each its own name")
        for link in self.links:
            if link.authentication not in ("auto", "on", "off", "null"):
                raise ConfigError(
                    f"links.{link.name}.authentication",
                    f"{link.authentication!r} is unknown",
                    "auto, on, off or null",
                )
        if self.store.kind not in ("sqlite", "memory"):
            raise ConfigError("store.kind", f"{self.store.kind!r} is unknown", "sqlite or memory")
        if self.security.protect not in ("all", "none"):
            raise ConfigError(
                "security.protect", f"{self.security.protect!r} is unknown", "all or none"
            )
        if self.security.protect == "all" and not self.security.key_file:
            raise ConfigError(
                "security.key_file",
                "bundles are protected by default, and no keys are given",
                'make a key file with `orbitferry keys new keys.toml`, or say protect = "none"',
            )

    @property
    def node_id(self) -> Eid:
        """`id` as an endpoint id."""
        return Eid.parse(self.id)

    @property
    def control_path(self) -> Path:
        """Where the command line reaches this node."""
        return Path(self.control) if self.control else Path(self.data_dir) / "control.sock"


def load_config(path: Path) -> NodeConfig:
    """Read and check a configuration file.  Raises `ConfigError` that names key and remedy.

    Relative paths in the file are relative to the file.
    """
    try:
        if path.stat().st_size > CONFIG_BYTES_MAX:
            raise ConfigError(str(path), "too large for a configuration", "is it the right file?")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error), "check the path") from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), "not UTF-8 text", "is it the right file?") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), f"not TOML: {error}") from None
    try:
        return parse_config(data, path.resolve().parent)
    except ConfigError as error:
        line = _line_of(text, error.key)
        where = f"{path}:{line}: {error.key}" if line else f"{path}: {error.key}"
        raise ConfigError(where, error.message, error.remedy) from None


def parse_config(data: Mapping[str, Any], base: Path) -> NodeConfig:
    """A configuration from a mapping; `base` is the folder of its relative paths."""
    data = dict(data)
    node = data.get("id")
    if not isinstance(node, str):
        raise ConfigError("id", "the node id is missing", 'write id = "dtn://name/"')
    _node_id("id", node)
    reject_unknown(data, NodeConfig, "")
    try:
        config = msgspec.convert(data, NodeConfig, strict=True)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        key = where.rstrip("`").lstrip(".") or "configuration"
        if isinstance(error.__cause__, ConfigError):
            cause = error.__cause__
            raise ConfigError(f"{key}.{cause.key}", cause.message, cause.remedy) from None
        raise ConfigError(key, message) from None
    for index, link in enumerate(config.links):
        _node_id(f"links[{index}].peer", link.peer)
    if config.contacts.default:
        _node_id("contacts.default", config.contacts.default)
    return _resolve(config, base)


def _node_id(key: str, text: str) -> Eid:
    try:
        eid = Eid.parse(text)
    except DecodeError as error:
        raise ConfigError(key, str(error), 'a node id is "dtn://name/" or "ipn:5.0"') from None
    if eid != eid.node or eid.is_null:
        raise ConfigError(
            key, f"{text!r} is an endpoint, not a node", f'did you mean "{eid.node}"?'
        )
    return eid


def _resolve(config: NodeConfig, base: Path) -> NodeConfig:
    """Make the paths absolute."""

    def absolute(text: str) -> str:
        return str(base / text) if text else ""

    return dataclasses.replace(
        config,
        data_dir=absolute(config.data_dir),
        control=absolute(config.control),
        security=dataclasses.replace(config.security, key_file=absolute(config.security.key_file)),
        contacts=dataclasses.replace(config.contacts, plan=absolute(config.contacts.plan)),
        log=dataclasses.replace(config.log, file=absolute(config.log.file)),
    )


def reject_unknown(data: Any, kind: Any, key: str) -> None:
    """Raise `ConfigError` for a key that no dataclass field of `kind` has, with the nearest."""
    for member in typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,):
        if dataclasses.is_dataclass(member) and isinstance(data, Mapping):
            hints = typing.get_type_hints(member)
            for name, value in data.items():
                where = f"{key}.{name}" if key else str(name)
                if name not in hints:
                    near = difflib.get_close_matches(str(name), hints, 1)
                    remedy = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(hints)
                    raise ConfigError(where, "unknown key", remedy)
                reject_unknown(value, hints[name], where)
        elif typing.get_origin(member) is tuple and isinstance(data, list):
            for index, value in enumerate(data):
                reject_unknown(value, typing.get_args(member)[0], f"{key}[{index}]")


def _line_of(text: str, key: str) -> int:
    """The line where a key such as `links[1].ltp.rate` most likely stands, or 0."""
    last = key.rsplit(".", 1)[-1].split("[")[0]
    wanted_table = 0
    if "links[" in key:
        wanted_table = int(key.split("links[", 1)[1].split("]")[0]) + 1
    table = 0
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("[[links]]"):
            table += 1
        if wanted_table and table != wanted_table:
            continue
        if stripped.split("=")[0].strip().strip("[]").split(".")[-1] == last:
            return number
    return 0
