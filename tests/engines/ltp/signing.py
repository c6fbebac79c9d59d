"""Segments signed without an engine that packs them."""

from __future__ import annotations

from stack.core.train import Train
from stack.engines.ltp.authentication import Authenticator
from stack.engines.ltp.envelope import Envelope


def enveloped(envelope: Envelope | None, train: Train) -> Train:
    """A train whose segments have no extensions, with the envelope around each."""
    if envelope is None:
        return train
    segments = b"".join(envelope.around(bytes(one)) for one in train.datagrams())
    return Train(segments, train.size + envelope.octets, train.flow)


def sign(by: Authenticator, train: Train) -> Train:
    """A train whose segments have no extensions, with those of LTP authentication."""
    return by.sign(enveloped(by.envelope(), train))
