"""Every public thing says what it is for, and the examples in docstrings run."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from link_models.clock import run_virtual
from stack.core.eid import Eid
from stack.node.config import load_config
from stack.node.node import Node
from stack.services.files import FilesService
from stack.services.jobs import CommandHandler, JobClient, JobServer
from stack.services.messages import Mailbox
from tests.cli.helpers import free_ports, write_config
from tests.services.fake_port import FakeNet

PACKAGES = ("stack", "link_models", "interop")


def modules() -> Iterator[ModuleType]:
    for package in PACKAGES:
        root = importlib.import_module(package)
        yield root
        for found in pkgutil.walk_packages(root.__path__, f"{package}."):
            yield importlib.import_module(found.name)


MODULES = list(modules())
CLASSES = [
    one
    for module in MODULES
    for one in vars(module).values()
    if inspect.isclass(one) and one.__module__ == module.__name__
]
PROTOCOLS = [one for one in CLASSES if getattr(one, "_is_protocol", False)]


def promised(owner: type, name: str) -> bool:
    """Whether `owner` is one of the ways to keep a protocol that says what the method is for."""
    for protocol in PROTOCOLS:
        method = vars(protocol).get(name)
        if method is None or not inspect.getdoc(method) or protocol is owner:
            continue
        verbs = [verb for verb, one in vars(protocol).items() if inspect.isfunction(one)]
        if all(hasattr(owner, verb) for verb in verbs if not verb.startswith("_")):
            return True
    return False


def undocumented() -> Iterator[str]:
    for module in MODULES:
        name = module.__name__
        if not module.__doc__ and Path(module.__file__ or "").read_text():
            yield name
        for key, one in vars(module).items():
            if key.startswith("_") or getattr(one, "__module__", None) != name:
                continue
            if inspect.isfunction(one) and not one.__doc__ and one.__qualname__ == key:
                yield f"{name}.{key}"
            if not inspect.isclass(one):
                continue
            if not one.__doc__ or one.__doc__.startswith(f"{one.__name__}("):  # of a dataclass
                yield f"{name}.{key}"
            for verb, method in vars(one).items():
                is_ours = inspect.isfunction(method) or isinstance(method, property)
                if verb.startswith("_") or not is_ours:
                    continue
                if isinstance(method, property):
                    code = getattr(method.fget, "__module__", "")
                else:
                    code = method.__module__
                if not code.startswith(PACKAGES):  # what a library has put there
                    continue
                if not inspect.getdoc(getattr(one, verb)) and not promised(one, verb):
                    yield f"{name}.{key}.{verb}"


def test_every_public_thing_has_a_docstring() -> None:
    missing = list(undocumented())
    assert not missing, "\n".join(missing)


def examples() -> Iterator[Any]:
    """Indented lines below which things of ours are made or waited for, by whose they are."""
    for owner in CLASSES:
        text = inspect.cleandoc(vars(owner).get("__doc__") or "")
        for block in re.findall(r"(?:^ {4}[^\n]*\n|^\n)+", f"{text}\n", re.MULTILINE):
            code = textwrap.dedent(block).strip()
            if re.match(r"async |await |(\w+ = )?[A-Z]\w+\(", code):
                yield pytest.param(code, id=owner.__name__)


EXAMPLES = list(examples())


async def run_example(code: str, names: dict[str, object]) -> None:
    """Most wait in the end for something that does not come."""
    scope = {"asyncio": asyncio, "Path": Path, "Eid": Eid, "print": lambda *_: None, **names}
    exec(f"async def example():\n{textwrap.indent(code, '    ')}", scope)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3):
            await scope["example"]()  # type: ignore[operator]


@pytest.mark.parametrize("code", EXAMPLES)
def test_examples_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("tasking.bin", "scene.tif", "dem.tif"):
        (tmp_path / name).write_bytes(b"content")
    write_config(tmp_path, "gs1", peer="sat1", ports=free_ports(2))
    if "Node(" in code:
        asyncio.run(run_example(code, {"Node": Node, "load_config": load_config}))
        return

    async def main() -> None:
        port = FakeNet().node("dtn://gs1/").restart()
        classes = (CommandHandler, FilesService, JobClient, JobServer, Mailbox)
        names: dict[str, object] = {one.__name__: one for one in classes}
        if "FilesService(" not in code:
            names["files"] = files = FilesService(port, tmp_path / "files")
            names["inbox"] = files.inbox
        await run_example(code, {"port": port, "use": id, **names})

    run_virtual(main)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 7
