"""`orbitferry conform`: which rules an implementation keeps."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from stack.cli.common import FAILED, Json, Seconds, ends_with
from stack.cli.fuzz.fuzz import ProtocolOption, RefusalOption, TargetOption, TimeoutOption
from stack.cli.output import emit, say, table
from stack.core.units import printable

SAID_SHOWN: Final = 60


def conform(
    target: TargetOption,
    protocol: ProtocolOption = "bpv7",
    each: Annotated[int, typer.Option(min=1, help="Cases for each rule.")] = 10,
    seed: Annotated[int, typer.Option(help="Makes the cases come again.")] = 0,
    timeout: TimeoutOption = Seconds("2s"),
    refusal: RefusalOption = None,
    as_json: Json = False,
) -> None:
    """Show which rules of a protocol an implementation keeps.

    It is fed with cases that break exactly one rule each, which it must refuse, and with valid
    ones, which it must take. Prints a table of all clauses, with the shortest case it did not
    treat as it must. Exit code 1 when a rule is not kept.

    \b
    Examples:
      orbitferry conform --target ./my-decoder --protocol bpv7
      orbitferry conform -t python:mymodule:decode -p ltp --json
    """
    from interop.fuzzing import TargetOptions, make_target
    from interop.fuzzing.conformance import conform as check
    from interop.fuzzing.protocols import known

    options = TargetOptions(timeout_s=timeout, refusals=tuple(refusal or ()))
    rows = check(make_target(target, protocol, options), known(protocol), each=each, seed=seed)
    broken = [row for row in rows if not row.holds]
    if as_json:
        for row in rows:
            emit(row.to_json())
    else:
        table(
            ("clause", "what the case does", "cases", "refused", "kept"),
            [
                (
                    row.violation.clause if row.violation else "-",
                    row.violation.words if row.violation else "valid: must be taken",
                    row.tried,
                    row.refused,
                    "yes" if row.holds else f"NO, {row.faults} faults" if row.faults else "NO",
                )
                for row in rows
            ],
        )
        for row in broken:
            say("")
            say(str(row.violation or "valid, and not taken"))
            if row.said:
                say(f"  it says: {printable(row.said.strip().splitlines()[-1])[:SAID_SHOWN]}")
            say(f"  bytes.fromhex({row.example.hex()!r})")
        say("")
        say(f"{len(rows) - len(broken)} of {len(rows)} rules kept")
    if broken:
        ends_with(FAILED)
