"""An environment as `pip install orbitferry` makes it, without the index: for tests of what a
program outside the repository finds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


class Installed:
    """A folder like `site-packages`: what the wheel holds, and links to what it requires, and what
    `also` does.  Neither the repository is there nor what its tests need."""

    def __init__(self, folder: Path, *extras: str, also: Iterable[str] = ()) -> None:
        self.folder = folder
        folder.mkdir()
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        project = settings["project"]
        _lay_out(folder, settings["tool"]["setuptools"])
        about = folder / f"{project['name']}-{project['version']}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        plugins = project["entry-points"]["pytest11"]
        lines = [f"{name} = {module}" for name, module in plugins.items()]
        (about / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines, ""]))
        wanted = [*project["dependencies"], *also]
        for extra in extras:
            wanted += project["optional-dependencies"][extra]
        seen: set[str] = set()
        for text in wanted:
            _link(folder, Requirement(text), set(), seen)

    def run(self, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run Python with these packages and no others."""
        return subprocess.run(
            [sys.executable, "-S", *map(str, arguments)],
            cwd=cwd,
            env={"PATH": os.defpath, "PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=100,
        )


def _lay_out(folder: Path, settings: Mapping[str, Any]) -> None:
    """Copy what the wheel holds, as setuptools has it."""
    data: Mapping[str, list[str]] = settings["package-data"]
    for included in settings["packages"]["find"]["include"]:
        for init in sorted(
            path for top in ROOT.glob(included) for path in top.rglob("__init__.py")
        ):
            package = init.parent.relative_to(ROOT)
            place = folder / package
            if not place.parent.is_dir():
                continue  # what it is in is no package
            place.mkdir()
            named = ".".join(package.parts)
            for pattern in ("*.py", *data["*"], *data.get(named, ())):
                for path in init.parent.glob(pattern):
                    target = place / path.relative_to(init.parent)
                    target.parent.mkdir(exist_ok=True)
                    shutil.copyfile(path, target)


def _link(folder: Path, requirement: Requirement, extras: set[str], seen: set[str]) -> None:
    """Link what a requirement brings, and what that requires; `extras` are those that were asked
    for of the package that has the requirement."""
    marker = requirement.marker
    if marker is not None and not any(marker.evaluate({"extra": one}) for one in {"", *extras}):
        return
    if requirement.name in seen:
        return
    seen.add(requirement.name)
    found = distribution(requirement.name)
    tops = {path.parts[0] for path in found.files or () if path.parts[0] != ".."}
    for top in tops - {"__pycache__"}:
        place = folder / top
        if not place.exists():
            place.symlink_to(Path(str(found.locate_file(top))))
    for text in found.requires or ():
        _link(folder, Requirement(text), requirement.extras, seen)
