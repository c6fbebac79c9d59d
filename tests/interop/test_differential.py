"""Differential testing: disagreements are found, clustered, made minimal and labelled."""

from __future__ import annotations

import json
import os
import random
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

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
from interop.differential import __main__ as command_line
from interop.differential.__main__ import DifferentialOptions, run, save, saved
from interop.differential.agent import agents
from interop.differential.bundle_cases import BundleCases, bundle, changed
from interop.differential.cfdp import OurPdus, PduCases
from interop.differential.command import commands
from interop.differential.compare import ACCEPTS, BLAMES, BREAKS, READS, REFUSES, SENDS
from interop.differential.demo_agent import DemoAgent
from interop.differential.labels import label_of, load_labels
from interop.differential.ltp import OurSegments, SegmentCases
from interop.differential.minimise import Least, minimise
from interop.differential.process import ask
from interop.differential.protocols import READERS, absent
from interop.differential.pyd3tn import Pyd3tn
from interop.differential.report import CHANGED, Found, markdown, unlabelled
from interop.differential.tcpcl import OurStreams, StreamCases
from interop.differential.tshark import Tshark
from interop.differential.tshark_bpv7 import BPV7
from interop.strategies.items import parse, repair_crcs
from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.wire.bundle import (
    CRC_32,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    decode_bundle,
    encode_bundle,
)
from stack.wire.tcpcl import (
    Message,
    SessionInit,
    TransferAck,
    TransferSegment,
    encode_message,
    transfer_length,
)
from tests.interop.tshark import needs_tshark

IPN = Eid.parse("ipn:1.1")


def small(sequence: int = 1, created: int = 1, lifetime: int = 1) -> bytes:
    """A right bundle."""
    primary = PrimaryBlock(IPN, IPN, IPN, created, sequence, lifetime, 0, CRC_32)
    return encode_bundle(Bundle(primary, (CanonicalBlock(1, 1, 0, b"x"),)))


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
    assert comparison.clusters[key].minimal
    assert comparison.clusters[key].verdicts == {"a": "number 17 is wrong at 0x2f", "b": "taken"}
    assert comparison.differing == 1


def test_making_cases_small_goes_on_however_often_it_is_told() -> None:
    told: list[Least] = []

    def does(pairs: Sequence[tuple[str, bytes]]) -> list[bool]:
        return [one.count(b"\xfe"[0]) > 2 for _, one in pairs]

    begin = {"few": random.Random(4).randbytes(40) + b"\xfe" * 3}
    least = minimise(begin, does, 400, lambda _: 1, tell=lambda all_: told.append(all_["few"]))
    assert least["few"] == Least(b"\xfe" * 3, True)
    assert len(told) > 1
    assert not told[0].minimal
    assert minimise({"none": b"abc"}, does, 400) == {"none": Least(b"abc", False)}


def test_of_what_is_slow_only_what_is_simpler_by_much_is_tried() -> None:
    asked: list[int] = []

    def does(pairs: Sequence[tuple[str, bytes]]) -> list[bool]:
        asked.extend(len(one) for _, one in pairs)
        return [one.count(b"\xfe"[0]) >= 1_000 for _, one in pairs]

    begin = {"deep": b"ab" * 600 + b"\xfe" * 3_000}
    (least,) = minimise(begin, does, 400, lambda _: 2, lambda _: True).values()
    assert least.minimal
    assert 1_000 <= len(least.best) < 1_100  # but for what is less than a sixteenth
    assert len(asked) < 200


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


