"""Logs joined: what fits together, and each planted fault found; and what is proven by that."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.audit.event import Act, AuditEvent, encode_event, label_digest
from stack.audit.export import LogExport, merged, read_export, verify_exports
from stack.audit.note import WITNESS_KEY, LogCheckpoint, NoteSigner, SignedNote
from stack.audit.proof import check_proof, make_proof
from stack.audit.story import Story, stories
from stack.core.errors import DecodeError
from stack.policy import DataPolicy, NodeSet
from stack.policy.label import encode_label
from tests.audit.logs import (
    BUNDLE,
    CLAIM,
    DIRECTORY,
    HOUR,
    KR,
    SECOND,
    T0,
    Said,
    earlier,
    event,
    exported,
    exports,
    hide,
    in_parts,
    journey,
    leave,
    proof,
    signer,
)

WITNESS = NoteSigner("dtn://svalbard/audit", bytes(32), WITNESS_KEY)


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


def test_a_bundle_in_parts_fits_together() -> None:
    assert the_story(in_parts()).sound, the_story(in_parts())
    assert check_proof(proof(in_parts())).fits


def test_a_part_that_a_relay_keeps_quiet_about_is_missed() -> None:
    said = in_parts()
    hide(said, "relay", SECOND)
    hide(said, "sat1", SECOND)
    gap = f"dtn://gs1/ gave {SECOND} to dtn://relay/, whose log does not say so"
    assert gap in the_story(said).gaps
    assert gap in check_proof(proof(said)).missing


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
        lambda said: said["relay"].__setitem__(0, earlier("relay")),
        "contradictions",
        "dtn://relay/ lets go of",
    ),
    "it comes from nowhere": (
        lambda said: said.update(abroad=[earlier("abroad"), event("abroad", 1, Act.STORED)]),
        "contradictions",
        "dtn://abroad/ stores",
    ),
    "it is given away by who never had it": (
        lambda said: said.update(
            abroad=[earlier("abroad"), event("abroad", 1, Act.FORWARDED, peer="sat1")]
        ),
        "contradictions",
        "dtn://abroad/ gives away",
    ),
    "another says that it made it": (
        lambda said: said.update(gs1=[], relay=[event("relay", 0, Act.MADE), *said["relay"]]),
        "contradictions",
        "dtn://relay/ says that it made it, which is of dtn://gs1/",
    ),
    "nobody says what its policy is": (
        lambda said: said.update(
            {node: [each._replace(policy=b"") for each in told] for node, told in said.items()}
        ),
        "gaps",
        "no log here says what its policy is",
    ),
    "a clock goes back": (
        lambda said: said["sat1"].__setitem__(
            1, event("sat1", 1.5, Act.OPENED, Act.DELETED, peer="sat1")
        ),
        "gaps",
        "the clock of dtn://sat1/ went back",
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
        lambda said: said.update(abroad=[earlier("abroad"), event("abroad", 3, Act.RUN)]),
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


def test_a_log_that_begins_anew_accuses_nobody() -> None:
    """A disk has lost the end of the relay's log, or audit was switched on while it had the bundle:
    what begins then says that the bundle goes, and not how it came."""
    said = journey()
    leave(said, "relay", 0)
    story = the_story(said)
    assert not story.contradictions
    assert any("it took before what is left of its log" in each for each in story.gaps)


def test_who_is_refused_with_the_name_of_a_bundle_changes_nothing_of_its_story() -> None:
    """Names and labels are of whoever sends something: nothing was proven of what is refused."""
    forged = DataPolicy(readers=NodeSet.parse("XX"), rest=NodeSet.parse("XX"), audit=True)
    label = encode_label(forged)
    for hour in (-1, 3):
        said = journey()
        refused = event("relay", hour, Act.REFUSED, peer="abroad", label=label)
        at = 0 if hour < 0 else 2
        said["relay"].insert(at, refused._replace(policy=label))
        assert the_story(said).sound, the_story(said)
        assert check_proof(proof(said)).fits


OTHERS = DataPolicy(readers=NodeSet.parse("XX"), rest=NodeSet.parse("XX"), audit=True)


@pytest.mark.parametrize("liars", [[Act.RECEIVED], [Act.RECEIVED, Act.RUN], [Act.MADE]])
def test_the_policy_is_that_of_whose_data_it_is(liars: list[Act]) -> None:
    """Whatever else who had it writes down, and of whichever time: it does not make itself one who
    may, nor the others those who may not."""
    said = journey("abroad")
    label = encode_label(OTHERS)
    digest = label_digest(label)
    lies = [
        event("abroad", -0.01, act, peer="gs1")._replace(label=digest, policy=label)
        for act in liars
    ]
    if Act.RUN in liars:  # it took it under its policy, and does not say again what that is
        lies[0] = event("abroad", -0.01, Act.RECEIVED, peer="gs1")._replace(policy=b"")
    said["abroad"] = [earlier("abroad"), *lies, said["abroad"][1]]
    story = the_story(said)
    assert story.policy == KR
    assert {why.partition(" at ")[2].partition(":")[0] for why in story.violations} == {"dtn"}
    assert all("dtn://abroad/" in why for why in story.violations)


def test_what_a_log_says_in_the_name_of_another_node_is_no_word_of_that() -> None:
    said = journey()
    said["sat1"].append(event("relay", 3, Act.OPENED))
    assert the_story(said).sound
    assert verify_exports(exports(said), [], [])[2].problems == [
        "an entry of dtn://relay/ in the log of dtn://sat1/"
    ]


def test_a_story_is_told_in_one_order() -> None:
    """Whatever order a set of names has in this process."""
    said = journey()
    said["relay"].insert(0, earlier("relay"))
    names = [f"n{number}" for number in range(12)]
    for name in names:
        said[name] = [event(name, 0, Act.FORWARDED, Act.DELETED, peer="relay")]
        said["relay"].append(event("relay", 5, Act.RECEIVED, peer=name))
    told = [each for each in the_story(said).contradictions if "was told that" in each]
    assert [each.split()[0] for each in told] == [f"dtn://{name}/" for name in names]


def test_a_log_that_gives_one_object_away_very_often_takes_no_longer_for_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A liar may write as many entries about one object as he likes: each is looked at so often,
    however many they are."""
    asked: list[int] = []
    has = AuditEvent.has

    def counted(event: AuditEvent, *acts: Act) -> bool:
        asked.append(event.time_ms)
        return has(event, *acts)

    monkeypatch.setattr(AuditEvent, "has", counted)
    for count in (20, 200):
        said = journey()
        said["relay"][1:1] = [event("relay", 1, Act.FORWARDED, peer="sat1")] * count
        asked.clear()
        the_story(said)
        assert len(asked) < 30 * (count + 20)


