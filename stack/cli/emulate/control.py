"""What can be asked of a running emulator over its control socket (see `stack.node.control`)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from link_models.emulator import DirectionName, Emulator
from stack.cli.emulate.config import EmulateConfig, Planned, changed
from stack.core.clock import SECOND, dtn_from_iso
from stack.core.errors import ConfigError
from stack.node.control.client import is_running
from stack.node.control.protocol import ControlError
from stack.node.control.request import DECADE_S, Operation, Request, Session, wrong

BOTH: Final[tuple[DirectionName, ...]] = ("forward", "backward")


def refuse_second(path: Path) -> None:
    """Raise `ConfigError` when somebody serves the control socket at `path` already."""
    try:
        running = is_running(path)
    except ControlError as error:
        raise ConfigError("control", error.message, error.remedy) from None
    if running:
        raise ConfigError(
            "control",
            f"somebody serves {path} already",
            "stop it with `orbitferry link stop`, or give this one another path",
        )


class Box:
    """A running emulator, its configuration as it is now, and its operations."""

    def __init__(
        self,
        config: EmulateConfig,
        planned: Planned | None,
        emulator: Emulator,
        stop: asyncio.Event,
    ) -> None:
        self.stop = stop
        self._config = config
        self._planned = planned
        self._emulator = emulator

    def operations(self) -> Mapping[str, Operation]:
        """By name."""
        return {
            "status": self.status,
            "set": self.set,
            "up": self.up,
            "blackout": self.blackout,
            "pause": self.pause,
            "clock": self.clock,
            "capture": self.capture,
            "refuse": self.refuse,
            "reset": self.reset,
            "stop": self.end,
        }

    def picture(self) -> dict[str, Any]:
        """Statistics by direction, those of TCP, and under `link` what the link is like now."""
        link = self._emulator.state()
        zero_ms = None if self._planned is None else self._planned.zero_ms
        if self._config.time.start:
            zero_ms = dtn_from_iso(self._config.time.start)
        link["time_ms"] = None if zero_ms is None else zero_ms + round(link["scenario_s"] * 1000)
        return {**self._emulator.statistics(), "link": link}

    async def status(self, request: Request, session: Session) -> dict[str, Any]:
        """The statistics and the state."""
        request.finish()
        return self.picture() | {"pid": os.getpid()}

    async def set(self, request: Request, session: Session) -> dict[str, Any]:
        """Set keys of a direction's table anew: `values`, by name."""
        names = _directions(request)
        values = request.table("values")
        request.finish()
        configs = {name: changed(self._config.direction(name), values) for name in names}
        # Everything is checked before anything is changed.
        config = self._config
        for name, direction in configs.items():
            if name == "forward":
                # What B to A had taken from A to B stays with it.
                config = replace(config, forward=direction, backward=config.direction("backward"))
            else:
                config = replace(config, backward=direction)
        channels = {name: config.channel(name, self._planned) for name in names}
        self._config = config
        for name, channel in channels.items():
            self._emulator.configure(name, channel, config.direction(name).tcp)
        return self.picture()

    async def up(self, request: Request, session: Session) -> dict[str, Any]:
        """Switch the link on or off."""
        names, on = _directions(request), request.flag("on", True)
        request.finish()
        for name in names:
            self._emulator.set_up(on, name)
        return self.picture()

    async def blackout(self, request: Request, session: Session) -> dict[str, Any]:
        """Switch it off for a while."""
        names, seconds = _directions(request), request.number("seconds", 0.0, 0.0, DECADE_S)
        request.finish()
        for name in names:
            self._emulator.blackout(seconds, name)
        return self.picture()

    async def pause(self, request: Request, session: Session) -> dict[str, Any]:
        """Let time stand still, or go on."""
        on = request.flag("on", True)
        request.finish()
        if on:
            self._emulator.pause()
        else:
            self._emulator.resume()
        return self.picture()

    async def clock(self, request: Request, session: Session) -> dict[str, Any]:
        """Set scenario time (`time`, UTC, or `scenario_s`) or its pace (`factor`)."""
        scenario_ns = None
        if request.has("scenario_s"):
            scenario_ns = round(request.number("scenario_s", 0.0, 0.0, DECADE_S) * SECOND)
        if request.has("time"):
            scenario_ns = (self._dtn_ms(request.text("time")) - self._zero_ms()) * 1_000_000
        factor = request.number("factor", 1.0, 0.0, 1e9) if request.has("factor") else None
        request.finish()
        self._emulator.set_time(scenario_ns, factor)
        return self.picture()

    async def capture(self, request: Request, session: Session) -> dict[str, Any]:
        """Begin a capture at `path`, or end the one under way."""
        path = request.path("path") if request.has("path") else None
        request.finish()
        if path is not None:
            self._emulator.start_capture(self._config.open_capture(path))
            return {"capture": {"path": str(path)}}
        return {"capture": self._emulator.stop_capture()}

    async def refuse(self, request: Request, session: Session) -> dict[str, Any]:
        """Refuse new TCP connections, or take them again."""
        on = request.flag("on", True)
        request.finish()
        await self._emulator.refuse(on)
        return self.picture()

    async def reset(self, request: Request, session: Session) -> dict[str, Any]:
        """Reset every TCP connection."""
        request.finish()
        return {"reset": self._emulator.reset_connections()}

    async def end(self, request: Request, session: Session) -> dict[str, Any]:
        """Stop the emulator."""
        request.finish()
        asyncio.get_running_loop().call_soon(self.stop.set)  # after the answer
        return self.picture() | {"pid": os.getpid()}

    def _zero_ms(self) -> int:
        zero_ms = self.picture()["link"]["time_ms"]
        if zero_ms is None:
            raise wrong("time", "there is no date in this link's schedule", "give seconds")
        return int(zero_ms) - round(self._emulator.world.scenario_ns() / 1_000_000)

    def _dtn_ms(self, text: str) -> int:
        try:
            return dtn_from_iso(text)
        except ValueError:
            raise wrong("time", f"{text!r} is no time", "2026-10-01T12:00:00Z") from None


def _directions(request: Request) -> tuple[DirectionName, ...]:
    name = request.text("direction", "both")
    if name == "both":
        return BOTH
    if name not in BOTH:
        raise wrong("direction", f"{name!r} is none", "forward, backward or both")
    return (name,)
