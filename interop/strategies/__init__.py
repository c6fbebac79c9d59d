"""Strategies of Hypothesis for what goes over the wire: valid, nearly valid, and mutated.

They need the extra `fuzz` (`pip install 'orbitferry[fuzz]'`); `docs/how-to-fuzz.md` begins with
them.  Strategies have plural names, and stand in a module for each protocol:

    things()             valid ones, as values of `stack.wire`
    encoded_things()     their octets
    nearly_things()      octets that break exactly one rule, and which: `Nearly`
    hostile_things()     octets of a kind on which implementations have failed: `Hostile`
    mutated_things()     octets with damage inside, and lengths and checksums that are right
    mutated(octets)      octets of any strategy, changed at random

All are made with `interop.strategies.making.strategy`, which gives a quick stream of the same cases
too (`things.maker().cases(seed)`).
"""

from __future__ import annotations

from stack.core.extras import missing_extra

try:
    from interop.strategies.bpsec import encoded_secured_bundles, secured_bundles
    from interop.strategies.bundle import (
        bundles,
        eids,
        encoded_bundles,
        encoded_eids,
        fragment_sets,
        status_reports,
    )
    from interop.strategies.choices import Choices, examples
    from interop.strategies.explain import code, explain, noted
    from interop.strategies.hostile import Hostile, Weakness, hostile_bundles
    from interop.strategies.making import Maker, strategy
    from interop.strategies.mutated_bundle import bundle_crcs, mutated_bundles
    from interop.strategies.mutation import mutate, mutated
    from interop.strategies.nearly_bpsec import nearly_secured_bundles
    from interop.strategies.nearly_bundle import nearly_bundles
    from interop.strategies.nearly_eid import nearly_eids
    from interop.strategies.nearly_fragments import nearly_fragment_sets
except ImportError as error:
    raise missing_extra(error) or error from None

from interop.strategies.violation import Nearly, NearlySet, Violation

__all__ = [
    "Choices",
    "Hostile",
    "Maker",
    "Nearly",
    "NearlySet",
    "Violation",
    "Weakness",
    "bundle_crcs",
    "bundles",
    "code",
    "eids",
    "encoded_bundles",
    "encoded_eids",
    "encoded_secured_bundles",
    "examples",
    "explain",
    "fragment_sets",
    "hostile_bundles",
    "mutate",
    "mutated",
    "mutated_bundles",
    "nearly_bundles",
    "nearly_eids",
    "nearly_fragment_sets",
    "nearly_secured_bundles",
    "noted",
    "secured_bundles",
    "status_reports",
    "strategy",
]
