"""`orbitferry emulate`: its configuration, its statistics, and a link that really delays."""

from __future__ import annotations

import asyncio
import dataclasses
import io
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
from rich.console import Console

from interop.machines.ports import free_ports
from link_models.channel import ChannelConfig, Window
from link_models.emulator import TcpConfig
from link_models.loss import Bernoulli, GilbertElliott
from stack.cli.emulate.config import (
    EmulateConfig,
    EmulatedDirectionConfig,
    TimeConfig,
    load_emulate_config,
    parse_emulate_config,
)
from stack.cli.emulate.control import Box
from stack.cli.emulate.serve import screen
from stack.core.clock import SECOND, dtn_from_iso
from stack.core.errors import ConfigError
from stack.node.control.protocol import ControlError
from stack.node.control.request import Request
from tests.cli.helpers import Cli, finish, running
from tests.link_models.emulator.memory import MemoryLoop, in_memory
from tests.link_models.emulator.memory import start as start_in_memory


def test_flags_say_the_same_as_a_file(tmp_path: Path) -> None:
    config = parse_emulate_config(
        {"forward": {"rate_bps": 256_000, "delay_ms": 5, "queue_bytes": 64_000}, "seed": 3}
    )
    channel = config.emulator().forward
    assert channel.windows[0].rate_bps == 256_000
    assert channel.delay.constant_ns == 5e6
    assert channel.queue_bytes == 64_000
    backward = config.emulator().backward
    assert backward is not None
    assert backward.windows == channel.windows


def test_contacts_in_seconds() -> None:
    config = parse_emulate_config({"forward": {"windows_s": [[0, 1.5], [10, 20]]}})
    windows = config.emulator().forward.windows
    assert [(one.start_ns, one.end_ns) for one in windows] == [
        (0, 1_500_000_000),
        (10_000_000_000, 20_000_000_000),
    ]


