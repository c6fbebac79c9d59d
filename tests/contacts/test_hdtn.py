"""HDTN's contact plan JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.strategies import contacts as plans
from stack.contacts.hdtn import UNIX_REFERENCE_MS, read_hdtn, write_hdtn
from stack.contacts.native import read_json, write_json
from stack.contacts.passed import PassedOver
from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import dtn_from_iso
from stack.core.errors import ConfigError

ENTRY = {
    "contact": 0,
    "source": 102,
    "dest": 10,
    "finalDestination": 1,
    "startTime": 5,
    "endTime": 2000,
    "rateBitsPerSec": 1_000_000_000,
    "owlt": 1,
}


def document(**changes: object) -> str:
    return json.dumps({"contacts": [{**ENTRY, **changes}]})


def test_entry() -> None:
    assert read_hdtn(document(), 1000) == Plan(
        [Contact("ipn:102.0", "ipn:10.0", 6000, 2_001_000, 1e9)],
        [Range("ipn:102.0", "ipn:10.0", 6000, 2_001_000, 10**9)],
    )


def test_unix_time() -> None:
    start = 1_772_359_200  # 2026-03-01T10:00:00Z
    plan = read_hdtn(document(startTime=start, endTime=start + 1), UNIX_REFERENCE_MS)
    assert plan.contacts[0].start_ms == dtn_from_iso("2026-03-01T10:00:00Z")


def test_rates() -> None:
    def rate(**changes: object) -> float:
        entry = {k: v for k, v in {**ENTRY, **changes}.items() if v is not None}
        return read_hdtn(json.dumps({"contacts": [entry]})).contacts[0].rate_bps

    assert rate(rateBitsPerSec=0) == math.inf
    assert rate(rateBitsPerSec=None) == math.inf
    assert rate(rateBitsPerSec=None, rate=25) == 25e6
    assert rate(rateBitsPerSec=7, rate=25) == 7


def test_numbers_in_quotes() -> None:
    text = (Path(__file__).parent / "data" / "string-rate.hdtn.json").read_text()
    assert read_hdtn(text).contacts == (Contact("ipn:1.0", "ipn:3.0", 10_000, 20_000, 1e6),)
    quoted = {key: str(value) for key, value in ENTRY.items()}
    assert read_hdtn(document(**quoted)) == read_hdtn(document())
    assert read_hdtn(document(rateBitsPerSec=None, rate="2.5")).contacts[0].rate_bps == 2.5e6


def test_contacts_that_nobody_needs_are_counted() -> None:
    passed = PassedOver()
    entries = [{**ENTRY, "dest": 102}, {**ENTRY, "startTime": 3000}, ENTRY]
    plan = read_hdtn(json.dumps({"contacts": entries}), passed=passed)
    assert plan == read_hdtn(document())
    assert passed.counts == {
        "contact of a node with itself": 1,
        "contact that ends before it begins": 1,
    }
    assert "contacts[1]" in str(passed)


def test_fractions_and_contacts_that_never_are() -> None:
    assert read_hdtn(document(owlt=0.0025)).ranges[0].owlt_ns == 2_500_000
    assert read_hdtn(document(startTime=2000)) == Plan()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"source": -1}, "contacts[0].source or dest"),
        ({"rateBitsPerSec": -1}, "contacts[0].rate_bps"),
        ({"owlt": -1}, "contacts[0].owlt_ns"),
        ({"owlt": 1e300}, "contacts[0]"),
        ({"endTime": "x"}, "HDTN contact plan"),
        ({"startTime": -9}, "contacts[0].start_ms"),
    ],
)
def test_errors_name_the_key(changes: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_hdtn(document(**changes))
    assert caught.value.key == key


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(
    st.binary(max_size=60)
    | st.dictionaries(st.sampled_from(sorted(ENTRY)), json_values).map(
        lambda changes: document(**changes).encode()
    )
    | json_values.map(lambda value: json.dumps(value).encode())
)
def test_anything_is_read_or_refused(data: bytes) -> None:
    try:
        plan = read_hdtn(data)
    except ConfigError:
        return
    assert read_json(write_json(plan)) == plan


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ConfigError):
        read_hdtn('{"x":' + "[" * 100_000 + "]" * 100_000 + "}")


@settings(max_examples=50)
@given(plans.plans(grain_ms=1000, rates=st.sampled_from([1e3, 256e3, 1e9, math.inf])))
def test_whole_seconds_come_back(plan: Plan) -> None:
    again = read_hdtn(write_hdtn(plan, 0))
    assert again.contacts == plan.contacts
    for contact in plan.contacts:
        pair = contact.source, contact.destination
        if not [c for c in plan.between(*pair) if c != contact]:
            light_s = again.owlt_ns(*pair, contact.start_ms) / 1e9
            assert light_s == round(plan.owlt_ns(*pair, contact.start_ms) / 1e9)


@settings(max_examples=50)
@given(plans.plans(rates=st.sampled_from([1e3, 1234.5])))
def test_nothing_is_promised_beyond_the_plan(plan: Plan) -> None:
    for contact in json.loads(write_hdtn(plan, 0))["contacts"]:
        pair = f"ipn:{contact['source']}.0", f"ipn:{contact['dest']}.0"
        assert any(
            c.start_ms <= contact["startTime"] * 1000
            and contact["endTime"] * 1000 <= c.end_ms
            and contact["rateBitsPerSec"] <= c.rate_bps
            for c in plan.between(*pair)
        )


@pytest.mark.parametrize("node", ["dtn://a/", "ipn:1.2", "ipn:977000.1.0"])
def test_nodes_without_a_number_are_refused(node: str) -> None:
    with pytest.raises(ConfigError, match="node number"):
        write_hdtn(Plan([Contact(node, "ipn:9.0", 0, 10_000, 1e3)]), 0)


def test_contact_before_the_reference_is_refused() -> None:
    with pytest.raises(ConfigError, match="earlier reference"):
        write_hdtn(Plan([Contact("ipn:1.0", "ipn:9.0", 0, 10_000, 1e3)]), 5000)
