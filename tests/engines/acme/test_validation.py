"""Both ends of a node id validation, joined (RFC 9891)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.strategies import acme_records
from interop.vectors import load
from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError
from stack.engines.acme.digest import (
    base64url,
    digest_of,
    from_base64url,
    key_authorization,
)
from stack.engines.acme.responder import (
    ANSWERS_MAX,
    EXPECTED_MAX,
    GOOD_FOR_MS_MAX,
    ExpectedChallenge,
    Responder,
)
from stack.engines.acme.validator import (
    INTERVAL_MS,
    INTERVAL_MS_MAX,
    INTERVAL_MS_MIN,
    PERSPECTIVES_MAX,
    VALIDATIONS_MAX,
    SentChallenge,
    ValidationOutcome,
    Validator,
    interval_ms,
)
from stack.wire.bundle import (
    SHA_256,
    SHA_384,
    SHA_512,
    AcmeChallenge,
    AcmeRecord,
    AcmeResponse,
    decode_acme_record,
    decode_bundle,
)

NODE = Eid.parse("dtn://sat1/")
PLACES = [Eid.parse(f"dtn://ca{number}/") for number in range(1, 4)]
RFC = ExpectedChallenge(
    id_chal="dDtaviYTPUWFS3NK37YWfQ",
    token_chal="tPUZNY4ONIk6LxErRFEjVw",
    thumbprint="LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ",
)
"""RFC 9891 Appendix B."""

SECOND = 1000


def validator(*algorithms: int) -> Validator:
    count = itertools.count(1)
    return Validator(lambda size: next(count).to_bytes(size), algorithms or (SHA_256,))


def responder(expected: ExpectedChallenge = RFC) -> Responder:
    made = Responder()
    made.expect(expected, 60 * SECOND, 0)
    return made


def answers(node: Responder, sent: Sequence[SentChallenge]) -> list[AcmeResponse]:
    found = [node.receive(one.record, 0).response for one in sent]
    assert None not in found
    return [one for one in found if one is not None]


def other(**changes: str) -> ExpectedChallenge:
    fields = {"id_chal": RFC.id_chal, "token_chal": RFC.token_chal, "thumbprint": RFC.thumbprint}
    return ExpectedChallenge(**(fields | changes))


def number(value: int) -> str:
    return base64url(value.to_bytes(16))


def test_the_example_of_the_rfc() -> None:
    asked, answered = (
        decode_acme_record(decode_bundle(vector.data)[0].payload.data) for vector in load("acme")
    )
    assert isinstance(asked, AcmeChallenge)
    assert isinstance(answered, AcmeResponse)
    assert key_authorization(asked.token_bundle, RFC.token_chal, RFC.thumbprint) == (
        "p3yRYFU4KxwQaHQjJ2RdiQtPUZNY4ONIk6LxErRFEjVw.LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ"
    )
    assert responder().receive(asked, 0).response == answered
    server = Validator(lambda size: asked.token_bundle)
    (sent,) = server.begin(NODE, RFC, PLACES[:1], 0)
    assert sent.record == asked
    server.receive(NODE, PLACES[0], answered, 0)
    assert server.poll(0) == [ValidationOutcome(RFC.id_chal, True, ())]


@pytest.mark.parametrize("algorithm", [SHA_256, SHA_384, SHA_512])
def test_a_node_with_the_account_key_is_valid(algorithm: int) -> None:
    server, node = validator(algorithm, SHA_256), responder()
    sent = server.begin(NODE, RFC, PLACES, 0)
    assert [one.source for one in sent] == PLACES
    assert {one.destination for one in sent} == {NODE}
    assert len({one.record.token_bundle for one in sent}) == 3
    for place, response in zip(PLACES, answers(node, sent), strict=True):
        assert server.poll(0) == []
        assert response.algorithm == algorithm
        server.receive(NODE, place, response, 0)
    assert server.poll(0) == [ValidationOutcome(RFC.id_chal, True, ())]
    assert (server.poll(0), server.next_ms()) == ([], None)


@pytest.mark.parametrize(
    "changes",
    [{"token_chal": number(1)}, {"thumbprint": number(1)}],
    ids=["another token", "another account"],
)
def test_who_has_not_all_parts_is_not_valid(changes: dict[str, str]) -> None:
    server, thief = validator(), responder(other(**changes))
    sent = server.begin(NODE, RFC, PLACES[:1], 0)
    server.receive(NODE, PLACES[0], answers(thief, sent)[0], 0)
    (outcome,) = server.poll(0)
    assert not outcome.valid
    assert outcome.problems == (
        (str(PLACES[0]), "the digest is not that of the key authorization"),
    )


def test_an_algorithm_that_was_not_offered_fails() -> None:
    server = validator(SHA_256)
    (sent,) = server.begin(NODE, RFC, PLACES[:1], 0)
    token = sent.record.token_bundle
    digest = digest_of(SHA_512, token, RFC.token_chal, RFC.thumbprint)
    answer = AcmeResponse(sent.record.id_chal, token, SHA_512, digest)
    server.receive(NODE, PLACES[0], answer, 0)
    ((_, valid, problems),) = server.poll(0)
    assert not valid
    assert "hash algorithm" in problems[0][1]


@pytest.mark.parametrize(
    ("answering", "valid"),
    [
        ((0, 1, 2), True),
        ((0, 1), True),
        ((0, 2), True),
        ((0,), False),
        ((1, 2), False),
        ((), False),
    ],
)
def test_the_first_place_and_all_others_but_one_have_to_hear(
    answering: Sequence[int], valid: bool
) -> None:
    server = validator()
    sent = server.begin(NODE, RFC, PLACES, 1000)
    found = answers(responder(), sent)
    for index in answering:
        server.receive(NODE, PLACES[index], found[index], 1000)
    early = server.poll(999 + INTERVAL_MS)
    assert len(early) == (len(answering) == 3)
    (outcome,) = early or server.poll(1000 + INTERVAL_MS)
    assert outcome.valid == valid
    silent = [str(place) for index, place in enumerate(PLACES) if index not in answering]
    assert [place for place, _ in outcome.problems] == silent


def test_a_response_after_its_time_counts_for_nothing() -> None:
    server = validator()
    sent = server.begin(NODE, RFC, PLACES[:1], 0, rtt_s=4.0)
    assert sent[0].lifetime_ms == server.next_ms() == 8000
    server.receive(NODE, PLACES[0], answers(responder(), sent)[0], 8000)
    (outcome,) = server.poll(8000)
    assert (outcome.valid, server.ignored) == (False, 1)


def test_what_is_not_for_this_validation_is_ignored_and_the_right_answer_counts() -> None:
    server, node = validator(), responder()
    sent = server.begin(NODE, RFC, PLACES[:2], 0)
    first, second = answers(node, sent)
    strange = AcmeResponse(first.id_chal, bytes(16), SHA_256, first.digest)
    unknown = AcmeResponse(bytes(16), first.token_bundle, SHA_256, first.digest)
    server.receive(Eid.parse("dtn://evil/"), PLACES[0], first, 0)
    server.receive(NODE, PLACES[1], first, 0)
    server.receive(NODE, PLACES[0], strange, 0)
    server.receive(NODE, PLACES[0], unknown, 0)
    assert (server.ignored, server.poll(0)) == (4, [])
    server.receive(NODE, PLACES[0], first, 0)
    server.receive(
        NODE, PLACES[0], AcmeResponse(first.id_chal, first.token_bundle, SHA_256, b"x"), 0
    )
    assert server.ignored == 5  # the first word stands
    server.receive(NODE, PLACES[1], second, 0)
    assert server.poll(0)[0].valid


@pytest.mark.parametrize(
    ("rtt_s", "wait_ms"),
    [(None, INTERVAL_MS), (0, INTERVAL_MS_MIN), (0.4, INTERVAL_MS_MIN), (300.0, 600_000),
     (1e9, INTERVAL_MS_MAX)],
)  # fmt: skip
def test_a_response_has_twice_the_round_trip(rtt_s: float | None, wait_ms: int) -> None:
    assert interval_ms(rtt_s) == wait_ms


@pytest.mark.parametrize("node", ["dtn://sat1/mail", "dtn:none", "ipn:5.3", "dtn://sat1/~all"])
def test_only_node_ids_are_validated(node: str) -> None:
    with pytest.raises(LocalError):
        validator().begin(Eid.parse(node), RFC, PLACES[:1], 0)


def test_validations_are_bounded() -> None:
    server = validator()
    for sources in ([], PLACES[:1] * 2, [Eid.parse(f"ipn:{n}.0") for n in range(1, 10)]):
        assert len(sources) != PERSPECTIVES_MAX
        with pytest.raises(LocalError):
            server.begin(NODE, RFC, sources, 0)
    for count in range(VALIDATIONS_MAX):
        server.begin(NODE, other(id_chal=number(count)), PLACES[:1], 0)
    for again in (other(id_chal=number(0)), RFC):
        with pytest.raises(LocalError):
            server.begin(NODE, again, PLACES[:1], 0)
    assert len(server.poll(INTERVAL_MS)) == VALIDATIONS_MAX
    server.begin(NODE, RFC, PLACES[:1], INTERVAL_MS)


CHALLENGE = AcmeChallenge(from_base64url(RFC.id_chal), bytes(16))


def test_nothing_is_answered_but_what_is_expected_while_it_is() -> None:
    node = responder()
    assert node.receive(AcmeChallenge(bytes(16), bytes(16)), 0).response is None
    assert node.receive(CHALLENGE, 60 * SECOND - 1).response is not None
    assert node.receive(AcmeChallenge(CHALLENGE.id_chal, b"1" * 16), 60 * SECOND).response is None
    assert not node.pending(60 * SECOND)


def test_a_clock_that_is_set_back_makes_nothing_last_longer() -> None:
    node = Responder()
    node.expect(RFC, GOOD_FOR_MS_MAX + SECOND, SECOND)
    assert node.pending(SECOND)
    assert not node.pending(SECOND - 1)


def test_each_bundle_is_answered_once() -> None:
    node = responder()
    assert node.receive(CHALLENGE, 0).response is not None
    assert node.receive(CHALLENGE, 0) == (None, "it has been answered")


def test_answers_to_one_challenge_are_bounded() -> None:
    node = responder()
    for count in range(ANSWERS_MAX):
        challenge = AcmeChallenge(CHALLENGE.id_chal, count.to_bytes(16))
        assert node.receive(challenge, 0).response is not None
    more = AcmeChallenge(CHALLENGE.id_chal, b"\xff" * 16)
    assert node.receive(more, 0).response is None
    assert node.forget(RFC.id_chal) == ANSWERS_MAX
    node.expect(RFC, SECOND, 0)  # tried again
    assert node.receive(more, 0).response is not None


def test_what_an_operator_takes_back_is_not_answered() -> None:
    node = responder()
    assert node.forget(RFC.id_chal) == 0
    assert node.forget(RFC.id_chal) is None
    assert node.receive(CHALLENGE, 0).why == "nobody here expects it"


def test_expectations_are_bounded_in_number_and_time() -> None:
    node = Responder()
    for until_ms in (0, -1, GOOD_FOR_MS_MAX + 1):
        with pytest.raises(LocalError):
            node.expect(RFC, until_ms, 0)
    for count in range(EXPECTED_MAX):
        node.expect(other(id_chal=number(count)), GOOD_FOR_MS_MAX, 0)
    with pytest.raises(LocalError):
        node.expect(RFC, SECOND, 0)
    node.expect(other(id_chal=number(3)), SECOND, 0)  # again, and for less long
    node.expect(RFC, 3 * SECOND, SECOND)
    assert len(node.pending(SECOND)) == EXPECTED_MAX


def test_the_first_algorithm_that_both_know_is_taken() -> None:
    for offered, taken in (((-45, SHA_384, SHA_256), SHA_384), (("SHAKE", SHA_512), SHA_512)):
        challenge = AcmeChallenge(CHALLENGE.id_chal, bytes(16), offered)
        response = responder().receive(challenge, 0).response
        assert response is not None
        assert response.algorithm == taken
    none = AcmeChallenge(CHALLENGE.id_chal, bytes(16), (-45, "x"))
    assert responder().receive(none, 0) == (None, "none of its hash algorithms is known here")


@given(acme_records())
def test_any_record_is_taken_by_both(record: AcmeRecord) -> None:
    server, node = validator(), responder()
    server.begin(NODE, RFC, PLACES[:1], 0)
    if isinstance(record, AcmeChallenge):
        assert node.receive(record, 0).response is None
    else:
        server.receive(NODE, PLACES[0], record, 0)
        assert server.poll(0) == []


@given(st.binary())
def test_base64url_comes_back(octets: bytes) -> None:
    assert from_base64url(base64url(octets)) == octets


@pytest.mark.parametrize("text", ["AA==", "A", "A+/A", "AAAA\n", "é", "AAA A", "AAAAA"])
def test_no_other_base64url_is_read(text: str) -> None:
    with pytest.raises(DecodeError):
        from_base64url(text)


@pytest.mark.parametrize("text", ["", "A" * 21, "A" * 87, "A" * 21 + "="])
@pytest.mark.parametrize("field", ["id_chal", "token_chal", "thumbprint"])
def test_tokens_that_could_be_guessed_are_refused(field: str, text: str) -> None:
    with pytest.raises(DecodeError):
        other(**{field: text})


def test_a_token_is_any_text_of_the_alphabet() -> None:
    """It is hashed as it came; only the id becomes octets."""
    node, server = (responder(other(token_chal="B" * 25)), validator())
    sent = server.begin(NODE, other(token_chal="B" * 25), PLACES[:1], 0)
    server.receive(NODE, PLACES[0], answers(node, sent)[0], 0)
    assert server.poll(0)[0].valid
    with pytest.raises(DecodeError):
        other(id_chal="B" * 25)


def test_what_is_secret_is_not_shown() -> None:
    assert RFC.thumbprint not in repr(RFC)
    assert RFC.token_chal not in repr(RFC)
