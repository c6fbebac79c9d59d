"""`orbitferry cancel`: bundles that have not left yet (RFC 9171 §5.12)."""

from __future__ import annotations

from typing import Annotated

import typer

from stack.cli.common import FAILED, Json, NodePath, client_of, ends_with
from stack.cli.output import emit, say

Bundles = Annotated[
    list[str],
    typer.Argument(
        metavar="BUNDLE", help="Ids as `orbitferry send` and `orbitferry status --bundles` say."
    ),
]


def cancel(bundles: Bundles, node: NodePath = None, as_json: Json = False) -> None:
    """Give up bundles (messages) that were sent from here and have not left yet.

    They are deleted, with a status report (reason 3, transmission canceled) where they asked for
    one. A link that is sending one stops, unless other bundles share its LTP block; it may have
    arrived all the same. Files and folders are given up with `orbitferry transfers cancel`.

    The exit code is 1 when one of the bundles does not wait here: it has left, was delivered, has
    expired, or was never sent from here.

    \b
    Examples:
      orbitferry cancel dtn://gs1/messages@837000000000.281
      orbitferry cancel dtn://gs1/messages@837000000000.281 --json
    """
    client = client_of(node)
    missing = False
    for bundle in bundles:
        result = client.call("cancel_bundle", bundle=bundle)
        missing = missing or not result["bundles"]
        if as_json:
            emit(result)
            continue
        if not result["bundles"]:
            words = "does not wait here: it has left or expired, or was never sent from here"
        elif result["under_way"]:
            words = "cancelled; a link had been given it, so that it may have arrived, or still may"
        else:
            words = "cancelled"
        say(f"{bundle}: {words}")
    if missing:
        ends_with(FAILED)
