"""LTP authentication (RFC 5327) on a link: which keys, and the layer that does it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from stack.core.eid import Eid
from stack.core.errors import ConfigError
from stack.core.sansio import Entropy
from stack.core.train import Train
from stack.engines.ltp import LtpConfig
from stack.engines.ltp.authentication import Authenticator
from stack.engines.ltp.ciphersuites import AuthKey, gmac_key, hmac_key, null_key, rsa_key
from stack.engines.ltp.coding import FecShim
from stack.engines.ltp.config import SEGMENT_BYTES_MIN
from stack.engines.ltp.cookies import OVERHEAD_BYTES
from stack.engines.ltp.envelope import Envelope
from stack.engines.ltp.extensions import Layer
from stack.node.config import LinkConfig
from stack.security.keys import LINK_KEY_ID_BYTES, Key, KeyRing, link_key, ours

SESSION_BITS: Final = 48
"""Of the first session number on a link that AES-GMAC signs, as `LtpConfig.session_bits`: seven
octets of each segment.  A start meets one of 10^9 recorded sessions with a chance below 10^-5."""


def make_authenticator(
    config: LinkConfig, node: str, keys: KeyRing, entropy: Entropy, *, was_keyed: bool = False
) -> Authenticator | None:
    """What signs and verifies on this link, or None where nothing ever does.  It draws on `entropy`
    when it begins to sign.

    Configuration decides, of what domain the neighbour is, and whether the link `was_keyed` before,
    never what arrives on the link: an attacker can switch nothing off.  Raises `ConfigError` for
    "on" without a key.
    """
    wanted = config.authentication
    if wanted == "off":
        return None
    if wanted == "null":
        return Authenticator(null_key(), [null_key()], entropy)
    chosen = _chosen(config, node, keys)
    if chosen is not None:
        return Authenticator(*chosen, entropy)
    member = keys.elsewhere is not ours
    if wanted == "on" and not is_foreign(config, keys):
        remedy = (
            "enrol with an answer that has keys" if member else "make one: `orbitferry keys new`"
        )
        raise ConfigError(
            f"links.{config.name}.authentication",
            f'"on", and no ltp key serves {config.peer}, nor a pair of RSA keys',
            f'{remedy}, or say authentication = "off"',
        )
    if not (member or keys.keys or was_keyed):
        return None
    shut = was_keyed and not is_foreign(config, keys)
    return _keyless("shut" if shut else _without(config), entropy)


def follow(
    authenticator: Authenticator,
    config: LinkConfig,
    node: str,
    keys: KeyRing,
    *,
    was_keyed: bool = False,
) -> None:
    """Have what `make_authenticator` made sign and verify with the keys that are there now.  Where
    there are none any more, and the link `was_keyed` at any time, it is shut: a key that was taken
    out serves nobody any more, and what is missing switches no authentication off.  Where the
    neighbour is now of another domain the link is open with "auto", and shut with "on"."""
    if config.authentication == "null":
        return
    chosen = _chosen(config, node, keys)
    if chosen is not None:
        authenticator.change(*chosen)
    elif is_foreign(config, keys):
        authenticator.let_go(_without(config))
    elif was_keyed or authenticator.state == "keyed":
        authenticator.let_go("shut")


def is_foreign(config: LinkConfig, keys: KeyRing) -> bool:
    """Whether the neighbour is of another domain, so that no key of this one serves it."""
    return keys.elsewhere(str(Eid.parse(config.peer))) is not None


def is_shut_by(authenticator: Authenticator, config: LinkConfig, node: str, keys: KeyRing) -> bool:
    """Whether `follow` would shut a link that passes something now, as these keys have none for
    it."""
    keyed = config.authentication != "null" and authenticator.state == "keyed"
    return keyed and not is_foreign(config, keys) and _chosen(config, node, keys) is None


def _without(config: LinkConfig) -> Literal["open", "shut"]:
    """What a link is that has no keys: a node starts also where nothing may pass."""
    return "open" if config.authentication == "auto" else "shut"


def _keyless(state: Literal["open", "shut"], entropy: Entropy) -> Authenticator:
    """For a node that may get keys for this neighbour while it runs, from its domain or by its key
    file: it leaves room for what they will add to a segment."""
    room = gmac_key(b"", bytes(LINK_KEY_ID_BYTES))
    made = Authenticator(room, (), entropy)
    made.let_go(state)
    return made


def _chosen(config: LinkConfig, node: str, keys: KeyRing) -> tuple[AuthKey, list[AuthKey]] | None:
    """What signs on a link, and what is accepted there; None without a key that can sign."""
    peer = str(Eid.parse(config.peer))
    shared, public = keys.accepting("ltp", peer), keys.accepting("ltp-rsa-public", peer)
    # Our own RSA key serves those alone whose public key is known: both ends see it alike.
    private = keys.accepting("ltp-rsa-private", peer) if public else ()
    signing = sorted((*shared, *private), key=keys.keys.index)
    sending = next((key for key in signing if key.send), None)
    if sending is None:
        return None
    theirs = [_directed(key, peer, node) for key in (*shared, *public)]
    return _directed(sending, node, peer), theirs


def is_trusted(config: LinkConfig, authenticator: Authenticator | None) -> bool:
    """Whether what this link brings is believed to be the neighbour's."""
    if config.trusted:
        return True
    # A key that everybody knows says nothing of who sends.
    known = config.authentication != "null"
    return known and authenticator is not None and authenticator.state == "keyed"


