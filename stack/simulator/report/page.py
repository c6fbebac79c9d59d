"""The page of a report: one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

CSS = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2530; max-width: 1140px; margin: 2em auto;
  padding: 0 1em; }
h1 { font-size: 1.7em; margin-bottom: 0.2em; }
h2 { font-size: 1.25em; margin-top: 2em; border-bottom: 1px solid #d5dae1; }
table { border-collapse: collapse; font-size: 13px; margin: 0.8em 0; }
th, td { padding: 3px 10px; text-align: left; border-bottom: 1px solid #e8ebef; }
th { background: #f4f6f8; font-weight: 600; vertical-align: bottom; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
code { font-size: 12px; }
svg { width: 100%; height: auto; }
p.note { color: #5b6675; font-size: 13px; }
.good { color: #14713d; font-weight: 600; } .bad { color: #b3261e; font-weight: 600; }
.unused td { color: #8b95a3; }
summary { cursor: pointer; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page of HTML parts; empty ones are left out."""
    head = (
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
    )
    return "\n".join((*head, *(part for part in parts if part), "</body></html>\n"))


def mb(octets: float) -> str:
    """Octets in megabytes."""
    return f"{octets / 1e6:,.2f} MB"


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
    """A table; columns `numbers` are set to the right."""
    mark = [' class="n"' if place in numbers else "" for place in range(len(head))]
    lines = ["<table><tr>"]
    lines += [f"<th{mark[place]}>{escape(text)}</th>" for place, text in enumerate(head)]
    lines.append("</tr>")
    for number, row in enumerate(rows):
        kind = f' class="{classes[number]}"' if classes and classes[number] else ""
        cells = "".join(f"<td{mark[place]}>{escape(text)}</td>" for place, text in enumerate(row))
        lines.append(f"<tr{kind}>{cells}</tr>")
    lines.append("</table>")
    return "\n".join(lines)
