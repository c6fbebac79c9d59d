"""Configuration files: read, checked against their classes, and what is wrong said with its place.

All files in TOML that people write for us come through here.  A class of the file is a frozen
dataclass or a `msgspec.Struct` with checks of its own in `__post_init__`, which raise `ConfigError`
with the name of the field; this module knows the rest: unknown keys and what was meant, wrong types
and what to write, the path of the key in the file (`links[1].ltp.segment_bytes`), and its line.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from stack.core.checks import bounds_of, check_meta, members
from stack.core.errors import ConfigError
from stack.core.toml_lines import join, line_of, repeated

T = TypeVar("T")

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
    "datetime": "a date",
    "date": "a date",
    "time": "a time",
}
_UNITS = {
    "_ns": "nanoseconds",
    "_us": "microseconds",
    "_ms": "milliseconds",
    "_s": "seconds",
    "_h": "hours",
    "_bps": "bits per second",
    "_bytes": "octets",
    "_hz": "hertz",
    "_m": "metres",
    "_km": "kilometres",
    "_deg": "degrees",
    "_db": "decibels",
    "_dbm": "decibels above a milliwatt",
    "_w": "watts",
    "_k": "kelvins",
}
_EXPECTED = re.compile(r"Expected `([^`]*)`(.*?)(?:, got `([^`]*)`)?$")
_REPEATED = re.compile(r"(?:overwrite a value|Cannot declare .* twice) \(at line (\d+),")
_MISSING = re.compile(r"Object missing required field `(.*)`$")


def load(
    path: Path,
    parse: Callable[[dict[str, Any]], T],
    *,
    what: str,
    bytes_max: int,
    json: bool = False,
) -> T:
    """What `parse` makes of a file; with `json`, of JSON where its name ends so.

    `what` is what the file should be ("a scenario").  Raises `ConfigError` with file, line, key and
    remedy.
    """
    try:
        if path.stat().st_size > bytes_max:
            raise ConfigError(str(path), f"too large for {what}", "is it the right file?")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error), "check the path") from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), "not UTF-8 text", "is it the right file?") from None
    if json and path.suffix.lower() == ".json":
        return _parsed(text, parse, f"{path}", _json, lambda key: 0)
    return parsed(text, parse, str(path))


def parsed(text: str, parse: Callable[[dict[str, Any]], T], where: str) -> T:
    """What `parse` makes of a document; `where` is what errors call it."""
    return _parsed(text, parse, where, loads, lambda key: line_of(text, key))


def _parsed(
    text: str,
    parse: Callable[[dict[str, Any]], T],
    where: str,
    read: Callable[[str], dict[str, Any]],
    line_of_key: Callable[[str], int],
) -> T:
    try:
        data = read(text)
    except ConfigError as error:
        raise ConfigError(where, error.message, error.remedy) from None
    try:
        return parse(data)
    except ConfigError as error:
        written = _written(data, error.key)
        line = line_of_key(written)
        place = f"{where}:{line}" if line else where
        key = f"{place}: {written}" if written else place
        message = error.message
        if error.other:
            other = line_of_key(error.other)
            message += f", see {error.other}" + (f" on line {other}" if other else "")
        raise ConfigError(key, message, error.remedy) from None


def _written(data: Any, key: str) -> str:
    """Of keys of one table that do not fit together, those that the document has, if any."""
    first, *others = key.split(", ")
    if not others:
        return key
    path, _, name = first.rpartition(".")
    for step in re.findall(r"[^.\[\]]+", path):
        try:
            data = data[int(step)] if isinstance(data, list) else data[step]
        except (LookupError, TypeError, ValueError):
            return key
    there = [one for one in (name, *others) if isinstance(data, Mapping) and one in data]
    return join(path, ", ".join(there)) if there else key


def loads(text: str) -> dict[str, Any]:
    """A document as it is written.  Raises `ConfigError`."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also for an integer of thousands of digits
        remedy = "is it text? put it in quotes" if "Invalid value" in str(error) else ""
        twice = _twice(text, str(error))
        raise ConfigError("", f"not TOML: {twice}{error}", remedy) from None


def _twice(text: str, error: str) -> str:
    """Of a key or table that is there for the second time, where it was first."""
    found = _REPEATED.search(error)
    place, first = repeated(text, int(found[1])) if found else ("", 0)
    return f"{place} is on line {first} already: " if first else ""


