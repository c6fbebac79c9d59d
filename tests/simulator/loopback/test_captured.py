"""Captures of a run: every datagram once, with its fate; to the octet the same again; and a run
that is captured is the same run."""

from __future__ import annotations

import os
import subprocess
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from interop.inspect.follow import NEITHER, Conversations
from interop.pcap import Names, Record, UdpPacket, parse_packet, read_capture
from stack.adapters.capture import CaptureFile
from stack.core.errors import ConfigError
from stack.simulator import Result, parse_scenario, run_scenario
from tests.interop.tshark import TSHARK, needs_tshark

HERE = Path(__file__).parent


def scenario() -> Any:
    data = tomllib.loads((HERE / "small.toml").read_text())
    data["jobs"] = data["jobs"][:1]
    data["radios"][0]["up"]["fec"] = {"k": 32, "r": 1}  # too little: LTP has to send again
    data["terrestrial"] = [{"between": ["dtn://north/", "dtn://south/"], "rate_bps": 1e6}]
    return parse_scenario(data, HERE)


def run(path: Path | None, **options: Any) -> Result:
    if path is None:
        return run_scenario(scenario())
    file = CaptureFile(path, inline=True)
    try:
        return run_scenario(scenario(), capture=file, **options)
    finally:
        file.close()


@dataclass
class Captured:
    path: Path
    result: Result
    records: list[Record]
    names: Names


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    path = tmp_path_factory.mktemp("run") / "run.pcapng"
    result = run(path)
    names: Names = {}
    return Captured(path, result, list(read_capture(path.read_bytes(), names)), names)


def channel_counts(result: Result, name: str) -> int:
    """A counter of the channels, of all links: each is told by the node that sends into it."""
    return sum(
        value
        for counters in result.counters.values()
        for key, value in counters.items()
        if key.endswith(f".udp.{name}_datagrams")
    )


def test_every_datagram_is_there_once_with_its_fate(captured: Captured) -> None:
    records, result = captured.records, captured.result
    assert result.ok, result.problems
    assert len(records) == channel_counts(result, "offered") > 100
    fates = Counter(record.comment.partition(" 0.")[0] for record in records)
    assert fates.pop("arrives") == channel_counts(result, "delivered")
    assert fates.pop("lost: no contact", 0) == channel_counts(result, "dropped_window")
    assert fates["lost: gilbert-elliott"] + fates["lost: blackout"] == channel_counts(
        result, "lost"
    )
    assert fates["lost: gilbert-elliott"] > 0
    assert {record.interface for record in records} == {"south-sat1", "north-south"}
    called = {str(name) for name in captured.names.values()}
    assert called == {"north", "south", "sat1"}
    for record in records:
        packet = parse_packet(record.data, record.linktype)
        assert isinstance(packet, UdpPacket)
        assert packet.checksum == "ok"
        first, second = record.interface.split("-")
        ends = captured.names[packet.source], captured.names[packet.destination]
        assert ends == ((first, second) if record.outbound else (second, first))


def test_conversations_are_what_the_engines_count(captured: Captured) -> None:
    """Sessions, octets and repetitions, against the counters of all LTP engines of the run."""
    found = Conversations(captured.path.read_bytes())
    counts: Counter[str] = Counter()
    for counters in captured.result.counters.values():
        for key, value in counters.items():
            counts[key.partition(".ltp.")[2]] += value
    assert len(found.transfers) == counts["export_sessions"]
    assert {one.ended for one in found.transfers} == {"complete"}
    assert {one.unread for one in found.transfers} == {""}
    assert sum(one.octets for one in found.transfers) == counts["data_bytes_sent"]
    resent = sum(one.repeated_octets for one in found.transfers)
    assert resent == counts["data_bytes_resent"] > 0
    assert sum(one.reports for one in found.transfers) == counts["reports_sent"]
    # Over two hops, from the north over the south to the satellite and back.
    paths = {tuple(row.paths.values()) for row in found.bundles.values() if "north" in row.id}
    assert paths == {(1, 1)}
    assert set(found.passed_over) == {NEITHER}  # repair packets


def test_times_are_those_of_the_run(captured: Captured) -> None:
    start_ns = 1_790_812_800 * 10**9  # 2026-10-01T00:00:00Z
    times = [record.time_ns - start_ns for record in captured.records]
    assert times == sorted(times)
    assert times[0] >= 5 * 10**9  # the first message, over the wire on the ground at the latest
    assert times[-1] <= captured.result.ended_s * 10**9


@pytest.mark.slow
def test_the_same_seed_gives_the_same_file_and_the_same_run(
    captured: Captured, tmp_path: Path
) -> None:
    again = run(tmp_path / "again.pcapng")
    assert (tmp_path / "again.pcapng").read_bytes() == captured.path.read_bytes()
    plain = run(None)
    for one in (again, plain):
        assert one.counters == captured.result.counters
        assert one.objects == captured.result.objects


def test_only_some_links(captured: Captured, tmp_path: Path) -> None:
    path = tmp_path / "one.pcapng"
    run(path, capture_links=["south-sat1"])
    expected = [one for one in captured.records if one.interface == "south-sat1"]
    assert list(read_capture(path.read_bytes())) == expected
    with pytest.raises(ConfigError, match=r"no link 'x'.*north-sat1"):
        run(path, capture_links=["x"])


@pytest.mark.peer
@needs_tshark
def test_tshark_reads_it(captured: Captured, tmp_path: Path) -> None:
    assert TSHARK is not None
    fields = ["frame.interface_name", "frame.time_epoch", "frame.comment", "ip.src_host"]
    fields += ["udp.checksum.status", "ltp.session.number", "_ws.malformed"]
    command = [TSHARK, "-r", str(captured.path), "-N", "n", "-o", "udp.check_checksum:TRUE"]
    command += ["-T", "fields", "-E", "separator=|", "-E", "occurrence=f"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )
    lines = [line.split("|") for line in done.stdout.splitlines()]
    assert len(lines) == len(captured.records)
    segments = 0
    for line, record in zip(lines, captured.records, strict=True):
        packet = parse_packet(record.data, record.linktype)
        assert isinstance(packet, UdpPacket)
        seconds, _, fraction = line[1].partition(".")
        assert int(seconds + fraction) == record.time_ns
        assert line[0] == record.interface
        assert line[2:5] == [record.comment, captured.names[packet.source], "1"]
        assert line[6] == ""
        assert bool(line[5]) == (packet.source_port == 1113)
        segments += bool(line[5])
    assert 0 < segments < len(lines)
    sessions = {line[5] for line in lines if line[5]}
    assert sessions == {
        one.name.partition(".")[2] for one in Conversations(captured.path.read_bytes()).transfers
    }
