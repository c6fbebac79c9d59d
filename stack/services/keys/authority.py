"""The authority's side of key distribution: makes epochs, and sees to it that each node gets them.

Sans-IO.  What changes has to be on disk (`encode`) before what `poll` gives is sent.

Grants are sealed only for keys that a node has named in a holding (`stack.services.keys.member`);
before that they ask for one.  A grant is repeated, ever more seldom, until its node has
acknowledged the epoch or that has ended.  A node that comes late gets what is still in force, and
nothing older.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from stack.core.errors import DecodeError, LocalError, SecurityError
from stack.core.sansio import Entropy
from stack.core.train import Buffer
from stack.cose import HpkePublicKey, SigningKey, VerifyingKey
from stack.security.epochs import EPOCHS_MAX, LINKS_MAX, SECRET_BYTES, Epoch, Epochs
from stack.services.codec import Fields, Item, decode, encode
from stack.services.keys.messages import (
    NAME_MAX,
    NUMBER_MAX,
    TIME_MAX,
    KeyHolding,
    make_grant,
    read_links,
    read_message,
    read_public,
)
from stack.services.keys.records import epochs_record, read_epochs

NODES_MAX: Final = 10_000

REPEAT_FIRST_MS: Final = 3_600_000
REPEAT_MOST_MS: Final = 24 * 3_600_000
"""Between two grants of one epoch to one node, doubled each time."""

AGAIN_MS: Final = 600_000
"""As long as a node that asks again and again waits at least, whatever it does."""

SAID_MAX: Final = 4 * LINKS_MAX
"""Epochs of which it is remembered what they said of LTP secrets."""

ASKED_MS: Final = 12 * 3_600_000
"""An epoch lasts at least so long before a node's word ends it."""

AHEAD_MAX: Final = 10 * 366 * 1440
"""So far, at one number a minute, an authority that was restored is behind its nodes at most."""

_SECTION: Final = "docs/keys.md, epochs of an authority"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochTerms:
    """How long epochs last, milliseconds."""

    period_ms: int = 7 * 86_400_000
    """An epoch sends for so long."""

    overlap_ms: int = 7 * 86_400_000
    """It is accepted for so much longer: as long as bundles may be on their way."""

    lead_ms: int = 3 * 86_400_000
    """Each is distributed so long before it sends: as long as a node may be out of reach."""

    revoked_ms: int = 3_600_000
    """After a revocation the epochs that the node had are accepted for so much longer."""


@dataclass(slots=True)
class RecipientRecord:
    """What a node has said, and has to be remembered."""

    acked: int = 0
    """The highest epoch that it has acknowledged, or that it was given when it was admitted."""

    counter: int = 0
    key: HpkePublicKey | None = None
    """For the next grants; None: it has named none yet."""

    holds: set[int] = field(default_factory=set)


@dataclass(slots=True)
class KeyRecipient:
    """A node to which epochs go."""

    node: str
    verifying: VerifyingKey
    certified: HpkePublicKey
    record: RecipientRecord
    due_ms: int = 0
    wait_ms: int = REPEAT_FIRST_MS
    sent_ms: int = -AGAIN_MS


