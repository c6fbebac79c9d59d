"""Quantities as people write and read them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

from stack.core.errors import ConfigError

_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z/]*)")
_DURATIONS: Final = (
    ("ns", 1e-9),
    ("us", 1e-6),
    ("ms", 1e-3),
    ("", 1.0),
    ("s", 1.0),
    ("m", 60.0),
    ("min", 60.0),
    ("h", 3600.0),
    ("d", 86_400.0),
    ("w", 7 * 86_400.0),
)
_MULTIPLES: Final = (
    ("", 1.0),
    ("k", 1e3),
    ("K", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
)
_BINARY: Final = (("Ki", 2.0**10), ("Mi", 2.0**20), ("Gi", 2.0**30), ("Ti", 2.0**40))


def _parse(text: str, units: Iterable[tuple[str, float]], what: str, example: str) -> float:
    match = _QUANTITY.fullmatch(text.strip())
    factor = dict(units).get(match[2]) if match is not None else None
    value = math.inf if match is None or factor is None else float(match[1]) * factor
    if value == math.inf:
        raise ConfigError(what, f"{text!r} is none", f"write it like {example}")
    return value


def parse_duration(text: str) -> float:
    """Seconds of ``90``, ``250ms``, ``5m``, ``2h``, ``7d``.  Raises `ConfigError`."""
    return _parse(text, _DURATIONS, "duration", "90s, 250ms, 5m, 2h or 7d")


def parse_rate(text: str) -> float:
    """Bits a second of ``256k``, ``10M``, ``1.5Gbit/s``; ``inf`` is no limit.  Raises
    `ConfigError`."""
    if text in ("inf", "unlimited"):
        return math.inf
    bare = re.sub(r"(?:bit/s|bps|b/s)$", "", text.strip())
    rate = _parse(bare, _MULTIPLES, "rate", "256k, 10M or 1.5G (bits a second)")
    if not rate > 0:
        raise ConfigError("rate", f"{text!r} is nothing", "write it like 256k, 10M or 1.5G")
    return rate


def parse_size(text: str) -> int:
    """Octets of ``1500``, ``64k``, ``10MB``, ``1GiB``.  Raises `ConfigError`."""
    bare = re.sub(r"B$", "", text.strip())
    return round(_parse(bare, (*_MULTIPLES, *_BINARY), "size", "1500, 64k, 10MB or 1GiB"))


def parse_share(text: str) -> float:
    """A share from 0 to 1 of ``2%`` or ``0.02``.  Raises `ConfigError`."""
    bare = text.strip()
    percent = bare.endswith("%")
    try:
        share = float(bare.removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise ConfigError("share", f"{text!r} is none", "write it like 2% or 0.02")
    return share


def _scaled(value: float, unit: str) -> str:
    for prefix in ("", "k", "M", "G", "T"):
        if abs(value) < 999.5:
            return f"{value:.3g} {prefix}{unit}"
        value /= 1000
    return f"{value:,.3g} P{unit}" if value < 999.5 else f"{value:,.0f} P{unit}"


def count_text(number: int, thing: str) -> str:
    """``1 pass``, ``1,024 passes``; of a thing that there can be two of."""
    if number == 1:
        return f"1 {thing}"
    if thing.endswith("ry"):
        return f"{number:,} {thing[:-1]}ies"
    return f"{number:,} {thing}{'es' if thing.endswith('s') else 's'}"


def size_text(octets: float) -> str:
    """``1.5 MB``."""
    return _scaled(octets, "B")


def rate_text(bits_s: float | None) -> str:
    """``256 kbit/s``; without a limit ``unlimited``."""
    return "unlimited" if bits_s is None or bits_s == math.inf else _scaled(bits_s, "bit/s")


def duration_text(seconds: float | None) -> str:
    """``12 ms``, ``4.2 s``, ``3 min 20 s``, ``2 h 05 min``, ``3 d 04 h``; None is ``?``."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 60 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02} h"


def natural(node: str) -> list[tuple[int, str]]:
    """A key that sorts names with numbers as people do: sat2 before sat10."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", node)
    ]


def printable(text: str) -> str:
    """Text that does nothing to a terminal: control and format characters are escaped, and every
    space but the plain one."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def payload_text(payload: bytes, limit: int = 400) -> str:
    """What a person can read of a payload, on one line."""
    try:
        text = payload[: 4 * limit].decode("utf-8")
    except UnicodeDecodeError:
        shown = payload[: limit // 4].hex(" ")
        return shown + (" ..." if len(payload) > limit // 4 else "")
    text = text.rstrip("\n")
    shown = printable(text[:limit])
    return shown + (" ..." if len(text) > limit or len(payload) > 4 * limit else "")
