"""Encryptions are counted: no crash makes the count less, and no key goes beyond its limit."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.errors import SecurityError, StoreError
from stack.security import BpSec, Key, KeyRing, SecurityPolicy
from stack.security.use import BLOCK, ENCRYPTIONS_MAX, WEARING, KeyExhausted, KeyUse
from tests.security.test_bpsec import plain

AES = Key("shared", "aes", bytes(32))
SCARCE = Key("scarce", "aes", bytes(range(32)), senders=1 << 14)
"""So many nodes have it that each may encrypt four blocks."""

MOST = ENCRYPTIONS_MAX // SCARCE.senders


class Disk:
    """What was recorded, and how often."""

    def __init__(self) -> None:
        self.counts: Mapping[str, int] = {}
        self.writes = 0
        self.full = False

    def record(self, counts: Mapping[str, int]) -> None:
        if self.full:
            raise StoreError("no room")
        self.counts, self.writes = dict(counts), self.writes + 1


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 70_000), st.booleans()), max_size=6))
def test_no_crash_makes_it_less(lives: list[tuple[int, bool]]) -> None:
    disk, done, crashes = Disk(), 0, 0
    for takes, peaceful in lives:
        use = KeyUse(disk.counts, disk.record)
        for _ in range(min(takes, MOST - use.taken(SCARCE))):
            use.take(SCARCE)
            done += 1
        if peaceful:
            use.close()
        crashes += not peaceful
        assert done <= disk.counts.get(SCARCE.fingerprint, 0) <= done + crashes * BLOCK
    assert disk.counts.get(SCARCE.fingerprint, 0) <= MOST


def test_a_block_is_one_write_and_comes_before_its_first_encryption() -> None:
    disk = Disk()
    use = KeyUse({}, disk.record)
    for count in range(BLOCK + 1):
        use.take(AES)
        assert disk.counts[AES.fingerprint] > count
    assert disk.writes == 2


def test_the_limit_is_an_error_that_says_what_to_do_after_a_warning() -> None:
    told: list[str] = []
    warned: list[Key] = []
    before = int(MOST * WEARING) - BLOCK
    use = KeyUse({SCARCE.fingerprint: before}, trace=lambda event, _: told.append(event))
    use.wearing = warned.append
    for _ in range(BLOCK):
        use.take(SCARCE)
    assert not told
    for _ in range(MOST - before - BLOCK):
        use.take(SCARCE)
    assert set(told) == {"key_wearing"}
    assert warned
    with pytest.raises(KeyExhausted, match="orbitferry keys new"):
        use.take(SCARCE)
    assert issubclass(KeyExhausted, SecurityError)
    assert use.taken(SCARCE) == MOST


def test_all_that_is_derived_from_a_key_counts_to_it() -> None:
    use = KeyUse()
    ring = KeyRing([AES])
    bound = ring.bound(b"a policy")
    assert bound.sending("aes", "dtn://sat1/").secret != AES.secret
    for one in (ring, bound):
        use.take(one.sending("aes", "dtn://sat1/"))
    assert use.taken(AES) == 2


def test_each_encryption_is_counted_and_what_cannot_be_counted_is_not_made() -> None:
    disk = Disk()
    use = KeyUse({}, disk.record)
    ring = KeyRing([AES, Key("mac", "hmac", bytes(48))])
    policy = SecurityPolicy(sign_for=("*",))  # payload and signature: two encryptions
    security = BpSec(ring, lambda count: bytes(count), policy, use=use)
    security.protect(plain(b"data"))
    assert use.taken(AES) == 2
    disk.full = True
    fresh = KeyUse({}, disk.record)
    with pytest.raises(StoreError):
        BpSec(ring, lambda count: bytes(count), policy, use=fresh).protect(plain(b"data"))
