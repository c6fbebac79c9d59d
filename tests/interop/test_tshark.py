"""tshark takes apart what we send, finds nothing wrong with it, and reads the values we put in.

It checks the CRCs of bundles and the structure of BPSec, LTP and CFDP; it holds no keys.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from interop.pcap import (
    LINKTYPE_ETHERNET,
    LINKTYPE_RAW,
    LINKTYPE_UPPER_PDU,
    capture,
    exported_pdu,
    udp_between,
)
from interop.strategies.bundle import bundles, status_reports
from interop.strategies.cfdp import pdus
from interop.strategies.ltp import report_segments
from interop.vectors import load
from stack.core.eid import Eid
from stack.security import BpSec, Key, KeyRing, SecurityPolicy
from stack.wire.bundle import (
    ACK_REQUESTED,
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    CRC_16,
    CRC_32,
    IS_ADMIN,
    IS_FRAGMENT,
    NO_FRAGMENT,
    REPORT_ANY,
    STATUS_TIME,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    StatusReport,
    bundle_age,
    encode_bundle,
    encode_status_report,
    fragment_bundle,
    hop_count,
    previous_node,
    priority_block,
)
from stack.wire.cfdp import (
    Ack,
    Directive,
    Eof,
    FileData,
    Finished,
    KeepAlive,
    Metadata,
    Nak,
    Pdu,
    Prompt,
    encode_pdu,
)
from stack.wire.ltp import (
    CancelAck,
    CancelSegment,
    Claim,
    DataSegment,
    ReportAck,
    ReportSegment,
    Segment,
    SegmentType,
    SessionId,
    encode_segment,
)
from tests.interop.tshark import Dissection, dissect_capture, needs_tshark

pytestmark = [pytest.mark.peer, needs_tshark]

UNKNOWN = "Unknown type code"
"""Said of every payload that no dissector is registered for, and of private block types."""

RUNS = settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
"""Each example is a capture of dozens of packets, since to start tshark costs as much as to read
thousands; for the same reason nothing is shrunk."""

GROUND = Eid.parse("dtn://gs1/files")
SATELLITE = Eid.parse("ipn:5.3")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def dissect_bundles(home: Path, octets: list[bytes]) -> list[Dissection]:
    packets = [exported_pdu(encoded, "bpv7") for encoded in octets]
    found = dissect_capture(capture(packets, LINKTYPE_UPPER_PDU), home)
    assert len(found) == len(octets)
    for each in found:
        assert "bpv7" in each.protocols
        assert each.faults == []
    return found


def check_bundle_fields(found: Dissection, bundle: Bundle) -> None:
    """What tshark shows of a bundle is what is in it."""
    primary = bundle.primary
    assert [int(flags, 16) for flags in found.values("bpv7.primary.bundle_flags")] == [
        primary.flags
    ]
    assert found.values("bpv7.primary.dst_uri") == [_uri(primary.destination)]
    assert found.values("bpv7.primary.src_uri") == [_uri(primary.source)]
    assert found.values("bpv7.primary.report_uri") == [_uri(primary.report_to)]
    assert found.values("bpv7.create_ts.seqno")[0] == str(primary.sequence)
    assert found.values("bpv7.time.dtntime")[0] == str(primary.creation_ms)
    assert found.values("bpv7.primary.lifetime") == [str(primary.lifetime_ms)]
    if primary.flags & IS_FRAGMENT:
        assert found.values("bpv7.primary.frag_offset") == [str(primary.fragment_offset)]
        assert found.values("bpv7.primary.total_len") == [str(primary.total_adu_length)]
    numbers = [str(block.number) for block in bundle.blocks]
    assert found.values("bpv7.canonical.block_num") == numbers
    types = [str(block.type) for block in bundle.blocks]
    assert found.values("bpv7.canonical.type_code") == types
    sizes = [str(len(block.data)) for block in bundle.blocks]
    assert found.values("bpv7.canonical.data") == sizes
    crc_types = [primary.crc_type, *(block.crc_type for block in bundle.blocks)]
    assert [int(kind) for kind in found.values("bpv7.crc_type")] == crc_types
    # `faults` says that each of these is good
    assert len(found.values("bpv7.crc_status")) == sum(map(bool, crc_types))


def _uri(eid: Eid) -> str:
    """tshark 4.0 knows the two-part form of ipn EIDs only (RFC 9758 came later)."""
    if isinstance(eid.ssp, tuple):
        allocator, node, service = eid.ssp
        return f"ipn:{allocator << 32 | node}.{service}"
    return str(eid)


# ---------------------------------------------------------------------------------- bundles


def sample(
    payload: bytes = b"hello",
    *,
    crc: int = CRC_32,
    flags: int = NO_FRAGMENT | ACK_REQUESTED | STATUS_TIME | REPORT_ANY,
) -> Bundle:
    primary = PrimaryBlock(
        SATELLITE, GROUND, GROUND, 820_540_800_000, 3, 7_200_000, flags, crc or CRC_16
    )
    return Bundle(
        primary,
        (
            previous_node(GROUND.node, crc_type=crc),
            bundle_age(1500, crc_type=crc),
            hop_count(30, 2, crc_type=crc),
            priority_block(4, crc_type=crc),
            CanonicalBlock(1, 1, 0, payload, crc),
        ),
    )


def test_every_block_type_with_every_crc(home: Path) -> None:
    samples = [sample(crc=crc) for crc in (0, CRC_16, CRC_32)]
    for found, bundle in zip(
        dissect_bundles(home, [encode_bundle(each) for each in samples]), samples, strict=True
    ):
        check_bundle_fields(found, bundle)
        assert found.values("bpv7.previous_node.uri") == ["dtn://gs1/"]
        assert found.values("bpv7.bundle_age.time") == ["1500"]
        assert found.values("bpv7.hop_count.limit") == ["30"]
        assert found.values("bpv7.hop_count.current") == ["2"]
        assert set(found.remarks) == {UNKNOWN}


def test_a_wrong_crc_would_be_seen(home: Path) -> None:
    encoded = bytearray(encode_bundle(sample(b"hello")))
    encoded[encoded.index(b"hello")] ^= 1
    (found,) = dissect_capture(capture([exported_pdu(encoded, "bpv7")], LINKTYPE_UPPER_PDU), home)
    assert found.values("bpv7.crc_status") == ["1"] * 5 + ["0"]
    assert found.faults


def test_fragments(home: Path) -> None:
    pieces = fragment_bundle(sample(bytes(range(256)) * 4, flags=0), 400)
    assert len(pieces) > 2
    found = dissect_bundles(home, [encode_bundle(piece) for piece in pieces])
    for each, piece in zip(found, pieces, strict=True):
        check_bundle_fields(each, piece)


def test_a_status_report(home: Path) -> None:
    report = StatusReport(
        GROUND,
        820_540_800_000,
        3,
        received=True,
        deleted=True,
        time_ms=820_540_801_000,
        reason=1,
    )
    encoded = encode_bundle(sample(encode_status_report(report), flags=IS_ADMIN))
    (found,) = dissect_bundles(home, [encoded])
    assert "bpv7.status_rep" in found.protocols
    assert found.values("bpv7.status_assert.val") == ["1", "0", "0", "1"]
    assert found.values("bpv7.status_rep.reason_code") == ["1"]
    assert found.values("bpv7.status_rep.subj_src_uri") == ["dtn://gs1/files"]
    assert found.values("bpv7.time.dtntime")[1:] == [
        "820540801000",
        "820540801000",
        "820540800000",
    ]
    assert found.remarks == [UNKNOWN]


def _subject(report: StatusReport) -> object:
    """tshark 4.0 follows reports to their bundles, and crashes on too many about one bundle."""
    return report.source, report.creation_ms, report.sequence


@pytest.mark.slow
@RUNS
@given(reports=st.lists(status_reports(), min_size=20, max_size=40, unique_by=_subject))
def test_any_status_reports(home: Path, reports: list[StatusReport]) -> None:
    octets = [
        encode_bundle(sample(encode_status_report(report), flags=IS_ADMIN)) for report in reports
    ]
    for found, report in zip(dissect_bundles(home, octets), reports, strict=True):
        flags = (report.received, report.forwarded, report.delivered, report.deleted)
        assert found.values("bpv7.status_assert.val") == [str(int(flag)) for flag in flags]
        assert found.values("bpv7.status_rep.reason_code") == [str(report.reason)]
        assert found.values("bpv7.status_rep.subj_src_uri") == [_uri(report.source)]
        # tshark 4.0 leaves the two numbers of a fragment aside, and says so.
        fragment = report.fragment_offset is not None
        assert ("Data not fully dissected" in found.remarks) == fragment


def _dissectable(bundle: Bundle) -> Bundle:
    """Random octets are no security block or administrative record, and are shown as such.  Of a
    data unit beyond 32 bits tshark says "Cannot defragment this size (wireshark limitation)"."""
    primary = replace(bundle.primary, flags=bundle.primary.flags & ~IS_ADMIN)
    if primary.fragment_offset is not None and primary.total_adu_length is not None:
        excess = primary.fragment_offset & ~0xFFFFFF
        primary = replace(
            primary,
            fragment_offset=primary.fragment_offset - excess,
            total_adu_length=primary.total_adu_length - excess,
        )
    blocks = (
        replace(block, type=block.type + 2)
        if block.type in (BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY)
        else block
        for block in bundle.blocks
    )
    return Bundle(primary, tuple(blocks))


@pytest.mark.slow
@RUNS
@given(drawn=st.lists(bundles().map(_dissectable), min_size=30, max_size=60))
def test_any_bundles(home: Path, drawn: list[Bundle]) -> None:
    found = dissect_bundles(home, [encode_bundle(bundle) for bundle in drawn])
    for each, bundle in zip(found, drawn, strict=True):
        check_bundle_fields(each, bundle)


# ------------------------------------------------------------------------------------ BPSec


def protected(payload: bytes, variant: int, scope: int, crc: int) -> Bundle:
    counter = itertools.count(1)
    keys = KeyRing((Key("aes", "aes", bytes(range(32))), Key("mac", "hmac", bytes(range(48)))))
    policy = SecurityPolicy(sha_variant=variant, scope=scope, sign_for=("*",))
    security = BpSec(keys, lambda n: next(counter).to_bytes(n, "big"), policy)
    return security.protect(sample(payload, crc=crc))


def test_protected_bundles(home: Path) -> None:
    cases = [
        (variant, scope, crc) for variant in (5, 6, 7) for scope in (0, 5, 7) for crc in (0, 2)
    ]
    samples = [protected(b"secret" * 9, *case) for case in cases]
    octets = [encode_bundle(bundle) for bundle in samples]
    for found, bundle, (_, scope, _) in zip(
        dissect_bundles(home, octets), samples, cases, strict=True
    ):
        check_bundle_fields(found, bundle)
        # The BIB is encrypted, so tshark can only take the two BCBs apart.
        assert found.protocols.count("bpsec.bcb") == 2
        assert found.values("bpsec.asb.ctxid") == ["2", "2"]
        assert found.values("bpsec.asb.secsrc.uri") == ["dtn://gs1/files"] * 2
        numbers = {block.type: str(block.number) for block in bundle.blocks}
        assert found.values("bpsec.asb.target") == ["1", numbers[BLOCK_INTEGRITY]]
        assert [len(iv.split(":")) for iv in found.values("bpsec.defaultsc.iv")] == [12, 12]
        assert found.values("bpsec.defaultsc.aesvar") == ["3", "3"]
        assert {int(flags, 0) for flags in found.values("bpsec.defaultsc.scope")} == {scope}
        remarks = {remark.rstrip(" 0123456789") for remark in found.remarks}
        assert remarks <= {UNKNOWN, "Block is targed by BCB block number"}


def test_examples_of_rfc_9173(home: Path) -> None:
    """So that the test above means something: also BIBs that are not encrypted."""
    octets = [vector.data for vector in load("bpsec_rfc9173") if vector.kind == "bundle"]
    found = dissect_bundles(home, octets)
    protocols = [name for each in found for name in each.protocols]
    assert protocols.count("bpsec.bib") >= 3
    assert protocols.count("bpsec.bcb") >= 3


# -------------------------------------------------------------------------------------- LTP

LINKS = [
    (LINKTYPE_RAW, "192.0.2.1", "192.0.2.2"),
    (LINKTYPE_ETHERNET, "192.0.2.1", "192.0.2.2"),
    (LINKTYPE_RAW, "2001:db8::1", "2001:db8::2"),
    (LINKTYPE_ETHERNET, "2001:db8::1", "2001:db8::2"),
]


def dissect_segments(
    home: Path, octets: list[bytes], link: tuple[int, str, str] = LINKS[0]
) -> list[Dissection]:
    linktype, source, destination = link
    packets = [
        udp_between((source, 1113), (destination, 1113), encoded, linktype=linktype)
        for encoded in octets
    ]
    found = dissect_capture(capture(packets, linktype), home)
    assert len(found) == len(octets)
    for each in found:
        assert each.faults == []
        assert each.values("udp.checksum.status") == ["1"]
        assert each.protocols.count("ltp") == 1
        assert "fake-field-wrapper" not in each.protocols  # octets that LTP left over
    return found


def data(
    number: int, kind: int, octets: bytes, *, offset: int = 0, client: int = 1, report: int = 0
) -> DataSegment:
    return DataSegment(
        session=SessionId(7, number),
        kind=SegmentType(kind),
        client_service=client,
        offset=offset,
        data=octets,
        checkpoint_serial=9 if 1 <= kind <= 3 else 0,
        report_serial=report,
    )


SESSION = SessionId(70_000, 5000)
BLOCK = encode_bundle(sample(b"payload" * 20))

SEGMENTS: list[Segment] = [
    data(1, 0, BLOCK[:50]),
    data(2, 1, BLOCK[50:100], offset=50),
    data(3, 2, BLOCK[100:120], offset=100),
    data(4, 3, BLOCK, report=4),
    data(5, 4, BLOCK[:90]),
    data(6, 7, BLOCK),
    ReportSegment(
        session=SESSION,
        report_serial=300,
        checkpoint_serial=200,
        upper=70_000,
        lower=1000,
        claims=(Claim(0, 500), Claim(600, 68_400)),
    ),
    ReportAck(session=SESSION, report_serial=300),
    CancelSegment(session=SESSION, by_sender=True, reason=2),
    CancelSegment(session=SESSION, by_sender=False, reason=5),
]
"""All types of RFC 5326, but those that tshark 4.0 cannot read: it gives up on acknowledgements of
cancellations, which have no content, and on header and trailer extensions of any segment.  Each
in a session of its own, since it takes every checkpoint for the end of a block."""


@pytest.mark.parametrize("link", LINKS)
def test_segments_of_every_type(home: Path, link: tuple[int, str, str]) -> None:
    found = dissect_segments(home, [encode_segment(segment) for segment in SEGMENTS], link)
    for each, segment in zip(found, SEGMENTS, strict=True):
        assert each.values("ltp.session.orig") == [str(segment.session.engine)]
        assert each.values("ltp.session.number") == [str(segment.session.number)]
        match segment:
            case DataSegment():
                assert each.values("ltp.type") == [f"0x{segment.kind:02x}"]
                assert each.values("ltp.data.client.id") == [str(segment.client_service)]
                assert each.values("ltp.data.offset") == [str(segment.offset)]
                assert each.values("ltp.data.length") == [str(len(segment.data))]
                if segment.is_checkpoint:
                    assert each.values("ltp.data.chkp") == [str(segment.checkpoint_serial)]
                    assert each.values("ltp.data.rpt") == [str(segment.report_serial)]
            case ReportSegment():
                check_report(each, segment)
            case ReportAck():
                assert each.values("ltp.rpt.ack.sno") == [str(segment.report_serial)]
            case CancelSegment():
                kind = "0x0c" if segment.by_sender else "0x0e"
                assert each.values("ltp.type") == [kind]
                assert [int(code, 0) for code in each.values("ltp.cancel.code")] == [segment.reason]
            case CancelAck():
                pytest.fail("see SEGMENTS")


def check_report(found: Dissection, report: ReportSegment) -> None:
    assert found.values("ltp.rpt.sno") == [str(report.report_serial)]
    assert found.values("ltp.rpt.chkp") == [str(report.checkpoint_serial)]
    assert found.values("ltp.rpt.ub") == [str(report.upper)]
    assert found.values("ltp.rpt.lb") == [str(report.lower)]
    claims = [(str(offset), str(length)) for offset, length in report.claims]
    shown = zip(found.values("ltp.rpt.clm.off"), found.values("ltp.rpt.clm.len"), strict=True)
    assert list(shown) == claims


def _readable(report: ReportSegment) -> ReportSegment:
    """One that tshark 4.0 can read: without extensions, with at least one claim, bounds within
    31 bits, session ids within 56 bits.  Serial numbers are those of CCSDS 734.1-B-1, 14 bits;
    larger ones draw a remark of severity error."""
    lower = report.lower % (1 << 30)
    return replace(
        report,
        session=SessionId(*(number % (1 << 56) for number in report.session)),
        header=(),
        trailer=(),
        report_serial=report.report_serial % 0x3FFF + 1,
        checkpoint_serial=report.checkpoint_serial % 0x3FFF,
        lower=lower,
        upper=lower + report.upper - report.lower,
    )


@pytest.mark.slow
@RUNS
@given(reports=st.lists(report_segments().map(_readable), min_size=20, max_size=40))
def test_any_reports(home: Path, reports: list[ReportSegment]) -> None:
    found = dissect_segments(home, [encode_segment(report) for report in reports])
    for each, report in zip(found, reports, strict=True):
        check_report(each, report)


@pytest.mark.parametrize("kind", [3, 7])
def test_bundles_within_whole_blocks(home: Path, kind: int) -> None:
    capsules = b"\x01" + BLOCK + b"\x01" + encode_bundle(sample(b"second", crc=CRC_16))
    octets = [
        encode_segment(data(1, kind, BLOCK)),
        encode_segment(data(2, kind, capsules, client=2)),
    ]
    alone, aggregated = dissect_segments(home, octets)
    assert alone.values("bpv7.primary.dst_uri") == ["ipn:5.3"]
    assert len(alone.values("bpv7.crc_status")) == 6
    assert aggregated.values("ltp.data.sda.client.id")[0] == "1"
    assert aggregated.values("bpv7.primary.dst_uri")[0] == "ipn:5.3"


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 2, 0], [2, 0, 1]])
def test_a_bundle_in_three_segments(home: Path, order: list[int]) -> None:
    cut = len(BLOCK) // 3
    pieces = [
        data(1, 0, BLOCK[:cut]),
        data(1, 0, BLOCK[cut : 2 * cut], offset=cut),
        data(1, 3, BLOCK[2 * cut :], offset=2 * cut),
    ]
    found = dissect_segments(home, [encode_segment(pieces[index]) for index in order])
    assert found[-1].values("ltp.reassembled.length") == [str(len(BLOCK))]
    (bundle,) = [each for each in found if "bpv7" in each.protocols]
    check_bundle_fields(bundle, sample(b"payload" * 20))


# ------------------------------------------------------------------------------------- CFDP


U32 = (1 << 32) - 1


def _of_blue_book_4(pdu: Pdu) -> Pdu:
    """One that tshark 4.0 can read: it knows the issue before, 727.0-B-4, which has no large
    files and no segment metadata; and it fails on filestore responses, on empty names, and on the
    CRC after the fault location of an EOF."""
    body = pdu.body
    match body:
        case FileData():
            body = replace(body, offset=body.offset % (1 << 32), metadata=None)
        case Eof():
            body = replace(body, file_bytes=body.file_bytes % (1 << 32), fault_location=None)
        case Finished():
            body = replace(body, responses=())
        case Metadata():
            body = replace(
                body,
                file_bytes=body.file_bytes % (1 << 32),
                source_name=b"a",
                destination_name=b"bc",
                options=(),
            )
        case Nak():
            edges = tuple((min(start, U32), min(end, U32)) for start, end in body.segments)
            body = Nak(start=min(body.start, U32), end=min(body.end, U32), segments=edges)
        case KeepAlive():
            body = KeepAlive(body.progress_bytes % (1 << 32))
    return Pdu(replace(pdu.header, large=False), body)


@pytest.mark.slow
@RUNS
@given(drawn=st.lists(pdus().map(_of_blue_book_4), min_size=30, max_size=60))
def test_any_cfdp_pdus(home: Path, drawn: list[Pdu]) -> None:
    packets = [exported_pdu(encode_pdu(pdu), "cfdp") for pdu in drawn]
    found = dissect_capture(capture(packets, LINKTYPE_UPPER_PDU), home)
    for each, pdu in zip(found, drawn, strict=True):
        assert "cfdp" in each.protocols
        assert each.faults == []
        header = pdu.header
        assert each.values("cfdp.srcid") == [str(header.source)]
        assert each.values("cfdp.dstid") == [str(header.destination)]
        assert each.values("cfdp.transeqnum") == [str(header.sequence)]
        assert each.values("cfdp.trans_mode") == [str(int(header.unacknowledged))]
        assert each.values("cfdp.direction") == [str(int(header.toward_sender))]
        crc = [f"0x{int.from_bytes(encode_pdu(pdu)[-2:], 'big'):04x}"] if header.crc else []
        assert each.values("cfdp.crc") == crc
        check_cfdp_body(each, pdu.body)


def check_cfdp_body(found: Dissection, body: Directive | FileData) -> None:
    expected: dict[str, int] = {}
    match body:
        case FileData():
            expected = {"cfdp.offset": body.offset}
        case Eof():
            expected = {
                "cfdp.fdtype": 4,
                "cfdp.condition_code": body.condition,
                "cfdp.checksum": body.checksum,
                "cfdp.file_size": body.file_bytes,
            }
        case Finished():
            expected = {
                "cfdp.fdtype": 5,
                "cfdp.condition_code": body.condition,
                "cfdp.delivery_code": int(body.incomplete),
                "cfdp.file_status": body.file_status,
            }
        case Ack():
            expected = {
                "cfdp.fdtype": 6,
                "cfdp.dir_code_ack": body.directive,
                "cfdp.condition_code": body.condition,
                "cfdp.trans_stat_ack": body.status,
            }
        case Metadata():
            expected = {"cfdp.fdtype": 7, "cfdp.file_size": body.file_bytes}
            assert found.values("cfdp.src_file_name") == ["a"]
            assert found.values("cfdp.dst_file_name") == ["bc"]
        case Nak():
            expected = {
                "cfdp.fdtype": 8,
                "cfdp.nak_st_scope": body.start,
                "cfdp.nak_sp_scope": body.end,
            }
        case Prompt():
            expected = {"cfdp.fdtype": 9, "cfdp.response_req": int(body.keep_alive)}
        case KeepAlive():
            expected = {"cfdp.fdtype": 12, "cfdp.progress": body.progress_bytes}
    shown = {name: [int(text, 0) for text in found.values(name)] for name in expected}
    assert shown == {name: [value] for name, value in expected.items()}
