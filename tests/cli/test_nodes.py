"""Commands against real nodes: two processes, joined by UDP, asked over their control sockets."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from interop.machines.ports import free_ports
from stack.cli.common import control_path
from stack.core.errors import ConfigError
from stack.core.units import size_text
from stack.node.config import load_config
from stack.wire.ltp import DataSegment, ReportAck, SegmentType, SessionId, encode_segment
from tests.cli.conftest import Pair
from tests.cli.helpers import ROOT, Cli, finish, running_node, start, write_config

GROUND = "dtn://gs/"
SATELLITE = "dtn://sat/"


def test_ping_the_peer(cli: Cli, pair: Pair) -> None:
    ran = cli("ping", SATELLITE, "--count", 2, "--interval", "10ms", "--node", pair[0])
    assert ran.code == 0
    assert f"{SATELLITE}echo: 2 of 2 answered, min / mean / max" in ran.out
    ran = cli("ping", SATELLITE, "-c", 1, "-n", pair[0], "--json")
    reply, summary = ran.json
    assert reply["rtt_ns"] == summary["min_ns"] > 0


def test_ping_that_nobody_answers_where_ion_has_no_echo(cli: Cli, pair: Pair) -> None:
    ran = cli("ping", "ipn:2.0", "-c", 1, "--timeout", "10ms", "-n", pair[0])
    assert ran.code == 3
    assert "ipn:2.0 was asked at ipn:2.2047" in ran.out
    assert "bpecho" in ran.out
    assert "such as ipn:2.2" in ran.out
    ran = cli("ping", "ipn:2.2", "-c", 1, "--timeout", "10ms", "-n", pair[0])
    assert "ipn:2.2: 0 of 1 answered\n" in ran.out
    assert "bpecho" not in ran.out


@pytest.mark.slow
def test_status_reports_are_shown_as_they_come(cli: Cli, tmp_path: Path) -> None:
    ports = free_ports(2)
    extra = "[agent]\nstatus_reports = true"
    ground = write_config(tmp_path, "gs", peer="sat", ports=ports)
    satellite = write_config(tmp_path, "sat", peer="gs", ports=ports[::-1], extra=extra)
    with running_node(ground), running_node(satellite):
        ran = cli(
            "send",
            SATELLITE,
            "-m",
            "hi",
            "--report",
            "received,deleted",
            "--timeout",
            "2s",
            "--lifetime",
            "30s",
            "--json",
            "-n",
            ground,
        )
        stored, report = ran.json
        assert stored["destination"] == "dtn://sat/messages"
        assert (report["from"], report["status"]) == (SATELLITE, ["received"])
        assert report["time"].startswith("20")
        ran = cli("ping", f"{SATELLITE}echo", "-c", 1, "--report", "delivered", "-n", ground)
        assert ran.code == 0
        assert f"ping 0: delivered by {SATELLITE} at 20" in ran.out
        elsewhere = ("--report", "delivered", "--report-to", "dtn://other/")
        ran = cli("send", SATELLITE, "-m", "hi", *elsewhere, "-n", ground)
        assert (ran.code, ran.out.count("stored")) == (0, 1)
        # Nobody but this node could report, and it does not: nothing comes.
        options = ("--report", "forwarded", "--timeout", "100ms", "-n", ground)
        ran = cli("send", SATELLITE, "-m", "hi", *options)
        assert (ran.code, "no status report came within 100 ms" in ran.err) == (3, True)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("-m", "x", "--report", "read"), "'read' is no status"),
        (("-m", "x", "--report-to", "dtn://a/"), "report_to: goes with report"),
        ((__file__, "--report", "delivered"), "the receiver of a file confirms it by itself"),
    ],
)
def test_status_reports_that_cannot_be_asked_for(
    cli: Cli, pair: Pair, options: tuple[str, ...], why: str
) -> None:
    ran = cli("send", SATELLITE, *options, "-n", pair[0])
    assert ran.code == 2
    assert why in ran.err


def test_ping_that_nobody_answers(cli: Cli, pair: Pair) -> None:
    ran = cli("ping", "dtn://nobody/", "-c", 1, "--timeout", "10ms", "-n", pair[0])
    assert ran.code == 3
    assert "no answer within 10 ms" in ran.out


def test_status(cli: Cli, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORBITFERRY_NODE", str(pair[0]))
    ran = cli("status")
    assert ran.code == 0
    for part in (GROUND, "store:", "sat", "up", "always"):
        assert part in ran.out
    (status,) = cli("status", "--json").json
    assert status["links"][0]["peer"] == SATELLITE
    assert status["links"][0]["share"] is None  # an authenticated link has none
    assert "brought and held" not in ran.out
    (figures,) = cli("status", "--counters", "--json").json
    assert figures["counters"]["link.sat.udp.sent_datagrams"] >= 0
    assert "store.bytes" in cli("status", "--counters").out


@pytest.mark.slow
def test_status_of_a_link_on_which_nothing_was_heard(cli: Cli, tmp_path: Path) -> None:
    ports = free_ports(2)
    config = write_config(tmp_path, "lone", peer="sat", ports=ports)
    signed = config.read_text()
    config.write_text(signed.replace("[links.ltp]", 'authentication = "off"\n[links.ltp]'))
    with running_node(config):
        assert "open, nothing heard yet" in cli("status", "-n", config).out
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", ports[1]))
            segment = DataSegment(
                session=SessionId(7, 1), kind=SegmentType.RED, client_service=1, offset=0, data=b"x"
            )
            shown = ""
            told = "sat: segments for engine 7 from 127.0.0.1, this link expects 2"
            for _ in range(200):
                peer.sendto(encode_segment(segment), ("127.0.0.1", ports[0]))
                if told in (shown := cli("status", "-n", config).out):
                    break
        assert told in shown
        assert "set ltp.remote_engine_id = 7" in shown
        (status,) = cli("status", "--json", "-n", config).json
        assert (status["links"][0]["up"], status["links"][0]["state"]) == (False, "open")
        share = status["links"][0]["share"]
        assert share["bytes"] == 0 < share["reserved_bytes"]
        assert f"brought and held: 0 B, kept for it: {size_text(share['reserved_bytes'])}" in shown


@pytest.mark.slow
def test_status_of_a_link_on_which_all_is_unsigned(cli: Cli, tmp_path: Path) -> None:
    ports = free_ports(2)
    config = write_config(tmp_path, "lone", peer="sat", ports=ports)
    segment = encode_segment(ReportAck(session=SessionId(2, 1), report_serial=1))
    told, shown = "sat: no segment has LTP authentication; ", ""
    with running_node(config), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", ports[1]))
        for _ in range(200):
            peer.sendto(segment, ("127.0.0.1", ports[0]))
            if told in (shown := cli("status", "-n", config).out):
                break
        assert told in shown
        assert "open, nothing heard yet" in shown
        assert "give dtn://sat/ the same ltp key" in shown
        assert 'set authentication = "off"' in shown


def test_a_message_there(cli: Cli, pair: Pair) -> None:
    assert cli("send", SATELLITE, "-m", "hello, orbit", "-n", pair[0]).code == 0
    ran = cli("receive", "--messages", "-c", 1, "--timeout", "30s", "-n", pair[1])
    assert ran.code == 0
    assert ran.out == "dtn://gs/messages: hello, orbit\n"
    ran = cli("receive", "--messages", "--no-wait", "-n", pair[1])
    assert (ran.code, ran.out) == (3, ""), "it was taken"


def test_a_message_is_cancelled_while_it_waits(cli: Cli, pair: Pair) -> None:
    node = ("-n", pair[0])
    ids = []
    for text in ("one", "two"):
        ran = cli("send", "dtn://nobody/", "-m", text, *node)
        ids.append(ran.out.rpartition("id ")[2].strip())
    shown = cli("status", "--bundles", *node).out
    assert all(one in shown for one in ids)
    ran = cli("cancel", ids[0], *node)
    assert (ran.code, ran.out) == (0, f"{ids[0]}: cancelled\n")
    ran = cli("cancel", "--json", *ids, *node)
    assert ran.code == 1  # the first does not wait any more
    assert [(one["bundle"], one["bundles"]) for one in ran.json] == [(ids[0], 0), (ids[1], 1)]
    ran = cli("cancel", ids[0], *node)
    assert ran.code == 1
    assert "does not wait here" in ran.out
    left = cli("status", "--bundles", "--json", *node).out  # of other tests
    assert not any(one in left for one in ids)
    idle = ("-n", pair[1])
    assert "no bundle that was sent from here waits" in cli("status", "--bundles", *idle).out
    assert cli("status", "--bundles", "--json", *idle).out == ""
    assert cli("status", "--quarantine", *node).out == "no bundle is in quarantine\n"
    ran = cli("cancel", "nonsense", *node)
    assert ran.code == 2
    assert "is no bundle id" in ran.err


@pytest.mark.slow
def test_messages_from_standard_input_and_in_full(pair: Pair, tmp_path: Path) -> None:
    payload = bytes(range(256))
    sending = [sys.executable, "-m", "stack.cli.main", "send", SATELLITE, "-", "-n", str(pair[0])]
    options = {"cwd": ROOT, "capture_output": True, "timeout": 60}
    subprocess.run(sending, input=payload, check=True, **options)  # type: ignore[call-overload]
    taking = ["receive", "--raw", "-c", "1", "--timeout", "30s", "-n", str(pair[1])]
    command = [sys.executable, "-m", "stack.cli.main", *taking]
    done = subprocess.run(command, check=True, **options)  # type: ignore[call-overload]
    assert done.stdout == payload


def test_a_message_cannot_take_over_the_terminal(cli: Cli, pair: Pair) -> None:
    cli("send", SATELLITE, "-m", "\x1b]0;owned\x07", "-n", pair[0])
    ran = cli("receive", "--messages", "-c", 1, "--timeout", "30s", "-n", pair[1])
    assert "\x1b" not in ran.out
    assert "\\x1b]0;owned" in ran.out


def test_messages_into_files(cli: Cli, pair: Pair, tmp_path: Path) -> None:
    source = tmp_path / "payload"
    source.write_bytes(b"as it is")
    assert cli("send", SATELLITE, source, "--as-message", "-n", pair[0]).code == 0
    into = tmp_path / "in"
    options = ("--messages", "-c", 1, "--timeout", "30s", "-n", pair[1])
    (event,) = cli("receive", "--into", into, *options, "--json").json
    assert Path(event["path"]).read_bytes() == b"as it is"
    assert event["source"] == "dtn://gs/messages"


def test_a_file_there_with_progress(cli: Cli, pair: Pair, tmp_path: Path) -> None:
    content = os.urandom(900_000)
    source = tmp_path / "scene.tif"
    source.write_bytes(content)
    options = ("--wait", "--timeout", "60s", "--priority", "expedited", "-n", pair[0])
    ran = cli("send", SATELLITE, source, *options)
    assert ran.code == 0
    assert ran.out.endswith("scene.tif: delivered\n")
    assert " of 900 kB" in ran.err
    assert (ran.out + ran.err).count("delivered") == 1, "said once, also where both go to one log"
    assert "scene.tif" in cli("receive", "--list", "-n", pair[1]).out
    into = tmp_path / "in"
    into.mkdir()
    (into / "scene.tif").write_bytes(b"something else")
    ran = cli("receive", "--files", "--into", into, "-c", 1, "--timeout", "30s", "-n", pair[1])
    assert ran.code == 0
    assert (into / "scene-1.tif").read_bytes() == content
    assert (into / "scene.tif").read_bytes() == b"something else"
    assert not (pair[1].parent / "sat" / "files" / "scene.tif").exists(), "it was moved"
    assert cli("receive", "--list", "-n", pair[1]).out == "no files wait to be taken\n"


def test_a_file_is_moved_to_another_file_system(
    cli: Cli, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_file_system(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr("os.link", other_file_system)
    source = tmp_path / "far.tif"
    into = tmp_path / "in"
    for content in (b"one", b"two"):
        source.write_bytes(content)
        assert cli("send", SATELLITE, source, "--wait", "-n", pair[0]).code == 0
        ran = cli("receive", "--files", "--into", into, "-c", 1, "-n", pair[1])
        assert ran.code == 0, ran.err
    found = {path.name: path.read_bytes() for path in into.iterdir()}
    assert found == {"far.tif": b"one", "far-1.tif": b"two"}


def test_a_file_on_a_terminal_has_a_bar(
    cli: Cli, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "bar.tif"
    source.write_bytes(b"x" * 300_000)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    ran = cli("send", SATELLITE, source, "--wait", "-n", pair[0])
    assert ran.code == 0
    assert "100 %" in ran.err
    cli("receive", "--files", "-c", 1, "-n", pair[1])


def test_a_folder_as_json(cli: Cli, pair: Pair, tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text(name)
    ran = cli("send", SATELLITE, folder, "-w", "--name", "batch", "-n", pair[0], "--json")
    assert ran.code == 0
    assert {one["name"] for one in ran.json} == {"batch/a", "batch/b"}
    assert {one["state"] for one in ran.json[2:]} == {"delivered"}
    into = tmp_path / "in"
    ran = cli("receive", "--files", "--into", into, "-c", 2, "-n", pair[1], "--json")
    assert {one["place"] for one in ran.json} == {"batch/a", "batch/b"}
    assert (into / "batch" / "a").read_text() == "a"


def test_transfers_are_listed_waited_for_and_cancelled(
    cli: Cli, pair: Pair, tmp_path: Path
) -> None:
    source = tmp_path / "lost.tif"
    source.write_bytes(b"lost")
    (sent,) = cli("send", "dtn://nobody/", source, "-n", pair[0], "--json").json
    listed = cli("transfers", "list", "-n", pair[0])
    assert sent["id"] in listed.out
    assert "dtn://nobody/" in listed.out
    some = sent["id"][:12]
    ran = cli("transfers", "wait", some, "--timeout", "10ms", "-n", pair[0])
    assert (ran.code, ran.out) == (3, "lost.tif: not delivered yet\n")
    ran = cli("transfers", "cancel", some, "-n", pair[0])
    assert (ran.code, ran.out) == (0, f"{sent['id']}: cancelled\n")
    ran = cli("transfers", "wait", sent["id"], "-n", pair[0])
    assert ran.code == 1
    assert "lost.tif: cancelled" in ran.out
    ran = cli("transfers", "cancel", "0000000000", "-n", pair[0])
    assert ran.code == 1
    assert "no transfer begins with" in ran.err
    assert cli("transfers", "list", "-n", pair[0]).out == "nothing is under way\n"
    every = cli("transfers", "list", "--all", "--json", "-n", pair[0]).json
    assert sent["id"] in {one["id"] for one in every}


def test_a_job_runs_there_and_its_results_come_back(cli: Cli, pair: Pair, tmp_path: Path) -> None:
    source = tmp_path / "words.txt"
    source.write_bytes(b"w" * 4321)
    ran = cli("job", "submit", SATELLITE, "count", source, "--wait", "-n", pair[0], "--json")
    assert ran.code == 0, ran.err
    done = ran.json[-1]
    assert done["state"] == "finished"
    assert Path(done["files"]["count.txt"]).read_text().strip() == "4321"
    some = done["id"][:12]
    shown = cli("job", "status", some, "-n", pair[0])
    assert "finished" in shown.out
    assert "count.txt" in shown.out
    assert cli("job", "wait", some, "-n", pair[0]).code == 0
    assert cli("job", "list", "-n", pair[0]).out == "no job is under way\n"
    assert done["id"] in cli("job", "list", "--all", "-n", pair[0]).out
    (one,) = cli("job", "status", done["id"], "-n", pair[0], "--json").json
    assert one["complete"]


@pytest.mark.parametrize(
    ("handler", "parts"), [("fail", ["exit code 7", "no luck"]), ("dance", ["no handler 'dance'"])]
)
def test_a_job_that_fails(cli: Cli, pair: Pair, handler: str, parts: list[str]) -> None:
    ran = cli("job", "submit", SATELLITE, handler, "--wait", "-n", pair[0])
    assert ran.code == 1
    for part in ("failed", *parts):
        assert part in ran.out


def test_a_job_is_cancelled(cli: Cli, pair: Pair) -> None:
    (job,) = cli("job", "submit", SATELLITE, "sleep", "-n", pair[0], "--json").json
    assert cli("job", "wait", job["id"], "--timeout", "10ms", "-n", pair[0]).code == 3
    assert "is being asked to stop" in cli("job", "cancel", job["id"], "-n", pair[0]).out
    ran = cli("job", "wait", job["id"], "-n", pair[0])
    assert ran.code == 1
    assert "cancelled" in ran.out
    assert cli("job", "cancel", job["id"], "-n", pair[0]).code == 1


def test_job_usage(cli: Cli, pair: Pair, tmp_path: Path) -> None:
    for arguments, part in (
        (["x", "--arg", "azimuth"], "is no NAME=VALUE"),
        (["x", tmp_path / "missing"], "no such file"),
    ):
        ran = cli("job", "submit", SATELLITE, *arguments, "-n", pair[0])
        assert ran.code == 2
        assert part in ran.err
    ran = cli("job", "status", "0000000000", "-n", pair[0])
    assert ran.code == 1
    assert "no job begins with" in ran.err


def test_the_plan_of_a_running_node(cli: Cli, pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "plan.ionrc"
    path.write_text("a contact +0 +3600 1 2 1000\n")
    ran = cli("plan", "set", path, "-n", pair[0])
    assert (ran.code, ran.out) == (0, f"{path}: followed from now on, 1 contact\n")
    path.write_text("")
    assert cli("plan", "set", path, "-n", pair[0], "--json").json[0]["contacts"] == 0
    shown = cli("plan", "show", "-n", pair[0], "--json").json
    assert {(one["source"], one["end"]) for one in shown} == {(GROUND, None), (SATELLITE, None)}
    ionrc = tmp_path / "own.ionrc"
    ionrc.write_text("a contact +0 +60 1 1 1000\na range +0 +60 1 1 0\n")
    ran = cli("plan", "set", ionrc, "-n", pair[0])
    assert "1 x contact of a node with itself (first: line 1)" in ran.err
    assert (
        "with itself" in cli("plan", "set", ionrc, "-n", pair[0], "--json").json[0]["passed_over"]
    )
    ran = cli("plan", "set", tmp_path / "missing.json", "-n", pair[0])
    assert ran.code == 2
    assert "missing.json" in ran.err


def test_usage_of_send_and_receive(cli: Cli, pair: Pair, tmp_path: Path) -> None:
    node = ("-n", pair[0])
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    fine, odd = outside / "fine.txt", outside / "folder"
    odd.mkdir(parents=True)
    for path in (fine, odd / "a.txt", odd / "b\u202e.txt"):
        path.write_text("x")
    before = cli("transfers", "list", "--json", *node).out
    for arguments, code, part in (
        (["send", SATELLITE, *node], 2, "--message"),
        (["send", SATELLITE, "x", "-m", "y", *node], 2, "not both"),
        (["send", SATELLITE, fine, odd, *node], 2, "U+202E"),
        (["send", SATELLITE, fine, tmp_path / "missing", *node], 2, "no such file"),
        (["send", SATELLITE, tmp_path / "missing", *node], 2, "no such file"),
        (["send", SATELLITE, tmp_path, *node], 2, "holds no files"),
        (["send", "sat", "-m", "x", *node], 2, "is no node"),
        (["send", SATELLITE, "a", "b", "--name", "c", *node], 2, "--name"),
        (["receive", "--raw", "--json", *node], 2, "--raw"),
        (["send", SATELLITE, "-m", "x", "--lifetime", "100000d", *node], 2, "lifetime_s"),
    ):
        ran = cli(*arguments)
        assert ran.code == code, ran.err
        assert part in ran.err
    assert cli("transfers", "list", "--json", *node).out == before  # nothing was sent


# ---- finding a node --------------------------------------------------------------------------


def test_the_socket_is_where_the_node_puts_it(tmp_path: Path) -> None:
    for name, extra in (("plain", ""), ("named", 'control = "x.sock"\n'), ("deep", "")):
        path = tmp_path / f"{name}.toml"
        path.write_text(
            f'id = "dtn://{name}/"\ndata_dir = "data/{name}"\n{extra}[security]\nprotect = "none"\n'
        )
        assert control_path(path) == load_config(path).control_path
    assert control_path(tmp_path) == tmp_path / "control.sock"
    assert control_path(tmp_path / "any.sock") == tmp_path / "any.sock"


def test_no_node_is_named(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = cli("status")
    assert ran.code == 2
    assert "ORBITFERRY_NODE" in ran.err
    write_config(tmp_path, "node")
    ran = cli("status")
    assert ran.code == 4, "node.toml is found, but nobody runs it"
    assert str(tmp_path / "node.sock") in ran.err


@pytest.mark.parametrize("content", [b"id = ", b"\xff", b"id = 5", b"data_dir = 5"])
def test_a_configuration_that_does_not_lead_to_a_node(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        control_path(path)
    assert str(path) in caught.value.key


# ---- beginning and ending --------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_node_cleanly(tmp_path: Path, number: int) -> None:
    config = write_config(tmp_path, "solo")
    process = start("node", config, "--json")
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert ready["node"] == "dtn://solo/"
    assert ready["pid"] == process.pid
    assert Path(ready["control"]).exists()
    process.send_signal(number)
    ran = finish(process)
    assert ran.code == 0
    events = [json.loads(line)["event"] for line in ran.err.splitlines()]
    assert (events[0], events[-1]) == ("node_started", "node_stopped")
    assert not Path(ready["control"]).exists()


@pytest.mark.slow
def test_stop_waits_for_the_end(cli: Cli, tmp_path: Path) -> None:
    config = write_config(tmp_path, "solo")
    with running_node(config) as process:
        ran = cli("stop", "--node", config)
        assert (ran.code, ran.out) == (0, "dtn://solo/: stopped\n")
        assert process.wait(timeout=10) == 0
    assert cli("stop", "--node", config).code == 4


@pytest.mark.slow
def test_a_node_that_was_killed_starts_again(cli: Cli, tmp_path: Path) -> None:
    config = write_config(tmp_path, "solo")
    with running_node(config) as process:
        assert cli("send", "dtn://solo/", "-m", "kept", "-n", config).code == 0
        process.kill()
    assert control_path(config).exists(), "it had no chance to clean up"
    with running_node(config):
        ran = cli("receive", "--messages", "--no-wait", "-n", config)
        assert ran.out == "dtn://solo/messages: kept\n"


def test_a_second_node_is_refused(cli: Cli, pair: Pair) -> None:
    ran = cli("node", pair[0])
    assert ran.code == 2
    assert "a node is running here already" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "instead", "part"),
    [
        ('key_file = "keys.toml"', 'key_file = "gone.toml"', "orbitferry keys new"),
        ('peer = "dtn://sat/"', 'peer = "sat"', "links[0].peer"),
        ('local = "127.0.0.1', 'local = "192.0.2.1', "cannot bind"),
        ('control = "solo.sock"', 'control = "gone/x.sock"', "control"),
    ],
)
def test_errors_of_a_start_are_one_line(
    cli: Cli, tmp_path: Path, line: str, instead: str, part: str
) -> None:
    config = write_config(tmp_path, "solo", peer="sat", ports=free_ports(2))
    text = config.read_text()
    assert line in text
    config.write_text(text.replace(line, instead) + '[log]\nlevel = "off"\n')
    ran = cli("node", config)
    assert ran.code == 2, ran.err
    assert part in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [["receive", "--messages"], ["ping", GROUND, "--count", "2", "--interval", "1h"]],
)
def test_ctrl_c_ends_a_command_with_130(cli: Cli, pair: Pair, arguments: list[str]) -> None:
    cli("send", GROUND, "-m", "one", "-n", pair[0])
    process = start(*arguments, "-n", pair[0], "--json")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("{"), "the first of more that never come"
    process.send_signal(signal.SIGINT)
    ran = finish(process)
    assert ran.code == 130
    assert ran.err == "orbitferry: interrupted\n"
