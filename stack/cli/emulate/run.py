"""`orbitferry emulate`: a link in a box between two real programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stack.cli.common import PCAP_LIMIT, Json, PcapLimit, duration, quantity, rate, share, size
from stack.core.errors import ConfigError

if TYPE_CHECKING:
    from stack.cli.emulate.config import EmulateConfig

Config = Annotated[
    Path | None,
    typer.Argument(metavar="CONFIG", help="TOML; see `orbitferry config example emulator`."),
]
ListenA = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Where program A sends to. Default: 127.0.0.1:5001."),
]
ListenB = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Where program B sends to. Default: 127.0.0.1:6001."),
]
PeerA = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where A listens. Default: it is learnt.")
]
PeerB = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where B listens. Default: it is learnt.")
]
Tcp = Annotated[bool, typer.Option("--tcp", help="Carry TCP too, to --peer-a and --peer-b.")]
Rate = Annotated[
    float | None, quantity(rate, "Bits a second: 256k, 10M, 1.5G. Default: no limit.", "--rate")
]
Delay = Annotated[float | None, quantity(duration, "One way: 5ms, 1.3s. Default: none.")]
Jitter = Annotated[
    float | None,
    quantity(duration, "Up to this is added to the delay of each datagram, at random."),
]
Loss = Annotated[float | None, quantity(share, "Of the datagrams, lost: 2% or 0.02.")]
Burst = Annotated[float | None, quantity(duration, "Mean length of a fade; with --loss.")]
Reorder = Annotated[float | None, quantity(share, "Of the datagrams, overtaken by others.")]
Duplicate = Annotated[float | None, quantity(share, "Of the datagrams, delivered twice.")]
Corrupt = Annotated[float | None, quantity(share, "Of the datagrams, delivered with wrong bits.")]
Queue = Annotated[
    int | None,
    quantity(size, "What may wait for the transmitter; the rest is dropped. Default: 1MB."),
]
PlanPath = Annotated[
    Path | None,
    typer.Option(metavar="PLAN", help="A plan or scenario with contacts; with --between."),
]
Between = Annotated[
    tuple[str, str] | None,
    typer.Option(metavar="A B", help="The plan's nodes at A and at B."),
]
Begin = Annotated[
    str | None,
    typer.Option("--start", metavar="TIME", help="UTC to begin at. Default: the first contact."),
]
Factor = Annotated[
    float | None, typer.Option(metavar="N", help="Schedule N times as fast; 60: 1 h in 1 min.")
]
Control = Annotated[
    Path | None, typer.Option(metavar="PATH", help="Control socket for `orbitferry link`.")
]
CapturePath = Annotated[
    Path | None,
    typer.Option(
        "--pcap", "--capture", metavar="FILE", help="Write what crosses the link, in pcapng."
    ),
]
Keys = Annotated[
    Path | None,
    typer.Option(
        "--pcap-keys",
        metavar="FILE",
        help="TLS key log (SSLKEYLOGFILE) of a program: its keys go into the capture.",
    ),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Of all random decisions.")]
Length = Annotated[float | None, quantity(duration, "End by itself after this time.", "--for")]
Interval = Annotated[
    float | None, quantity(duration, "Between two statistics. Default: 1s; in a log 10s.")
]


def emulate(
    config: Config = None,
    listen_a: ListenA = None,
    listen_b: ListenB = None,
    peer_a: PeerA = None,
    peer_b: PeerB = None,
    tcp: Tcp = False,
    bits: Rate = None,
    delay: Delay = None,
    jitter: Jitter = None,
    loss: Loss = None,
    burst: Burst = None,
    reorder: Reorder = None,
    duplicate: Duplicate = None,
    corrupt: Corrupt = None,
    queue: Queue = None,
    plan: PlanPath = None,
    between: Between = None,
    begin: Begin = None,
    factor: Factor = None,
    control: Control = None,
    capture: CapturePath = None,
    capture_limit: PcapLimit = PCAP_LIMIT,
    capture_keys: Keys = None,
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
      orbitferry emulate --tcp --peer-b 127.0.0.1:4556 --pcap link.pcapng --pcap-keys keys.log
    """
    ends = _given(listen_a=listen_a, listen_b=listen_b, peer_a=peer_a, peer_b=peer_b)
    link = _given(rate_bps=_bps(bits), delay_ms=_ms(delay), jitter_ms=_ms(jitter), loss=loss)
    link |= _given(burst_ms=_ms(burst), reorder=reorder, duplicate=duplicate, corrupt=corrupt)
    link |= _given(queue_bytes=queue)
    a, b = between or (None, None)
    course = _given(plan=_text(plan), a=a, b=b, start=begin, factor=factor)
    box = _given(control=_text(control), capture=_text(capture), seed=seed)
    box |= _given(capture_keys=_text(capture_keys))
    if capture_limit != PCAP_LIMIT:
        box |= {"capture_bytes": capture_limit}
    chosen = _configuration(config, ends, link, course, box, tcp)
    from stack.adapters.loop import run
    from stack.cli.emulate.serve import serve_emulator

    run(serve_emulator(chosen, length, interval, as_json))


def _bps(rate_bps: float | None) -> float | None:
    return 0.0 if rate_bps == float("inf") else rate_bps


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _given(**values: Any) -> dict[str, Any]:
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
    from stack.cli.emulate import config as kinds

    if path is None:
        return kinds.EmulateConfig(
            **ends,
            **box,
            forward=kinds.EmulatedDirectionConfig(**link),
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
