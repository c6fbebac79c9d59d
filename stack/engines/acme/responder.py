"""The node that is validated (RFC 9891 §3.3.1, §3.4): it answers challenges that its operator has
told it to expect, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from stack.core.errors import LocalError
from stack.engines.acme.digest import best, check_token, digest_of, from_base64url
from stack.wire.bundle import AcmeChallenge, AcmeResponse

EXPECTED_MAX: Final = 16
"""Challenges expected at a time: a node has one identity, and a few authorities at most."""

GOOD_FOR_MS_MAX: Final = 7 * 86_400 * 1000
"""How long one may be expected: a week, for a node that is reached once a day."""

ANSWERS_MAX: Final = 16
"""Bundles answered for one challenge: from so many places may a server send it (§3.5)."""


@dataclass(frozen=True, slots=True)
class ExpectedChallenge:
    """A challenge that an ACME client has been given by its server (§3.1), and whose key answers
    it.  Raises `DecodeError`."""

    id_chal: str
    token_chal: str = field(repr=False)
    """Secret: it is not in the bundle."""

    thumbprint: str = field(repr=False)
    """Of the account's key (RFC 7638): secret likewise (§6.6)."""

    def __post_init__(self) -> None:
        for text in (self.id_chal, self.token_chal, self.thumbprint):
            check_token(text)
        from_base64url(self.id_chal)


class Answered(NamedTuple):
    """What comes of a challenge."""

    response: AcmeResponse | None
    why: str
    """Why there is none, in a few words; empty with one."""


@dataclass(slots=True)
class PendingChallenge:
    """One that is answered, and all that has to be known of it after a restart."""

    expected: ExpectedChallenge
    until_ms: int
    """DTN time: it goes on while the node does not run."""

    answered: set[bytes] = field(default_factory=set)
    """Tokens of the bundles that were answered."""


class Responder:
    """Answers for one node.  What it is given has been proven by a BIB of who sent it, over primary
    block and payload (§3.3.1): that is not looked at here."""

    def __init__(self, pending: Iterable[PendingChallenge] = ()) -> None:
        """`pending`: what was to be answered when the node ran last."""
        self._open = {from_base64url(one.expected.id_chal): one for one in pending}

    def expect(self, expected: ExpectedChallenge, until_ms: int, now_ms: int) -> None:
        """Answer this challenge until then; one with the same id goes.  Raises `LocalError` for too
        many, or too long."""
        self.check(expected, until_ms, now_ms)
        self._open[from_base64url(expected.id_chal)] = PendingChallenge(expected, until_ms)

    def check(self, expected: ExpectedChallenge, until_ms: int, now_ms: int) -> None:
        """Raise `LocalError` where it cannot be expected: there are too many, or it is too long."""
        self._expire(now_ms)
        id_chal = from_base64url(expected.id_chal)
        if not 0 < until_ms - now_ms <= GOOD_FOR_MS_MAX:
            raise LocalError("a challenge is expected for a week at most")
        if id_chal not in self._open and len(self._open) >= EXPECTED_MAX:
            raise LocalError(f"{EXPECTED_MAX} challenges are expected already")

    def forget(self, id_chal: str) -> int | None:
        """Answer it no more; how many bundles were answered, None where it was not expected.
        Raises `DecodeError`."""
        found = self._open.pop(from_base64url(id_chal), None)
        return None if found is None else len(found.answered)

    def pending(self, now_ms: int) -> Mapping[bytes, PendingChallenge]:
        """The challenges that are expected, by id."""
        self._expire(now_ms)
        return self._open

    def receive(self, challenge: AcmeChallenge, now_ms: int) -> Answered:
        """Answer a challenge, or say why not."""
        self._expire(now_ms)
        found = self._open.get(challenge.id_chal)
        if found is None:
            return Answered(None, "nobody here expects it")
        algorithm = best(challenge.algorithms)
        if algorithm is None:
            return Answered(None, "none of its hash algorithms is known here")
        token = challenge.token_bundle
        if token in found.answered:
            return Answered(None, "it has been answered")
        if len(found.answered) >= ANSWERS_MAX:
            return Answered(None, f"{ANSWERS_MAX} bundles of it have been answered")
        found.answered.add(token)
        told = found.expected
        digest = digest_of(algorithm, token, told.token_chal, told.thumbprint)
        return Answered(AcmeResponse(challenge.id_chal, token, algorithm, digest), "")

    def _expire(self, now_ms: int) -> None:
        """What is further ahead than any may be was said by a clock that has been set back."""
        left = {key: one.until_ms - now_ms for key, one in self._open.items()}
        for id_chal in [key for key, ms in left.items() if not 0 < ms <= GOOD_FOR_MS_MAX]:
            del self._open[id_chal]
