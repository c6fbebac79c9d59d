"""CCSDS Reed-Solomon: against codewords of libfec, against reedsolo, and its own limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.core.errors import ConfigError, LocalError
from stack.fec.reed_solomon import (
    FAILED,
    LinkCodeConfig,
    NumpyLinkCode,
    ReedsoloLinkCode,
    _predicts,
    decode_block,
    encode_block,
    link_code,
)
from tests.strategies.fec import U8

VECTORS = Path(__file__).parents[2] / "interop" / "vectors"
BASES = [("conv", False), ("dual", True)]
ENGINES: list[Literal["numpy", "reedsolo"]] = ["numpy", "reedsolo"]


def codewords(name: str) -> U8:
    with np.load(VECTORS / "ccsds_rs_codewords.npz") as arrays:
        words: U8 = arrays[name]
    return words


def disturb(rng: np.random.Generator, rows: U8, errors: int, first: int = 0) -> U8:
    """A copy with `errors` wrong octets in every row, from column `first` on."""
    wrong = rows.copy()
    for row in wrong:
        at = first + rng.choice(len(row) - first, errors, replace=False)
        row[at] ^= rng.integers(1, 256, errors, np.uint8)
    return wrong


def test_what_follows_from_the_earlier_syndromes_is_told() -> None:
    """Those of two errors are the sum of two powers of 1 and a: each is one more of a recurrence of
    that degree.  A decoder that cannot tell does all steps for every word."""
    powers = 1 << np.arange(7, dtype=np.uint8)  # of a, as long as nothing is reduced
    syndromes = np.stack([powers ^ 1, powers * 2 ^ 1], axis=1)
    locator = np.repeat(np.array([[1], [3], [2]], np.uint8), 2, axis=1)  # (1 + x) (1 + 2x)
    assert _predicts(locator, syndromes, 4)
    for step, column in ((4, 0), (6, 1)):
        wrong = syndromes.copy()
        wrong[step, column] ^= 5
        assert not _predicts(locator, wrong, 4)


# Outside vectors


@pytest.mark.parametrize(("name", "dual"), BASES)
@pytest.mark.parametrize("engine", ENGINES)
def test_codewords_are_those_of_libfec(
    name: str, dual: bool, engine: Literal["numpy", "reedsolo"]
) -> None:
    words = codewords(name)[: None if engine == "numpy" else 8]
    code = link_code(LinkCodeConfig(dual_basis=dual, engine=engine))
    assert (code.encode_many(words[:, :223]) == words).all()


@pytest.mark.parametrize(("name", "dual"), BASES)
@pytest.mark.parametrize("errors", [0, 1, 2, 15, 16])
def test_up_to_16_errors_are_corrected(name: str, dual: bool, errors: int) -> None:
    words = codewords(name)
    code = NumpyLinkCode(LinkCodeConfig(dual_basis=dual))
    decoded = code.decode_many(disturb(np.random.default_rng(errors), words, errors))
    assert decoded.ok.all()
    assert (decoded.data == words[:, :223]).all()
    assert (decoded.corrected == errors).all()


def test_a_burst_of_16_at_every_place_is_corrected() -> None:
    words = np.repeat(codewords("dual")[:1], 240, axis=0)
    wrong = words.copy()
    for at in range(240):
        wrong[at, at : at + 16] ^= 0xFF
    decoded = NumpyLinkCode(LinkCodeConfig()).decode_many(wrong)
    assert decoded.ok.all()
    assert (decoded.data == words[:, :223]).all()


def test_lone_words_whose_first_syndromes_vanish_are_corrected_too() -> None:
    # Among all values of a second error there is one that makes any chosen syndrome zero.
    words = codewords("conv")[:1]
    code = NumpyLinkCode(LinkCodeConfig(dual_basis=False))
    for value in range(1, 256):
        wrong = words.copy()
        wrong[0, 3] ^= 0x47
        wrong[0, 90] ^= value
        decoded = code.decode_many(wrong)
        assert decoded.corrected.tolist() == [[2]]
        assert (decoded.data == words[:, :223]).all()


def test_dual_basis_is_the_published_one() -> None:
    with np.load(VECTORS / "ccsds_dual_basis.npz") as arrays:
        to_dual, from_dual = arrays["tal"], arrays["tal1"]
    conventional = to_dual[codewords("conv")]
    code = NumpyLinkCode(LinkCodeConfig(dual_basis=True))
    assert not code.decode_many(conventional).corrected.any()
    assert (from_dual[to_dual] == np.arange(256)).all()


# Against the reference engine


@pytest.mark.parametrize("correctable", [8, 16])
@pytest.mark.parametrize(
    ("interleave", "fill", "dual"), [(1, 0, True), (3, 100, False), (8, 200, True)]
)
def test_both_engines_encode_and_decode_alike(
    correctable: Literal[8, 16], interleave: int, fill: int, dual: bool
) -> None:
    values: dict[str, Any] = {
        "correctable": correctable,
        "interleave": interleave,
        "fill_bytes": fill,
        "dual_basis": dual,
    }
    mine = NumpyLinkCode(LinkCodeConfig(**values))
    reference = ReedsoloLinkCode(LinkCodeConfig(**values, engine="reedsolo"))
    rng = np.random.default_rng(9)
    frames = rng.integers(0, 256, (4, mine.config.data_bytes), np.uint8)
    blocks = mine.encode_many(frames)
    assert (blocks == reference.encode_many(frames)).all()
    for errors in (1, correctable * interleave // 2, correctable * interleave):
        wrong = disturb(rng, blocks, errors)
        found, expected = mine.decode_many(wrong), reference.decode_many(wrong)
        assert (found.data == expected.data).all()
        assert (found.corrected == expected.corrected).all()
        assert (found.ok == expected.ok).all()


@settings(max_examples=60, deadline=None)
@given(
    correctable=st.sampled_from([8, 16]),
    interleave=st.integers(1, 8),
    fill=st.integers(0, 222),
    dual=st.booleans(),
    count=st.integers(0, 5),
    seed=st.integers(0, 1 << 32),
    data=st.data(),
)
def test_as_many_errors_as_allowed_in_every_codeword(
    correctable: Literal[8, 16],
    interleave: int,
    fill: int,
    dual: bool,
    count: int,
    seed: int,
    data: st.DataObject,
) -> None:
    config = LinkCodeConfig(
        correctable=correctable, interleave=interleave, fill_bytes=fill, dual_basis=dual
    )
    code = NumpyLinkCode(config)
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (count, config.data_bytes), np.uint8)
    blocks = code.encode_many(frames)
    assert (blocks[:, : config.data_bytes] == frames).all()
    wrong = blocks.copy()
    errors = [data.draw(st.integers(0, correctable)) for _ in range(interleave)]
    for column, number in enumerate(errors):  # CCSDS 131.0-B §4.4.1: codewords take turns
        wrong[:, column::interleave] = disturb(rng, blocks[:, column::interleave], number)
    decoded = code.decode_many(wrong)
    assert decoded.ok.all()
    assert (decoded.data == frames).all()
    assert (decoded.corrected == errors).all()


def test_interleaved_codewords_are_the_separate_ones() -> None:
    words = codewords("dual")[:5]
    code = NumpyLinkCode(LinkCodeConfig(interleave=5))
    frame = words[:, :223].T.reshape(1, -1)
    assert (code.encode_many(frame) == words.T.reshape(1, -1)).all()


# Limits


@pytest.mark.parametrize("errors", [17, 18, 24, 40, 255])
def test_too_many_errors_are_noticed_and_change_nothing(errors: int) -> None:
    wrong = disturb(np.random.default_rng(errors), codewords("dual"), errors)
    decoded = NumpyLinkCode(LinkCodeConfig()).decode_many(wrong)
    assert not decoded.ok.any()  # a miscorrection has the probability 1/16!
    assert (decoded.corrected == FAILED).all()
    assert (decoded.data == wrong[:, :223]).all()


def test_a_correction_in_virtual_fill_is_a_failure() -> None:
    # A word whose nearest codeword differs from it in octets that were never sent.
    long = NumpyLinkCode(LinkCodeConfig(dual_basis=False))
    short = NumpyLinkCode(LinkCodeConfig(dual_basis=False, fill_bytes=50))
    frame = np.zeros((1, 223), np.uint8)
    frame[0, 7] = 1  # within the fill of the shorter code
    word = long.encode_many(frame)
    decoded = short.decode_many(word[:, 50:])
    assert not decoded.ok[0]
    assert decoded.corrected[0, 0] == FAILED


def test_one_failed_codeword_fails_its_block_only() -> None:
    code = NumpyLinkCode(LinkCodeConfig(interleave=2))
    frames = np.random.default_rng(4).integers(0, 256, (3, 446), np.uint8)
    wrong = code.encode_many(frames)
    wrong[1, 0:80:2] ^= 0x55  # forty errors in the first codeword
    wrong[1, 1] ^= 1
    wrong[2, 5] ^= 1
    decoded = code.decode_many(wrong)
    assert decoded.ok.tolist() == [True, False, True]
    assert decoded.corrected.tolist() == [[0, 0], [FAILED, 1], [0, 1]]
    assert (decoded.data[[0, 2]] == frames[[0, 2]]).all()
    assert (decoded.data[1, 1::2] == frames[1, 1::2]).all()


def test_the_reference_engine_corrects_erasures() -> None:
    config = LinkCodeConfig(interleave=2, engine="reedsolo")
    code = ReedsoloLinkCode(config)
    frame = np.random.default_rng(5).integers(0, 256, (1, 446), np.uint8)
    wrong = code.encode_many(frame)
    erased = tuple(range(10, 60))  # 25 in each codeword, and three errors: 25 + 2 * 3 <= 32
    wrong[0, list(erased)] = 0
    wrong[0, [100, 102, 104]] ^= 0x10
    assert not code.decode_many(wrong).ok[0]
    decoded = code.decode_many(wrong, erased)
    assert decoded.ok[0]
    assert (decoded.data == frame).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 30))
def test_any_octets_are_decoded_or_failed(seed: int, count: int) -> None:
    config = LinkCodeConfig(interleave=2, fill_bytes=180, correctable=8)
    code = NumpyLinkCode(config)
    blocks = np.random.default_rng(seed).integers(0, 256, (count, config.block_bytes), np.uint8)
    decoded = code.decode_many(blocks)
    assert ((decoded.corrected >= FAILED) & (decoded.corrected <= 8)).all()
    again = code.encode_many(decoded.data[decoded.ok])
    distance = (again != blocks[decoded.ok]).sum(axis=1)
    assert (distance == decoded.corrected[decoded.ok].sum(axis=1)).all()


def test_single_blocks() -> None:
    code = link_code(LinkCodeConfig(interleave=4))
    frame = bytes(range(223)) * 4
    block = bytearray(encode_block(code, frame))
    assert len(block) == 1_020
    block[17] ^= 0xA0
    assert decode_block(code, block) == frame
    block[:400] = bytes(400)
    assert decode_block(code, block) is None


def test_frames_of_another_length_are_refused() -> None:
    code = NumpyLinkCode(LinkCodeConfig())
    with pytest.raises(LocalError, match="223"):
        code.encode_many(np.zeros((1, 222), np.uint8))
    with pytest.raises(LocalError, match="255"):
        code.decode_many(np.zeros((1, 254), np.uint8))


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("correctable", {"correctable": 12}),
        ("interleave", {"interleave": 0}),
        ("interleave", {"interleave": 9}),
        ("fill_bytes", {"fill_bytes": 223}),
        ("fill_bytes", {"fill_bytes": -1}),
        ("engine", {"engine": "magic"}),
    ],
)
def test_unusable_configurations_name_their_key(key: str, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        LinkCodeConfig(**values)
    assert caught.value.key == f"fec.{key}"
