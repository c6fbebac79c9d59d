"""The tables of conformance and the edits that prove them fit each other, and the code."""

from __future__ import annotations

from tests.conformance.rows import edits, pairs, rows


def test_every_row_has_an_edit_that_fits_the_code() -> None:
    found, wrong = pairs(rows(), edits())
    assert not wrong, "\n".join(wrong)
    assert len({row for row, _ in found}) > 200
