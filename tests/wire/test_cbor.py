"""CBOR helpers against RFC 8949 Appendix A, against cbor2, and against noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.strategies.choices import uints
from stack.core.errors import DecodeError, LocalError
from stack.wire import cbor

# RFC 8949 Appendix A
RFC_INTEGERS = {
    0: "00",
    1: "01",
    10: "0a",
    23: "17",
    24: "1818",
    25: "1819",
    100: "1864",
    1000: "1903e8",
    1000000: "1a000f4240",
    1000000000000: "1b000000e8d4a51000",
    18446744073709551615: "1bffffffffffffffff",
}

TREES = st.recursive(
    uints() | st.binary(max_size=40) | st.text(max_size=40) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(uints(16), inner, max_size=3),
    max_leaves=12,
)

READERS: list[Callable[[bytes, int, bool], tuple[Any, ...]]] = [
    cbor.read_head,
    cbor.read_uint,
    cbor.read_bstr,
    cbor.read_tstr,
    cbor.read_array,
    lambda data, offset, _: cbor.read_bool(data, offset),
    lambda data, offset, strict: (cbor.skip_item(data, offset, strict),),
]


@pytest.mark.parametrize(("value", "encoded"), RFC_INTEGERS.items())
def test_integers_of_rfc_8949(value: int, encoded: str) -> None:
    data = bytes.fromhex(encoded)
    assert cbor.uint(value) == data
    assert cbor.read_uint(data, 0) == (value, len(data))
    assert cbor.head_size(value) == len(data)


@given(uints(), st.binary(max_size=300), st.text(max_size=300))
def test_writers_agree_with_cbor2_and_readers_invert_them(
    value: int, data: bytes, text: str
) -> None:
    assert cbor.uint(value) == cbor2.dumps(value)
    assert cbor.bstr(data) == cbor2.dumps(data)
    assert cbor.tstr(text) == cbor2.dumps(text)
    encoded = cbor.array((cbor.uint(value), cbor.bstr(data), cbor.tstr(text)))
    assert encoded == cbor2.dumps([value, data, text])
    prefix = b"\x00\x00\x00"
    whole = prefix + encoded
    count, offset = cbor.read_array(whole, len(prefix))
    assert count == 3
    read_value, offset = cbor.read_uint(whole, offset)
    read_data, offset = cbor.read_bstr(whole, offset)
    read_text, offset = cbor.read_tstr(whole, offset)
    assert (read_value, bytes(read_data), read_text, offset) == (value, data, text, len(whole))


def test_large_array_head() -> None:
    items = [cbor.uint(0)] * 300
    assert cbor.array(items) == cbor2.dumps([0] * 300)


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_what_has_no_encoding_is_a_local_error(value: int) -> None:
    with pytest.raises(LocalError):
        cbor.uint(value)


@given(uints())
def test_only_the_shortest_form_is_strict(value: int) -> None:
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value >= 1 << (8 * size):
            continue
        data = bytes((info,)) + value.to_bytes(size, "big")
        assert cbor.read_uint(data, 0, strict=False) == (value, len(data))
        if data == cbor.uint(value):
            assert cbor.read_uint(data, 0) == (value, len(data))
        else:
            with pytest.raises(DecodeError, match="shortest"):
                cbor.read_uint(data, 0)


@given(TREES, st.binary(max_size=5))
def test_skip_finds_the_end_of_any_item(tree: object, rest: bytes) -> None:
    data = cbor2.dumps(tree)
    assert cbor.skip_item(data + rest, 0) == len(data)
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            cbor.skip_item(data[:cut], 0)


@st.composite
def _any_form(draw: st.DrawFn, tree: Any) -> bytes:
    """An item in any well-formed encoding, shortest or not, of definite length or not."""

    def head(major: int, value: int) -> bytes:
        size = draw(st.sampled_from([s for s in (1, 2, 4, 8) if value < 1 << 8 * s]))
        wide = bytes((major << 5 | 23 + size.bit_length(),)) + value.to_bytes(size, "big")
        return draw(st.sampled_from([wide, cbor.head(major, value)]))

    definite = draw(st.booleans())
    if isinstance(tree, bool) or tree is None:
        return cbor2.dumps(tree)
    if isinstance(tree, int):
        return head(cbor.UINT, tree)
    if isinstance(tree, bytes | str):
        major = cbor.BSTR if isinstance(tree, bytes) else cbor.TSTR
        cut = draw(st.integers(0, len(tree)))
        chunks = [tree] if definite else [tree[:cut], tree[cut:]]
        octets = [chunk if isinstance(chunk, bytes) else chunk.encode() for chunk in chunks]
        text = b"".join(head(major, len(chunk)) + chunk for chunk in octets)
        return text if definite else bytes((major << 5 | 31,)) + text + b"\xff"
    major, size = (cbor.ARRAY, len(tree)) if isinstance(tree, list) else (cbor.MAP, len(tree))
    items = tree if isinstance(tree, list) else [item for pair in tree.items() for item in pair]
    body = b"".join(draw(_any_form(item)) for item in items)
    return head(major, size) + body if definite else bytes((major << 5 | 31,)) + body + b"\xff"


@pytest.mark.slow
@given(TREES.flatmap(lambda tree: st.tuples(st.just(tree), _any_form(tree))), st.binary(max_size=3))
def test_any_form_of_an_item_becomes_the_deterministic_one(
    drawn: tuple[object, bytes], rest: bytes
) -> None:
    tree, encoded = drawn
    assert cbor2.loads(encoded) == tree
    assert cbor.skip_item(encoded + rest, 0, strict=False) == len(encoded)
    assert cbor.deterministic(encoded * 2, strict=False) == cbor2.dumps(tree, canonical=True) * 2
    for cut in range(len(encoded)):
        with pytest.raises(DecodeError):
            cbor.skip_item(encoded[:cut], 0, strict=False)


@given(st.binary(max_size=60), st.booleans())
def test_what_is_made_deterministic_is_so(data: bytes, strict: bool) -> None:
    try:
        made = cbor.deterministic(data, strict)
    except DecodeError:
        return
    assert cbor.deterministic(made) == made


def test_characters_are_not_divided_between_chunks() -> None:
    assert cbor.deterministic(bytes.fromhex("7f62c3bc61 78ff")) == cbor.tstr("\u00fcx")
    with pytest.raises(DecodeError, match="UTF-8"):
        cbor.deterministic(bytes.fromhex("7f61c361bcff"))


def test_what_is_made_deterministic_is_bounded() -> None:
    with pytest.raises(DecodeError, match="too many"):
        cbor.deterministic(b"\x9f\xff" * cbor.ITEMS_MAX)


@given(st.binary(max_size=60), st.integers(0, 70), st.booleans())
def test_noise_raises_only_decode_errors_and_never_reads_past_the_end(
    data: bytes, offset: int, strict: bool
) -> None:
    for reader in READERS:
        try:
            end = reader(data, offset, strict)[-1]
        except DecodeError:
            continue
        assert offset < end <= len(data)


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ("1c", "reserved"),
        ("1f", "reserved"),
        ("3f", "reserved"),
        ("df", "reserved"),
        ("f81f", "simple"),
        ("ff", "break"),
        ("82ff", "break"),
        ("5f6100ff", "chunk"),
        ("5f5f4100ffff", "chunk"),
        ("7f00ff", "chunk"),
        ("bf00ff", "break"),
        ("a1ff", "break"),
        ("c1ff", "break"),
        ("5bffffffffffffffff", "truncated"),
        ("9bffffffffffffffff00", "truncated"),
    ],
)
def test_ill_formed_items(encoded: str, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        cbor.skip_item(bytes.fromhex(encoded), 0)


def test_depth_and_item_count_are_bounded() -> None:
    deepest = b"\x81" * cbor.DEPTH_MAX + b"\x00"
    assert cbor.skip_item(deepest, 0) == len(deepest)
    with pytest.raises(DecodeError, match="deep"):
        cbor.skip_item(b"\x81" + deepest, 0)
    with pytest.raises(DecodeError, match="deep"):
        cbor.skip_item(b"\x9f" * 1_000_000, 0)
    most = cbor.array([b"\x00"] * (cbor.ITEMS_MAX - 1))
    assert cbor.skip_item(most, 0) == len(most)
    with pytest.raises(DecodeError, match="too many"):
        cbor.skip_item(cbor.array([b"\x00"] * cbor.ITEMS_MAX), 0)


def test_indefinite_arrays_and_tags_are_passed_by() -> None:
    data = bytes.fromhex("9f01820203c1189f9f04ffff")  # RFC 8949 §3.2.2 shapes, one tagged
    assert cbor.skip_item(data, 0) == len(data)
    assert cbor.skip_item(b"\xfb" + bytes(8), 0) == 9
    assert cbor.skip_item(b"\xf9\x00\x01", 0) == 3


@pytest.mark.parametrize(
    ("reader", "encoded"),
    [
        (cbor.read_uint, "20"),
        (cbor.read_bstr, "6161"),
        (cbor.read_bstr, "5f4100ff"),
        (cbor.read_tstr, "4161"),
        (cbor.read_tstr, "7f6161ff"),
        (cbor.read_tstr, "61ff"),
        (cbor.read_tstr, "6261"),
        (cbor.read_bstr, "4261"),
        (cbor.read_array, "9f00ff"),
        (cbor.read_array, "a0"),
        (cbor.read_bool, "f6"),
        (cbor.read_bool, "00"),
        (cbor.read_bool, "fa00000014"),
    ],
)
def test_wrong_types(reader: Callable[..., object], encoded: str) -> None:
    with pytest.raises(DecodeError):
        reader(bytes.fromhex(encoded), 0)


def test_booleans() -> None:
    assert cbor.read_bool(cbor.FALSE, 0) == (False, 1)
    assert cbor.read_bool(cbor.TRUE, 0) == (True, 1)
