"""What commands print: results on standard output, progress and errors on standard error.

On a terminal there are tables and bars; in a pipe or a log there are plain lines; with ``--json``
standard output holds one JSON object a line and nothing else.
"""

from __future__ import annotations

import abc
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

from stack.core.units import count_text, printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

GAP, INDENT = "  ", "    "
"""Between columns, and before those that go on below."""

BAR_COLUMNS_MIN: Final = 80
"""A narrower terminal has no room for bars beside the words."""

PLAIN_LINES_MAX: Final = 20
"""Lines of progress for one object in a log: one for each twentieth."""


def styled(stream: TextIO) -> bool:
    """Whether a stream takes colours and bars: a terminal, unless NO_COLOR is set or it is dumb."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and stream.isatty()


def emit(*values: Mapping[str, Any]) -> None:
    """JSON objects, each on one line."""
    for value in values:
        print(json.dumps(value), flush=True)


def say(text: str) -> None:
    """A line of result."""
    print(text, flush=True)


def answer(result: Mapping[str, Any], as_json: bool, text: str) -> None:
    """A result, for programs or for people."""
    if as_json:
        emit(result)
    else:
        say(text)


def say_wrapped(text: str) -> None:
    """A sentence of result: folded between words on a terminal, one line in a pipe.  What names of
    others are in it does nothing to a terminal."""
    text = printable(text)
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        text = textwrap.fill(text, width, subsequent_indent="  ", break_on_hyphens=False)
    say(text)


def show_report(report: Mapping[str, Any], subject: str, as_json: bool) -> None:
    """One status report on `subject`, as a node passes it on."""
    if as_json:
        emit(report)
        return
    line = f"{subject}: {' and '.join(report['status']) or 'nothing told'} by {report['from']}"
    if report["time"] is not None:
        line += f" at {report['time']}"
    if report["fragment_offset"] is not None:
        line += f", the fragment at {report['fragment_offset']}"
    if report["reason"]:
        line += f" ({report['why']})"
    say(printable(line))


DOUBTS_SHOWN: Final = 5


def tell_doubts(doubts: Sequence[str]) -> None:
    """What makes a result doubtful, as notes; of many the first."""
    for doubt in doubts[:DOUBTS_SHOWN]:
        note(f"note: {doubt}")
    if len(doubts) > DOUBTS_SHOWN:
        note(f"note: and {len(doubts) - DOUBTS_SHOWN} more")


def note(text: str) -> None:
    """A line for people, beside the results."""
    print(text, file=sys.stderr, flush=True)


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """A table; columns of numbers are set to the right.

    Cells are never folded, so that what is copied from a terminal stays whole.  On one that is too
    narrow a row takes several lines, and goes on below in the columns that its headers have there.
    """
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    right = [
        bool(rows) and all(isinstance(row[place], int | float) for row in rows)
        for place in range(len(headers))
    ]
    widths = [
        max(len(header), *(len(row[place]) for row in cells), 0)
        for place, header in enumerate(headers)
    ]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    groups = _groups(widths, room)
    aligned = [
        [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        for row in (headers, *cells)
    ]
    lines = [
        "\n".join(
            (INDENT * bool(start) + GAP.join(row[start:end])).rstrip() for start, end in groups
        )
        for row in aligned
    ]
    if styled(sys.stdout):
        from rich.console import Console
        from rich.text import Text

        console = Console(soft_wrap=True)
        if title:
            console.print(Text(title, style="bold"))
        for place, line in enumerate(lines):
            console.print(Text(line, style="" if place else "bold underline"))
        return
    for line in (title, *lines) if title else lines:
        print(line)
    sys.stdout.flush()


def _groups(widths: Sequence[int], room: int | None) -> list[tuple[int, int]]:
    """Columns that stand on one line each, as places from and to."""
    found, start, used = [], 0, 0
    for place, width in enumerate(widths):
        used += width + len(GAP) * (place > start)
        if room is not None and used > room and place > start:
            found.append((start, place))
            start, used = place, len(INDENT) + width
    return [*found, (start, len(widths))]


class LiveView(abc.ABC):
    """Bars on a terminal as long as its block runs; none elsewhere, nor when `quiet`."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bars: Progress | None = None

    def __enter__(self) -> Self:
        if not self._quiet and styled(sys.stderr):
            self._bars = self._made()
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    @abc.abstractmethod
    def _made(self) -> Progress:
        """The bars; `rich` is loaded here, where they are wanted."""


class ProgressView(LiveView):
    """Bars with rate and time left on a terminal; now and then a line elsewhere; nothing when
    `quiet`."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, tuple[str, int]] = {}

    def update(
        self, key: str, name: str, state: str, share: float, detail: str = "", *, over: bool
    ) -> None:
        """How far one thing is: a share from 0 to 1, and in words.  Of what is `over` only a bar
        is brought up to date: the result says it in words."""
        if self._quiet:
            return
        if self._bars is not None:
            task = self._tasks.get(key)
            if task is None:
                task = self._tasks[key] = self._bars.add_task("", total=1.0, state="", detail="")
            name = printable(name)
            self._bars.update(task, completed=share, description=name, state=state, detail=detail)
            return
        step = (state, int(share * PLAIN_LINES_MAX))
        if not over and self._said.get(key) != step:
            self._said[key] = step
            shown = f", {detail}" if detail else ""
            note(f"{printable(name)}: {state}, {share:.0%}{shown}")

    def _made(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        console = Console(stderr=True)
        return Progress(
            TextColumn("{task.description}", markup=False),
            *([BarColumn(bar_width=24)] if console.width >= BAR_COLUMNS_MIN else []),
            TextColumn("{task.percentage:>3.0f} %", markup=False),
            TextColumn("{task.fields[state]}", markup=False),
            # Goes on below where there is no room, so that the columns before it stay whole.
            TextColumn("{task.fields[detail]}", markup=False, table_column=Column(no_wrap=False)),
            console=console,
        )


def tell_capture(found: Mapping[str, Any]) -> None:
    """What has become of a capture (`CaptureSink.statistics`)."""
    left_out = f", {found['left_out']:,} left out" if found["left_out"] else ""
    trouble = f"; not complete: {found['trouble']}" if found["trouble"] else ""
    say(f"capture: {count_text(found['packets'], 'packet')} in {found['path']}{left_out}{trouble}")
