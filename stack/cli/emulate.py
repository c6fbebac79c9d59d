"""`orbitferry emulate`: a link in a box between two real programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stack.cli.common import Json, duration, rate, share, size
from stack.cli.emulate_config import DirectionConfig, EmulateConfig, load_emulate_config
from stack.core.errors import ConfigError

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
    bits: Rate = None,
    delay: Delay = None,
    jitter: Jitter = None,
    loss: Loss = None,
    burst: Burst = None,
    reorder: Reorder = None,
    duplicate: Duplicate = None,
    corrupt: Corrupt = None,
    queue: Queue = None,
    seed: Seed = None,
    length: Length = None,
    interval: Interval = None,
    as_json: Json = False,
) -> None:
    """Run a link in a box between two real programs.

    It gives delay, loss and a rate to what two programs send each other over UDP: point program A
    at one address of the box and program B at the other. It needs no privileges.
    Ctrl-C and SIGTERM end it with exit code 0.

    \b
    Examples:
      orbitferry emulate --rate 256k --delay 5ms --loss 2% --burst 80ms
      orbitferry emulate --listen-a 127.0.0.1:5001 --listen-b 127.0.0.1:6001 --for 10m --json
      orbitferry emulate link.toml --seed 7
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
    chosen = _configuration(config, _given(ends), _given(link), seed)
    from stack.adapters.loop import run
    from stack.cli.serve_emulator import serve_emulator

    run(serve_emulator(chosen, length, interval, as_json))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _configuration(
    path: Path | None, ends: dict[str, Any], link: dict[str, Any], seed: int | None
) -> EmulateConfig:
    import dataclasses

    if path is None:
        return EmulateConfig(**ends, forward=DirectionConfig(**link), seed=seed or 0)
    if ends or link:
        flag = min([*ends, *link])
        for unit in ("_ms", "_bps", "_bytes"):
            flag = flag.removesuffix(unit)
        name = "--" + flag.replace("_", "-")
        raise ConfigError(name, "cannot be given beside a file", f"set it in {path}")
    config = load_emulate_config(path)
    return config if seed is None else dataclasses.replace(config, seed=seed)
