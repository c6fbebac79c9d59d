"""`orbitferry emulate`: a link in a box between two real programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stack.cli.common import Json, duration, rate, share, size
from stack.core.errors import ConfigError

if TYPE_CHECKING:
    from stack.cli.emulate_config import EmulateConfig

Config = Annotated[
    Path | None,
    typer.Argument(metavar="CONFIG", help="TOML; see `orbitferry config example emulator`."),
]
Rate = Annotated[
    float | None, typer.Option("--rate", parser=rate, metavar="RATE", help="256k, 10M, 1.5G.")
]
Delay = Annotated[
    float | None,
    typer.Option(parser=duration, metavar="DURATION", help="One way: 5ms, 1.3s."),
]
Jitter = Annotated[
    float | None,
    typer.Option(parser=duration, metavar="DURATION", help="More delay, at random."),
]
Loss = Annotated[float | None, typer.Option(parser=share, metavar="SHARE", help="2% or 0.02.")]
Burst = Annotated[
    float | None,
    typer.Option(parser=duration, metavar="DURATION", help="Mean length of a fade; with --loss."),
]
Reorder = Annotated[
    float | None, typer.Option(parser=share, metavar="SHARE", help="Overtaken by others.")
]
Duplicate = Annotated[
    float | None, typer.Option(parser=share, metavar="SHARE", help="Delivered twice.")
]
Corrupt = Annotated[
    float | None, typer.Option(parser=share, metavar="SHARE", help="Delivered with wrong bits.")
]
Queue = Annotated[
    int | None, typer.Option(parser=size, metavar="SIZE", help="May wait for the transmitter.")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Of all random decisions.")]
Length = Annotated[
    float | None,
    typer.Option("--for", parser=duration, metavar="DURATION", help="End by itself."),
]
Interval = Annotated[
    float | None,
    typer.Option(
        parser=duration,
        metavar="DURATION",
        help="Between two statistics. Default: 1s; in a log 10s.",
    ),
]


def emulate(
    config: Config = None,
    listen_a: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where program A sends to.")
    ] = None,
    listen_b: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where program B sends to.")
    ] = None,
    peer_a: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where A listens. Default: it is learnt.")
    ] = None,
    peer_b: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where B listens. Default: it is learnt.")
    ] = None,
    tcp: Annotated[
        bool, typer.Option("--tcp", help="Carry TCP too, to --peer-a and --peer-b.")
    ] = False,
    bits: Rate = None,
    delay: Delay = None,
    jitter: Jitter = None,
    loss: Loss = None,
    burst: Burst = None,
    reorder: Reorder = None,
    duplicate: Duplicate = None,
    corrupt: Corrupt = None,
    queue: Queue = None,
    plan: Annotated[
        Path | None,
        typer.Option(metavar="PLAN", help="Contacts and light times; with --between."),
    ] = None,
    between: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="The plan's nodes at A and at B."),
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option("--start", metavar="TIME", help="UTC to begin at. Default: first contact."),
    ] = None,
    factor: Annotated[
        float | None, typer.Option(metavar="N", help="Schedule N times as fast; 60: 1 h in 1 min.")
    ] = None,
    control: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Control socket for `orbitferry link`.")
    ] = None,
    capture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what crosses the link, pcapng.")
    ] = None,
    seed: Seed = None,
    length: Length = None,
    interval: Interval = None,
    as_json: Json = False,
) -> None:
    """Run a link in a box between two real programs.

    It gives delay, loss, contacts and a rate to what two programs send each other over UDP or TCP:
    point program A at one address of the box and program B at the other. It needs no privileges.
    `orbitferry link` changes it while it runs. Ctrl-C and SIGTERM end it with exit code 0.

    \b
    Examples:
      orbitferry emulate --rate 256k --delay 5ms --loss 2% --burst 80ms
      orbitferry emulate --tcp --peer-b 127.0.0.1:8080 --delay 250ms --control link.sock
      orbitferry emulate --plan day.json --between dtn://gs1/ dtn://sat1/ --factor 60
      orbitferry emulate link.toml --seed 7 --for 10m --json
    """
    ends = {"listen_a": listen_a, "listen_b": listen_b, "peer_a": peer_a, "peer_b": peer_b}
    link = {
        "rate_bps": None if bits is None else (0.0 if bits == float("inf") else bits),
        "delay_ms": _ms(delay),
        "jitter_ms": _ms(jitter),
        "loss": loss,
        "burst_ms": _ms(burst),
        "reorder": reorder,
        "duplicate": duplicate,
        "corrupt": corrupt,
        "queue_bytes": queue,
    }
    course = {
        "plan": None if plan is None else str(plan),
        "a": between and between[0],
        "b": between and between[1],
        "start": begin,
        "factor": factor,
    }
    box = {
        "control": None if control is None else str(control),
        "capture": None if capture is None else str(capture),
        "seed": seed,
    }
    chosen = _configuration(config, _given(ends), _given(link), _given(course), _given(box), tcp)
    from stack.adapters.loop import run
    from stack.cli.serve_emulator import serve_emulator

    run(serve_emulator(chosen, length, interval, as_json))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


FLAGS: Final = {"a": "between", "b": "between"}
"""Options that are called otherwise than their keys."""


def _configuration(
    path: Path | None,
    ends: dict[str, Any],
    link: dict[str, Any],
    course: dict[str, Any],
    box: dict[str, Any],
    tcp: bool,
) -> EmulateConfig:
    """A file, with `box` in place of what it says; or what the flags say."""
    import dataclasses

    from link_models.emulator import TcpConfig
    from stack.cli import emulate_config as kinds

    if path is None:
        return kinds.EmulateConfig(
            **ends,
            **box,
            forward=kinds.DirectionConfig(**link),
            time=kinds.TimeConfig(**course),
            tcp=TcpConfig() if tcp else None,
        )
    given = [*ends, *link, *course, *(["tcp"] if tcp else [])]
    if given:
        flag = FLAGS.get(min(given), min(given))
        for unit in ("_ms", "_bps", "_bytes"):
            flag = flag.removesuffix(unit)
        name = "--" + flag.replace("_", "-")
        raise ConfigError(name, "cannot be given beside a file", f"set it in {path}")
    return dataclasses.replace(kinds.load_emulate_config(path), **box)
