"""The volumes of a run, as the page and the command show them: in the same words and figures."""

from __future__ import annotations

from stack.core.units import size_text
from stack.simulator.loopback.results import Result
from stack.simulator.report.page import percent


def volumes(result: Result) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of what went up, down, and between satellites if there are such links."""
    totals = result.totals()
    across = any(row.kind == "across" for row in result.directions)
    columns = [totals[direction] for direction in ("up", "down", *(("across",) if across else ()))]
    octets = [
        ("bundles received", "bundle_bytes"),
        ("datagrams received", "on_air_bytes"),
        ("datagrams lost", "lost_bytes"),
        ("sent again by LTP", "resent_bytes"),
        ("capacity of all contacts", "capacity_bytes"),
    ]
    if result.objects:
        octets[:0] = [
            ("content handed over", "offered_bytes"),
            ("content delivered and right", "delivered_bytes"),
        ]
    rows = [(text, *(size_text(one[name]) for one in columns)) for text, name in octets]
    shares = [one["efficiency"] for one in columns]
    wanted = (
        "–" if share is None else size_text(one["capacity_wanted_bytes"])
        for one, share in zip(columns, shares, strict=True)
    )
    rows += [
        ("capacity while there was something to send", *wanted),
        ("share of that capacity filled with bundles", *map(percent, shares)),
        ("repaired by FEC, packets", *(f"{one['fec_recovered_packets']:,}" for one in columns)),
    ]
    return ("", "up", "down", *(("between satellites",) if across else ())), rows
