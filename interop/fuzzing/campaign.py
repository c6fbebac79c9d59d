"""Feeds a target with cases, and looks into what goes wrong."""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from interop.fuzzing.cases import Case, Cases
from interop.fuzzing.findings import Finding, Folder, Kind, smaller
from interop.fuzzing.outcome import Outcome
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
class Tally:
    """How far a campaign is."""

    cases: int = 0
    octets: int = 0
    forms: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    findings: dict[str, Finding] = field(default_factory=dict)
    coverage: int = 0
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

    def __init__(self, target: Target, cases: Cases, folder: Folder | None = None) -> None:
        self._target = target
        self._cases = cases
        self._folder = folder
        self._history: deque[bytes] = deque(maxlen=HISTORY)
        self.tally = Tally()
        if folder is not None:
            self.tally.findings = {one.id: one for one in folder.findings()}

    def run(self, more: Callable[[Tally], bool]) -> Tally:
        """Feed cases as long as there is `more`.  Raises `ConfigError` if the target cannot be
        reached, `TargetGoneError` if it is gone and was not started here."""
        self._target.open()
        try:
            while more(self.tally):
                self.feed(next(self._cases))
        finally:
            self._target.close()
            if self._folder is not None:
                for finding in self.tally.findings.values():
                    self._folder.keep(finding)  # how often each came
        return self.tally

    def feed(self, case: Case) -> None:
        """One case, and what there is to say of it."""
        outcome = self._target.feed(case.messages)
        tally = self.tally
        tally.cases += 1
        tally.octets += sum(map(len, case.messages))
        tally.forms[case.form] += 1
        tally.verdicts[outcome.verdict] += 1
        if outcome.is_fault:
            self._fault(case, outcome)
            return
        self._history += case.messages
        covered = self._target.coverage()
        if covered > tally.coverage:
            tally.coverage = covered
            tally.learnt += 1
            self._cases.learn(case.messages)
            if self._folder is not None:
                self._folder.learn(case.messages)
        rule = case.violation
        if rule is not None and outcome.verdict == "taken":
            self._note("accepts", str(rule), "takes what breaks a rule", case)
        elif case.form == "valid" and outcome.verdict == "refused":
            place = _CHANGES.sub(
                "#", outcome.words.strip().splitlines()[-1] if outcome.words else ""
            )
            self._note("refuses", place, outcome.words, case)

    def _note(self, kind: Kind, place: str, words: str, case: Case) -> None:
        """A judgement that is wrong.  No smaller case is looked for, as it may break other rules
        than this one: the smallest that comes by is kept."""
        self._keep(Finding(kind, place, words, case.messages, case.violation))

    def _fault(self, case: Case, outcome: Outcome) -> None:
        """Keep the smallest case that has this cause, and go on with a fresh target."""
        before = tuple(self._history)
        self._history.clear()
        kind: Kind = "crash"
        if outcome.verdict == "hang" or outcome.verdict == "growth":
            kind = outcome.verdict
        finding = Finding(kind, outcome.place, outcome.words, case.messages, case.violation)
        try:
            if not outcome.goes_on:
                self._reopen()
            if finding.id not in self.tally.findings:
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

        def same(messages: tuple[bytes, ...], *, afresh: bool = False) -> bool:
            if time.monotonic() > end_s:
                return False
            if afresh:
                self._reopen()
            outcome = self._target.feed(messages)
            if outcome.is_fault and not outcome.goes_on:
                self._reopen()
            return (outcome.verdict, outcome.place) == wanted

        def afresh(messages: tuple[bytes, ...]) -> bool:
            return same(messages, afresh=self._target.keeps_state)

        alone = finding.messages
        if same(alone):
            # A target is started anew only when it has ended: that takes longer than all else.
            small = smaller(alone, same)
            finding.messages = small if small == alone or afresh(small) else alone
        elif before and afresh((*before, *alone)):
            finding.messages = smaller((*before, *alone), afresh)
        else:
            finding.messages, finding.repeats = (*before, *alone), False

    def _reopen(self) -> None:
        self._target.close()
        self._target.open()

    def _keep(self, finding: Finding) -> None:
        known = self.tally.findings.get(finding.id)
        if known is not None:
            known.times += 1
            if finding.octets >= known.octets or self._target.keeps_state:
                return
            finding.times = known.times
        self.tally.findings[finding.id] = finding
        if self._folder is not None:
            self._folder.keep(finding)
