"""Logs of which entries are not here, though later ones are: never is it said that all is well."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from stack.audit.event import Act, AuditEvent, encode_event
from stack.audit.export import LogExport, LogReport, merged, read_export, verify_exports
from stack.audit.merkle import Peaks
from stack.audit.proof import RestClaim, check_proof, make_proof
from stack.audit.story import stories
from stack.core.errors import DecodeError, LocalError
from stack.policy import NodeSet
from tests.audit.logs import BUNDLE, DIRECTORY, HOUR, T0, event, exported, exports, journey

OTHER = f"dtn://gs1/other@{T0}.7"
EVENTS = [event("gs1", hours, Act.REFUSED, name=OTHER) for hours in range(20)]


def without(log: LogExport, lost: range) -> LogExport:
    """The same log, of which entries are not here."""
    first, events = log.base.size, log.events
    base = log.base.copy()
    base.add(events[: lost.stop - first])
    made = LogExport(log.origin, log.key, log.base, events[: lost.start - first], log.checkpoints)
    made.resume(base)
    made.events = events[lost.stop - first :]
    return made


def report_of(log: LogExport) -> LogReport:
    (report,) = verify_exports([log], [], [])
    return report


def told(lost: range) -> str:
    return f"entries {lost.start} to {lost.stop - 1} are not here: damaged, or withheld"


@pytest.mark.parametrize("lost", [range(0, 5), range(8, 9), range(8, 13), range(8, 20)])
def test_a_gap_is_told_and_counted(lost: range) -> None:
    log = without(exported("gs1", EVENTS, (8, 11, 15)), lost)
    again = read_export(line.encode() for line in log.lines())
    for one in (log, again):
        report = report_of(one)
        (problem,) = report.problems
        assert problem.startswith(told(lost))
        assert (report.entries, report.first) == (20, 0)
        assert (report.closed, report.missing) == (20, len(lost))
        assert [number for number, _ in one.numbered()] == [
            number for number in range(20) if number not in lost
        ]


def test_several_gaps_are_several() -> None:
    log = exported("gs1", EVENTS, (4,))
    first = without(log, range(4, 6))
    tail = without(LogExport(log.origin, log.key, first.base, first.events), range(10, 12))
    first.earlier += tail.earlier
    first.base, first.events = tail.base, tail.events
    report = report_of(read_export(line.encode() for line in first.lines()))
    gaps = [problem for problem in report.problems if "not here" in problem]
    assert [gap.startswith(told(lost)) for gap, lost in zip(
        gaps, (range(4, 6), range(10, 12)), strict=True)] == [True, True]  # fmt: skip
    assert report.missing == 4
    assert "no checkpoint covers entries 6 to 9 before these" in report.problems


def altered(events: Sequence[bytes], at: int) -> list[bytes]:
    changed = encode_event(event("gs1", 99, Act.REFUSED, name=OTHER))
    return [*events[:at], changed, *events[at + 1 :]]


def test_an_entry_before_a_gap_is_held_against_the_checkpoints_before_it() -> None:
    log = without(exported("gs1", EVENTS, (5,)), range(8, 10))
    (uncovered,) = (each for each in report_of(log).problems if "covers" in each)
    assert uncovered == "no checkpoint covers entries 5 to 7 before these"
    events = log.earlier[0].events
    log.earlier[0] = log.earlier[0]._replace(events=altered(events, 4))
    assert any("an entry was altered" in each for each in report_of(log).problems)


def test_an_entry_behind_a_gap_is_held_against_the_checkpoints_behind_it() -> None:
    log = without(exported("gs1", EVENTS), range(8, 10))
    log.events = altered(log.events, 3)
    report = report_of(log)
    assert any("an entry was altered" in each for each in report.problems)
    assert report.closed == 0


def test_what_follows_a_gap_has_to_be_what_was_signed() -> None:
    """Whoever makes up what the log was behind it is found by the next checkpoint."""
    log = exported("gs1", EVENTS, (8,))
    made_up = Peaks()
    made_up.add(altered(log.events, 8)[:10])
    forged = LogExport(log.origin, log.key, log.base, log.events[:8], log.checkpoints)
    forged.resume(made_up)
    forged.events = log.events[10:]
    assert any("is not what it has signed at 20" in each for each in report_of(forged).problems)


def test_an_end_that_is_not_here_is_withheld() -> None:
    log = without(exported("gs1", EVENTS, (8,)), range(8, 10))
    log.events = log.events[:-1]
    assert any("the others are withheld" in each for each in report_of(log).problems)


def test_a_gap_leads_forward() -> None:
    log = exported("gs1", EVENTS)
    for size in (3, 20):
        base = Peaks()
        base.add(log.events[:size])
        with pytest.raises(DecodeError):
            log.resume(base)


# ---- what is made of such logs ------------------------------------------------------------------


def with_gap(lost: range, node: str = "relay") -> list[LogExport]:
    """Logs of a journey, of one of which entries are not here."""
    more = {name: [*events, *others(name)] for name, events in journey().items()}
    return [without(log, lost) if log.node == f"dtn://{node}/" else log for log in exports(more)]


def others(name: str) -> list[AuditEvent]:
    return [event(name, 8, Act.REFUSED, name=f"dtn://{name}/x@{T0}.3")]


def test_a_story_over_a_gap_has_gaps_and_contradicts_nothing() -> None:
    """The relay's log does not say any more that it took the bundle, or that it passed it on."""
    for lost in (range(0, 1), range(1, 2), range(0, 2)):
        (story,) = (one for one in stories(with_gap(lost), DIRECTORY) if one.object == BUNDLE)
        relay = {entry.number for entry in story.entries if entry.event.node == "dtn://relay/"}
        assert relay == {0, 1} - set(lost)
        assert not story.sound
        assert story.gaps
        assert story.contradictions == []