def test_what_a_node_keeps_after_its_time_is_a_violation() -> None:
    ends = encode_label(replace(KR, expires_ms=T0 + 4 * HOUR))
    said = journey()
    for told in said.values():
        told[:] = [
            each._replace(label=label_digest(ends), policy=ends if each.policy else b"")
            for each in told
        ]
    assert the_story(said).sound
    leave(said, "sat1", 1)  # the log goes on until the ninth hour
    assert the_story(said).violations == ["it was at dtn://sat1/ after its time"]


def test_what_a_log_says_that_it_received_was_there() -> None:
    """Though it does not say that it stored it."""
    said = journey("abroad")
    said["abroad"][0] = event("abroad", 1, Act.RECEIVED, peer="gs1")
    assert "it rested at dtn://abroad/" in the_story(said).violations[0]
    assert check_proof(proof(said)).against


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


def test_two_histories_of_what_is_not_here_any_more_are_found() -> None:
    """Nothing that is here is covered by either checkpoint: they contradict one another."""
    said = [event("gs1", hour, Act.REFUSED) for hour in range(8)]
    log = exported("gs1", said, pruned=4)
    assert not verify_exports([log], [], [])[0].problems
    for other in (said[:2], [event("gs1", hour, Act.OPENED) for hour in range(2)]):
        log.seen += exported("gs1", other).checkpoints
    assert verify_exports([log], [], [])[0].problems == ["it has signed two histories of 2 entries"]


