"""Epochs as they lie on a disk."""

from __future__ import annotations

from stack.security.epochs import SECRET_BYTES, Epoch
from stack.services.codec import Fields, Item
from stack.services.keys.messages import NAME_MAX, NUMBER_MAX, TIME_MAX, read_links


def epoch_record(epoch: Epoch) -> list[Item]:
    """An epoch as a CBOR array."""
    times = [epoch.from_ms, epoch.renew_ms, epoch.until_ms, epoch.others_until_ms]
    links: list[Item] = [[number, secret] for number, secret in epoch.links]
    return [epoch.domain, epoch.number, epoch.secret, *times, epoch.link, links]


def read_epoch(fields: Fields) -> Epoch:
    """Inverse of `epoch_record`.  Raises `DecodeError`."""
    epoch = Epoch(
        domain=fields.text(NAME_MAX),
        number=fields.uint(NUMBER_MAX, 1),
        secret=fields.blob(SECRET_BYTES, SECRET_BYTES),
        from_ms=fields.uint(TIME_MAX),
        renew_ms=fields.uint(TIME_MAX),
        until_ms=fields.uint(TIME_MAX),
        others_until_ms=fields.uint(TIME_MAX),
        link=fields.uint(NUMBER_MAX),
        links=read_links(fields),
    )
    fields.end()
    return epoch
