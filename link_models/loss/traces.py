"""Recorded links: losses, delays and rates from a file, played back.

A CSV file has a line of column names and then a line for each entry:

    time_s,loss,delay_ms,rate_bps        packet,lost,delay_ms
    0,0.00,12.5,20e6                     0,0,12.5
    1,0.02,14.0,18e6                     1,1,12.5

`time_s` (rising) or `packet` (0, 1, 2, ...) is needed, and at least one of `lost` (0 or 1), `loss`
(a share), `delay_ms` (on top of the light time of the link) and, in time, `rate_bps`.  A line in
time holds until the next; the last one as long as the one before it.  A file that is none, and a
use of it that it has no columns for, raise `ConfigError`.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from link_models.loss.model import Ahead
from link_models.noise import Mask, Rng, Times
from stack.core.clock import SECOND
from stack.core.errors import ConfigError

TRACE_BYTES_MAX: Final = 64 * 1024 * 1024
"""A trace larger than this is some other file."""

ROWS_MAX: Final = 1_000_000
"""Lines of a trace: eleven days of seconds; each takes some tens of octets here."""

COLUMNS: Final = ("time_s", "packet", "lost", "loss", "delay_ms", "rate_bps")

MAHIMAHI_OCTETS: Final = 1504
"""What one line of a Mahimahi trace lets pass (R. Netravali et al., "Mahimahi: Accurate
Record-and-Replay for HTTP", USENIX ATC 2015): a packet of 1500 octets and its tunnel header."""

STALLED_BPS: Final = 1e-3
"""The rate where a trace has none: what is queued stays queued, and nothing moves."""


class Replay:
    """Loses what a recorded trace lost: True for lost, one a datagram, round and round."""

    def __init__(self, trace: Sequence[bool]) -> None:
        if not len(trace):
            raise ConfigError("trace", "is empty")
        self._trace = np.array(trace, np.bool_)
        self._next = 0

    def lost(self, size: int, now_ns: int) -> bool:
        index = self._next
        self._next = (index + 1) % len(self._trace)
        return bool(self._trace[index])

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        n = len(times_ns)
        mask: Mask = self._trace[np.arange(self._next, self._next + n) % len(self._trace)]
        self._next = (self._next + n) % len(self._trace)
        return mask


@dataclass(frozen=True, slots=True)
class LinkTrace:
    """A recorded link, by time or by packet."""

    times_ns: Times | None
    """When each entry begins, from 0 on; None for one entry a packet."""

    period_ns: float
    """When the last entry ends and the trace begins again; entries, if by packet."""

    loss: Times | None
    """Share of datagrams lost."""

    delay_ns: Times | None
    """Delay on top of the light time."""

    rate_bps: Times | None
    """Rate of the transmitter."""

    def windows(self, until_ns: int) -> list[tuple[int, int, float]]:
        """Times and rates (start, end, bits a second) up to `until_ns`, for a channel."""
        if self.rate_bps is None or self.times_ns is None:
            raise ConfigError("trace", "has no rates in time", "columns time_s and rate_bps")
        period_ns = round(self.period_ns)
        starts = [round(time_ns) for time_ns in self.times_ns.tolist()]
        rates = np.maximum(self.rate_bps, STALLED_BPS).tolist()
        if -(-until_ns // period_ns) * len(starts) > ROWS_MAX:
            raise ConfigError("trace", f"repeats to more than {ROWS_MAX} rates", "a longer trace")
        found: list[tuple[int, int, float]] = []
        for turn_ns in range(0, until_ns, period_ns):
            for start, end, rate in zip(starts, [*starts[1:], period_ns], rates, strict=True):
                begin_ns, end_ns = turn_ns + start, min(turn_ns + end, until_ns)
                if begin_ns >= end_ns:
                    break
                if found and found[-1][2] == rate:
                    begin_ns = found.pop()[0]
                found.append((begin_ns, end_ns, rate))
        return found


class _Player:
    """Where in a trace a datagram is."""

    def __init__(self, trace: LinkTrace) -> None:
        self._times_ns = trace.times_ns
        self._period = trace.period_ns
        self._next = 0

    def many(self, times_ns: Times) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        n = len(times_ns)
        if self._times_ns is None:
            places = np.arange(self._next, self._next + n) % int(self._period)
            self._next = (self._next + n) % int(self._period)
            return places
        inside_ns = times_ns % self._period
        return np.searchsorted(self._times_ns, inside_ns, side="right") - 1


class TraceLoss:
    """The losses of a trace."""

    def __init__(self, rng: Rng, trace: LinkTrace) -> None:
        if trace.loss is None:
            raise ConfigError("trace", "has no losses", "a column lost or loss")
        self._loss = trace.loss
        self._player = _Player(trace)
        self._uniform = Ahead(rng.random)

    def lost(self, size: int, now_ns: int) -> bool:
        return bool(self.lost_many(np.array([now_ns], np.float64), size, size)[0])

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        return self._uniform.many(len(times_ns)) < self._loss[self._player.many(times_ns)]


class TraceDelay:
    """The delays of a trace, in order."""

    def __init__(self, trace: LinkTrace) -> None:
        if trace.delay_ns is None:
            raise ConfigError("trace", "has no delays", "a column delay_ms")
        self._delay_ns = trace.delay_ns
        self._player = _Player(trace)

    def delay(self, now_ns: float) -> float:
        return float(self.delay_many(np.array([now_ns]))[0])

    def delay_many(self, times_ns: Times) -> Times:
        found: Times = self._delay_ns[self._player.many(times_ns)]
        return found


def load_trace(path: Path) -> LinkTrace:
    """Read a CSV trace.  Raises `ConfigError` that names file and line."""
    return parse_trace(_read(path), str(path))


def parse_trace(text: str, name: str = "trace") -> LinkTrace:
    """A trace from the text of a CSV file; `name` goes into errors.  Raises `ConfigError`."""
    lines = csv.reader(io.StringIO(text, newline=""))
    columns: dict[str, list[float]] = {}
    last = -1.0
    try:
        for cells in lines:
            where = f"{name}:{lines.line_num}"
            if not cells or cells[0].lstrip().startswith("#"):
                continue
            if not columns:
                columns = _header(where, cells)
                continue
            if len(cells) != len(columns):
                raise ConfigError(where, f"{len(cells)} cells, {len(columns)} columns")
            for (column, values), cell in zip(columns.items(), cells, strict=True):
                values.append(_cell(where, column, cell))
            last = _rising(where, columns, last)
            if len(next(iter(columns.values()))) > ROWS_MAX:
                raise ConfigError(where, f"more than {ROWS_MAX} entries")
    except csv.Error as error:
        raise ConfigError(f"{name}:{lines.line_num}", f"not CSV: {error}") from None
    if not columns or not next(iter(columns.values())):
        raise ConfigError(name, "no entries", "a line of column names, then lines of values")
    return _trace(columns)


def _trace(columns: dict[str, list[float]]) -> LinkTrace:
    arrays = {column: np.array(values) for column, values in columns.items()}
    times_s = arrays.get("time_s")
    delay_ms = arrays.get("delay_ms")
    period = float(len(next(iter(arrays.values()))))
    times_ns = None
    if times_s is not None:
        times_ns = np.rint((times_s - times_s[0]) * SECOND)
        period = float(
            times_ns[-1] + (times_ns[-1] - times_ns[-2] if len(times_ns) > 1 else SECOND)
        )
    return LinkTrace(
        times_ns,
        period,
        arrays.get("lost", arrays.get("loss")),
        None if delay_ms is None else delay_ms * 1e6,
        arrays.get("rate_bps"),
    )


def _header(where: str, cells: list[str]) -> dict[str, list[float]]:
    names = [cell.strip() for cell in cells]
    for name in names:
        if name not in COLUMNS:
            raise ConfigError(where, f"unknown column {name!r}", "known: " + ", ".join(COLUMNS))
    if len(set(names)) != len(names):
        raise ConfigError(where, "a column is there twice")
    if ("time_s" in names) == ("packet" in names):
        raise ConfigError(where, "needs either the column time_s or the column packet")
    if "lost" in names and "loss" in names:
        raise ConfigError(where, "has lost and loss", "one of them")
    if "packet" in names and "rate_bps" in names:
        raise ConfigError(where, "rates need times", "time_s instead of packet")
    if len(names) == 1:
        raise ConfigError(where, "says nothing", "add lost, loss, delay_ms or rate_bps")
    return {name: [] for name in names}


def _cell(where: str, column: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise ConfigError(where, f"{column} is {cell!r}, which is no number") from None
    good = math.isfinite(value) and (value >= 0 or column == "time_s")
    if column == "lost":
        good = value in (0, 1)
    elif column == "loss":
        good = 0 <= value <= 1
    if not good:
        raise ConfigError(where, f"{column} = {cell.strip()} is out of range")
    return value


def _rising(where: str, columns: dict[str, list[float]], last: float) -> float:
    """Check that the entry follows the one before it."""
    if "packet" in columns:
        packets = columns["packet"]
        if packets[-1] != len(packets) - 1:
            raise ConfigError(where, "packets must be numbered 0, 1, 2 and so on")
        return packets[-1]
    times = columns["time_s"]
    if len(times) > 1 and round(times[-1] * SECOND) <= round(last * SECOND):
        raise ConfigError(where, "times must rise")
    return times[-1]


def load_mahimahi(path: Path, bin_ms: int = 20) -> LinkTrace:
    """Read a Mahimahi packet-delivery trace: a line for each packet that the link can deliver,
    with the millisecond in which it can.  Rates are averages over `bin_ms`, so a burst within
    that time is spread over it.  Raises `ConfigError` that names file and line."""
    if not 1 <= bin_ms <= 10_000:
        raise ConfigError("bin_ms", "must be 1 to 10000")
    times: list[int] = []
    for number, line in enumerate(_read(path).splitlines(), 1):
        word = line.strip()
        if not word:
            continue
        if not (word.isascii() and word.isdecimal() and len(word) < 12):
            raise ConfigError(f"{path}:{number}", f"{word[:40]!r} is no time in milliseconds")
        time = int(word)
        if times and time < times[-1]:
            raise ConfigError(f"{path}:{number}", "times must not fall")
        times.append(time)
    if not times or not times[-1]:
        raise ConfigError(str(path), "no times above 0", "a millisecond a line")
    period_ms = times[-1]
    bins = -(-period_ms // bin_ms)
    if bins > ROWS_MAX:
        raise ConfigError(str(path), f"longer than {ROWS_MAX} bins", "a larger bin_ms")
    # A packet at the end of the period is the last of it, not the first of the next.
    places = np.maximum(np.array(times) - 1, 0) // bin_ms
    starts_ms = np.arange(bins, dtype=np.float64) * bin_ms
    lengths_ms = np.minimum(starts_ms + bin_ms, period_ms) - starts_ms
    octets = np.bincount(places, minlength=bins) * float(MAHIMAHI_OCTETS)
    rates: Times = octets * 8e3 / lengths_ms
    return LinkTrace(starts_ms * 1e6, period_ms * 1e6, None, None, rates)


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > TRACE_BYTES_MAX:
            raise ConfigError(str(path), "too large for a trace", "is it the right file?")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error), "check the path") from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), "not a text file") from None
