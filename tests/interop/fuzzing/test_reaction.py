"""Where a program failed, from what it printed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.fuzzing.command import judged
from interop.fuzzing.reaction import PLACE_MAX, fault_place

PYTHON = """starting
Traceback (most recent call last):
  File "/opt/x/a.py", line 3, in main
    decode(data)
  File "/opt/x/wire/b.py", line 71, in decode
    data[9]
IndexError: index out of range
"""
CHAINED = (
    PYTHON
    + """
During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/opt/x/c.py", line 5, in told
    raise odd
app.errors.OddError
"""
)
RUST = "thread 'main' panicked at src/bundle.rs:88:13:\nindex out of bounds: the len is 3\n"
ASAN = "==4711==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x60200000\n    #0 0x4f\n"
UBSAN = "b.c:12:5: runtime error: signed integer overflow: 2147483647 + 1 cannot be\n"
ASSERT = "decoder: b.c:9: main: Assertion `n < 8' failed.\nAborted\n"
GO = "panic: runtime error: slice bounds out of range [:9] with capacity 4\n\ngoroutine 1\n"


@pytest.mark.parametrize(
    ("said", "place"),
    [
        (PYTHON, "IndexError in b.py:71 decode"),
        (CHAINED, "app.errors.OddError in c.py:5 told"),
        (RUST, "src/bundle.rs:88:13:"),
        (ASAN, "AddressSanitizer: heap-buffer-overflow"),
        (ASSERT, "Assertion `n < 8' failed"),
        ("no such bundle\n", ""),
        ("", ""),
    ],
)
def test_the_place_of_a_fault(said: str, place: str) -> None:
    assert fault_place(said) == place


@pytest.mark.parametrize("said", [UBSAN, GO])
def test_the_same_fault_with_other_numbers_has_the_same_place(said: str) -> None:
    assert fault_place(said)
    other = said.replace("2147483647", "2147481234").replace("goroutine 1", "goroutine 17")
    assert fault_place(said) == fault_place(other)


def test_what_exit_codes_mean() -> None:
    assert judged(0, "").verdict == "taken"
    assert judged(1, "bad CRC").verdict == "refused"
    assert judged(1, PYTHON).verdict == "crash"
    assert judged(0, PYTHON).verdict == "taken", "it printed one, and went on as if nothing were"
    assert judged(-11, "").place == "SIGSEGV"
    assert judged(-6, ASSERT).place == "Assertion `n < 8' failed"
    assert judged(-99, "").verdict == "crash"


@given(st.text(max_size=300) | st.text(max_size=60).map(lambda text: PYTHON[:90] + text))
def test_nothing_that_a_program_prints_is_too_odd(said: str) -> None:
    assert len(fault_place(said)) <= PLACE_MAX