def test_nothing_is_proven_over_a_gap() -> None:
    claim = RestClaim(BUNDLE, NodeSet.parse("KR | EU"), T0 - HOUR, T0 + 4 * HOUR)

    def verdict(logs: list[LogExport]) -> tuple[bool, list[str]]:
        octets = json.dumps(make_proof(claim, logs, DIRECTORY, T0 + 10 * HOUR)).encode()
        found = check_proof(octets, [log.key for log in logs], None, DIRECTORY)
        return found.holds, found.missing

    assert verdict(exports(journey())) == (True, [])
    for lost in (range(0, 1), range(1, 2), range(0, 2)):
        holds, missing = verdict(with_gap(lost))
        assert not holds
        assert missing
    with pytest.raises(LocalError, match="is pruned, or damaged"):
        verdict(with_gap(range(1, 4)))


def test_exports_with_gaps_go_together_and_fill_one_another() -> None:
    """One is given twice, or another is from before the disk was damaged, or has lost something
    else."""
    log = without(exported("gs1", EVENTS), range(3, 5))
    (twice,) = merged([log, without(exported("gs1", EVENTS), range(3, 5))])
    assert [*twice.lines()] == [*log.lines()]
    assert (twice.gaps, [report_of(twice).missing]) == ([range(3, 5)], [2])
    before, other = exported("gs1", EVENTS[:9]), without(exported("gs1", EVENTS), range(7, 20))
    for more in (before, other):
        (filled,) = merged([log, more])
        assert filled.gaps == []
        assert not report_of(filled).problems
        assert filled.events == exported("gs1", EVENTS).events
    later = exported("gs1", EVENTS, pruned=6)
    (kept,) = merged([later, log])
    assert kept.gaps == [range(3, 5)]
    forged = exported("gs1", [*EVENTS[:8], *EVENTS[9:]])
    assert len(merged([log, forged])) == 2
    assert len(merged([exported("gs1", EVENTS[:2]), log, exported("gs1", EVENTS, pruned=20)])) == 1


def test_of_a_log_with_a_gap_that_is_given_twice_is_proven_what_is_of_once() -> None:
    claim = RestClaim(BUNDLE, NodeSet.parse("KR | EU"), T0, T0 + 4 * HOUR)
    more = {name: [*events, *others(name)] for name, events in journey().items()}
    more["relay"][:0] = [event("relay", -2, Act.REFUSED, name=OTHER)] * 3
    logs = [without(each, range(1, 2)) for each in exports(more) if each.node == "dtn://relay/"]
    logs += [each for each in exports(more) if each.node != "dtn://relay/"]
    proof = make_proof(claim, merged([*logs, *logs]), DIRECTORY, T0 + 10 * HOUR)
    assert check_proof(json.dumps(proof).encode()).fits
