"""`orbitferry inspect`: what is in these octets."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from stack.cli.common import FAILED, Json, ends_with
