"""How many cases a second the strategies give: ``python -m tests.benchmarks.bench_strategies``, or
with beginnings of their names for some of them alone.

Every public strategy of `interop.strategies` that needs no arguments is here.  Each case is made
and, where it is octets that a decoder of ours reads without keys, fed to that; in one process and,
from seeds of their own, in one for each core; beside it what Hypothesis makes of the same maker
when it draws the choices.  Counted is processor time, so that what else the machine does falls out.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import multiprocessing
import os
import pkgutil
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, settings

import interop.strategies
from interop.pcap import read_capture
from interop.strategies import Maker, strategy
from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.wire.asb import decode_asb
from stack.wire.bundle import decode_admin, decode_bundle, decode_eid
from stack.wire.cfdp import decode_pdu
from stack.wire.ltp import decode_segment
from stack.wire.tcpcl import decode_contact, decode_message

CASES = 2_000
"""Of each kind and round."""

ROUNDS = 3
DRAWN = 200
"""Cases of Hypothesis of each kind."""

Decode = Callable[[Buffer], object]


def _message(octets: Buffer) -> object:
    return decode_message(octets, 0)


def _capture(octets: Buffer) -> object:
    return list(read_capture(bytes(octets)))


READERS: Final[dict[str, tuple[Decode, tuple[str, ...]]]] = {
    "bundle": (decode_bundle, (
        "bundle.encoded_bundles", "nearly_bundle.nearly_bundles", "mutated_bundle.mutated_bundles",
        "hostile.hostile_bundles", "bpsec.encoded_secured_bundles",
        "nearly_bpsec.nearly_secured_bundles", "hostile_bpsec.hostile_secured_bundles")),
    "EID": (decode_eid, ("bundle.encoded_eids", "nearly_eid.nearly_eids")),
    "administrative record": (decode_admin, (
        "bundle.encoded_status_reports", "nearly_record.nearly_status_reports",
        "nearly_bibe.bibe_records", "nearly_bibe.nearly_bibe_records")),
    "security block": (decode_asb, (
        "bpsec.encoded_security_blocks", "nearly_bpsec.nearly_security_blocks",
        "bpsec_cose.encoded_cose_blocks", "bpsec_cose.nearly_cose_blocks")),
    "LTP segment": (decode_segment, (
        "ltp.encoded_segments", "ltp.nearly_segments", "ltp.mutated_segments",
        "hostile_ltp.hostile_segments")),
    "TCPCL message": (_message, (
        "tcpcl.encoded_messages", "tcpcl.nearly_messages", "tcpcl.mutated_messages",
        "hostile_tcpcl.hostile_messages")),
    "contact header": (decode_contact, (
        "tcpcl.encoded_contact_headers", "tcpcl.nearly_contact_headers")),
    "CFDP PDU": (decode_pdu, (
        "cfdp.encoded_pdus", "cfdp.nearly_pdus", "cfdp.mutated_pdus", "hostile_cfdp.hostile_pdus")),
    "capture": (_capture, (
        "captures.nearly_captures", "captures.mutated_captures",
        "hostile_files.hostile_captures")),
}  # fmt: skip
"""What reads which strategies' cases; those of all others are made, and no more."""

_READ_BY: Final = {name: (what, read) for what, (read, names) in READERS.items() for name in names}


def _no_arguments(one: strategy[Any, Any]) -> bool:
    _, *others = inspect.signature(one.make).parameters.values()
    return all(other.default is not inspect.Parameter.empty for other in others)


def public() -> dict[str, Maker[Any]]:
    """The makers of all public strategies that need no arguments, by module and name."""
    found: dict[str, Maker[Any]] = {}
    for module in pkgutil.iter_modules(interop.strategies.__path__):
        inside = importlib.import_module(f"interop.strategies.{module.name}")
        for name, one in vars(inside).items():
            own = isinstance(one, strategy) and one.make.__module__ == inside.__name__
            if own and not name.startswith("_") and _no_arguments(one):
                found[f"{module.name}.{name}"] = one.maker()
    return found


MAKERS: Final = public()


def feed(cases: Iterator[Any], read: Decode | None, count: int) -> float:
    """Cases a second, made and read."""
    begin = time.process_time()
    for case in itertools.islice(cases, count):
        if read is None:
            continue
        try:
            read(case if isinstance(case, bytes) else case.encoded)
        except DecodeError:
            continue
    return count / (time.process_time() - begin)


def _reader(name: str) -> tuple[str, Decode | None]:
    return _READ_BY.get(name, ("", None))


def quick(name: str, seed: int) -> float:
    """The best of some rounds of one strategy."""
    maker, (_, read) = MAKERS[name], _reader(name)
    return max(feed(maker.cases(seed + turn), read, CASES) for turn in range(ROUNDS))


def drawn(name: str) -> float:
    """The same with Hypothesis."""
    maker, (_, read) = MAKERS[name], _reader(name)

    @settings(
        max_examples=DRAWN,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(maker.strategy())
    def run(case: Any) -> None:
        feed(iter((case,)), read, 1)

    begin = time.process_time()
    run()
    return DRAWN / (time.process_time() - begin)


def main(beginnings: tuple[str, ...]) -> None:
    """Print the table."""
    cores = os.cpu_count() or 1
    print("cases a second")
    columns = ("one process", f"{cores} processes", "Hypothesis")
    print(f"{'strategy':44}{'read as':22}", *(f"{column:>12}" for column in columns))
    with multiprocessing.Pool(cores) as pool:
        for name in MAKERS:
            if not name.startswith(beginnings or ""):
                continue
            alone = quick(name, 1)
            together = sum(pool.starmap(quick, [(name, 100 * core) for core in range(cores)]))
            what, _ = _reader(name)
            rates = (alone, together, drawn(name))
            print(f"{name:44}{what or '(made only)':22}", *(f"{one:12,.0f}" for one in rates))


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
