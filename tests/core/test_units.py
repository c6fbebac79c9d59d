"""Quantities that people write are read right, and shown in few characters."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stack.core.errors import ConfigError
from stack.core.units import (
    count_text,
    duration_text,
    parse_duration,
    parse_rate,
    parse_share,
    parse_size,
    payload_text,
    printable,
    rate_text,
    size_text,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("250ms", 0.25),
        ("1.5m", 90),
        ("2 h", 7200),
        ("7d", 604_800),
        (".5s", 0.5),
        ("20us", 20e-6),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "bits_s"),
    [
        ("256k", 256e3),
        ("10M", 10e6),
        ("1.5Gbit/s", 1.5e9),
        ("9600bps", 9600),
        ("inf", math.inf),
    ],
)
def test_rates(text: str, bits_s: float) -> None:
    assert parse_rate(text) == bits_s


@pytest.mark.parametrize(
    ("text", "octets"), [("1500", 1500), ("64k", 64_000), ("10MB", 10**7), ("1GiB", 2**30)]
)
def test_sizes(text: str, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize(("text", "value"), [("2%", 0.02), ("0.02", 0.02), ("0", 0), ("100%", 1)])
def test_shares(text: str, value: float) -> None:
    assert parse_share(text) == pytest.approx(value)


@given(st.text(max_size=20))
@example("9" * 400)
def test_nonsense_is_a_configuration_error(text: str) -> None:
    for parse in (parse_duration, parse_rate, parse_size, parse_share):
        with contextlib.suppress(ConfigError):
            assert parse(text) >= 0


@given(st.floats(0, 1e18, allow_nan=False))
@example(10.53125)
def test_texts_are_short_and_read_back(value: float) -> None:
    for show, parse in (
        (size_text, lambda text: parse_size(text.replace(" ", "").replace(",", ""))),
        (rate_text, lambda text: parse_rate(text.replace(" ", "").replace(",", ""))),
    ):
        text = show(value)
        assert len(text) <= 18
        if value >= 1:
            assert abs(parse(text) - value) <= 0.5 + 0.006 * value  # three digits, and whole units


@pytest.mark.parametrize(
    ("octets", "text"),
    [(0, "0 B"), (999.6, "1 kB"), (227_200_070_000, "227 GB"), (1.296e15, "1.3 PB")],
)
def test_sizes_have_the_unit_that_fits(octets: float, text: str) -> None:
    assert size_text(octets) == text


@pytest.mark.parametrize(
    ("number", "thing", "text"),
    [
        (0, "node", "0 nodes"),
        (1, "pass", "1 pass"),
        (1024, "pass", "1,024 passes"),
        (2, "entry", "2 entries"),
        (2, "key", "2 keys"),
    ],
)
def test_one_thing_is_no_things(number: int, thing: str, text: str) -> None:
    assert count_text(number, thing) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (12e-6, "12 µs"),
        (0.012, "12 ms"),
        (4.2, "4.2 s"),
        (59.96, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
        (86_399, "23 h 59 min"),
        (215_999, "59 h 59 min"),
        (216_000, "2 d 12 h"),
        (273_600, "3 d 04 h"),
        (None, "?"),
        (math.inf, "?"),
    ],
)
def test_duration_texts(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


@given(st.text())
def test_nothing_printable_commands_a_terminal(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable() or all(char == " " or not char.isspace() for char in shown)
    assert "\x1b" not in shown
    assert "\n" not in shown
    assert "\u202e" not in shown, "a right-to-left override turns names around"


@given(st.binary(max_size=5000))
def test_payloads_are_one_line(payload: bytes) -> None:
    shown = payload_text(payload)
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert len(shown) < 4100


def test_payload_text_and_octets() -> None:
    assert payload_text(b"hello\n") == "hello"
    assert payload_text(b"\xff\x00\x10") == "ff 00 10"
    assert payload_text(b"x" * 1000).endswith(" ...")
