"""Between two domains: certificates in common and no keys, for whoever forges."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from stack.policy import DataPolicy
from stack.policy.label import policy_block
from stack.security import BpSec, Key, KeyRing, SecurityPolicy
from stack.wire.bundle import DATA_POLICY, Bundle, decode_bundle, encode_bundle
from tests.security.test_rules import FAR, Certified, plain

FOREIGN = "dtn://gate/"
SHARED = (
    Key("kari-epoch-1-aes", "aes", bytes(range(32)), per_node=True),
    Key("kari-epoch-1-hmac", "hmac", bytes(range(48)), per_node=True),
)
LABEL = policy_block(DataPolicy(expires_ms=900_000_000_000), number=77, crc_type=2)


def node(
    name: str, elsewhere: Callable[[str], bool] | None = lambda node: True, sign: bool = False
) -> BpSec:
    count = itertools.count(1)
    return BpSec(
        KeyRing(SHARED, name),
        lambda size: next(count).to_bytes(size, "big"),
        SecurityPolicy(sign_for=("*",) if sign else ()),
        signers=Certified(name),
        elsewhere=elsewhere,
    )


def labelled(bundle: Bundle) -> Bundle:
    """The bundle with a label before all else, as a carrier would put it in."""
    return decode_bundle(encode_bundle(Bundle(bundle.primary, (LABEL, *bundle.blocks))))[0]


def test_what_the_source_has_signed_and_encrypted_opens() -> None:
    for bundle in (plain(source=FOREIGN + "app"), labelled(plain(source=FOREIGN + "app"))):
        opened = node(FAR).open(node(FOREIGN).protect(bundle))
        assert (opened.ok, opened.proven) == (True, True), opened.failure


def test_who_has_the_shared_keys_of_a_domain_speaks_for_no_node_of_another() -> None:
    bundle = plain(source=FOREIGN + "app")
    for sign in (False, True):
        forged = node(FOREIGN, None, sign).protect(bundle)
        assert node(FAR, None).open(forged).ok  # as if that were a node of one's own
        assert not node(FAR).open(forged).ok


def test_no_label_is_put_on_or_taken_off_on_the_way() -> None:
    bundle = plain(source=FOREIGN + "app")
    added = node(FAR).open(labelled(node(FOREIGN).protect(bundle)))
    assert (added.ok, "does not bind the label" in added.failure) == (False, True)
    sent = node(FOREIGN).protect(labelled(bundle))
    bare = [block for block in sent.blocks if block.type != DATA_POLICY]
    assert not node(FAR).open(Bundle(sent.primary, tuple(bare))).ok
