"""A node's configuration: one TOML file, read once, checked whole before anything is opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from stack.audit.note import SIGNATURES_MAX
from stack.core import toml
from stack.core.arguments import path_of
from stack.core.bounds import DayMs, RateBps, Share
from stack.core.checks import check_bounds, check_node_id, check_one_of, check_unique
from stack.core.eid import Eid
from stack.core.errors import ConfigError
from stack.engines.bundle_agent import AgentConfig
from stack.engines.ltp import LtpConfig
from stack.fec.config import FecConfig
from stack.ports.capture import CAPTURE_BYTES, CAPTURE_BYTES_MIN
from stack.security.rules import RULES_MAX, PolicyRule
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
    it is on, segments without a valid authentication value are dropped, whatever they are.
    With "auto" a link that has had a key is shut without one, also after a restart, until the node
    has been started with "off" or "null" for it (`docs/keys.md`).
    A member of a domain has no key for a peer of another, also when it becomes known as one while
    the node runs: the link goes on without with "auto"; with "on" the node runs, and nothing
    passes on the link."""

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

    rate_bps: RateBps = 0.0
    """Transmission rate of an unscheduled link in bit/s, UDP and IP headers included; 0 means as
    fast as the receiver takes it.  Too large for the real link, and its queue drops datagrams."""

    owlt_ms: DayMs = 0.0
    """One-way light time of an unscheduled link, milliseconds."""

    ltp: LtpConfig
    """LTP parameters (RFC 5326); the engine ids must be given.  `segment_bytes` is what is asked
    for: where the path's MTU is smaller, segments are made to fit it."""

    fec: FecConfig | None = None
    """Erasure coding under LTP (RFC 6363, RFC 6865); absent means none.  Both ends must agree."""

    receive_buffer_bytes: Annotated[int, Meta(ge=4096, le=1 << 30)] = 8 * 1024 * 1024
    """Socket receive buffer to ask for.  Too small, and bursts are lost before they are read."""

    capture: str = ""
    """Path of a capture of what this link sends and receives, for Wireshark and
    `orbitferry inspect` (pcapng, mode 0600); empty: none.  Links that name the same file share it.
    A full disk ends the capture, never the link."""

    capture_bytes: Annotated[int, Meta(ge=CAPTURE_BYTES_MIN, le=10**15)] = CAPTURE_BYTES
    """Octets of that file: with more it becomes the one before (`pass.1.pcapng`), which is kept,
    and a new one begins.  Of links that share a file the first in the list says it."""

    fast: bool = True
    """False keeps to the portable asyncio path even where UDP GSO and GRO exist."""

    def __post_init__(self) -> None:
        check_bounds(self)
        check_node_id("peer", self.peer)
        check_one_of("authentication", self.authentication, ("auto", "on", "off", "null"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityConfig:
    """BPSec (RFC 9172, RFC 9173) for the applications of this node, and for what passes through.
    Raises `ConfigError` for rules that make no sense."""

    key_file: str = ""
    """Path of the key file, which nobody else may read (mode 0600)."""

    protect: str = "all"
    """"all": every bundle made here is encrypted and authenticated, and none is accepted for
    delivery without; "none": security is off (only for laboratories, and logged)."""

    sign_for: tuple[str, ...] = ()
    """Nodes (shell patterns, `["*"]` for all) to which bundles go with a signature too: a BIB, for
    peers that ask for one; it takes time, and proves nothing more than the encryption does.  What
    arrives is taken with a BIB and without."""

    cose_sign_for: tuple[str, ...] = ()
    """Nodes (shell patterns) to which bundles go signed with this node's own private key (that of
    its identity, or of kind `cose-sign-private` in the key file): the payload for its destination,
    and the label of its data policy, or else the primary block, for everybody on the way
    (`docs/sovereignty.md`)."""

    cose_require_from: tuple[str, ...] = ()
    """Source nodes (shell patterns) whose bundles are delivered or passed on here only with
    signatures that verify with their public keys (of certificates that are believed, or of kind
    `cose-sign-public`)."""

    rules: tuple[PolicyRule, ...] = ()
    """What else is added, verified and accepted here, by flow, block and role (`docs/trust.md`,
    Rules).  Of those that match the first counts."""

    def __post_init__(self) -> None:
        check_one_of("protect", self.protect, ("all", "none"))
        if len(self.rules) > RULES_MAX:
            raise ConfigError("rules", f"more than {RULES_MAX}", "join flows by EID patterns")
        if self.rules and self.protect == "none":
            raise ConfigError(
                "rules", "security is off", 'say protect = "all"', other="security.protect"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityConfig:
    """Who this node is, by certificate (`docs/identity.md`)."""

    folder: str = ""
    """Path of the folder that `orbitferry domain enroll` has made, which nobody else may look into
    (mode 0700).  It takes the place of `policy.directory`, and of all keys in `security.key_file`
    but those of kinds `cose-encrypt-private` and `cose-encrypt-public`."""

    passphrase_file: str = ""
    """Path of a file with the passphrase of the keys in it (mode 0600), if they have one, or with
    the PIN of the token in which they are; empty: the environment variable
    ORBITFERRY_PASSPHRASE, of a token ORBITFERRY_PIN, or the key ring of the operating system."""

    grace_days: Annotated[float, Meta(ge=0, le=365)] = 14.0
    """Revocation lists are believed so many days longer than their next update, as none may come
    through for so long.  After that nothing of their domain is believed any more."""

    keys_from: str = ""
    """Node id of the node that distributes the epochs of the domain (`docs/keys.md`); empty: the
    keys that came with the certificate stay in force."""

    authority: str = ""
    """On that node alone: path of the authority's folder, that of `orbitferry domain init`."""

    epoch_days: Annotated[float, Meta(ge=0.01, le=3650)] = 7.0
    """On that node: an epoch sends for so many days."""

    epoch_overlap_days: Annotated[float, Meta(ge=0, le=3650)] = 7.0
    """On that node: it is accepted for so many more, as bundles under it may be on their way; then
    every node erases it."""

    epoch_lead_days: Annotated[float, Meta(ge=0, le=3650)] = 3.0
    """On that node: each is distributed so many days before it sends, as a node may be out of reach
    for so long.  What is under an epoch that a node has not got yet waits there until it comes."""

    epoch_revoked_hours: Annotated[float, Meta(ge=0, le=8760)] = 1.0
    """On that node: after a revocation the epochs that the node had are accepted for so long."""

    def __post_init__(self) -> None:
        """Raises `ConfigError` for times that do not go together."""
        check_bounds(self)
        if self.keys_from:
            check_node_id("keys_from", self.keys_from)
        if self.epoch_overlap_days + self.epoch_lead_days > 6 * self.epoch_days:
            raise ConfigError(
                "epoch_days",
                "too many epochs would be in force at a time",
                "epoch_overlap_days and epoch_lead_days together are 6 times as long at most",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSection(StoreConfig):
    """Where bundles wait, and how many of them."""

    kind: str = "sqlite"
    """"sqlite" (durable: acknowledged means on disk) or "memory" (lost with the process; of the
    other settings only the quotas apply)."""

    reserved_share: Share = 0.6
    """Part of the quotas that nobody takes from others: a third of it is kept for this node's own,
    and the rest in equal parts for each neighbour on a link that is neither authenticated nor
    trusted.  What such a link brings beyond its own part and what is in nobody's is refused, and
    waits at its sender.  0: whoever comes first may fill the store (`docs/trust.md`)."""

    def __post_init__(self) -> None:
        StoreConfig.__post_init__(self)
        check_one_of("kind", self.kind, ("sqlite", "memory"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactsConfig:
    """The contact plan."""

    plan: str = ""
    """Path of a contact plan: ours (.json, .toml), ION (.txt, .ionrc) or HDTN (.json)."""

    reference: str = ""
    """ISO 8601 time that relative times in the plan count from; empty: when the node starts."""

    default: str = ""
    """Node id of the neighbour that takes what the plan knows no way for; empty: it waits."""

    confidence_min: Share = 0.0
    """Ways that come about with less likelihood (the product of the confidence of their contacts)
    are not used; 0 to 1.  Too high a limit leaves bundles waiting."""

    confidence_wanted: Share = 0.0
    """Below this likelihood a bundle goes over several neighbours at once, as many as make it
    likely enough that one copy arrives; 0 to 1, 0: never.  Every copy costs its volume."""

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.default:
            check_node_id("default", self.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """Data policies (`docs/sovereignty.md`)."""

    directory: str = ""
    """Path of the directory of nodes: whose they are, and under whose law.  Without it nothing
    that has a data policy is sent, taken in, passed on or delivered.  `orbitferry policy reload`
    has a running node read it anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """The log of what happens here to data (`docs/audit.md`)."""

    events: str = "policy"
    """Of which bundles: "policy" (those whose data policy says `audit = true`), "all", or "none".
    Each event takes some 200 octets of disk; what it takes of time is in `docs/audit.md`."""

    checkpoint_s: Annotated[float, Meta(ge=0.01, le=86_400)] = 60.0
    """Seconds at most from an event to the checkpoint, signed by this node, that closes the log
    over it.  What was not closed yet can be altered by whoever holds this node, and nobody sees."""

    witnesses: tuple[str, ...] = ()
    """Node ids of those who are asked to cosign each checkpoint, which shows a node that tells one
    story here and another one there.  They say `witness = true`.  At most 63: each signs once under
    a checkpoint, which has 64 signatures at most."""

    witness: bool = False
    """Whether this node cosigns the checkpoints of others: who can send it bundles may have 16 logs
    remembered here, of 4,096 in all."""

    keep_events: Annotated[int, Meta(ge=1000, le=10**9)] = 1_000_000
    """Events that stay in the store; older ones that a checkpoint covers go.  Export them before
    (`orbitferry audit export`): without them nothing can be told of what they were about."""

    def __post_init__(self) -> None:
        """Raises `ConfigError` for more witnesses than can sign."""
        check_bounds(self)
        check_one_of("events", self.events, ("policy", "all", "none"))
        for number, name in enumerate(self.witnesses):
            check_node_id(f"witnesses[{number}]", name)
        check_unique((f"witnesses[{n}]", name) for n, name in enumerate(self.witnesses))
        if len(self.witnesses) >= SIGNATURES_MAX:
            raise ConfigError("witnesses", f"{len(self.witnesses)} of them", "name 63 at most")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """Structured logs: one JSON object a line."""

    file: str = ""
    """Path; empty means standard error."""

    level: str = "auto"
    """"debug" (every event), "info" (what an operator wants to know), "off", or "auto": "info" for
    `orbitferry node` and where `file` is given, "off" for a node in a program of one's own.  Of one
    kind of event "info" shows 1,000 in ten minutes, and says how many more there were: a neighbour
    that sends what is refused fills no disk by that."""

    def __post_init__(self) -> None:
        check_one_of("level", self.level, ("auto", "debug", "info", "off"))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """Everything that a node needs to know.  Raises `ConfigError` for what does not fit
    together."""

    id: str
    """Node id: `dtn://name/` or `ipn:N.0`."""

    data_dir: str
    """Folder of the store, received files and job state; made if absent."""

    agent: AgentConfig = field(default_factory=AgentConfig)
    """Rules of the bundle protocol."""

    store: StoreSection = field(default_factory=StoreSection)
    security: SecurityConfig = field(default_factory=SecurityConfig)
    identity: IdentityConfig = field(default_factory=IdentityConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    contacts: ContactsConfig = field(default_factory=ContactsConfig)
    services: ServicesConfig = field(default_factory=ServicesConfig)
    log: LogConfig = field(default_factory=LogConfig)
    links: tuple[LinkConfig, ...] = ()
    control: str = ""
    """Path of the UNIX socket for the command line; empty: `control.sock` in `data_dir`."""

    def __post_init__(self) -> None:
        check_node_id("id", self.id)
        check_unique((f"links[{n}].name", link.name) for n, link in enumerate(self.links))
        if self.identity.folder and self.policy.directory:
            key = "policy.directory"
            raise ConfigError("identity.folder", "takes its place", f"remove {key}", other=key)
        for number, tunnel in enumerate(self.agent.tunnels):
            key = f"agent.tunnels[{number}].gateway"
            if tunnel.gateway == self.id:
                raise ConfigError(key, "is this node", "name the node at the other end")
            if self.security.protect == "none":
                message = "a tunnel shows everything where security is off"
                raise ConfigError(key, message, 'say protect = "all"', other="security.protect")
        keys = self.security.key_file or self.identity.folder
        if self.security.protect == "all" and not keys:
            raise ConfigError(
                "security.key_file",
                "bundles are protected by default, and no keys are given",
                "take the node into a domain (`orbitferry domain enroll`, [identity] folder), make "
                'a key file with `orbitferry keys new keys.toml`, or say protect = "none"',
            )

    @property
    def node_id(self) -> Eid:
        """`id` as an endpoint id."""
        return Eid.parse(self.id)

    @property
    def control_path(self) -> Path:
        """Where the command line reaches this node."""
        return Path(self.control) if self.control else Path(self.data_dir) / "control.sock"


def load_config(path: str | Path) -> NodeConfig:
    """Read and check a configuration file.  Raises `ConfigError` that names file, line, key and
    remedy.

    Relative paths in the file are relative to the file.
    """
    path = path_of("path", path)
    base = path.resolve().parent
    return toml.load(
        path,
        lambda data: parse_config(data, base),
        what="a configuration",
        bytes_max=CONFIG_BYTES_MAX,
    )


def parse_config(data: Mapping[str, Any], base: Path) -> NodeConfig:
    """A configuration from a mapping; `base` is the folder of its relative paths."""
    return _resolve(toml.convert(dict(data), NodeConfig), base)


def _resolve(config: NodeConfig, base: Path) -> NodeConfig:
    """Make the paths absolute."""

    def absolute(text: str) -> str:
        return str(base / text) if text else ""

    return dataclasses.replace(
        config,
        data_dir=absolute(config.data_dir),
        control=absolute(config.control),
        security=dataclasses.replace(config.security, key_file=absolute(config.security.key_file)),
        identity=dataclasses.replace(
            config.identity,
            folder=absolute(config.identity.folder),
            passphrase_file=absolute(config.identity.passphrase_file),
            authority=absolute(config.identity.authority),
        ),
        policy=dataclasses.replace(config.policy, directory=absolute(config.policy.directory)),
        contacts=dataclasses.replace(config.contacts, plan=absolute(config.contacts.plan)),
        log=dataclasses.replace(config.log, file=absolute(config.log.file)),
        links=tuple(
            dataclasses.replace(link, capture=absolute(link.capture)) for link in config.links
        ),
    )
