"""Stories of objects, as words, rows and JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stack.cli.output import say, say_wrapped, table
from stack.core.units import printable

if TYPE_CHECKING:
    from stack.audit.story import Story

_FORMULA = re.compile("((?:^|[;\t\r\n])\\s*)([-=+@\uff1d\uff0b\uff0d\uff20])")
"""How a formula begins, in full width too, as East Asian keyboards write it."""


def as_dict(story: Story) -> dict[str, Any]:
    """A story as JSON has it."""
    return {
        "object": story.object,
        "entries": [entry_row(each) for each in story.entries],
        "stays": [stay_row(each) for each in story.stays],
        "gaps": story.gaps,
        "contradictions": story.contradictions,
        "violations": story.violations,
    }


def entry_row(entry: Any) -> dict[str, Any]:
    """An entry of a story."""
    from stack.core.clock import dtn_to_iso

    event = entry.event
    return {
        "time": dtn_to_iso(event.time_ms),
        "node": event.node,
        "acts": event.names,
        "object": event.object,
        "peer": event.peer,
        "detail": event.detail,
        "log": entry.origin,
        "index": entry.number,
    }


def stay_row(stay: Any) -> dict[str, Any]:
    """From when to when something was at a node."""
    from stack.core.clock import dtn_to_iso

    until = None if stay.until_ms is None else dtn_to_iso(stay.until_ms)
    return {
        "node": stay.node,
        "object": stay.object,
        "since": dtn_to_iso(stay.since_ms),
        "until": until,
    }


def tell(story: Story) -> None:
    """A story in words."""
    say(printable(story.object))
    rows = [entry_row(each) for each in story.entries]
    table(
        ("time", "node", "what", "peer", "detail"),
        [
            (row["time"], row["node"], ", ".join(row["acts"]), row["peer"], row["detail"])
            for row in rows
        ],
    )
    for word, found in (
        ("GAP", story.gaps),
        ("CONTRADICTION", story.contradictions),
        ("VIOLATION", story.violations),
    ):
        for each in found:
            say_wrapped(f"{word}: {each}")


def write_csv(path: Path, stories: list[Story], vouched_by: Mapping[str, str]) -> None:
    """All entries of stories, one in each row, with what vouches for the key of their log."""
    import csv

    from stack.core.private import opener

    with open(path, "w", newline="", encoding="utf-8", opener=opener) as file:
        writer = csv.writer(file)
        columns = ("time", "node", "acts", "object", "peer", "detail", "log", "index", "vouched_by")
        writer.writerow(columns)
        for story in stories:
            for row in map(entry_row, story.entries):
                row["acts"] = " ".join(row["acts"])
                row["vouched_by"] = vouched_by[row["log"]]
                writer.writerow([_plain(row[column]) for column in columns])


def _plain(value: object) -> object:
    """A cell that no spreadsheet takes for a formula, nor what follows a mark that it may take for
    the end of a cell: names come from peers."""
    return _FORMULA.sub(r"\1'\2", value) if isinstance(value, str) else value
