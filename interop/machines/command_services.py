"""An end of a file service or of a job service in another process as the machines see it: a
command, asked line by line.

    class TestTheirs(FilesMachine):
        adapter = CommandFilesAdapter("python shim.py")

The command is a shim around the service, as `interop.machines.lines` says; one runs for each end.
Times are nanoseconds from any moment.  An answer has what stands behind the arrow.

    start      end, now_ns  ->            0 or 1; of jobs, 0 is the client
    advance    now_ns       ->
    poll                    -> things     what leaves for the other end now: octets, of any form
    receive    thing        ->

What names a file or a job is text.  A file service is asked these:

    send       name, content  -> file       when it is durable that it will be sent
    cancel     file           ->
    states                    -> states     by what names a file
    received                  -> files      pairs of a name and the content, of all that its
                                            application has ever taken

The client of a job service is asked the first four of these, its server the last:

    submit     data           -> job        when it is durable that it will run
    cancel     job            ->
    states                    -> states     by what names a job
    results    job            -> results
    begun                     -> inputs     of all runs that have ever begun

A restart is SIGKILL, and the command again in the same folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from interop.machines.asked import CommandAdapter
from interop.machines.lines import Done, Hex


class _Left(msgspec.Struct):
    things: list[Hex]


class _File(msgspec.Struct):
    file: str


class _Job(msgspec.Struct):
    job: str


class _States(msgspec.Struct):
    states: dict[Any, str]


class _Files(msgspec.Struct):
    files: list[tuple[str, Hex]]


class _Results(msgspec.Struct):
    results: list[Hex]


class _Inputs(msgspec.Struct):
    inputs: list[Hex]


class CommandServiceEnd:
    """One case with it (see `ServiceEnd`).  Raises `ConfigError` for a command that cannot be
    run."""

    def __init__(self, adapter: CommandAdapter, end: int) -> None:
        self._process = adapter.asked()
        self._end = end
        self._now_ns = 0
        self._process.launch(Done, end=end, now_ns=0)

    def advance(self, now_ns: int) -> None:
        """See `ServiceEnd`."""
        self._now_ns = now_ns
        self._process.ask(Done, "advance", now_ns=now_ns)

    def poll(self) -> Iterable[Any]:
        """See `ServiceEnd`."""
        return self._process.ask(_Left, "poll").things

    def receive(self, thing: Any) -> None:
        """See `ServiceEnd`."""
        self._process.ask(Done, "receive", thing=thing)

    def restart(self) -> None:
        """See `ServiceEnd`."""
        self._process.kill()
        self._process.launch(Done, end=self._end, now_ns=self._now_ns)

    def close(self) -> None:
        """End it, and take its folder away."""
        self._process.close()

    def states(self) -> Mapping[Hashable, str]:
        """See `FilePeer` and `JobPeer`."""
        return self._process.ask(_States, "states").states


class CommandFiles(CommandServiceEnd):
    """See `FilePeer`."""

    def __init__(self, adapter: CommandFilesAdapter, end: int) -> None:
        super().__init__(adapter, end)
        self._told: Counter[tuple[str, bytes]] = Counter()

    def send(self, name: str, content: bytes) -> Hashable:
        """See `FilePeer`."""
        return self._process.ask(_File, "send", name=name, content=Hex(content)).file

    def cancel(self, file: Hashable) -> None:
        """See `FilePeer`."""
        self._process.ask(Done, "cancel", file=file)

    def received(self) -> Iterable[tuple[str, bytes]]:
        """See `FilePeer`: what comes again after a kill is told again."""
        taken: Counter[tuple[str, bytes]] = Counter(self._process.ask(_Files, "received").files)
        new, self._told = taken - self._told, taken
        return new.elements()


class CommandJobs(CommandServiceEnd):
    """See `JobPeer`."""

    def submit(self, data: bytes) -> Hashable:
        """See `JobPeer`."""
        return self._process.ask(_Job, "submit", data=Hex(data)).job

    def cancel(self, job: Hashable) -> None:
        """See `JobPeer`."""
        self._process.ask(Done, "cancel", job=job)

    def results(self, job: Hashable) -> Sequence[bytes]:
        """See `JobPeer`."""
        return self._process.ask(_Results, "results", job=job).results

    def begun(self) -> Sequence[bytes]:
        """See `JobPeer`."""
        return self._process.ask(_Inputs, "begun").inputs


class CommandFilesAdapter(CommandAdapter):
    """An adapter for `FilesMachine`: the service behind a command."""

    def __call__(self, end: int, /) -> CommandFiles:
        """One end, for one case.  Raises `ConfigError` for a command that cannot be run."""
        return CommandFiles(self, end)


class CommandJobsAdapter(CommandAdapter):
    """An adapter for `JobsMachine`: the service behind a command."""

    def __call__(self, end: int, /) -> CommandJobs:
        """One end, for one case.  Raises `ConfigError` for a command that cannot be run."""
        return CommandJobs(self, end)
