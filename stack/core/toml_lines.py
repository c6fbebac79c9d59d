"""On which line a key of a TOML document stands.

The parsers that there are for TOML tell what a document says, not where.  This one tells only
where: it runs over a document that has been parsed already, and need not find what is wrong in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|'
    r"'''.*?'{3,5}|"
    r'"(?:[^"\\]|\\.)*"|'
    r"'[^']*'",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}#\n]+")


def join(path: str, key: str) -> str:
    """A key below a path: `links[1]` and `ltp` are `links[1].ltp`."""
    return f"{path}.{key}" if path and key and not key.startswith("[") else path + key


def line_of(text: str, path: str) -> int:
    """The line of a key such as `links[1].ltp.rate`, or of the innermost table or list around it
    that is there; 0 when there is none."""
    lines: dict[str, int] = {}
    for place, line in _Scanner(text).places():
        lines.setdefault(place, line)
    path = path.split(", ")[0]  # of keys that do not fit together, the first
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path, 0)


def repeated(text: str, line: int) -> tuple[str, int]:
    """The key or table on a line that was there before, and the line of the first; no name and 0
    where there is none."""
    seen: dict[str, int] = {}
    for place, at in _Scanner(text).places():
        if at > line:
            break
        if at == line and place in seen:
            return place, seen[place]
        seen.setdefault(place, at)
    return "", 0


class _Scanner:
    """One pass over a valid document."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._tables: dict[str, int] = {}
        """How many tables each list of tables has so far."""

    def places(self) -> Iterator[tuple[str, int]]:
        """Each key's path and line."""
        table = ""
        while self._skip():
            line = self._now()
            if self._text[self._at] == "[":
                table = self._header()
                yield table, line
            else:
                yield from self._pair(table)

    def _now(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _skip(self) -> bool:
        """Pass over blanks and comments; whether anything is left."""
        found = _BLANK.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        return self._at < len(self._text)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at + 1
        return found[0] if found else ""

    def _key(self) -> list[str]:
        """The parts of a dotted key, up to what ends it."""
        parts = []
        while self._skip():
            char = self._text[self._at]
            if char in "\"'":
                parts.append(self._take(_STRING)[1:-1])
            elif char == ".":
                self._at += 1
            elif char in "=]":
                break
            else:
                parts.append(self._take(_BARE))
        return parts

    def _header(self) -> str:
        """The path of `[a.b]` or `[[a.b]]`."""
        is_list = self._text.startswith("[[", self._at)
        self._at += 2 if is_list else 1
        *outer, last = self._key()
        self._at += 2 if is_list else 1
        path = ""
        for part in outer:
            path = join(path, part)
            if path in self._tables:
                path += f"[{self._tables[path] - 1}]"
        path = join(path, last)
        if is_list:
            count = self._tables.get(path, 0)
            self._tables[path] = count + 1
            path += f"[{count}]"
        return path

    def _pair(self, table: str) -> Iterator[tuple[str, int]]:
        line = self._now()
        path = table
        for part in self._key():
            path = join(path, part)
            yield path, line
        self._at += 1  # the "="
        yield from self._value(path)

    def _value(self, path: str) -> Iterator[tuple[str, int]]:
        self._skip()
        char = self._text[self._at : self._at + 1]
        if char in ("[", "{"):
            self._at += 1
            index = 0
            while self._skip() and self._text[self._at] not in "]}":
                if self._text[self._at] == ",":
                    self._at += 1
                elif char == "{":
                    yield from self._pair(path)
                else:
                    yield f"{path}[{index}]", self._now()
                    yield from self._value(f"{path}[{index}]")
                    index += 1
            self._at += 1
        elif char in ("'", '"'):
            self._take(_STRING)
        else:
            self._take(_PLAIN)
