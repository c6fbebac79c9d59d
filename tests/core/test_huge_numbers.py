"""Integers of any length in files are refused with a word, and never as a failure of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stack.contacts.hdtn import read_hdtn
from stack.contacts.native import read_json, read_toml
from stack.core.errors import ConfigError

NATIVE = (
    '{"format": "orbitferry-contact-plan-1", "contacts": [{"source": "dtn://a/", "start_ms": 0, '
)
NATIVE += '"destination": "dtn://b/", "end_ms": 5, "rate_bps": HERE}]}'
TOML = 'format = "orbitferry-contact-plan-1"\n[[contacts]]\nsource = "dtn://a/"\nend_ms = 5\n'
TOML += 'destination = "dtn://b/"\nstart_ms = HERE\n'
HDTN = '{"contacts": [{"contact": 1, "source": HERE, "dest": 2, "startTime": 0, "endTime": 5, '
HDTN += '"rateBitsPerSec": 1, "owlt": 1}]}'


@pytest.mark.parametrize(
    "number", ["1" + "0" * 30, "9" * 400, "9" * 5000, "9" * 400_000, "0x" + "f" * 5000]
)
@pytest.mark.parametrize(
    ("read", "text"), [(read_json, NATIVE), (read_toml, TOML), (read_hdtn, HDTN)]
)
def test_a_number_of_any_length_is_refused(
    read: Callable[[str], Any], text: str, number: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        read(text.replace("HERE", number))
    assert len(str(refused.value)) < 400
