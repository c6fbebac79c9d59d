"""Each module can be imported alone, in any order: nobody depends on who came first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

UPWARDS = (
    *("core", "wire", "contacts", "cose", "policy", "identity", "audit", "ports"),
    *("fec", "security", "routing", "engines", "services", "storage", "adapters", "node"),
    *("link_models", "simulator", "interop", "cli", "orbitferry"),
)
"""Packages by what they import: the order costs or saves time, and changes nothing else."""

SCRIPT = """
import os, sys
import asyncio, numpy, cryptography.hazmat.primitives.ciphers.aead, matplotlib.figure, typer, rich
import msgspec, sgp4.api, cbor2, fastcrc, reedsolo, uvloop, hypothesis.stateful, pytest  # warm
if sys.dont_write_bytecode:  # each module is compiled once all the same
    sys.pycache_prefix, sys.dont_write_bytecode = sys.argv[1], False
names = sys.argv[2:]
failed, tried, needs = 0, set(), {}
for name in names:
    if name in tried:
        continue
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            __import__(name)
        except BaseException as error:
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
            os._exit(1)
        os.write(writer, " ".join(sys.modules.keys() & names).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        loaded = set(pipe.read().split())
    failed |= os.waitpid(child, 0)[1]
    # What its package imports, whoever imports it imports just so.
    tried |= {name, *(one for one in loaded if one.startswith(name + "."))}
    if loaded:
        needs[name] = loaded
    # What imports nothing that is still to be tried cannot hide anything from it.
    for ready in [one for one in needs if needs[one] <= tried]:
        del needs[ready]
        __import__(ready)
sys.exit(1 if failed else 0)
"""


def rank(name: str) -> tuple[int, str]:
    """Where a module comes among those that are tried."""
    top, *under = name.split(".")
    package = under[0] if top == "stack" and under else top
    return (UPWARDS.index(package) if package in UPWARDS else -1, name)


@pytest.mark.slow
@pytest.mark.timeout(600)  # a process for each of 700 modules, on a machine that may be busy
def test_every_module_imports_alone(tmp_path: Path) -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in ("orbitferry", "stack", "link_models", "interop")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__main__.py"  # which runs
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), *sorted(names, key=rank)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
