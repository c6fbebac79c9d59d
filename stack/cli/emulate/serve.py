"""Running the link emulator in this process, and showing what it does."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from link_models.emulator import Emulator
from stack.adapters.udp import open_udp
from stack.cli.emulate.config import EmulateConfig
from stack.cli.emulate.control import Box, refuse_second
from stack.cli.output import emit, note, say, styled
from stack.cli.signals import stopped_by_signals
from stack.core.clock import dtn_to_iso
from stack.core.sansio import no_trace
from stack.core.units import duration_text, rate_text
from stack.node.control.server import ControlServer

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

Statistics = dict[str, Any]

LIVE_S: Final = 1.0
LOG_S: Final = 10.0

COLUMNS: Final = (
    ("offered", "offered_datagrams"),
    ("delivered", "delivered_datagrams"),
    ("lost", "lost_datagrams"),
    ("queue full", "dropped_queue_datagrams"),
    ("no contact", "dropped_window_datagrams"),
    ("link down", "dropped_down_datagrams"),
    ("damaged", "corrupted_datagrams"),
    ("dropped by the box", "socket_drops"),
)
"""Counters that are shown, and what they are called; segments of TCP are counted as datagrams."""

ARROWS: Final = {"forward": "A to B", "backward": "B to A"}


async def serve_emulator(
    config: EmulateConfig, length_s: float | None, interval_s: float | None, as_json: bool
) -> None:
    """Run the box until a signal, a client or the end of `length_s`.  Raises `ConfigError`."""
    if config.control:
        refuse_second(Path(config.control))
    planned = config.plan()
    emulator = Emulator(config.emulator(planned), open_udp)
    stop = asyncio.Event()
    await emulator.start()
    try:
        box = Box(config, planned, emulator, stop)
        if config.capture:
            emulator.start_capture(config.open_capture(Path(config.capture)))
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(stopped_by_signals(stop))
            if config.control:
                control = Path(config.control)
                await stack.enter_async_context(ControlServer(control, box.operations(), no_trace))
            _announce(config, emulator, as_json)
            live = styled(sys.stdout) and not as_json
            period_s = interval_s or (LIVE_S if live or as_json else LOG_S)
            with _Screen() if live else _Lines(as_json) as show:
                await _report(box, length_s, period_s, show)
    finally:
        await emulator.close()


async def _report(
    box: Box, length_s: float | None, period_s: float, show: Callable[[Statistics], None]
) -> None:
    loop = asyncio.get_running_loop()
    end = None if length_s is None else loop.time() + length_s
    while not box.stop.is_set():
        wait_s = period_s if end is None else min(period_s, end - loop.time())
        if wait_s <= 0:
            break
        try:
            async with asyncio.timeout(wait_s):
                await box.stop.wait()
        except TimeoutError:
            pass
        show(box.picture())


def _announce(config: EmulateConfig, emulator: Emulator, as_json: bool) -> None:
    a, b = (_text(address) for address in (emulator.address_a, emulator.address_b))
    if as_json:
        emit({"listen_a": a, "listen_b": b, "control": config.control or None})
        return
    carried = " and ".join(
        word for word, on in (("UDP", config.udp), ("TCP", config.tcp is not None)) if on
    )
    control = f"; control socket {config.control}" if config.control else ""
    say(f"A sends to {a}, B sends to {b} ({carried}){control}")


def _text(address: tuple[Any, ...]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Lines:
    """Statistics for logs and programs."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._last: Statistics = {}

    def __enter__(self) -> Callable[[Statistics], None]:
        return self._show

    def __exit__(self, *_: object) -> None:
        pass

    def _show(self, picture: Statistics) -> None:
        if self._as_json:
            emit(picture)
            return
        for name in (*ARROWS, "tcp"):
            counts = picture.get(name)
            if counts is None or self._last.get(name, {}) == counts:
                continue
            if name == "tcp":
                note(_tcp_line(counts))
                continue
            figures = ", ".join(f"{counts[key]} {word}" for word, key in COLUMNS if counts.get(key))
            note(f"{name}: {figures or 'nothing yet'}")
        self._last = picture


class _Screen:
    """Statistics that stay in place on a terminal."""

    def __init__(self) -> None:
        self._last: Statistics = {}

    def __enter__(self) -> Callable[[Statistics], None]:
        from rich.live import Live

        self._live = Live(auto_refresh=False)
        self._live.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _show(self, picture: Statistics) -> None:
        self._live.update(screen(picture, self._last), refresh=True)
        self._last = picture


def screen(picture: Statistics, last: Statistics) -> Group:
    """What a terminal shows; `last` is the picture before, for the rates."""
    from rich.console import Group
    from rich.text import Text

    lines: list[Text | Table] = [
        Text(time_line(picture["link"]), style="dim"),
        _table(picture, last),
    ]
    if "tcp" in picture:
        lines.append(Text(_tcp_line(picture["tcp"])))
    if picture["link"]["capture"]:
        capture = picture["link"]["capture"]
        lines.append(Text(f"capture: {capture['packets']:,} packets in {capture['path']}"))
    return Group(*lines)


def _table(picture: Statistics, last: Statistics) -> Table:
    """A column for each direction: narrow terminals have room for two."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold underline")
    shown.add_column("")
    rows: dict[str, list[str]] = {}
    for name, arrow in ARROWS.items():
        shown.add_column(arrow, justify="right", no_wrap=True)
        counts, state = picture[name], picture["link"][name]
        rows.setdefault("link", []).append(state_text(state))
        rows.setdefault("throughput", []).append(rate_text(_throughput(name, picture, last)))
        for word, key in COLUMNS:
            if key in counts:
                rows.setdefault(word, []).append(f"{counts[key]:,}")
        if "under_way" in counts:
            rows.setdefault("under way", []).append(f"{counts['under_way']:,}")
            late = (f"{counts[f'delay_error_{share}_ms']:.2f}" for share in ("p50", "p99"))
            rows.setdefault("late, p50 and p99", []).append(" / ".join(late) + " ms")
    for word, cells in rows.items():
        shown.add_row(word, *cells)
    return shown


def state_text(state: Statistics) -> str:
    """What one direction is like now."""
    if not state["up"]:
        return "down"
    return f"{rate_text(state['rate_bps'])}, {duration_text(state['delay_ms'] / 1e3)}"


def _throughput(name: str, picture: Statistics, last: Statistics) -> float:
    if not last:
        return 0.0
    seconds = picture["link"]["running_s"] - last["link"]["running_s"]
    octets = picture[name]["delivered_bytes"] - last[name]["delivered_bytes"]
    return max(0.0, octets * 8 / seconds) if seconds > 0 else 0.0


def time_line(link: Statistics) -> str:
    """How long it has been running, and what time it is in its schedule."""
    words = f"running {duration_text(link['running_s'])}"
    if link["time_ms"] is not None:
        words += f", scenario {dtn_to_iso(link['time_ms'])}"
    elif link["scenario_s"] != link["running_s"]:
        words += f", scenario at {duration_text(link['scenario_s'])}"
    if link["factor"] != 1:
        words += f" ({link['factor']:g} times as fast)"
    return words + (", paused" if link["paused"] else "")


def _tcp_line(counts: Statistics) -> str:
    words = ("open", "accepted", "finished", "reset", "segments_resent", "unreachable", "too_many")
    shown = (f"{counts[word]:,} {word.replace('_', ' ')}" for word in words if counts[word])
    return "tcp: " + (", ".join(shown) or "no connections yet")
