"""`orbitferry job`: computing on other nodes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from stack.cli.common import (
    FAILED,
    NO_ANSWER,
    OK,
    Every,
    Json,
    NodePath,
    Priority,
    PriorityOption,
    client_of,
    duration,
    ends_with,
    quantity,
    size,
)
from stack.cli.output import ProgressView, answer, emit, note, say, table
from stack.cli.traffic.policy import PolicyOption, WaitForPath, label_of, policy_line, tell_path
from stack.cli.traffic.transfers import ID_CHARS, expected_text, match_id
from stack.core.errors import ConfigError
from stack.core.units import count_text, duration_text, printable, size_text
from stack.node.control.client import ControlClient

HELP = "Compute on other nodes."

Id = Annotated[str, typer.Argument(metavar="ID", help="The job; the beginning of its id will do.")]


Where = Annotated[str, typer.Argument(metavar="NODE", help="Where the job runs.")]
HandlerName = Annotated[
    str, typer.Argument(metavar="HANDLER", help="What runs, as that node calls it.")
]
Inputs = Annotated[
    list[Path] | None, typer.Argument(metavar="INPUT", help="Files that it works on.")
]
Arguments = Annotated[
    list[str] | None, typer.Option("--arg", metavar="NAME=VALUE", help="Argument; repeat it.")
]
Deadline = Annotated[float | None, quantity(duration, "The job must be over by then. Default: 1d.")]
TimeLimit = Annotated[float | None, quantity(duration, "How long one run may take.")]
Memory = Annotated[int | None, quantity(size, "Memory of a command.")]
Output = Annotated[int | None, quantity(size, "All result files together.")]
Attempts = Annotated[
    int | None, typer.Option(min=1, help="Most runs, should its node restart meanwhile.")
]
Timeout = Annotated[
    float | None, quantity(duration, "With --wait: give up waiting (exit code 3); the job goes on.")
]


def submit(
    destination: Where,
    handler: HandlerName,
    inputs: Inputs = None,
    arg: Arguments = None,
    deadline: Deadline = None,
    time_limit: TimeLimit = None,
    memory: Memory = None,
    output: Output = None,
    attempts: Attempts = None,
    policy: PolicyOption = None,
    wait_for_path: WaitForPath = False,
    priority: PriorityOption = Priority.NORMAL,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait until the results are here.")
    ] = False,
    timeout: Timeout = None,
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """Submit a job to another node.

    The command ends when the job is stored durably; inputs go up, the job runs, and results come
    back over whatever contacts there are. Inputs must stay as they are until they are delivered.

    \b
    Examples:
      orbitferry job submit dtn://sat1/ hillshade dem.npy --arg azimuth=315
      orbitferry job submit dtn://sat1/ count words.txt --wait --timeout 1h --json
    """
    args = dict(_pair(text) for text in arg or ())
    paths = [os.path.abspath(path) for path in inputs or ()]
    for path in paths:
        if not os.path.isfile(path):
            raise ConfigError(path, "no such file", "inputs are files; pack folders")
    client = client_of(node)
    result = client.call(
        "submit_job",
        patience_s=None,
        destination=destination,
        handler=handler,
        args=args,
        inputs=paths,
        priority=priority.level,
        deadline_s=deadline,
        time_s=time_limit,
        memory_bytes=memory,
        output_bytes=output,
        attempts=attempts,
        policy=label_of(policy),
        wait_for_path=wait_for_path,
    )
    tell_path(result)
    answer(result["job"], as_json, f"job {result['id']} for {destination}: stored")
    if wait:
        ends_with(_follow(client, result["id"], timeout, as_json))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigError("--arg", f"{text!r} is no NAME=VALUE", "such as --arg azimuth=315")
    return name, value


def status(job: Id, node: NodePath = None, as_json: Json = False) -> None:
    """Show one job, and where its results are.

    \b
    Examples:
      orbitferry job status 9c1e
    """
    client = client_of(node)
    found = client.call("jobs", ids=[_whole_id(client, job)])["jobs"][0]
    if as_json:
        emit(found)
        return
    say(f"job {found['id']}: {found['handler']} on {found['server']}")
    say(_line(found))
    _results(found)


def list_(
    every: Every = False,
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """List the jobs that were submitted from this node.

    \b
    Examples:
      orbitferry job list
      orbitferry job list --all --json
    """
    found = client_of(node).call("jobs")["jobs"]
    shown = [one for one in found if every or not one["closed"]]
    if as_json:
        emit(*shown)
        return
    if not shown:
        say("no job is under way")
        return
    rows = [
        (one["id"], one["server"], one["handler"], one["state"], _percent(one), one["text"])
        for one in shown
    ]
    table(("id", "node", "handler", "state", "done", "note"), rows)


def wait(
    job: Id,
    timeout: Annotated[float | None, quantity(duration, "Give up waiting (exit code 3).")] = None,
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """Wait until a job is over and its results are here; exit code 1 when it has failed.

    \b
    Examples:
      orbitferry job wait 9c1e
      orbitferry job wait 9c1e --timeout 2h --json
    """
    client = client_of(node)
    ends_with(_follow(client, _whole_id(client, job), timeout, as_json))


def cancel(job: Id, node: NodePath = None, as_json: Json = False) -> None:
    """Ask a job's node to stop it.

    \b
    Examples:
      orbitferry job cancel 9c1e
    """
    client = client_of(node)
    found = client.call("cancel_job", id=_whole_id(client, job))["job"]
    answer(found, as_json, f"job {found['id']}: {found['server']} is being asked to stop it")


def _whole_id(client: ControlClient, wanted: str) -> str:
    if len(wanted) == ID_CHARS:
        return wanted
    return match_id(wanted, [one["id"] for one in client.call("jobs")["jobs"]], "job")


def _follow(client: ControlClient, job: str, timeout_s: float | None, as_json: bool) -> int:
    """Show a job until it is over; the exit code."""
    with (
        client.open("watch_job", id=job, timeout_s=timeout_s) as exchange,
        ProgressView(quiet=as_json) as view,
    ):
        try:
            for event in exchange:
                found = event["job"]
                _show(view, found)
        except KeyboardInterrupt:
            note(f"the job goes on; follow it with `orbitferry job wait {job[:8]}`")
            raise
        found = exchange.result["job"]
    if as_json:
        emit(found)
    else:
        say(_line(found))
        _results(found)
    if not found["closed"]:
        return NO_ANSWER
    return OK if found["state"] == "finished" and found["complete"] else FAILED


def _show(view: ProgressView, found: dict[str, Any]) -> None:
    """How far a job is: its inputs, while they are under way, and then its run."""
    share, detail, inputs = found["progress"], found["text"], found["inputs"]
    state, over = found["state"], found["closed"]
    if state == "finished" and not over:
        state = "its results are on their way"
    if inputs is not None:
        share = inputs["bytes_done"] / inputs["bytes_total"] if inputs["bytes_total"] else 1.0
        detail = f"inputs: {size_text(inputs['bytes_done'])} of {size_text(inputs['bytes_total'])}"
        when = expected_text(inputs)
        detail += f", {when}" if when else ""
    view.update(found["id"], found["handler"], state, share, detail, over=over)


def _line(found: dict[str, Any]) -> str:
    parts = [found["state"]]
    if found["state"] == "running":
        parts.append(_percent(found))
    if found["exit_code"] not in (None, 0):
        parts.append(f"exit code {found['exit_code']}")
    if found["attempts"]:
        runs = count_text(found["attempts"], "run")
        times = f"queued {duration_text(found['queued_s'])}, ran {duration_text(found['run_s'])}"
        parts.append(f"{runs}, {times}")
    if found["text"]:
        parts.append(printable(found["text"]))
    return ", ".join(parts)


def _results(found: dict[str, Any]) -> None:
    paths: dict[str, str] = found["files"]
    for one in found["outputs"]:
        path = paths.get(one["name"])
        where = "on its way" if path is None else path
        say(f"  {one['name']}  {size_text(one['bytes'])}  {where}")
    if found["policy"]:
        say(policy_line(found["policy"]))


def _percent(found: dict[str, Any]) -> str:
    return f"{found['progress']:.0%}" if found["state"] in ("running", "finished") else ""
