"""Cases made smaller, and what is kept of a campaign."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.fuzzing import Campaign, CaseStream, Course, Finding, Folder, TargetOptions, read_case
from interop.fuzzing.cases import Case
from interop.fuzzing.findings import ROUNDS_MAX, smaller
from interop.fuzzing.protocols import known
from interop.fuzzing.python import PythonTarget
from interop.strategies import Violation, encoded_bundles
from stack.core.errors import ConfigError, DecodeError
from stack.wire.bundle import HOP_COUNT, decode_bundle


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.data())
def test_what_is_left_is_what_it_takes(messages: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(messages) - 1))
    messages[at] += b"\xfe\xdc"
    runs = 0

    def same(given: tuple[bytes, ...]) -> bool:
        nonlocal runs
        runs += 1
        return any(b"\xfe\xdc" in one for one in given)

    assert smaller(tuple(messages), same) == (b"\xfe\xdc",)
    assert runs <= ROUNDS_MAX


def test_a_case_that_is_never_the_same_stays_as_it_is() -> None:
    assert smaller((b"abc", b"d"), lambda given: False) == (b"abc", b"d")


def test_of_a_bundle_only_the_block_is_left_that_does_it() -> None:
    """Blocks, names and numbers go, although the reader wants every CRC right."""

    def fails(given: tuple[bytes, ...]) -> bool:
        try:
            bundle, _ = decode_bundle(b"".join(given))
        except DecodeError:
            return False
        return any(block.type == HOP_COUNT for block in bundle.blocks)

    maker = encoded_bundles.maker(crc_types=(1, 2), kind="whole")
    cases = [one for one in itertools.islice(maker.cases(1), 60) if fails((one,))]
    assert len(cases) > 5
    for one in cases:
        (least,) = smaller((one,), fails, cbor=True)
        # The source keeps a name: a bundle of nobody may not be fragmented.
        assert len(least) <= 90 < len(one), least.hex()


findings = st.builds(
    Finding,
    st.sampled_from(["crash", "hang", "growth", "accepts", "refuses"]),
    st.text(max_size=20),
    st.text(max_size=20),
    st.lists(st.binary(max_size=20), max_size=3).map(tuple),
    st.none() | st.builds(Violation, st.text(min_size=1, max_size=9), st.text(max_size=9)),
    st.integers(1, 9),
    st.booleans(),
)


@given(findings)
def test_a_finding_comes_back_from_its_file(finding: Finding) -> None:
    assert Finding.from_json(json.loads(json.dumps(finding.to_json()))) == finding


def test_what_was_made_smaller_until_the_time_was_over_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decode(data: bytes) -> None:
        if b"\x03" in data:
            raise KeyError("three")

    clock = SimpleNamespace(monotonic=itertools.count().__next__)
    monkeypatch.setattr("interop.fuzzing.campaign.time", clock)
    target = PythonTarget("toy", decode, TargetOptions())
    campaign = Campaign(target, CaseStream(known("raw"), 1, [b"x"]))
    target.open()
    try:
        campaign.feed(Case((bytes(100) + b"\x03" + bytes(99),), "valid"))
    finally:
        target.close()
    (found,) = campaign.course.findings.values()
    assert found.repeats
    assert 1 < found.octets < 100


def test_a_folder_goes_on_from_where_it_was(tmp_path: Path) -> None:
    wrong = b"\x03"

    def decode(data: bytes) -> None:
        if data[:1] == wrong:
            raise KeyError("three")

    def campaign(seed: int, cases: int) -> Course:
        folder = Folder(tmp_path / "campaign")
        target = PythonTarget("toy", decode, TargetOptions())
        made = CaseStream(known("raw"), seed, [b"\x01\x02", *folder.corpus()])
        return Campaign(target, made, folder).run(lambda tally: tally.cases < cases)

    first = campaign(1, 600)
    (found,) = first.findings.values()
    assert found.messages == (b"\x03",)
    again = campaign(2, 600)
    assert again.findings[found.id].times > found.times
    assert campaign(3, 0).findings, "it is as it was"
    path = tmp_path / "campaign" / "findings" / f"{found.id}.json"
    assert read_case(path) == (b"\x03",)
    (tmp_path / "campaign" / "findings" / "odd.json").write_text("{")
    assert [one.id for one in Folder(tmp_path / "campaign").findings()] == [found.id]
    with pytest.raises(ConfigError, match="is no finding"):
        read_case(tmp_path / "campaign" / "findings" / "odd.json")
    wrong = b"\x04"
    assert not campaign(4, 0).findings, "it is mended"
    assert not path.exists()


def test_octets_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "case.bin").write_bytes(b"\x81\x00")
    assert read_case(tmp_path / "case.bin") == (b"\x81\x00",)
    with pytest.raises(ConfigError, match="No such file"):
        read_case(tmp_path / "none.bin")
