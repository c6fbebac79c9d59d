"""Targets that behave, and such as do not."""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import sys
from pathlib import Path

import pytest

from interop.fuzzing import (
    Campaign,
    Case,
    CaseStream,
    Target,
    TargetGoneError,
    TargetOptions,
    network,
    watch,
)
from interop.fuzzing import make_target as make
from interop.fuzzing.protocols import known
from interop.fuzzing.python import Hang, PythonTarget
from interop.machines.ports import free_ports
from stack.core.errors import ConfigError
from stack.wire.tcpcl import SessionInit, encode_message

READER = """
import os, sys, time
data = open(sys.argv[1], "rb").read() if len(sys.argv) > 1 else sys.stdin.buffer.read()
if data == b"hang": time.sleep(60)
if data == b"kill": os.kill(os.getpid(), 11)
if data == b"raise": data[99]
sys.exit(data != b"good")
"""
SERVER = """
import os, socket, sys
os.chdir(os.path.dirname(__file__))
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", int(sys.argv[1])))
held, files = [], []
while True:
    data, peer = sock.recvfrom(65536)
    if data == b"exit": sys.exit(0)
    if data == b"hang":
        while True: pass
    if data == b"grow": held.append(bytearray(80_000_000))
    if data == b"open": files += [open("/dev/null") for _ in range(400)]
    if data == b"write": open("file", "wb").write(bytes(2_000_000))
    if data == b"cry": print("thread panicked at x.rs:1:2", file=sys.stderr, flush=True)
    if data == b"ping": sock.sendto(b"pong", peer)
"""


def script(folder: Path, text: str) -> str:
    """A program; the command that runs it."""
    path = folder / "program.py"
    path.write_text(text)
    return f"{sys.executable} -S -E {path}"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["standard input", "file"])
def test_a_command_is_run_for_each_case(tmp_path: Path, how: str) -> None:
    command = script(tmp_path, READER) + (" {}" if how == "file" else "")
    target = make(command, "raw", TargetOptions(timeout_s=2))
    target.open()
    try:
        assert target.feed([b"go", b"od"]).verdict == "taken"
        assert target.feed([b"bad"]).verdict == "refused"
        assert target.feed([b"kill"]).place == "SIGSEGV"
        raised = target.feed([b"raise"])
        assert (raised.verdict, raised.place) == ("crash", "IndexError in program.py:6 <module>")
        assert target.feed([b"hang"]).verdict == "hang"
    finally:
        target.close()


def test_a_command_that_is_not_there() -> None:
    target = make("/no/such/reader", "raw", TargetOptions())
    target.open()
    with pytest.raises(ConfigError, match="cannot be run"):
        target.feed([b""])


def served(folder: Path, *, probe: bytes | None = b"ping", told: str = "") -> Target:
    (folder / "sessions").write_text(told)
    (port,) = free_ports(1)
    options = TargetOptions(
        start=f"{script(folder, SERVER)} {port}",
        timeout_s=1,
        probe=probe,
        memory_bytes=50_000_000,
        disk_bytes=1_000_000,
        tell_sessions=f"cat {folder / 'sessions'}" if told else "",
    )
    return make(f"udp://127.0.0.1:{port}", "raw", options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("message", "kind", "place"),
    [
        (b"exit", "crash", "exit code 0"),
        (b"hang", "hang", "no answer"),
        (b"cry", "crash", "x.rs:1:2"),
        (b"grow", "growth", "memory"),
        (b"open", "growth", "handles"),
        (b"write", "growth", "disk"),
    ],
)
def test_a_started_target_is_watched_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: bytes, kind: str, place: str
) -> None:
    # However long a first look at its files took on a busy machine, they are looked at again.
    monkeypatch.setattr(watch, "DISK_SHARE", 0)
    target = served(tmp_path)
    campaign = Campaign(target, CaseStream(known("raw"), 1, [b"x"]))
    target.open()
    try:
        for number in range(60):
            campaign.feed(Case((message if number == 3 else b"well",), "valid"))
    finally:
        target.close()
    (found,) = campaign.course.findings.values()
    assert (found.kind, found.place, found.times) == (kind, place, 1)
    assert message in found.messages[-1] or not found.repeats or kind == "growth"
    assert campaign.course.verdicts["unsaid"] == 59


def test_open_sessions_are_watched_where_the_target_tells_them(tmp_path: Path) -> None:
    target = served(tmp_path, told="open sessions: 7\n")
    target.open()
    try:
        told = [target.feed([b"well"]) for _ in range(50)]
        assert not [one for one in told if one.is_fault]
        (tmp_path / "sessions").write_text("open sessions: 1008\n")
        told = [target.feed([b"well"]) for _ in range(50)]
        assert [one.place for one in told if one.is_fault] == ["sessions"]
        (tmp_path / "sessions").write_text("none")
        for _ in range(49):
            target.feed([b"well"])
        with pytest.raises(ConfigError, match="tells no number"):
            target.feed([b"well"])
    finally:
        target.close()


def test_a_target_that_works_with_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter((1.0, 6.0, 6.1))
    monkeypatch.setattr(watch, "usage", lambda pid: watch.ProcessUsage(cpu_s=next(taken)))
    monkeypatch.setattr(watch, "BUSY_S", 0.0)
    monkeypatch.setattr(watch, "working_folder", lambda pid: "")
    found = watch.Watch(0, watch.GrowthBounds(1, 1)).grown()
    assert found is not None
    assert found.place == "processor"


