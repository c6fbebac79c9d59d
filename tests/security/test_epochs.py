"""Epochs of a domain: when each sends and is accepted, what is derived, what is gone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.errors import SecurityError
from stack.policy import DataPolicy
from stack.policy.label import policy_block
from stack.security import BpSec, KeyRing, SecurityPolicy, contexts
from stack.security.epochs import EPOCHS_MAX, Epoch, Epochs, link_keys
from stack.wire.bundle import Bundle, decode_bundle, encode_bundle
from tests.security.test_bpsec import plain

DAY = 86_400_000


def epoch(number: int, **changes: Any) -> Epoch:
    """One that sends for a day from day `number` on, and is accepted for another."""
    begin = number * DAY
    times: dict[str, Any] = {
        "from_ms": begin,
        "renew_ms": begin + DAY,
        "until_ms": begin + 2 * DAY,
        "others_until_ms": begin + DAY,
    }
    return Epoch(domain="kari", number=number, secret=bytes([number]) * 32, **(times | changes))


def ring(own: str, epochs: Epochs, now_ms: int) -> KeyRing:
    made = KeyRing((), own)
    made.change(epochs.keys(now_ms))
    return made


def node(own: str, *numbers: int, now_ms: int) -> BpSec:
    keys = ring(own, Epochs(map(epoch, numbers)), now_ms)
    counter = itertools.count(1)
    policy = SecurityPolicy(sign_for=("*",))
    return BpSec(keys, lambda n: next(counter).to_bytes(n, "big"), policy)


def sent(bundle: Bundle) -> Bundle:
    return decode_bundle(encode_bundle(bundle))[0]


def test_each_sends_from_its_time_on_and_opens_until_its_end() -> None:
    epochs = Epochs([epoch(1), epoch(2)])
    for now_ms, number in ((DAY, 1), (2 * DAY - 1, 1), (2 * DAY, 2), (4 * DAY - 1, 2)):
        sending = epochs.sending(now_ms)
        assert sending is not None
        assert sending.number == number
    assert epochs.sending(DAY - 1) is None
    assert epochs.sending(4 * DAY) is None
    assert epochs.next_ms(DAY) == 2 * DAY


def test_who_lets_go_of_an_earlier_epoch_later_has_neither_again() -> None:
    epochs = Epochs([epoch(1), epoch(3)])
    assert epochs.erase(3)
    assert not epochs.erase(1)
    assert epochs.floor == 3
    assert not epochs.add(epoch(2), DAY)


def test_what_has_ended_gives_no_keys_though_nobody_has_let_go_of_it() -> None:
    epochs = Epochs([epoch(1)])
    assert len(epochs.keys(3 * DAY - 1)) == 2
    assert epochs.keys(3 * DAY) == []


def test_nodes_of_an_epoch_read_one_another_and_each_has_its_own_keys() -> None:
    ground, satellite = "dtn://gs1/", "dtn://sat1/"
    now = DAY
    made = sent(node(ground, 1, now_ms=now).protect(plain(b"data")))
    opened = node(satellite, 1, 2, now_ms=2 * DAY).open(made)
    assert opened.ok, opened.failure
    assert not node(satellite, 2, now_ms=2 * DAY).open(made).ok
    epochs = Epochs([epoch(1)])
    one, other = ring(ground, epochs, now), ring(satellite, epochs, now)
    for kind in ("aes", "hmac"):
        mine, theirs = one.sending(kind, satellite), other.sending(kind, ground)
        assert mine.secret != theirs.secret
        assert mine.secret == other.accepting(kind, ground)[0].secret
        assert mine.fingerprint == theirs.fingerprint


def test_a_change_of_the_ring_is_seen_at_once_and_leaves_nothing_prepared() -> None:
    keys = ring("dtn://gs1/", Epochs([epoch(1)]), DAY)
    ours = BpSec(keys, lambda n: bytes(n), SecurityPolicy(sign_for=("*",)))
    ours.protect(plain(b"data"))
    old = keys.sending("aes", "dtn://sat1/").secret
    assert contexts.cipher.cache_info().currsize
    keys.change(Epochs([epoch(2)]).keys(2 * DAY))
    assert contexts.cipher.cache_info().currsize == 0
    assert contexts._keyed.cache_info().currsize == 0
    assert keys.sending("aes", "dtn://sat1/").secret != old
    made = ours.protect(plain(b"data"))
    assert node("dtn://sat1/", 2, now_ms=2 * DAY).open(sent(made)).ok
    keys.change([])
    with pytest.raises(SecurityError):
        ours.protect(plain(b"data"))


@pytest.mark.parametrize("labelled", [False, True])
def test_nothing_opens_any_more_with_a_key_that_is_gone(labelled: bool) -> None:
    """What was derived for a label goes with what it was derived from."""
    label = policy_block(DataPolicy(audit=True), number=9, crc_type=0)
    bundle = plain(b"data")
    bundle = Bundle(bundle.primary, (*[label] * labelled, *bundle.blocks))
    made = sent(node("dtn://gs1/", 1, now_ms=DAY).protect(bundle))
    keys = ring("dtn://sat1/", Epochs([epoch(1)]), DAY)
    theirs = BpSec(keys, bytes, SecurityPolicy())
    assert theirs.open(made).ok
    keys.change(Epochs([epoch(2)]).keys(2 * DAY))
    assert not theirs.open(made).ok


def test_a_later_epoch_ends_earlier_ones_in_whatever_order_they_come() -> None:
    revoking = epoch(2, others_until_ms=2 * DAY + 1000)
    for order in itertools.permutations([epoch(1), revoking]):
        epochs = Epochs()
        for one in order:
            assert epochs.add(one, 2 * DAY)
        assert [one.until_ms for one in epochs.held] == [2 * DAY + 1000, 4 * DAY]
        assert epochs.expire(2 * DAY + 1000) == [1]
        assert not epochs.add(epoch(1), 2 * DAY + 1000)  # replayed


def test_what_was_erased_does_not_come_back() -> None:
    epochs = Epochs([epoch(1), epoch(2)])
    assert epochs.erase(1)
    assert not epochs.erase(1)
    assert not epochs.add(epoch(1), DAY)
    assert [one.number for one in epochs.held] == [2]
    assert [one.number for one in Epochs([epoch(1), epoch(2)], epochs.floor).held] == [2]


@given(st.permutations(range(1, 2 * EPOCHS_MAX)))
def test_no_flood_of_epochs_fills_a_node(numbers: list[int]) -> None:
    epochs = Epochs()
    for number in numbers:
        epochs.add(epoch(number, until_ms=100 * DAY, others_until_ms=100 * DAY), DAY)
    assert len(epochs.held) <= EPOCHS_MAX
    assert epochs.newest is not None
    assert epochs.newest.number == 2 * EPOCHS_MAX - 1


def test_the_link_key_that_signs_comes_first() -> None:
    keys = link_keys("kari", 2, [(1, bytes(32)), (2, bytes(31)), (3, bytes(30))])
    assert [(key.id, key.send) for key in keys] == [
        ("kari-epoch-2-ltp", True),
        ("kari-epoch-3-ltp", False),
        ("kari-epoch-1-ltp", False),
    ]


def test_no_secret_is_shown() -> None:
    assert "01" * 8 not in repr(epoch(1))
    assert epoch(1).secret.hex() not in repr(epoch(1).key("aes", send=True))