def test_loss_with_and_without_fades() -> None:
    rng = np.random.default_rng(1)
    alone = EmulatedDirectionConfig(loss=0.1).channel().loss(rng)
    assert isinstance(alone, Bernoulli)
    fades = EmulatedDirectionConfig(loss=0.1, burst_ms=80).channel().loss(rng)
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
        ({"forward": {"tcp": {"share": 2}}}, "forward.tcp.share"),
        ({"forward": {"tcp": {"slize_bytes": 2}}}, "forward.tcp.slize_bytes"),
        ({"forward": {"disturbances": [{"kind": "random"}]}}, "forward.disturbances[0].loss"),
        ({"forward": {"disturbances": [{"kind": "hail"}]}}, "forward.disturbances[0].kind"),
        ({"tcp": {"segment_bytes": 0}}, "tcp.segment_bytes"),
        ({"time": {"factor": 0}}, "time.factor"),
        ({"time": {"plan": "x"}}, "time.a, b"),
        ({"time": {"start": "noon"}}, "time.start"),
        (
            {"station": {"latitude_deg": 91, "longitude_deg": 0}},
            "station.latitude_deg",
        ),
    ],
)
def test_errors_name_the_key(data: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_emulate_config(data)
    assert caught.value.key == key


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@pytest.mark.slow
@given(
    st.dictionaries(
        st.sampled_from(["listen_a", "peer_b", "seed", "forward", "repair_port"]),
        values
        | st.dictionaries(
            st.sampled_from(
                ["loss", "rate_bps", "delay_ms", "queue_bytes", "windows_s", "tcp", "disturbances"]
            ),
            values | st.lists(st.lists(st.floats(), max_size=3), max_size=2),
        ),
    )
)
def test_any_configuration_is_taken_or_refused(data: dict[str, Any]) -> None:
    try:
        emulator = parse_emulate_config(data).emulator()
    except ConfigError:
        return
    assert emulator.seed == data.get("seed", 0)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--listen-a", "here"], "listen_a: 'here' is no address"),
        (["--loss", "200%"], "200%"),
        (["--burst", "1s"], "set loss too"),
        (["--rate", "fast"], "fast"),
        (["gone.toml"], "gone.toml"),
        (["link.toml", "--tcp"], "--tcp: cannot be given beside a file"),
        (["link.toml", "--plan", "x", "--between", "a", "b"], "--between: cannot be given"),
        (["--plan", "gone.json", "--between", "a", "b"], "gone.json"),
        (["--plan", "gone.json"], "name the nodes at both ends"),
        (["--tcp"], "set peer_a or peer_b"),
        (["--capture", "/gone/x"], "/gone/x: No such file"),
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
    assert f"{path}:2: forward.loss" in ran.err


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


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_link_that_delays(programs: tuple[socket.socket, socket.socket], number: int) -> None:
    a, b = programs
    ports = free_ports(2)
    arguments = (
        *("emulate", "--listen-a", f"127.0.0.1:{ports[0]}"),
        *("--listen-b", f"127.0.0.1:{ports[1]}", "--delay", "100ms", "--duplicate", "100%"),
        *("--peer-b", f"127.0.0.1:{b.getsockname()[1]}", "--interval", "10ms", "--json"),
    )
    with running(*arguments) as (process, _):
        assert process.stdout is not None
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
    async def main(loop: MemoryLoop) -> None:
        link = await start_in_memory(loop, ChannelConfig(), tcp=TcpConfig())
        box = Box(EmulateConfig(), None, link, asyncio.Event())
        before = box.picture()
        loop.ports[0].hears(bytes(1000))
        await asyncio.sleep(1)
        link.set_up(False, "backward")
        console = Console(width=80, file=io.StringIO(), record=True)
        console.print(screen(box.picture(), before))
        text = console.export_text()
        assert "unlimited, 0 µs" in text
        assert "down" in text
        assert "8 kbit/s" in text
        assert "no connections yet" in text
        assert max(map(len, text.splitlines())) <= 80

    in_memory(main)


def ask(operation: Any, **fields: Any) -> Any:
    """Ask as a client would."""
    return operation(Request({"op": operation.__name__} | fields), None)


def test_operations_change_the_link_and_refuse_what_makes_no_sense(tmp_path: Path) -> None:
    async def main(loop: MemoryLoop) -> None:
        config = EmulateConfig(time=TimeConfig(start="2026-10-01T12:00:00Z", factor=60))
        link = await start_in_memory(loop, config.channel("forward", None))
        stop = asyncio.Event()
        box = Box(config, None, link, stop)
        assert set(box.operations()) >= {"status", "set", "blackout", "clock", "stop"}
        await ask(box.set, direction="forward", values={"delay_ms": 250, "rate_bps": 1e6})
        seen = (await ask(box.status))["link"]
        assert seen["forward"] | {"backlog_bytes": 0} == {
            "up": True,
            "rate_bps": 1e6,
            "delay_ms": 250,
            "backlog_bytes": 0,
        }
        assert seen["backward"]["delay_ms"] == 0, "what it had taken from the other direction"
        await ask(box.set, values={"delay_ms": 10})
        seen = (await ask(box.status))["link"]
        assert [seen[name]["delay_ms"] for name in ("forward", "backward")] == [10, 10]
        assert seen["forward"]["rate_bps"] == 1e6
        with pytest.raises(ConfigError, match="did you mean 'loss'"):
            await ask(box.set, values={"los": 1})
        with pytest.raises(ConfigError, match=r"loss: 3.0 is not within 0 to 1"):
            await ask(box.set, values={"loss": 3.0})
        refused: tuple[dict[str, Any], ...] = (
            {"values": {}},
            {"values": 5},
            {"values": {"loss": 0}, "direction": "up"},
        )
        for fields in refused:
            with pytest.raises(ControlError):
                await ask(box.set, **fields)
        assert not (await ask(box.up, on=False))["link"]["forward"]["up"]
        assert (await ask(box.up))["link"]["forward"]["up"]
        assert not (await ask(box.blackout, seconds=5))["link"]["backward"]["up"]
        assert (await ask(box.pause))["link"]["paused"]
        assert not (await ask(box.pause, on=False))["link"]["paused"]
        seen = (await ask(box.clock, time="2026-10-01T13:00:00Z", factor=1.0))["link"]
        assert (seen["scenario_s"], seen["factor"]) == (3600, 1)
        assert seen["time_ms"] == dtn_from_iso("2026-10-01T13:00:00Z")
        assert (await ask(box.clock, scenario_s=5))["link"]["scenario_s"] == 5
        refused = ({"time": "noon"}, {"scenario_s": -1}, {"factor": "x"})
        for fields in refused:
            with pytest.raises(ControlError):
                await ask(box.clock, **fields)
        await ask(box.capture, path=str(tmp_path / "x"))
        assert (await ask(box.capture))["capture"]["packets"] == 0
        with pytest.raises(ConfigError, match="tcp: is off"):
            await ask(box.reset)
        with pytest.raises(ConfigError, match="tcp: is off"):
            await ask(box.refuse)
        await ask(box.end)
        await stop.wait()

    in_memory(main)


def test_without_a_date_the_clock_takes_seconds() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start_in_memory(loop, ChannelConfig())
        box = Box(EmulateConfig(), None, link, asyncio.Event())
        with pytest.raises(ControlError, match="there is no date"):
            await ask(box.clock, time="2026-10-01T13:00:00Z")

    in_memory(main)


PLAN = """
a contact +10 +70 1 2 32000
a contact +10 +70 2 1 1000000
a range +0 +1000 1 2 0.008
"""


def test_a_contact_plan_says_when_the_link_is_up(tmp_path: Path) -> None:
    (tmp_path / "plan.ionrc").write_text(PLAN)
    path = tmp_path / "link.toml"
    path.write_text(
        'control = "a.sock"\n[forward]\ndelay_ms = 2\n[backward]\nrate_bps = 5e5\n'
        '[time]\nplan = "plan.ionrc"\na = "ipn:1.0"\nb = "ipn:2.0"\nfactor = 60\n'
    )
    config = load_emulate_config(path)
    assert config.control == str(tmp_path / "a.sock")
    planned = config.plan()
    assert planned is not None
    channels = config.emulator(planned)
    assert channels.backward is not None
    assert channels.forward.windows == (Window(0, 60 * SECOND, 256_000),), "from the first contact"
    assert channels.backward.windows == (Window(0, 60 * SECOND, 500_000),)
    assert channels.forward.delay.at_one(0) == 10e6
    assert channels.schedule.factor == 60
    both = dataclasses.replace(config, forward=EmulatedDirectionConfig(windows_s=((0, 1),)))
    with pytest.raises(ConfigError, match=r"forward.windows_s: stands beside a plan"):
        both.emulator(planned)
    later = dataclasses.replace(config.time, start="2000-01-01T00:00:05Z")
    planned = dataclasses.replace(config, time=later).plan()
    assert planned is not None
    assert planned.link("forward", 0).windows[0].start_ns == 10 * SECOND
    wrong = dataclasses.replace(config, time=dataclasses.replace(config.time, b="ipn:3.0"))
    with pytest.raises(ConfigError, match=r"no contact from ipn:1.0 to ipn:3.0"):
        wrong.emulator(wrong.plan())


def test_disturbances_of_both_and_of_one_direction() -> None:
    config = parse_emulate_config(
        {
            "station": {"latitude_deg": 78.2, "longitude_deg": 15.4},
            "disturbances": [{"kind": "flapping", "period_s": 60, "down_s": 5}],
            "forward": {"disturbances": [{"kind": "random", "loss": 0.5}]},
            "backward": {},
        }
    )
    channels = config.emulator()
    assert channels.backward is not None
    assert (len(channels.forward.rules), len(channels.backward.rules)) == (2, 1)


@pytest.mark.slow
def test_a_running_emulator_is_looked_at_and_changed(
    cli: Cli, tmp_path: Path, programs: tuple[socket.socket, socket.socket]
) -> None:
    a, b = programs
    ports = free_ports(2)
    path = tmp_path / "link.toml"
    path.write_text(
        f'listen_a = "127.0.0.1:{ports[0]}"\nlisten_b = "127.0.0.1:{ports[1]}"\n'
        f'peer_b = "127.0.0.1:{b.getsockname()[1]}"\ncontrol = "link.sock"\n[tcp]\n'
    )
    with running("emulate", path) as (process, line):
        assert "control socket" in line
        at = ("--socket", tmp_path / "link.sock")
        assert cli("link", "set", "delay=30ms", "loss=0%", "queue_ms=5", *at).code == 0
        ran = cli("link", "down", "-d", "forward", *at)
        assert "A to B: down" in ran.out
        a.sendto(b"lost", ("127.0.0.1", ports[0]))
        (status,) = cli("link", "status", *at, "--json").json
        while not status["forward"]["offered_datagrams"]:
            (status,) = cli("link", "status", *at, "--json").json
        assert status["forward"]["dropped_down_datagrams"] == 1
        assert cli("link", "blackout", "0s", *at).code == 0
        capture = tmp_path / "x.pcapng"
        assert cli("link", "capture", capture, *at).code == 0
        a.sendto(b"over", ("127.0.0.1", ports[0]))
        assert b.recv(100) == b"over"
        assert "2 packets" in cli("link", "capture", *at).out
        assert "there was no capture" in cli("link", "capture", *at).out
        assert "paused" in cli("link", "pause", *at).out
        assert "paused" not in cli("link", "resume", *at).out
        assert "100 times as fast" in cli("link", "clock", "60", "--factor", "100", *at).out
        assert cli("link", "refuse", *at).code == cli("link", "refuse", "--off", *at).code == 0
        assert "0 connections" in cli("link", "reset", *at).out
        assert "A to B" in cli("link", "status", *at).out
        second = cli("emulate", path)
        assert second.code == 2
        assert "somebody serves" in second.err
        for words, part in (
            (("set", "delay"), "has no value"),
            (("set", "loss=200%"), "200%"),
            (("set", "windows_s=["), "is not TOML"),
            (("set", "los=1"), "did you mean 'loss'?"),
            (("capture", tmp_path / "no" / "where"), "No such file"),
        ):
            ran = cli("link", *words, *at)
            assert ran.code == 2, words
            assert part in ran.err
        assert "stopped" in cli("link", "stop", *at).out
        assert finish(process).code == 0
        ran = cli("link", "status", *at)
        assert ran.code == 4
        assert "no emulator answers" in ran.err
