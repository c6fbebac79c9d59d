"""Possible days: a plan whose contacts are uncertain, as it may turn out."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from link_models.planner.edit import passes_of
from stack.contacts.plan import Contact, Plan
from stack.core.errors import ConfigError

SPELL_MS = 6 * 3_600_000
"""How long the weather at a place stays as it is, by default.  Cloud cover is correlated over
some hours: with six, the passes of one night share their luck and those of the next day do not."""


def possible_day(
    plan: Plan,
    random: np.random.Generator,
    *,
    sites: Collection[str] = (),
    spell_ms: int = SPELL_MS,
) -> Plan:
    """The plan with only those contacts that take place on one day that may be.

    Each contact takes place with the probability that its confidence says.  Contacts of one place
    that begin within one spell of weather share one draw, so that a bad spell takes the less
    confident ones first; the rates of a pass belong to its beginning.  The place is that end of a
    contact which is one of `sites`, or the pair of nodes when neither is or both are.

    Raises `ConfigError` for a spell below 1 ms.
    """
    if spell_ms < 1:
        raise ConfigError("spell_ms", "a spell lasts at least 1 ms")
    uncertain = [one for one in plan.contacts if one.confidence < 1.0]
    luck: dict[tuple[str, int], float] = {}
    taken: list[Contact] = [one for one in plan.contacts if one.confidence >= 1.0]
    for group in passes_of(uncertain):
        ends = sorted({group[0].source, group[0].destination})
        places = [node for node in ends if node in sites]
        key = (places[0] if len(places) == 1 else " ".join(ends), group[0].start_ms // spell_ms)
        drawn = luck.get(key)
        if drawn is None:
            drawn = luck[key] = float(random.random())
        taken += [contact for contact in group if drawn < contact.confidence]
    return plan.with_contacts(taken)
