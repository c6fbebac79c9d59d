"""Taking trains apart and putting them together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from link_models.noise import Times
from stack.core.train import Buffer, Train


class ArrivedTrain(NamedTuple):
    """Datagrams that arrive together."""

    at_ns: int
    train: Train


def arrival(delivery: ArrivedTrain) -> int:
    """The key by which deliveries are sorted."""
    return delivery.at_ns


def alone(datagram: Buffer, flow: int, at_ns: float) -> ArrivedTrain:
    """The delivery of one datagram."""
    return ArrivedTrain(round(at_ns), Train(datagram, len(datagram), flow))


def together(
    train: Train, survivors: NDArray[np.intp], arrivals: Times, coalesce_ns: int
) -> list[ArrivedTrain]:
    """The datagrams `survivors` of a train, which arrive in order at `arrivals`, in as few trains
    as possible: those that arrive within `coalesce_ns` go together, when the last arrives."""
    n = len(survivors)
    if not n:
        return []
    times = np.rint(arrivals).astype(np.int64)
    after = _groups(times, coalesce_ns)
    ends_ns = times[np.array(after) - 1].tolist()
    if len(after) == n:
        size, flow, view = train.size, train.flow, memoryview(train.data)
        starts = (survivors * size).tolist()
        pieces = [view[start : start + size] for start in starts]
        return [
            ArrivedTrain(at_ns, Train(piece, len(piece), flow))
            for at_ns, piece in zip(ends_ns, pieces, strict=True)
        ]
    return [
        ArrivedTrain(at_ns, _pack(train, survivors[first:end]))
        for at_ns, first, end in zip(ends_ns, [0, *after[:-1]], after, strict=True)
    ]


def octets_of(indices: NDArray[np.intp], size: int, octets: int) -> int:
    """Octets of the datagrams `indices` (rising) of a train of `octets`."""
    return min(len(indices) * size, (len(indices) - 1) * size + octets - int(indices[-1]) * size)


def datagram_of(train: Train, index: int) -> memoryview:
    """One datagram of a train."""
    return memoryview(train.data)[index * train.size : (index + 1) * train.size]


def _pack(train: Train, indices: NDArray[np.intp]) -> Train:
    """The datagrams `indices` (rising) as one train: a view where they touch, a copy elsewhere."""
    size, n = train.size, len(indices)
    first, last = int(indices[0]), int(indices[-1])
    view = memoryview(train.data)[first * size : (last + 1) * size]
    if n == last - first + 1:
        return (
            train if len(view) == len(train.data) else Train(view, min(size, len(view)), train.flow)
        )
    # Run by run: a copy, and only one, of what survives.
    breaks = np.flatnonzero(np.diff(indices) != 1)
    starts = (indices[np.append(0, breaks + 1)] - first) * size
    ends = (indices[np.append(breaks, n - 1)] - first + 1) * size
    runs = [view[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    return Train(b"".join(runs), size, train.flow)


def _groups(times: NDArray[np.int64], coalesce_ns: int) -> list[int]:
    """Where each group of datagrams ends that arrive together."""
    n = len(times)
    if not coalesce_ns:
        return [*(np.flatnonzero(np.diff(times)) + 1).tolist(), n]
    if times[-1] - times[0] <= coalesce_ns:
        return [n]
    ends = []
    first = 0
    while first < n:
        first = int(np.searchsorted(times, times[first] + coalesce_ns, side="right"))
        ends.append(first)
    return ends
