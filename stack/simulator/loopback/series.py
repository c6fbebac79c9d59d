"""Samples that are kept only where something was looked at."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterator, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

K = TypeVar("K", bound=Hashable)

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


class Looks:
    """Values of one thing at some of the times of a run; between them it did not change."""

    __slots__ = ("_places", "_values")

    def __init__(self) -> None:
        self._places = array("q")
        self._values = array("q")

    def note(self, place: int, value: int) -> None:
        """The value at the time with that place, which is not before the last."""
        self._places.append(place)
        self._values.append(value)

    @property
    def last(self) -> int:
        """The newest value, 0 before the first."""
        return self._values[-1] if self._values else 0

    def places(self) -> Places:
        """Places of the times at which it was looked at."""
        return np.array(self._places, np.int64)

    def values(self) -> Floats:
        """The values there."""
        return np.array(self._values, np.float64)

    def at(self, times: int) -> Floats:
        """The values at all of `times` times: 0 before the first look."""
        found = np.searchsorted(self.places(), np.arange(times), side="right")
        return np.concatenate(([0.0], self.values()))[found]


class Sampled(Mapping[K, Floats]):
    """By key, the values at every time of a run, worked out when asked for: a thousand links over
    a day would not fit into memory otherwise."""

    def __init__(self, looks: Mapping[K, Looks], times: int) -> None:
        self._looks = looks
        self._times = times

    def __getitem__(self, key: K) -> Floats:
        return self._looks[key].at(self._times)

    def __iter__(self) -> Iterator[K]:
        return iter(self._looks)

    def __len__(self) -> int:
        return len(self._looks)
