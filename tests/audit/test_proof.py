"""What proofs show, and that nobody can leave out or change what speaks against them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.audit.event import Act, encode_event
from stack.audit.export import LogExport, json_of_peaks
from stack.audit.log import log_origin
from stack.audit.merkle import Peaks
from stack.audit.note import LogCheckpoint, NoteSigner
from stack.audit.proof import RestClaim, check_proof, make_proof
from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError, OrbitferryError, SecurityError
from stack.policy import Directory, NodeFacts, NodeSet
from tests.audit.logs import (
    BUNDLE,
    CLAIM,
    DIRECTORY,
    FIRST,
    HOUR,
    T0,
    Said,
    earlier,
    event,
    exported,
    exports,
    hide,
    journey,
    leave,
    proof,
    signer,
)
from tests.audit.test_story import FAULTS, the_story


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


def forged(change: Callable[[dict[str, Any]], object], said: Said | None = None) -> bytes:
    """A proof that its maker has changed."""
    fields = json.loads(proof(journey() if said is None else said))
    change(fields)
    return json.dumps(fields).encode()


def by_gs1_alone(fields: dict[str, Any], events: int) -> None:
    """The story ends where the station still has the bundle."""
    fields["logs"] = [log for log in fields["logs"] if "gs1" in log["origin"]]
    fields["logs"][0]["events"] = fields["logs"][0]["events"][:events]


def test_what_a_proof_leaves_out_or_changes_is_found() -> None:
    for log in range(3):
        for entry in range(3):
            with pytest.raises(SecurityError, match="does not continue"):
                check_proof(forged(lambda it: it["logs"][log]["events"].pop(entry)))  # noqa: B023
    with pytest.raises(SecurityError, match="does not continue"):
        check_proof(forged(lambda fields: by_gs1_alone(fields, 1), journey("abroad")))
    another = base64.b64encode(encode_event(event("relay", 5, Act.REFUSED))).decode()
    with pytest.raises(SecurityError):
        check_proof(forged(lambda it: it["logs"][1]["events"].__setitem__(0, another)))


def test_a_log_of_which_nothing_is_shown_is_none() -> None:
    """It would count as that of a node which has been heard, and has nothing to say."""
    for number in range(3):

        def empty(fields: dict[str, Any], number: int = number) -> None:
            log, whole = fields["logs"][number], exports(journey())[number].tree()
            base = Peaks()
            base.add([base64.b64decode(each) for each in log["events"]])
            log.update(json_of_peaks(base), events=[], path=[])
            assert base.size == whole.size

        with pytest.raises(DecodeError, match="no proof"):
            check_proof(forged(empty))


def test_a_log_that_speaks_for_another_node_proves_nothing() -> None:
    """The relay says what the satellite has done."""
    said = journey()
    said["relay"] += said.pop("sat1")
    with pytest.raises(SecurityError, match="an entry of another node"):
        check_proof(proof(said))


def test_a_proof_of_an_older_checkpoint_proves_nothing_for_later() -> None:
    """The station has given it to somebody abroad since: it is shown as it was before that."""
    said = journey("abroad")
    log = exported("gs1", said["gs1"], sizes=(1,))
    log.checkpoints.pop()
    log.events.pop()
    octets = json.dumps(make_proof(CLAIM, [log], DIRECTORY, T0)).encode()
    assert any("still had" in each for each in check_proof(octets).missing)


def test_a_copy_to_somebody_else_cannot_be_left_out() -> None:
    """The station gives it to somebody abroad too, and keeps it: the chain over the relay is whole
    without that."""
    said = journey()
    said["gs1"].insert(1, event("gs1", 0.5, Act.FORWARDED, peer="abroad"))
    said["abroad"] = [event("abroad", 0.5, Act.RECEIVED, Act.STORED, peer="gs1")]
    assert check_proof(proof(said)).against

    def change(fields: dict[str, Any]) -> None:
        del fields["logs"][3:], fields["logs"][0]["events"][1]

    with pytest.raises(SecurityError, match="does not continue"):
        check_proof(forged(change, said))
    # Nor by beginning behind it.
    log = exports(said)[0]
    base = Peaks()
    base.add(log.events[:2])
    later = LogExport(log.origin, log.key, base, log.events[2:], log.checkpoints)
    octets = json.dumps(make_proof(CLAIM, [later], DIRECTORY, T0)).encode()
    assert any("is not all here" in each for each in check_proof(octets).missing)


def test_a_proof_is_of_the_object_that_its_entries_are_of() -> None:
    other = f"dtn://gs1/secret@{T0}.7"
    verdict = check_proof(forged(lambda fields: fields["claim"].update(object=other)))
    assert verdict.missing == [f"no log here has ever heard of {other}"]
    with pytest.raises(DecodeError, match="is a part"):
        check_proof(forged(lambda fields: fields["claim"].update(object=FIRST)))


OUTER = f"dtn://gs1/@{T0}.9"


def in_a_tunnel(by: str) -> Said:
    """From the station to the relay within another bundle, which somebody carries."""
    said = journey()
    inside = event("gs1", 1, Act.DELETED, peer="relay")._replace(detail=f"within {OUTER}")
    here, gone = (Act.RECEIVED, Act.STORED), (Act.FORWARDED, Act.DELETED)
    said["gs1"][1:] = [
        event("gs1", 1, Act.MADE, Act.SEALED, Act.STORED, peer="relay", name=OUTER),
        inside,
        event("gs1", 2, *gone, peer=by, name=OUTER),
    ]
    said[by] = [
        event(by, 2, *here, peer="gs1", name=OUTER),
        event(by, 4, *gone, peer="relay", name=OUTER),
    ]
    said["relay"] = [
        earlier("relay"),
        event("relay", 4, *here, Act.OPENED, Act.DELETED, peer=by, name=OUTER),
        event("relay", 4, *here, peer="gs1"),
        event("relay", 5, *gone, peer="sat1"),
    ]
    said["sat1"] = [
        event("sat1", 5, *here, Act.OPENED, peer="relay"),
        event("sat1", 6, Act.OPENED, Act.DELETED, peer="sat1"),
    ]
    return said


def test_what_is_within_a_tunnel_is_where_its_carrier_is() -> None:
    said = in_a_tunnel("eu")
    assert the_story(said).sound, the_story(said)
    facts = NodeFacts(Eid.parse("dtn://eu/"), "", frozenset({"EU"}))
    where = Directory((*DIRECTORY, facts))
    verdict = check_proof(proof(said), directory=where)
    assert verdict.fits, verdict
    assert "dtn://eu/" in [stay.node for stay in verdict.stays]
    against = check_proof(proof(in_a_tunnel("abroad"))).against
    assert against == [f"{OUTER} was at dtn://abroad/: 'XX', outside 'EU | KR'"]
    # Whose log nobody shows, or that nobody speaks of:
    del said["eu"]
    assert "whose log is not here" in check_proof(proof(said), directory=where).missing[0]
    for node in said:
        hide(said, node, OUTER)
    gap = f"no log here has ever heard of {OUTER}"
    assert gap in check_proof(proof(said), directory=where).missing
    assert the_story(said).gaps == [gap]


def test_a_log_that_others_have_seen_otherwise_proves_nothing() -> None:
    """A witness has cosigned another history, of less, as many, or more entries; what somebody only
    says that the log had signed is passed over."""
    said = journey()
    seen = [event("gs1", 0, Act.MADE, Act.STORED), *said["gs1"][1:]]
    seen += [event("gs1", hour, Act.REFUSED) for hour in (9, 10, 11)]
    for count in (1, 3, 5):
        logs = exports(said)
        logs[1].seen += exported("gs1", seen[:count]).checkpoints
        with pytest.raises(SecurityError, match=f"has signed {count} entries|at {count} entries"):
            make_proof(CLAIM, logs, DIRECTORY, T0)
    logs = exports(said)
    thief = NoteSigner(logs[0].origin, bytes(32))
    forged_note = LogCheckpoint(logs[0].origin, 1, bytes(32)).signed(thief).encode()
    logs[1].seen += [forged_note, b"none"]
    assert check_proof(json.dumps(make_proof(CLAIM, logs, DIRECTORY, T0)).encode()).fits


def test_of_a_key_no_log_says_where_it_was() -> None:
    said = {"gs1": [event("gs1", 0, Act.KEY_DESTROYED, label=b"", name="key:KR-epoch-1")]}
    claim = RestClaim("key:KR-epoch-1", NodeSet.parse("KR"), T0, T0 + HOUR)
    assert check_proof(proof(said, claim)).missing


def test_nothing_is_claimed_of_a_time_that_ends_before_it_begins() -> None:
    claim = RestClaim(BUNDLE, NodeSet.parse("KR"), T0 + 9 * HOUR, T0)
    with pytest.raises(DecodeError, match="ends before it begins"):
        proof(journey(), claim)
    for change in ({"from_ms": T0 + 9 * HOUR}, {"until_ms": 1 << 64}, {"from_ms": -1}):
        with pytest.raises(DecodeError, match="ends before it begins"):
            check_proof(forged(lambda fields: fields["claim"].update(change)))  # noqa: B023


def test_entries_about_other_objects_before_and_after_are_left_out() -> None:
    """All are there from just before it was made to the end of what is asked about, and no more."""
    noise = [event("gs1", hour, Act.REFUSED, label=b"", name="job:1") for hour in range(-9, 0)]
    after = [event("gs1", hour, Act.REFUSED, label=b"", name="job:1") for hour in range(8, 20)]
    log = exported("gs1", [*noise, *journey()["gs1"], *after])
    logs = [log, *exports(journey())[1:]]
    fields = make_proof(CLAIM, logs, DIRECTORY, T0)
    assert (fields["logs"][0]["first"], len(fields["logs"][0]["events"])) == (8, 4)
    assert check_proof(json.dumps(fields).encode()).fits
    pruned = exported("gs1", [*noise, *journey()["gs1"], *after], pruned=8)
    octets = json.dumps(make_proof(CLAIM, [pruned, *logs[1:]], DIRECTORY, T0)).encode()
    assert check_proof(octets).fits


def test_a_proof_of_too_many_entries_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    octets = proof(journey())
    monkeypatch.setattr("stack.audit.proof.ENTRIES_MAX", 8)
    with pytest.raises(LocalError, match="9 entries"):
        proof(journey())
    with pytest.raises(DecodeError):
        check_proof(octets)


def test_where_a_clock_went_back_meanwhile_nothing_is_proven() -> None:
    """By what the log says of other objects: of this one it is in order."""
    said = journey()
    said["relay"].insert(1, event("relay", 5, Act.REFUSED, label=b"", name="job:1"))
    assert the_story(said).sound
    (words,) = check_proof(proof(said)).missing
    assert words.startswith("the clock of dtn://relay/ went back")


def test_who_got_it_twice_has_a_log_that_goes_on_to_the_second_time() -> None:
    """It was given to the relay once more after what is shown of the relay's log."""
    said = journey()
    again = event("gs1", 3, Act.RECEIVED, Act.STORED, peer="sat1")
    said["gs1"] += [again, event("gs1", 5, Act.FORWARDED, Act.DELETED, peer="relay")]
    said["sat1"][1] = event("sat1", 3, Act.FORWARDED, Act.DELETED, peer="gs1")
    logs = [exports(said)[0], exported("relay", said["relay"]), exports(said)[2]]
    octets = json.dumps(make_proof(CLAIM, logs, DIRECTORY, T0)).encode()
    (words,) = check_proof(octets).missing
    assert words.startswith(f"dtn://relay/ may have got {BUNDLE} again")


