"""The hops of a delivery as people read them: one line for each pass that carries something."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stack.core.units import duration_text, rate_text, size_text

if TYPE_CHECKING:
    from stack.contacts.plan import Contact
    from stack.routing.delivery import DeliveryForecast


HEADS: Final = (
    "from", "to", "begins", "ends", "waits", "sends", "light", "rate", "carries", "full",
)  # fmt: skip
"""Of the columns of `Hop.cells`."""


@dataclass(slots=True)
class Hop:
    """What one pass, or one lasting link, carries of an object in one direction."""

    source: str
    destination: str
    begin_ms: int
    end_ms: int
    wait_ms: int
    """How long the first bundle waited for it."""

    light_ns: int
    """Of the first octets."""

    octets: int
    contacts: list[Contact]
    """Steps of the rate, in the order of their use."""

    @property
    def rates_bps(self) -> tuple[float, float]:
        """Least and greatest."""
        rates = [contact.rate_bps for contact in self.contacts]
        return min(rates), max(rates)

    @property
    def share(self) -> float | None:
        """The part of its contacts' volume that is used; None when they have no limit."""
        volume = sum(contact.volume_bytes for contact in self.contacts)
        return self.octets / volume if math.isfinite(volume) else None

    def cells(self) -> tuple[str, ...]:
        """What tables show of it, on a terminal and on a page."""
        from stack.core.clock import dtn_to_iso

        least, most = self.rates_bps
        return (
            self.source,
            self.destination,
            f"{dtn_to_iso(self.begin_ms)[:19]}Z",
            f"{dtn_to_iso(self.end_ms)[11:19]}Z",
            duration_text(self.wait_ms / 1000) if self.wait_ms else "-",
            duration_text((self.end_ms - self.begin_ms) / 1000),
            duration_text(self.light_ns / 1e9),
            rate_text(most) if least == most else f"{rate_text(least)} to {rate_text(most)}",
            size_text(self.octets),
            "" if self.share is None else f"{self.share:.0%}",
        )


def hops_of(found: DeliveryForecast) -> list[Hop]:
    """The hops of all ways, by their beginning.

    Contacts of one direction that touch are one pass: only their rates differ.
    """
    hops: list[Hop] = []
    latest: dict[tuple[str, str], tuple[Hop, int]] = {}
    stages = [stage for flow in found.flows for stage in flow.stages]
    stages.sort(key=lambda stage: (stage.contact.start_ms, stage.begin_ms))
    for stage in stages:
        contact = stage.contact
        pair = (contact.source, contact.destination)
        hop, until_ms = latest.get(pair, (None, -1))
        if hop is None or contact.start_ms > until_ms:
            hop = Hop(*pair, stage.begin_ms, stage.end_ms, stage.wait_ms, stage.light_ns, 0, [])
            hops.append(hop)
        hop.end_ms = max(hop.end_ms, stage.end_ms)
        hop.octets += stage.octets
        if contact not in hop.contacts:
            hop.contacts.append(contact)
        latest[pair] = (hop, max(until_ms, contact.end_ms))
    hops.sort(key=lambda hop: (hop.begin_ms, hop.end_ms))
    return hops