def _json(text: str) -> dict[str, Any]:
    try:
        data = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ConfigError("", f"not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError("", "not an object", "is it the right file?")
    return data


def convert(data: Any, kind: type[T], key: str = "") -> T:
    """A value of `kind` from what a document has at `key`.  Raises `ConfigError` with the key's
    whole path, counted from the document, and the remedy."""
    try:
        _look(data, kind, key)
        return msgspec.convert(data, kind, strict=True)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `$")
        where = join(key, place.removesuffix("`").lstrip("."))
        if isinstance(cause := error.__cause__, ConfigError):
            other = join(where, cause.other) if cause.other else ""
            raise ConfigError(
                join(where, cause.key), cause.message, cause.remedy, other=other
            ) from None
        raise _worded(where, text) from None
    except RecursionError:
        raise ConfigError(key, "nested too deep") from None


def _worded(where: str, text: str) -> ConfigError:
    """What msgspec says, in the words of files."""
    if missing := _MISSING.match(text):
        return ConfigError(join(where, missing[1]), "is missing", f"write {missing[1]} = ...")
    if found := _EXPECTED.match(text):
        wanted = " or ".join(_WORDS.get(one, one) for one in found[1].split(" | "))
        got = f", not {_WORDS.get(found[3], found[3])}" if found[3] else ""
        remedy = _quotes(found[1].split(" | "), found[3]) or _unit(where)
        return ConfigError(where, f"must be {wanted}{found[2]}{got}", remedy)
    return ConfigError(where, text[:1].lower() + text[1:])


def _quotes(wanted: list[str], found: str | None) -> str:
    """What to do where quotes are missing, or are too many."""
    if "str" in wanted and found in ("int", "float", "bool", "datetime", "date", "time"):
        return "put it in quotes"
    return "without quotes" if "bool" in wanted and found == "str" else ""


def _unit(where: str) -> str:
    name = where.rsplit(".", 1)[-1].split("[")[0]
    found = max((one for one in _UNITS if name.endswith(one)), key=len, default="")
    return f"a number of {_UNITS[found]}, without quotes" if found else ""


def _look(data: Any, kind: Any, key: str) -> None:
    """Raise `ConfigError` for what msgspec passes, or says less well: unknown keys, with the
    nearest known one; numbers that are none."""
    if isinstance(data, int | float) and not isinstance(data, bool):
        if isinstance(data, float) and math.isnan(data):
            raise ConfigError(key, "is not a number")
        if bounds := bounds_of(kind):
            check_meta(key, data, bounds)
    if isinstance(data, Mapping):
        fields = _fields_for(data, kind, key)
        for name, value in data.items():
            where = join(key, str(name))
            if fields is not None and name not in fields:
                near = difflib.get_close_matches(str(name), fields, 1)
                remedy = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(fields)
                raise ConfigError(where, "unknown key", remedy)
            _look(value, fields[name] if fields else None, where)
    elif isinstance(data, list):
        lists = [one for one in members(_bare(kind)) if typing.get_origin(one) in (tuple, list)]
        inner = [one for one in typing.get_args(lists[0]) if one is not ...] if lists else [None]
        for index, value in enumerate(data):
            _look(value, inner[index % len(inner)], f"{key}[{index}]")


def _bare(kind: Any) -> Any:
    """A kind without what is annotated to it."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind


def _fields_for(data: Mapping[str, Any], kind: Any, key: str) -> dict[str, Any] | None:
    """The keys of a table and their kinds; None where any may be.  Raises `ConfigError` for a tag
    that no kind has."""
    structs = [one for one in members(_bare(kind)) if _is_table(one)]
    tags = {tag: one for one in structs if (tag := _tag(one))}
    if not tags:
        return _hints(structs[0]) if structs else None
    name = next(iter(tags))[0]
    if name not in data:
        raise ConfigError(join(key, name), "is missing", "one of " + ", ".join(t for _, t in tags))
    chosen = tags.get((name, data[name])) if isinstance(data[name], str) else None
    if chosen is None:
        known = [tag for _, tag in tags]
        near = difflib.get_close_matches(str(data[name]), known, 1)
        remedy = f"did you mean {near[0]!r}?" if near else "one of " + ", ".join(known)
        raise ConfigError(join(key, name), f"{data[name]!r} is unknown", remedy)
    return {name: str, **_hints(chosen)}


def _is_table(kind: Any) -> bool:
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    return is_struct or dataclasses.is_dataclass(kind)


def _tag(kind: Any) -> tuple[str, str] | None:
    """The field and the word by which a struct is told from others."""
    config = getattr(kind, "__struct_config__", None)
    return (config.tag_field, config.tag) if config and config.tag else None


@lru_cache(maxsize=256)
def _hints(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    if issubclass(kind, msgspec.Struct):
        return {one.encode_name: hints[one.name] for one in msgspec.structs.fields(kind)}
    return {one.name: hints[one.name] for one in dataclasses.fields(kind) if one.init}
