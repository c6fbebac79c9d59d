"""The page of a campaign."""

from __future__ import annotations

import re

from interop.fuzzing.campaign import Course
from interop.fuzzing.findings import Finding
from interop.fuzzing.report import About, to_html
from interop.strategies.violation import Violation

ABOUT = About("./decoder", "bpv7", "bundle", 1, "1.0")
RULE = Violation("RFC 9171 §4.3.1", "the version is 7")
TAKEN = Finding("accepts", str(RULE), "takes what breaks a rule", (b"\x9f",), RULE)


def test_every_class_has_a_style() -> None:
    course = Course()
    course.states["hello", "answer"] = 2
    pages = [to_html(ABOUT, Course()), to_html(ABOUT, course)]
    course.findings[TAKEN.id] = TAKEN
    pages.append(to_html(ABOUT, course))
    classes = {name for page in pages for name in re.findall(r'class="([^"]+)"', page)}
    assert {"good", "bad"} <= classes
    for name in classes:
        assert re.search(rf"\.{name}\s*{{", pages[0]), name


def test_a_rule_is_told_once_for_each_finding() -> None:
    page = to_html(ABOUT, Course(findings={TAKEN.id: TAKEN}))
    assert page.count("the version is 7") == 1
