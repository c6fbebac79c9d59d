"""ION's contact plan commands, by the words of ionrc(5)."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.strategies import contacts as plans
from stack.contacts.checks import overlaps
from stack.contacts.ion import read_ion, write_ion
from stack.contacts.native import read_json, write_json
from stack.contacts.passed import PassedOver
from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import dtn_from_iso
from stack.core.errors import ConfigError

ONE, TWO, THREE = "ipn:1.0", "ipn:2.0", "ipn:3.0"
REFERENCE = 1_000_000


def test_relative_contact_in_bytes_per_second() -> None:
    plan = read_ion("a contact +0 +3600 1 2 100000\n", REFERENCE)
    assert plan.contacts == (Contact(ONE, TWO, REFERENCE, REFERENCE + 3_600_000, 800_000),)


def test_absolute_time_and_confidence() -> None:
    plan = read_ion("a contact 2026/03/01-10:00:05 2026/03/01-11:00:00 1 2 125 0.5")
    start_ms = dtn_from_iso("2026-03-01T10:00:05Z")
    end_ms = dtn_from_iso("2026-03-01T11:00:00Z")
    assert plan.contacts == (Contact(ONE, TWO, start_ms, end_ms, 1000, 0.5),)


def test_reference_time_can_be_moved_also_relatively() -> None:
    plan = read_ion("@ 2026/03/01-10:00:00\na contact +1 +2 1 2 1\n@ +100\na contact +1 +2 1 2 1\n")
    zero_ms = dtn_from_iso("2026-03-01T10:00:00Z")
    assert [c.start_ms - zero_ms for c in plan.contacts] == [1000, 101_000]


def test_range_from_lower_to_higher_node_holds_both_ways() -> None:
    plan = read_ion("a range +0 +10 1 2 3\n")
    assert plan.ranges == (
        Range(ONE, TWO, 0, 10_000, 3_000_000_000),
        Range(TWO, ONE, 0, 10_000, 3_000_000_000),
    )


def test_range_from_higher_to_lower_node_implies_nothing() -> None:
    assert read_ion("a range +0 +10 10 9 3").ranges == (
        Range("ipn:10.0", "ipn:9.0", 0, 10_000, 3_000_000_000),
    )


def test_explicit_range_overrides_the_implied_one_for_its_time() -> None:
    plan = read_ion("a range +0 +10 1 2 3\na range +4 +6 2 1 5\n")
    back = [(r.start_ms, r.end_ms, r.owlt_ns // 10**9) for r in plan.ranges if r.source == TWO]
    assert back == [(0, 4000, 3), (4000, 6000, 5), (6000, 10_000, 3)]


def test_allocator_makes_a_node_number_higher() -> None:
    plan = read_ion("a range +0 +10 977000.1 2 3\n")
    assert plan.ranges == (Range("ipn:977000.1.0", TWO, 0, 10_000, 3_000_000_000),)


def test_fractions_of_seconds() -> None:
    plan = read_ion("a range +0.5 +10.25 2 1 0.003456789\n")
    assert plan.ranges == (Range(TWO, ONE, 500, 10_250, 3_456_789),)


def test_delete_and_change() -> None:
    plan = read_ion(
        """
        a contact +0 +10 1 2 100
        a contact +20 +30 1 2 100
        a contact +0 +10 2 1 100
        a contact +0 +10 2 3 100
        a range +0 +10 1 3 1
        c contact +20 1 2 200 0.9
        d contact * 2 1
        d contact +0 2 3
        d range +0 1 3
        """
    )
    assert plan == Plan(
        [Contact(ONE, TWO, 0, 10_000, 800), Contact(ONE, TWO, 20_000, 30_000, 1600, 0.9)]
    )


def test_whole_ionrc_with_other_programs() -> None:
    plan = read_ion(
        """## begin ionadmin
