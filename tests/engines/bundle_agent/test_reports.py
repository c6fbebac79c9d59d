"""Which status reports are due, how many, and why (RFC 9171 §5.1, §5.5, §5.6, §6.1.1)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stack.engines.bundle_agent import AgentConfig
from stack.wire import cbor
from stack.wire.bundle import (
    BUNDLE_AGE,
    DELETE_UNPROCESSED,
    DISCARD_UNPROCESSED,
    IS_ADMIN,
    NO_FRAGMENT,
    REPORT_DELETION,
    REPORT_RECEPTION,
    REPORT_UNPROCESSED,
    Bundle,
    CanonicalBlock,
    bundle_age,
    encode_bundle,
    encode_primary,
    fragment_bundle,
    hop_count,
)
from stack.wire.bundle import ReportReason as Reason
from stack.wire.bundle.encode import checksum
from tests.engines.bundle_agent.desk import keyed
from tests.engines.bundle_agent.harness import FAR, HERE, NOW, Harness, bundle_for, reports

REPORTING = AgentConfig(status_reports=True)
HOUR_MS = 3_600_000


def told(harness: Harness) -> list[tuple[str, int]]:
    """What was reported: status and reason, oldest first."""
    names = ("received", "forwarded", "delivered", "deleted")
    return [
        (name, report.reason)
        for report in reports(harness)
        for name in names
        if getattr(report, name)
    ]


def unknown(number: int, flags: int = 0) -> CanonicalBlock:
    return CanonicalBlock(199, number, REPORT_UNPROCESSED | flags, b"?")


RECEIVED = ("received", Reason.NO_INFORMATION)
UNSUPPORTED = ("received", Reason.BLOCK_UNSUPPORTED)


def test_a_report_goes_to_who_is_named_for_it_from_the_administrative_endpoint() -> None:
    harness = Harness(config=REPORTING)
    assert harness.arrive(bundle_for(FAR + "app", flags=REPORT_RECEPTION, report_to=FAR + "told"))
    (record,) = [bundle.primary for bundle in harness.held() if bundle.primary.flags & IS_ADMIN]
    assert (str(record.source), str(record.destination)) == (HERE, FAR + "told")
    assert record.flags == IS_ADMIN, "nobody is told about a report"


@pytest.mark.parametrize("flags", [0, DISCARD_UNPROCESSED])
def test_a_block_asks_for_its_own_report_whatever_the_bundle_asks_for(flags: int) -> None:
    harness = Harness(config=REPORTING)
    assert harness.arrive(bundle_for(FAR + "app", blocks=[unknown(2, flags)]))
    assert told(harness) == [UNSUPPORTED]


def test_each_such_block_has_its_own_report() -> None:
    harness = Harness(config=REPORTING)
    blocks = [unknown(2), CanonicalBlock(199, 3, 0, b"quiet"), unknown(4)]
    assert harness.arrive(bundle_for(FAR + "app", blocks=blocks, flags=REPORT_RECEPTION))
    assert told(harness) == [RECEIVED, UNSUPPORTED, UNSUPPORTED]


def test_a_block_that_costs_the_bundle_is_reported_first() -> None:
    harness = Harness(config=REPORTING)
    blocks = [unknown(2), unknown(3, DELETE_UNPROCESSED), unknown(4)]
    flags = REPORT_RECEPTION | REPORT_DELETION
    assert harness.arrive(bundle_for(FAR + "app", blocks=blocks, flags=flags)) is None
    # Step 4 ends where the bundle does: nothing is said about the third block.
    deleted = ("deleted", Reason.BLOCK_UNSUPPORTED)
    assert told(harness) == [RECEIVED, UNSUPPORTED, UNSUPPORTED, deleted]


def test_what_security_refuses_has_its_blocks_reported_too() -> None:
    refuses = keyed()
    harness = Harness(config=REPORTING, security=refuses)
    assert harness.arrive(bundle_for(HERE + "app", blocks=[unknown(2), unknown(3)])) is None
    assert harness.agent.counters["dropped_security"] == 1
    assert told(harness) == [UNSUPPORTED, UNSUPPORTED]


def test_block_reports_are_held_to_the_rate_too() -> None:
    harness = Harness(config=AgentConfig(status_reports=True, status_reports_per_s=5))
    assert harness.arrive(bundle_for(FAR + "app", blocks=[unknown(n) for n in range(2, 200)]))
    assert told(harness) == [UNSUPPORTED] * 5
    quiet = Harness()
    assert quiet.arrive(bundle_for(FAR + "app", blocks=[unknown(2)]))
    assert told(quiet) == []


def test_nobody_is_told_about_records_or_nobodys_bundles() -> None:
    harness = Harness(config=AgentConfig(status_reports=True, lenient=True))
    flags = REPORT_RECEPTION | REPORT_DELETION
    for bundle in (
        bundle_for(FAR + "app", blocks=[unknown(2)], flags=IS_ADMIN | flags),
        bundle_for(FAR + "app", blocks=[unknown(2)], flags=flags | NO_FRAGMENT, source="dtn:none"),
        bundle_for(FAR + "app", blocks=[unknown(2)], flags=flags, report_to="dtn:none", sequence=3),
    ):
        assert harness.arrive(bundle)
    assert harness.agent.counters["reports_sent"] == 0


@pytest.mark.parametrize(
    ("bundle", "reason"),
    [
        (bundle_for(FAR, blocks=[hop_count(3, 4, number=2)]), Reason.HOP_LIMIT_EXCEEDED),
        (bundle_for(FAR, blocks=[CanonicalBlock(10, 2, 0, b"?")]), Reason.BLOCK_UNINTELLIGIBLE),
        (bundle_for(FAR, creation_ms=NOW - 60_000), Reason.LIFETIME_EXPIRED),
        (bundle_for(FAR, creation_ms=0), Reason.BLOCK_UNINTELLIGIBLE),
    ],
)
def test_what_is_refused_is_reported_as_received_and_deleted(
    bundle: Bundle, reason: Reason
) -> None:
    harness = Harness(config=REPORTING)
    primary = replace(bundle.primary, flags=REPORT_RECEPTION | REPORT_DELETION)
    assert harness.arrive(Bundle(primary, bundle.blocks)) is None
    assert told(harness) == [RECEIVED, ("deleted", reason)]


def test_what_cannot_be_read_is_reported_where_its_primary_block_can() -> None:
    flags = REPORT_RECEPTION | REPORT_DELETION
    encoded = bytearray(encode_bundle(bundle_for(FAR + "app", b"payload", flags=flags)))
    encoded[-8] ^= 1  # in the payload, whose CRC is then wrong
    harness = Harness(config=REPORTING)
    assert harness.arrive(bytes(encoded)) is None
    assert told(harness) == [RECEIVED, ("deleted", Reason.BLOCK_UNINTELLIGIBLE)]
    encoded[20] ^= 1  # now also the primary block
    assert harness.arrive(bytes(encoded)) is None
    assert len(reports(harness)) == 2
    piece = fragment_bundle(bundle_for(FAR + "app", bytes(2000), flags=flags), 900)[0]
    encoded = bytearray(encode_bundle(piece))
    encoded[-8] ^= 1
    assert harness.arrive(bytes(encoded)) is None
    assert len(reports(harness)) == 2  # a report must say how long a fragment is


def test_what_is_too_large_is_reported() -> None:
    harness = Harness(config=AgentConfig(status_reports=True, bundle_bytes_max=500))
    assert harness.arrive(bundle_for(FAR + "app", bytes(600), flags=REPORT_DELETION)) is None
    assert told(harness) == [("deleted", Reason.DEPLETED_STORAGE)]


def test_nothing_is_told_of_blocks_that_nobody_came_to() -> None:
    flags = REPORT_RECEPTION | REPORT_DELETION
    deleted = ("deleted", Reason.DEPLETED_STORAGE)
    harness = Harness(config=AgentConfig(status_reports=True, bundle_bytes_max=1000))
    part = fragment_bundle(bundle_for(FAR + "app", bytes(1001), flags=flags), 700)[0]
    assert harness.arrive(part) is None
    assert told(harness) == [RECEIVED, deleted]
    secured = Harness(config=REPORTING, security=keyed())
    in_clear = bundle_for(HERE + "app", flags=flags, report_to=FAR)
    assert secured.arrive(in_clear) is None
    assert told(secured) == [RECEIVED, ("deleted", Reason.MISSING_SECURITY_OPERATION)]
    stored = Harness(config=REPORTING, security=keyed())
    ref = stored.arrive(keyed().protect(in_clear))
    assert ref
    assert stored.agent.open(ref, encode_bundle(in_clear), NOW) is None
    stored.run_pending()
    assert told(stored)[1:] == [RECEIVED, ("deleted", Reason.MISSING_SECURITY_OPERATION)]


@pytest.mark.parametrize(
    ("lifetime_ms", "later_ms", "reason"),
    [
        (HOUR_MS, HOUR_MS, Reason.LIFETIME_EXPIRED),
        (2 * HOUR_MS, HOUR_MS, Reason.TRAFFIC_PARED),
        (2 * HOUR_MS, 2 * HOUR_MS, Reason.LIFETIME_EXPIRED),  # the node slept
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_lifetime_that_we_have_cut_ends_as_traffic_pared(
    lifetime_ms: int, later_ms: int, reason: Reason, there: bool
) -> None:
    harness = Harness(config=AgentConfig(status_reports=True, lifetime_ms_max=HOUR_MS))
    bundle = bundle_for(
        FAR + "app", creation_ms=NOW, lifetime_ms=lifetime_ms, flags=REPORT_DELETION
    )
    if there:
        ref = harness.arrive(bundle)
        assert ref
        assert harness.stored(ref).expires_ms == NOW + HOUR_MS
        harness.agent.expired([harness.stored(ref)], NOW + later_ms)
        harness.run_pending(NOW + later_ms)
    else:
        assert harness.arrive(bundle, NOW + later_ms) is None
    assert told(harness) == [("deleted", reason)]


def test_the_age_decides_where_there_is_no_time() -> None:
    harness = Harness(config=AgentConfig(status_reports=True, lifetime_ms_max=HOUR_MS))
    age = bundle_age(HOUR_MS, number=2)
    assert age.type == BUNDLE_AGE
    bundle = bundle_for(
        HERE + "app",
        creation_ms=0,
        lifetime_ms=2 * HOUR_MS,
        blocks=[age],
        flags=REPORT_DELETION,
        report_to=FAR,
    )
    assert harness.arrive(bundle) is None
    assert told(harness) == [("deleted", Reason.TRAFFIC_PARED)]


def test_whom_to_tell_is_read_as_strictly_as_all_else() -> None:
    """A primary block with a number in a longer form than needed, under a CRC that is right."""
    flags = REPORT_RECEPTION | REPORT_DELETION
    made = bundle_for(FAR + "app", flags=flags)
    primary = encode_primary(made.primary)
    lifetime = cbor.uint(60_000)
    assert primary.count(lifetime) == 1
    longer = primary[:-4].replace(lifetime, b"\x1a" + (60_000).to_bytes(4))
    encoded = b"\x9f" + longer + checksum(longer, 2) + encode_bundle(made)[1 + len(primary) :]
    for lenient in (False, True):
        harness = Harness(config=replace(REPORTING, lenient=lenient))
        assert bool(harness.arrive(encoded)) == lenient
        assert harness.agent.counters["reports_sent"] == lenient