def test_what_goes_out_and_what_a_refusal_is_about_are_compared() -> None:
    right = small()

    class Sends(OurBundles):
        def __init__(self, name: str, change: Callable[[bytes], bytes]) -> None:
            super().__init__()
            self.name = name
            self._change = change

        def read(self, encoded: bytes) -> Verdict:
            verdict = super().read(encoded)
            if verdict.sent is None:
                return refused("Block failed CRC")
            return replace(verdict, sent=self._change(verdict.sent))

    def reopened(encoded: bytes) -> bytes:
        item, _ = parse(encoded)
        last = item.items[-1]
        opened = replace(last, argument=0, extra=0, indefinite=True)
        return replace(item, items=(*item.items[:-1], opened)).encode()

    comparison = Comparison([
        OurBundles(), Sends("same", bytes), Sends("cut", lambda data: data[:-1]),
        Sends("otherwise", reopened), Sends("aged", lambda _: small(lifetime=2)),
    ])  # fmt: skip
    comparison.feed([right])
    others = ("same", "cut", "otherwise", "aged")
    assert set(comparison.clusters) == {
        Disagreement("sends", "cut", "truncated bundle [RFC 9171 §4.1]"),
        Disagreement("sends", "otherwise", "other octets that say the same"),
        Disagreement("sends", "aged", "primary block"),
        Disagreement("sends", "aged", "lifetime"),
    }
    comparison.feed([right.replace(b"\x07", b"\x06", 1)])
    assert {key.cause for key in comparison.clusters if key.kind == "blames"} == {
        "the version; the CRC"
    }
    assert {key.name for key in comparison.clusters if key.kind == "blames"} == set(others)


def test_what_we_send_on_is_what_came() -> None:
    cases, ours = BundleCases("again"), OurBundles()
    drawn = [cases.draw() for _ in range(300)]
    verdicts = [(one, ours.read(one)) for one in drawn]
    assert sum(verdict.accepted for _, verdict in verdicts) > 50
    assert all(one == verdict.sent for one, verdict in verdicts if verdict.accepted)


@pytest.mark.slow
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


def test_a_program_may_want_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "ud3tndecode"
    tool.write_text(
        f"#!{sys.executable}\nimport sys\n"
        "kind, name = sys.argv[1:]\n"
        "assert kind == '-7'\n"
        "sys.exit(open(name, 'rb').read() != b'y' and 'Failed parsing file as BPv7 bundle.')\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ORBITFERRY_DIFFERENTIAL", "own=true; other = false")
    found = {one.name: one for one in commands()}
    assert list(found) == ["µD3TN", "own", "other "]
    assert found["µD3TN"].read(b"y").accepted
    assert found["µD3TN"].read(b"n") == refused("Failed parsing file as BPv7 bundle.")
    monkeypatch.setenv("ORBITFERRY_DIFFERENTIAL", "nothing")
    with pytest.raises(ValueError, match="name=command"):
        list(commands())


@pytest.mark.slow
def test_what_hangs_is_ended_by_its_time_of_processor() -> None:
    hung = ask([sys.executable, "-c", "while True: pass"], b"", cpu_s=1)
    assert hung.end == "no answer in 1 s of processor time"


@pytest.mark.slow
def test_a_process_ends_when_who_asked_is_killed(tmp_path: Path) -> None:
    # What reads or writes ends with its pipes, what computes with its time of processor.
    told = tmp_path / "told"
    os.mkfifo(told)
    child = f"import os; open({str(told)!r}, 'w').write(str(os.getpid()))\nwhile True: pass"
    parent = (
        "import sys; from interop.differential.process import ask;"
        f"ask([sys.executable, '-c', {child!r}], b'', cpu_s=1)"
    )
    with subprocess.Popen([sys.executable, "-c", parent]) as process:
        ended = os.pidfd_open(int(told.read_text()))
        process.kill()
        assert select.select([ended], [], [], 60)[0]
        os.close(ended)


class Forwarder:
    """Sends on what a predicate takes, as an agent with one route would."""

    def __init__(self, takes: Callable[[bytes], bool]) -> None:
        self._in = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._in.bind(("127.0.0.1", 0))
        self._takes = takes
        self.port = self._in.getsockname()[1]
        self.to: tuple[str, int] | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while data := self._in.recv(65_536):
            assert self.to
            if self._takes(data):
                self._in.sendto(data, self.to)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._in.close()


