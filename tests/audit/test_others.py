"""Several logs of one node: one that has lost its disk, and one that keeps two at once."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from stack.audit.event import Act, AuditEvent, encode_event
from stack.audit.export import LogExport, verify_exports
from stack.audit.log import log_origin
from stack.audit.merkle import Peaks
from stack.audit.note import WITNESS_KEY, LogCheckpoint, NoteSigner, SignedNote
from stack.audit.proof import check_proof, make_proof
from stack.core.clock import DTN_EPOCH_UNIX_S
from stack.core.errors import SecurityError
from tests.audit.logs import CLAIM, DIRECTORY, HOUR, T0, event, exported, exports, journey

WITNESS = NoteSigner("dtn://svalbard/audit", b"w" * 32, WITNESS_KEY)
THIEF = NoteSigner(WITNESS.key.name, b"t" * 32, WITNESS_KEY)


def second(events: Sequence[AuditEvent]) -> LogExport:
    """Another log of the station."""
    by = NoteSigner(log_origin("dtn://gs1/", b"second\0\0"), bytes(32))
    octets = [encode_event(each) for each in events]
    tree = Peaks()
    tree.add(octets)
    note = LogCheckpoint(by.key.name, len(octets), tree.root()).signed(by).encode()
    return LogExport(by.key.name, by.key, Peaks(), octets, [note])


def cosigned(log: LogExport, hours: float, by: NoteSigner = WITNESS) -> bytes:
    """The checkpoint of a log, as a witness has signed it."""
    note = SignedNote.parse(log.checkpoints[-1])
    seconds = (T0 + round(hours * HOUR)) // 1000 + DTN_EPOCH_UNIX_S
    return note.with_signatures([by.sign(note.text, seconds)]).encode()


def said(*hours: float) -> list[AuditEvent]:
    """What the station says of other objects."""
    return [event("gs1", each, Act.REFUSED, label=b"", name="job:1") for each in hours]


OTHER = second(said(-5))


@pytest.mark.parametrize("hours", [0.02, 3, 1_000])
def test_another_log_that_was_cosigned_since_is_wrong(hours: float) -> None:
    logs = exports(journey())
    logs[1].seen.append(cosigned(OTHER, hours))
    report, *_ = verify_exports(logs, [], [WITNESS.key])
    assert len(report.problems) == 1
    assert report.problems[0].startswith(f"dtn://gs1/ has another log, {OTHER.origin}, which dtn:")
    with pytest.raises(SecurityError, match="has another log"):
        make_proof(CLAIM, logs, DIRECTORY, T0)
    # Whose key nobody knows may be anybody: that is told of what is not here.
    *here, gone = verify_exports(logs, [], [])
    assert not any(each.problems for each in here)
    assert gone.origin == OTHER.origin
    assert "(--witness)" in gone.problems[0]


@pytest.mark.parametrize("hours", [-4, 0.01])
def test_of_a_node_that_has_lost_its_disk_there_is_a_gap(hours: float) -> None:
    logs = exports(journey())
    logs[1].seen.append(cosigned(OTHER, hours))
    for some in (logs, [*logs, OTHER]):
        reports = verify_exports(some, [], [WITNESS.key])
        assert not any(each.problems for each in reports)
        assert ["at last, before this one" in gap for gap in reports[0].gaps] == [True]
        assert not any(each.gaps for each in reports[1:])
    if hours < 0:
        assert check_proof(json.dumps(make_proof(CLAIM, logs, DIRECTORY, T0)).encode()).fits
    else:  # what it did with the object at first may stand in the other one
        with pytest.raises(SecurityError, match="export that too"):
            make_proof(CLAIM, logs, DIRECTORY, T0)


def test_who_is_no_witness_accuses_nobody() -> None:
    logs = exports(journey())
    logs[1].seen.append(cosigned(OTHER, 3, THIEF))
    assert not verify_exports(logs, [], [WITNESS.key])[0].problems


def test_two_logs_at_once_are_told_where_both_are_here() -> None:
    logs = exports(journey())
    logs[1].seen.append(cosigned(OTHER, 3))
    reports = verify_exports([*logs, OTHER], [], [WITNESS.key])
    assert ["two logs at once" in each for each in reports[0].problems] == [True]
    assert not any(each.problems for each in reports[1:])
    # One that has begun later follows it.
    later = second(said(9.5))
    logs[1].seen[:] = [cosigned(later, 12)]
    assert not any(each.problems for each in verify_exports([*logs, later], [], [WITNESS.key]))


@pytest.mark.parametrize(("hours", "fits"), [((-5, -4), True), ((9.5, 12), True), ((3, 9), False)])
def test_nothing_is_proven_by_two_logs_at_once(hours: tuple[float, float], fits: bool) -> None:
    logs = [*exports(journey()), second(said(*hours))]
    verdict = check_proof(json.dumps(make_proof(CLAIM, logs, DIRECTORY, T0)).encode())
    assert verdict.fits is fits
    words = "dtn://gs1/ has kept two logs at once: there may be more of them"
    assert verdict.missing == ([] if fits else [words])


@pytest.mark.parametrize(("before", "after"), [((), (20, 7)), ((-2, 3, -1), ())])
def test_what_a_clock_ahead_has_put_elsewhere_is_in_a_proof(
    before: tuple[float, ...], after: tuple[float, ...]
) -> None:
    """Before and after the object the log tells of other ones, while its clock was ahead."""
    logs = exports(journey())
    log = logs[0] = exported("gs1", [*said(*before), *journey()["gs1"], *said(*after, 21)])
    fields = make_proof(CLAIM, logs, DIRECTORY, T0)
    assert len(fields["logs"][0]["events"]) == len(log.events)
    (words,) = check_proof(json.dumps(fields).encode()).missing
    assert words.startswith("the clock of dtn://gs1/ went back")


def test_a_clock_that_was_elsewhere_altogether_hinders_no_proof() -> None:
    logs = exports(journey())
    far = [*said(-1e5, -2), *journey()["gs1"], *said(9, -1e5, 10)]
    logs[0] = exported("gs1", far)
    fields = make_proof(CLAIM, logs, DIRECTORY, T0)
    assert (fields["logs"][0]["first"], len(fields["logs"][0]["events"])) == (1, 4)
    assert check_proof(json.dumps(fields).encode()).fits
