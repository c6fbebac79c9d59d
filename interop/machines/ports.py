"""Ports for programs that must be told on which one to listen."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator

FIRST, LAST = 10_000, 32_000
"""Below those that the kernel gives to whoever does not ask for one: none of them is taken
between the moment it is handed out and the moment the program binds it."""
EACH = 500
"""How many lie between the first ones of two processes whose numbers are neighbours."""


def _numbers() -> Iterator[int]:
    count = LAST - FIRST
    begin = os.getpid() * EACH
    return (FIRST + (begin + step) % count for step in itertools.count(0, 2))


_next = _numbers()


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody uses, for UDP and for TCP, and that this process
    hands out once.  Nobody uses the ports after them either, where repair flows go
    (RFC 6363 §5.2)."""
    return list(itertools.islice(filter(_free, _next), count))


def _free(first: int) -> bool:
    kinds = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
    for kind, port in itertools.product(kinds, (first, first + 1)):
        with socket.socket(socket.AF_INET, kind) as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
