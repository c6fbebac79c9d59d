"""Figures that were published or measured (`tables.toml`)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import msgspec

from stack.core import toml

T = TypeVar("T")


class PublishedFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Rows as their sources have them; the file says what the columns are."""

    zenith_gas_db: tuple[tuple[float, float], ...]
    viterbi: tuple[tuple[float, float, float], ...]
    ccsds_long: tuple[tuple[str, int, int, int, float], ...]
    ccsds_ar4ja: tuple[tuple[str, int, int, int, float], ...]
    dvb_s2_k_bch: dict[str, tuple[int, int]]
    dvb_s2_es_n0: dict[str, dict[str, float]]
    dvb_s2x_es_n0: dict[str, dict[str, float]]


@cache
def tables() -> PublishedFigures:
    """All of them."""
    return read("tables.toml", PublishedFigures)


def read(name: str, kind: type[T]) -> T:
    """A file that lies here."""

    def parse(data: dict[str, Any]) -> T:
        return toml.convert(data, kind)

    return toml.parsed((files("link_models.budget") / name).read_text("utf-8"), parse, name)
