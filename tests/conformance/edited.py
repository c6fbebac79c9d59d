"""Tests with an edit of the code in force, in processes that end with them.

What an edit changes is mostly the inside of functions.  Then it is brought into a fork of a process
that has loaded everything and collected the tests once.  Otherwise (`NOT_EXCHANGED`) the module
has to be loaded with the edit, by a process that has loaded nothing of ours yet.
"""

from __future__ import annotations

import gc
import importlib.machinery
import inspect
import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import CodeType, FunctionType
from typing import Final, NamedTuple

import cryptography.hazmat.primitives.ciphers.aead  # noqa: F401 - for every child, but nothing of ours
import numpy.testing  # noqa: F401
import pytest
from hypothesis import Phase, settings

from tests.conformance.record import ROOT, Edit

WRONG = (SyntaxError, NameError, ImportError, AttributeError, TypeError)
"""What a test fails with when the edit is no code, rather than code that breaks a rule."""
SECONDS = 120
"""Of processor time for the tests of a row: an edit that has them go on for ever proves nothing."""
OPTIONS = ["-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist"]
# Where the package is installed pytest loads our modules itself, to rewrite their assertions, and
# without edits.
OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # Hypothesis is loaded
PASSED: Final = 0
FAILED: Final = 1
NOT_EXCHANGED: Final = 100
"""What a fork ends with: an edit that is no matter of functions alone."""


class Verdict(NamedTuple):
    """What became of tests."""

    ended: int
    """`PASSED` or `FAILED`; anything else is no answer."""

    failed: dict[str, str]
    """What tests failed with, by their node ids; "" is what they may not fail with."""

    @property
    def by(self) -> set[str]:
        """The tests that noticed the edit."""
        return {test for test, what in self.failed.items() if what}


class Trial(NamedTuple):
    """Tests to be run with an edit, or with none."""

    tests: Sequence[str]
    edit: Edit | None = None


def fresh(trial: Trial) -> Verdict:
    """Run tests in a process that loads all it needs."""

    def work() -> Verdict:
        if trial.edit is not None:
            _loaded_with(trial.edit)
        brief = Brief(keep_modules=False)
        return Verdict(int(pytest.main([*OPTIONS, *trial.tests], [brief])), brief.failed)

    return _forked(work, SECONDS)


def quickly(trials: Sequence[Trial]) -> Iterator[Verdict]:
    """Run trials one after the other, each in a fork of a process that has all tests collected."""
    every = sorted({test for trial in trials for test in trial.tests})
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        os.close(reading)
        _silent()
        with os.fdopen(writing, "w") as answers:
            pytest.main([*OPTIONS, *every], [Forks(trials, answers.write, answers.flush)])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answers:
        for line in answers:
            yield Verdict(*json.loads(line))
    os.waitpid(child, 0)


class Brief:
    """A plugin of pytest that leaves out what takes long and does not matter here."""

    def __init__(self, *, keep_modules: bool) -> None:
        self.failed: dict[str, str] = {}
        self._keep_modules = keep_modules

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        """What fails need not be made small; what no test asks for need not be loaded."""
        usual = settings.get_profile("commit")
        settings.register_profile("brief", usual, phases=(Phase.explicit, Phase.generate))
        settings.load_profile("brief")
        plugins = session.config.pluginmanager
        for plugin in plugins.get_plugins():
            ours = getattr(plugin, "__file__", None) == str(ROOT / "tests" / "conftest.py")
            if ours and not self._keep_modules:
                plugins.unregister(plugin)
                del plugin.pytest_collection_finish  # it is registered again

    def pytest_exception_interact(
        self, node: pytest.Item | pytest.Collector, call: pytest.CallInfo[object]
    ) -> None:
        """Note what a test fails with."""
        if isinstance(node, pytest.Item) and call.excinfo is not None:
            what = call.excinfo.value
            while isinstance(what, BaseExceptionGroup):
                what = what.exceptions[0]
            test = node.nodeid.partition("[")[0]
            wrong = isinstance(what, WRONG) or str(what).startswith("Timeout")
            right = "" if wrong else type(what).__name__
            self.failed[test] = self.failed.get(test) or right


