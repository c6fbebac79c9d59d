"""What is fed with mutated inputs: every decoder and reader, and engines that hear a whole stream.

A target is a corpus of good inputs and a check.  The check returns whether the input was taken; it
may raise what its kind of reader is allowed to raise, and anything else is a fault of ours.
"""

from __future__ import annotations

import contextlib
import functools
import random
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import cbor2
from hypothesis import strategies as st

from interop.inspect.dissect import KINDS, dissect
from interop.inspect.sessions import SeenSessions
from interop.pcap import read_capture
from interop.pcap.link import PacketPassedOver
from interop.pcap.parse import parse_packet
from interop.strategies import bundle as some_bundles
from interop.strategies import examples as examples_of
from interop.strategies import mutate, mutated_bundles
from interop.strategies.acme import encoded_acme_records
from interop.strategies.captures import captures, mutated_captures
from interop.strategies.cfdp import encoded_pdus, mutated_pdus
from interop.strategies.choices import Quick
from interop.strategies.contact_files import hdtn_files, ion_files, native_files
from interop.strategies.cose import TAGS, encoded_cose_messages
from interop.strategies.elements import element_files
from interop.strategies.fecframe import encoded_aduis
from interop.strategies.key_messages import KEY, encoded_key_messages, mutated_key_messages
from interop.strategies.ltp import encoded_segments, session_ids
from interop.strategies.ltp_authentication import (
    AES_GMAC,
    HMAC_SHA1_80,
    KEYS,
    encode_signed,
    signed_segments,
)
from interop.strategies.ltp_transfers import transfers
from interop.strategies.making import Maker
from interop.strategies.nearly_audit import (
    ENTRY,
    RECEIPT_KEY,
    encoded_events,
    encoded_notes,
    encoded_receipts,
)
from interop.strategies.nearly_certificate import domain, encoded_certificates
from interop.strategies.nearly_enrolment import (
    encoded_lists,
    encoded_offers,
    encoded_requests,
    nearly_offers,
    nearly_requests,
)
from interop.strategies.policies import encoded_labels, policy_files
from interop.strategies.tcpcl import encoded_messages
from interop.vectors import load
from link_models.orbit.elements import parse_elements
from stack.audit.event import decode_event
from stack.audit.note import LogCheckpoint, SignedNote
from stack.audit.receipt import verify_receipt
from stack.contacts.hdtn import read_hdtn
from stack.contacts.ion import read_ion
from stack.contacts.native import read_json, read_toml
from stack.core.clock import MILLISECOND
from stack.core.errors import ConfigError, DecodeError, SecurityError
from stack.core.train import FLOW_REPAIR, FLOW_SOURCE, Buffer, Train
from stack.cose import (
    decode_encrypt,
    decode_encrypt0,
    decode_mac,
    decode_mac0,
    decode_sign,
    decode_sign1,
)
from stack.engines.ltp import BlockReceived, ReportHeld
from stack.engines.ltp.authentication import Authenticator
from stack.engines.ltp.ciphersuites import gmac_key, hmac_key
from stack.fec.framework import FecConfig, FecReceiver, FecSender
from stack.identity import pem
from stack.identity.certificate import load_certificate, read_node, read_offer, read_request
from stack.node.config import parse_config
from stack.policy.file import parse_policy
from stack.policy.label import decode_label
from stack.services import codec
from stack.services.files import messages as files
from stack.services.jobs import messages as jobs
from stack.services.keys.messages import read_message
from stack.simulator.scenario.reading import parse_scenario
from stack.wire.asb import decode_asb
from stack.wire.bundle import (
    LENIENT,
    STRICT,
    Bundle,
    decode_acme_record,
    decode_admin,
    decode_bundle,
    decode_eid,
    encode_bundle,
    encode_eid,
    encode_status_report,
)
from stack.wire.ccsds.tm import decode_tm
from stack.wire.cfdp import decode_pdu
from stack.wire.crc import crc16_ccitt
from stack.wire.fecframe import decode_adui, decode_fssi, decode_payload_id
from stack.wire.ltp import decode_segment
from stack.wire.sdnv import decode_sdnv
from stack.wire.tcpcl import decode_contact, decode_message
from tests.engines.bundle_agent.harness import HERE, NEXT, NOW, Harness, bundle_for
from tests.engines.ltp.lone import REMOTE, Lone
from tests.strategies import services as some_services

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
GOOD = 150
"""Good inputs of each kind."""

