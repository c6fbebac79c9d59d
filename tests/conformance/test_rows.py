"""The record of conformance fits the code, the tests and the documents that are made of it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.conformance.documents import END, texts
from tests.conformance.record import ROOT, Document, Edit, Page, Row, cases, faults, pages


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


HERE = "tests/conformance/test_rows.py"
EDIT = Edit("tests/conformance/record.py", "RECORD = Path(__file__).parent\n", "")
TEST = f"{HERE}::test_what_is_wrong_with_a_record_is_found"
DONE = Row(1, "done", {"4.1": "2MSO"}, code=(f"{HERE}:EDIT",), tests=(TEST,), edit=(EDIT,))

NOT_DONE = Row(2, "not done", {"4.2": "m"}, support="no", why="it is not")
WORDS = {"4.1": (2, 1)}


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ([DONE, NOT_DONE], ""),
        ([replace(DONE, tests=(), edit=())], "done, but by no test"),
        ([replace(DONE, edit=())], "tests and edits come together"),
        ([replace(DONE, support="partial")], "nothing says why not"),
        ([replace(DONE, tests=(f"{TEST}_",))], "no such test"),
        ([replace(DONE, code=(f"{HERE}:no",))], "no such code"),
        ([replace(DONE, edit=(replace(EDIT, old="nowhere"),))], "`old` of an edit is 0 times"),
        ([DONE, replace(NOT_DONE, item=1)], "2 rows are X1"),
        ([NOT_DONE], "§4.1 has 2 words of MUST, and rows account for 0"),
        ([DONE, replace(NOT_DONE, clause={"4.2": "S"})], "§4.2 has 0 words of SHOULD"),
    ],
)
def test_what_is_wrong_with_a_record_is_found(rows: list[Row], wrong: str) -> None:
    document = Document("RFC X", "", "X", words=WORDS, row=tuple(rows))
    found = faults({"x": Page("", (document,))})
    assert bool(found) == bool(wrong)
    assert wrong in "\n".join(found)
