"""What several commands share: options, exit codes, errors, and how a node is found."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Never

import typer

from stack.core.errors import ConfigError, LocalError, OrbitferryError
from stack.core.units import parse_duration, parse_rate, parse_share, parse_size
from stack.node.control.client import ControlClient
from stack.node.control.protocol import Kind
from stack.ports.capture import CAPTURE_BYTES_MIN

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NO_ANSWER: Final = 3
NOT_RUNNING: Final = 4
INTERRUPTED: Final = 130

EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 failed or refused; 2 wrong usage or configuration; 3 no answer in "
    "time; 4 no node is running; 130 interrupted with Ctrl-C."
)
"""Shown by every command's help."""

DEFAULT_CONFIG: Final = "node.toml"
"""Looked for in the current folder when no node is named."""

CONFIG_BYTES_MAX: Final = 4 * 1024 * 1024


class CommandError(OrbitferryError):
    """A command cannot go on: what happened, what to do, and with which code it ends."""

    def __init__(self, message: str, remedy: str = "", code: int = FAILED) -> None:
        super().__init__(message + (f" ({remedy})" if remedy else ""))
        self.message = message
        self.remedy = remedy
        self.code = code


def code_of(kind: Kind) -> int:
    """The exit code for an error that a node reports."""
    match kind:
        case "usage" | "config":
            return USAGE
        case "timeout":
            return NO_ANSWER
        case "not_running":
            return NOT_RUNNING
    return FAILED


def ends_with(code: int) -> Never:
    """End the command with an exit code."""
    raise typer.Exit(code)


class Priority(StrEnum):
    """Which bundles go first where they compete."""

    BULK = "bulk"
    NORMAL = "normal"
    EXPEDITED = "expedited"

    @property
    def level(self) -> int:
        """As it travels."""
        return list(Priority).index(self)


def _parser(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """A parser as typer wants it; it is given defaults too."""

    def parsed(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return parse(value)
        except ConfigError as error:
            raise typer.BadParameter(f"{error.message} ({error.remedy})") from None

    parsed.__name__ = parse.__name__.removeprefix("parse_")
    return parsed


duration = _parser(parse_duration)
rate = _parser(parse_rate)
size = _parser(parse_size)
share = _parser(parse_share)


def quantity(parser: Callable[[Any], Any], words: str, *names: str) -> Any:
    """An option of a kind that one of these parsers reads, which help names after it."""
    return typer.Option(*names, parser=parser, metavar=parser.__name__.upper(), help=words)


class Seconds(float):
    """A default as help shows it: ``30s``."""

    def __new__(cls, text: str) -> Seconds:
        made = super().__new__(cls, parse_duration(text))
        made._text = text
        return made

    def __str__(self) -> str:
        return self._text

    _text: str


class Quantity(float):
    """A default as help shows it, with its unit: ``5 degrees``."""

    def __new__(cls, text: str) -> Quantity:
        made = super().__new__(cls, text.partition(" ")[0])
        made._text = text
        return made

    def __str__(self) -> str:
        return self._text

    _text: str


class OctetCount(int):
    """A default as help shows it: ``1MB``."""

    def __new__(cls, text: str) -> OctetCount:
        made = super().__new__(cls, parse_size(text))
        made._text = text
        return made

    def __str__(self) -> str:
        return self._text

    _text: str


Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing while it runs.")]
Every = Annotated[
    bool, typer.Option("--all", "-a", help="Those that are over too, while remembered.")
]
NodePath = Annotated[
    Path | None,
    typer.Option(
        "--node",
        "-n",
        envvar="ORBITFERRY_NODE",
        metavar="PATH",
        help="The running node: its configuration file, data folder or control socket. "
        f"Default: {DEFAULT_CONFIG} in this folder.",
    ),
]


PcapFile = Annotated[
    Path | None,
    typer.Option(
        "--pcap",
        metavar="FILE",
        help="Write what goes over the links to a pcapng file, for Wireshark and "
        "`orbitferry inspect`.",
    ),
]
PcapLimit = Annotated[
    int,
    quantity(
        size,
        "Octets of that file. With more it becomes the one before (x.1.pcapng of x.pcapng), "
        "and a new one begins.",
        "--pcap-limit",
    ),
]
PcapLinks = Annotated[
    list[str] | None,
    typer.Option("--pcap-link", metavar="NAME", help="Only this link. May be repeated."),
]
PCAP_LIMIT: Final = OctetCount("1GB")


def check_pcap_limit(limit: int) -> None:
    """Raise `ConfigError` for a capture that holds nothing."""
    if limit < CAPTURE_BYTES_MIN:
        raise ConfigError("--pcap-limit", f"{limit} octets hold nothing", "100kB or more")


def _statuses(value: Any) -> Any:
    """Names of statuses in one text, as typer wants it."""
    if not isinstance(value, str):
        return value
    from stack.services.reports import report_flags

    names = [name.strip() for name in value.split(",") if name.strip()]
    try:
        report_flags(names)
    except LocalError as error:
        raise typer.BadParameter(str(error)) from None
    return names


Reports = Annotated[
    Any,
    typer.Option(
        "--report",
        parser=_statuses,
        metavar="STATUS,...",
        help="Ask every node on the way for status reports: received, forwarded, delivered, "
        "deleted. Many nodes send none unless they are configured to.",
    ),
]
ReportTo = Annotated[
    str | None,
    typer.Option("--report-to", metavar="EID", help="Where reports go instead of to this node."),
]
PriorityOption = Annotated[
    Priority,
    typer.Option("--priority", "-p", help="What goes first where traffic competes."),
]


def time_of(text: str | None, key: str) -> int:
    """DTN milliseconds of an ISO time, by default now.  Raises `ConfigError`."""
    from stack.adapters.clock import SystemClock
    from stack.core.clock import dtn_from_iso

    if text is None:
        return SystemClock().dtn_ms()
    try:
        return dtn_from_iso(text)
    except ValueError:
        raise ConfigError(
            key, f"{text!r} is no time", "write it like 2026-10-01T12:00:00Z"
        ) from None


def control_path(node: Path | None) -> Path:
    """The control socket of the node that the user means.  Raises `ConfigError`.

    The rule is that of `NodeConfig.control_path`, without reading the whole configuration.
    """
    if node is None:
        node = Path(DEFAULT_CONFIG)
        if not node.exists():
            raise ConfigError(
                "--node",
                f"there is no {DEFAULT_CONFIG} in this folder, and no node is named",
                "give --node CONFIG, or set ORBITFERRY_NODE",
            )
    try:
        mode = os.stat(node).st_mode
    except OSError as error:
        if node.suffix == ".sock":
            return node
        raise ConfigError(str(node), error.strerror or str(error), "check --node") from None
    if stat.S_ISDIR(mode):
        return node / "control.sock"
    return node if stat.S_ISSOCK(mode) else _configured(node)


def _configured(path: Path) -> Path:
    from stack.core import toml

    data = toml.load(path, dict, what="a configuration", bytes_max=CONFIG_BYTES_MAX)
    base = path.resolve().parent
    control, data_dir = data.get("control", ""), data.get("data_dir")
    if isinstance(control, str) and control:
        return base / control
    if not isinstance(data_dir, str):
        raise ConfigError(
            str(path), "does not say where the node's data is", f"orbitferry config check {path}"
        )
    return base / data_dir / "control.sock"


def client_of(node: Path | None) -> ControlClient:
    """A client of the node that the user means.  Raises `ConfigError`."""
    return ControlClient(control_path(node))
