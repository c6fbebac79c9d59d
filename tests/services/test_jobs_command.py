"""Commands in real subprocesses: templates, limits, cancellation, what is captured."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stack.core.errors import LocalError
from stack.services.jobs import (
    Command,
    CommandHandler,
    CommandResult,
    JobContext,
    JobFailed,
    JobLimits,
    JobState,
    run_command,
)
from stack.services.jobs.runner import CAPTURE_BYTES
from tests.services.helpers import SAT_EID, make_file, until
from tests.services.job_nodes import QUICK, JobNodes

PYTHON = sys.executable
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def context_in(
    tmp_path: Path,
    args: dict[str, str] | None = None,
    inputs: tuple[Path, ...] = (),
    limits: JobLimits | None = None,
) -> JobContext:
    work, out = tmp_path / "work", tmp_path / "out"
    work.mkdir()
    out.mkdir()
    return JobContext(
        args=args or {},
        inputs=inputs,
        limits=limits or JobLimits(),
        attempt=1,
        work_directory=work,
        output_directory=out,
        trace=lambda event, fields: None,
    )


def python(tmp_path: Path, code: str, **limits: float) -> CommandResult:
    """Run a Python program under limits."""
    command = Command(
        [PYTHON, "-c", code],
        str(tmp_path),
        ENVIRONMENT,
        JobLimits(**limits),  # type: ignore[arg-type]
    )
    return asyncio.run(run_command(command))


def test_output_is_captured_and_bounded(tmp_path: Path) -> None:
    result = python(tmp_path, "import sys; print('x' * 300_000); sys.stderr.write('e' * 300_000)")
    assert result.exit_code == 0
    assert result.stdout == b"x" * CAPTURE_BYTES
    assert result.stderr == b"e" * CAPTURE_BYTES


def test_environment_and_input_are_minimal(tmp_path: Path) -> None:
    os.environ["ORBITFERRY_SECRET"] = "1"
    try:
        code = "import os, sys; print(sorted(os.environ), len(sys.stdin.read()), os.getcwd())"
        result = python(tmp_path, code)
    finally:
        del os.environ["ORBITFERRY_SECRET"]
    assert b"SECRET" not in result.stdout
    assert b"'PATH'" in result.stdout
    assert result.stdout.split()[-2:] == [b"0", os.fsencode(tmp_path)]


@pytest.mark.slow
def test_memory_limit(tmp_path: Path) -> None:
    code = "b = bytearray(800 << 20); print(len(b))"
    assert python(tmp_path, code, memory_bytes=2 << 30).exit_code == 0
    result = python(tmp_path, code, memory_bytes=300 << 20)
    assert result.exit_code == 1
    assert b"MemoryError" in result.stderr


def test_file_size_limit(tmp_path: Path) -> None:
    code = "f = open('big', 'wb'); f.write(bytes(5000)); f.close()"
    assert python(tmp_path, code, output_bytes=5000).exit_code == 0
    result = python(tmp_path, code, output_bytes=4999)
    assert result.exit_code != 0
    assert (tmp_path / "big").stat().st_size <= 4999


@pytest.mark.slow
def test_cpu_limit(tmp_path: Path) -> None:
    """Should whoever limits elapsed time fail, the kernel still ends it."""
    result = python(tmp_path, "while True: pass", time_s=0.5)
    assert result.exit_code < 0


def test_a_child_left_behind_is_killed_too(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys;"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print(p.pid)"
    )
    result = python(tmp_path, code)  # returns although the child holds our pipes
    assert result.exit_code == 0
    asyncio.run(until(lambda: not alive(int(result.stdout)), 10.0, step_s=0.01))


LEAVES = """
import os, pathlib, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        pathlib.Path("pid").write_text(f"{os.getpid()} ")
        time.sleep(600)
    os._exit(0)
while not os.path.exists("pid"):
    time.sleep(0.01)
