"""Does each row of the record of conformance name tests that fail when its rule is broken?

    python -m tests.conformance.rows             # every row (`make rows`)
    python -m tests.conformance.rows fec "§4.3"  # rows of one page, with these words

Each edit is made in memory, in a process of its own, and the tests that its row names are run
there: one of them must fail, and not for a name or a type that the edit has wrong.  Prints edits
that no test noticed, and tests that no edit of their row makes fail, and exits with 1 when there
are any.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence

from tests.conformance.edited import FAILED, NOT_EXCHANGED, PASSED, Trial, Verdict, fresh, quickly
from tests.conformance.record import Case, cases, faults, pages


def chosen(words: Sequence[str]) -> list[Case]:
    """Rows with edits that have all these words; the name of a page is one."""
    record = pages()
    return [
        case
        for case in cases(record)
        if case.row.edit
        and all(word == case.page if word in record else word in case.name for word in words)
    ]


def trials(rows: Sequence[Case]) -> list[Trial]:
    """Every edit of them."""
    return [Trial(case.row.tests, edit) for case in rows for edit in case.row.edit]


def told(rows: Sequence[Case], verdicts: Iterable[Verdict]) -> Iterator[Case]:
    """Say what became of every edit of rows, and give the rows that it does not prove."""
    answers = iter(verdicts)
    for case in rows:
        noticed: set[str] = set()
        missed = False
        for _ in case.row.edit:
            began = time.monotonic()
            verdict = next(answers)
            noticed |= verdict.by
            missed = missed or not verdict.by
            tell = ", ".join(f"{test} ({what})" for test, what in sorted(verdict.failed.items()))
            took = f"{time.monotonic() - began:6.1f} s"
            print(f"{took}  {_answer(verdict):12} {case.name}: {tell}", flush=True)
        idle = [
            test for test in case.row.tests if not any(name.startswith(test) for name in noticed)
        ]
        for test in idle:
            print(f"          IDLE         {case.name}: {test} fails with no edit", flush=True)
        if missed or idle:
            yield case


def _answer(verdict: Verdict) -> str:
    if verdict.by:
        return "caught"
    words = {PASSED: "NOT NOTICED", FAILED: "NO CODE", NOT_EXCHANGED: "later"}
    return words.get(verdict.ended, "NO ANSWER")


def main(words: Sequence[str]) -> None:
    """Try, and tell."""
    if wrong := faults(pages()):
        sys.exit("\n".join(wrong))
    rows = chosen(words)
    every = Trial(sorted({test for case in rows for test in case.row.tests}))
    edits = trials(rows)
    print(f"{len(rows)} rows; {len(edits)} edits; {len(every.tests)} tests, first without any ...")
    began = time.monotonic()
    answers = quickly([every, *edits])
    plain = next(answers)
    if plain.ended != PASSED:
        sys.exit(f"these fail without any edit, mend that first: {', '.join(plain.failed) or '?'}")
    left = list(told(rows, answers))
    print(f"{len(left)} rows again, with modules loaded anew ...")
    left = list(told(left, map(fresh, trials(left))))
    print(f"{len(edits)} edits in {time.monotonic() - began:.0f} s; {len(left)} rows not proved")
    print("\n".join(case.name for case in left))
    sys.exit(bool(left))


if __name__ == "__main__":
    main(sys.argv[1:])
