"""What crosses a boundary of trust before anybody is believed: what is right is read, what breaks a
rule is refused, and what is damaged ends in an error of one kind."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import pytest

from interop.strategies import mutated
from interop.strategies.bpsec_cose import COSE_RULES, encoded_cose_blocks, nearly_cose_blocks
from interop.strategies.key_messages import (
    KEY,
    KEY_RULES,
    encoded_key_messages,
    mutated_key_messages,
    nearly_key_messages,
)
from interop.strategies.making import Maker, strategy
from interop.strategies.nearly_audit import (
    ENTRY,
    EVENT_RULES,
    LOG_KEY,
    MESSAGE_RULES,
    NOTE_RULES,
    RECEIPT_KEY,
    RECEIPT_RULES,
    SENDER,
    encoded_audit_messages,
    encoded_events,
    encoded_notes,
    encoded_receipts,
    nearly_audit_messages,
    nearly_events,
    nearly_notes,
    nearly_receipts,
)
from interop.strategies.nearly_certificate import authority
from interop.strategies.nearly_enrolment import (
    LIST_RULES,
    OFFER_RULES,
    REQUEST_RULES,
    encoded_lists,
    encoded_offers,
    encoded_requests,
    nearly_lists,
    nearly_offers,
    nearly_requests,
)
from interop.strategies.policies import (
    FILE_RULES,
    LABEL_RULES,
    encoded_labels,
    nearly_labels,
    nearly_policy_files,
    policy_files,
)
from stack.audit.event import decode_event
from stack.audit.note import open_checkpoint
from stack.audit.receipt import verify_receipt
from stack.core.errors import ConfigError, DecodeError, SecurityError
from stack.identity import Trust, pem
from stack.identity.certificate import read_offer, read_request
from stack.policy.file import parse_policy
from stack.policy.label import decode_label
from stack.ports.store import Write
from stack.security.cose_context import read_integrity, read_parameters
from stack.services.audit import AuditService
from stack.services.keys.messages import read_message
from stack.services.names import AUDIT
from stack.wire.asb import decode_asb
from tests.services.fake_port import FakeNet
from tests.services.helpers import running, until, virtual

NOW_MS = 850_000_000_000


def learn(octets: bytes) -> None:
    for refusal in Trust(authority().certificate).learn([pem.PemBlock(pem.REVOCATIONS, octets)]):
        raise SecurityError(refusal)


def read_block(octets: bytes) -> None:
    block = decode_asb(octets)
    read_parameters(block)
    for results in block.results:
        read_integrity(results)


def read_policy(octets: bytes) -> object:
    try:
        data = tomllib.loads(octets.decode("utf-8", "replace"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("", str(error)) from None
    return parse_policy(data, NOW_MS)


class AnyLog:
    """A log of this node of which every note and every size may be."""

    def cosigned(self, witness: str, note: bytes) -> Sequence[Write]:
        return ()

    def known(self, witness: str, origin: str, size: int) -> Sequence[Write]:
        return ()


def take(octets: bytes) -> None:
    """A witness is sent it."""

    async def main() -> int:
        node = FakeNet().node("dtn://witness/")
        service = AuditService(node.port, AnyLog(), serves=True)
        async with running(service.run()):
            node.inject(SENDER, AUDIT, octets)
            await until(lambda: not node.inbound)
        return service.malformed

    if virtual(main):
        raise DecodeError("dropped", "docs/audit.md")


class Boundary(NamedTuple):
    """What reads things of one kind, and where they come from."""

    read: Callable[[bytes], object]
    valid: Maker[bytes]
    nearly: strategy[Any, Any]
    rules: Sequence[Any]
    refusal: tuple[type[Exception], ...] = (SecurityError,)
    damaged: Maker[bytes] | None = None


BOUNDARIES = {
    "key message": Boundary(
        lambda octets: read_message(octets, KEY),
        encoded_key_messages.maker(),
        nearly_key_messages,
        KEY_RULES,
        (DecodeError, SecurityError),
        mutated_key_messages.maker(),
    ),
    "entry of a log": Boundary(
        decode_event, encoded_events.maker(), nearly_events, EVENT_RULES, (DecodeError,)
    ),
    "checkpoint": Boundary(
        lambda octets: open_checkpoint(octets, LOG_KEY),
        encoded_notes.maker(),
        nearly_notes,
        NOTE_RULES,
        (DecodeError, SecurityError),
    ),
    "audit message": Boundary(
        take,
        encoded_audit_messages.maker(),
        nearly_audit_messages,
        MESSAGE_RULES,
        (DecodeError,),
    ),
    "receipt": Boundary(
        lambda octets: verify_receipt(octets, ENTRY, RECEIPT_KEY),
        encoded_receipts.maker(),
        nearly_receipts,
        RECEIPT_RULES,
        (DecodeError, SecurityError),
    ),
    "request": Boundary(read_request, encoded_requests.maker(), nearly_requests, REQUEST_RULES),
    "offer": Boundary(read_offer, encoded_offers.maker(), nearly_offers, OFFER_RULES),
    "revocation list": Boundary(learn, encoded_lists.maker(), nearly_lists, LIST_RULES),
    "COSE block": Boundary(
        read_block,
        encoded_cose_blocks.maker(),
        nearly_cose_blocks,
        COSE_RULES,
        (DecodeError, SecurityError),
    ),
    "label": Boundary(
        decode_label, encoded_labels.maker(), nearly_labels, LABEL_RULES, (DecodeError,)
    ),
    "policy file": Boundary(
        read_policy, policy_files.maker(), nearly_policy_files, FILE_RULES, (ConfigError,)
    ),
}
EACH = [(name, rule) for name, boundary in BOUNDARIES.items() for rule in boundary.rules]


@pytest.mark.parametrize(
    ("name", "rule"), EACH, ids=lambda one: one if isinstance(one, str) else one.violation.words
)
def test_what_breaks_one_rule_is_refused(name: str, rule: Any) -> None:
    boundary = BOUNDARIES[name]
    for case in islice(boundary.nearly.maker(rules=(rule,)).cases(seed=1), 12):
        boundary.read(case.valid)
        with pytest.raises(boundary.refusal) as told:
            boundary.read(case.encoded)
        assert "CBOR" not in str(told.value) or name != "policy file", "words for who wrote it"


@pytest.mark.parametrize("name", BOUNDARIES)
def test_what_is_damaged_ends_in_one_kind_of_error(name: str) -> None:
    boundary = BOUNDARIES[name]
    for octets in islice(boundary.valid.cases(seed=2), 20):
        boundary.read(octets)
    damaged = boundary.damaged or mutated.maker(boundary.valid)
    refused = 0
    for octets in islice(damaged.cases(seed=3), 150):
        try:
            boundary.read(octets)
        except boundary.refusal:
            refused += 1
    assert refused > 30
