"""Which packages come only with an extra of this one, and how to get them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from stack.core.errors import MissingExtraError

EXTRAS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "matplotlib": "sim",
        "mpl_toolkits": "sim",
        "sgp4": "sim",
        "hypothesis": "fuzz",
        "distributed": "cluster",
        "itur": "itur",
        "pkcs11": "hsm",
    }
)
"""The extra that brings a package, as `pyproject.toml` has it."""


def missing_extra(error: ImportError) -> MissingExtraError | None:
    """What a failed import means: an extra that is not installed, or None for anything else."""
    package = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(package)
    return None if extra is None else MissingExtraError(package, extra)


def require(package: str) -> None:
    """Raise `MissingExtraError` now, before long work, if a package is not there."""
    try:
        found = importlib.util.find_spec(package)
    except ImportError:
        found = None
    if found is None:
        raise MissingExtraError(package, EXTRAS[package])
