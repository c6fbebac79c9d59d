"""`orbitferry ping`: is a node there, and how long does a round trip take."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stack.cli.common import (
    NO_ANSWER,
    OK,
    Json,
    NodePath,
    OctetCount,
    Reports,
    ReportTo,
    Seconds,
    client_of,
    duration,
    ends_with,
    quantity,
    size,
)
from stack.cli.output import emit, say, show_report
from stack.core.units import duration_text


def ping(
    destination: Annotated[
        str,
        typer.Argument(metavar="DESTINATION", help="Node id, or the endpoint of an echo service."),
    ],
    count: Annotated[int, typer.Option("--count", "-c", min=1, help="How many pings.")] = 4,
    interval: Annotated[float, quantity(duration, "Between two.", "--interval", "-i")] = Seconds(
        "1s"
    ),
    timeout: Annotated[
        float,
        quantity(
            duration,
            "How long an answer may take, blackouts included; also the bundle's lifetime.",
            "--timeout",
            "-t",
        ),
    ] = Seconds("60s"),
    octets: Annotated[int, quantity(size, "Payload of each.", "--size", "-s")] = OctetCount("64B"),
    report: Reports = None,
    report_to: ReportTo = None,
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """Ping a node: is it there, and how far away.

    A node id means its echo service (dtn://x/echo, ipn:5.2047), which Orbitferry and HDTN nodes
    have. ION nodes answer where bpecho runs: name that endpoint, such as ipn:2.2. Exit code 0
    when any answer came, 3 when none did.

    \b
    Examples:
      orbitferry ping dtn://sat1/
      orbitferry ping ipn:5.0 --count 1 --timeout 2h
      orbitferry ping ipn:2.2 --report received,delivered
      orbitferry ping dtn://gs2/ --size 100k --interval 100ms --json
    """
    with client_of(node).open(
        "ping",
        destination=destination,
        count=count,
        interval_s=interval,
        timeout_s=timeout,
        size=octets,
        report=report,
        report_to=report_to,
    ) as exchange:
        for event in exchange:
            if event["event"] == "report":
                show_report(event, f"ping {event['sequence']}", as_json)
                continue
            rtt_ns = event["rtt_ns"]
            if as_json:
                emit({"sequence": event["sequence"], "rtt_ns": rtt_ns})
            elif rtt_ns is None:
                say(f"ping {event['sequence']}: no answer within {duration_text(timeout)}")
            else:
                say(f"ping {event['sequence']}: {duration_text(rtt_ns / 1e9)}")
        result = exchange.result
    _summary(destination, result, as_json)
    ends_with(OK if result["received"] else NO_ANSWER)


def _summary(destination: str, result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(result)
    else:
        line = f"{result['destination']}: {result['received']} of {result['sent']} answered"
        if result["received"]:
            figures = (result[key] / 1e9 for key in ("min_ns", "mean_ns", "max_ns"))
            line += ", min / mean / max " + " / ".join(map(duration_text, figures))
        say(line)
        if not result["received"] and destination != result["destination"]:
            say(
                f"{destination} was asked at {result['destination']}, where Orbitferry nodes "
                "answer; an ION node answers where its bpecho runs: name that endpoint, such as "
                "ipn:2.2"
            )
