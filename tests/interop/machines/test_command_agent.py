"""The machine of bundle agents asks one in another process, and kills it."""

from __future__ import annotations

import os
import select
import shlex
import sys
from pathlib import Path

import pytest

from interop.machines import AgentPeerMachine, CommandAgentAdapter, MachineFault
from interop.machines.agent_model import EAST, NODE, WEST
from interop.machines.lines import Done, Hex
from interop.machines.process import AskedProcess
from stack.core.errors import ConfigError

ROOT = Path(__file__).parents[3]


def machine_for(fault: str = "") -> type[AgentPeerMachine]:
    words = ["env", f"PYTHONPATH={ROOT}", sys.executable]
    words += ["-m", "tests.interop.machines.agent_process", fault]

    class Theirs(AgentPeerMachine):
        adapter = CommandAgentAdapter(shlex.join(words))

    return Theirs


def one_case(kind: type[AgentPeerMachine]) -> None:
    """Bundles wait for a contact and for the application, while the agent is killed."""
    hour_ms = 3_600_000
    case = kind()
    try:
        case.start()
        case.receive(to=EAST, flags=0, blocks="all", wrong="", size=5, lifetime_ms=hour_ms)
        case.receive(to=NODE, flags=0, blocks="", wrong="", size=5, lifetime_ms=hour_ms)
        case.send(to=WEST, size=5, lifetime_ms=hour_ms)
        case.contact(neighbour=EAST)
        case.restart()
        case.receive_again(pick=0)
        case.register()
    finally:
        case.teardown()


@pytest.mark.slow
def test_our_agent_is_right_in_a_process_that_is_killed_too() -> None:
    kind = machine_for()
    one_case(kind)
    steps = {(step.state, step.what) for step in kind.coverage.taken}
    assert {("forwarded", "restart"), ("deferred", "restart"), ("waiting", "restart")} <= steps


@pytest.mark.slow
def test_an_agent_that_keeps_nothing_on_disk_is_found() -> None:
    with pytest.raises(MachineFault, match=r"RFC 9171 §5.* is not (sent|delivered)"):
        one_case(machine_for("forgets"))


def talk(code: str, timeout_s: float = 10.0) -> None:
    """One case without rules, with a command that is a few words of Python."""
    command = shlex.join([sys.executable, "-S", "-c", code])
    CommandAgentAdapter(command, timeout_s)("dtn://a/", ("dtn://b/",), "app").close()


ANSWER = 'input(); print(\'{"sent": [], "delivered": []}\', flush=True)'


@pytest.mark.slow
def test_what_a_command_does_wrong_is_told() -> None:
    talk(ANSWER)
    with pytest.raises(MachineFault, match=r"crash: AssertionError in <string>:1 <module>"):
        talk("input(); assert 0")
    with pytest.raises(MachineFault, match="crash: exit code 3"):
        talk("import sys; sys.exit(3)")
    with pytest.raises(MachineFault, match="hang: no answer within"):
        talk("import time; time.sleep(60)", 0.1)
    for answer in ("?", "[]", "{}", '{"sent": 1, "delivered": []}', '{"sent": [["a", "xy"]]}'):
        with pytest.raises(MachineFault, match="no answer"):
            talk(f"print({answer!r}, flush=True); input(); input()")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "size", "hang"),
    [
        ("exec sleep 20", 200_000, "receive is not read within"),
        ("exec sleep 20 >&-", 2, "no end within"),
    ],
)
def test_a_command_that_lives_and_neither_reads_nor_answers_is_a_hang(
    ending: str, size: int, hang: str
) -> None:
    process = AskedProcess(shlex.join(["sh", "-c", f"read a; echo {{}}; {ending}"]), 0.5)
    try:
        process.launch(Done)
        if "&" in ending:  # it has closed its output, however busy the machine is
            assert process._process.stdout is not None
            assert select.select([process._process.stdout], [], [], 60.0)[0]
        with pytest.raises(MachineFault, match=f"hang: {hang} 0.5 s"):
            process.ask(Done, "receive", bundle=Hex(size))
    finally:
        process.close()


@pytest.mark.slow
def test_a_command_may_take_longer_to_begin_than_to_answer() -> None:
    code = "import time; input(); time.sleep(0.5); print('{}', flush=True); input(); input()"
    process = AskedProcess(shlex.join([sys.executable, "-S", "-c", code]), 0.4)
    try:
        process.launch(Done)
        with pytest.raises(MachineFault, match=r"hang: no answer within 0\.4 s"):
            process.ask(Done, "receive")
    finally:
        process.close()


def test_an_answer_that_is_nested_deeply_is_none() -> None:
    deep = "'{\"x\":' + '[' * 100_000 + ']' * 100_000 + '}'"
    with pytest.raises(MachineFault, match="no answer"):
        talk(f"print({deep}, flush=True); input(); input()")


def test_what_a_command_leaves_behind_is_killed(tmp_path: Path) -> None:
    """Its child has the FIFO open as long as it lives."""
    os.mkfifo(tmp_path / "alive")
    alive = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    code = f"exec 3>{tmp_path}/alive; sleep 20 >&3 2>&1 & read a; echo {{}}; read b; exit 3"
    process = AskedProcess(shlex.join(["sh", "-c", code]), 5.0)
    try:
        process.launch(Done)
        with pytest.raises(MachineFault, match="crash: exit code 3"):
            process.ask(Done, "receive")
        process.close()
        assert select.select([alive], [], [], 60.0)[0]
        assert not os.read(alive, 1)
    finally:
        process.close()
        os.close(alive)


def test_what_is_no_command_is_refused() -> None:
    for words in ("", "'", "/no/such/program"):
        with pytest.raises(ConfigError):
            CommandAgentAdapter(words)("dtn://a/", ("dtn://b/",), "app")
