"""A node's side of key distribution: takes grants, says what it holds, asks for what it lacks.

Sans-IO.  What changes has to be on disk (`encode`) before what `poll` gives is sent: an epoch that
was acknowledged is not sent again.

Each holding names an HPKE key for the next grants, a fresh one once the one before has opened any;
and with an epoch go the keys that have opened grants.  So who records everything and later takes
the node, certificate key and all, opens no epoch that the node itself has erased.  The key of its
certificate opens what an operator brings by hand, and nothing that comes over a network.
"""

from __future__ import annotations

from typing import Final

from stack.core.errors import DecodeError, SecurityError
from stack.core.sansio import Entropy
from stack.core.train import Buffer
from stack.cose import HpkePrivateKey, HpkePublicKey, SigningKey, VerifyingKey
from stack.security.epochs import Epoch, Epochs, link_keys
from stack.security.keys import Key
from stack.services.codec import Fields, decode, encode
from stack.services.keys.messages import (
    NAME_MAX,
    NUMBER_MAX,
    TIME_MAX,
    Grant,
    KeyHolding,
    make_holding,
    read_links,
    read_message,
)
from stack.services.keys.records import epochs_record, read_epochs

KEYS_KEPT: Final = 4
"""Keys for grants, at most."""

SPACING_MS: Final = 10_000
SPACING_MOST_MS: Final = 3_600_000
"""Grants may come often, also again and again from one who replays them: answers do not.  The time
between two is doubled while they say the same."""

ASK_FIRST_MS: Final = 600_000
ASK_MOST_MS: Final = 6 * 3_600_000
"""Between two questions, doubled each time."""

HOLDING_MS: Final = 7 * 86_400_000
"""What a node holds is worth telling for so long."""

_SECTION: Final = "docs/keys.md, epochs of a node"


