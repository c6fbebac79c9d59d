"""LTP authentication (RFC 5327) on a link: which keys, and the layer that does it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from stack.core.eid import Eid
from stack.core.errors import ConfigError
from stack.core.train import FLOW_SOURCE, Train
from stack.engines.ltp import LtpConfig
from stack.engines.ltp.authentication import Authenticator, AuthKey, hmac_key, null_key, rsa_key
from stack.engines.ltp.config import SEGMENT_BYTES_MIN
from stack.engines.ltp.driver import Shim
from stack.node.config import LinkConfig
from stack.security.keys import Key, KeyRing, link_key


def make_authenticator(config: LinkConfig, node: str, keys: KeyRing) -> Authenticator | None:
    """What signs and verifies on this link, or None where nothing does.

    Configuration alone decides, never what arrives: an attacker can switch nothing off.  Raises
    `ConfigError` when authentication is "on" without a key.
    """
    wanted, peer = config.authentication, str(Eid.parse(config.peer))
    if wanted == "off":
        return None
    if wanted == "null":
        return Authenticator(null_key(), [null_key()])
    shared, public = keys.accepting("ltp", peer), keys.accepting("ltp-rsa-public", peer)
    # Our own RSA key serves those alone whose public key is known: both ends see it alike.
    private = keys.accepting("ltp-rsa-private", peer) if public else ()
    signing = sorted((*shared, *private), key=keys.keys.index)
    sending = next((key for key in signing if key.send), None)
    if sending is None:
        if wanted == "auto":
            return None
        raise ConfigError(
            f"links.{config.name}.authentication",
            f'"on", and no ltp key in the key file serves {peer}, nor a pair of RSA keys',
            'make one with `orbitferry keys new`, or say authentication = "off"',
        )
    theirs = [_directed(key, peer, node) for key in (*shared, *public)]
    return Authenticator(_directed(sending, node, peer), theirs)


def _directed(key: Key, sender: str, receiver: str) -> AuthKey:
    """What a key of the file is from one node to another."""
    if isinstance(key.rsa, RSAPrivateKey):
        return rsa_key(key.rsa.public_key(), key.rsa, key.key_id)
    if key.rsa is not None:
        return rsa_key(key.rsa, None, key.key_id)
    if key.raw:
        return hmac_key(key.secret, key.key_id)
    key_id, secret = link_key(key.secret, sender, receiver)
    return hmac_key(secret, key_id)


def under_guard(ltp: LtpConfig, guard: Authenticator | None) -> LtpConfig:
    """LTP's parameters with room for both extensions: `segment_bytes` holds them too, unless it is
    so small that nothing else would fit."""
    if guard is None:
        return ltp
    segment = max(SEGMENT_BYTES_MIN, ltp.segment_bytes - guard.overhead_bytes)
    overhead = ltp.overhead_bytes + guard.overhead_bytes
    return dataclasses.replace(ltp, segment_bytes=segment, overhead_bytes=overhead)


class Guard:
    """Authentication above whatever else (erasure coding) is between engine and port."""

    def __init__(
        self,
        authenticator: Authenticator,
        inner: Shim | None,
        on_dropped: Callable[[dict[str, int]], None],
    ) -> None:
        """`on_dropped` is called with the counters after a train in which segments had no
        authentication, or a wrong one."""
        self._authenticator = authenticator
        self._inner = inner
        self._on_dropped = on_dropped

    def protect(self, trains: list[Train], now: int) -> list[Train]:
        """Signed trains, coded by the layer below."""
        signed = [self._authenticator.sign(train) for train in trains]
        return signed if self._inner is None else self._inner.protect(signed, now)

    def recover(self, train: Train, now: int) -> list[Train]:
        """What arrived and is authentic."""
        if self._inner is not None:
            return self._verified(self._inner.recover(train, now))
        return self._verified([train]) if train.flow == FLOW_SOURCE else []

    def next_deadline(self) -> int | None:
        """That of the layer below."""
        return None if self._inner is None else self._inner.next_deadline()

    def handle_deadline(self, now: int) -> tuple[list[Train], list[Train]]:
        """(trains to send, authentic trains received) that became due."""
        if self._inner is None:
            return [], []
        sent, received = self._inner.handle_deadline(now)
        return sent, self._verified(received)

    def counters(self) -> dict[str, int]:
        """Segments signed, verified and dropped."""
        return dict(self._authenticator.counters)

    def _verified(self, trains: list[Train]) -> list[Train]:
        verify, counters = self._authenticator.verify, self._authenticator.counters
        dropped = counters["unsigned"] + counters["forged"]
        out = [inner for train in trains for inner in verify(train)]
        if counters["unsigned"] + counters["forged"] > dropped:
            self._on_dropped(counters)
        return out
