"""Ports that are handed to a program stay free until it listens."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from interop.machines.ports import FIRST, LAST, free_ports

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_no_port_is_handed_out_twice_nor_the_one_after_it() -> None:
    ports = {*free_ports(5), *free_ports(5)}
    assert len(ports | {one + 1 for one in ports}) == 20


@pytest.mark.skipif(not RANGE.exists(), reason="no kernel that says so")
def test_the_kernel_gives_none_of_them_to_somebody_else() -> None:
    assert FIRST < LAST <= int(RANGE.read_text().split()[0])


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_port_in_use_is_passed_over(kind: socket.SocketKind) -> None:
    (before,) = free_ports(1)
    with socket.socket(socket.AF_INET, kind) as held:
        held.bind(("127.0.0.1", before + 3))
        assert before + 2 not in free_ports(3)
