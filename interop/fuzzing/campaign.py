"""Feeds a target with cases, and looks into what goes wrong."""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from interop.fuzzing.cases import Case, CaseStream
from interop.fuzzing.findings import Finding, Folder, Kind, smaller
from interop.fuzzing.reaction import Reaction
from interop.fuzzing.target import Target
from stack.core.errors import ConfigError, OrbitferryError

HISTORY: Final = 300
"""Messages before a fault that may have to do with it."""

SMALLER_S: Final = 10.0
"""So long a case is made smaller."""

_CHANGES = re.compile(r"0x[0-9a-fA-F]+|\d+|'[^']*'|\"[^\"]*\"")


class TargetGoneError(OrbitferryError):
    """The target does not come back, and was not started here."""


@dataclass(slots=True)
class Course:
    """How far a campaign is."""

    cases: int = 0
    octets: int = 0
    forms: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    findings: dict[str, Finding] = field(default_factory=dict)
    coverage: int = 0
    states: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What the target answered, and after what: its last message, or the one that it heard."""

    learnt: int = 0
    started_s: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.started_s

    @property
    def rate(self) -> float:
        """Cases a second."""
        return self.cases / max(self.seconds, 1e-6)


class Campaign:
    """One run of a fuzzer: `more` says whether to go on, and is asked before each case."""

    def __init__(self, target: Target, cases: CaseStream, folder: Folder | None = None) -> None:
        self._target = target
        self._cases = cases
        self._folder = folder
        self._history: deque[bytes] = deque(maxlen=HISTORY)
        self.course = Course()
        if folder is not None:
            self.course.findings = {one.id: one for one in folder.findings()}

    def run(self, more: Callable[[Course], bool]) -> Course:
        """Feed cases as long as there is `more`.  Raises `ConfigError` if the target cannot be
        reached, `TargetGoneError` if it is gone and was not started here."""
        self._target.open()
        try:
            self._look_again()
            while more(self.course):
                self.feed(next(self._cases))
        finally:
            self._target.close()
            if self._folder is not None:
                for finding in self.course.findings.values():
                    self._folder.keep(finding)  # how often each came
        return self.course

    def _look_again(self) -> None:
        """Forget what was found in campaigns before, and is mended."""
        wrong = {"accepts": "taken", "refuses": "refused"}
        for finding in list(self.course.findings.values()):
            reaction = self._target.feed(finding.messages)
            if reaction.is_fault and not reaction.goes_on:
                self._reopen()
            if finding.repeats and reaction.verdict != wrong.get(finding.kind, finding.kind):
                del self.course.findings[finding.id]
                if self._folder is not None:
                    self._folder.forget(finding)

    def feed(self, case: Case) -> None:
        """One case, and what there is to say of it."""
        reaction = self._target.feed(case.messages)
        course = self.course
        course.cases += 1
        course.octets += sum(map(len, case.messages))
        course.forms[case.form] += 1
        course.verdicts[reaction.verdict] += 1
        if reaction.is_fault:
            self._fault(case, reaction)
            return
        self._history += (*self._target.between, *case.messages)
        covered = self._target.coverage()
        states = len(course.states)
        course.states.update(self._cases.steps(case.messages, reaction.answers))
        if covered > course.coverage or len(course.states) > states:
            course.coverage = covered
            course.learnt += 1
            self._cases.learn(case.messages)
            if self._folder is not None:
                self._folder.learn(case.messages)
        rule = case.violation
        if rule is not None and reaction.verdict == "taken":
            self._note("accepts", str(rule), "takes what breaks a rule", case)
        elif case.form == "valid" and reaction.verdict == "refused":
            place = _CHANGES.sub(
                "#", reaction.words.strip().splitlines()[-1] if reaction.words else ""
            )
            self._note("refuses", place, reaction.words, case)

    def _note(self, kind: Kind, place: str, words: str, case: Case) -> None:
        """A judgement that is wrong.  No smaller case is looked for, as it may break other rules
        than this one: the smallest that comes by is kept."""
        self._keep(Finding(kind, place, words, case.messages, case.violation))

    def _fault(self, case: Case, reaction: Reaction) -> None:
        """Keep the smallest case that has this cause, and go on with a fresh target."""
        before = (*self._history, *self._target.between)
        self._history.clear()
        kind: Kind = "crash"
        if reaction.verdict == "hang" or reaction.verdict == "growth":
            kind = reaction.verdict
        finding = Finding(kind, reaction.place, reaction.words, case.messages, case.violation)
        try:
            if not reaction.goes_on:
                self._reopen()
            if finding.id not in self.course.findings:
                self._look_into(finding, before)
        except ConfigError as error:
            finding.repeats = False
            raise TargetGoneError(f"the target does not come back: {error}") from None
        finally:
            self._keep(finding)

    def _look_into(self, finding: Finding, before: Sequence[bytes]) -> None:
        """The fewest messages that do it: the case alone, or with what came before it."""
        end_s = time.monotonic() + SMALLER_S
        wanted = (finding.kind, finding.place)

        def does(messages: tuple[bytes, ...], *, afresh: bool) -> bool:
            if afresh:
                self._reopen()
            reaction = self._target.feed(messages)
            if reaction.is_fault and not reaction.goes_on:
                self._reopen()
            return (reaction.verdict, reaction.place) == wanted

        def same(messages: tuple[bytes, ...], *, afresh: bool = False) -> bool:
            return time.monotonic() <= end_s and does(messages, afresh=afresh)

        def afresh(messages: tuple[bytes, ...]) -> bool:
            return same(messages, afresh=self._target.keeps_state)

        alone = finding.messages
        if same(alone):
            # A target is started anew only when it has ended: that takes longer than all else.
            small = smaller(alone, same, cbor=self._cases.cbor)
            # That one is right is seen also when the time is over: it was not spent for nothing.
            fresh = self._target.keeps_state
            finding.messages = small if small == alone or does(small, afresh=fresh) else alone
        elif before and afresh((*before, *alone)):
            finding.messages = smaller((*before, *alone), afresh, cbor=self._cases.cbor)
        else:
            finding.messages, finding.repeats = (*before, *alone), False

    def _reopen(self) -> None:
        self._target.close()
        self._target.open()

    def _keep(self, finding: Finding) -> None:
        known = self.course.findings.get(finding.id)
        if known is not None:
            known.times += 1
            if finding.octets >= known.octets or self._target.keeps_state:
                return
            finding.times = known.times
        self.course.findings[finding.id] = finding
        if self._folder is not None:
            self._folder.keep(finding)
