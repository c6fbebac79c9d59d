"""Epochs as they lie on a disk."""

from __future__ import annotations

from stack.security.epochs import EPOCHS_MAX, GONE_MAX, SECRET_BYTES, Epoch, Epochs
from stack.services.codec import Fields, Item
from stack.services.keys.messages import NAME_MAX, NUMBER_MAX, TIME_MAX, read_links

WHY_CHARS_MAX = 255


def epochs_record(epochs: Epochs) -> list[Item]:
    """What a node has of a domain's epochs, as a CBOR array."""
    gone: list[Item] = [[number, why] for number, why in epochs.gone.items()]
    return [epochs.floor, [epoch_record(epoch) for epoch in epochs.held], gone]


def read_epochs(fields: Fields) -> Epochs:
    """Inverse of `epochs_record`.  Raises `DecodeError`."""
    floor = fields.uint(NUMBER_MAX)
    held = [read_epoch(row) for row in fields.array(EPOCHS_MAX)]
    gone = {}
    for row in fields.array(GONE_MAX):
        number = row.uint(NUMBER_MAX, 1)
        gone[number] = row.text(WHY_CHARS_MAX)
        row.end()
    return Epochs(held, floor, gone)


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