class KeyAuthority:
    """The epochs of one domain, and who has them."""

    def __init__(
        self, domain: str, *, signing: SigningKey, entropy: Entropy, terms: EpochTerms | None = None
    ) -> None:
        self.domain = domain
        self.epochs = Epochs()
        self.recipients: dict[str, KeyRecipient] = {}
        self._signing = signing
        self._entropy = entropy
        self.terms = terms or EpochTerms()
        self._last = 0
        self._seen_ms = 0
        self._said: dict[int, int] = {}  # which `link` each epoch has told
        self._links: tuple[tuple[int, bytes], ...] = ()
        self._before: dict[
            str, RecipientRecord
        ] = {}  # of a former run, until `follow` names the nodes

    # ---- nodes -----------------------------------------------------------------------------

    def follow(
        self, nodes: Iterable[tuple[str, VerifyingKey, HpkePublicKey]], now_ms: int
    ) -> list[str]:
        """Have these nodes, and no other; those that are gone.  For these the epochs that they had
        end.  Raises `LocalError` for too many."""
        wanted = {node: (verifying, certified) for node, verifying, certified in nodes}
        if len(wanted) > NODES_MAX:
            raise LocalError(f"{len(wanted)} nodes: {NODES_MAX} at most get keys of one domain")
        records = {**self._before, **{one.node: one.record for one in self.recipients.values()}}
        gone = [node for node in records if node not in wanted]
        before, self._before = self.recipients, {}
        self.recipients = {}
        for node, (verifying, certified) in wanted.items():
            known = before.get(node)
            record = records.get(node) or RecipientRecord(acked=self._last)
            if known is not None and known.certified != certified:  # enrolled anew
                record.key, known = None, None
            one = known or KeyRecipient(node, verifying, certified, record)
            self.recipients[node] = one
        if gone and self.epochs.newest is not None:
            self.rotate(now_ms, self.terms.revoked_ms)
        return gone

    # ---- epochs ----------------------------------------------------------------------------

    def rotate(self, now_ms: int, overlap_ms: int | None = None) -> Epoch:
        """Make the next epoch, which sends from now on; the others are accepted for `overlap_ms`
        more."""
        overlap_ms = self.terms.overlap_ms if overlap_ms is None else overlap_ms
        return self._make(now_ms, now_ms, overlap_ms)

    def _make(self, from_ms: int, now_ms: int, overlap_ms: int) -> Epoch:
        terms = self.terms
        # By the clock: a restored backup of this makes no number anew.
        self._last = max(self._last + 1, now_ms // 60_000)
        secret = self._entropy(SECRET_BYTES)
        epoch = Epoch(
            domain=self.domain,
            number=self._last,
            secret=secret,
            from_ms=from_ms,
            renew_ms=from_ms + terms.period_ms,
            until_ms=from_ms + terms.period_ms + terms.overlap_ms,
            others_until_ms=from_ms + overlap_ms,
        )
        floor, link = self._link()
        kept = [one for one in self._links if one[0] >= floor]
        self._links = (*kept, (self._last, epoch.derive("ltp")))[-LINKS_MAX:]
        link = max(link, self._links[0][0])
        self._said = dict(list(self._said.items())[1 - SAID_MAX :])
        self._said[self._last] = link
        epoch = replace(epoch, link=link, links=self._links)
        self.epochs.add(epoch, now_ms)
        for one in self.recipients.values():
            one.due_ms, one.wait_ms = now_ms, REPEAT_FIRST_MS
        return epoch

    def _link(self) -> tuple[int, int]:
        """Which LTP secrets anybody may still sign with, from which number on, and with which all
        can sign from now on."""
        acked = [one.record.acked for one in self.recipients.values() if one.record.acked]
        if not acked:
            return self._last, self._last
        link = min(acked)
        return min((self._said.get(number, 0) for number in acked), default=link), link

    def adopt(self, epoch: Epoch, now_ms: int) -> None:
        """Begin with the epoch that nodes got with their certificates: the next one takes its place
        as soon as they have had time to get that."""
        self._last, self._said = epoch.number, {epoch.number: epoch.number}
        self._links = ((epoch.number, epoch.derive("ltp")),)
        renew_ms = now_ms + self.terms.lead_ms
        told = replace(epoch, link=epoch.number, links=self._links, renew_ms=renew_ms)
        self.epochs.add(told, now_ms)

    def destroy(self, number: int, now_ms: int) -> list[int]:
        """Destroy an epoch and those before it, here and at each node when that is reached; those
        that were in force.  If nothing else sends, the next one begins now.  Raises `LocalError`
        for an epoch that is not in force."""
        if self.epochs.get(number) is None:
            raise LocalError(f"epoch {number} of domain {self.domain} is not in force")
        destroyed = [epoch.number for epoch in self.epochs.held if epoch.number <= number]
        self.epochs.erase(number)
        if self.epochs.sending(now_ms) is None:
            self.rotate(now_ms)
        for one in self.recipients.values():
            one.due_ms, one.wait_ms = now_ms, REPEAT_FIRST_MS
        return destroyed

    # ---- what comes ------------------------------------------------------------------------

    def check(self, octets: Buffer, source: str) -> KeyHolding:
        """The holding in a message of node `source`, if that has signed it; changes nothing.
        Raises `DecodeError`, `SecurityError`."""
        known = self.recipients.get(source)
        if known is None:
            raise SecurityError(f"{source} gets no keys of domain {self.domain}")
        message = read_message(octets, known.verifying)
        if not isinstance(message, KeyHolding) or message.domain != self.domain:
            raise SecurityError(f"nothing of domain {self.domain}")
        if message.node != source:
            raise SecurityError(f"{source} speaks for {message.node}")
        if max(message.numbers, default=0) > self._last + AHEAD_MAX:
            raise SecurityError(f"{source} has an epoch that cannot be: {max(message.numbers)}")
        message.key.check()
        return message

    def receive(self, octets: Buffer, source: str, now_ms: int) -> bool:
        """Take a holding; False for one that was overtaken.  Raises as `check` does."""
        holding = self.check(octets, source)
        one = self.recipients[source]
        record = one.record
        if holding.counter <= record.counter:
            return False
        soon_ms = now_ms + REPEAT_FIRST_MS
        if record.key is None:
            soon_ms = now_ms
        elif holding.wants:
            soon_ms = max(now_ms, one.sent_ms + AGAIN_MS)
        record.counter, record.key = holding.counter, holding.key
        record.holds = set(holding.numbers)
        newest = max(holding.numbers, default=0)
        record.acked = max(record.acked, newest)
        one.wait_ms = REPEAT_FIRST_MS
        one.due_ms = min(one.due_ms, soon_ms)
        worn = holding.worn == self._last
        if worn or newest > self._last:  # then this was restored, and others know more
            self._rotate_asked(now_ms)
        return True

    def _rotate_asked(self, now_ms: int) -> None:
        newest = self.epochs.newest
        if newest is None or (now_ms >= newest.from_ms + ASKED_MS and self._has_room(now_ms)):
            self.rotate(now_ms)

    def _has_room(self, now_ms: int) -> bool:
        """Whether one more epoch ends none of those held before its time.  Until these have ended
        the calendar goes on making its own, and one place is the operator's."""
        terms = self.terms
        for turn in range(EPOCHS_MAX):
            made_ms = now_ms + max(0, turn * terms.period_ms - terms.lead_ms)
            held = sum(
                min(one.until_ms, now_ms + terms.overlap_ms) > made_ms for one in self.epochs.held
            )
            if held and held + 1 + turn >= EPOCHS_MAX:
                return False
        return True

    # ---- what goes -------------------------------------------------------------------------

    def poll(self, now_ms: int) -> list[tuple[str, bytes, int]]:
        """What is to be sent now: to which node, what, and how long that is good for (ms)."""
        self.epochs.expire(now_ms)
        if now_ms < self._seen_ms:  # the clock was set back: that puts nothing off
            for one in self.recipients.values():
                one.due_ms = min(one.due_ms, now_ms + one.wait_ms)
                one.sent_ms = min(one.sent_ms, now_ms)
        self._seen_ms = now_ms
        newest = self.epochs.newest
        if newest is None or (newest.from_ms > now_ms and self.epochs.sending(now_ms) is None):
            self._make(now_ms, now_ms, self.terms.overlap_ms)
        elif now_ms >= newest.renew_ms - self.terms.lead_ms:
            self._make(max(now_ms, newest.renew_ms), now_ms, self.terms.overlap_ms)
        out = []
        for one in self.recipients.values():
            if one.due_ms > now_ms:
                continue
            for epoch in self._due(one):
                try:
                    grant = self._grant(one.node, epoch, one.record.key)
                except SecurityError:  # the key is none: it is asked for another
                    one.record.key = None
                    grant = self._grant(one.node, epoch, None)
                out.append((one.node, grant, max(1, epoch.until_ms - now_ms)))
            one.due_ms, one.sent_ms = now_ms + one.wait_ms, now_ms
            one.wait_ms = min(2 * one.wait_ms, REPEAT_MOST_MS)
        return out

    def next_ms(self, now_ms: int) -> int:
        """When `poll` has something to do, at the latest."""
        newest = self.epochs.newest
        if newest is None:
            return now_ms
        times = [newest.renew_ms - self.terms.lead_ms]
        times += [
            one.due_ms for one in self.recipients.values() if one.record.key and self._due(one)
        ]
        ends = self.epochs.next_ms(now_ms)
        return min(times if ends is None else [*times, ends])

    def _lacking(self, one: KeyRecipient) -> list[Epoch]:
        return [epoch for epoch in self.epochs.held if epoch.number not in one.record.holds]

    def _due(self, one: KeyRecipient) -> list[Epoch]:
        """What it is to be sent: that something was destroyed goes with any epoch."""
        newest = self.epochs.newest
        tell = newest is not None and any(n <= self.epochs.floor for n in one.record.holds)
        return self._lacking(one) or ([newest] if newest and tell else [])

    def _grant(self, node: str, epoch: Epoch, key: HpkePublicKey | None) -> bytes:
        floor = self.epochs.floor
        return make_grant(node, epoch, key, self._signing, self._entropy, floor)

    def keeping(self) -> dict[str, list[int]]:
        """Which destroyed epochs each node has, by what it has said last, where there are any."""
        floor = self.epochs.floor
        found = {
            one.node: sorted(number for number in one.record.holds if number <= floor)
            for one in self.recipients.values()
        }
        return {node: numbers for node, numbers in found.items() if numbers}

    def lacking(self) -> dict[str, list[int]]:
        """Which epochs in force each node has not acknowledged, where there are any."""
        found = {
            one.node: [epoch.number for epoch in self._lacking(one)]
            for one in self.recipients.values()
        }
        return {node: numbers for node, numbers in found.items() if numbers}

    def grants(self, node: str) -> list[bytes]:
        """What a node that is being enrolled is given by hand: all that is in force, for the key of
        its certificate.  Raises `SecurityError` for a node that is not known."""
        known = self.recipients.get(node)
        if known is None:
            raise SecurityError(f"{node} gets no keys of domain {self.domain}")
        return [self._grant(node, epoch, known.certified) for epoch in self.epochs.held]

    # ---- at rest ---------------------------------------------------------------------------

    def encode(self) -> bytes:
        """All of it but who the nodes are, for the disk."""
        rows: list[Item] = []
        records = {**self._before, **{one.node: one.record for one in self.recipients.values()}}
        for node, record in records.items():
            key: list[Item] = [] if record.key is None else [[record.key.kem, record.key.raw]]
            holds: list[Item] = [[number] for number in sorted(record.holds)]
            rows.append([node, record.acked, record.counter, key, holds])
        return encode(
            [
                self.domain,
                *epochs_record(self.epochs),
                self._last,
                [[number, secret] for number, secret in self._links],
                [[number, link] for number, link in self._said.items()],
                rows,
            ]
        )

    def restore(self, octets: Buffer) -> None:
        """What `encode` has made; `follow` says next which nodes there are.  Raises
        `DecodeError`."""
        fields = decode(octets, _SECTION)
        if fields.text(NAME_MAX) != self.domain:
            raise DecodeError(f"epochs of a domain that is not {self.domain}", _SECTION)
        epochs, last = read_epochs(fields), fields.uint(NUMBER_MAX)
        links = read_links(fields)
        said = {}
        for row in fields.array(SAID_MAX):
            number, link = row.uint(NUMBER_MAX), row.uint(NUMBER_MAX)
            said[number] = link
            row.end()
        records = {}
        for row in fields.array(NODES_MAX):
            node = row.text(NAME_MAX)
            records[node] = _record(row)
        fields.end()
        self.epochs, self._last = epochs, last
        self._links, self._said, self._before = links, said, records


def _record(row: Fields) -> RecipientRecord:
    record = RecipientRecord(row.uint(NUMBER_MAX), row.uint(TIME_MAX))
    for one in row.array(1):
        record.key = read_public(one)
        one.end()
    for one in row.array(EPOCHS_MAX):
        record.holds.add(one.uint(NUMBER_MAX))
        one.end()
    row.end()
    return record