def test_an_agent_that_forwards_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = OurBundles()
    forwarder = Forwarder(lambda data: ours.read(data).accepted)
    monkeypatch.setenv(
        "ORBITFERRY_DIFFERENTIAL_AGENTS", f"ION=127.0.0.1:{forwarder.port},127.0.0.1:0"
    )
    (agent,) = agents()
    forwarder.to = agent.place
    never = small(created=1 << 50)
    try:
        assert agent.read(never) == Verdict(True, sent=never)
        assert agent.read(never[:-1]) == refused("it is not sent on")
        assert agent.read(small()) is None  # it has expired
    finally:
        forwarder.close()
        agent.close()
    monkeypatch.setenv("ORBITFERRY_DIFFERENTIAL_AGENTS", "ION=127.0.0.1:4556")
    with pytest.raises(ValueError, match="host:port,host:port"):
        list(agents())


def test_encodings_of_dtn_demo_agent_are_asked_where_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ImportError):
        DemoAgent()

    class TheirBundle:
        def __init__(self, encoded: bytes) -> None:
            self._bundle, _ = decode_bundle(encoded)

        def check_all_crc(self) -> set[int]:
            return {0} if not self._bundle.primary.sequence else set()

        def __bytes__(self) -> bytes:
            return encode_bundle(self._bundle)

    modules = {
        "scapy_cbor": SimpleNamespace(),
        "bp": SimpleNamespace(),
        "bp.encoding": SimpleNamespace(Bundle=TheirBundle),
        "scapy": SimpleNamespace(),
        "scapy.config": SimpleNamespace(conf=SimpleNamespace(debug_dissector=False)),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    theirs = DemoAgent()
    right = [small(1), small(0)]
    assert theirs.read(right[0]) == Verdict(True, sent=right[0])
    assert theirs.read(right[1]) == refused("CRC does not match")
    assert theirs.read(b"\x9f").reason.startswith("DecodeError")
    assert modules["scapy.config"].conf.debug_dissector


def test_who_is_not_here_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert run("ltp", DifferentialOptions(cases=10)) is None
    assert capsys.readouterr().err == (
        "ltp: not asked, for they are not here: tshark (apt install tshark)\n"
    )
    known = absent(READERS["bpv7"], ["pyD3TN", "CDDL", "tshark"])
    assert known.startswith("dtn7-rs (bp7 on PATH), hardy (bundle on PATH), µD3TN (ud3tndecode on")


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_from_what_it_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "BATCH", 50)
    options = DifferentialOptions(seed="stopped", cases=130, only="orbitferry lenient")
    whole = run("bpv7", options)
    kept: list[Found] = []

    def keep(one: Found) -> None:
        kept.append(json.loads(json.dumps(one)))
        if len(kept) % 2 == 0:
            raise KeyboardInterrupt

    while True:
        try:
            ended = run("bpv7", options, kept[-1] if kept else None, keep)
        except KeyboardInterrupt:
            continue
        break
    assert json.loads(json.dumps(ended)) == json.loads(json.dumps(whole))
    assert whole
    assert whole["inputs"] == 130
    file = tmp_path / "found.json"
    save(file, [whole])
    assert saved(file) == json.loads(json.dumps([whole]))
    with pytest.raises(ValueError, match="compared were"):
        run("bpv7", options, {**whole, "implementations": {}})


@pytest.mark.slow
def test_every_disagreement_with_ourselves_and_pyd3tn_is_labelled() -> None:
    pytest.importorskip("pyd3tn.bundle7")
    found = run(
        "bpv7", DifferentialOptions(seed="labels", cases=700, only="orbitferry lenient,pyD3TN")
    )
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


@pytest.mark.slow
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


