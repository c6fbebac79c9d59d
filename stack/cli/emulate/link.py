"""`orbitferry link`: looking at a running emulator, and changing it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from stack.cli.common import Json, duration, rate, share, size
from stack.cli.output import answer, emit, say
from stack.core.errors import ConfigError
from stack.core.units import count_text, duration_text
from stack.node.control.client import ControlClient
from stack.node.control.protocol import ControlError

HELP = "Look at a running emulator (`orbitferry emulate`), and change it."

DEFAULT_SOCKET: Final = "link.sock"

Socket = Annotated[
    Path,
    typer.Option(
        "--socket",
        "-s",
        envvar="ORBITFERRY_LINK",
        metavar="PATH",
        help="The control socket that the emulator was given.",
    ),
]
Direction = Annotated[
    str, typer.Option("--direction", "-d", metavar="NAME", help="forward, backward or both.")
]

UNITS: Final = {
    "rate": ("rate_bps", rate, 1.0),
    "delay": ("delay_ms", duration, 1e3),
    "jitter": ("jitter_ms", duration, 1e3),
    "loss": ("loss", share, 1.0),
    "burst": ("burst_ms", duration, 1e3),
    "reorder": ("reorder", share, 1.0),
    "duplicate": ("duplicate", share, 1.0),
    "corrupt": ("corrupt", share, 1.0),
    "queue": ("queue_bytes", size, 1),
}
"""Names of `orbitferry emulate`'s options, with units, for keys of a direction's table."""


def status(socket: Socket = Path(DEFAULT_SOCKET), as_json: Json = False) -> None:
    """Show what the link is like now and what it has carried.

    \b
    Examples:
      orbitferry link status
      orbitferry link status --socket /run/link.sock --json
    """
    result = _call(socket, "status")
    if as_json:
        emit(result)
    else:
        _show(result)


def set_(
    changes: Annotated[
        list[str],
        typer.Argument(metavar="KEY=VALUE...", help="As a flag of emulate, or as in its file."),
    ],
    direction: Direction = "both",
    socket: Socket = Path(DEFAULT_SOCKET),
    as_json: Json = False,
) -> None:
    """Set the rate, delay, loss, or any other key of a direction anew.

    What is under way keeps the time that it was given. Keys are those of the options of
    `orbitferry emulate` (rate, delay, jitter, loss, burst, reorder, duplicate, corrupt, queue, with
    units) or of the table `[forward]` in its file (in TOML).

    \b
    Examples:
      orbitferry link set delay=250ms loss=2%
      orbitferry link set rate=64k --direction forward
      orbitferry link set 'disturbances=[{kind="flapping", period_s=60, down_s=5}]'
    """
    values: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise ConfigError("KEY=VALUE", f"{change!r} has no value", "write delay=250ms")
        values |= _value(key.strip(), text.strip())
    result = _call(socket, "set", direction=direction, values=values)
    if not as_json:
        say(f"set: {', '.join(changes)} ({direction})")
    _done(result, as_json)


def up(
    direction: Direction = "both", socket: Socket = Path(DEFAULT_SOCKET), as_json: Json = False
) -> None:
    """Switch the link on again, after `down` or in a blackout.

    \b
    Examples:
      orbitferry link up
    """
    _done(_call(socket, "up", direction=direction, on=True), as_json)


def down(
    direction: Direction = "both", socket: Socket = Path(DEFAULT_SOCKET), as_json: Json = False
) -> None:
    """Switch the link off: datagrams are lost, TCP waits.

    \b
    Examples:
      orbitferry link down
      orbitferry link down --direction backward
    """
    _done(_call(socket, "up", direction=direction, on=False), as_json)


def blackout(
    length: Annotated[
        float, typer.Argument(parser=duration, metavar="DURATION", help="For how long: 30s, 2min.")
    ],
    direction: Direction = "both",
    socket: Socket = Path(DEFAULT_SOCKET),
    as_json: Json = False,
) -> None:
    """Switch the link off for a while.

    \b
    Examples:
      orbitferry link blackout 30s
    """
    _done(_call(socket, "blackout", direction=direction, seconds=length), as_json)


def pause(socket: Socket = Path(DEFAULT_SOCKET), as_json: Json = False) -> None:
    """Let the time of the link stand still: what is under way stays where it is.

    \b
    Examples:
      orbitferry link pause
    """
    _done(_call(socket, "pause", on=True), as_json)


def resume(socket: Socket = Path(DEFAULT_SOCKET), as_json: Json = False) -> None:
    """Let the time of the link go on.

    \b
    Examples:
      orbitferry link resume
    """
    _done(_call(socket, "pause", on=False), as_json)


def clock(
    time: Annotated[
        str | None,
        typer.Argument(metavar="TIME", help="UTC (2026-10-01T12:00:00Z), or seconds from start."),
    ] = None,
    factor: Annotated[
        float | None, typer.Option(metavar="N", help="Scenario seconds in a second.")
    ] = None,
    socket: Socket = Path(DEFAULT_SOCKET),
    as_json: Json = False,
) -> None:
    """Set scenario time, or how fast it runs; without either, show it.

    \b
    Examples:
      orbitferry link clock
      orbitferry link clock 2026-10-01T14:30:00Z --factor 1
      orbitferry link clock 5400
    """
    fields: dict[str, Any] = {"factor": factor}
    if time is not None:
        try:
            fields["scenario_s"] = float(time)
        except ValueError:
            fields["time"] = time
    if as_json:
        emit(_call(socket, "clock", **fields))
    else:
        from stack.cli.emulate.serve import time_line

        say(time_line(_call(socket, "clock", **fields)["link"]))


def capture(
    path: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Begin to write here; without: end.")
    ] = None,
    socket: Socket = Path(DEFAULT_SOCKET),
    as_json: Json = False,
) -> None:
    """Begin or end a capture of what crosses the link, in pcapng for Wireshark.

    \b
    Examples:
      orbitferry link capture pass.pcapng
      orbitferry link capture
    """
    result = _call(socket, "capture", path=None if path is None else str(path.resolve()))
    if as_json:
        emit(result)
    elif path is not None:
        say(f"writing to {path}")
    elif result["capture"] is None:
        say("there was no capture")
    else:
        found = result["capture"]
        trouble = f"; not complete: {found['trouble']}" if found["trouble"] else ""
        say(f"{count_text(found['packets'], 'packet')} in {found['path']}{trouble}")


def refuse(
    again: Annotated[bool, typer.Option("--off", help="Take connections again.")] = False,
    socket: Socket = Path(DEFAULT_SOCKET),
    as_json: Json = False,
) -> None:
    """Have new TCP connections refused.

    \b
    Examples:
      orbitferry link refuse
      orbitferry link refuse --off
    """
    _done(_call(socket, "refuse", on=not again), as_json)


def reset(socket: Socket = Path(DEFAULT_SOCKET), as_json: Json = False) -> None:
    """Reset every TCP connection (RST).

    \b
    Examples:
      orbitferry link reset
    """
    result = _call(socket, "reset")
    answer(result, as_json, f"{count_text(result['reset'], 'connection')} reset")


def stop(socket: Socket = Path(DEFAULT_SOCKET), as_json: Json = False) -> None:
    """Stop the emulator.

    \b
    Examples:
      orbitferry link stop
    """
    result = _call(socket, "stop")
    answer(result, as_json, f"stopped after {duration_text(result['link']['running_s'])}")


COMMANDS: Final = (
    status,
    set_,
    up,
    down,
    blackout,
    pause,
    resume,
    clock,
    capture,
    refuse,
    reset,
    stop,
)


def _value(key: str, text: str) -> dict[str, Any]:
    """A key of a direction's table, and its value."""
    from stack.core import toml

    if key in UNITS and not (key == "loss" and not text):
        name, parse, factor = UNITS[key]
        value = parse(text) * factor
        return {name: 0.0 if value == float("inf") else value}
    try:
        return toml.loads(f"{key} = {text}")
    except ConfigError as error:
        raise ConfigError(key, f"{text!r} is {error.message}", 'quote text: key="value"') from None


def _call(socket: Path, op: str, **fields: Any) -> dict[str, Any]:
    try:
        return ControlClient(socket).call(op, **fields)
    except ControlError as error:
        if error.kind == "not_running":
            raise ControlError(
                "not_running",
                f"no emulator answers at {socket}",
                "start it with `orbitferry emulate --control PATH`, and name PATH with --socket",
            ) from None
        raise


def _done(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(result)
        return
    from stack.cli.emulate.serve import ARROWS, state_text, time_line

    say(time_line(result["link"]))
    for name, arrow in ARROWS.items():
        say(f"{arrow}: {state_text(result['link'][name])}")


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console

    from stack.cli.emulate.serve import screen

    Console().print(screen(result, {}))
