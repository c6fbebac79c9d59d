"""The record of conformance fits the code, the tests and the documents that are made of it."""

from __future__ import annotations

from tests.conformance.documents import END, texts
from tests.conformance.record import ROOT, cases, faults, pages


def test_the_record_fits_code_and_tests() -> None:
    """What is done has tests and edits that exist, and no requirement word is left out."""
    wrong = faults(pages())
    assert not wrong, "\n".join(wrong)
    assert len(cases(pages())) > 300


def test_the_documents_are_of_the_record() -> None:
    """`python -m tests.conformance.documents docs` brings them up to date."""
    for name, text in texts(pages()).items():
        generated = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8").partition(END)[0]
        assert generated + END == text, name