def _directed(key: Key, sender: str, receiver: str) -> AuthKey:
    """What a key of the file is from one node to another."""
    if isinstance(key.rsa, RSAPrivateKey):
        return rsa_key(key.rsa.public_key(), key.rsa, key.key_id)
    if key.rsa is not None:
        return rsa_key(key.rsa, None, key.key_id)
    if key.raw:
        return hmac_key(key.secret, key.key_id)
    key_id, secret = link_key(key.secret, sender, receiver)
    return gmac_key(secret, key_id)


def under_extensions(ltp: LtpConfig, link: LinkConfig, guard: Authenticator | None) -> LtpConfig:
    """LTP's parameters with room for all extensions: `segment_bytes` and `train_bytes` hold them
    too, unless a segment is so small that nothing else would fit.  What is signed so that nobody
    else can take its place has session numbers that do not come again, either."""
    added = (guard.overhead_bytes if guard is not None else 0) + link.cookies * OVERHEAD_BYTES
    segment = max(SEGMENT_BYTES_MIN, ltp.segment_bytes - added)
    overhead = ltp.overhead_bytes + added
    # As many segments as before: what outgrows one call of the socket costs a call more.
    train = max(segment, ltp.train_bytes * segment // (segment + added))
    bits = ltp.session_bits
    if guard is not None and guard.is_ours:
        bits = max(bits, SESSION_BITS)
    return dataclasses.replace(
        ltp,
        segment_bytes=segment,
        train_bytes=train,
        overhead_bytes=overhead,
        session_bits=bits,
    )


class Guard(Layer):
    """Authentication above whatever else (erasure coding) is between engine and port."""

    def __init__(
        self,
        authenticator: Authenticator,
        inner: FecShim | None,
        on_dropped: Callable[[dict[str, int]], None],
    ) -> None:
        """`on_dropped` is called with the counters after a train in which segments had no
        authentication, or a wrong one, where there are keys to tell by."""
        super().__init__(inner)
        self._coding = inner
        self.authenticator = authenticator
        self.was_keyed = False
        """Whether the link has ever had keys."""

        self._on_dropped = on_dropped

    @property
    def state(self) -> Literal["keyed", "open", "shut"]:
        """See `Authenticator.state`."""
        return self.authenticator.state

    def follow(self, config: LinkConfig, node: str, keys: KeyRing) -> bool:
        """Choose the keys anew (see `follow`); whether that has changed the state."""
        before = self.state
        follow(self.authenticator, config, node, keys, was_keyed=self.was_keyed)
        self.was_keyed |= self.state == "keyed"
        changed = self.state != before
        if changed and self._coding is not None:
            self._coding.follow()
        return changed

    def counters(self) -> dict[str, int]:
        """Segments signed, verified and dropped."""
        return dict(self.authenticator.counters)

    def envelope(self) -> Envelope | None:
        """What signing needs room for."""
        return self.authenticator.envelope() if self.state == "keyed" else super().envelope()

    def _down(self, train: Train) -> list[Train]:
        if self.state == "keyed":
            return [self.authenticator.sign(train)]
        return [train] if self.state == "open" else []

    def _up(self, trains: list[Train]) -> list[Train]:
        if self.state == "open":
            return trains
        verify, counters = self.authenticator.verify, self.authenticator.counters
        dropped = counters["unsigned"] + counters["forged"]
        out = [inner for train in trains for inner in verify(train)]
        if counters["unsigned"] + counters["forged"] > dropped and self.state == "keyed":
            self._on_dropped(counters)
        return out