"""
"""Leaves a process in a session of its own, whose parent is gone."""


@pytest.mark.skipif(sys.platform != "linux", reason="found by /proc")
@pytest.mark.parametrize("cancelled", [False, True])
def test_who_has_left_the_session_is_killed_too(tmp_path: Path, cancelled: bool) -> None:
    code = LEAVES + "time.sleep(600)" * cancelled
    command = Command([PYTHON, "-c", code], str(tmp_path), ENVIRONMENT, JobLimits())
    file = tmp_path / "pid"

    async def main() -> None:
        task = asyncio.ensure_future(run_command(command))
        if cancelled:
            await until(lambda: file.exists() and file.read_text().endswith(" "), step_s=0.01)
            assert alive(int(file.read_text()))
            task.cancel()
        await asyncio.wait([task])
        await until(lambda: not alive(int(file.read_text())), 10.0, step_s=0.01)

    asyncio.run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="found by /proc")
def test_who_belongs_to_another_job_is_let_be(tmp_path: Path) -> None:
    mark = {"ORBITFERRY_JOB": f"{tmp_path}/other"}
    with subprocess.Popen([PYTHON, "-c", "input()"], env=mark, stdin=subprocess.PIPE) as other:
        assert python(tmp_path, "").exit_code == 0
        assert other.poll() is None
        other.kill()


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie that nobody has reaped yet does not)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def test_cancelling_kills_the_group(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, time;pathlib.Path('pid').write_text(str(os.getpid()));time.sleep(600)"
    )
    command = Command([PYTHON, "-c", code], str(tmp_path), ENVIRONMENT, JobLimits())

    async def main() -> None:
        task = asyncio.ensure_future(run_command(command))
        file = tmp_path / "pid"
        await until(lambda: file.exists() and file.read_text() != "", step_s=0.01)
        pid = int((tmp_path / "pid").read_text())
        assert alive(pid)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not alive(pid), 10.0, step_s=0.01)

    asyncio.run(main())


# -- templates


async def echo_argv(command: Command) -> CommandResult:
    """A runner that runs nothing."""
    return CommandResult(0, "\n".join(command.argv).encode(), b"")


def test_template_puts_values_in_and_nothing_else(tmp_path: Path) -> None:
    handler = CommandHandler(
        argv=[
            "tool",
            "-a",
            "{arg:az}",
            "--in={input:1}",
            "{inputs}",
            "{output}/x",
            "{work}",
            "{z}",
        ],
        arguments={"az": ".*"},
        run=echo_argv,
    )
    context = context_in(tmp_path, {"az": "{input:0}; rm -rf / $(id)"}, (Path("/a"), Path("/b c")))
    asyncio.run(handler(context))
    assert (tmp_path / "out/stdout.txt").read_text().split("\n") == [
        "tool",
        "-a",
        "{input:0}; rm -rf / $(id)",
        "--in=/b c",
        "/a",
        "/b c",
        f"{tmp_path}/out/x",
        f"{tmp_path}/work",
        "{z}",
    ]


@pytest.mark.parametrize(
    ("args", "inputs", "words"),
    [
        ({"az": "9999"}, (Path("/a"),), "does not match"),
        ({"az": "12\n"}, (Path("/a"),), "does not match"),
        ({"az": "12", "other": "1"}, (Path("/a"),), "not known"),
        ({}, (Path("/a"),), "missing"),
        ({"az": "12"}, (), "missing"),
    ],
)
def test_arguments_are_checked(
    tmp_path: Path, args: dict[str, str], inputs: tuple[Path, ...], words: str
) -> None:
    handler = CommandHandler(
        argv=["tool", "{arg:az}", "{input:0}"], arguments={"az": "[0-9]{1,3}"}, run=echo_argv
    )
    with pytest.raises(JobFailed, match=words):
        asyncio.run(handler(context_in(tmp_path, args, inputs)))


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["x", "{arg:none}"],
        ["x", "a{inputs}"],
        *(["x", slot] for slot in ("{input}", "{inputs:0}", "{input:a}", "{arg}", "{output:0}")),
    ],
)
def test_templates_are_checked(argv: list[str]) -> None:
    with pytest.raises(LocalError):
        CommandHandler(argv=argv)


def test_braces_that_are_no_placeholder_are_the_programs_own() -> None:
    CommandHandler(argv=["awk", "{print $1}", '{"inputs": 1}', "{}", "{working}"])


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    handler = CommandHandler(argv=["/no/such/program"])
    with pytest.raises(JobFailed, match="cannot start"):
        asyncio.run(handler(context_in(tmp_path)))


# -- as jobs, on a real event loop


@pytest.mark.slow
def test_jobs_of_commands(tmp_path: Path) -> None:
    """Success, failure, signal, time limit, output limit and cancellation, each as a job."""
    content = make_file(tmp_path / "in.bin", 600)
    copy = "import sys,shutil; shutil.copy(sys.argv[1], sys.argv[2]); print('done')"
    programs = {
        "copy": [copy, "{input:0}", "{output}/copy.bin"],
        "exits": ["import sys; sys.exit('band 7 is missing')"],
        "segv": ["import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"],
        "sleeps": ["import time; time.sleep(600)"],
        "floods": [
            "import sys,itertools\nfor i in itertools.count():"
            " open(f'{sys.argv[1]}/{i}', 'wb').write(bytes(900))",
            "{output}",
        ],
    }
    handlers = {
        name: CommandHandler(argv=[PYTHON, "-c", *argv], environment=ENVIRONMENT)
        for name, argv in programs.items()
    }

    async def main() -> dict[str, tuple[JobState, str, int | None]]:
        config = replace(QUICK, watch_s=0.02, concurrency=6)
        nodes = JobNodes(tmp_path, handlers, config=config)
        nodes.net.faults.delay_s = 0.001
        client = nodes.client
        async with nodes.all_running():
            long = JobLimits(time_s=60.0, output_bytes=100_000)
            jobs = {
                name: await client.submit(
                    SAT_EID,
                    name,
                    {},
                    [tmp_path / "in.bin"] if name == "copy" else [],
                    limits=long,
                )
                for name in ("copy", "exits", "segv", "floods")
            }
            short = JobLimits(time_s=0.3)
            jobs["timeout"] = await client.submit(SAT_EID, "sleeps", limits=short)
            jobs["cancelled"] = await client.submit(SAT_EID, "sleeps", limits=long)
            cancelled = jobs["cancelled"]
            await until(lambda: client.status(cancelled).state is JobState.RUNNING, step_s=0.01)
            await client.cancel(jobs["cancelled"])
            statuses = {name: await client.wait(job) for name, job in jobs.items()}
        copied = statuses["copy"].files
        assert copied["copy.bin"].read_bytes() == content
        assert copied["stdout.txt"].read_text() == "done\n"
        return {name: (s.state, s.text, s.exit_code) for name, s in statuses.items()}

    ends = asyncio.run(main())
    assert ends["copy"] == (JobState.FINISHED, "", 0)
    assert ends["exits"] == (JobState.FAILED, "exit code 1: band 7 is missing", 1)
    assert ends["segv"] == (JobState.FAILED, "killed by SIGSEGV", -11)
    assert ends["timeout"] == (JobState.FAILED, "time limit of 0.3 s", None)
    assert ends["floods"][:2] == (JobState.FAILED, "output limit of 100000 octets")
    assert ends["cancelled"][0] is JobState.CANCELLED