class Forks(Brief):
    """The same, which runs a trial in a fork in place of all tests in turn."""

    def __init__(
        self, trials: Sequence[Trial], write: Callable[[str], object], flush: Callable[[], object]
    ) -> None:
        super().__init__(keep_modules=True)
        self._trials = trials
        self._write = write
        self._flush = flush

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Make and answer every trial."""
        for trial in self._trials:
            items = [item for item in session.items if _names(trial.tests, item.nodeid)]
            seconds = SECONDS if trial.edit else resource.RLIM_INFINITY
            verdict = _forked(partial(self._run, trial, items), seconds)
            self._write(json.dumps(verdict) + "\n")
            self._flush()
        return True

    def _run(self, trial: Trial, items: list[pytest.Item]) -> Verdict:
        if trial.edit is not None and not _exchanged(trial.edit):
            return Verdict(NOT_EXCHANGED, {})
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        return Verdict(FAILED if self.failed else PASSED, self.failed)


def _names(tests: Sequence[str], node: str) -> bool:
    return any(node == test or node.startswith((f"{test}[", f"{test}::")) for test in tests)


def _forked(work: Callable[[], Verdict], seconds: int) -> Verdict:
    sys.stdout.flush()
    with tempfile.TemporaryFile() as answer:
        child = os.fork()
        if child:
            ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            answer.seek(0)
            return Verdict(ended, json.loads(answer.read() or b"{}"))
        _silent()
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        verdict = work()
        answer.write(json.dumps(verdict.failed).encode())
        answer.flush()
        os._exit(verdict.ended)


def _silent() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


def _loaded_with(edit: Edit) -> None:
    """From here on the module that an edit is for comes with the edit."""
    path = str(ROOT / edit.file)
    plain = importlib.machinery.SourceFileLoader.get_code

    def get_code(loader: importlib.machinery.SourceFileLoader, fullname: str) -> object:
        return _codes(edit)[1] if loader.path == path else plain(loader, fullname)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign,assignment]


def _exchanged(edit: Edit) -> bool:
    """Give the functions that are loaded the code of the edit; False if there is more to it."""
    pairs = list(_functions(*_codes(edit)))
    news = {(old.co_qualname, old.co_firstlineno): new for old, new in pairs if old is not None}
    if len(news) < len(pairs):  # a pair without old code: something else than functions
        return False
    path = str(ROOT / edit.file)
    gc.unfreeze()  # what was there before the first test is frozen
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and function.__code__.co_filename == path:
            old = function.__code__
            new = news.get((old.co_qualname, old.co_firstlineno))
            if new is None or new.co_freevars != old.co_freevars:
                return False
            function.__code__ = new
    return True


def _codes(edit: Edit) -> tuple[CodeType, CodeType]:
    """Of the module, without the edit and with it."""
    path = ROOT / edit.file
    text = path.read_text()
    return (
        compile(text, str(path), "exec"),
        compile(text.replace(edit.old, edit.new), str(path), "exec"),
    )


def _functions(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType | None, CodeType]]:
    """Code of functions, old and new; no old code for what runs while the module is loaded."""
    if new.co_flags & inspect.CO_OPTIMIZED:
        yield old, new
    elif _plain(old) != _plain(new):
        yield None, new
    inner, other = _inner(old), _inner(new)
    if [code.co_name for code in inner] == [code.co_name for code in other]:
        for before, after in zip(inner, other, strict=True):
            yield from _functions(before, after)


def _plain(code: CodeType) -> tuple[object, ...]:
    """What code does, but for the code inside it."""
    consts = tuple(None if isinstance(each, CodeType) else repr(each) for each in code.co_consts)
    return code.co_code, consts, code.co_names, [each.co_name for each in _inner(code)]


def _inner(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]
