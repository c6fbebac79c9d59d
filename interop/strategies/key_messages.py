"""Messages of the key service (docs/keys.md): grants of an authority and holdings of nodes, valid,
breaking one rule, and damaged below a signature that is right.

All are signed by the owner of `KEY`, unless that is the rule; nothing in them is a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interop.strategies.choices import Choices
from interop.strategies.fields import (
    FieldBreak,
    FieldList,
    cut_off,
    fewer_fields,
    more_fields,
    more_octets,
    with_field,
)
from interop.strategies.making import strategy
from interop.strategies.mutation import change
from interop.strategies.rules import WireRule, nearly
from interop.strategies.violation import Nearly, Violation
from stack.cose import SigningKey, VerifyingKey, sign1
from stack.cose.values import encode
from stack.security.epochs import EPOCHS_MAX

GRANT: Final = 0
HOLDING: Final = 1
MESSAGE_BYTES_MAX: Final = 16 * 1024

_SIGNING = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
_ANOTHER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
KEY: Final[VerifyingKey] = _SIGNING.public
"""Who has signed all of them."""

_CONTEXT = b"Orbitferry keys"
_NODES = ("dtn://sat1/", "ipn:5.0", "dtn://gs-1.example/", "ipn:977000.5.0")
_KEMS = (("X25519", 32), ("MLKEM768-X25519", 1216))


def signed(payload: bytes) -> bytes:
    """A payload, whatever it is, under the signature that it must have."""
    return sign1(payload, _SIGNING, external_aad=_CONTEXT)


def _signed(fields: FieldList) -> bytes:
    return signed(encode(fields))


def _grant(choose: Choices) -> FieldList:
    begin = choose.uint(52)
    renew, until = (begin + 1 + choose.uint(40) for _ in range(2))
    times = [begin, renew, until, choose.uint(53)]
    number = choose.uint(32, 1)
    floor = choose.integer(0, number - 1)
    return [GRANT, "kari", choose.pick(_NODES), number, *times, floor, choose.octets(0, 80)]


def _holding(choose: Choices) -> FieldList:
    kem, size = choose.pick(_KEMS)
    numbers: FieldList = [[choose.uint(32, 1)] for _ in choose.many(0, EPOCHS_MAX)]
    state: FieldList = [choose.uint(53), numbers, kem, choose.octets(size, size)]
    return [HOLDING, "kari", choose.pick(_NODES), *state, choose.flip(), choose.uint(32)]


def _either(choose: Choices) -> FieldList:
    return _holding(choose) if choose.flip() else _grant(choose)


def _times(choose: Choices, fields: FieldList) -> bytes:
    """It begins when or after it is renewed, or ends."""
    begin = 5 + choose.uint(30)
    late = [begin, begin - choose.integer(0, 5), begin + 9]
    if choose.flip():
        late = [begin, begin + 9, begin - choose.integer(0, 5)]
    return encode([*fields[:4], *late, *fields[7:]])


_UINT53 = (1 << 53, -1, "0", b"", True, None)
_UINT32 = (1 << 32, -1, "1", b"", True, None)
_RULES: tuple[tuple[str, object, FieldBreak], ...] = (
    ("a message is a grant or a holding", _either, with_field(0, 2, 255, -1, "0", b"", None)),
    ("a domain is text of up to 255 characters", _either, with_field(1, "a" * 256, b"kari", 0)),
    ("a node is an EID", _either, with_field(2, "", "sat1", "dtn:sat1", "ipn:5", b"ipn:5.0", 5)),
    ("a message has all its fields", _either, fewer_fields),
    ("a message has no more fields", _either, more_fields),
    ("a message fills its payload", _either, more_octets),
    ("a message ends where its array does", _either, cut_off),
    ("an epoch has a number from 1 on", _grant, with_field(3, 0, *_UINT32)),
    ("the times of an epoch are in order", _grant, _times),
    ("times are unsigned and of 53 bits", _grant, with_field(7, *_UINT53)),
    (
        "destroyed epochs are before that of a grant",
        _grant,
        lambda choose, fields: with_field(8, *_UINT32, fields[3])(choose, fields),
    ),
    ("secrets are sealed octets", _grant, with_field(9, "", 0, None, [])),
    ("a counter is unsigned and of 53 bits", _holding, with_field(3, *_UINT53)),
    ("a holding names few epochs", _holding, with_field(4, [[1]] * (EPOCHS_MAX + 1))),
    ("each epoch is named by its number", _holding, with_field(4, [1], [[0]], [[1, 2]], [[]], 0)),
    ("a key to seal to is of a known kind", _holding, with_field(5, "", "x25519", "P-256", 0)),
    ("a key has the octets of its kind", _holding, with_field(6, b"", bytes(31), bytes(1217), "")),
    ("a node wants keys or does not", _holding, with_field(7, 0, 1, None, "")),
    ("worn keys are those of an epoch", _holding, with_field(8, *_UINT32)),
)


def _rule(words: str, made: object, spoil: FieldBreak) -> WireRule[FieldList]:
    return WireRule(
        Violation("docs/keys.md", words),
        made,  # type: ignore[arg-type]
        lambda choose, fields: signed(spoil(choose, fields)),
    )


KEY_RULES: Final[tuple[WireRule[FieldList], ...]] = (
    *(_rule(*each) for each in _RULES),
    WireRule(
        Violation("docs/keys.md", "a message has 16 KiB at most"),
        _grant,
        lambda choose, fields: signed(encode([*fields[:9], bytes(MESSAGE_BYTES_MAX)])),
    ),
    WireRule(
        Violation("RFC 9052 §4.4", "who must have signed it has"),
        _either,
        lambda choose, fields: sign1(encode(fields), _ANOTHER, external_aad=_CONTEXT),
    ),
    WireRule(
        Violation("RFC 9052 §4.4", "it was signed as a key message"),
        _either,
        lambda choose, fields: sign1(encode(fields), _SIGNING),
    ),
)
"""What can be wrong with a key message."""


@strategy
def encoded_key_messages(choose: Choices) -> bytes:
    """A message that is right: `stack.services.keys.messages.read_message` takes it with `KEY`."""
    return _signed(_either(choose))


@strategy
def nearly_key_messages(
    choose: Choices, *, rules: Sequence[WireRule[FieldList]] = KEY_RULES
) -> Nearly:
    """A message that breaks one of some rules."""
    return nearly(choose, rules, _signed)


@strategy
def mutated_key_messages(choose: Choices) -> bytes:
    """A message that is damaged, and then signed, so that it is read and not only refused."""
    octets = encode(_either(choose))
    return signed(change(octets, (octets,), choose))