COSE = (decode_sign1, decode_mac0, decode_encrypt0, decode_encrypt, decode_mac, decode_sign)

ENGINE_LIFE = 300
"""Inputs that one engine hears before a new one takes its place."""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to feed: `check(data, rng)` says whether it took the input."""

    name: str
    corpus: Sequence[bytes]
    check: Callable[[Any, random.Random], bool]
    allowed: tuple[type[Exception], ...] = (DecodeError,)
    make: Callable[[random.Random], bytes] | None = None
    """Makes inputs that are damaged inside, with lengths and checksums right, for every other
    input."""

    share: float = 1.0
    """Of the inputs that others get: what only an operator writes, and takes long to read, gets
    less."""

    def draw(self, rng: random.Random) -> bytes:
        """An input."""
        if self.make is not None and rng.random() < 0.5:
            return self.make(rng)
        return mutate(rng.choice(self.corpus), self.corpus, rng)

    def take(self, data: bytes, rng: random.Random) -> bool:
        """Feed one input; whether it was taken.  Raises what must not be raised."""
        try:
            return self.check(as_octets(data, rng), rng)
        except self.allowed:
            return False


def examples(strategy: st.SearchStrategy[T], count: int = GOOD) -> list[T]:
    """The same examples of a strategy at every run."""
    return examples_of(strategy, count)


def as_octets(data: Buffer, rng: random.Random) -> Buffer:
    """The same octets as another kind of buffer: decoders take all kinds."""
    kind = rng.randrange(3)
    return bytearray(data) if kind == 1 else memoryview(data) if kind == 2 else data


def vectors(*names: str) -> list[bytes]:
    """The octets of vector files."""
    return [vector.data for name in names for vector in load(name)]


@functools.cache
def bundles() -> tuple[Bundle, ...]:
    """Bundles, every other of them for the agent that is fed."""
    made = examples(some_bundles.bundles())
    near = [
        bundle_for(f"{node}app", b"x" * size, creation_ms=NOW - 50, sequence=size + 1)
        for node in (HERE, NEXT)
        for size in range(10)
    ]
    return *made, *near


@functools.cache
def bundle_corpus() -> list[bytes]:
    """Their octets, and those of others."""
    found = [encode_bundle(one) for one in bundles()]
    for vector in (*load("bpv7_misc"), *load("bpsec_rfc9173")):
        with contextlib.suppress(DecodeError):
            decode_bundle(vector.data, mode=LENIENT)
            found.append(vector.data)
    return found


_INSIDE = mutated_bundles.maker(bundle=lambda choose: choose.pick(bundles()))


def bundle_inside(rng: random.Random) -> bytes:
    """A bundle with damage within its blocks, and CRCs that are right."""
    return _INSIDE(Quick(rng))


# ---- checks


def _bundle(data: Any, rng: random.Random) -> bool:
    mode = rng.choice((STRICT, LENIENT))
    bundle, end = decode_bundle(data, mode=mode)
    assert 0 < end <= len(data)
    if encode_bundle(bundle) != bytes(data[:end]):
        as_meant = mode == LENIENT and _has_number_0(bytes(data[:end]))
        assert as_meant, "a bundle does not leave as it came"
    return True


def _has_number_0(data: bytes) -> bool:
    """Whether a block has the number 0, in whatever encoding: ION's fragments, whose blocks get
    other numbers."""
    return any(block[1] == 0 for block in cbor2.loads(data)[1:])


def _reads(decode: Callable[..., Any]) -> Callable[[Any, random.Random], bool]:
    def check(data: Any, rng: random.Random) -> bool:
        decoded = decode(data)
        if isinstance(decoded, tuple) and len(decoded) == 2 and type(decoded[1]) is int:
            assert 0 <= decoded[1] <= len(data), "more read than there is"
        return True

    return check


def _octets(read: Callable[[bytes], Any]) -> Callable[[Any, random.Random], bool]:
    """Of what takes nothing but octets."""

    def check(data: Any, rng: random.Random) -> bool:
        read(bytes(data))
        return True

    return check


def _text(read: Callable[[str], Any]) -> Callable[[Any, random.Random], bool]:
    def check(data: Any, rng: random.Random) -> bool:
        read(bytes(data).decode("utf-8", "replace"))
        return True

    return check


def _toml(parse: Callable[[Any, Path], Any]) -> Callable[[Any, random.Random], bool]:
    def check(data: Any, rng: random.Random) -> bool:
        try:
            read = tomllib.loads(bytes(data).decode("utf-8", "replace"))
        except tomllib.TOMLDecodeError:
            return False
        parse(read, ROOT / "examples")
        return True

    return check


def _packets(data: Any, rng: random.Random) -> bool:
    for record in read_capture(data):
        with contextlib.suppress(PacketPassedOver):
            parse_packet(record.data, record.linktype)
    return True


class _Engine:
    """Something that hears many inputs; a new one takes over now and then."""

    def __init__(self, make: Callable[[], Callable[[Any, random.Random], bool]]) -> None:
        self._make = make
        self._left = 0
        self._hear: Callable[[Any, random.Random], bool] = make()

    def __call__(self, data: Any, rng: random.Random) -> bool:
        if self._left <= 0:
            self._left = ENGINE_LIFE
            self._hear = self._make()
        self._left -= 1
        try:
            return self._hear(data, rng)
        except BaseException:
            self._left = 0
            raise


def _agent() -> Callable[[Any, random.Random], bool]:
    harness = Harness()

    def hear(data: Any, rng: random.Random) -> bool:
        put = harness.agent.receive(bytes(data), NOW, 0, "dtn://gs1/")[0]
        if put is None:
            harness.run_pending()
            return False
        refs = harness.commit([put])
        for ref in refs:
            entry = harness.agent.entries.get(ref)
            if entry is None:
                continue
            if entry.destination.startswith(HERE):
                with contextlib.suppress(DecodeError):
                    harness.agent.open(ref, harness.octets[ref], NOW)
            else:
                harness.agent.departing(entry, harness.octets[ref], NOW + rng.randrange(1 << 40))
        return True

    return hear


@functools.cache
def signed_corpus() -> dict[bytes, bytes]:
    """Signed segments, and what they are without authentication."""
    made = islice(signed_segments.maker().cases(), GOOD)
    return {encode_signed(one): one.plain for one in made}


def _authenticated() -> Callable[[Any, random.Random], bool]:
    keys = [gmac_key(key.secret, key.key_id) for key in KEYS if key.suite == AES_GMAC]
    keys += [hmac_key(key.secret, key.key_id) for key in KEYS if key.suite == HMAC_SHA1_80]
    reader = Authenticator(keys[0], keys, bytes)
    genuine = set(signed_corpus().values())

    def hear(data: Any, rng: random.Random) -> bool:
        octets = bytes(data) or b"\0"
        size = rng.choice((len(octets), max(1, len(octets) // 4)))
        passed = [one for train in reader.verify(Train(octets, size)) for one in train.datagrams()]
        assert genuine.issuperset(map(bytes, passed)), "something passes that nobody has signed"
        return bool(passed)

    return hear


def _ltp() -> Callable[[Any, random.Random], bool]:
    lone = Lone()
    lone.submit(5000)

    def hear(data: Any, rng: random.Random) -> bool:
        octets = bytes(data) or b"\0"
        lone.feed_octets(octets, rng.choice((len(octets), max(1, len(octets) // 2))))
        events = lone.events()
        for event in events:
            if isinstance(event, BlockReceived):
                if rng.choice((True, False)):
                    lone.engine.accept(event.session)
                else:
                    lone.engine.refuse(event.session, lone.now)
            elif isinstance(event, ReportHeld):
                lone.engine.report_noted(event.session)
        lone.now += rng.choice((0, 0, MILLISECOND, 1000 * MILLISECOND))
        lone.engine.handle_deadline(lone.now)
        sent = sum(len(train.data) for train in lone.trains())
        assert sent <= 20_000 + 100 * len(octets), f"{len(octets)} octets brought forth {sent}"
        return bool(events)

    return hear


def _followed() -> Callable[[Any, random.Random], bool]:
    """Who follows the sessions of a capture, whatever goes over its links."""
    sessions = SeenSessions()
    ends = ("a", "b", "c", "d")

    def hear(data: Any, rng: random.Random) -> bool:
        segment, _ = decode_segment(data)
        now = rng.randrange(1 << 40)
        for row in sessions.add(segment, now, (rng.choice(ends), rng.choice(ends))):
            assert row.ended
        return True

    return hear


def _fec() -> Callable[[Any, random.Random], bool]:
    receiver = FecReceiver(FecConfig(k=8, r=4, adu_bytes_max=200))
    now = 0

    def hear(data: Any, rng: random.Random) -> bool:
        nonlocal now
        flow = rng.choice((FLOW_SOURCE, FLOW_REPAIR))
        octets = bytes(data) or b"\0"
        out = receiver.receive(Train(octets, max(1, len(octets)), flow), now)
        now += rng.choice((0, MILLISECOND, 300 * MILLISECOND))
        return bool(out)

    return hear


def fec_corpus() -> list[bytes]:
    """Both flows of a sender."""
    sender = FecSender(FecConfig(k=8, r=4, adu_bytes_max=200))
    trains = [Train(bytes([n]) * (20 + n) * 5, 20 + n) for n in range(60)]
    packets = sender.protect(trains, 0) + sender.flush(0)
    return [bytes(one) for train in packets for one in train.datagrams()]


def ltp_corpus() -> list[bytes]:
    """Segments of all kinds, and those of sessions that belong together."""
    alone = some(encoded_segments.maker())
    blocks = islice(transfers.maker(session=session_ids.maker(engine=REMOTE)).cases(), 20)
    whole = [datagram for transfer in blocks for datagram in transfer.datagrams]
    own = Lone()
    own.submit(4000)
    ours = [bytes(one) for train in own.trains() for one in train.datagrams()]
    return [*alone, *whole, *ours]


def some(maker: Maker[bytes]) -> list[bytes]:
    """Good inputs of a maker."""
    return list(islice(maker.cases(), GOOD))


PLAN_TOML = b"""
format = "orbitferry-contact-plan-1"
[[contacts]]
source = "dtn://gs1/"
destination = "dtn://sat1/"
start = "2026-10-01T10:00:00Z"
end = "2026-10-01T10:08:00Z"
rate_bps = 256e3
confidence = 0.9
jurisdiction = "NO"
[[contacts]]
source = "dtn://sat1/"
destination = "dtn://gs1/"
start_ms = 844077600000
end_ms = 844078080000
[[ranges]]
source = "dtn://gs1/"
destination = "dtn://sat1/"
steps = [[844077600000, 844077700000, 4500000], [844077700000, 844077900000, 4600000]]
"""


def tm_inside(rng: random.Random) -> bytes:
    """A TM frame with damage before its frame error control field, which is right."""
    frames = vectors("ccsds_frames")
    frame = mutate(rng.choice(frames), frames, rng)[: len(frames[0]) - 2]
    return frame + crc16_ccitt(frame).to_bytes(2, "big")


def capture_inside(rng: random.Random) -> bytes:
    """A capture file with damage inside, whose blocks hold together."""
    return mutated_captures.maker()(Quick(rng))


def cfdp_inside(rng: random.Random) -> bytes:
    """A CFDP PDU with damage inside, of the right length and CRC."""
    return mutated_pdus.maker()(Quick(rng))


def key_inside(rng: random.Random) -> bytes:
    """A key message that is damaged below its signature."""
    return mutated_key_messages.maker()(Quick(rng))


def request_inside(rng: random.Random) -> bytes:
    """A request, right or nearly so, whose signature is right: a mutated one's never is."""
    choose = Quick(rng)
    right = choose.flip()
    return encoded_requests.make(choose) if right else nearly_requests.make(choose).encoded


