"""The log of a node."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from stack.node.trace import LEFT_OUT, LINES_MAX, LINES_MS, JsonLines


class Hand:
    """A clock that is set by hand."""

    now_ms = 850_000_000_000

    def dtn_ms(self) -> int:
        return self.now_ms

    def now(self) -> int:
        return 0


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_flood_of_one_kind_of_event_fills_no_disk_and_hides_no_other() -> None:
    stream, clock = io.StringIO(), Hand()
    sink = JsonLines(stream, clock, "dtn://gs1/")
    for number in range(5 * LINES_MAX):
        sink("bundle_dropped", {"number": number})
        if number % LINES_MAX == 0:
            sink("link_up", {"number": number})
    found = lines(stream)
    assert sum(line["event"] == "bundle_dropped" for line in found) == LINES_MAX
    assert sum(line["event"] == "link_up" for line in found) == 5
    (told,) = (line for line in found if line["event"] == LEFT_OUT)
    assert (told["of"], "debug" in told["why"]) == ("bundle_dropped", True)


@pytest.mark.parametrize("step_ms", [LINES_MS, -1])
def test_after_that_it_is_said_how_many_there_were(step_ms: int) -> None:
    """Also when the clock is set back: nothing is left out until it has caught up."""
    stream, clock = io.StringIO(), Hand()
    sink = JsonLines(stream, clock, "dtn://gs1/")
    for _ in range(LINES_MAX + 7):
        sink("bundle_dropped", {})
    clock.now_ms += step_ms
    sink("bundle_dropped", {"again": True})
    told, again = lines(stream)[-2:]
    assert (told["event"], told["of"], told["lines"]) == (LEFT_OUT, "bundle_dropped", 7)
    assert again["again"]


def test_level_debug_shows_all() -> None:
    stream = io.StringIO()
    sink = JsonLines(stream, Hand(), "dtn://gs1/", debug=True)
    for _ in range(2 * LINES_MAX):
        sink("bundle_dropped", {})
    assert len(lines(stream)) == 2 * LINES_MAX
