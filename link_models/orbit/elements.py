"""Elements of satellites in any notation: TLE, or OMM as key = value, CSV, JSON or XML."""

from __future__ import annotations

from pathlib import Path

from link_models.orbit.mean_elements import MeanElements, Satellite, bound_bytes
from link_models.orbit.omm import (
    KVN_VERSION,
    parse_omm_csv,
    parse_omm_json,
    parse_omm_kvn,
    parse_omm_xml,
)
from link_models.orbit.tle import parse_tle
from stack.core.errors import ConfigError

__all__ = [
    "MeanElements",
    "Satellite",
    "load_elements",
    "parse_elements",
    "parse_omm_csv",
    "parse_omm_json",
    "parse_omm_kvn",
    "parse_omm_xml",
    "parse_tle",
]


def parse_elements(text: str, *, origin: str = "elements") -> list[Satellite]:
    """Read any of the notations, told apart by how the text begins.

    Raises `ConfigError`, whose key is ``origin:line``.
    """
    # Line numbers in errors count what comes before, except in XML, which may have nothing there.
    body = text.lstrip("\ufeff \t\r\n")
    if body.startswith("<"):
        return parse_omm_xml(body, origin=origin)
    if body.startswith(("[", "{")):
        return parse_omm_json(body, origin=origin)
    if KVN_VERSION.match(_without_comments(body)):
        return parse_omm_kvn(text.removeprefix("\ufeff"), origin=origin)
    header = {key.strip('" \r') for key in body[:4096].partition("\n")[0].split(",")}
    if {"EPOCH", "MEAN_MOTION"} <= header:
        return parse_omm_csv(body, origin=origin)
    return parse_tle(text.removeprefix("\ufeff"), origin=origin)


def _without_comments(body: str) -> str:
    """What follows the comments that somebody has put before the first line."""
    lines = body[:4096].splitlines()
    return next((line for line in lines if line and not line.startswith(("COMMENT", "#"))), "")


def load_elements(path: str | Path) -> list[Satellite]:
    """Read a file of elements.  Raises `ConfigError` if it is unreadable, too large or wrong."""
    file = Path(path)
    try:
        bound_bytes(file.stat().st_size, str(file))
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(file), f"cannot be read: {error}") from error
    found = parse_elements(text, origin=str(file))
    if not found:
        raise ConfigError(str(file), "holds no elements")
    return found
