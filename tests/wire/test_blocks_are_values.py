"""The blocks of a bundle are values, however they are filled."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from stack.core.eid import Eid
from stack.wire.bundle import Bundle, CanonicalBlock, PrimaryBlock, decode_bundle, encode_bundle

NODE = Eid.parse("dtn://gs1/")
PRIMARY = PrimaryBlock(NODE, NODE, NODE, 1, 2, 3)
MADE = Bundle(PRIMARY, (CanonicalBlock(7, 2, 0, b"\x00"), CanonicalBlock(1, 1, 0, b"octets")))
READ = decode_bundle(encode_bundle(MADE))[0]


@pytest.mark.parametrize("bundle", [MADE, READ], ids=["made", "read"])
def test_blocks_are_of_their_class_and_cannot_be_changed(bundle: Bundle) -> None:
    kinds: tuple[tuple[Any, type, str], ...] = (
        (bundle, Bundle, "primary"),
        (bundle.primary, PrimaryBlock, "lifetime_ms"),
        (bundle.payload, CanonicalBlock, "data"),
    )
    for one, kind, name in kinds:
        assert one.__class__.__name__ == kind.__name__
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(one, name, getattr(one, name))
        other: Any = dataclasses.replace(one)
        assert (hash(other), other) == (hash(one), one)


def test_what_is_made_is_copied_and_travels_between_processes() -> None:
    for other in (copy.copy(MADE), copy.deepcopy(MADE), pickle.loads(pickle.dumps(MADE))):
        assert other == MADE
        assert type(other.primary) is PrimaryBlock
