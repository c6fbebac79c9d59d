"""Our own format keeps everything, and says what is wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.strategies import contacts as plans
from stack.contacts.files import load_plan
from stack.contacts.native import FORMAT, read_json, read_toml, write_json
from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import dtn_from_iso
from stack.core.errors import ConfigError

HEAD = f'format = "{FORMAT}"\n'


@settings(max_examples=50)
@given(st.lists(plans.named_contacts(), max_size=6), plans.plans())
def test_round_trip(contacts: list[Contact], plan: Plan) -> None:
    plan = plan.add(contacts)
    assert read_json(write_json(plan)) == plan
    assert read_json(write_json(plan).encode()) == plan


def test_toml_with_the_three_ways_to_give_a_time() -> None:
    plan = read_toml(
        HEAD
        + """
        [[contacts]]
        source = "dtn://gs1/"
        destination = "dtn://sat1/"
        start = "2026-03-01T10:00:00Z"
        end = "2026-03-01T10:08:00.250+00:00"
        rate_bps = 256_000
        jurisdiction = "NO"
        [[contacts]]
        source = "dtn://gs1/"
        destination = "dtn://sat1/"
        start = 1.5
        end_ms = 10_000
        [[ranges]]
        source = "dtn://gs1/"
        destination = "dtn://sat1/"
        steps = [[0, 1000, 3_000_000], [1000, 2000, 3_100_000]]
        """,
        1000,
    )
    start_ms = dtn_from_iso("2026-03-01T10:00:00Z")
    a, b = "dtn://gs1/", "dtn://sat1/"
    assert plan == Plan(
        [
            Contact(a, b, start_ms, start_ms + 480_250, 256e3, jurisdiction="NO"),
            Contact(a, b, 2500, 10_000, math.inf),
        ],
        [Range(a, b, 0, 1000, 3_000_000), Range(a, b, 1000, 2000, 3_100_000)],
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "format"),
        ('format = "other"', "format"),
        ("x = [", "contact plan"),
        (HEAD + "extra = 1", "extra"),
        (HEAD + '[[contacts]]\nsource="a"\n', "destination"),
        (HEAD + '[[contacts]]\nsource="a"\ndestination="b"\nend_ms=1', "contacts[0].start"),
        (
            HEAD + '[[contacts]]\nsource="a"\ndestination="b"\nstart=0\nstart_ms=0\nend_ms=1',
            "contacts[0].start",
        ),
        (
            HEAD + '[[contacts]]\nsource="a"\ndestination="b"\nstart="soon"\nend_ms=1',
            "contacts[0].start",
        ),
        (HEAD + '[[contacts]]\nsource="a"\ndestination="b"\nstart=nan\nend_ms=1', "contacts[0]"),
        (HEAD + '[[ranges]]\nsource="a"\ndestination="b"\nsteps=[[0,1,-1]]', "ranges[0].steps[0]"),
    ],
)
def test_errors_name_the_key(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_toml(text)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["a.json", "a.hdtn.json"])
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"station": 1, "b": 2}', "an object with 'station', 'b'"),
        ("{}", "an empty object"),
        ("[1]", "a list"),
        ("5", "no object"),
    ],
)
def test_json_that_is_no_plan_is_called_that(
    text: str, what: str, name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_plan(path)
    assert caught.value.key == f"{path}: contact plan"
    assert caught.value.message == f"not a contact plan but {what}"
    assert FORMAT in caught.value.remedy


def test_json_plans_are_told_their_keys() -> None:
    contact = {"source": "a", "destination": "b", "start_ms": 0, "end_ms": 9, "confidence": 2}
    with pytest.raises(ConfigError) as caught:
        read_json(json.dumps({"format": FORMAT, "contacts": [contact]}))
    assert caught.value.key == "contacts[0].confidence"
    assert caught.value.message == "2 is not within 0 to 1"


@pytest.mark.parametrize("digits", [400, 4000, 6000])
@pytest.mark.parametrize(
    "plan",
    [
        '{"ranges": [{"source": "ipn:5.0", "destination": "ipn:6.0", "steps": [[1, 2, %s]]}]}',
        '{"contacts": [{"source": "ipn:5.0", "destination": "ipn:6.0", "start_ms": %s}]}',
        '{"contacts": [{"source": "ipn:5.0", "destination": "ipn:6.0", "rate_bps": %s}]}',
        '{"contacts": [{"source": "ipn:5.0", "destination": "ipn:6.0", "rate_bps": -%s}]}',
    ],
)
def test_integers_beyond_all_floats_are_refused(plan: str, digits: int) -> None:
    with pytest.raises(ConfigError):
        read_json(f'{{"format": "{FORMAT}", ' + plan[1:] % ("9" * digits))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ConfigError):
        read_json('{"format":' + "[" * 100_000)
    with pytest.raises(ConfigError):
        read_toml("x = " + "[" * 100_000)


def check_read_or_refused(text: bytes | str) -> None:
    """The one error, or a plan that comes back as it was."""
    try:
        plan = read_json(text)
    except ConfigError:
        return
    assert read_json(write_json(plan)) == plan


@settings(max_examples=50)
@given(plans.plans(), st.data())
def test_damaged_text_is_read_or_refused(plan: Plan, data: st.DataObject) -> None:
    text = bytearray(write_json(plan).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place] = data.draw(st.sampled_from(list(b'0123456789-.e"[]{},\x00\xff')))
    check_read_or_refused(bytes(text))


numbers = st.integers(-(10**20), 10**20) | st.floats()


@given(
    st.dictionaries(
        st.sampled_from(
            ["source", "destination", "start", "end", "start_ms", "end_ms", "rate_bps", "owner"]
        ),
        numbers | st.text(max_size=8) | st.none(),
    )
)
def test_any_values_are_read_or_refused(values: dict[str, object]) -> None:
    check_read_or_refused(json.dumps({"format": FORMAT, "contacts": [values]}))
