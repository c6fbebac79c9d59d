"""Contact plans in files: which format it is, read and written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from stack.contacts.hdtn import read_hdtn, write_hdtn
from stack.contacts.ion import read_ion, write_ion
from stack.contacts.native import read_json, read_toml, write_json
from stack.contacts.numbers import node_numbers, numbered
from stack.contacts.passed import PassedOver
from stack.contacts.plan import FILE_BYTES_MAX, Plan
from stack.core.errors import ConfigError

Format = Literal["json", "toml", "hdtn", "ion"]

NAMES_SUFFIX = ".nodes.json"
"""What the file is called that holds the numbers of nodes beside an HDTN plan: its name, and this
after it."""

_SUFFIXES: tuple[tuple[str, Format], ...] = (
    (".hdtn.json", "hdtn"),
    (".json", "json"),
    (".toml", "toml"),
    (".ionrc", "ion"),
    (".rc", "ion"),
    (".txt", "ion"),
)


def load_plan(
    path: Path | str,
    reference_ms: int = 0,
    format: Format | None = None,
    passed: PassedOver | None = None,
) -> Plan:
    """Read a contact plan.

    Without `format`, the name decides (``.toml``, ``.ionrc``, ``.rc``, ``.txt``), and for JSON
    and unknown names the content: HDTN's JSON or ours when it begins with ``{``, else ION's
    commands.  `reference_ms` (DTN) is the zero of relative times.  What of ION's and HDTN's
    plans was passed over is counted in `passed`.  Raises `ConfigError` naming the file, and the
    line or key that is wrong.
    """
    path = Path(path)
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(str(path), f"longer than {FILE_BYTES_MAX} octets")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeError:
        raise ConfigError(str(path), "is not UTF-8 text") from None
    kind = format or _format(path, text)
    if kind == "toml":
        return read_toml(text, reference_ms, str(path))
    try:
        match kind:
            case "ion":
                return read_ion(text, reference_ms, passed)
            case "hdtn":
                return read_hdtn(text, reference_ms, passed)
            case _:
                return read_json(text, reference_ms)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.key}", error.message, error.remedy) from None


def dump_plan(
    plan: Plan,
    path: Path | str,
    format: Format | None = None,
    reference_ms: int | None = None,
    numbers: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Write a contact plan in the format that is named, or that the file's name asks for
    (``.hdtn.json``, ``.json``, ``.ionrc``, ``.rc``, ``.txt``).  The file is there whole, or as it
    was before.

    `reference_ms` is the zero of HDTN's times (required) and of ION's (absolute without it).
    For these two, nodes that have names get numbers: those in `numbers`, else the smallest that
    are free.  The numbers are given back, and stand in the file as comments (ION) or in a file of
    the same name with ``.nodes.json`` after it (HDTN, whose format has none).  Raises
    `ConfigError` when the format cannot hold the plan or the file cannot be written.
    """
    path = Path(path)
    kind = format or _by_suffix(path)
    used: dict[str, int] = {}
    if kind in ("ion", "hdtn"):
        used = node_numbers(plan, numbers)
        plan = numbered(plan, used) if used else plan
    match kind:
        case "json":
            text = write_json(plan)
        case "ion":
            text = "".join(f"# node {number} is {node}\n" for node, number in used.items())
            text += write_ion(plan, reference_ms)
        case "hdtn":
            if reference_ms is None:
                raise ConfigError("reference_ms", "HDTN's times need a zero", "give a DTN time")
            text = write_hdtn(plan, reference_ms)
        case _:
            raise ConfigError(
                str(path), "no format to write", "name it .json, .hdtn.json or .ionrc"
            )
    if used and kind == "hdtn":
        names = msgspec.json.format(msgspec.json.encode(used), indent=2).decode()
        _write(path.with_name(path.name + NAMES_SUFFIX), names + "\n")
    _write(path, text)
    return used


def _write(path: Path, text: str) -> None:
    """Put a file in place at once: whoever reads it meanwhile has the old one or the new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            part.chmod(path.stat().st_mode & 0o777)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise ConfigError(str(path), f"cannot be written: {error.strerror}") from None


def _by_suffix(path: Path) -> Format | None:
    name = path.name.lower()
    return next((kind for suffix, kind in _SUFFIXES if name.endswith(suffix)), None)


def _format(path: Path, text: str) -> Format:
    kind = _by_suffix(path)
    if kind in ("toml", "ion", "hdtn"):
        return kind
    if kind is None and not text[:4096].lstrip().startswith("{"):
        return "ion"
    # HDTN's keys appear in the first entry; a plan without entries is read as ours.
    return "hdtn" if '"startTime"' in text[:4096] or '"format"' not in text[:4096] else "json"
