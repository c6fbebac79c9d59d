"""File services and job services with one fault each; `breaks` is what the machines name."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from stack.core.errors import DecodeError
from stack.services.files.messages import Repair
from stack.services.files.messages import decode_message as decode_file_message
from stack.services.jobs import JobContext
from stack.services.jobs.messages import JobReport
from stack.services.jobs.messages import decode_message as decode_job_message
from tests.services.ours import OurFiles, OurJobs


class HandsOverTwice(OurFiles):
    """What the application took is not durable."""

    breaks = ("received",)

    def restart(self) -> None:
        self.told.clear()
        super().restart()


class ForgetsAtRestart(OurFiles):
    """What is to be sent is in memory."""

    breaks = ("states",)

    def restart(self) -> None:
        self.node.state.clear()
        super().restart()


class SaysDeliveredWhenSent(OurFiles):
    breaks = ("states",)

    async def _states(self) -> Mapping[Hashable, str]:
        return {
            one.object_id: "delivered" if one.state == "waiting" else state
            for one in self.files.all_progress()
            if (state := "open" if one.open else one.state) and one.direction == "out"
        }


class LosesTheEnd(OurFiles):
    """An off-by-one at the border of chunks."""

    breaks = ("received",)

    def send(self, name: str, content: bytes) -> Hashable:
        return super().send(name, content[:-1] if len(content) % 256 == 1 else content)


class CannotStop(OurFiles):
    breaks = ("cancel",)

    def cancel(self, file: Hashable) -> None:
        pass


class SendsNothingTwice(OurFiles):
    breaks = ("at the end",)

    def receive(self, thing: Any) -> None:
        try:
            message = decode_file_message(thing.outgoing.payload)
        except DecodeError:
            message = None
        if not isinstance(message, Repair):
            super().receive(thing)


class RunsTwice(OurJobs):
    breaks = ("begun",)

    async def back(self, context: JobContext) -> None:
        self.runs.append(context.inputs[0].read_bytes())
        await super().back(context)


class GivesAnother(OurJobs):
    breaks = ("results",)

    async def back(self, context: JobContext) -> None:
        await super().back(context)
        data = context.inputs[0].read_bytes()
        if len(data) > 256:
            context.output("back.bin").write_bytes(data)


class GivesTwo(OurJobs):
    breaks = ("results",)

    async def back(self, context: JobContext) -> None:
        await super().back(context)
        context.output("also.bin").write_bytes(context.inputs[0].read_bytes()[::-1])


class ForgetsJobs(OurJobs):
    breaks = ("states",)

    def restart(self) -> None:
        self.node.state.clear()
        super().restart()


class BeginsFromTheFront(OurJobs):
    """After a restart it does not know what it knew of the job."""

    breaks = ("states", "at the end")
    restarted = False

    def restart(self) -> None:
        self.restarted = True
        super().restart()

    def states(self) -> Mapping[Hashable, str]:
        states = super().states()
        if self.restarted:
            return dict.fromkeys(states, "submitted")
        return states


class HearsNoEnd(OurJobs):
    breaks = ("at the end",)

    def receive(self, thing: Any) -> None:
        try:
            message = decode_job_message(thing.outgoing.payload)
        except DecodeError:
            message = None
        if not (isinstance(message, JobReport) and message.state.final):
            super().receive(thing)


class LosesResults(OurJobs):
    breaks = ("results",)
    count = 0

    def results(self, job: Hashable) -> Sequence[bytes]:
        found = super().results(job)
        self.count += bool(found)
        return found if self.count < 3 else []


FILES: Iterable[type[OurFiles]] = OurFiles.__subclasses__()
JOBS: Iterable[type[OurJobs]] = OurJobs.__subclasses__()