STAND_IN = """#!{python}
import os, sys
if "--version" in sys.argv:
    sys.exit(print("TShark 9.9.9"))
asked = [sys.argv[n + 1] for n, word in enumerate(sys.argv) if word == "-e"]
packets = sys.stdin.buffer.read().split(b"bundle")[1:]
shown = []
for number, packet in enumerate(packets, 1):
    if packet[:4] == b"ends":
        # The last rows are with the process still, as they are where a pipe is not flushed.
        sys.stdout.write("".join(row + "\\n" for row in shown[:-3]))
        sys.stdout.flush()
        os.abort()
    if packet[:4] == b"many" and len(packets) > 1:
        os.abort()
    values = {{"frame.number": str(number), "bpv7.primary.version": "7"}}
    values["bpv7.primary.lifetime"] = str(packet[4])
    shown.append("\\x1e".join(values.get(name, "") for name in asked))
print(*shown, sep="\\n")
"""
"""Ends at one input, with rows that nobody has seen; or at one that is harmless alone."""


@pytest.mark.slow
def test_only_an_input_that_ends_a_process_by_itself_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "tshark"
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    inputs = [b"bundlegood" + bytes((number,)) for number in range(12)]
    inputs[6] = b"bundleends\x06"
    inputs[9] = b"bundlemany\x09"
    verdicts = Tshark(BPV7).read_many(inputs)
    assert [number for number, one in enumerate(verdicts) if one.broke] == [6]
    lifetimes = [one.fields.get("lifetime") for one in verdicts]
    assert lifetimes == [*range(6), None, *range(7, 12)]


def test_segments_and_pdus_are_read_with_all_that_they_say() -> None:
    assert OurSegments().read(bytes.fromhex("03010500010003090a6869")).reason == "truncated data"
    found = OurSegments().read(bytes.fromhex("03010500010002090a6869"))
    assert found.fields == {
        "engine": 1, "session": 5, "header extensions": (), "trailer extensions": (),
        "client service": 1, "offset": 0, "length": 2, "checkpoint serial": 9,
        "answered report": 10,
    }  # fmt: skip
    old = OurStreams().read(bytes.fromhex("64746e210301000000311302ab0c207f31"))
    assert old.fields == {
        "version": 3, "contact flags": 1, "node id": "", "keepalive": (0,),
        "messages": (3, 1, 2, 3), "segment flags": (3,), "segment lengths": (2,),
        "acknowledged lengths": (127,), "refusal reasons": (1, 1),
    }  # fmt: skip
    contact = bytes.fromhex("64746e210401")
    init = SessionInit(keepalive_s=9, segment_mru=1, transfer_mru=2, node_id="ipn:1.0")
    segment = TransferSegment(transfer=7, flags=2, data=b"xy", extensions=(transfer_length(5),))
    ack = TransferAck(transfer=7, flags=2, acked_bytes=2)
    said: tuple[Message, ...] = (init, segment, ack)
    new = OurStreams().read(contact + b"".join(map(encode_message, said)))
    assert new.fields == {
        "version": 4, "contact flags": 1, "messages": (7, 1, 2), "node id": "ipn:1.0",
        "keepalive": (9,), "segment MRU": (1,), "transfer MRU": (2,), "transfers": (7, 7),
        "segment flags": (2, 2), "segment lengths": (2,), "acknowledged lengths": (2,),
        "refusal reasons": (), "end flags": (), "end reasons": (), "reject reasons": (),
        "rejected": (), "session extensions": (), "transfer extensions": (1,),
    }  # fmt: skip
    pdu = OurPdus().read(bytes.fromhex("20000a0083e93e0410163733eff2685af9"))
    assert pdu.fields["condition"] == 1
    assert pdu.fields["file size"] == 0xF2685AF9


