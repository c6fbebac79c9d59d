"""The page of a report: one HTML file that needs no other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from stack.core.clock import dtn_to_iso

ZOOMED = "<figure data-chart="
"""How a figure begins that can be zoomed."""

ROWS_MAX, ROWS_FIRST = 40, 20
"""Rows of a table that is not folded, and those that are shown of one that is."""

LONG_CHARS, LONG = 36, ' class="long"'
"""Cells with more characters are broken into lines."""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page of HTML parts; empty ones are left out."""
    head = (
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_text('page.css')}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
    )
    body = [part for part in parts if part]
    if any(ZOOMED in part for part in body):
        body.append(_scripts())
    return "\n".join((*head, *body, "</body></html>\n"))


def _scripts() -> str:
    """What pages with charts that can be zoomed need: uPlot (MIT licence) and what draws with
    it."""
    return (
        f"<style>{_text('uplot/uPlot.min.css')}</style>\n"
        f"<script>/* {_text('uplot/LICENSE')}*/\n{_text('uplot/uPlot.iife.min.js')}</script>\n"
        f"<script>{_text('zoom.js')}</script>"
    )


def _text(name: str) -> str:
    return (files(__package__) / name).read_text("utf-8")


def capital(text: str) -> str:
    """A text as a sentence begins."""
    return text[:1].upper() + text[1:]


def label(node: str) -> str:
    """A node id as a word: `dtn://gs1/` is `gs1`."""
    return node.removeprefix("dtn://").rstrip("/")


def second_of(dtn_ms: int) -> str:
    """A DTN time as `2026-10-01T08:12:55Z`."""
    return dtn_to_iso(dtn_ms)[:19] + "Z"


def prose(text: str) -> str:
    """A text of the user's as HTML; what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(" ".join(text.split())))


def percent(share: float | None) -> str:
    """A share, or a dash for none."""
    return "–" if share is None else f"{share:.1%}"


def long_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    classes: Sequence[str] = (),
) -> str:
    """A table of which what is much is folded away."""
    first = len(rows) if len(rows) <= ROWS_MAX else ROWS_FIRST
    shown = table(head, rows[:first], numbers=numbers, classes=classes[:first])
    if first == len(rows):
        return shown
    rest = table(head, rows[first:], numbers=numbers, classes=classes[first:])
    return f"{shown}<details><summary>and {len(rows) - first:,} more</summary>{rest}</details>"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    classes: Sequence[str] = (),
) -> str:
    """A table; columns `numbers` are set to the right.  One that is too wide scrolls in its own
    box."""
    mark = [' class="n"' if place in numbers else "" for place in range(len(head))]
    lines = ['<div class="wide" tabindex="0"><table><thead><tr>']
    lines += [
        f'<th scope="col"{mark[place]}>{escape(text)}</th>' for place, text in enumerate(head)
    ]
    lines.append("</tr></thead><tbody>")
    for number, row in enumerate(rows):
        kind = f' class="{classes[number]}"' if classes and classes[number] else ""
        cells = "".join(
            f"<td{LONG if len(text) > LONG_CHARS else mark[place]}>{escape(text)}</td>"
            for place, text in enumerate(row)
        )
        lines.append(f"<tr{kind}>{cells}</tr>")
    lines.append("</tbody></table></div>")
    return "\n".join(lines)
