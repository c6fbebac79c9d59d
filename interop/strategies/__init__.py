"""Strategies of Hypothesis for what goes over the wire: valid, nearly valid, and mutated.

They need the extra `fuzz` (`pip install 'orbitferry[fuzz]'`); `docs/how-to-fuzz.md` begins with
them.  Strategies have plural names, and stand in a module for each protocol:

    things()             valid ones, as values of `stack.encoded`
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
    from interop.strategies.acme import acme_records as acme_records
    from interop.strategies.acme import encoded_acme_records as encoded_acme_records
    from interop.strategies.acme import nearly_acme_records as nearly_acme_records
    from interop.strategies.bpsec import encoded_secured_bundles as encoded_secured_bundles
    from interop.strategies.bpsec import secured_bundles as secured_bundles
    from interop.strategies.bundle import bundles as bundles
    from interop.strategies.bundle import eids as eids
    from interop.strategies.bundle import encoded_bundles as encoded_bundles
    from interop.strategies.bundle import encoded_eids as encoded_eids
    from interop.strategies.bundle import fragment_sets as fragment_sets
    from interop.strategies.bundle import status_reports as status_reports
    from interop.strategies.channel import ChannelScript as ChannelScript
    from interop.strategies.channel import channels as channels
    from interop.strategies.choices import Choices as Choices
    from interop.strategies.choices import examples as examples
    from interop.strategies.cose import encoded_cose_messages as encoded_cose_messages
    from interop.strategies.cose import nearly_cose_messages as nearly_cose_messages
    from interop.strategies.explain import code as code
    from interop.strategies.explain import explain as explain
    from interop.strategies.explain import noted as noted
    from interop.strategies.hostile import Hostile as Hostile
    from interop.strategies.hostile import Weakness as Weakness
    from interop.strategies.hostile import hostile_bundles as hostile_bundles
    from interop.strategies.making import Maker as Maker
    from interop.strategies.making import strategy as strategy
    from interop.strategies.mutated_bundle import bundle_crcs as bundle_crcs
    from interop.strategies.mutated_bundle import mutated_bundles as mutated_bundles
    from interop.strategies.mutation import mutate as mutate
    from interop.strategies.mutation import mutated as mutated
    from interop.strategies.nearly_bibe import bibe_records as bibe_records
    from interop.strategies.nearly_bibe import nearly_bibe_records as nearly_bibe_records
    from interop.strategies.nearly_bpsec import nearly_secured_bundles as nearly_secured_bundles
    from interop.strategies.nearly_bundle import nearly_bundles as nearly_bundles
    from interop.strategies.nearly_certificate import encoded_certificates as encoded_certificates
    from interop.strategies.nearly_certificate import nearly_certificates as nearly_certificates
    from interop.strategies.nearly_eid import nearly_eids as nearly_eids
    from interop.strategies.nearly_fragments import nearly_fragment_sets as nearly_fragment_sets
    from interop.strategies.nearly_record import nearly_status_reports as nearly_status_reports
except ImportError as error:
    raise missing_extra(error) or error from None

from interop.strategies.violation import Nearly as Nearly
from interop.strategies.violation import NearlySet as NearlySet
from interop.strategies.violation import Violation as Violation
