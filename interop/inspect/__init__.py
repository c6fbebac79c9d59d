"""Bundles, LTP segments and FEC packets taken apart into trees that people can read."""

from __future__ import annotations

from interop.inspect.dissect import KINDS, dissect
from interop.inspect.tcpcl import transfers
from interop.inspect.tree import Tree

__all__ = ["KINDS", "Tree", "dissect", "transfers"]
