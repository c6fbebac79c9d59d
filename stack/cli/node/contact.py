"""`orbitferry contact`: contacts that no plan foresaw."""

from __future__ import annotations

from typing import Annotated

import typer

from stack.cli.common import Json, NodePath, Quantity, Seconds, client_of, duration, quantity, rate
from stack.cli.output import answer

HELP = "Tell a running node of contacts that no plan foresaw."

Neighbour = Annotated[str, typer.Argument(metavar="NEIGHBOUR", help="Node id of a scheduled link.")]


def begin(
    neighbour: Neighbour,
    lasts: Annotated[float, quantity(duration, "How long: 90s, 10m.", "--for")] = Seconds("10m"),
    rate_bps: Annotated[
        float | None,
        quantity(rate, "Bits a second that this node may send. Default: no limit.", "--rate"),
    ] = None,
    light_ms: Annotated[
        float, typer.Option("--light-ms", metavar="MS", help="One-way light time.")
    ] = Quantity("0 ms"),
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """A contact with a neighbour has begun: the link comes up, and bundles go over it at once.

    It ends by itself, or with `orbitferry contact end`.

    \b
    Examples:
      orbitferry contact begin dtn://sat1/ --for 8m --rate 256k --light-ms 5
    """
    result = client_of(node).call(
        "contact_discovered",
        neighbour=neighbour,
        duration_s=lasts,
        rate_bps=rate_bps,
        owlt_ms=light_ms,
    )
    answer(result, as_json, f"{result['neighbour']}: in contact until {result['until']}")


def end(neighbour: Neighbour, node: NodePath = None, as_json: Json = False) -> None:
    """A contact that was begun by hand is over; what still waits for it goes another way.

    \b
    Examples:
      orbitferry contact end dtn://sat1/
    """
    result = client_of(node).call("contact_lost", neighbour=neighbour)
    answer(
        result,
        as_json,
        f"{result['neighbour']}: {'over' if result['found'] else 'was not begun by hand'}",
    )
