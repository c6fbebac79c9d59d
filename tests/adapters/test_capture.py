"""Capture files: what is put there is read back; a disk, a flood or a kill costs no more than they
must."""

from __future__ import annotations

import os
import stat
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.pcap import Record, UdpPacket, parse_packet, read_capture
from stack.adapters import capture
from stack.adapters.capture import CaptureFile, before
from stack.core import pcapng
from stack.core.errors import ConfigError
from stack.core.packets import end_of
from stack.core.train import Train
from stack.ports.capture import udp_blocks

ENDS = end_of("192.0.2.1", 1113), end_of("192.0.2.2", 1113)


def put(file: CaptureFile, place: int, time_ns: int, data: bytes, comment: str = "") -> None:
    train = Train(data, len(data))
    file.put(len(data), 1, lambda: udp_blocks(place, time_ns, train, ENDS, [comment], True))


def datagrams(path: Path) -> list[bytes]:
    return [datagram_of(record) for record in read_capture(path.read_bytes())]


def datagram_of(record: Record) -> bytes:
    packet = parse_packet(record.data, record.linktype)
    assert isinstance(packet, UdpPacket)
    assert packet.checksum == "ok"
    return packet.data


trains = st.builds(
    lambda data, size, flow: Train(data, size, flow),
    st.binary(min_size=1, max_size=300),
    st.integers(1, 200),
    st.integers(0, 1),
)
entries = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, (1 << 64) - 1),
        trains,
        st.text("abc é", max_size=10),
        st.booleans(),
    ),
    max_size=8,
)


@given(entries=entries, inline=st.booleans())
def test_what_is_put_there_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Any], inline: bool
) -> None:
    path = tmp_path_factory.mktemp("capture") / "x.pcapng"
    file = CaptureFile(path, inline=inline)
    places = [file.interface(name) for name in ("first", "second")]
    expected = []
    for which, time_ns, train, comment, outbound in entries:
        count = train.datagram_count
        blocks = udp_blocks(places[which], time_ns, train, ENDS, [comment] * count, outbound)
        file.put(len(train.data), count, partial(bytes, blocks))
        name = ("first", "second")[which]
        expected += [(time_ns, bytes(one), name, comment, outbound) for one in train.datagrams()]
    file.close()
    file.close()
    assert [
        (one.time_ns, datagram_of(one), one.interface, one.comment, one.outbound)
        for one in read_capture(path.read_bytes())
    ] == expected
    found = file.statistics()
    assert (found["packets"], found["left_out"], found["trouble"]) == (len(expected), 0, "")
    assert found["bytes"] == path.stat().st_size


def test_only_the_owner_reads_it_and_the_file_before_is_kept(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        path = tmp_path / "pass.pcapng"
        path.write_text("of the run before")
        CaptureFile(path, inline=True).close()
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert before(path) == tmp_path / "pass.1.pcapng"
    assert before(path).read_text() == "of the run before"


def test_a_file_at_its_limit_becomes_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    file = CaptureFile(path, limit_bytes=3000, inline=True)
    file.announce(pcapng.names({ENDS[0][0]: "gs1"}))
    place = file.interface("gs1-sat1")
    for n in range(100):
        put(file, place, n, n.to_bytes(2, "big") * 100)
    file.close()
    sizes = [one.stat().st_size for one in sorted(tmp_path.iterdir())]
    assert len(sizes) == 2
    assert max(sizes) <= 3000
    assert file.statistics()["packets"] == 100
    kept = datagrams(before(path)) + datagrams(path)
    assert kept == [n.to_bytes(2, "big") * 100 for n in range(100 - len(kept), 100)]
    # Each file is whole by itself: names and interfaces stand in both.
    for one in (path, before(path)):
        names: Any = {}
        assert {record.interface for record in read_capture(one.read_bytes(), names)} == {
            "gs1-sat1"
        }
        assert names == {ENDS[0][0]: "gs1"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk")
@pytest.mark.parametrize("inline", [True, False])
def test_a_full_disk_ends_the_capture(inline: bool) -> None:
    told: list[str] = []
    file = CaptureFile(Path("/dev/full"), inline=inline, tell=told.append)
    place = file.interface("x")
    for n in range(5):
        put(file, place, n, b"abc")
    file.close()
    found = file.statistics()
    assert told == [found["trouble"]] == ["No space left on device"]
    assert (found["packets"], found["left_out"]) == (0, 5)


def test_a_disk_that_fills_leaves_a_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.pcapng"
    file = CaptureFile(path, inline=True)
    place = file.interface("x")
    put(file, place, 1, b"before")
    real = file._file

    class Filling:
        """A file that takes 50 octets more."""

        room = 50

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def write(self, octets: memoryview) -> int:
            if not self.room:
                raise OSError(28, "No space left on device")
            taken = real.write(octets[: self.room]) or 0
            self.room -= taken
            return taken

    monkeypatch.setattr(file, "_file", Filling())
    put(file, place, 2, bytes(100))
    put(file, place, 3, b"after")
    file.close()
    assert datagrams(path) == [b"before"]
    assert file.statistics()["left_out"] == 2


def test_what_is_left_of_the_disk_is_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "FREE_BYTES_MIN", 1 << 60)
    file = CaptureFile(tmp_path / "x.pcapng", inline=True)
    put(file, file.interface("x"), 1, b"abc")
    assert file.statistics()["trouble"] == "hardly any room is left on its disk"
    file.close()


def test_a_disk_that_hangs_costs_bounded_memory_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "WAITING_BYTES_MAX", 10_000)
    path = tmp_path / "x.pcapng"
    file = CaptureFile(path)
    place = file.interface("x")
    begun, go_on = threading.Event(), threading.Event()

    def hang() -> bytes:
        begun.set()
        go_on.wait()
        return udp_blocks(place, 0, Train(b"0", 1), ENDS)

    file.put(1, 1, hang)
    begun.wait()
    for n in range(1, 1000):
        put(file, place, n, bytes(500))
    waiting = len(file._waiting)
    assert 5 <= waiting <= 10
    go_on.set()
    file.close()
    found = file.statistics()
    assert found["packets"] == len(datagrams(path)) == waiting + 1
    assert found["left_out"] == 999 - waiting


def test_what_does_not_fit_a_packet_is_left_out(tmp_path: Path) -> None:
    file = CaptureFile(tmp_path / "x", inline=True)
    place = file.interface("x")
    put(file, place, 1, bytes(65_508))
    put(file, place, 2, b"fits")
    file.close()
    assert datagrams(tmp_path / "x") == [b"fits"]
    assert file.statistics()["left_out"] == 1


def test_paths_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "gone" / "x", tmp_path / "pipe"):
        with pytest.raises(ConfigError, match=path.name):
            CaptureFile(path)


def test_an_empty_capture_is_a_capture(tmp_path: Path) -> None:
    for inline in (True, False):
        file = CaptureFile(tmp_path / "x", inline=inline)
        file.close()
        assert (tmp_path / "x").read_bytes() == pcapng.section()
