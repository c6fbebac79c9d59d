"""DTN time (RFC 9171 §4.2.6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.clock import dtn_from_iso, dtn_from_unix, dtn_to_iso, unix_from_dtn


@pytest.mark.parametrize(
    ("text", "dtn_ms"),
    [
        ("2000-01-01T00:00:00.000Z", 0),
        ("2000-01-01T00:00:00.001Z", 1),
        ("2000-03-01T00:00:00.000Z", 60 * 86_400_000),  # 2000 was a leap year
        ("2001-01-01T00:00:00.000Z", 366 * 86_400_000),
        ("2026-01-01T00:00:00.000Z", (26 * 365 + 7) * 86_400_000),
    ],
)
def test_milliseconds_since_2000_utc(text: str, dtn_ms: int) -> None:
    assert dtn_from_iso(text) == dtn_ms
    assert dtn_to_iso(dtn_ms) == text
    assert dtn_from_iso(text.replace("Z", "")) == dtn_ms, "without a zone it is UTC"
    assert dtn_from_iso(text.replace("Z", "+01:00")) == dtn_ms - 3_600_000


def test_unix_time_is_thirty_years_older() -> None:
    # 30 years with the leap days of 1972, 76, 80, 84, 88, 92 and 96
    assert dtn_from_unix((30 * 365 + 7) * 86_400) == 0


@given(st.integers(0, 2**43))
def test_there_and_back(dtn_ms: int) -> None:
    assert dtn_from_unix(unix_from_dtn(dtn_ms)) == dtn_ms