def test_two_histories_of_a_log_that_nobody_hands_over_are_found() -> None:
    """Each witness was shown another one, and the node itself shows none."""
    first, second = exports(journey())[1:]
    key = signer("gs1").key
    for log, other in ((first, Act.REFUSED), (second, Act.OPENED)):
        log.seen += exported("gs1", [event("gs1", hour, other) for hour in range(2)]).checkpoints
    for keys, sure in (([], False), ([key], True)):
        *here, gone = verify_exports([first, second], keys, [])
        assert not [each.problems for each in here if each.problems]
        assert (gone.node, gone.entries, len(gone.problems)) == ("dtn://gs1/", 0, 1)
        assert gone.problems[0].startswith("it has signed two histories of 2 entries")
        assert ("--key" not in gone.problems[0]) is sure
    assert len(verify_exports([first], [key], [])) == 1


@pytest.mark.parametrize("checkpoint", ["of another key", "none", "another signature"])
def test_what_a_liar_says_that_others_have_signed_is_told_of_the_liar(checkpoint: str) -> None:
    station, liar = exports(journey())[:2]
    true = SignedNote.parse(station.checkpoints[0])
    forged = {
        "of another key": LogCheckpoint(station.origin, 2, bytes(32)).signed(signer("relay")),
        "none": true._replace(text="\n"),
        "another signature": true._replace(
            signatures=(true.signatures[0]._replace(octets=bytes(64)),)
        ),
    }[checkpoint]
    liar.seen.append(forged.encode())
    honest, report = verify_exports([station, liar], [], [WITNESS.key])
    assert not honest.problems
    assert len(report.problems) == 1
    assert report.problems[0].startswith("its file has a checkpoint")


def test_a_cosignature_that_is_none_is_told_of_who_shows_it() -> None:
    station, liar = exports(journey())[:2]
    note = SignedNote.parse(station.checkpoints[0])
    line = WITNESS.sign(note.text, 9)._replace(octets=bytes(72))
    liar.seen.append(note.with_signatures([line]).encode())
    honest, report = verify_exports([station, liar], [], [WITNESS.key])
    assert (honest.problems, honest.witnesses) == ([], {WITNESS.key.name: 0})
    assert report.problems == [f"the signature of {WITNESS.key.name} is not of its key"]


def test_exports_of_one_log_go_together() -> None:
    """One of each month: what the later one has pruned is in the earlier one."""
    said = journey()
    first = exported("relay", said["relay"][:1])
    later = [*said["relay"], event("relay", 9, Act.REFUSED, label=b"", name="job:1")]
    (whole,) = merged([exported("relay", later, pruned=1), first, exported("relay", said["relay"])])
    assert (whole.base.size, len(whole.events), len(whole.checkpoints)) == (0, 3, 3)
    assert not verify_exports([whole], [], [])[0].problems
    logs = [exports(said)[0], whole, exports(said)[2]]
    (story,) = [each for each in stories(logs, DIRECTORY) if each.object == BUNDLE]
    assert story.sound
    assert check_proof(json.dumps(make_proof(CLAIM, logs, DIRECTORY, T0)).encode()).fits
    # One that is missing between two, or one with another history, is not passed over.
    assert len(merged([first, exported("relay", later, pruned=2)])) == 2
    forked = exported("relay", [event("relay", 5, Act.REFUSED), *later[1:]])
    logs = merged([first, forked])
    assert len(logs) == 2
    assert all(each.problems for each in verify_exports(logs, [], []))


def test_a_log_that_is_given_twice_tells_its_story_once() -> None:
    logs = exports(journey())
    (story,) = [each for each in stories([*logs, logs[1]], DIRECTORY) if each.object == BUNDLE]
    assert story.sound
    assert len(story.entries) == 6


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