class Member:
    """One node in one domain."""

    def __init__(
        self,
        domain: str,
        node: str,
        *,
        home: str,
        authority: VerifyingKey,
        signing: SigningKey,
        certified: HpkePrivateKey,
        entropy: Entropy,
    ) -> None:
        """`home`: the node of the authority; `certified`: the HPKE key of this node's certificate,
        for which the first grants are."""
        self.domain = domain
        self.node = node
        self.home = home
        self.epochs = Epochs()
        self._authority = authority
        self._signing = signing
        self._certified = certified
        self._entropy = entropy
        self._link = 0
        self._links: tuple[tuple[int, bytes], ...] = ()
        self._linked = 0  # the number of the epoch that said so
        self._fresh: list[HpkePrivateKey] = []  # for grants to come, the newest last
        self._used: list[HpkePrivateKey] = []  # that have opened grants
        self._counter = 0
        self._answer_ms: int | None = 0  # with each start: the authority may believe otherwise
        self._ask_ms = 0
        self._wait_ms = ASK_FIRST_MS
        self._said_ms = -SPACING_MS
        self._said: tuple[list[int], HpkePublicKey] | None = None
        self._spacing_ms = SPACING_MS
        self._worn = 0
        self._seen_ms = 0

    # ---- what comes ------------------------------------------------------------------------

    def check(self, octets: Buffer, source: str) -> Grant:
        """The grant in a message of node `source`, if the authority has signed it for this node;
        changes nothing.  Raises `DecodeError`, `SecurityError`."""
        if source != self.home:
            raise SecurityError(f"{source} is not the node of the authority, {self.home}")
        message = read_message(octets, self._authority)
        if not isinstance(message, Grant) or message.epoch.domain != self.domain:
            raise SecurityError(f"no grant of domain {self.domain}")
        if message.node != self.node:
            raise SecurityError(f"a grant for {message.node}")
        return message

    def take(self, octets: Buffer, now_ms: int) -> bool:
        """Take a grant that an operator has brought; whether an epoch was new.  Raises as `check`
        does."""
        return self._take(self.check(octets, self.home), [self._certified], now_ms)

    def brings(self, octets: Buffer, now_ms: int) -> bool:
        """Whether `take` would bring a new epoch; changes nothing.  Raises as that does."""
        grant = self.check(octets, self.home)
        new = self._is_new(grant, now_ms)
        if new:
            grant.open([self._certified])
        return new

    def receive(self, octets: Buffer, source: str, now_ms: int) -> bool:
        """Take a grant; whether an epoch was new.  One that is sealed for a key which is gone is
        answered by what it has to be sealed for.  Raises as `check` does."""
        keys = [*self._fresh, *self._used]
        return self._take(self.check(octets, source), keys, now_ms)

    def _take(self, grant: Grant, keys: list[HpkePrivateKey], now_ms: int) -> bool:
        try:
            return self._open(grant, keys, now_ms)
        finally:
            if grant.floor > self.epochs.floor:
                self.erase(grant.floor)
                self._answer_ms = max(now_ms, self._said_ms + SPACING_MS)

    def _open(self, grant: Grant, keys: list[HpkePrivateKey], now_ms: int) -> bool:
        new = self._is_new(grant, now_ms)
        if new or self.epochs.get(grant.epoch.number) is not None:
            self._answer_ms = max(now_ms, self._said_ms + SPACING_MS)
        if not new:
            return False
        epoch, key = grant.open(keys)
        if key in self._fresh:
            at = self._fresh.index(key) + 1
            self._fresh, self._used = self._fresh[at:], [key]
        elif key == self._certified:
            # A grant of this epoch may be on its way for these too: they go when an epoch ends.
            self._fresh, self._used = [], [*self._used, *self._fresh][-KEYS_KEPT:]
        before = self.epochs.held
        new = self.epochs.add(epoch, now_ms)
        if len(self.epochs.held) < len(before) + new:  # others have ended with it
            self._used.clear()
        if epoch.number > self._linked and epoch.links:
            self._linked, self._link, self._links = epoch.number, epoch.link, epoch.links
        self._wait_ms, self._ask_ms, self._worn = ASK_FIRST_MS, 0, 0
        return new

    def _is_new(self, grant: Grant, now_ms: int) -> bool:
        """Whether there is something to have: not of what is here, replayed, or too late."""
        number = grant.epoch.number
        held = self.epochs.get(number) is not None or number <= self.epochs.floor
        return not held and grant.epoch.until_ms > now_ms

    # ---- what goes -------------------------------------------------------------------------

    def poll(self, now_ms: int) -> list[tuple[str, bytes, int]]:
        """The holding that is to be sent now, if any: to which node, what, and how long that is
        good for (ms)."""
        if now_ms < self._seen_ms:  # the clock was set back: that puts nothing off
            self._ask_ms, self._said_ms = min(self._ask_ms, now_ms), min(self._said_ms, now_ms)
            if self._answer_ms is not None:
                self._answer_ms = min(self._answer_ms, now_ms + SPACING_MS)
        self._seen_ms = now_ms
        wants = self._wants(now_ms)
        answer_ms = self._answer_at()
        answers = answer_ms is not None and now_ms >= answer_ms
        if not (answers or (wants and now_ms >= self._ask_ms)):
            return []
        self._answer_ms, self._said_ms = None, now_ms
        if wants:
            self._ask_ms = now_ms + self._wait_ms
            self._wait_ms = min(2 * self._wait_ms, ASK_MOST_MS)
        self._counter = max(self._counter + 1, now_ms)
        if not self._fresh:
            self._fresh = [HpkePrivateKey.generate(self._entropy, self._certified.kem)]
        again = not self._has_news()
        self._spacing_ms = min(2 * self._spacing_ms, SPACING_MOST_MS) if again else SPACING_MS
        self._said = self._numbers(), self._fresh[-1].public
        holding = KeyHolding(
            domain=self.domain,
            node=self.node,
            counter=self._counter,
            numbers=tuple(self._numbers()),
            key=self._fresh[-1].public,
            wants=wants,
            worn=self._worn,
        )
        return [(self.home, make_holding(holding, self._signing), HOLDING_MS)]

    def _numbers(self) -> list[int]:
        return [epoch.number for epoch in self.epochs.held]

    def _has_news(self) -> bool:
        """Whether the next holding says what the last one did not."""
        return not self._fresh or self._said != (self._numbers(), self._fresh[-1].public)

    def _answer_at(self) -> int | None:
        if self._answer_ms is None or self._has_news():
            return self._answer_ms
        return max(self._answer_ms, self._said_ms + self._spacing_ms)

    def _wants(self, now_ms: int) -> bool:
        newest = self.epochs.newest
        return newest is None or now_ms >= newest.renew_ms or bool(self._worn)

    def worn(self, key_id: str) -> None:
        """A key has nearly encrypted as often as it may: ask for the next epoch, if that is not
        here already."""
        newest = self.epochs.newest
        if newest is not None and key_id.startswith(f"{self.domain}-epoch-{newest.number}-"):
            self._worn, self._ask_ms = newest.number, 0

    def adopt(self, epoch: Epoch, now_ms: int) -> None:
        """Begin with the epoch that came with the certificate."""
        self.epochs.add(epoch, now_ms)
        self._link = self._linked = epoch.number
        self._links = ((epoch.number, epoch.derive("ltp")),)

    def next_ms(self, now_ms: int) -> int:
        """When `poll` or `keys` has something new, at the latest."""
        times = [self._answer_at(), self.epochs.next_ms(now_ms)]
        newest = self.epochs.newest
        times.append(self._ask_ms if self._wants(now_ms) or newest is None else newest.renew_ms)
        return min(at for at in times if at is not None)

    # ---- what it has -----------------------------------------------------------------------

    def keys(self, now_ms: int) -> list[Key]:
        """The key ring's content now; what has ended is gone from here."""
        if self.epochs.expire(now_ms):
            self._used.clear()
        return [*self.epochs.keys(now_ms), *link_keys(self.domain, self._link, self._links)]

    def erase(self, number: int) -> bool:
        """Let go of an epoch and those before it, for good, and of the keys for which grants of
        them may be on their way; whether it was held."""
        self._used.clear()
        self._fresh.clear()
        newest = self.epochs.newest
        if newest is not None and newest.number <= number:
            self._worn, self._ask_ms = newest.number, 0  # then another is needed
        return self.epochs.erase(number)

    def encode(self) -> bytes:
        """All of it, for the disk."""
        return encode(
            [
                self.domain,
                *epochs_record(self.epochs),
                self._linked,
                self._link,
                [[number, secret] for number, secret in self._links],
                [[key.raw] for key in self._fresh],
                [[key.raw] for key in self._used],
                self._counter,
            ]
        )

    def restore(self, octets: Buffer) -> None:
        """What `encode` has made.  Raises `DecodeError`."""
        fields = decode(octets, _SECTION)
        if fields.text(NAME_MAX) != self.domain:
            raise DecodeError(f"epochs of a domain that is not {self.domain}", _SECTION)
        epochs = read_epochs(fields)
        linked, link, links = fields.uint(NUMBER_MAX), fields.uint(NUMBER_MAX), read_links(fields)
        fresh, used = self._keys_of(fields), self._keys_of(fields)
        counter = fields.uint(TIME_MAX)
        fields.end()
        self.epochs = epochs
        self._linked, self._link, self._links = linked, link, links
        # This may be a backup: what is on its way still opens, the next grants need a new key.
        self._used, self._counter = [*used, *fresh][-KEYS_KEPT:], counter

    def _keys_of(self, fields: Fields) -> list[HpkePrivateKey]:
        keys = []
        for row in fields.array(KEYS_KEPT):
            keys.append(HpkePrivateKey(self._certified.kem, row.blob(32, 32)))
            row.end()
        return keys
