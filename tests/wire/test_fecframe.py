"""Octets of RFC 6865: against vectors of another implementation, round trips, hostile input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.strategies.fecframe import payload_ids
from stack.core.errors import DecodeError
from stack.wire import fecframe
from stack.wire.fecframe import Fssi, PayloadId


def test_layout_is_that_of_another_implementation() -> None:
    # roc-toolkit, tests/roc_fec/test_composer_parser.cpp: SBN 0x2233, ESI 0x11, k 0x4455; with
    # a block length that exists.
    octets = bytes.fromhex("002233114455")
    assert int.from_bytes(octets[:3], "big") == 0x2233
    with pytest.raises(DecodeError, match="block length 17493"):
        fecframe.decode_payload_id(octets, repair=False)
    value = PayloadId(0x2233, 0x11, 0x55)
    assert fecframe.encode_payload_id(value) == bytes.fromhex("002233110055")
    assert fecframe.decode_payload_id(bytes.fromhex("002233110055"), repair=False) == (value, 6)


@given(st.booleans().flatmap(lambda r: st.tuples(st.just(r), payload_ids(repair=r))))
def test_payload_ids_round_trip(case: tuple[bool, PayloadId]) -> None:
    repair, value = case
    octets = fecframe.encode_payload_id(value)
    assert fecframe.decode_payload_id(octets + b"more", repair=repair) == (value, 6)
    with pytest.raises(DecodeError):
        fecframe.decode_payload_id(octets, repair=not repair)


@given(st.binary(max_size=12), st.booleans())
def test_any_octets_are_an_id_or_a_decode_error(data: bytes, repair: bool) -> None:
    try:
        value, consumed = fecframe.decode_payload_id(data, repair=repair)
    except DecodeError:
        return
    assert fecframe.encode_payload_id(value) == data[:consumed]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 255), st.integers(0, 3)), min_size=1))
def test_runs_hold_every_packet_once(ids: list[tuple[int, int, int]]) -> None:
    raw = b"".join(s.to_bytes(3, "big") + bytes((e,)) + k.to_bytes(2, "big") for s, e, k in ids)
    found: dict[int, tuple[int, int, int]] = {}
    for run in fecframe.decode_runs(np.frombuffer(raw, np.uint8).reshape(-1, 6)):
        for single in fecframe.split_run(run):
            (row,) = single.rows.tolist()
            assert row not in found
            found[row] = (single.sbn, single.esi, single.k)
    assert [found[row] for row in range(len(ids))] == ids


@given(st.booleans().flatmap(lambda r: st.tuples(st.just(r), payload_ids(repair=r))))
def test_a_run_fits_exactly_if_its_id_decodes(case: tuple[bool, PayloadId]) -> None:
    repair, value = case
    (run,) = fecframe.decode_runs(
        np.frombuffer(fecframe.encode_payload_id(value), np.uint8).reshape(1, 6)
    )
    assert (run.sbn, run.esi, run.k) == value
    assert fecframe.fits(run, repair=repair)
    assert not fecframe.fits(run, repair=not repair)


def test_many_ids_at_once_are_the_single_ids() -> None:
    sbn, esi = np.array([0, 0xFFFFFF, 5]), np.array([0, 254, 3])
    pairs = zip(sbn.tolist(), esi.tolist(), strict=True)
    expected = [fecframe.encode_payload_id(PayloadId(*v, 255)) for v in pairs]
    assert [row.tobytes() for row in fecframe.encode_payload_ids(sbn, esi, 255)] == expected


@given(st.binary(max_size=60), st.integers(0, 255), st.integers(0, 20))
def test_aduis_round_trip(adu: bytes, flow_id: int, padding: int) -> None:
    symbol = fecframe.encode_adui(flow_id, adu, 3 + len(adu) + padding)
    assert symbol[:3] == bytes((flow_id, len(adu) >> 8, len(adu) & 0xFF))  # RFC 6865 §4.3
    assert len(symbol) == 3 + len(adu) + padding
    found_flow, found = fecframe.decode_adui(symbol)
    assert (found_flow, bytes(found)) == (flow_id, adu)


def test_padding_is_zero() -> None:
    symbol = fecframe.encode_adui(7, b"adu", 10)
    assert symbol == b"\x07\x00\x03adu" + bytes(4)
    with pytest.raises(DecodeError, match="padding"):
        fecframe.decode_adui(symbol[:-1] + b"\x01")


@given(st.binary(max_size=40))
def test_any_octets_are_an_adui_or_a_decode_error(symbol: bytes) -> None:
    try:
        flow_id, adu = fecframe.decode_adui(symbol)
    except DecodeError:
        return
    assert fecframe.encode_adui(flow_id, adu, len(symbol)) == symbol


@given(st.integers(4, 0xFFFF), st.booleans())
def test_fssi_round_trips(symbol_bytes: int, strict: bool) -> None:
    value = Fssi(symbol_bytes, strict)
    octets = fecframe.encode_fssi(value)
    assert octets == symbol_bytes.to_bytes(2, "big") + (b"\x88" if strict else b"\x08")
    assert fecframe.decode_fssi(octets) == (value, 3)


@pytest.mark.parametrize("m", [2, 4, 7, 9, 16])
def test_codes_over_other_fields_are_refused(m: int) -> None:
    with pytest.raises(DecodeError, match=f"m = {m} is not supported"):
        fecframe.decode_fssi(fecframe.encode_fssi(Fssi(100, m=m)))


@given(st.binary(max_size=5))
def test_any_octets_are_fssi_or_a_decode_error(data: bytes) -> None:
    try:
        value, consumed = fecframe.decode_fssi(data)
    except DecodeError:
        return
    assert fecframe.encode_fssi(value) == data[:consumed]


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (fecframe.encode_payload_id, (PayloadId(1 << 24, 0, 1),)),
        (fecframe.encode_payload_id, (PayloadId(0, 255, 1),)),
        (fecframe.encode_payload_id, (PayloadId(0, 0, 256),)),
        (fecframe.encode_payload_id, (PayloadId(0, 0, 0),)),
        (fecframe.encode_adui, (256, b"", 10)),
        (fecframe.encode_adui, (0, b"12345678", 10)),
        (fecframe.encode_adui, (0, b"", 0x10000)),
        (fecframe.encode_fssi, (Fssi(0),)),
        (fecframe.encode_fssi, (Fssi(0x10000),)),
        (fecframe.encode_fssi, (Fssi(10, m=128),)),
    ],
)
def test_what_cannot_be_said_is_not_encoded(call: Any, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError):
        call(*arguments)