def test_a_target_that_knows_no_probes_is_seen_to_end(tmp_path: Path) -> None:
    target = served(tmp_path, probe=None)
    target.open()
    try:
        assert target.feed([b"well"]).verdict == "unsaid"
        outcomes = [target.feed([b"exit"]), *(target.feed([b"well"]) for _ in range(200))]
        assert "crash" in [one.verdict for one in outcomes]
    finally:
        target.close()


def test_a_target_that_was_not_started_here_and_goes(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        target = make(f"udp://127.0.0.1:{port}", "raw", TargetOptions(timeout_s=0.1))
        campaign = Campaign(target, CaseStream(known("raw"), 1, [b"x"]))
        target.open()
        campaign.feed(Case((b"a",), "valid"))
    try:
        with pytest.raises(TargetGoneError, match="does not come back"):
            campaign.feed(Case((b"b",), "valid"))
    finally:
        target.close()
    (found,) = campaign.course.findings.values()
    assert (found.kind, found.messages, found.repeats) == ("crash", (b"b",), False)


@pytest.mark.parametrize(
    ("text", "options", "fault"),
    [
        ("udp://192.0.2.1:1113", TargetOptions(), "another machine"),
        ("udp://:9", TargetOptions(), "names no host"),
        ("udp://127.0.0.1:0", TargetOptions(), "names no host"),
        ("tcp://127.0.0.1:x", TargetOptions(), "is no address"),
        ("python:no.such.module:f", TargetOptions(), "cannot be imported"),
        ("python:json:nothing", TargetOptions(), "has no function"),
        ("", TargetOptions(), "names nothing"),
        ("a 'b", TargetOptions(), "is no command"),
        ("./reader", TargetOptions(start="x"), "--start"),
        ("udp://127.0.0.1:9", TargetOptions(start=" "), "is empty"),
    ],
)
def test_what_is_no_target(text: str, options: TargetOptions, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        make(text, "raw", options)


TCPCL_PEER = """
import socket, sys
sock = socket.create_server(('127.0.0.1', int(sys.argv[1])))
while True:
    with sock.accept()[0] as one:
        heard = b""
        while data := one.recv(100):
            heard += data
            if b"die" in heard: sys.exit(3)
            if heard == data: one.sendall(b"dtn!\\x04\\x00")
            elif data[:1] == b"\\x07": one.sendall(data)
            else: one.sendall(b"\\x04")
"""


def test_streams_are_connections_and_states_are_told_by_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "QUIET_S", 1.0)  # the machine may be busy
    (port,) = free_ports(1)
    options = TargetOptions(start=f"{script(tmp_path, TCPCL_PEER)} {port}", timeout_s=1)
    target = make(f"tcp://127.0.0.1:{port}", "tcpclv4", options)
    cases = CaseStream(known("tcpclv4"), 1, opening=target.opening)
    contact, init = (
        target.opening,
        encode_message(SessionInit(keepalive_s=0, segment_mru=100, transfer_mru=100, node_id="")),
    )
    target.open()
    try:
        assert target.feed([contact, b"\x04"]).answers == ("contact header", "KEEPALIVE")
        both = target.feed([contact, init, b"", contact, b"\x04"]).answers
        assert both == ("contact header", "SESS_INIT", "contact header", "KEEPALIVE")
        assert set(cases.steps([contact, init], both[:2])) == {
            ("SESS_INIT", "contact header"),
            ("contact header", "SESS_INIT"),
        }
        assert target.feed([contact, b"die"]).place == "exit code 3"
        target.open()
        campaign = Campaign(target, cases)
        for _ in range(4):
            campaign.feed(Case((contact, b"\x04"), "valid"))
        assert ("contact header", "KEEPALIVE") in campaign.course.states
    finally:
        target.close()


def test_single_messages_follow_the_opening_and_sequences_have_their_own() -> None:
    opening = known("tcpclv4").opening
    cases = list(itertools.islice(CaseStream(known("tcpclv4"), 1, opening=opening), 300))
    alone = [one.messages for one in cases if one.form != "sequence"]
    assert all(messages[0] == opening and len(messages) == 2 for messages in alone)
    sequences = [one.messages for one in cases if one.form == "sequence"]
    assert len(sequences) > 10
    assert sum(messages[0][:4] == b"dtn!" for messages in sequences) > len(sequences) // 2


def test_a_hang_is_told_and_the_clock_that_ran_before_goes_on() -> None:
    """Of a test, say: what it has left is less by what the case took."""

    def forever(data: bytes) -> None:
        with contextlib.suppress(Hang):
            while data:  # the first alarm is swallowed, as by a finalizer
                pass
        while data:
            pass

    alarms: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: alarms.append(number))
    timer = signal.setitimer(signal.ITIMER_REAL, 500, 7)
    try:
        target = PythonTarget("toy", forever, TargetOptions(timeout_s=0.02))
        assert target.feed([b""]).verdict == "taken"
        assert target.feed([b"x"]).verdict == "hang"
        left, every = signal.setitimer(signal.ITIMER_REAL, 0)
        assert 0 < left < 500 - 0.03
        assert every == 7
        assert signal.getsignal(signal.SIGALRM) is not before
        signal.raise_signal(signal.SIGALRM)
        assert alarms == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)
