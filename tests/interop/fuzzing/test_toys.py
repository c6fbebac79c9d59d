"""The toys of `examples/fuzz` are wrong in ten ways each: the fuzzer finds every one."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from examples.fuzz import tlv, toy_bundle, toy_ltp
from interop.fuzzing import Campaign, CaseStream, Course, Finding, TargetOptions, make_target
from interop.fuzzing.protocols import known
from interop.fuzzing.python import PythonTarget
from interop.machines.ports import free_ports

Found = Callable[[Finding], bool]
QUICK = TargetOptions(timeout_s=0.3)


def crash(kind: str, where: str) -> Found:
    return lambda one: one.kind == "crash" and kind in one.place and where in one.place


def accepts(*words: str) -> Found:
    return lambda one: one.kind == "accepts" and all(word in one.place for word in words)


def hang(where: str) -> Found:
    return lambda one: one.kind == "hang" and where in one.place


BUNDLE_FAULTS: dict[int, Found] = {
    1: crash("IndexError", "head"),
    2: crash("OverflowError", "item"),
    3: crash("RecursionError", "toy_bundle"),
    4: crash("AttributeError", "eid"),
    5: accepts("§4.3.1", "version"),
    6: accepts("§4.2.2", "a CRC matches"),
    7: crash("ZeroDivisionError", "decode"),
    8: accepts("§4.3.1", "offset and total length"),
    9: accepts("§4.1", "unique"),
    10: hang("decode"),
}
LTP_FAULTS: dict[int, Found] = {
    1: crash("IndexError", "sdnv"),
    2: lambda one: crash("IndexError", "receive")(one) and one.octets <= 3,
    3: crash("KeyError", "receive"),
    4: lambda one: crash("IndexError", "receive")(one) and one.messages[-1][0] in (12, 14),
    5: crash("AssertionError", "data"),
    6: crash("MemoryError", "data"),
    7: crash("KeyError", "data"),
    8: crash("ZeroDivisionError", "data"),
    9: hang("report"),
    10: crash("ZeroDivisionError", "report"),
}


def missing(faults: dict[int, Found], tally: Course) -> set[int]:
    """The numbers of faults that no finding shows."""
    found = tally.findings.values()
    return {number for number, shows in faults.items() if not any(map(shows, found))}


def until_found(faults: dict[int, Found], cases: int) -> Callable[[Course], bool]:
    """Go on until all are found, but not beyond so many cases."""
    return lambda tally: tally.cases < cases and bool(tally.cases % 100 or missing(faults, tally))


@pytest.mark.slow
def test_every_fault_of_the_reader_of_bundles() -> None:
    target = PythonTarget("toy", toy_bundle.decode, QUICK)
    campaign = Campaign(target, CaseStream(known("bpv7"), 1))
    tally = campaign.run(until_found(BUNDLE_FAULTS, 60_000))
    assert missing(BUNDLE_FAULTS, tally) == set()
    assert not [one for one in tally.findings.values() if one.kind == "refuses"]


@pytest.mark.slow
def test_every_fault_of_the_receiver_of_blocks() -> None:
    target = PythonTarget("toy", toy_ltp.Receiver().receive, QUICK)
    tally = Campaign(target, CaseStream(known("ltp"), 1)).run(until_found(LTP_FAULTS, 60_000))
    assert missing(LTP_FAULTS, tally) == set()


@pytest.mark.slow
def test_a_receiver_behind_a_socket() -> None:
    """As a user runs it: the toy is started, prints tracebacks and goes on, or hangs and is
    started anew."""
    (port,) = free_ports(1)
    options = TargetOptions(
        start=f"{sys.executable} -m examples.fuzz.toy_ltp {port}", timeout_s=0.5
    )
    target = make_target(f"udp://127.0.0.1:{port}", "ltp", options)
    wanted = {number: LTP_FAULTS[number] for number in (1, 3, 10)}
    wanted[9] = lambda one: one.kind == "hang" and one.repeats
    tally = Campaign(target, CaseStream(known("ltp"), 2)).run(until_found(wanted, 2_000))
    assert missing(wanted, tally) == set()


def test_a_protocol_of_somebodys_own() -> None:
    target = PythonTarget("toy", tlv.decode, QUICK)
    cases = CaseStream(known("raw"), 1, own="examples.fuzz.tlv:messages")
    tally = Campaign(target, cases).run(lambda tally: tally.cases < 1_000)
    (found,) = tally.findings.values()
    assert (found.kind, found.messages) == ("crash", (b"\x01\x00\x02",))
