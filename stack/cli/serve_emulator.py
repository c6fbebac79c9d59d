"""Running the link emulator in this process, and showing what it does."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from link_models.emulator import Emulator
from stack.cli.emulate_config import EmulateConfig
from stack.cli.output import emit, note, say
from stack.cli.signals import stopped_by_signals

if TYPE_CHECKING:
    from rich.table import Table

Statistics = dict[str, dict[str, Any]]

LIVE_S: Final = 1.0
LOG_S: Final = 10.0

COLUMNS: Final = (
    ("offered", "offered_datagrams"),
    ("delivered", "delivered_datagrams"),
    ("lost", "lost_datagrams"),
    ("queue", "dropped_queue_datagrams"),
    ("closed", "dropped_window_datagrams"),
    ("damaged", "corrupted_datagrams"),
)


async def serve_emulator(
    config: EmulateConfig, length_s: float | None, interval_s: float | None, as_json: bool
) -> None:
    """Run the box until a signal or the end of `length_s`.  Raises `ConfigError`."""
    emulator = Emulator(config.emulator())
    stop = asyncio.Event()
    await emulator.start()
    try:
        with stopped_by_signals(stop):
            _announce(emulator, as_json)
            live = sys.stdout.isatty() and not as_json
            period_s = interval_s or (LIVE_S if live or as_json else LOG_S)
            with _Screen() if live else _Lines(as_json) as show:
                await _report(emulator, stop, length_s, period_s, show)
    finally:
        await emulator.close()


async def _report(
    emulator: Emulator,
    stop: asyncio.Event,
    length_s: float | None,
    period_s: float,
    show: Callable[[Statistics], None],
) -> None:
    loop = asyncio.get_running_loop()
    end = None if length_s is None else loop.time() + length_s
    while not stop.is_set():
        wait_s = period_s if end is None else min(period_s, end - loop.time())
        if wait_s <= 0:
            break
        try:
            async with asyncio.timeout(wait_s):
                await stop.wait()
        except TimeoutError:
            pass
        show(emulator.statistics())


def _announce(emulator: Emulator, as_json: bool) -> None:
    a, b = (_text(address) for address in (emulator.address_a, emulator.address_b))
    if as_json:
        emit({"listen_a": a, "listen_b": b})
    else:
        say(f"A sends to {a}, B sends to {b}")


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

    def _show(self, statistics: Statistics) -> None:
        if self._as_json:
            emit(statistics)
            return
        for name, counts in statistics.items():
            if self._last.get(name, {}) == counts:
                continue
            figures = ", ".join(f"{counts[key]} {word}" for word, key in COLUMNS if counts[key])
            note(f"{name}: {figures or 'nothing yet'}")
        self._last = statistics


class _Screen:
    """Statistics that stay in place on a terminal."""

    def __enter__(self) -> Callable[[Statistics], None]:
        from rich.live import Live

        self._live = Live(auto_refresh=False)
        self._live.start()
        return lambda statistics: self._live.update(_table(statistics), refresh=True)

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def _table(statistics: Statistics) -> Table:
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold underline")
    shown.add_column("")
    for word in (*(word for word, _ in COLUMNS), "late p50", "p99"):
        shown.add_column(word, justify="right", no_wrap=True)
    for name, counts in statistics.items():
        shown.add_row(
            "A to B" if name == "forward" else "B to A",
            *(f"{counts[key]:,}" for _, key in COLUMNS),
            f"{counts['delay_error_p50_ms']:.2f} ms",
            f"{counts['delay_error_p99_ms']:.2f} ms",
        )
    return shown
