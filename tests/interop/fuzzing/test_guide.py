"""Atheris beside the fuzzer: one that is none here stands in for it, as few have it installed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.fuzzing import CaseStream, Guide, TargetOptions, known
from interop.fuzzing import guide as module
from stack.core.errors import ConfigError

STAND_IN = """
import contextlib, sys, time
from pathlib import Path

@contextlib.contextmanager
def instrument_imports(include):
    assert include == ["json"], include
    yield

def Mutate(data, most): return data + b"!"

def Setup(arguments, feed, custom_mutator):
    global run
    folder = Path(arguments[1])
    def run():
        if {ends}: sys.exit("no such function of libFuzzer")
        seeds = sorted(path.name for path in folder.iterdir())
        (folder / "new").write_bytes(custom_mutator(b"seeds", 4096, 1))
        feed(b"{{}}")
        feed(b"no json")
        feed(b"[" * 100_000)
        feed(b"[[" * 100_000)
        (folder / "zz").write_bytes(repr(len(seeds)).encode())
        time.sleep(60)

def Fuzz(): run()
"""


@pytest.fixture
def atheris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "atheris.py"
    path.write_text(STAND_IN.format(ends=False))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    yield path
    sys.modules.pop("atheris", None)


@pytest.mark.slow
def test_what_it_finds_is_fed_like_other_cases(atheris: Path) -> None:
    guide = Guide("python:json:loads", "raw", 1, TargetOptions())
    stream = CaseStream(known("raw"), 1, [b"[1]"] * 7, guide=guide)
    try:
        guided: list[bytes] = []
        while b"7" not in guided:
            case = next(stream)
            if case.form == "guided":
                guided += case.messages
            else:
                time.sleep(0.01)
    finally:
        stream.close()
    assert len(guided) == 3, "a new one, one for each place where it failed, and the mark"
    assert sum(octets.startswith(b"[[[[") for octets in guided) == 1


def wait_for_it(guide: Guide) -> None:
    while True:
        guide.new()
        time.sleep(0.05)


@pytest.mark.slow
def test_one_that_ends_and_leaves_nothing_is_told(atheris: Path) -> None:
    atheris.write_text(STAND_IN.format(ends=True))
    guide = Guide("python:json:loads", "raw", 1, TargetOptions())
    guide.start([b"[1]"])
    try:
        with pytest.raises(ConfigError, match="left nothing: no such function"):
            wait_for_it(guide)
    finally:
        guide.close()


def test_where_it_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MODULE", "no_such_atheris")
    with pytest.raises(ConfigError, match="is not installed"):
        Guide("python:json:loads", "raw", 1, TargetOptions())
    with pytest.raises(ConfigError, match="targets in Python"):
        Guide("udp://127.0.0.1:1113", "ltp", 1, TargetOptions())
