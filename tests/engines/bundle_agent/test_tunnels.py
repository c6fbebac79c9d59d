"""Bundles within bundles between gateways: what carriers see, what comes out, and what does not
(draft-ietf-dtn-bibect-05)."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.strategies import Nearly
from interop.strategies.nearly_bibe import bibe_records, nearly_bibe_records
from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError, StoreError
from stack.engines.bundle_agent import AgentConfig, TunnelConfig
from stack.policy import DataPolicy, Directory, NodeFacts, NodeSet, PolicyGate
from stack.policy.label import decode_label, label_of, policy_block
from stack.ports.application import Outgoing
from stack.ports.security import Opened
from stack.security import BpSec, KeyRing, SecurityPolicy
from stack.security.reasons import FAILED
from stack.wire import cbor
from stack.wire.bundle import (
    BUNDLE_AGE,
    IS_ADMIN,
    PADDING_BYTES_MIN,
    REPORT_RECEPTION,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    bundle_age,
    decode_bibe_pdu,
    decode_bundle,
    encode_bibe_pdu,
    encode_bundle,
    fragment_bundle,
    padded,
    parse_bundle_age,
)
from tests.engines.bundle_agent.desk import KEYS, Desk
from tests.engines.bundle_agent.harness import NOW, bundle_for

GATE, CARRIER, EXIT, FAR = "dtn://gate/", "dtn://carrier/", "dtn://exit/", "dtn://far/"
INWARD = TunnelConfig(gateway=EXIT, destination="dtn://far/**", sizes=(512, 4096))
PLAN = Plan(
    [
        Contact(a, b, NOW, NOW + 3_600_000, 1e6)
        for a, b in itertools.pairwise((GATE, CARRIER, EXIT, FAR))
    ]
)
BACK = TunnelConfig(gateway=GATE, destination="dtn://gs1/**")


def bpsec(name: str, *, require: bool = True) -> BpSec:
    counter = itertools.count(1)
    return BpSec(
        KeyRing(KEYS, name),
        lambda count: next(counter).to_bytes(count, "big"),
        SecurityPolicy(require=require),
    )


def desk(
    name: str,
    *tunnels: TunnelConfig,
    gate: PolicyGate | None = None,
    clock: bool = True,
    security: BpSec | None = None,
) -> Desk:
    config = AgentConfig(tunnels=tunnels, trusted_clock=clock)
    # What is for the far node is another matter: it takes it as it is.
    security = security or (bpsec(name) if name != FAR else None)
    return Desk(config, security=security, node=name, contacts=PLAN, gate=gate)


def chain(*, clock: bool = True) -> tuple[Desk, Desk, Desk, Desk]:
    return (
        desk(GATE, INWARD, clock=clock),
        desk(CARRIER, clock=clock),
        desk(EXIT, BACK, clock=clock),
        desk(FAR, clock=clock),
    )


def held(at: Desk) -> list[bytes]:
    wires = at.store.load([old.ref for old in at.store.scan()])
    return [bytes(wire) for wire in wires if wire is not None]


def test_what_carries_bundles_of_others_is_not_given_up_by_any_id() -> None:
    gate, *_ = chain()
    one = bundle_for(FAR + "app", b"a", sequence=3)
    other = replace(one.primary, source=Eid.parse("dtn://other/x"), encoded=None)
    assert gate.arrive(one)
    assert gate.arrive(replace(one, primary=other))
    shown = next(iter(gate.agent.own.values())).id
    for source in (shown.source, one.primary.source, other.source):
        cancelled, ops = gate.agent.cancel(replace(shown, source=source), NOW)
        assert (cancelled.bundles, ops) == (0, [])


def test_carriers_see_neither_source_nor_destination_nor_size() -> None:
    gate, carrier, leaves, far = chain()
    for sequence, size in enumerate((1, 5, 200), 1):
        bundle = bundle_for(FAR + "app", b"tasking"[:size] * size, sequence=sequence)
        assert gate.arrive(bundle)
        assert gate.arrive(bundle) == 0, "the same bundle again is a duplicate"
    gate.pass_on(carrier)
    seen = held(carrier)
    assert len(seen) == 3
    for wire in seen:
        assert not any(word in wire for word in (b"gs1", b"far", b"tasking"))
        primary = decode_bundle(wire)[0].primary
        assert (str(primary.source), str(primary.destination)) == (GATE, EXIT)
    assert {len(decode_bundle(wire)[0].payload.data) for wire in seen} == {
        len(encode_bibe_pdu(bytes(size))) for size in INWARD.sizes
    }
    carrier.pass_on(leaves)
    leaves.pass_on(far)
    assert sorted(map(len, far.got)) == [1, 25, 1400]
    for wire in seen:  # what a carrier has recorded changes nothing
        leaves.arrive(wire)
    leaves.pass_on(far)
    assert len(far.got) == 3
    assert leaves.agent.counters["failures"] == gate.agent.counters["failures"] == 0


def test_what_a_gateway_has_sent_does_not_go_back_to_it() -> None:
    """Whatever both tunnels take: it would go to and fro until its end."""
    gate, carrier = desk(GATE, TunnelConfig(gateway=EXIT)), desk(CARRIER)
    leaves, far = desk(EXIT, TunnelConfig(gateway=GATE)), desk(FAR)
    gate.arrive(bundle_for(FAR + "app", b"tasking"))
    for one, other in ((gate, carrier), (carrier, leaves), (leaves, far)):
        one.pass_on(other)
    assert far.got == [b"tasking"]


def test_what_is_made_at_the_gateway_goes_by_its_tunnel_too() -> None:
    gate, carrier, leaves, _ = chain()
    wire = gate.send(FAR + "app", b"of our own")
    assert str(decode_bundle(wire)[0].primary.destination) == EXIT
    gate.pass_on(carrier)
    carrier.pass_on(leaves)
    (inner,) = [decode_bundle(wire)[0] for wire in held(leaves)]
    assert (str(inner.primary.source), str(inner.primary.destination)) == (
        GATE + "app",
        FAR + "app",
    )
    opened = bpsec(FAR).open(inner)
    assert opened.bundle is not None, opened.failure
    assert bytes(opened.bundle.payload.data) == b"of our own"


@pytest.mark.parametrize("restarts", [False, True])
def test_what_was_made_here_is_given_up_by_its_own_id(restarts: bool) -> None:
    """And not what somebody else has sent under the same time and number."""
    gate, carrier, _, _ = chain()
    outgoing = Outgoing(Eid.parse(FAR + "app"), b"of our own", 60_000, "app")
    (mine,), ops = gate.agent.send([outgoing], NOW)
    gate.commit(ops, NOW)
    other = bundle_for(
        FAR + "app", b"of another", creation_ms=mine.creation_ms, sequence=mine.sequence
    )
    assert gate.arrive(other)
    if restarts:
        gate = Desk(
            gate.agent.config, security=bpsec(GATE), node=GATE, store=gate.store, contacts=PLAN
        )
    assert len(held(gate)) == 2
    assert gate.agent.cancel(replace(mine, sequence=mine.sequence + 7), NOW)[0].bundles == 0
    cancelled, ops = gate.agent.cancel(mine, NOW)
    assert (cancelled.bundles, len(ops)) == (1, 1)
    gate.commit(ops, NOW)
    gate.pass_on(carrier)
    assert len(held(carrier)) == 1
    assert gate.agent.cancel(mine, NOW)[0].bundles == 0


@pytest.mark.parametrize("restarts", [False, True])
def test_what_another_service_has_sent_under_the_same_time_and_number_stays(restarts: bool) -> None:
    gate, carrier, leaves, _ = chain()
    made = []
    for service in ("app", "other"):
        gate.agent._origin._count = 7  # as after a count of 2^32
        outgoing = Outgoing(Eid.parse(FAR + "app"), service.encode(), 60_000, service)
        (one,), ops = gate.agent.send([outgoing], NOW)
        gate.commit(ops, NOW)
        made.append(one)
    mine, other = made
    assert replace(mine, source=other.source) == other
    if restarts:
        gate = Desk(
            gate.agent.config, security=bpsec(GATE), node=GATE, store=gate.store, contacts=PLAN
        )
    nobody = replace(mine, source=Eid.parse(GATE + "nobody"))
    assert gate.agent.cancel(nobody, NOW)[0].bundles == 0
    cancelled, ops = gate.agent.cancel(mine, NOW)
    assert cancelled.bundles == 1
    gate.commit(ops, NOW)
    gate.pass_on(carrier)
    carrier.pass_on(leaves)
    assert [decode_bundle(wire)[0].primary.source for wire in held(leaves)] == [other.source]


def test_a_carrier_may_cut_it_in_parts() -> None:
    gate, _, leaves, far = chain()
    gate.arrive(bundle_for(FAR + "app", bytes(3000)))
    (wire,) = held(gate)
    for part in fragment_bundle(decode_bundle(wire)[0], 1000):
        leaves.arrive(part)
    leaves.pass_on(far)
    assert far.got == [bytes(3000)]


def test_parts_stay_while_what_is_within_cannot_be_taken() -> None:
    """They have been acknowledged: nobody else has them."""
    gate, _, leaves, far = chain()
    slow = NOW - 20_000
    gate.arrive(bundle_for(FAR + "app", bytes(3000), creation_ms=NOW + 290_000))
    (wire,) = held(gate)
    for part in fragment_bundle(decode_bundle(wire)[0], 1000):
        assert leaves.arrive(part, slow)
    for _ in range(3):
        leaves.agent.retry(slow)
        leaves.run_pending(slow)
    assert len(held(leaves)) > 1
    assert leaves.agent.counters["dropped_from_the_future"] > 1
    assert leaves.agent.stranded
    for _ in range(3):
        leaves.agent.retry(NOW)
        leaves.run_pending(NOW)
    assert not leaves.agent.stranded
    leaves.pass_on(far)
    assert far.got == [bytes(3000)]


class Keyless(BpSec):
    """A gateway whose key may be on its way."""

    comes = False

    def open(self, bundle: Bundle) -> Opened:
        if self.comes:
            return super().open(bundle)
        return Opened(False, None, "no such key", FAILED, later=True)


def test_a_carrier_keeps_it_until_the_far_gateway_has_its_key() -> None:
    gate, _, _, far = chain()
    security = Keyless(KeyRing(KEYS, EXIT), bytes, SecurityPolicy())
    leaves = desk(EXIT, BACK, security=security)
    gate.arrive(bundle_for(FAR + "app", b"tasking"))
    (wire,) = held(gate)
    for _ in range(3):
        assert leaves.arrive(wire) is None
    assert not held(leaves)
    security.comes = True
    assert leaves.arrive(wire)
    leaves.pass_on(far)
    assert far.got == [b"tasking"]


def test_parts_of_it_wait_at_the_far_gateway_for_its_key() -> None:
    gate, _, _, far = chain()
    security = Keyless(KeyRing(KEYS, EXIT), bytes, SecurityPolicy())
    leaves = desk(EXIT, BACK, security=security)
    gate.arrive(bundle_for(FAR + "app", bytes(3000)))
    (wire,) = held(gate)
    for part in fragment_bundle(decode_bundle(wire)[0], 1000):
        assert leaves.arrive(part)
    leaves.pass_on(far)
    assert far.got == []
    security.comes = True
    leaves.agent.keys_changed()
    leaves.run_pending(NOW)
    leaves.pass_on(far)
    assert far.got == [bytes(3000)]


def test_age_goes_on_within() -> None:
    gate, carrier, leaves, _ = chain(clock=False)
    age = bundle_age(5000, number=9, crc_type=2)
    gate.arrive(bundle_for(FAR + "app", blocks=[age]), NOW)
    gate.pass_on(carrier, NOW + 1000)
    carrier.pass_on(leaves, NOW + 3000)
    (inner,) = [decode_bundle(wire)[0] for wire in held(leaves)]
    (block,) = [block for block in inner.blocks if block.type == BUNDLE_AGE]
    assert parse_bundle_age(block) == 8000


# ---- what a node on the way cannot do now ------------------------------------------------------


class Late(BpSec):
    """A node on the way that does not verify; its key may come."""

    later = True

    def verify(self, bundle: Bundle) -> Opened:
        return Opened(False, None, "no such key", FAILED, later=self.later)


@pytest.mark.parametrize("later", [True, False])
def test_what_a_node_on_the_way_cannot_verify_stays_with_its_sender(later: bool) -> None:
    """While its key may come; else what is damaged is asked for once more."""
    security = Late(KeyRing(KEYS, EXIT), bytes, SecurityPolicy())
    security.later = later
    at = desk(EXIT, security=security)
    wire = encode_bundle(bundle_for(FAR + "app"))
    intact = [at.agent.receive(wire, NOW, 0, GATE).intact for _ in range(2)]
    assert intact == [False, not later]
    assert not held(at)


class Full(BpSec):
    """The disk is full, so that no use of a key can be written down."""

    def protect(self, bundle: Bundle) -> Bundle:
        raise StoreError("nothing is encrypted")

    def secure(self, bundle: Bundle) -> Opened:
        raise StoreError("nothing is encrypted")


@pytest.mark.parametrize("tunnels", [(INWARD,), ()])
def test_what_cannot_be_encrypted_now_stays_with_its_sender(
    tunnels: tuple[TunnelConfig, ...],
) -> None:
    gate = desk(GATE, *tunnels, security=Full(KeyRing(KEYS, GATE), bytes, SecurityPolicy()))
    taken = gate.agent.receive(encode_bundle(bundle_for(FAR + "app")), NOW, 0, "dtn://gs1/")
    assert (taken.put, taken.intact) == (None, False)
    assert gate.agent.counters["failures"] == 0


def test_a_bundle_is_taken_though_no_report_can_be_encrypted() -> None:
    security = Full(KeyRing(KEYS, FAR), bytes, SecurityPolicy())
    at = Desk(AgentConfig(status_reports=True), security=security, node=FAR)
    bundle = bundle_for(FAR + "app", b"good", flags=REPORT_RECEPTION, source=GATE + "app")
    assert at.arrive(bpsec(GATE).protect(bundle), neighbour=GATE)
    assert at.got == [b"good"]
    assert at.agent.counters["reports_unsecured"] == 1


DIRECTORY = Directory(
    NodeFacts(Eid.parse(node), jurisdictions=frozenset({where}))
    for node, where in ((GATE, "KR"), (CARRIER, "XX"), (EXIT, "KR"), (FAR, "KR"))
)


def labelled(policy: DataPolicy) -> Bundle:
    block = policy_block(policy, number=7, crc_type=2)
    return bpsec("dtn://gs1/").protect(bundle_for(FAR + "app", blocks=[block]))


@pytest.mark.parametrize(
    ("transit", "goes"), [("KR | XX", True), ("KR", False), ("any - node:dtn://exit/", None)]
)
def test_the_outer_bundle_is_under_a_policy_as_strict(transit: str, goes: bool | None) -> None:
    ends = NOW + 9000
    readers, through = NodeSet.parse("node:dtn://far/"), NodeSet.parse(transit)
    policy = DataPolicy(readers=readers, transit=through, expires_ms=ends)
    gate = desk(GATE, INWARD, gate=PolicyGate(DIRECTORY, GATE))
    ref = gate.arrive(labelled(policy))
    if goes is None:  # the far gateway could not pass it on
        assert ref is None
        assert gate.agent.counters["dropped_not_permitted"] == 1
        return
    (wire,) = held(gate)
    outer = decode_label(label_of(decode_bundle(wire)[0].blocks))
    assert (outer.transit, outer.rest, outer.expires_ms) == (through, policy.rest, ends)
    assert str(outer.readers) == "node:dtn://exit/"
    assert bool(gate.agent.forwarder.take(CARRIER, 1 << 20, 9, NOW)) is goes


# ---- what others send -------------------------------------------------------------------------


def carrying(payload: bytes, source: str = GATE) -> bytes:
    """A record for the far gateway, secured by a node that has the keys."""
    primary = PrimaryBlock(
        Eid.parse(EXIT), Eid.parse(source), Eid.NONE, NOW - 10, 77, 60_000, IS_ADMIN, 2
    )
    made = Bundle(primary, (CanonicalBlock(1, 1, 0, payload, 2),))
    return encode_bundle(bpsec(source).protect(made))


INNER = encode_bundle(bundle_for(FAR + "app"))


def test_only_what_a_gateway_has_secured_is_taken_out() -> None:
    leaves = desk(EXIT, BACK)
    plain = Bundle(
        decode_bundle(carrying(b"?"))[0].primary,
        (CanonicalBlock(1, 1, 0, encode_bibe_pdu(INNER), 2),),
    )
    assert leaves.arrive(plain) is None
    assert leaves.arrive(carrying(encode_bibe_pdu(INNER), "dtn://other/"))
    assert [old.destination for old in leaves.store.scan()] == [EXIT], "for nobody knows whom"
    assert leaves.arrive(carrying(encode_bibe_pdu(INNER)))
    assert sorted(old.destination for old in leaves.store.scan()) == [EXIT, FAR + "app"]


class InClear(BpSec):
    """Rules let everything come in clear."""

    def open(self, bundle: Bundle) -> Opened:
        return Opened(True, bundle, proven=False)


@pytest.mark.parametrize("parts", [False, True])
def test_what_rules_let_come_in_clear_is_not_taken_out(parts: bool) -> None:
    leaves = desk(EXIT, BACK, security=InClear(KeyRing(KEYS, EXIT), bytes, SecurityPolicy()))
    primary = decode_bundle(carrying(b"?"))[0].primary
    outer = Bundle(primary, (CanonicalBlock(1, 1, 0, encode_bibe_pdu(INNER), 2),))
    for one in fragment_bundle(outer, len(encode_bundle(outer)) - 20) if parts else [outer]:
        assert leaves.arrive(one)
    assert [old.destination for old in leaves.store.scan()] == [EXIT]


def test_bundles_within_bundles_without_end_are_not_followed() -> None:
    leaves = desk(EXIT, BACK)
    octets = INNER
    for depth in range(1, 7):
        octets = carrying(encode_bibe_pdu(octets))
        assert bool(desk(EXIT, BACK).arrive(octets)) is (depth <= 4)
    assert leaves.agent.counters["failures"] == 0


@settings(max_examples=60)
@given(nearly_bibe_records())
def test_no_such_record_is_taken(case: Nearly) -> None:
    assert decode_bundle(decode_bibe_pdu(case.valid))
    with pytest.raises(DecodeError):
        decode_bibe_pdu(case.encoded)
    leaves = desk(EXIT, BACK)
    leaves.arrive(carrying(case.encoded))
    assert leaves.agent.counters["failures"] == 0
    assert all(old.destination == EXIT for old in leaves.store.scan())


def test_records_of_others_are_taken_out() -> None:
    """With the record type of the first drafts, which asks for custody: nobody hears of it."""
    inner = encode_bundle(bundle_for(FAR + "app", b"tasking"))
    for kind, number in ((3, 0), (7, 17)):
        fields = (cbor.uint(number), cbor.uint(number and NOW), cbor.bstr(inner))
        leaves, far = chain()[2:]
        leaves.arrive(carrying(cbor.array((cbor.uint(kind), cbor.array(fields)))))
        leaves.pass_on(far)
        assert far.got == [b"tasking"]


@settings(max_examples=60, deadline=None)
@given(bibe_records())
def test_whatever_a_gateway_carries_does_no_harm(record: bytes) -> None:
    leaves = desk(EXIT, BACK)
    leaves.arrive(carrying(record))
    assert leaves.agent.counters["failures"] == 0


# ---- padding ----------------------------------------------------------------------------------


@given(st.integers(0, 70_000), st.integers(0, 70_000))
def test_padding_is_exact(length: int, more: int) -> None:
    bundle = bundle_for(FAR + "app", bytes(length))
    size = len(encode_bundle(bundle))
    wanted = size + PADDING_BYTES_MIN + more
    assert len(encode_bundle(padded(bundle, size, wanted))) == wanted


@given(st.integers(1, 1 << 27))
def test_sizes_are_few(length: int) -> None:
    tunnel = TunnelConfig(gateway=EXIT)
    size = tunnel.padded(length)
    assert size >= length + PADDING_BYTES_MIN
    assert size in tunnel.sizes or size % tunnel.sizes[-1] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"gateway": "dtn://exit/app"},
        {"source": "what"},
        {"destination": ""},
        {"sizes": ()},
        {"sizes": (100,)},
        {"sizes": (4096, 1024)},
    ],
)
def test_tunnels_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        TunnelConfig(**({"gateway": EXIT} | wrong))  # type: ignore[arg-type]
    assert caught.value.key in wrong
