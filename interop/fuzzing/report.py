"""The result of a campaign: one page for people, JUnit XML and SARIF for machines."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from interop.fuzzing.campaign import Course
from interop.fuzzing.findings import Finding
from interop.strategies.explain import explain
from stack.core.units import count_text

OCTETS_SHOWN: Final = 4_096

SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"

_TITLES: Final = {
    "crash": "Crash",
    "hang": "Hang",
    "growth": "Growth",
    "accepts": "Accepts what breaks a rule",
    "refuses": "Refuses what breaks none",
}


@dataclass(frozen=True, slots=True)
class About:
    """What was fuzzed, and how."""

    target: str
    protocol: str
    kind: str
    """As `interop.inspect` calls its octets."""

    seed: int
    version: str


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Faults first, and of each kind what came most often."""
    kinds = list(_TITLES)
    return sorted(findings, key=lambda one: (kinds.index(one.kind), -one.times, one.id))


def title(finding: Finding) -> str:
    """In one line."""
    return f"{_TITLES[finding.kind]}: {finding.place or 'no place told'}"


def to_junit(about: About, tally: Course) -> str:
    """One test case for each finding, all failed; one that passed if there is none."""
    found = ordered(list(tally.findings.values()))
    suite = ET.Element(
        "testsuite",
        name=f"orbitferry fuzz {about.protocol}",
        tests=str(max(1, len(found))),
        failures=str(len(found)),
        errors="0",
        time=f"{tally.seconds:.3f}",
    )
    if not found:
        ET.SubElement(
            suite, "testcase", classname=about.protocol, name=f"{tally.cases} cases", time="0"
        )
    for one in found:
        case = ET.SubElement(
            suite, "testcase", classname=f"{about.protocol}.{one.kind}", name=_clean(title(one))
        )
        failure = ET.SubElement(case, "failure", message=_clean(title(one)), type=one.kind)
        failure.text = _clean(f"{one.words}\n{_hex(one)}")
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def to_sarif(about: About, tally: Course) -> str:
    """SARIF 2.1.0: a rule for each kind or broken clause, and a result for each finding."""
    found = ordered(list(tally.findings.values()))
    rules = {_rule(one): _TITLES[one.kind] for one in found}
    results = [
        {
            "ruleId": _rule(one),
            "level": "error" if one.kind != "refuses" else "warning",
            "message": {"text": f"{title(one)}\n{one.words}\n{_hex(one)}"},
            "locations": [
                {"logicalLocations": [{"fullyQualifiedName": one.place or about.target}]}
            ],
            "partialFingerprints": {"orbitferryFinding/v1": one.id},
            "occurrenceCount": one.times,
        }
        for one in found
    ]
    driver = {
        "name": "orbitferry fuzz",
        "version": about.version,
        "rules": [
            {"id": rule, "shortDescription": {"text": words}}
            for rule, words in sorted(rules.items())
        ],
    }
    log: dict[str, Any] = {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "results": results,
                "properties": {
                    "target": about.target,
                    "protocol": about.protocol,
                    "seed": about.seed,
                    "cases": tally.cases,
                },
            }
        ],
    }
    return json.dumps(log, indent=1) + "\n"


def _rule(finding: Finding) -> str:
    return finding.violation.clause if finding.violation is not None else finding.kind


def _hex(finding: Finding) -> str:
    return "\n".join(
        one.hex()
        if len(one) <= OCTETS_SHOWN
        else f"{one[:OCTETS_SHOWN].hex()}... {len(one)} octets"
        for one in finding.messages
    )


def _clean(text: str) -> str:
    """Without what XML 1.0 cannot hold."""
    return "".join(
        char
        if char in "\t\n" or 0x20 <= ord(char) < 0xD800 or 0xE000 <= ord(char) <= 0xFFFD
        else "?"
        for char in text
    )


_STYLE: Final = """
:root{color-scheme:light dark;--line:#8884;--soft:#8882;--good:#14713d;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--good:#5fce8d;--bad:#ff8a80}}
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;overflow-wrap:anywhere}
table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}
section{border-top:1px solid var(--line);margin-top:1.5rem}
pre{background:var(--soft);padding:.6rem;overflow-x:auto;font-size:.8rem}
.good{color:var(--good)}.bad{color:var(--bad)}
@media print{
:root{color-scheme:light;--good:#060;--bad:#900}
body{font-size:10pt;max-width:none;padding:0}
pre{white-space:pre-wrap;overflow-wrap:anywhere}h2,h2+p,summary{break-after:avoid}
details::details-content{content-visibility:visible}summary{list-style:none}
}
"""


def to_html(about: About, tally: Course) -> str:
    """One self-contained page."""
    found = ordered(list(tally.findings.values()))
    verdict = count_text(len(found), "finding")
    rows = [
        ("target", about.target),
        ("protocol", about.protocol),
        ("seed", str(about.seed)),
        ("cases", f"{tally.cases:,} in {tally.seconds:,.1f} s, {tally.rate:,.0f} a second"),
        *((f"cases, {form}", f"{count:,}") for form, count in sorted(tally.forms.items())),
        *((f"{verdict}", f"{count:,}") for verdict, count in sorted(tally.verdicts.items())),
    ]
    if tally.coverage:
        rows.append(("lines reached", f"{tally.coverage:,}"))
    if tally.states:
        rows.append(("states: what it answered, and after what", f"{len(tally.states):,}"))
    table = "".join(f"<tr><th>{escape(key)}</th><td>{escape(text)}</td></tr>" for key, text in rows)
    parts = [_section(one, about.kind) for one in found]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(verdict)} in {escape(about.target)}</title><style>{_STYLE}</style></head>"
        f'<body><h1 class="{"bad" if found else "good"}">{escape(verdict)}</h1>'
        f"<table>{table}</table>{_states(tally)}{''.join(parts)}</body></html>\n"
    )


def _states(tally: Course) -> str:
    if not tally.states:
        return ""
    rows = "".join(
        f'<tr><td>{escape(after)}</td><td>{escape(answer)}</td><td class="n">{times:,}</td></tr>'
        for (after, answer), times in sorted(tally.states.items())
    )
    return f"<table><tr><th>after</th><th>it answered</th><th>times</th></tr>{rows}</table>"


def _section(finding: Finding, kind: str) -> str:
    rule = finding.violation
    said = rule is None or str(rule) in finding.place
    about = "" if said else f"<p>{escape(str(rule))}</p>"
    times = "once" if finding.times == 1 else f"{finding.times:,} times"
    again = "" if finding.repeats else " It did not happen again with the same messages."
    shown = "".join(
        f"<details open><summary>message {number} of {len(finding.messages)}, {len(one):,} "
        f"octets</summary><pre>{escape(_explained(one, kind))}</pre></details>"
        for number, one in enumerate(finding.messages[:20], 1)
    )
    return (
        f'<section id="{finding.id}"><h2>{escape(title(finding))}</h2>{about}'
        f"<p>Seen {times}.{again} <code>--replay {finding.id}.json</code></p>"
        f"<pre>{escape(finding.words)}</pre>{shown}</section>"
    )


def _explained(octets: bytes, kind: str) -> str:
    shown = octets[:OCTETS_SHOWN]
    more = f"\n... {len(octets) - len(shown):,} octets more" if len(octets) > len(shown) else ""
    return explain(shown, kind) + more
