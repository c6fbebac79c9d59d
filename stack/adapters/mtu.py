"""The path MTU, as the operating system knows it."""

from __future__ import annotations

import socket
import sys

IP_MTU_DISCOVER = 10
IP_PMTUDISC_DO = 2
IP_MTU = 14
IPV6_MTU_DISCOVER = 23
IPV6_MTU = 24
"""Socket options of Linux (ip(7), ipv6(7)); Python names none of them."""


def path_mtu_bytes(host: str, port: int) -> int | None:
    """Largest IP packet that the route to a host takes, as far as the system knows: that of the
    interface, or less when a router on the way has said so.  None when it cannot be told."""
    if sys.platform != "linux":
        return None
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            if family == socket.AF_INET6:
                level, discover, mtu = socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_MTU
            else:
                level, discover, mtu = socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_MTU
            sock.setsockopt(level, discover, IP_PMTUDISC_DO)
            sock.connect(address)
            return sock.getsockopt(level, mtu)
    except OSError:
        return None
