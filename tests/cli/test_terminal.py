"""Commands on a real terminal (a pseudo-terminal of the system), narrow or not, and in a pipe."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.machines.ports import free_ports
from stack.cli.output import ProgressView
from stack.cli.traffic.job import _show
from stack.cli.traffic.transfers import expected_text
from tests.cli.helpers import ROOT, Cli, running_node, write_config

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COMMAND = [sys.executable, "-m", "stack.cli.main"]


class Terminal:
    """A program on a terminal of some width."""

    def __init__(self, columns: int, *arguments: object, **environment: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        clean = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=ROOT,
            env=clean | {"TERM": "xterm-256color"} | environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        os.close(slave)
        self.text = ""

    def read(self) -> bool:
        """Read what has come; whether more may come."""
        try:
            octets = os.read(self._master, 65_536)
        except OSError:  # nobody holds the other end any more
            return False
        self.text += octets.decode()
        return bool(octets)

    def until(self, words: str) -> None:
        """Read until these words were printed."""
        while words not in self.text:
            assert self.read(), self.text

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self.read():
            pass
        return self.process.wait(30)

    @property
    def lines(self) -> list[str]:
        """What was printed, as it is seen."""
        return ESCAPES.sub("", self.text).replace("\r\n", "\n").split("\n")

    def close(self) -> None:
        """Let go of the terminal."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        os.close(self._master)


@contextlib.contextmanager
def terminal(columns: int, *arguments: object, **environment: str) -> Iterator[Terminal]:
    made = Terminal(columns, *arguments, **environment)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Path]:
    """A node whose only link leads to nobody."""
    config = write_config(tmp_path, "gs", peer="sat", ports=free_ports(2))
    with running_node(config):
        yield config


@pytest.mark.slow
def test_status_fits_sixty_columns(alone: Path) -> None:
    for columns in (60, 80):
        with terminal(columns, "status", "-n", alone) as screen:
            assert screen.end() == 0
            assert any("link sat" in line for line in screen.lines)
            assert [line for line in screen.lines if len(line) > columns] == []


@pytest.mark.slow
def test_colours_are_for_terminals_that_want_them(alone: Path) -> None:
    counters = ("status", "--counters", "-n", alone)
    with terminal(80, *counters) as screen:
        assert screen.end() == 0
        assert "\x1b[" in screen.text
    with terminal(80, *counters, NO_COLOR="1") as screen:
        assert screen.end() == 0
        assert "\x1b[" not in screen.text
    sending = ("send", "dtn://sat/", alone, "--wait", "--timeout", "200ms", "-n", alone)
    with terminal(80, *sending, NO_COLOR="1") as screen:
        assert screen.end() == 3
        assert "waiting, 0%" in screen.text
        assert "\x1b" not in screen.text
    piped = subprocess.run(
        [*COMMAND, *map(str, counters)], cwd=ROOT, capture_output=True, check=True
    )
    assert b"\x1b" not in piped.stdout + piped.stderr


@pytest.mark.slow
@pytest.mark.parametrize("columns", [60, 80])
def test_a_wait_on_a_terminal_shows_what_waits_and_ends_with_ctrl_c(
    alone: Path, tmp_path: Path, columns: int
) -> None:
    content = tmp_path / "image.bin"
    content.write_bytes(bytes(2_000_000))
    with terminal(columns, "send", "dtn://sat/", content, "--wait", "-n", alone) as screen:
        screen.until("wait here")
        assert " 0 %" in ESCAPES.sub("", screen.text)
        assert "image.bin" in screen.text
        assert "…" not in screen.text
        os.killpg(screen.process.pid, signal.SIGINT)
        assert screen.end() == 130
        assert "the transfer goes on" in screen.text
        assert "Traceback" not in screen.text
        assert screen.text.count("\x1b[?25l") == screen.text.count("\x1b[?25h"), "a hidden cursor"


@pytest.mark.slow
def test_sending_where_nothing_leads_warns(cli: Cli, alone: Path, tmp_path: Path) -> None:
    content = tmp_path / "image.bin"
    content.write_bytes(b"image")
    for what in ((content,), ("-m", "hello")):
        far = cli("send", "dtn://mars/", *what, "-n", alone)
        assert far.code == 0
        assert "no link and no contact of the plan reaches dtn://mars/" in far.err
        near = cli("send", "dtn://sat/", *what, "-n", alone)
        assert "reaches" not in near.err


@pytest.mark.slow
def test_wide_tables_go_on_below_where_a_terminal_is_narrow(alone: Path, tmp_path: Path) -> None:
    content = tmp_path / "image.bin"
    content.write_bytes(b"image")
    send = [*COMMAND, "send", "dtn://sat/", str(content), "-n", str(alone), "--json"]
    sent = subprocess.run(send, cwd=ROOT, capture_output=True, check=True, text=True)
    listed = ("transfers", "list", "-n", alone)
    with terminal(60, *listed) as screen:
        assert screen.end() == 0
        assert [line for line in screen.lines if len(line) > 60] == []
        (name,) = [line for line in screen.lines if "image.bin" in line]
        (head,) = [line for line in screen.lines if "name" in line]
        assert head.index("name") == name.index("image.bin"), "below its header"
    piped = subprocess.run(
        [*COMMAND, *map(str, listed)], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert len(piped.stdout.splitlines()) == 2, "a line for each in a pipe"
    assert json.loads(sent.stdout.splitlines()[0])["id"] in piped.stdout


@pytest.mark.parametrize(
    ("passes", "unheard", "text"),
    [
        (2, [], "expected 2027-03-04 14:20Z, 2 passes"),
        (0, ["ipn:2.0"], "expected 2027-03-04 14:20Z, if ipn:2.0 answers"),
        (1, ["a", "b"], "expected 2027-03-04 14:20Z, 1 pass, if a and b answer"),
    ],
)
def test_an_expected_hour_says_on_what_it_depends(
    passes: int, unheard: list[str], text: str
) -> None:
    one = {"expected": "2027-03-04T14:20:00.000Z", "passes": passes, "unheard": unheard}
    assert expected_text(one) == text
    assert expected_text(one | {"expected": None}) == ""


def test_a_job_that_is_followed_in_a_pipe_is_not_finished_before_its_results_are_here(
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = {"id": "9c1e", "handler": "count", "text": "", "inputs": None}
    with ProgressView(quiet=False) as view:
        for state, share, closed in (
            ("running", 0.5, False),
            ("finished", 1.0, False),
            ("finished", 1.0, True),
        ):
            _show(view, {**job, "state": state, "progress": share, "closed": closed})
    lines = ["count: running, 50%", "count: its results are on their way, 100%"]
    assert capsys.readouterr().err.splitlines() == lines
