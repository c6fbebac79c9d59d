"""State machines of Hypothesis for services that two nodes have for one another: files, and jobs.

    class Mine(FilesMachine):
        adapter = MyFiles

    TestMine = Mine.TestCase

The machine makes both ends and is the channel between them.  It does not know what they send one
another, which may be anything.  It holds up, repeats, reorders and loses it, lets blackouts pass,
kills and restarts either end from its disk, and cancels.  What it asks is what whoever uses the
service sees: octets are those that were sent, each thing happens once, states go forward, and when
the channel is good again everything comes to its end.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from interop.machines.channel import WELL, Passage, PeerChannel, passages
from interop.machines.fault import require
from interop.machines.machine import PeerMachine
from interop.machines.services_model import (
    CANCELLED,
    DELIVERED,
    FILE_TABLE,
    FINISHED,
    JOB_TABLE,
    FileCase,
    JobCase,
)

SECOND_NS = 10**9
ROUND_NS = 600 * SECOND_NS
ROUNDS_MAX = 60
"""Within so many rounds on a good channel everything comes to its end."""

_PICKS = st.integers(0, 1 << 16)
_ENDS = st.integers(0, 1)
_SELDOM = st.sampled_from([False, False, True])
_SIZES = st.sampled_from([0, 1, 255, 256, 257, 900, 3000])


class ServiceEnd(Protocol):
    """One end.  Times are nanoseconds from any moment, and never go back."""

    def advance(self, now_ns: int) -> None:
        """Time has passed."""
        ...

    def poll(self) -> Iterable[Any]:
        """What leaves for the other end now."""
        ...

    def receive(self, thing: Any) -> None:
        """Something that the other end sent arrives."""
        ...

    def restart(self) -> None:
        """It is killed, and begins anew with what is on its disk."""
        ...

    def close(self) -> None:
        """All is over."""
        ...


class FilePeer(ServiceEnd, Protocol):
    """A file service under test."""

    def send(self, name: str, content: bytes) -> Hashable:
        """A file is to be sent to the other end: what names it from now on, once it is durable
        that it will be."""
        ...

    def cancel(self, file: Hashable) -> None:
        """Give up sending a file: it is over then."""
        ...

    def states(self) -> Mapping[Hashable, str]:
        """What is known of the files that it sends: ``open``, ``delivered``, ``cancelled`` or
        ``failed``; one that is over may be forgotten."""
        ...

    def received(self) -> Iterable[tuple[str, bytes]]:
        """Names and content of the files that its application has got since this was asked last.
        It takes each as soon as it is there."""
        ...


class JobPeer(ServiceEnd, Protocol):
    """A job service under test, as client or as server.  A job of the machine gives the octets of
    its input back to front."""

    def submit(self, data: bytes) -> Hashable:
        """As client: a job with this input is to run at the other end; what names it from now on,
        once it is durable that it will."""
        ...

    def cancel(self, job: Hashable) -> None:
        """As client: it need not run."""
        ...

    def states(self) -> Mapping[Hashable, str]:
        """As client: what is known of its jobs: ``submitted``, ``waiting``, ``queued``,
        ``running``, ``finished``, ``cancelled``, ``failed``."""
        ...

    def results(self, job: Hashable) -> Sequence[bytes]:
        """As client: all results of a job that are here."""
        ...

    def begun(self) -> Sequence[bytes]:
        """As server: the inputs of all runs that its handler has begun, in all its lives."""
        ...


class _Ends(NamedTuple):
    first: Any
    second: Any

    def close(self) -> None:
        """Both."""
        self.first.close()
        self.second.close()


class PairMachine(PeerMachine):
    """Two ends, and the channel between them.  A machine for a service derives from this."""

    peer: _Ends

    def begin(self, first: ServiceEnd, second: ServiceEnd) -> None:
        """Both ends are there."""
        self.peer = _Ends(first, second)
        self.channels: tuple[PeerChannel[Any], PeerChannel[Any]] = (PeerChannel(), PeerChannel())
        """What is on its way to either end."""

        self.restarts = [0, 0]

    @rule(end=_ENDS, passage=passages())
    def carry(self, end: int, passage: Passage) -> None:
        """What is on its way to one end arrives, or does not."""
        self._poll()
        for thing in self.channels[end].take(passage):
            self.peer[end].receive(thing)

    @rule(seconds=st.sampled_from([1, 20, 300, 2000]))
    def wait(self, seconds: int) -> None:
        """Time passes, in which nothing arrives: a blackout, when it is long."""
        self._pass(seconds * SECOND_NS)

    @rule(end=_ENDS, really=st.booleans())
    def restart(self, end: int, really: bool) -> None:
        """One end is killed, and begins anew."""
        if really:
            self.note(f"restart of end {end}")
            self.restarts[end] += 1
            self.peer[end].restart()

    def finish(self) -> None:
        """The channel is good again, and everything comes to its end."""
        for _ in range(ROUNDS_MAX):
            for end in (0, 1, 0, 1):
                self.carry(end, WELL)
            self.look()
            if not list(self.owed()):
                return
            self._pass(ROUND_NS)
        for words in self.owed():
            require(False, "at the end", words)

    def look(self) -> None:
        """Judge what can be seen now."""

    def owed(self) -> Iterable[str]:
        """What has not come to its end, in words."""
        return ()

    def _poll(self) -> None:
        self.channels[1].put(self.peer.first.poll())
        self.channels[0].put(self.peer.second.poll())

    def _pass(self, duration_ns: int) -> None:
        self.now_ns += duration_ns
        for peer in self.peer:
            peer.advance(self.now_ns)
        self._poll()


class MakesFilePeer(Protocol):
    """Makes one end of a file service under test."""

    def __call__(self, end: int, /) -> FilePeer:
        """End 0 or 1, that sends to the other."""
        ...


class FilesMachine(PairMachine):
    """Two ends that send one another files.  Set `adapter`."""

    adapter: ClassVar[MakesFilePeer]
    """Makes an end of the service under test; a class, usually."""

    table = FILE_TABLE

    @initialize()
    def start(self) -> None:
        """Two ends."""
        self.begin(type(self).adapter(0), type(self).adapter(1))
        self.files: dict[tuple[int, Hashable], FileCase] = {}
        """By the end that sends it, and what it calls it."""

    @rule(end=_ENDS, size=_SIZES)
    def send(self, end: int, size: int) -> None:
        """A file unlike all others."""
        number = len(self.files)
        content = (number.to_bytes(2, "big") + bytes(range(251))) * (size // 253 + 1)
        name = f"{number}.bin"
        file = self.peer[end].send(name, content[:size])
        self.files[end, file] = FileCase(name, content[:size])

    @precondition(lambda self: self.files)
    @rule(pick=_PICKS, really=_SELDOM)
    def cancel(self, pick: int, really: bool) -> None:
        """A file that is under way, or not any more."""
        end, file = list(self.files)[pick % len(self.files)]
        if really:
            self.files[end, file].cancelled = True
            self.peer[end].cancel(file)

    @invariant()
    def look(self) -> None:
        """What either end has got is what the other has sent, once; states go forward."""
        for end in (0, 1):
            for name, content in self.peer[end].received():
                sent = [case for (by, _), case in self.files.items() if by != end]
                case = next((case for case in sent if case.name == name), None)
                require(case is not None, "received", "a file that nobody sent", name)
                assert case is not None
                case.comes(content)
        states = [peer.states() for peer in self.peer]
        for (end, file), case in self.files.items():
            self.took("file", *case.is_now(states[end].get(file)))

    def owed(self) -> Iterable[str]:
        """Files that are not over."""
        for (_, file), case in self.files.items():
            if case.state not in (DELIVERED, CANCELLED):
                yield f"{case.name} ({file!r}) is {case.state}, and stays so"


class MakesJobPeer(Protocol):
    """Makes one end of a job service under test."""

    def __call__(self, end: int, /) -> JobPeer:
        """End 0 is the client, end 1 the server."""
        ...


class JobsMachine(PairMachine):
    """A client of jobs and their server.  Set `adapter`."""

    adapter: ClassVar[MakesJobPeer]
    """Makes an end of the service under test; a class, usually."""

    table = JOB_TABLE

    @initialize()
    def start(self) -> None:
        """A client and a server."""
        self.begin(type(self).adapter(0), type(self).adapter(1))
        self.jobs: dict[Hashable, JobCase] = {}

    @rule(size=_SIZES)
    def submit(self, size: int) -> None:
        """A job whose input is unlike all others."""
        data = len(self.jobs).to_bytes(2, "big") + bytes(n % 251 for n in range(size))
        self.jobs[self.peer.first.submit(data)] = JobCase(data, self.restarts[1])

    @precondition(lambda self: self.jobs)
    @rule(pick=_PICKS, really=_SELDOM)
    def cancel(self, pick: int, really: bool) -> None:
        """A job that may run, or be over."""
        job = list(self.jobs)[pick % len(self.jobs)]
        if really:
            self.jobs[job].cancelled = True
            self.peer.first.cancel(job)

    @invariant()
    def look(self) -> None:
        """Results are right, and there once; states go forward; nothing runs more often than it
        was cut off."""
        states = self.peer.first.states()
        begun = list(self.peer.second.begun())
        for job, case in self.jobs.items():
            self.took("job", *case.is_now(states.get(job), self.restarts[1]))
            case.has(self.peer.first.results(job))
            runs = begun.count(case.data)
            cut_off = self.restarts[1] - case.restarts
            require(runs <= 1 + cut_off, "begun", "a job runs again that was not cut off", runs)
        strange = [data for data in begun if data not in [case.data for case in self.jobs.values()]]
        require(not strange, "begun", "a run of no job", strange)

    def owed(self) -> Iterable[str]:
        """Jobs that are not over, and results that do not come."""
        for job, case in self.jobs.items():
            if case.state not in (FINISHED, CANCELLED):
                yield f"job {job!r} is {case.state}, and stays so"
            elif case.state == FINISHED and not case.results:
                yield f"job {job!r} is finished, and its result does not come"