@pytest.mark.parametrize(
    ("reader", "encoded", "trait"),
    [
        (OurSegments(), "0e0000200000ac0900000000000000000000", "header extensions"),
        (OurSegments(), "0c0000010000020028", "trailer extensions"),
        (OurSegments(), "0d002c00", "a segment without content"),
        (OurSegments(), "083eff7f003e97268b543c00", "a report without claims"),
        (OurSegments(), "0900818080808080808080000075", "a number over 56 bits"),
        (OurSegments(), "090000008007", "a number with leading zeros"),
        (OurSegments(), "0801875d00a23bc41edc84d1e403dc84d1da2601874b8208", "a bound over 31 bits"),
        (OurSegments(), "03010500010002090a6869", ""),
        (OurPdus(), "210009000000000c00000000000000f3", "the large file flag"),
        (OurPdus(), "20000a0083e93e0410163733eff2685af9", ""),
    ],
)
def test_what_others_stumble_over_is_part_of_the_cause(
    reader: OurSegments | OurPdus, encoded: str, trait: str
) -> None:
    ours = reader.read(bytes.fromhex(encoded))
    assert ours.trait == trait
    field = next(iter(ours.fields))
    others = {"refuses": refused("Malformed"), "reads": Verdict(True, fields={field: -1})}
    told = f" ({trait})" if trait else ""
    assert {one.cause for one in disagreements(ours, others)} == {
        f"Malformed{told}", f"{field}{told}"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("cases", "reader"),
    [(SegmentCases, OurSegments()), (PduCases, OurPdus()), (StreamCases, OurStreams())],
)
def test_cases_of_other_protocols_come_again(
    cases: type[SegmentCases | PduCases | StreamCases], reader: OurSegments | OurPdus | OurStreams
) -> None:
    first, second = cases(5), cases(5)
    drawn = [first.draw() for _ in range(200)]
    assert drawn == [second.draw() for _ in range(200)]
    taken = sum(reader.read(one).accepted for one in drawn)
    assert 40 < taken < 190


@pytest.mark.slow
@pytest.mark.peer
@needs_tshark
@pytest.mark.parametrize("protocol", ["ltp", "cfdp", "tcpcl"])
def test_every_disagreement_with_tshark_is_labelled(protocol: str) -> None:
    found = run(protocol, DifferentialOptions(seed="labels", cases=500, only="tshark"))
    assert found is not None
    assert found["differing"] > 50
    if found["implementations"]["tshark"].startswith("4.0."):
        assert [cluster["cause"] for cluster in unlabelled(found)] == []


@pytest.mark.parametrize("kind", [ACCEPTS, REFUSES, READS, SENDS, BLAMES, BREAKS])
@pytest.mark.parametrize("protocol", list(READERS))
def test_what_nobody_has_seen_yet_has_no_label(protocol: str, kind: str) -> None:
    """A label for whatever there is would say of a new fault that it is known."""
    labels = load_labels(protocol)
    new = ["something new"]
    if protocol == "cfdp":
        new += [
            "something new [CCSDS 727.0-B-5 §5.2.5]",
            "something new (the large file flag)",
            "something new (a TLV of an unknown type)",
            "something new; what follows",
        ]
    for cause in new:
        for name in ("tshark", "spacepackets"):
            assert label_of(Disagreement(kind, name, cause), labels) is None, cause


FOUND = Path(__file__).parents[2] / "docs/differential.json"


def test_the_page_says_what_was_found() -> None:
    every = saved(FOUND)
    assert [cluster["cause"] for one in every for cluster in unlabelled(one)] == []
    assert FOUND.with_suffix(".md").read_text("utf-8").endswith(markdown(every).rstrip() + "\n")


@pytest.mark.slow
def test_a_record_says_when_its_seed_gives_other_inputs(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    every = json.loads(FOUND.read_text("utf-8"))
    assert not any("changed" in one for one in saved(FOUND)), (
        "run them again, or show the page anew"
    )
    every[0]["fingerprint"] = "0" * 64
    save(path, every)
    first, *others = saved(path)
    assert markdown([first]).count(CHANGED) == 1
    assert CHANGED not in markdown(others)
    with pytest.raises(ValueError, match="gives other inputs"):
        run("bpv7", DifferentialOptions(seed=every[0]["seed"]), before=every[0])


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
            ours = OurBundles()
            assert key in disagreements(ours.read(data), theirs, ours.read), cluster
            checked += 1
    assert checked > 20
