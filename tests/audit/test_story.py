"""Logs joined: what fits together, and each planted fault found; and what is proven by that."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.audit.event import Act, AuditEvent, encode_event
from stack.audit.export import LogExport, read_export, verify_exports
from stack.audit.note import WITNESS_KEY, NoteSigner, SignedNote
from stack.audit.proof import RestClaim, check_proof, make_proof
from stack.audit.story import Story, stories
from stack.core.errors import DecodeError, LocalError, OrbitferryError, SecurityError
from stack.policy import Directory, NodeSet
from tests.audit.logs import (
    BUNDLE,
    DIRECTORY,
    HOUR,
    T0,
    event,
    exported,
    exports,
    journey,
    signer,
)

WITNESS = NoteSigner("dtn://svalbard/audit", bytes(32), WITNESS_KEY)
Said = dict[str, list[AuditEvent]]


def the_story(said: Said) -> Story:
    (found,) = [each for each in stories(exports(said), DIRECTORY) if each.object == BUNDLE]
    return found


def test_an_honest_journey_fits_together() -> None:
    story = the_story(journey())
    assert story.sound, story
    assert [(stay.node, stay.since_ms, stay.until_ms) for stay in story.stays] == [
        ("dtn://gs1/", T0, T0 + HOUR),
        ("dtn://relay/", T0 + HOUR, T0 + 2 * HOUR),
        ("dtn://sat1/", T0 + 2 * HOUR, T0 + 3 * HOUR),
    ]


def test_a_job_that_ran_where_it_may_fits_in() -> None:
    said = journey()
    said["sat1"].append(event("sat1", 4, Act.RUN))
    assert the_story(said).sound


def leave(said: Said, node: str, number: int) -> None:
    del said[node][number]


FAULTS: dict[str, tuple[Callable[[Said], object], str, str]] = {
    "a relay keeps quiet": (
        lambda said: said.update(relay=[]),
        "gaps",
        "dtn://gs1/ gave it to dtn://relay/, whose log does not say so",
    ),
    "a log is not here": (
        lambda said: said.pop("relay"),
        "gaps",
        "dtn://gs1/ gave it to dtn://relay/, whose log is not here",
    ),
    "nobody made it": (lambda said: leave(said, "gs1", 0), "gaps", "no log here says who made it"),
    "it goes before it came": (
        lambda said: leave(said, "relay", 0),
        "contradictions",
        "dtn://relay/ lets go of",
    ),
    "two say that they made it": (
        lambda said: said["relay"].insert(0, event("relay", 0, Act.MADE)),
        "contradictions",
        "several nodes",
    ),
    "under another label": (
        lambda said: said["relay"].append(
            event("relay", 2, Act.RECEIVED, Act.STORED, peer="gs1", label=b"")
        ),
        "contradictions",
        "different labels",
    ),
    "it is there before it is made": (
        lambda said: said["relay"].__setitem__(
            0, event("relay", -1, Act.RECEIVED, Act.STORED, peer="gs1")
        ),
        "contradictions",
        "had it before it was made",
    ),
    "it was opened by a relay": (
        lambda said: said["relay"].append(event("relay", 2, Act.OPENED)),
        "violations",
        "it was opened at dtn://relay/",
    ),
    "a job ran at a relay": (
        lambda said: said["relay"].append(event("relay", 2, Act.RUN)),
        "violations",
        "it was run at dtn://relay/: 'EU'",
    ),
    "a job ran where it never came": (
        lambda said: said.update(abroad=[event("abroad", 3, Act.RUN)]),
        "contradictions",
        "dtn://abroad/ ran",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_planted_fault_is_found(name: str) -> None:
    plant, kind, words = FAULTS[name]
    said = journey()
    plant(said)
    assert any(words in each for each in getattr(the_story(said), kind))


def test_a_log_that_begins_later_accuses_nobody() -> None:
    """What came before was pruned: how it came there, or when it came first, is not known."""
    said = journey()
    again = event("relay", 2.5, Act.RECEIVED, Act.STORED, peer="gs1")
    relay = exported("relay", [*said["relay"], again, event("relay", 3, Act.DELETED)], pruned=1)
    sat1 = exported("sat1", [*said["sat1"], event("sat1", 4, Act.RUN)], pruned=1)
    (story,) = stories([relay, sat1], DIRECTORY)
    assert not story.contradictions
    assert {each.partition(f" {BUNDLE}, which it took before")[0] for each in story.gaps} >= {
        "dtn://relay/ lets go of",
        "dtn://sat1/ lets go of",
        "dtn://sat1/ ran",
    }
    logs = [exports(said)[0], relay, sat1]
    assert not next(each for each in stories(logs) if each.object == BUNDLE).contradictions
    verdict = check_proof(json.dumps(make_proof(CLAIM, logs, DIRECTORY, T0)).encode())
    assert verdict.missing
    assert not verdict.against


def test_a_way_over_a_relay_abroad_is_a_violation() -> None:
    story = the_story(journey("abroad"))
    assert story.violations == ["it rested at dtn://abroad/: 'XX'; it may at 'EU | KR'"]


# ---- files -----------------------------------------------------------------------------------


def test_an_export_reads_back() -> None:
    for log in exports(journey()):
        again = read_export(line.encode() for line in log.lines())
        assert list(again.lines()) == list(log.lines())
        assert not verify_exports([again], [again.key], [])[0].problems


def test_what_a_witness_has_seen_is_told() -> None:
    log = exports(journey())[0]
    note = SignedNote.parse(log.checkpoints[-1])
    elsewhere = exports(journey())[1]
    elsewhere.seen.append(note.with_signatures([WITNESS.sign(note.text, 9)]).encode())
    report, _ = verify_exports([log, elsewhere], [], [WITNESS.key])
    assert report.witnesses == {"dtn://svalbard/audit": 3}
    assert (report.closed, report.open) == (3, 0)


EDITS: dict[str, Callable[[LogExport], object]] = {
    "altered": lambda log: log.events.__setitem__(0, encode_event(event("gs1", 0, Act.MADE))),
    "left out": lambda log: log.events.pop(1),
    "put in": lambda log: log.events.insert(1, log.events[0]),
    "withheld": lambda log: log.events.pop(),
    "not an event": lambda log: log.events.__setitem__(0, b"?"),
    "signed by another": lambda log: log.checkpoints.__setitem__(
        0, log.checkpoints[0].replace(b"dtn://gs1", b"dtn://gs2")
    ),
    "of another key": lambda log: setattr(log, "key", signer("gs2").key),
}


@pytest.mark.parametrize("name", EDITS)
def test_each_edit_of_a_log_is_found(name: str) -> None:
    log = exports(journey())[0]
    EDITS[name](log)
    assert verify_exports([log], [signer("gs1").key], [])[0].problems


def test_a_split_view_is_found_by_what_another_node_has_seen() -> None:
    """The station shows the auditor a log without the bundle, consistent in itself; the witness has
    cosigned the one with it."""
    true = exports(journey())[0]
    shown = exported("gs1", [event("gs1", hour, Act.REFUSED) for hour in range(3)])
    assert not verify_exports([shown], [], [])[0].problems
    witness = exports(journey())[1]
    witness.seen += true.checkpoints
    (problem,) = verify_exports([shown, witness], [], [])[0].problems
    assert "one history here and another one there" in problem


@settings(max_examples=60)
@given(st.data())
def test_nearly_an_export_is_read_or_refused(data: st.DataObject) -> None:
    lines = "".join(exports(journey())[0].lines()).encode()
    at = data.draw(st.integers(0, len(lines) - 1))
    octets = bytearray(lines)
    match data.draw(st.integers(0, 2)):
        case 0:
            octets[at] ^= 1 << data.draw(st.integers(0, 7))
        case 1:
            del octets[at : at + data.draw(st.integers(1, 40))]
        case _:
            octets[at:at] = data.draw(st.sampled_from([b"\n", b'"', b"{", b"null", b"[[[["]))
    try:
        log = read_export(bytes(octets).splitlines())
        verify_exports([log], [], [])
    except DecodeError:
        pass


def test_a_number_that_is_none_is_refused() -> None:
    head, *lines = exports(journey())[0].lines()
    endless = json.dumps({**json.loads(head), "first": float("inf")})
    with pytest.raises(DecodeError, match="line 1 is none of an export"):
        read_export([each.encode() for each in (endless, *lines)])


# ---- proofs ----------------------------------------------------------------------------------

CLAIM = RestClaim(BUNDLE, NodeSet.parse("KR | EU"), T0, T0 + 8 * HOUR)


def proof(said: Said, claim: RestClaim = CLAIM) -> bytes:
    return json.dumps(make_proof(claim, exports(said), DIRECTORY, T0)).encode()


def test_that_it_never_rested_elsewhere_is_proven() -> None:
    keys = [signer(name).key for name in journey()]
    verdict = check_proof(proof(journey()), keys, directory=DIRECTORY)
    assert verdict.holds, verdict
    assert not check_proof(proof(journey()), keys).holds  # whose word is it where they are?
    assert not check_proof(proof(journey()), keys[1:], directory=DIRECTORY).holds
    # Who checks it knows none of these nodes, whatever the file says of them.
    assert check_proof(proof(journey()), keys, directory=Directory(())).against
    assert len(verdict.stays) == 3
    narrower = check_proof(proof(journey(), RestClaim(BUNDLE, NodeSet.parse("KR"), T0, T0 + HOUR)))
    assert narrower.against == [f"{BUNDLE} was at dtn://relay/: 'EU', outside 'KR'"]
    with pytest.raises(SecurityError, match="another key"):
        check_proof(proof(journey()), [signer("gs1").key.__class__(keys[0].name, 1, bytes(32))])


@pytest.mark.parametrize("name", [name for name in FAULTS if FAULTS[name][1] != "violations"])
def test_nothing_is_proven_by_stories_that_do_not_fit(name: str) -> None:
    said = journey()
    FAULTS[name][0](said)
    assert not check_proof(proof(said)).fits


def test_what_is_still_somewhere_is_not_proven_for_later() -> None:
    said = journey()
    leave(said, "sat1", 1)
    assert check_proof(proof(said)).fits  # its log goes on after the time that is asked about
    later = RestClaim(BUNDLE, NodeSet.parse("KR | EU"), T0, T0 + 24 * HOUR)
    assert "still had" in check_proof(proof(said, later)).missing[0]


def test_what_a_proof_leaves_out_or_changes_is_found() -> None:
    for log, entry in ((0, 1), (1, 0), (2, 0)):
        fields = json.loads(proof(journey()))
        del fields["logs"][log]["entries"][entry]
        assert not check_proof(json.dumps(fields).encode()).fits
    fields = json.loads(proof(journey()))
    entry = fields["logs"][1]["entries"][0]
    entry["event"] = base64.b64encode(encode_event(event("relay", 5, Act.REFUSED))).decode()
    with pytest.raises(SecurityError):
        check_proof(json.dumps(fields).encode())


def test_what_was_pruned_proves_nothing() -> None:
    said = journey()["gs1"]
    with pytest.raises(LocalError, match="leaf 1 of 2"):
        make_proof(CLAIM, [exported("gs1", said, pruned=len(said))], DIRECTORY, T0)


def _until(fields: dict[str, Any]) -> None:
    fields["claim"]["until_ms"] = float("inf")


def _index(fields: dict[str, Any]) -> None:
    fields["logs"][0]["last"]["index"] = float("inf")


@pytest.mark.parametrize("change", [_until, _index])
def test_a_proof_with_a_number_that_is_none_is_refused(
    change: Callable[[dict[str, Any]], None],
) -> None:
    fields = json.loads(proof(journey()))
    change(fields)
    with pytest.raises(DecodeError, match="no proof"):
        check_proof(json.dumps(fields).encode())


@settings(max_examples=80)
@given(st.data())
def test_nearly_a_proof_proves_no_more_than_it_did(data: st.DataObject) -> None:
    octets = bytearray(proof(journey("abroad")))
    at = data.draw(st.integers(0, len(octets) - 1))
    if data.draw(st.booleans()):
        octets[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del octets[at : at + data.draw(st.integers(1, 60))]
    try:
        verdict = check_proof(bytes(octets))
    except OrbitferryError:
        return
    # Its directory and its claim are the prover's own words; what happened is not.
    same = json.loads(octets)
    if same["nodes"] == json.loads(proof(journey("abroad")))["nodes"]:
        assert not verdict.fits or verdict.claim != CLAIM
