"""Each module can be imported alone, in any order: nobody depends on who came first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import os, sys
import asyncio, numpy, cryptography.hazmat.primitives.ciphers.aead, matplotlib.figure, typer, rich
import msgspec, sgp4.api, cbor2, fastcrc, reedsolo, uvloop  # warm
# Each module is compiled once, also where Python is told to keep nothing.
sys.pycache_prefix, sys.dont_write_bytecode = sys.argv[1], False
failed = 0
for name in sys.argv[2:]:
    child = os.fork()
    if child == 0:
        try:
            __import__(name)
        except BaseException as error:
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
            os._exit(1)
        os._exit(0)
    failed |= os.waitpid(child, 0)[1]
sys.exit(1 if failed else 0)
"""


@pytest.mark.timeout(600)  # a process for each of 500 modules, on a machine that may be busy
def test_every_module_imports_alone(tmp_path: Path) -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in ("orbitferry", "stack", "link_models", "interop")
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.name != "__main__.py"  # which runs
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