@pytest.mark.parametrize("name", ["job:1", BUNDLE])
def test_what_a_log_lost_is_not_closed_by_another_of_the_same_node(name: str) -> None:
    """The end of the relay's log is lost, and with it what became of the bundle."""
    said = journey()
    lost = exported("relay", said["relay"][:1])
    key = NoteSigner(log_origin("dtn://relay/", b"anew\0\0\0\0"), bytes(32))
    octets = encode_event(event("relay", 9, Act.REFUSED, label=b"", name=name))
    tree = Peaks()
    tree.add([octets])
    note = LogCheckpoint(key.key.name, 1, tree.root()).signed(key).encode()
    anew = LogExport(key.key.name, key.key, Peaks(), [octets], [note])
    logs = [exports(said)[0], lost, anew]
    proven = json.dumps(make_proof(CLAIM, logs, DIRECTORY, T0)).encode()
    assert any("dtn://relay/ still had" in each for each in check_proof(proven).missing)


def test_what_was_pruned_proves_nothing() -> None:
    said = journey()["gs1"]
    log = exported("gs1", said, pruned=len(said))
    with pytest.raises(LocalError, match="all that a checkpoint covers is pruned"):
        make_proof(CLAIM, [log, *exports(journey())[1:]], DIRECTORY, T0)


def _until(fields: dict[str, Any]) -> None:
    fields["claim"]["until_ms"] = float("inf")


def _index(fields: dict[str, Any]) -> None:
    fields["logs"][0]["first"] = float("inf")


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
