"""What a link's path and coding mean for LTP."""

from __future__ import annotations

import dataclasses

import pytest

from stack.adapters.mtu import path_mtu_bytes
from stack.engines.ltp import LtpConfig
from stack.fec.config import FecConfig
from stack.node.build import under_fec
from stack.node.config import LinkConfig

LTP = LtpConfig(local_engine_id=1, remote_engine_id=2, segment_bytes=1400)


def link(fec: FecConfig | None = None) -> LinkConfig:
    return LinkConfig(name="sat1", peer="dtn://sat1/", ltp=LTP, fec=fec)


def test_a_small_path_makes_small_segments() -> None:
    assert under_fec(link(), None)[0].segment_bytes == 1400
    assert under_fec(link(), 9000)[0].segment_bytes == 1400
    assert under_fec(link(), 1280)[0].segment_bytes == 1280 - 48
    ltp, _ = under_fec(link(FecConfig()), 1280)
    assert ltp.segment_bytes + 9 + 48 == 1280


def test_coding_takes_its_share_of_the_rate() -> None:
    assert under_fec(link(), None)[1] == 1.0
    ltp, share = under_fec(link(FecConfig(k=64, r=16)), None)
    source = ltp.segment_bytes + ltp.overhead_bytes
    sent_per_block = 64 * source + 16 * (source + 3)
    assert share == pytest.approx(64 * source / sent_per_block)
    assert ltp.overhead_bytes == LTP.overhead_bytes + 6


def test_ltp_waits_for_coding_unless_it_is_tuned() -> None:
    block_ns = FecConfig().block_time_ns
    ltp, _ = under_fec(link(FecConfig()), None)
    assert ltp.report_delay_ns == block_ns
    assert ltp.timer_margin_ns == LTP.timer_margin_ns + 2 * block_ns
    tuned = dataclasses.replace(LTP, report_delay_ns=7)
    ltp, _ = under_fec(dataclasses.replace(link(FecConfig()), ltp=tuned), None)
    assert (ltp.report_delay_ns, ltp.timer_margin_ns) == (7, LTP.timer_margin_ns)


def test_the_system_knows_the_mtu_of_loopback() -> None:
    mtu = path_mtu_bytes("127.0.0.1", 9)
    assert mtu is None or mtu >= 1280
    assert path_mtu_bytes("no such host", 9) is None
