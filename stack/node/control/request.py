"""One request as the node sees it: its fields, checked, and the way back to the client."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.node.control.protocol import ControlError, encode_line
from stack.policy import DataPolicy
from stack.policy.label import decode_label

WEEK_S: Final = 7 * 86_400.0
DECADE_S: Final = 10 * 366 * 86_400.0

LIST_MAX: Final = 10_000
"""Longest list in a request."""


class Request:
    """The fields of a request.  Every method raises `ControlError` of kind `usage` that names the
    field when it is not what it should be; a field that the operation does not know is an error
    too, which `finish` finds."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)
        self._known: set[str] = {"op"}
        self.op = self.text("op")

    def _get(self, name: str) -> Any:
        self._known.add(name)
        return self._fields.get(name)

    def has(self, name: str) -> bool:
        """Whether a field was given."""
        return self._get(name) is not None

    def text(self, name: str, default: str | None = None) -> str:
        """A text; required without a default."""
        value = self._get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise wrong(name, "is missing" if value is None else "is no text")
        return value

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        value = self._get(name)
        if value is None:
            return default
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise wrong(name, "is no number")
        if not low <= value <= high:
            raise wrong(name, f"{value!s:.32} is not in {low:g}..{high:g}")
        return value

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        value = self.number(name, default, low, high)
        if not isinstance(value, int):
            raise wrong(name, "is no whole number")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        value = self._get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise wrong(name, "is neither true nor false")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of texts, empty when not given."""
        value = self._get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise wrong(name, "is no list of texts")
        if len(value) > LIST_MAX:
            raise wrong(name, f"has more than {LIST_MAX} entries")
        return value

    def pairs(self, name: str) -> dict[str, str]:
        """Texts by name, empty when not given."""
        value = self._get(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            raise wrong(name, "is no object of texts")
        return value

    def table(self, name: str) -> dict[str, Any]:
        """Values of any kind by name, at least one."""
        value = self._get(name)
        if not isinstance(value, dict) or not 0 < len(value) <= LIST_MAX:
            raise wrong(name, "is no object of values")
        return value

    def policy(self) -> DataPolicy | None:
        """The label of a data policy, in hexadecimal; None when not given."""
        if not self.has("policy"):
            return None
        text = self.text("policy")  # an empty one must not be taken for none
        try:
            return decode_label(bytes.fromhex(text))
        except (ValueError, DecodeError) as error:
            raise wrong("policy", f"is no label: {error}") from None

    def path(self, name: str) -> Path:
        """A path; absolute, since the client may be in another folder than the node."""
        return self._path(name, self.text(name))

    def paths(self, name: str) -> list[Path]:
        """A list of such paths, empty when not given."""
        return [self._path(name, text) for text in self.texts(name)]

    def _path(self, name: str, text: str) -> Path:
        if not os.path.isabs(text) or "\0" in text:
            raise wrong(name, f"{text!r} is no absolute path")
        return Path(text)

    def eid(self, name: str) -> Eid:
        """An endpoint id or node id."""
        text = self.text(name)
        try:
            eid = Eid.parse(text)
        except DecodeError:
            remedy = 'write "dtn://name/" or "ipn:5.0"'
            raise wrong(name, f"{text[:200]!r} is no node or endpoint", remedy) from None
        if eid.is_null:
            raise wrong(name, f"{text} is nobody")
        return eid

    def object_ids(self, name: str) -> list[bytes]:
        """Ids in hexadecimal."""
        return [self._id(name, text) for text in self.texts(name)]

    def object_id(self, name: str) -> bytes:
        """One id in hexadecimal."""
        return self._id(name, self.text(name))

    def _id(self, name: str, text: str) -> bytes:
        try:
            return bytes.fromhex(text)
        except ValueError:
            raise wrong(name, f"{text[:80]!r} is no id", "ids are hexadecimal") from None

    def finish(self) -> None:
        """Raise for a field that nobody has asked for: most likely it is misspelt."""
        unknown = sorted(set(self._fields) - self._known)
        if unknown:
            known = ", ".join(sorted(self._known - {"op"})) or "none"
            raise wrong(unknown[0][:80], f"unknown to {self.op!r}", f"known: {known}")


def wrong(name: str, message: str, remedy: str = "") -> ControlError:
    """The error of a field that is not what it should be."""
    return ControlError("usage", f"{name}: {message}", remedy)


class Session:
    """The client of one request: events to it, acknowledgements from it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._acknowledged: asyncio.Queue[None] = asyncio.Queue()

    async def event(self, name: str, /, **fields: Any) -> None:
        """Tell the client; waits while it is slow to read."""
        await self.reply({"event": name} | fields)

    async def hand_over(self, name: str, /, **fields: Any) -> None:
        """Tell the client, and wait until it has acknowledged."""
        while not self._acknowledged.empty():
            self._acknowledged.get_nowait()
        await self.reply({"event": name, "ack": True} | fields)
        await self._acknowledged.get()

    async def reply(self, line: dict[str, Any]) -> None:
        """Send one line."""
        self._writer.write(encode_line(line))
        await self._writer.drain()

    async def watch(self) -> None:
        """Take acknowledgements until the client is gone."""
        while await self._reader.readline():
            self._acknowledged.put_nowait(None)


Operation = Callable[[Request, Session], Awaitable[dict[str, Any]]]
"""Does what a request asks and returns the result."""
