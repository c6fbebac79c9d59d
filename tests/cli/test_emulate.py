"""`orbitferry emulate`: its configuration, its statistics, and a link that really delays."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.loss import Bernoulli, GilbertElliott
from stack.cli.emulate_config import DirectionConfig, parse_emulate_config
from stack.cli.serve_emulator import _table
from stack.core.errors import ConfigError
from tests.cli.helpers import Cli, finish, free_ports, start


def test_flags_say_the_same_as_a_file(tmp_path: Path) -> None:
    config = parse_emulate_config(
        {"forward": {"rate_bps": 256_000, "delay_ms": 5, "queue_bytes": 64_000}, "seed": 3}
    )
    channel = config.emulator().forward
    assert channel.windows[0].rate_bps == 256_000
    assert channel.delay.constant_ns == 5e6
    assert channel.queue_bytes == 64_000
    assert config.emulator().backward is None


def test_contacts_in_seconds() -> None:
    config = parse_emulate_config({"forward": {"windows_s": [[0, 1.5], [10, 20]]}})
    windows = config.emulator().forward.windows
    assert [(one.start_ns, one.end_ns) for one in windows] == [
        (0, 1_500_000_000),
        (10_000_000_000, 20_000_000_000),
    ]


def test_loss_with_and_without_fades() -> None:
    rng = np.random.default_rng(1)
    alone = DirectionConfig(loss=0.1).channel().loss(rng)
    assert isinstance(alone, Bernoulli)
    fades = DirectionConfig(loss=0.1, burst_ms=80).channel().loss(rng)
    assert isinstance(fades, GilbertElliott)
    assert fades.mean_loss == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"listen": "x"}, "listen"),
        ({"listen_a": 5}, "listen_a"),
        ({"forward": {"los": 0.1}}, "forward.los"),
        ({"forward": {"loss": 2}}, "forward.loss"),
        ({"backward": {"burst_ms": 5}}, "backward.burst_ms"),
        ({"forward": {"delay_ms": -1}}, "forward.delay_ms"),
        ({"forward": {"windows_s": [[2, 1]]}}, "forward.windows_s"),
    ],
)
def test_errors_name_the_key(data: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_emulate_config(data)
    assert caught.value.key == key


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@given(
    st.dictionaries(
        st.sampled_from(["listen_a", "peer_b", "seed", "forward", "repair_port"]),
        values
        | st.dictionaries(
            st.sampled_from(["loss", "rate_bps", "delay_ms", "queue_bytes", "windows_s"]),
            values | st.lists(st.lists(st.floats(), max_size=3), max_size=2),
        ),
    )
)
def test_any_configuration_is_taken_or_refused(data: dict[str, Any]) -> None:
    with contextlib.suppress(ConfigError):
        parse_emulate_config(data).emulator()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--listen-a", "here"], "listen_a: 'here' is no address"),
        (["--loss", "200%"], "200%"),
        (["--burst", "1s"], "set loss too"),
        (["--rate", "fast"], "fast"),
        (["gone.toml"], "gone.toml"),
        (["link.toml", "--delay", "1s"], "--delay: cannot be given beside a file"),
        (["--listen-a", "203.0.113.7:5001"], "cannot bind"),
    ],
)
def test_what_emulate_refuses(cli: Cli, arguments: list[str], part: str) -> None:
    ran = cli("emulate", *arguments)
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert part in ran.err


def test_it_ends_by_itself(cli: Cli) -> None:
    ports = free_ports(2)
    listen = ("--listen-a", f"127.0.0.1:{ports[0]}", "--listen-b", f"127.0.0.1:{ports[1]}")
    begin, *statistics = cli("emulate", *listen, "--for", "20ms", "--json").json
    assert begin["listen_a"] == f"127.0.0.1:{ports[0]}"
    assert statistics[-1]["forward"]["offered_datagrams"] == 0
    ran = cli("emulate", *listen, "--for", "20ms")
    assert ran.code == 0
    assert ran.out.startswith(f"A sends to 127.0.0.1:{ports[0]}")


def test_a_file_says_what_the_link_is(cli: Cli, tmp_path: Path) -> None:
    ports = free_ports(2)
    path = tmp_path / "link.toml"
    path.write_text(
        f'listen_a = "127.0.0.1:{ports[0]}"\nlisten_b = "127.0.0.1:{ports[1]}"\n'
        "[forward]\ndelay_ms = 5\n"
    )
    ran = cli("emulate", path, "--seed", 7, "--for", "10ms", "--json")
    assert ran.code == 0
    assert ran.json[0]["listen_b"] == f"127.0.0.1:{ports[1]}"
    path.write_text("[forward]\nloss = 5\n")
    ran = cli("emulate", path)
    assert ran.code == 2
    assert f"{path}: forward.loss" in ran.err


@pytest.fixture
def programs() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Programs A and B."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b,
    ):
        for one in (a, b):
            one.bind(("127.0.0.1", 0))
            one.settimeout(30)
        yield a, b


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_link_that_delays(programs: tuple[socket.socket, socket.socket], number: int) -> None:
    a, b = programs
    ports = free_ports(2)
    process = start(
        *("emulate", "--listen-a", f"127.0.0.1:{ports[0]}"),
        *("--listen-b", f"127.0.0.1:{ports[1]}", "--delay", "100ms", "--duplicate", "100%"),
        *("--peer-b", f"127.0.0.1:{b.getsockname()[1]}", "--interval", "10ms", "--json"),
    )
    assert process.stdout is not None
    process.stdout.readline()
    begun = time.monotonic()
    a.sendto(b"over there", ("127.0.0.1", ports[0]))
    assert b.recv(100) == b"over there"
    assert time.monotonic() - begun >= 0.1
    assert b.recv(100) == b"over there", "everything comes twice"
    b.sendto(b"and back", ("127.0.0.1", ports[1]))
    assert a.recv(100) == b"and back"
    forward: dict[str, Any] = {}
    while forward.get("duplicated_datagrams") != 1:
        forward = json.loads(process.stdout.readline())["forward"]
    assert forward["delivered_datagrams"] == 2
    process.send_signal(number)
    assert finish(process).code == 0


def test_the_table_of_a_terminal() -> None:
    from link_models.channel import Channel, ChannelConfig
    from link_models.rng import Streams

    counts = Channel(ChannelConfig(), Streams(1)).counters()
    counts |= {"under_way": 3, "delay_error_p50_ms": 1, "delay_error_p99_ms": 2}
    table = _table({"forward": counts, "backward": counts})
    assert table.row_count == 2
