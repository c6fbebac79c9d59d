"""Bundles, LTP segments and FEC packets taken apart into trees that people can read."""

from __future__ import annotations

from interop.inspect.dissect import KINDS as KINDS
from interop.inspect.dissect import dissect as dissect
from interop.inspect.tcpcl import transfers as transfers
from interop.inspect.tree import Tree as Tree
