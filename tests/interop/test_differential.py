"""Differential testing: disagreements are found, clustered, made minimal and labelled."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.differential import (
    Comparison,
    Disagreement,
    OurBundles,
    Program,
    Verdict,
    broken,
    disagreements,
    refused,
)
from interop.differential.__main__ import Options, run, saved
from interop.differential.bundle_cases import BundleCases, bundle, changed
from interop.differential.cfdp import OurPdus, PduCases
from interop.differential.labels import label_of, load_labels
from interop.differential.ltp import OurSegments, SegmentCases
from interop.differential.pyd3tn import Pyd3tn
from interop.differential.report import markdown, unlabelled
from interop.differential.tshark import Tshark
from interop.differential.tshark_bpv7 import BPV7
from interop.strategies.items import parse, repair_crcs
from stack.core.errors import DecodeError
from stack.wire.bundle import decode_bundle
from tests.interop.tshark import needs_tshark


class Takes:
    """Takes what a predicate says."""

    version = "1"

    def __init__(self, name: str, predicate: object, fields: object = None) -> None:
        self.name = name
        self._predicate = predicate
        self._fields = fields

    def read(self, encoded: bytes) -> Verdict:
        assert callable(self._predicate)
        if not self._predicate(encoded):
            return refused("number 17 is wrong at 0x2f", "RFC 0 §1")
        return Verdict(True, fields=self._fields(encoded) if callable(self._fields) else {})


def test_a_case_is_made_as_small_as_it_can_be() -> None:
    comparison = Comparison(
        [Takes("a", lambda data: b"\xfe" not in data), Takes("b", lambda _: True)]
    )
    noise = random.Random(3)
    comparison.feed([noise.randbytes(60) + b"\xfe" + noise.randbytes(60), b"\0", b"abc"])
    (key,) = comparison.clusters
    assert key == Disagreement("accepts", "b", "number N is wrong at N [RFC 0 §1]")
    comparison.minimise()
    assert comparison.clusters[key].smallest == b"\xfe"
    assert comparison.differing == 1


def test_each_way_to_differ_is_a_cluster_of_its_own() -> None:
    def first(data: bytes) -> dict[str, int]:
        return {"first": data[0]}

    class Breaks:
        name, version = "breaks", "1"

        def read(self, encoded: bytes) -> Verdict:
            return broken("ended by signal 11") if encoded == b"\x05" else Verdict(True)

    comparison = Comparison([
        Takes("a", lambda data: data != b"\x01", first),
        Takes("b", lambda data: data != b"\x02", first),
        Takes("c", lambda _: True, lambda data: {"first": min(data[0], 3), "other": 1}),
        Breaks(),
    ])  # fmt: skip
    comparison.feed([bytes((value,)) for value in range(6)])
    cause = "number N is wrong at N [RFC 0 §1]"
    found = {key: cluster.inputs for key, cluster in comparison.clusters.items()}
    assert found == {
        Disagreement("accepts", "b", cause): 1,
        Disagreement("accepts", "c", cause): 1,
        Disagreement("accepts", "breaks", cause): 1,
        Disagreement("refuses", "b", cause): 1,
        Disagreement("reads", "c", "first"): 2,
        Disagreement("breaks", "breaks", "ended by signal N"): 1,
    }


def test_a_decoder_that_forgets_crcs_is_found() -> None:
    class Forgets(OurBundles):
        def __init__(self) -> None:
            super().__init__()
            self.name = "forgets"

        def read(self, encoded: bytes) -> Verdict:
            try:
                item, end = parse(encoded)
                return super().read(repair_crcs(item).encode() + encoded[end:])
            except DecodeError:
                return super().read(encoded)

    comparison = Comparison([OurBundles(), Forgets()])
    cases = BundleCases("forgets")
    comparison.feed([cases.draw() for _ in range(200)])
    (key,) = [key for key in comparison.clusters if key.cause.startswith("CRC does not match")]
    comparison.minimise(25)
    case = comparison.clusters[key].smallest
    with pytest.raises(DecodeError, match="CRC does not match"):
        decode_bundle(case)
    assert len(case) < 80  # a primary block with three EIDs and its CRC, and a payload


@settings(max_examples=50)
@given(st.integers(0, 1 << 32), st.integers(0, 4))
def test_items_are_written_as_they_were_read(seed: int, changes: int) -> None:
    rng = random.Random(seed)
    tree = bundle(rng)
    for _ in range(changes):
        tree = changed(tree, rng)
    encoded = tree.encode()
    item, end = parse(encoded)
    assert item.encode() + encoded[end:] == encoded


@settings(max_examples=50)
@given(st.integers(0, 1 << 32))
def test_bundles_that_nothing_was_done_to_are_taken(seed: int) -> None:
    encoded = repair_crcs(bundle(random.Random(seed))).encode()
    assert OurBundles().read(encoded).reason == ""
    assert OurBundles(strict=False).read(encoded).accepted


@pytest.mark.parametrize("octets", [b"", b"\x1c", b"\x82\x01", b"\x9f", b"\x5f\x01", b"\x81" * 70])
def test_what_is_no_item_is_said_so(octets: bytes) -> None:
    with pytest.raises(DecodeError):
        parse(octets)


def test_a_seed_gives_the_same_again() -> None:
    first, second, other = BundleCases("x"), BundleCases("x"), BundleCases("y")
    drawn = [first.draw() for _ in range(50)]
    assert drawn == [second.draw() for _ in range(50)]
    assert drawn != [other.draw() for _ in range(50)]


def test_heads_that_are_too_long_are_refused_for_that() -> None:
    # Found by comparison: a head of two octets was read as one with 24 fields, and refused with a
    # reason that had nothing to do with it.
    good = "9f880700008202820101820282010182028201018200010585010100004100ff"
    for head in ("9808", "990008"):
        with pytest.raises(DecodeError, match="not in its shortest form"):
            decode_bundle(bytes.fromhex(good.replace("9f88", "9f" + head)))
    for head in ("9805", "9b0000000000000005"):
        with pytest.raises(DecodeError, match="not in its shortest form"):
            decode_bundle(bytes.fromhex(good.replace("058501", "05" + head + "01")))


def test_a_command_answers_by_its_exit_code() -> None:
    program = (
        "import os, sys; data = sys.stdin.buffer.read(); print('octet', data[:1], file=sys.stderr);"
        "os.kill(os.getpid(), 9) if data == b'k' else sys.exit(data != b'y')"
    )
    command = Program("own", [sys.executable, "-c", program])
    assert command.read(b"y").accepted
    assert command.read(b"n") == refused("octet b'n'")
    assert command.read(b"k") == broken("ended by signal 9")
    assert Program("none", ["/no/such/program"]).read(b"y").broke


def test_every_disagreement_with_ourselves_and_pyd3tn_is_labelled() -> None:
    pytest.importorskip("pyd3tn.bundle7")
    found = run("bpv7", Options(seed="labels", cases=700, only="orbitferry lenient,pyD3TN"))
    assert found is not None
    assert found["differing"] > 50
    assert [cluster["cause"] for cluster in unlabelled(found)] == []


def test_pyd3tn_has_other_names_for_block_flags() -> None:
    pytest.importorskip("pyd3tn.bundle7")
    key = Disagreement("reads", "pyD3TN", "discard if unprocessed")
    ours = repair_crcs(parse(bytes.fromhex(
        "9f89070001820282010182028201018202820101820101054200008501011000" "40ff"
    ))[0]).encode()  # fmt: skip
    comparison = Comparison([OurBundles(), Pyd3tn()])
    comparison.feed([ours])
    assert key in comparison.clusters
    label = label_of(key, load_labels("bpv7"))
    assert label is not None
    assert label.clause == "RFC 9171 §4.2.4"


@pytest.mark.peer
@needs_tshark
def test_an_input_that_ends_tshark_costs_only_its_own_verdict() -> None:
    good = [repair_crcs(bundle(random.Random(seed))).encode() for seed in range(40)]
    tshark = Tshark(BPV7)
    alone = tshark.read_many(good)
    # An array that ends before it began; some versions end with it.
    mixed = tshark.read_many([*good[:20], bytes.fromhex("86ff"), *good[20:]])
    assert mixed[:20] + mixed[21:] == alone
    assert not mixed[20].accepted
    assert sum(one.accepted for one in alone) > 20
    for encoded, verdict in zip(good, alone, strict=True):
        mine = OurBundles().read(encoded).fields
        if verdict.accepted:
            assert {**verdict.fields, **mine} == {**mine, **verdict.fields}


def test_segments_and_pdus_are_read_with_all_that_they_say() -> None:
    assert OurSegments().read(bytes.fromhex("03010500010003090a6869")).reason == "truncated data"
    found = OurSegments().read(bytes.fromhex("03010500010002090a6869"))
    assert found.fields == {
        "engine": 1, "session": 5, "header extensions": (), "trailer extensions": (),
        "client service": 1, "offset": 0, "length": 2, "checkpoint serial": 9,
        "answered report": 10,
    }  # fmt: skip
    pdu = OurPdus().read(bytes.fromhex("20000a0083e93e0410163733eff2685af9"))
    assert pdu.fields["condition"] == 1
    assert pdu.fields["file size"] == 0xF2685AF9


@pytest.mark.parametrize(
    ("cases", "reader"), [(SegmentCases, OurSegments()), (PduCases, OurPdus())]
)
def test_cases_of_other_protocols_come_again(
    cases: type[SegmentCases | PduCases], reader: OurSegments | OurPdus
) -> None:
    first, second = cases(5), cases(5)
    drawn = [first.draw() for _ in range(200)]
    assert drawn == [second.draw() for _ in range(200)]
    taken = sum(reader.read(one).accepted for one in drawn)
    assert 40 < taken < 190


@pytest.mark.peer
@needs_tshark
@pytest.mark.parametrize("protocol", ["ltp", "cfdp"])
def test_every_disagreement_with_tshark_is_labelled(protocol: str) -> None:
    found = run(protocol, Options(seed="labels", cases=500, only="tshark"))
    assert found is not None
    assert found["differing"] > 50
    if found["implementations"]["tshark"].startswith("4.0."):
        assert [cluster["cause"] for cluster in unlabelled(found)] == []


FOUND = Path(__file__).parents[2] / "docs/differential.json"


def test_the_page_says_what_was_found() -> None:
    every = saved(FOUND)
    assert [cluster["cause"] for one in every for cluster in unlabelled(one)] == []
    assert FOUND.with_suffix(".md").read_text("utf-8").endswith(markdown(every).rstrip() + "\n")


def test_the_minimal_cases_still_show_what_they_show() -> None:
    pyd3tn = pytest.importorskip("pyd3tn.bundle7")
    assert pyd3tn
    (bundles,) = [one for one in saved(FOUND) if one["protocol"] == "bpv7"]
    others = {one.name: one for one in (OurBundles(strict=False), Pyd3tn())}
    if bundles["implementations"]["pyD3TN"] != others["pyD3TN"].version:
        pytest.skip("the page is about another version of pyD3TN")
    checked = 0
    for cluster in bundles["clusters"]:
        if cluster["name"] in others:
            data = bytes.fromhex(cluster["case"])
            key = Disagreement(cluster["kind"], cluster["name"], cluster["cause"])
            theirs = {key.name: others[key.name].read(data)}
            assert key in disagreements(OurBundles().read(data), theirs), cluster
            checked += 1
    assert checked > 20
