"""Errors are in words that keep a promise."""

from tests.words import kept  # noqa: F401
