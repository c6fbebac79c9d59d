"""Recorded links: what is read is what is played, and what cannot be read is named."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.channel import Channel, ChannelConfig, Window
from link_models.loss import Replay, load_mahimahi, load_trace
from link_models.loss import traces as traces_module
from link_models.loss.traces import STALLED_BPS, LinkTrace, TraceDelay, TraceLoss, parse_trace
from link_models.rng import Streams
from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import ConfigError
from stack.core.train import Train

BY_TIME = """\
# recorded on a rooftop
time_s, loss, delay_ms, rate_bps
0.0, 0, 10, 8e6
1.0, 1, 20, 4e6
1.5, 0.5, 30, 0
"""


def rng() -> np.random.Generator:
    return Streams(1).stream("trace")


def test_by_time() -> None:
    trace = parse_trace(BY_TIME)
    assert trace.period_ns == 2 * SECOND  # the last line is as long as the one before it
    at_ns = np.arange(0, 4, 0.25) * SECOND
    delays = (TraceDelay(trace).delay_many(at_ns) / 1e6).tolist()
    assert delays == [10, 10, 10, 10, 20, 20, 30, 30] * 2
    assert [TraceDelay(trace).delay(at) / 1e6 for at in at_ns.tolist()] == delays
    lost = TraceLoss(rng(), trace).lost_many(np.repeat(at_ns, 10_000), 1, 1).reshape(16, -1)
    shares = lost.mean(axis=1)
    for share, expected in zip(shares, [0, 0, 0, 0, 1, 1, 0.5, 0.5] * 2, strict=True):
        assert abs(share - expected) <= 5 * math.sqrt(expected * (1 - expected) / 10_000)


def test_by_packet() -> None:
    trace = parse_trace("packet,lost,delay_ms\n0,0,1\n1,1,2\n2,0,3\n")
    expected = [index % 3 == 1 for index in range(20)]
    one, many = TraceLoss(rng(), trace), TraceLoss(rng(), trace)
    assert [one.lost(1, 0) for _ in range(20)] == expected
    parts = [many.lost_many(np.zeros(n), 1, 1).tolist() for n in (1, 5, 14)]
    assert [lost for part in parts for lost in part] == expected
    assert (TraceDelay(trace).delay_many(np.zeros(4)) / 1e6).tolist() == [1, 2, 3, 1]
    replay = Replay([False, True, False])
    assert replay.lost_many(np.zeros(20), 1, 1).tolist() == expected


def test_rates_become_windows() -> None:
    second = SECOND
    assert parse_trace(BY_TIME).windows(3 * second + second // 2) == [
        (0, second, 8e6),
        (second, 3 * second // 2, 4e6),
        (3 * second // 2, 2 * second, STALLED_BPS),
        (2 * second, 3 * second, 8e6),
        (3 * second, 7 * second // 2, 4e6),
    ]


def test_a_stalled_link_keeps_its_queue() -> None:
    windows = [Window(*row) for row in parse_trace(BY_TIME).windows(4 * SECOND)]
    link = Channel(ChannelConfig(windows=tuple(windows)), Streams(1))
    at_ns = 1_400_000_000  # 50 000 octets until the stall, and the rest at 2 s
    got = link.send(Train(bytes(100_000), 1000), at_ns)
    assert link.counters()["dropped_window_datagrams"] == 0
    sent_s = np.array([one.at_ns for one in got]) / SECOND
    assert (sent_s <= 1.5).sum() == 50
    assert sent_s[50:].min() > 2
    assert link.drained_ns(50_000, at_ns) == pytest.approx(1.5 * SECOND, abs=1)
    assert link.drained_ns(25_000, at_ns) == pytest.approx(2.025 * SECOND, abs=1e4)


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("", 0, "no entries"),
        ("time_s,loss\n", 0, "no entries"),
        ("time_s,los\n0,0", 1, "unknown column 'los'"),
        ("time_s,loss,loss\n", 1, "twice"),
        ("loss\n0", 1, "time_s or"),
        ("time_s,packet,loss\n", 1, "time_s or"),
        ("time_s,loss,lost\n", 1, "one of them"),
        ("packet,rate_bps\n", 1, "rates need times"),
        ("packet\n0\n", 1, "says nothing"),
        ("time_s,loss\n0,0\n1\n", 3, "1 cells, 2 columns"),
        ("time_s,loss\n0,0\n1,x\n", 3, "'x'"),
        ("time_s,loss\n0,0\n1,1.5\n", 3, "loss = 1.5 is out of range"),
        ("time_s,lost\n0,0.5\n", 2, "out of range"),
        ("time_s,delay_ms\n0,-1\n", 2, "out of range"),
        ("time_s,delay_ms\n0,nan\n", 2, "out of range"),
        ("time_s,loss\n0,0\n1,0\n1,0\n", 4, "must rise"),
        ("time_s,loss\ninf,0\n", 2, "out of range"),
        ("packet,lost\n0,0\n2,0\n", 3, "numbered"),
        ("time_s,loss\n0,0\n1,\x00\n", 3, ""),
    ],
)
def test_errors_name_the_line(text: str, line: int, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_trace(text, "rooftop.csv")
    assert caught.value.key == (f"rooftop.csv:{line}" if line else "rooftop.csv")
    assert word in str(caught.value)


@given(st.text(st.sampled_from('time_s,packet lossdelay_ms\n0123456789.-e#"\r'), max_size=200))
def test_any_text_is_a_trace_or_an_error(text: str) -> None:
    for head in ("", "time_s,loss,delay_ms\n", "packet,lost\n"):
        try:
            trace = parse_trace(head + text)
        except ConfigError:
            continue
        assert isinstance(trace, LinkTrace)
        assert trace.period_ns > 0


def test_a_trace_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces_module, "ROWS_MAX", 3)
    with pytest.raises(ConfigError, match="more than 3 entries"):
        parse_trace("packet,lost\n" + "".join(f"{row},0\n" for row in range(4)))
    with pytest.raises(ConfigError, match="repeats"):
        parse_trace("time_s,rate_bps\n0,1\n1,2\n").windows(10 * SECOND)
    path = tmp_path / "trace.csv"
    path.write_text("packet,lost\n0,1\n")
    assert load_trace(path).loss is not None
    monkeypatch.setattr(traces_module, "TRACE_BYTES_MAX", 5)
    with pytest.raises(ConfigError, match="too large"):
        load_trace(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_trace(tmp_path / "none.csv")
    path = tmp_path / "binary.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a text file"):
        load_trace(path)


def test_a_trace_is_asked_for_what_it_has() -> None:
    trace = parse_trace("time_s,delay_ms\n0,1\n")
    with pytest.raises(ConfigError, match="no losses"):
        TraceLoss(rng(), trace)
    with pytest.raises(ConfigError, match="no rates"):
        trace.windows(1)
    with pytest.raises(ConfigError, match="no delays"):
        TraceDelay(parse_trace("time_s,loss\n0,1\n"))


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=200).map(sorted),
    st.sampled_from([1, 7, 20, 100]),
)
def test_mahimahi_lets_as_much_pass_as_its_lines(times: list[int], bin_ms: int) -> None:
    times.append(times[-1] + 1)
    with NamedTemporaryFile("w") as file:
        file.write("\n".join(map(str, times)))
        file.flush()
        trace = load_mahimahi(Path(file.name), bin_ms)
    assert trace.period_ns == times[-1] * MILLISECOND
    octets = sum(
        rate * (end - start) / 8e9
        for start, end, rate in trace.windows(times[-1] * MILLISECOND)
        if rate > STALLED_BPS
    )
    assert octets == pytest.approx(1504 * len(times))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no times"),
        ("0\n", "no times"),
        ("5\n4\n", ":2: times must not fall"),
        ("5\nx\n", ":2: 'x'"),
        ("-1\n", ":1: '-1'"),
        ("99999999999\n", "longer"),
    ],
)
def test_mahimahi_errors(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "trace"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_mahimahi(path)
    assert word in str(caught.value)
    with pytest.raises(ConfigError):
        load_mahimahi(path, 0)
