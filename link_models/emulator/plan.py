"""A link as a contact plan has it: windows and light time of one direction."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from link_models.channel import Delay, Window
from stack.contacts.plan import Contact, Plan
from stack.core.clock import MILLISECOND
from stack.core.errors import ConfigError


class LinkPlan(NamedTuple):
    """One direction, in nanoseconds of scenario time."""

    windows: tuple[Window, ...]
    delay: Delay


def link_between(
    plan: Plan, source: str, destination: str, zero_ms: int, more_ns: float = 0.0
) -> LinkPlan:
    """The contacts from `source` to `destination` and the light time between them, with `more_ns`
    of equipment; scenario time counts from the DTN time `zero_ms`.

    Of contacts that overlap the faster one counts.  The light time is that of the plan's steps,
    drawn through from one to the next.  Raises `ConfigError` when the plan has no such contact.
    """
    contacts = plan.between(source, destination)
    if not contacts:
        known = ", ".join(plan.nodes[:10]) + (", ..." if len(plan.nodes) > 10 else "")
        raise ConfigError("plan", f"has no contact from {source} to {destination}", f"has {known}")
    light = plan.light_time(source, destination)
    delay = Delay.constant(more_ns)
    if light.starts_ms:
        times = [float((start - zero_ms) * MILLISECOND) for start in light.starts_ms]
        delay = Delay(times, [owlt + more_ns for owlt in light.owlts_ns])
    return LinkPlan(_windows(contacts, zero_ms), delay)


def _windows(contacts: list[Contact], zero_ms: int) -> tuple[Window, ...]:
    """Windows that do not overlap: at each time the fastest contact that is under way."""
    edges = sorted({edge for one in contacts for edge in (one.start_ms, one.end_ms)})
    windows: list[Window] = []
    under_way: list[Contact] = []
    following = 0
    for start_ms, end_ms in itertools.pairwise(edges):
        while following < len(contacts) and contacts[following].start_ms <= start_ms:
            under_way.append(contacts[following])
            following += 1
        under_way = [one for one in under_way if one.end_ms > start_ms]
        if not under_way:
            continue
        rate_bps = max(one.rate_bps for one in under_way)
        start_ns, end_ns = ((at - zero_ms) * MILLISECOND for at in (start_ms, end_ms))
        if windows and windows[-1].end_ns == start_ns and windows[-1].rate_bps == rate_bps:
            start_ns = windows.pop().start_ns
        windows.append(Window(start_ns, end_ns, rate_bps))
    return tuple(windows)