def offer_inside(rng: random.Random) -> bytes:
    """An offer, right or nearly so, whose signature is right."""
    choose = Quick(rng)
    return encoded_offers.make(choose) if choose.flip() else nearly_offers.make(choose).encoded


def tomls(pattern: str) -> list[bytes]:
    """Files of the examples."""
    return [path.read_bytes() for path in sorted((ROOT / "examples").glob(pattern))]


def targets() -> list[Target]:
    """All of them."""
    configs = (ConfigError,)
    octets = bundle_corpus()
    blocks = [bytes(block.data) for bundle in bundles() for block in bundle.blocks]
    admin = [encode_status_report(one) for one in examples(some_bundles.status_reports())]
    eids = [encode_eid(one) for one in examples(some_bundles.nullable_eids())]
    messages = examples(some_services.file_payloads)
    requests = [one.encode() for one in examples(some_services.job_messages)]
    tcpcl = some(encoded_messages.maker())
    contact = [v.data for v in load("tcpclv4") if v.kind == "tcpclv4-contact"]
    cfdp = some(encoded_pdus.maker())
    asbs = [v.data for v in load("bpsec_rfc9173") if v.kind == "asb-cborseq"]
    cose = [one for kind in TAGS for one in some(encoded_cose_messages.maker(kind=kind))]
    lists, trust = some(encoded_lists.maker()), domain()
    pems = [pem.encode([pem.PemBlock(pem.REVOCATIONS, one)], "a list").encode() for one in lists]
    frames = vectors("ccsds_frames")
    fec, ltp = fec_corpus(), ltp_corpus()
    size = len(frames[0])
    return [
        Target("bundle", octets, _bundle, make=bundle_inside),
        Target("bundle agent", octets, _Engine(_agent), (), bundle_inside),
        Target("eid", eids, _reads(decode_eid)),
        Target("admin record", admin, _reads(decode_admin)),
        Target("acme record", some(encoded_acme_records.maker()), _reads(decode_acme_record)),
        Target("security block", asbs + blocks, _reads(decode_asb)),
        Target("ltp segment", ltp, _reads(decode_segment)),
        Target("ltp engine", ltp, _Engine(_ltp), ()),
        Target("ltp authentication", list(signed_corpus()), _Engine(_authenticated), ()),
        Target("ltp sessions followed", ltp, _Engine(_followed)),
        Target("fec ids", fec, lambda data, rng: bool(
            decode_payload_id(data, repair=rng.random() < 0.5))),
        Target("fec adui", some(encoded_aduis.maker()), _reads(decode_adui)),
        Target("fec fssi", fec, _reads(decode_fssi)),
        Target("fec receiver", fec, _Engine(_fec), ()),
        Target("sdnv", vectors("sdnv"), _reads(decode_sdnv)),
        Target("tcpcl contact", contact, _reads(decode_contact)),
        Target("tcpcl message", tcpcl, _reads(decode_message)),
        Target("cfdp pdu", cfdp, _reads(decode_pdu), make=cfdp_inside),
        Target("tm frame", frames, _reads(functools.partial(decode_tm, frame_bytes=size)),
               make=tm_inside),
        Target("file message", messages, _reads(files.decode_message)),
        Target("job message", requests, _reads(jobs.decode_message)),
        Target("key message", some(encoded_key_messages.maker()), lambda data, rng: bool(
            read_message(data, KEY)), (DecodeError, SecurityError), key_inside),
        Target("cose", cose, lambda data, rng: bool(rng.choice(COSE)(data))),
        Target("label", some(encoded_labels.maker()), _reads(decode_label)),
        Target("policy file", some(policy_files.maker()),
               _toml(lambda data, folder: parse_policy(data, NOW)), configs, share=0.25),
        Target("audit event", some(encoded_events.maker()), _octets(decode_event)),
        Target("checkpoint", some(encoded_notes.maker()), _octets(
            lambda data: LogCheckpoint.parse(SignedNote.parse(data).text))),
        Target("receipt", some(encoded_receipts.maker()), _octets(
            lambda data: verify_receipt(data, ENTRY, RECEIPT_KEY)), (DecodeError, SecurityError)),
        Target("certificate", some(encoded_certificates.maker()), _octets(
            lambda data: read_node(load_certificate(data))), (SecurityError,), share=0.25),
        Target("request", some(encoded_requests.maker()), _octets(read_request),
               (SecurityError,), request_inside, share=0.25),
        Target("offer", some(encoded_offers.maker()), _octets(read_offer),
               (SecurityError,), offer_inside, share=0.25),
        Target("revocation list", lists, lambda data, rng: not trust.learn(
            [pem.PemBlock(pem.REVOCATIONS, bytes(data))]), (), share=0.25),
        Target("pem", pems, _octets(pem.decode)),
        Target("service item", messages + requests, _reads(lambda d: codec.decode(d, "fuzz"))),
        Target("capture", some(captures.maker()), _packets, make=capture_inside),
        Target("inspect", octets + ltp + fec, lambda data, rng: bool(
            dissect(data, rng.choice(list(KINDS)))), ()),
        Target("ion plan", some(ion_files.maker()), _text(read_ion), configs),
        Target("hdtn plan", some(hdtn_files.maker()), _text(read_hdtn), configs),
        Target("plan json", some(native_files.maker()), _text(read_json), configs),
        Target("plan toml", [PLAN_TOML], _text(read_toml), configs, share=0.25),
        Target("elements", some(element_files.maker()), _text(parse_elements), configs),
        Target("node file", tomls("hello/*.toml"), _toml(parse_config), configs, share=0.25),
        Target("scenario file", tomls("*/scenario.toml"), _toml(parse_scenario), configs,
               share=0.1),
    ]  # fmt: skip
