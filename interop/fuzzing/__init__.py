"""A fuzzer for implementations of any make: cases from strategies, targets of four kinds, and what
was found, one for each cause.

    target.py     what is fuzzed: a command, a function, a UDP or TCP port
    cases.py      what it is fed with
    campaign.py   feeds it, and looks into faults
    findings.py   what is kept
    report.py     for people, and for CI

`orbitferry fuzz` is its command; `docs/how-to-fuzz.md` tells how it is used.
"""

from __future__ import annotations

from stack.core.extras import missing_extra

try:
    from interop.fuzzing.campaign import Campaign, Course, TargetGoneError
    from interop.fuzzing.cases import Case, CaseStream
    from interop.fuzzing.findings import Finding, Folder, read_case, read_corpus
    from interop.fuzzing.guide import Guide
    from interop.fuzzing.protocols import PROTOCOLS, known
    from interop.fuzzing.reaction import Reaction
    from interop.fuzzing.target import Target, TargetOptions, make_target
except ImportError as error:
    raise missing_extra(error) or error from None

__all__ = [
    "PROTOCOLS",
    "Campaign",
    "Case",
    "CaseStream",
    "Course",
    "Finding",
    "Folder",
    "Guide",
    "Reaction",
    "Target",
    "TargetGoneError",
    "TargetOptions",
    "known",
    "make_target",
    "read_case",
    "read_corpus",
]
