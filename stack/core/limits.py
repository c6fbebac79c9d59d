"""Bounds that more than one layer relies on; each says why it is what it is."""

from __future__ import annotations

DATAGRAM_BYTES_MAX = 65_507
"""Largest UDP payload over IPv4 (RFC 768 with RFC 791: 65,535 less `IPV4_UDP_BYTES`)."""

IPV4_UDP_BYTES = 28
"""Headers of IPv4 and UDP, which go over the link with each datagram."""

IPV6_UDP_BYTES = 48

BUNDLE_BYTES_MAX = 64 * 1024 * 1024
"""Largest bundle that a node takes: larger objects are segmented by the file service, so that no
node must hold more than this in memory for one bundle."""

LIFETIME_MS_MAX = 10 * 366 * 86_400_000
"""Ten years: a longer bundle lifetime is a mistake or an attack on the store."""
