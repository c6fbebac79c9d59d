"""`orbitferry plan delivery`: when an object arrives, and what a lost station or a storm does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stack.cli.common import (
    FAILED,
    Json,
    OctetCount,
    Seconds,
    duration,
    ends_with,
    quantity,
    size,
    time_of,
)
from stack.cli.output import emit, note, say, say_wrapped, table
from stack.cli.plan.hops import HEADS, hops_of
from stack.cli.plan.source import Kind, Reference, Source, SourcePath, load_source
from stack.core.errors import ConfigError
from stack.core.units import duration_text, parse_share, size_text

if TYPE_CHECKING:
    from stack.contacts.plan import Contact, Plan
    from stack.routing.delivery import DeliveryForecast

SHOWN: Final = 40
"""Hops listed on a terminal; --json lists all."""

DAYS: Final = 200
"""Days drawn by default: the 95th percentile then rests on ten of them."""

DAYS_MAX: Final = 10_000

BUNDLES_MAX: Final = 1_000_000
"""Most bundles of an object here: `stack.routing.delivery` takes more, and takes long."""


Origin = Annotated[str, typer.Argument(metavar="FROM", help="Node id.")]
Destination = Annotated[str, typer.Argument(metavar="TO", help="Node id.")]
Size = Annotated[int, quantity(size, "Of the object.", "--size", "-s")]
Departure = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="ISO 8601 time of departure. Default: the plan's start."),
]
BundleSize = Annotated[int, quantity(size, "Of the bundles it is cut into.")]
Lifetime = Annotated[float | None, quantity(duration, "Bundles that are older are lost.")]
Lost = Annotated[
    list[str] | None,
    typer.Option("--without", metavar="NODE", help="As if this node were not there; repeat it."),
]
Weather = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NODE=]P",
        help="Probability (0.7, 70%) that the weather lets a pass through, at all stations or at "
        "NODE; repeat it.",
    ),
]
Least = Annotated[
    float,
    typer.Option(metavar="P", min=0.0, max=1.0, help="Use only contacts of this confidence."),
]
Days = Annotated[
    int | None,
    typer.Option(
        min=1, max=DAYS_MAX, help=f"Possible days to draw. Default: {DAYS} with --weather."
    ),
]
Spell = Annotated[float, quantity(duration, "How long weather lasts.")]
Gantt = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Draw the way: .png, .svg or .html.")
]


@dataclass(frozen=True, slots=True)
class Storm:
    """How many possible days were drawn, and when the object arrived on them."""

    days: int
    arrivals_ms: tuple[int, ...]
    """Of the days on which all of it arrived, rising."""

    start_ms: int

    def quantile_s(self, share: float) -> float | None:
        """Seconds within which a share of all days delivers; None when that many do not."""
        place = math.ceil(share * self.days) - 1
        if place >= len(self.arrivals_ms):
            return None
        return (self.arrivals_ms[place] - self.start_ms) / 1000


def delivery(
    path: SourcePath,
    origin: Origin,
    destination: Destination,
    octets: Size = OctetCount("1MB"),
    at: Departure = None,
    bundle: BundleSize = OctetCount("1MB"),
    lifetime: Lifetime = None,
    lost: Lost = None,
    weather: Weather = None,
    least: Least = 0.0,
    days: Days = None,
    spell: Spell = Seconds("6h"),
    seed: Annotated[int, typer.Option(help="Seed of the days.")] = 1,
    gantt: Gantt = None,
    reference: Reference = None,
    kind: Kind = None,
    as_json: Json = False,
) -> None:
    """When an object arrives over a plan, by which way, and what could delay it.

    The object is cut into bundles, which are booked one after another as a node would, on links
    that carry nothing else. With --without the plan is compared with the same plan less these
    nodes. With --weather, or --days for a plan that has confidences of its own, possible days are
    drawn: a pass takes place with its probability, and all passes of a place within one spell of
    weather share their luck. Exit code 1 when not all of it arrives.

    \b
    Examples:
      orbitferry plan delivery plan.json dtn://gs1/ dtn://sat1/ --size 50MB --gantt way.png
      orbitferry plan delivery scenario.toml dtn://sat1/ dtn://gs1/ -s 2GB --without dtn://gs2/
      orbitferry plan delivery scenario.toml dtn://sat1/ dtn://gs1/ -s 2GB --weather 70% --json
    """
    source = load_source(path, reference, kind)
    start_ms = source.start_ms if at is None else time_of(at, "--at")
    expires_ms = None if lifetime is None else start_ms + round(lifetime * 1000)
    question = _Question(origin, destination, octets, start_ms, bundle, expires_ms)
    question.check(source, lost or ())
    changed, uncertain = _changed(source, lost or (), weather or (), least)
    whole = question.answer(source.plan)
    other = question.answer(changed) if changed is not source.plan else None
    storm = None
    if weather or days:
        storm = question.storm(uncertain, source.stations, days or DAYS, spell, seed)
    changes = _changes(lost or (), least)
    if as_json:
        emit(_as_dict(question, whole, other, storm, changes))
    else:
        _show(question, whole, other, storm, changes)
    if gantt is not None:
        from stack.cli.plan.chart import write_routes

        write_routes(gantt, source.plan, whole, changed, other, changes)
        if not as_json:
            note(f"{gantt}: written")
    if not (whole if other is None else other).complete:
        ends_with(FAILED)


@dataclass(frozen=True, slots=True)
class _Question:
    """What is sent, and when."""

    origin: str
    destination: str
    octets: int
    start_ms: int
    bundle_bytes: int
    expires_ms: int | None

    def check(self, source: Source, lost: Sequence[str]) -> None:
        """Raise `ConfigError` for what cannot be asked."""
        source.check_node("FROM", self.origin)
        source.check_node("TO", self.destination)
        if self.origin == self.destination:
            raise ConfigError("TO", "is FROM", "name two nodes")
        if self.bundle_bytes < 1:
            raise ConfigError("--bundle", "a bundle has octets", "write it like 1MB")
        if self.octets > self.bundle_bytes * BUNDLES_MAX:
            raise ConfigError("--bundle", f"more than {BUNDLES_MAX} bundles", "larger ones")
        for node in lost:
            source.check_node("--without", node)
            if node in (self.origin, self.destination):
                raise ConfigError("--without", f"{node} is an end of the way", "name another")

    def answer(self, plan: Plan) -> DeliveryForecast:
        from stack.routing.delivery import expected_delivery

        return expected_delivery(
            plan,
            self.origin,
            self.destination,
            self.octets,
            self.start_ms,
            bundle_bytes=self.bundle_bytes,
            expires_ms=self.expires_ms,
        )

    def storm(
        self, plan: Plan, sites: Sequence[str], days: int, spell_s: float, seed: int
    ) -> Storm:
        """Arrivals on possible days."""
        from link_models.planner import possible_day
        from link_models.rng import Streams

        streams = Streams(seed)
        spell_ms = max(1, round(spell_s * 1000))
        arrivals = []
        for number in range(days):
            random = streams.stream(f"day/{number}")
            found = self.answer(possible_day(plan, random, sites=sites, spell_ms=spell_ms))
            if found.complete and found.last_ms is not None:
                arrivals.append(found.last_ms)
        return Storm(days, tuple(sorted(arrivals)), self.start_ms)


def _changed(
    source: Source, lost: Sequence[str], weather: Sequence[str], least: float
) -> tuple[Plan, Plan]:
    """The plan as it is changed for certain, and the same with the confidences of the weather."""
    from link_models.planner import confident, without

    changed = without(source.plan, *lost) if lost else source.plan
    uncertain = _under_weather(source, changed, weather)
    if least:
        changed = uncertain = confident(uncertain, least)
    return changed, uncertain


def _under_weather(source: Source, plan: Plan, texts: Sequence[str]) -> Plan:
    """The plan with the confidences that --weather gives it."""
    from link_models.planner import with_weather

    everywhere = 1.0
    at: dict[str, float] = {}
    for text in texts:
        node, equals, share = text.rpartition("=")
        probability = parse_share(share)
        if equals:
            source.check_node("--weather", node)
            at[node] = probability
        else:
            everywhere = probability
    stations = set(source.stations)

    def probability_of(contact: Contact) -> float:
        ends = (contact.source, contact.destination)
        named = [at[node] for node in ends if node in at]
        if len(stations.intersection(ends)) == 2:
            return 1.0  # a wire on the ground
        if named:
            return math.prod(named)
        # A plan file does not say who is a station: then every link feels the weather.
        return everywhere if not stations or stations.intersection(ends) else 1.0

    return with_weather(plan, probability_of) if texts else plan


def _changes(lost: Sequence[str], least: float) -> str:
    parts = [f"without {', '.join(lost)}"] if lost else []
    parts += [f"confidence {least:g} or more"] if least else []
    return ", ".join(parts)


# -- what is said ----------------------------------------------------------------------------


def _as_dict(
    question: _Question,
    whole: DeliveryForecast,
    other: DeliveryForecast | None,
    storm: Storm | None,
    changes: str,
) -> dict[str, Any]:
    from stack.core.clock import dtn_to_iso

    found: dict[str, Any] = {
        "from": question.origin,
        "to": question.destination,
        "size_bytes": question.octets,
        "bundle_bytes": question.bundle_bytes,
        "departure": dtn_to_iso(question.start_ms),
        "undisturbed": _delivery_dict(whole),
    }
    if other is not None:
        found["changed"] = _delivery_dict(other) | {"changes": changes}
        found["later_s"] = _later_s(whole, other)
    if storm is not None:
        found["weather"] = {
            "days": storm.days,
            "delivered": len(storm.arrivals_ms) / storm.days,
            "p50_after_s": storm.quantile_s(0.50),
            "p95_after_s": storm.quantile_s(0.95),
        }
    return found


def _later_s(whole: DeliveryForecast, other: DeliveryForecast) -> float | None:
    if not (whole.complete and other.complete):
        return None
    assert whole.last_ms is not None
    assert other.last_ms is not None
    return (other.last_ms - whole.last_ms) / 1000


def _delivery_dict(found: DeliveryForecast) -> dict[str, Any]:
    from stack.core.clock import dtn_to_iso

    def after(at_ms: int | None) -> float | None:
        return None if at_ms is None else (at_ms - found.start_ms) / 1000

    return {
        "complete": found.complete,
        "delivered_bytes": found.delivered_bytes,
        "bundles": found.bundles,
        "first_after_s": after(found.first_ms),
        "last_after_s": after(found.last_ms),
        "arrival": None if found.last_ms is None else dtn_to_iso(found.last_ms),
        "flows": [
            {
                "bundles": flow.bundles,
                "payload_bytes": flow.payload_bytes,
                "hops": [
                    {
                        "source": stage.contact.source,
                        "destination": stage.contact.destination,
                        "begin": dtn_to_iso(stage.begin_ms),
                        "end": dtn_to_iso(stage.end_ms),
                        "wait_s": stage.wait_ms / 1000,
                        "transmit_s": stage.transmit_ms / 1000,
                        "light_ms": stage.light_ns / 1e6,
                        "octets": stage.octets,
                        "rate_bps": (
                            None if math.isinf(stage.contact.rate_bps) else stage.contact.rate_bps
                        ),
                    }
                    for stage in flow.stages
                ],
            }
            for flow in found.flows
        ],
    }


def _show(
    question: _Question,
    whole: DeliveryForecast,
    other: DeliveryForecast | None,
    storm: Storm | None,
    changes: str,
) -> None:
    from stack.core.clock import dtn_to_iso

    say_wrapped(
        f"{size_text(question.octets)} from {question.origin} to {question.destination} in bundles "
        f"of {size_text(question.bundle_bytes)}, leaving {dtn_to_iso(question.start_ms)[:19]}Z"
    )
    say("")
    _show_hops(whole)
    say_wrapped(_outcome(whole))
    if other is not None:
        say("")
        say(f"{changes}:")
        _show_hops(other)
        later = _later_s(whole, other)
        words = ""
        if later is not None:
            words = "; no difference" if not later else f"; {_difference(later)}"
        say_wrapped(_outcome(other) + words)
    if storm is not None:
        say("")
        say_wrapped(_storm_text(storm))


def _difference(later_s: float) -> str:
    return f"{duration_text(abs(later_s))} {'later' if later_s > 0 else 'earlier'}"


def _storm_text(storm: Storm) -> str:
    delivered = len(storm.arrivals_ms) / storm.days
    text = f"{storm.days} possible days: all of it arrives on {delivered:.0%} of them"
    half_s, most_s = storm.quantile_s(0.5), storm.quantile_s(0.95)
    if half_s is not None:
        text += f"; on half of them within {duration_text(half_s)}"
    if most_s is not None:
        return f"{text}, on 95 % within {duration_text(most_s)}"
    return f"{text}; on {1 - delivered:.0%} some of it has not arrived when the plan ends"


def _outcome(found: DeliveryForecast) -> str:
    from stack.core.clock import dtn_to_iso

    if found.last_ms is None or found.first_ms is None:
        return "nothing arrives: no way in time"
    first = duration_text((found.first_ms - found.start_ms) / 1000)
    last = duration_text((found.last_ms - found.start_ms) / 1000)
    when = f"{dtn_to_iso(found.last_ms)[:19]}Z"
    if not found.complete:
        return (
            f"only {size_text(found.delivered_bytes)} of {size_text(found.size_bytes)} arrive, the "
            f"last of them {when}, after {last}"
        )
    return f"first bundle after {first}, all of it after {last}: {when}"


def _show_hops(found: DeliveryForecast) -> None:
    rows = [hop.cells() for hop in hops_of(found)]
    if rows:
        table(HEADS, rows[:SHOWN])
        if len(rows) > SHOWN:
            say(f"... and {len(rows) - SHOWN} more hops; see --json")
