"""A function of Python, in this process."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType, ModuleType, TracebackType
from typing import Any, Final

from interop.fuzzing.reaction import WORDS_MAX, Reaction
from interop.fuzzing.target import PYTHON, TargetOptions
from stack.core.errors import ConfigError, DecodeError, words_of

MONITOR: Final = 3
"""The id under which lines are monitored (from Python 3.12)."""


class Hang(BaseException):
    """A case from which a function does not come back."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `Hang` in what takes longer, if this is the main thread: only there can the clock
    interrupt.  A clock that was running before, such as that of a test, goes on afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hang(number: int, frame: FrameType | None) -> None:
        # What collectors of garbage call has nobody to raise to: wait for the next alarm.
        if frame is None or all(frame.f_code is not code for code in map(_code, gc.callbacks)):
            raise Hang(f"not over after {seconds:g} s")

    handler = signal.signal(signal.SIGALRM, hang)
    begin = time.monotonic()
    left, every = signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # an alarm may have come before the other was done
        signal.signal(signal.SIGALRM, handler)
        if left:
            due = max(left - (time.monotonic() - begin), 1e-6)
            signal.setitimer(signal.ITIMER_REAL, due, every)


def _code(callback: object) -> CodeType | None:
    return getattr(callback, "__code__", None)


class PythonTarget:
    """Calls a function with each message of a case: a `ValueError`, a `DecodeError` or what else
    was named refuses it, any other exception is a crash.  Lines of the function's package that
    are reached are counted."""

    judges = True
    keeps_state = True
    opening: bytes = b""
    between: tuple[bytes, ...] = ()

    def __init__(
        self,
        name: str,
        function: Callable[[bytes], object],
        options: TargetOptions,
        package: ModuleType | None = None,
    ) -> None:
        self.name = name
        self._function = function
        self._timeout_s = options.timeout_s
        self._refusals = frozenset(options.refusals)
        self._lines = Lines(package or sys.modules[function.__module__])
        self._told: dict[str, str] = {}

    def open(self) -> None:
        """Begin to count lines."""
        self._lines.start()

    def feed(self, messages: Sequence[bytes]) -> Reaction:
        """Call it."""
        try:
            with limited(self._timeout_s):
                for message in messages:
                    self._function(message)
            return Reaction("taken")
        except (Exception, Hang) as error:
            return self._reaction(error)

    def _reaction(self, error: BaseException) -> Reaction:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        words = words_of(error)[:WORDS_MAX]
        if isinstance(error, DecodeError | ValueError) or kinds & self._refusals:
            return Reaction("refused", words)
        places = list(_places(error.__traceback__))
        file, line, name = ([one for one in places if self._lines.holds(one[0])] or places)[-1]
        where = Path(file).name
        if isinstance(error, Hang):
            return Reaction("hang", words, f"hang in {where} {name}", goes_on=True)
        place = f"{type(error).__name__} in {where}:{line} {name}"
        if isinstance(error, RecursionError):
            place = f"RecursionError in {where}"  # in which line the stack ends is chance
        if place not in self._told:  # to write a traceback takes as long as many cases
            self._told[place] = "".join(traceback.format_exception(error))[-WORDS_MAX:]
        return Reaction("crash", self._told[place], place, goes_on=True)

    def coverage(self) -> int:
        """Lines that were reached."""
        return len(self._lines.seen)

    def close(self) -> None:
        """Count no more."""
        self._lines.stop()


def _places(trace: TracebackType | None) -> Iterator[tuple[str, int, str]]:
    """File, line and function of each frame, the outermost first."""
    for frame, line in traceback.walk_tb(trace):
        code = frame.f_code
        yield code.co_filename, line, code.co_name


class Lines:
    """Lines of a module and its package that were reached."""

    def __init__(self, module: ModuleType) -> None:
        file = getattr(module, "__file__", None) or ""
        package = "." in module.__name__ or hasattr(module, "__path__")
        self._within = os.path.dirname(file) + os.sep if package and file else file
        self.seen: set[tuple[CodeType, int]] = set()

    def holds(self, filename: str) -> bool:
        """Whether a file is of the module or its package."""
        return bool(self._within) and filename.startswith(self._within)

    def start(self) -> None:
        """From now on."""
        if sys.version_info >= (3, 12):
            monitoring = sys.monitoring
            if monitoring.get_tool(MONITOR) is None:
                monitoring.use_tool_id(MONITOR, "orbitferry fuzz")
            monitoring.register_callback(MONITOR, monitoring.events.LINE, self._line)
            monitoring.set_events(MONITOR, monitoring.events.LINE)
        else:
            sys.settrace(self._call)

    def stop(self) -> None:
        """Until now."""
        if sys.version_info >= (3, 12):
            monitoring = sys.monitoring
            if monitoring.get_tool(MONITOR) is not None:
                monitoring.set_events(MONITOR, 0)
                monitoring.free_tool_id(MONITOR)
        else:
            sys.settrace(None)

    def _line(self, code: CodeType, line: int) -> Any:
        if self.holds(code.co_filename):
            self.seen.add((code, line))
        return sys.monitoring.DISABLE  # type: ignore[attr-defined, unused-ignore]

    def _call(self, frame: FrameType, event: str, arg: Any) -> Any:
        return self._traced if self.holds(frame.f_code.co_filename) else None

    def _traced(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            self.seen.add((frame.f_code, frame.f_lineno))
        return self._traced


def python_target(text: str, options: TargetOptions) -> PythonTarget:
    """The function that ``python:module:name`` stands for.  Raises `ConfigError`."""
    module_name, _, name = text.removeprefix(PYTHON).partition(":")
    module = _import(module_name)
    function = getattr(module, name, None) if name else None
    if not callable(function):
        raise ConfigError(
            "--target", f"{module_name} has no function {name!r}", "python:MODULE:FUNCTION"
        )
    return PythonTarget(text, function, options, module)


def _import(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever somebody else's module does as it is loaded
        raise ConfigError(
            "--target", f"module {name!r} cannot be imported: {words_of(error)}"
        ) from None
