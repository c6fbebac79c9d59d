"""Every hostile kind of every protocol gets the verdict that is due from us, soon and in little
memory."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given

from interop.pcap import read_capture
from interop.strategies import Maker
from interop.strategies.bpsec import KEYS
from interop.strategies.hostile import Hostile, HostileKinds, Weakness
from interop.strategies.hostile_bpsec import SECURED_WEAKNESSES, hostile_secured_bundles
from interop.strategies.hostile_cfdp import PDU_WEAKNESSES, hostile_pdus
from interop.strategies.hostile_fecframe import (
    REPAIR_WEAKNESSES,
    SOURCE_WEAKNESSES,
    hostile_repair_packets,
    hostile_source_packets,
)
from interop.strategies.hostile_files import (
    CAPTURE_WEAKNESSES,
    ION_WEAKNESSES,
    PLAN_WEAKNESSES,
    hostile_captures,
    hostile_ion_plans,
    hostile_plans,
)
from interop.strategies.hostile_ltp import SEGMENT_WEAKNESSES, hostile_segments
from interop.strategies.hostile_tcpcl import MESSAGE_WEAKNESSES, hostile_messages
from stack.contacts.ion import read_ion
from stack.contacts.native import read_json
from stack.core.clock import SECOND
from stack.core.errors import ConfigError, DecodeError
from stack.core.train import FLOW_REPAIR, FLOW_SOURCE, Train, single
from stack.engines.ltp import LtpConfig, LtpEngine
from stack.fec.config import FecConfig
from stack.fec.receiver import FecReceiver
from stack.security import BpSec, KeyRing, SecurityPolicy
from stack.wire.bundle import check_bundle, decode_bundle
from stack.wire.cfdp import decode_pdu
from stack.wire.fecframe import PAYLOAD_ID_BYTES, decode_payload_id
from stack.wire.ltp import decode_segment
from stack.wire.tcpcl import decode_message

EACH = 12
BOUNDS = (
    "more than 4096 reception claims",
    "too many interfaces",
    "too many extension items",
    "more than 256 TLVs",
)
"""How we say that something legal is too much for us."""

MEMORY_BYTES = 16 << 20
"""More than any case, and much less than what a length field can say."""


@dataclass
class Reader:
    """Who reads one protocol; refuses with `DecodeError` or `ConfigError`."""

    kinds: HostileKinds
    maker: Callable[..., Maker[Hostile]]
    read: Callable[[bytes], Any]


def whole(decode: Callable[[bytes], tuple[Any, int]]) -> Callable[[bytes], None]:
    def read(octets: bytes) -> None:
        _, end = decode(octets)
        if end != len(octets):
            raise DecodeError("octets behind it", "the end", end)

    return read


def opened(octets: bytes) -> None:
    bundle, _ = decode_bundle(octets)  # what is encrypted in blocks cannot be read before
    check_bundle(bundle)
    result = BpSec(KeyRing(KEYS), bytes, SecurityPolicy(require=False)).open(bundle)
    if not result.ok:
        raise DecodeError(str(result.reason), "RFC 9172")


READERS = {
    "ltp": Reader(SEGMENT_WEAKNESSES, hostile_segments.maker, whole(decode_segment)),
    "tcpcl": Reader(MESSAGE_WEAKNESSES, hostile_messages.maker, whole(decode_message)),
    "cfdp": Reader(PDU_WEAKNESSES, hostile_pdus.maker, whole(decode_pdu)),
    "fec source": Reader(
        SOURCE_WEAKNESSES,
        hostile_source_packets.maker,
        lambda octets: decode_payload_id(octets[-PAYLOAD_ID_BYTES:], repair=False),
    ),
    "fec repair": Reader(
        REPAIR_WEAKNESSES,
        hostile_repair_packets.maker,
        lambda octets: decode_payload_id(octets, repair=True),
    ),
    "bpsec": Reader(SECURED_WEAKNESSES, hostile_secured_bundles.maker, opened),
    "plan": Reader(PLAN_WEAKNESSES, hostile_plans.maker, read_json),
    "ion plan": Reader(
        ION_WEAKNESSES, hostile_ion_plans.maker, lambda octets: read_ion(octets.decode())
    ),
    "capture": Reader(
        CAPTURE_WEAKNESSES, hostile_captures.maker, lambda octets: list(read_capture(octets))
    ),
}


def refusal(reader: Reader, case: Hostile) -> str | None:
    """Why it is refused, or None."""
    try:
        reader.read(case.encoded)
    except (DecodeError, ConfigError) as error:
        return str(error)
    return None


KINDS = [(name, weakness) for name, reader in READERS.items() for weakness in reader.kinds]


@pytest.mark.parametrize(
    ("name", "weakness"), KINDS, ids=[f"{name}: {weakness.name}" for name, weakness in KINDS]
)
def test_each_kind_has_the_verdict_that_is_due(name: str, weakness: Weakness) -> None:
    reader = READERS[name]
    for case in itertools.islice(reader.maker(weaknesses=(weakness,)).cases(), EACH):
        assert case.weakness == weakness
        why = refusal(reader, case)
        bounded = why is not None and any(words in why for words in BOUNDS)
        assert (why is None or bounded) if weakness.legal else why, (case.encoded[:200].hex(), why)


@pytest.mark.parametrize("name", READERS)
def test_no_length_is_believed_in_memory(name: str) -> None:
    reader = READERS[name]
    cases = [next(reader.maker(weaknesses=(one,)).cases()) for one in reader.kinds]
    tracemalloc.start()
    try:
        for case in cases:
            refusal(reader, case)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < MEMORY_BYTES


def test_engines_bear_them_and_keep_little() -> None:
    config = LtpConfig(local_engine_id=1, remote_engine_id=2, accept_unknown_engines=True)
    engine = LtpEngine(config, entropy=bytes)
    engine.link(0, tx_up=True, rx_up=True, rate_bps=None, owlt_ns=1)
    fec = FecConfig(k=4, r=2, adu_bytes_max=80)
    receiver = FecReceiver(fec)
    segments = hostile_segments.maker().cases()
    flows = (hostile_source_packets.maker().cases(), hostile_repair_packets.maker().cases())
    tracemalloc.start()
    try:
        for now in range(0, 400):
            octets = next(segments).encoded
            if octets:
                engine.receive(single(octets), now * SECOND)
            list(engine.data_to_send(now * SECOND))
            while engine.next_event() is not None:
                pass
            for flow, cases in zip((FLOW_SOURCE, FLOW_REPAIR), flows, strict=True):
                packet = next(cases).encoded
                if packet:
                    receiver.receive(Train(packet, len(packet), flow), now * SECOND)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < MEMORY_BYTES // 8
    assert engine.count("segments_received") > 0


@given(hostile_segments())
def test_a_hostile_case_is_code_that_makes_it_again(case: Hostile) -> None:
    assert eval(repr(case), {"Hostile": Hostile, "Weakness": Weakness}) == case