1 1 ''
s
# a comment
m horizon +0
a contact +0 +10 1 2 100   # trailing
a contact -1 -1 1 1 0 1
a contact +0 0 1 2 0
d contact -1 1 1
## end ionadmin
## begin ltpadmin
a span 1 10 10 1400 10000 1 'udplso localhost:1113'
## end ltpadmin
a contact +20 +30 1 2 100
"""
    )
    assert [c.start_ms for c in plan.contacts] == [0, 20_000]


DATA = Path(__file__).parent / "data"


def test_a_node_in_contact_with_itself() -> None:
    passed = PassedOver()
    plan = read_ion((DATA / "loopback.ionrc").read_text(), passed=passed)
    assert [(c.source, c.destination) for c in plan.contacts] == [(ONE, TWO), (TWO, ONE)]
    assert plan.owlt_ns(ONE, TWO, 10_000) == plan.owlt_ns(TWO, ONE, 10_000) == 10**9
    assert passed.counts == {"contact of a node with itself": 1, "range of a node with itself": 1}
    assert "line 1" in str(passed)
    assert "line 2" in str(passed)


HARMLESS = {
    "a contact +0 +10 1 1 100": "contact of a node with itself",
    "a contact +0 +10 977000.1 977000.1 100 1": "contact of a node with itself",
    "a contact +10 +0 1 1 0": "contact of a node with itself",
    "c contact +0 1 1 200": "contact of a node with itself",
    "a range +0 +10 1 1 0": "range of a node with itself",
    "a contact +10 +10 1 2 100": "contact that ends before it begins",
    "a contact 2026/01/02-00:00:00 2026/01/01-00:00:00 1 2 1": "contact that ends before it begins",
    "a range +10 +5 1 2 1": "range that ends before it begins",
    "a contact +0 +10 1 2 0": "contact without a rate",
    "a contact -1 -1 1 2 0 1": "registration",
    "a contact +0 0 1 2 100": "hypothetical contact",
    "d contact -1 1 1": "deletion of a registration or hypothetical contact",
    "d contact +7 1 2": "deletion of what is not there",
    "d range +7 1 2": "deletion of what is not there",
    "1 1 ''": "command that is not of the plan",
    "s": "command that is not of the plan",
    "e 1": "command that is not of the plan",
    "v": "command that is not of the plan",
    "^ 2": "command that is not of the plan",
    "m horizon +0": "command that is not of the plan",
    "m production 1000000": "command that is not of the plan",
    "i": "command that is not of the plan",
    "run 'bpadmin x'": "command that is not of the plan",
    "a plan 2 ltp/2": "command that is not of the plan",
    "a scheme ipn 'ipnfw' 'ipnadminep'": "command that is not of the plan",
    "a outduct ltp 2 ltpclo": "command that is not of the plan",
    "a span 2 10 10 1400 10000 1 'udplso localhost:1113'": "command that is not of the plan",
    "d endpoint ipn:1.1": "command that is not of the plan",
}


@pytest.mark.parametrize(("line", "kind"), HARMLESS.items())
def test_a_harmless_line_changes_nothing_and_is_counted(line: str, kind: str) -> None:
    rest = "a contact +20 +30 3 4 100\na range +20 +30 3 4 1\n"
    passed = PassedOver()
    assert read_ion(f"{line}\n{rest}", passed=passed) == read_ion(rest)
    assert passed.counts == {kind: 1}
    assert str(passed) == f"1 x {kind} (first: line 1)"


def test_comments_and_empty_lines_are_not_worth_a_word() -> None:
    passed = PassedOver()
    text = "# a\n\n   \n#b\n## c\n\ta contact +0 +10 1 2 100 # d\r\n"
    assert len(read_ion(text, passed=passed).contacts) == 1
    assert not passed.counts
    assert not str(passed)


def test_whether_a_contact_is_announced_does_not_matter() -> None:
    assert read_ion("a contact +0 +10 1 2 100 0.5 1\na range +0 +10 1 2 1 0") == read_ion(
        "a contact +0 +10 1 2 100 0.5\na range +0 +10 1 2 1"
    )


@given(st.lists(st.sampled_from(sorted(HARMLESS)), max_size=8), st.randoms())
def test_harmless_lines_anywhere_leave_the_plan_as_it_is(lines: list[str], random: Random) -> None:
    ours = ["a contact +20 +30 3 4 100", "a range +0 +50 3 4 1", "a contact +40 +50 4 3 8 0.5"]
    mixed = [*ours, *lines]
    random.shuffle(mixed)
    passed = PassedOver()
    assert read_ion("\n".join(mixed), passed=passed) == read_ion("\n".join(ours))
    assert sum(passed.counts.values()) == len(lines)


def test_repeated_contact_counts_once() -> None:
    assert len(read_ion("a contact +0 +10 1 2 100\n" * 3).contacts) == 1


@pytest.mark.parametrize(
    "line",
    [
        "a contact +0 +10 1 2",
        "a contact +0 +10 1 2 100 1 1 1",
        "a range +0 +10 1 2 1 1 1",
        "a contact +0 +10 1 two 100",
        "a contact +0 +10 1 2 nan",
        "a contact +0 +10 1 2 1e9",
        "a contact 0 +10 1 2 100",
        "a contact + +10 1 2 100",
        "a contact 2026/13/01-00:00:00 +10 1 2 100",
        "a contact +5 +10 3 4 100",
        "a contact +0 +9 3 4 100",
        "a contatc +0 +10 1 2 100",
        "a",
        "@",
        "c contact +7 1 2 100",
        "c range +0 1 2 3",
        "a rnage +0 +10 1 2 1",
        "Contact +0 +10 1 2 100",
        "a contact +0 +10 1 x 0",
        "a range +0 +10 1 2 -1",
        "a range +0 +10 1 2 1000000",
        "a range +0 +10 3 4 2",
        "contact +0 +10 1 2 100",
    ],
)
def test_errors_name_the_line(line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_ion(f"a range +0 +20 3 4 1\na contact +0 +10 3 4 100\n{line}\n")
    assert caught.value.key.partition(".")[0] == "line 3"


def check_read_or_refused(text: str) -> None:
    """The one error, or a plan that our own format keeps."""
    try:
        plan = read_ion(text)
    except ConfigError:
        return
    assert read_json(write_json(plan)) == plan


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: b.decode("latin-1")))
def test_any_text_is_read_or_refused(text: str) -> None:
    check_read_or_refused(text)


WORDS = st.sampled_from(
    [
        *("a", "c", "d", "@", "^", "#", "##", "begin", "ionadmin", "end", "contact", "range"),
        *("+", "+0", "+10", "+999999999999999999", "*", "-1", "0", "1", "2", "977000.3", "1.5"),
        *("2026/01/01-00:00:00", "9999/12/31-23:59:59.999999999", "\u00b2"),
    ]
)


@given(st.lists(st.lists(WORDS, max_size=9).map(" ".join), max_size=6).map("\n".join))
def test_any_commands_are_read_or_refused(text: str) -> None:
    check_read_or_refused(text)


def _writable(plan: Plan) -> Plan:
    """The plan without what ION cannot have: overlaps within a direction."""
    for _, contact in overlaps(plan):
        plan = plan.remove(contact)
    return plan


limited = st.sampled_from([8e3, 12345.678, 1e6, 2.5e9])


@settings(max_examples=50)
@given(plans.plans(rates=limited), st.none() | st.integers(0, 0))
def test_fractional_text_keeps_the_plan(plan: Plan, reference_ms: int | None) -> None:
    plan = _writable(plan)
    again = read_ion(write_ion(plan, reference_ms, fractions=True), reference_ms or 0)
    assert [(c.source, c.destination, c.start_ms, c.end_ms) for c in again.contacts] == [
        (c.source, c.destination, c.start_ms, c.end_ms) for c in plan.contacts
    ]
    assert [c.rate_bps for c in again.contacts] == pytest.approx(
        [c.rate_bps for c in plan.contacts], rel=1e-9
    )
    # ION's rule may add the way back, but never changes what the plan said.
    kept = {(r.source, r.destination) for r in plan.ranges}
    for entry in plan.ranges:
        for t in (entry.start_ms, entry.end_ms - 1):
            assert again.owlt_ns(entry.source, entry.destination, t) == entry.owlt_ns
    for entry in again.ranges:
        pair = entry.source, entry.destination
        assert pair in kept or pair[::-1] in kept


@settings(max_examples=50)
@given(plans.plans(rates=limited))
def test_whole_second_text_promises_no_more_than_the_plan(plan: Plan) -> None:
    plan = _writable(plan)
    text = write_ion(plan, 0)
    assert "." not in "".join(line for line in text.splitlines() if not line.startswith("#"))
    again = read_ion(text)
    for contact in again.contacts:
        inside = [
            c
            for c in plan.between(contact.source, contact.destination)
            if c.start_ms <= contact.start_ms and contact.end_ms <= c.end_ms
        ]
        assert inside
        assert contact.rate_bps <= inside[0].rate_bps
    for entry in again.ranges:
        assert entry.owlt_ns % 10**9 == 0


@pytest.mark.parametrize(
    "plan",
    [
        Plan([Contact("dtn://a/", ONE, 0, 10_000, 1e3)]),
        Plan([Contact("ipn:1.1", TWO, 0, 10_000, 1e3)]),
        Plan([Contact(ONE, TWO, 0, 10_000, float("inf"))]),
    ],
)
def test_what_ion_cannot_say_is_refused(plan: Plan) -> None:
    with pytest.raises(ConfigError):
        write_ion(plan)


def test_reference_after_a_contact_is_refused() -> None:
    with pytest.raises(ConfigError, match="earlier reference"):
        write_ion(Plan([Contact(ONE, THREE, 0, 10_000, 1e3)]), 1)
