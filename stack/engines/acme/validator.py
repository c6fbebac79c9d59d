"""The ACME server's side (RFC 9891 §3.3, §3.4.1, §3.5): challenges a node from one place or more,
and says whether it has answered."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from stack.core.eid import Eid
from stack.core.errors import LocalError
from stack.core.sansio import Entropy
from stack.engines.acme.digest import HASHES, digest_of, from_base64url
from stack.engines.acme.responder import ExpectedChallenge
from stack.wire.bundle import TOKEN_BYTES_MIN, AcmeChallenge, AcmeResponse, Algorithm

VALIDATIONS_MAX: Final = 64
PERSPECTIVES_MAX: Final = 8

INTERVAL_MS: Final = 30_000
"""How long a response may take where a client expects nothing (§3.2)."""

INTERVAL_MS_MIN, INTERVAL_MS_MAX = 1_000, 86_400_000
"""Limits of it (§3.2): a second, and a day for nodes that are not always in view."""

SECONDARY_FAILURES_MAX: Final = 1
"""Other places than the first that may fail (§3.5)."""


class SentChallenge(NamedTuple):
    """A challenge that is to leave as a bundle."""

    source: Eid
    destination: Eid
    record: AcmeChallenge
    lifetime_ms: int


class ValidationOutcome(NamedTuple):
    """What a validation has shown."""

    id_chal: str
    valid: bool
    problems: tuple[tuple[str, str], ...]
    """From which place it failed, and why: subproblems for the client (§3.4.1).  There may be one
    although it is valid."""


@dataclass(slots=True)
class _Perspective:
    source: Eid
    failure: str | None = "no response in time"
    """None: it has succeeded."""

    open: bool = True


@dataclass(slots=True)
class _Validation:
    node: Eid
    expected: ExpectedChallenge
    until_ms: int
    algorithms: tuple[Algorithm, ...]
    perspectives: dict[bytes, _Perspective] = field(default_factory=dict)

    def outcome(self) -> ValidationOutcome:
        places = list(self.perspectives.values())
        failed = tuple((str(one.source), one.failure) for one in places if one.failure is not None)
        few = len(failed) <= SECONDARY_FAILURES_MAX
        return ValidationOutcome(self.expected.id_chal, places[0].failure is None and few, failed)


def interval_ms(rtt_s: float | None) -> int:
    """How long to wait for a response (§3.2): twice the round trip that the client expects."""
    if rtt_s is None:
        return INTERVAL_MS
    return round(min(max(2000 * rtt_s, INTERVAL_MS_MIN), INTERVAL_MS_MAX))


class Validator:
    """Validations under way.  Times are DTN milliseconds."""

    def __init__(
        self, entropy: Entropy, algorithms: Sequence[Algorithm] = tuple(HASHES)[:1]
    ) -> None:
        """`algorithms`: hashes that are accepted, the most wanted first; each one of `HASHES`."""
        self._entropy = entropy
        self._algorithms = tuple(algorithms)
        self._open: dict[bytes, _Validation] = {}
        self.ignored = 0
        """Responses to nothing that is asked now, or of another node (§6.4)."""

    def begin(
        self,
        node: Eid,
        expected: ExpectedChallenge,
        sources: Sequence[Eid],
        now_ms: int,
        rtt_s: float | None = None,
    ) -> list[SentChallenge]:
        """Validate that who has an account's key controls `node`: the challenges that leave now,
        one from each of `sources`, of which the first counts most.  Raises `LocalError` for what is
        no node id, and for too many."""
        if node != node.node or node.is_null or not node.is_singleton:
            raise LocalError(f"{node} is no node id")
        if not 0 < len(set(sources)) == len(sources) <= PERSPECTIVES_MAX:
            raise LocalError(f"1 to {PERSPECTIVES_MAX} different sources of challenges")
        id_chal = from_base64url(expected.id_chal)
        if id_chal in self._open or len(self._open) >= VALIDATIONS_MAX:
            raise LocalError("this validation, or so many others, are under way")
        wait_ms = interval_ms(rtt_s)
        found = _Validation(node, expected, now_ms + wait_ms, self._algorithms)
        sent = []
        for source in sources:
            token = self._entropy(TOKEN_BYTES_MIN)
            found.perspectives[token] = _Perspective(source)
            record = AcmeChallenge(id_chal, token, self._algorithms)
            sent.append(SentChallenge(source, node, record, wait_ms))
        self._open[id_chal] = found
        return sent

    def receive(self, source: Eid, place: Eid, record: AcmeResponse, now_ms: int) -> None:
        """Take the response that came from `source` to `place`, and was proven by a BIB over
        primary block and payload."""
        found = self._open.get(record.id_chal)
        if found is None or now_ms >= found.until_ms or source != found.node:
            self.ignored += 1
            return
        perspective = found.perspectives.get(record.token_bundle)
        if perspective is None or not perspective.open or place != perspective.source:
            self.ignored += 1
            return
        perspective.open = False
        perspective.failure = _failure(found, record)

    def cancel(self, id_chal: str) -> None:
        """Nobody waits for this one any more.  Raises `DecodeError`."""
        self._open.pop(from_base64url(id_chal), None)

    def poll(self, now_ms: int) -> list[ValidationOutcome]:
        """What is decided: each place has heard, or its time is over.  It is told once."""
        done = [
            id_chal
            for id_chal, one in self._open.items()
            if now_ms >= one.until_ms or not any(each.open for each in one.perspectives.values())
        ]
        return [self._open.pop(id_chal).outcome() for id_chal in done]

    def next_ms(self) -> int | None:
        """When `poll` is to be called, at the latest."""
        return min((one.until_ms for one in self._open.values()), default=None)


def _failure(found: _Validation, record: AcmeResponse) -> str | None:
    if record.algorithm not in found.algorithms:
        return "its hash algorithm is none of those in the challenge"
    told = found.expected
    wanted = digest_of(record.algorithm, record.token_bundle, told.token_chal, told.thumbprint)
    if not hmac.compare_digest(wanted, record.digest):
        return "the digest is not that of the key authorization"
    return None
