"""Jobs at link times."""

from __future__ import annotations

import asyncio

from link_models.channel import FOREVER_NS
from link_models.clock import VirtualLoop, run_virtual
from link_models.emulator import TimeMapping
from link_models.emulator.agenda import Agenda
from link_models.emulator.world import EmulatorTime


def test_a_job_is_done_at_the_earliest_time_asked_for_and_never_is_no_time() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        agenda = Agenda(loop, EmulatorTime(lambda: loop.now_ns, TimeMapping()))
        done: list[int] = []
        job = agenda.job(lambda: done.append(loop.now_ns))
        agenda.at(FOREVER_NS, job)
        assert loop.timers() == 0
        for when_ns in (9, 5, 7):
            agenda.at(when_ns, job)
        await asyncio.sleep(1)
        assert done == [5]
        agenda.close()

    run_virtual(main)
