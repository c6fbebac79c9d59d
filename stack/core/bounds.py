"""Bounds that many keys of configuration files share (`stack.core.checks`)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Share = Annotated[float, Meta(ge=0, le=1)]
Priority = Annotated[int, Meta(ge=0, le=2)]

Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Octets = Annotated[int, Meta(ge=1, le=10**15)]
OctetsOrNone = Annotated[int, Meta(ge=0, le=10**15)]

Wait = Annotated[float, Meta(ge=0.001, le=31_622_400)]
"""Seconds: a millisecond to a year."""

DayS = Annotated[float, Meta(ge=0, le=86_400)]
DayMs = Annotated[float, Meta(ge=0, le=86_400_000)]
YearsMs = Annotated[int, Meta(ge=0, le=10**12)]
"""Milliseconds, up to 34 years."""

RateBps = Annotated[float, Meta(ge=0, le=1e12)]

Decibels = Annotated[float, Meta(ge=0, le=100)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=360)]
