"""The page of a report: one HTML file that needs no other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from stack.core.clock import dtn_to_iso

ZOOMED = "<figure data-chart="
"""How a figure begins that can be zoomed."""

LONG_CHARS, LONG = 36, ' class="long"'
"""Cells with more characters are broken into lines."""

CSS = """
:root { color-scheme: light dark; --ink: #1d2530; --paper: #fff; --faint: #5b6675;
  --line: #d5dae1; --head: #f4f6f8; --good: #14713d; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dde3ea; --paper: #14181d; --faint: #9aa5b3; --line: #39424d; --head: #1f252c;
    --good: #5fce8d; --bad: #ff8a80; }
  .still svg { filter: invert(0.88) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1160px; margin: 1.5em auto; padding: 0 1em; overflow-wrap: break-word; }
h1 { font-size: 1.7em; line-height: 1.2; margin-bottom: 0.2em; }
h2 { font-size: 1.25em; margin-top: 2em; border-bottom: 1px solid var(--line); }
.wide { overflow-x: auto; margin: 0.8em 0; }
table { border-collapse: collapse; font-size: 13px; }
th, td { padding: 3px 10px; text-align: left; border-bottom: 1px solid var(--line); }
th { background: var(--head); font-weight: 600; vertical-align: bottom; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td { white-space: nowrap; } td.long { white-space: normal; min-width: 18em; }
figure { margin: 1em 0; }
.still { overflow-x: auto; }
.still svg { display: block; width: 100%; min-width: 620px; height: auto; }
.small .still svg { max-width: 860px; min-width: 440px; }
p.note { color: var(--faint); font-size: 13px; }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
.unused td { color: var(--faint); }
summary { cursor: pointer; }
.zoom .still { display: none; }
.live { position: relative; }
.bar { position: sticky; top: 0; z-index: 5; display: flex; flex-wrap: wrap; align-items: center;
  gap: 4px; padding: 4px 0; background: var(--paper); font-size: 12px; color: var(--faint); }
.bar button { font: inherit; color: var(--ink); background: var(--head); padding: 2px 9px;
  border: 1px solid var(--line); border-radius: 4px; cursor: pointer; min-height: 28px; }
.when { margin-left: auto; font-variant-numeric: tabular-nums; color: var(--ink); }
.panel .title { font-weight: 600; font-size: 13px; margin-top: 0.9em; }
.key { font-size: 12px; display: flex; flex-wrap: wrap; gap: 0 1.1em; }
.entry i { display: inline-block; width: 16px; height: 9px; margin-right: 5px;
  background: var(--own); }
.entry i.line, .entry i.dash { height: 0; background: none; border-top: 3px solid var(--own);
  vertical-align: middle; }
.entry i.dash { border-top-style: dotted; }
.entry b { font-variant-numeric: tabular-nums; }
.panel .u-select { background: rgba(80, 140, 220, 0.25); }
.panel .u-cursor-x { border-color: var(--faint); }
@media (prefers-color-scheme: dark) {
  .panel canvas, .entry i { filter: invert(0.88) hue-rotate(180deg); }
}
@media (max-width: 600px) {
  .hint { display: none; }
  body { font-size: 14px; margin: 0.5em auto; padding: 0 0.6em; }
  th, td { padding: 3px 6px; }
}
@media print {
  :root { --ink: #000; --paper: #fff; --faint: #444; --line: #bbb; --head: #eee; --good: #060;
    --bad: #900; }
  @page { margin: 12mm; }
  body { font-size: 10pt; max-width: none; margin: 0; padding: 0; }
  table { font-size: 7pt; } th, td { padding: 1px 3px; }
  td { white-space: normal; } td.n { white-space: nowrap; } td.long { min-width: 0; }
  .wide, .still { overflow: visible; }
  .live { display: none; } .zoom .still { display: block; }
  details::details-content { content-visibility: visible; } summary { list-style: none; }
  .still svg { min-width: 0; filter: none; }
  h2 { break-after: avoid; } tr, figure { break-inside: avoid; }
}
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page of HTML parts; empty ones are left out."""
    head = (
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
    )
    body = [part for part in parts if part]
    if any(ZOOMED in part for part in body):
        body.append(_scripts())
    return "\n".join((*head, *body, "</body></html>\n"))


def _scripts() -> str:
    """What pages with charts that can be zoomed need: uPlot (MIT licence) and what draws with
    it."""
    here = files(__package__)
    library = here / "uplot"
    return (
        f"<style>{(library / 'uPlot.min.css').read_text('utf-8')}</style>\n"
        f"<script>/* {(library / 'LICENSE').read_text('utf-8')}*/\n"
        f"{(library / 'uPlot.iife.min.js').read_text('utf-8')}</script>\n"
        f"<script>{(here / 'zoom.js').read_text('utf-8')}</script>"
    )


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
