"""The two stories of `docs/architecture.md` are true: one message is sent, and every function that
they name is called, in the order of the story."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from link_models.clock import run_virtual
from stack.contacts.plan import Contact, Plan, Range
from stack.fec.config import FecConfig
from stack.services.messages import Mailbox, send_message
from tests.node.test_two_nodes import SAT, channel, loop
from tests.node.world import EPOCH_MS, World

ROOT = Path(__file__).parents[2]

Call = tuple[str, str]
"""File and function."""


def story(heading: str) -> list[Call]:
    """The steps below `heading`."""
    text = (ROOT / "docs/architecture.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"\| `([\w/]+\.py)` \| `([\w.]+)` \|", section)


@contextmanager
def watched(tell: Callable[[Call], object]) -> Iterator[None]:
    """Tell of every call of a function of ours."""
    top = f"{ROOT}/"
    before = sys.getprofile()

    def called(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(top):
            tell((code.co_filename.removeprefix(top), code.co_qualname))

    sys.setprofile(called)
    try:
        yield
    finally:
        sys.setprofile(before)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """What is called while a message waits for a contact, crosses it and is dealt with."""
    found: list[Call] = []
    end = EPOCH_MS + 600_000
    ways = (("dtn://gs1/", "dtn://sat1/"), ("dtn://sat1/", "dtn://gs1/"))
    plan = Plan(
        [Contact(a, b, EPOCH_MS + 10_000, end, 1e6) for a, b in ways],
        [Range("dtn://gs1/", "dtn://sat1/", EPOCH_MS, end, 5_000_000)],
    )
    options: dict[str, Any] = {
        "rate_bps": 10e6,
        "owlt_ms": 5.0,
        "fec": FecConfig(k=8, r=2),
        "scheduled": True,
    }

    async def main() -> None:
        world = World(loop(), tmp_path_factory.mktemp("story"))
        world.connect("gs1", "sat1", channel())
        ground = world.node("gs1", [world.link("gs1", "sat1", **options)], plan=plan)
        satellite = world.node("sat1", [world.link("sat1", "gs1", **options)], plan=plan)
        async with ground, satellite, Mailbox(satellite.port) as mailbox:
            with watched(found.append):
                await send_message(ground.port, SAT.with_service("messages"), b"hello")
                await mailbox.done(await mailbox.receive())
                await asyncio.sleep(1)

    run_virtual(main)
    return found


def first_untrue(steps: list[Call], calls: list[Call]) -> Call | None:
    """The first of `steps` that is not called after those before it."""
    rest = iter(calls)
    return next((step for step in steps if step not in rest), None)


def test_the_stories_are_true(calls: list[Call]) -> None:
    steps = [step for heading in ("One bundle down", "One bundle up") for step in story(heading)]
    assert len(steps) > 40
    untrue = first_untrue(steps, calls)
    assert untrue is None, f"{untrue} was not called, or not in this place of the story"


def test_a_story_that_is_not_true_is_found_out(calls: list[Call]) -> None:
    steps = story("One bundle down")
    assert first_untrue(steps[::-1], calls) is not None
    wrong = ("stack/node/link.py", "Link.no_such_verb")
    assert first_untrue([*steps[:3], wrong, *steps[3:]], calls) == wrong
