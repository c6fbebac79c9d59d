"""Every public thing says what it is for, and the examples in docstrings run."""

from __future__ import annotations

import ast
import asyncio
import builtins
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

from interop.machines.ports import free_ports
from link_models.clock import run_virtual
from stack.core.eid import Eid
from stack.node.config import load_config
from stack.node.node import Node
from stack.services.files import FilesService
from stack.services.jobs import CommandHandler, JobClient, JobServer
from stack.services.messages import Mailbox
from tests.cli.helpers import write_config
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
        inner = late.__cause__ or late.__context__  # early releases of Python 3.11 have no cause
        frames = traceback.walk_tb(getattr(inner, "__traceback__", None))
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


def own_nodes(function: ast.AST) -> Iterator[tuple[ast.AST, tuple[str, ...]]]:
    """What stands in a function itself, each with the errors that are caught around it."""
    left: list[tuple[ast.AST, tuple[str, ...]]] = [
        (node, ()) for node in ast.iter_child_nodes(function)
    ]
    while left:
        node, caught = left.pop()
        yield node, caught
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        here = caught
        if isinstance(node, ast.Try):
            here += tuple(ast.unparse(one.type) for one in node.handlers if one.type)
        elif isinstance(node, ast.With):
            here += tuple(ast.unparse(one.context_expr) for one in node.items)
        within = set(node.body) if isinstance(node, ast.Try | ast.With) else set()
        left += [(one, here if one in within else caught) for one in ast.iter_child_nodes(node)]


def raised(function: ast.AST, names: dict[str, Any]) -> Iterator[type[BaseException]]:
    """Errors that a function itself raises, of those that somebody else is to catch."""
    for node, caught in own_nodes(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            call = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            path = ast.unparse(call).split(".")
            error = names.get(path[0])
            for part in path[1:]:
                error = getattr(error, part, None)
            if error is None:
                error = getattr(builtins, path[0], None)
            if not inspect.isclass(error) or not issubclass(error, Exception):
                continue
            if error in (AssertionError, NotImplementedError):
                continue
            if not any(one.__name__ in text for one in error.__mro__[:-3] for text in caught):
                yield error


def unannounced() -> Iterator[str]:
    for module in MODULES:
        name, source = module.__name__, Path(module.__file__ or "").read_text()
        if name.startswith("stack.cli"):  # its docstrings are help, and its errors exit codes
            continue
        todo: list[tuple[ast.AST, str, str]] = [(ast.parse(source), "", module.__doc__ or "")]
        while todo:
            owner, prefix, about = todo.pop()
            for node in ast.iter_child_nodes(owner):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    text = ast.get_docstring(node) or ""
                    todo.append((node, f"{prefix}{node.name}.", about + text))
                elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    text = ast.get_docstring(node) or ""
                    makes = node.name in ("__init__", "__post_init__")
                    if (node.name.startswith("_") and not makes) or text.startswith("See `"):
                        continue
                    if not text and not makes:  # what a protocol says of it holds
                        continue
                    for error in raised(node, vars(module)):
                        if not any(one.__name__ in about + text for one in error.__mro__[:-2]):
                            yield f"{name}.{prefix}{node.name}: {error.__name__}"


@pytest.mark.slow
def test_docstrings_name_the_errors() -> None:
    missing = sorted(set(unannounced()))
    assert not missing, "\n".join(["raised, and named in no docstring:", *missing])


def test_an_error_that_is_caught_needs_no_name() -> None:
    code = "def f():\n try:\n  raise ValueError\n except ValueError:\n  raise KeyError from None"
    (function,) = ast.parse(code).body
    assert list(raised(function, {})) == [KeyError]
