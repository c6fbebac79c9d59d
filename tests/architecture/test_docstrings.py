"""Every public thing says what it is for, and the examples in docstrings run."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pkgutil
import re
import textwrap
import traceback
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


WAITS = {
    "FilesService": "async for received in files.inbox:",
    "Inbox": "async for received in inbox:",
    "JobClient": "status = await client.wait(job)",
    "JobServer": "async with asyncio.TaskGroup() as group:",
    "Mailbox": "async for delivery in mailbox:",
}
"""Where examples wait for another node, and here there is none; the others come to their end."""


def examples() -> Iterator[Any]:
    """Indented lines below which things of ours are made or waited for, by whose they are."""
    for owner in CLASSES:
        text = inspect.cleandoc(vars(owner).get("__doc__") or "")
        for block in re.findall(r"(?:^ {4}[^\n]*\n|^\n)+", f"{text}\n", re.MULTILINE):
            code = textwrap.dedent(block).strip()
            if re.match(r"async |await |(\w+ = )?[A-Z]\w+\(", code):
                yield pytest.param(code, WAITS.get(owner.__name__), id=owner.__name__)


EXAMPLES = list(examples())


async def run_example(code: str, names: dict[str, object]) -> str | None:
    """The line where it waits for something that does not come; None when it came to its end."""
    scope = {"asyncio": asyncio, "Path": Path, "Eid": Eid, "print": lambda *_: None, **names}
    exec(f"async def example():\n{textwrap.indent(code, '    ')}", scope)
    try:
        async with asyncio.timeout(3):
            await scope["example"]()  # type: ignore[operator]
    except TimeoutError as late:
        frames = traceback.walk_tb(getattr(late.__cause__, "__traceback__", None))
        (line,) = (line for frame, line in frames if frame.f_code.co_name == "example")
        return code.splitlines()[line - 2].strip()  # the first line is that of `def`
    return None


@pytest.mark.parametrize(("code", "waits"), EXAMPLES)
def test_examples_run(
    code: str, waits: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("tasking.bin", "scene.tif", "dem.tif"):
        (tmp_path / name).write_bytes(b"content")
    write_config(tmp_path, "gs1", peer="sat1", ports=free_ports(2))
    if "Node(" in code:
        names = {"Node": Node, "load_config": load_config}
        assert asyncio.run(run_example(code, names)) == waits
        return

    async def main() -> str | None:
        port = FakeNet().node("dtn://gs1/").restart()
        classes = (CommandHandler, FilesService, JobClient, JobServer, Mailbox)
        names: dict[str, object] = {one.__name__: one for one in classes}
        if "FilesService(" not in code:
            names["files"] = files = FilesService(port, tmp_path / "files")
            names["inbox"] = files.inbox
        return await run_example(code, {"port": port, "use": id, **names})

    assert run_virtual(main) == waits


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 7
