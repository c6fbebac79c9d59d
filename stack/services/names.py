"""The names of the services, and their numbers on nodes of the ipn scheme.

A service of a dtn node is reached under its name (``dtn://sat1/files``); ipn nodes have numbers
(``ipn:7.64``).  This is the only table of both.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from stack.core.eid import SCHEME_IPN, Eid
from stack.core.errors import LocalError
from stack.ports.application import AppPort, Endpoint

ECHO: Final = "echo"
FILES: Final = "files"
JOBS: Final = "jobs"
JOB_REPLIES: Final = "job-replies"
MESSAGES: Final = "messages"
AUDIT: Final = "audit"
KEYS: Final = "keys"
KEY_AUTHORITY: Final = "key-authority"

NUMBERS: Final = MappingProxyType(
    {
        ECHO: 2047,
        FILES: 64,
        JOBS: 65,
        MESSAGES: 66,
        JOB_REPLIES: 67,
        AUDIT: 68,
        KEYS: 69,
        KEY_AUTHORITY: 70,
    }
)
"""Service numbers of ipn nodes.  The numbers are ours, agreed between Orbitferry nodes; 2047 is
also where HDTN answers pings by default.  ION has no number of its own for echo: `bpecho` is given
an endpoint, which has to be named then (`orbitferry ping ipn:2.2`)."""

PASSING_FIRST: Final = 0x4000
PASSING_COUNT: Final = 0x4000
"""Numbers 16384 to 32767: endpoints that live as long as one `ping` does."""

_PASSING_TRIES: Final = 16
"""A free number is found at once unless thousands of pings run."""


def service_of(node: Eid, name: str) -> str:
    """The service of `name` on `node`: itself for a dtn node, its decimal number for an ipn one.

    Raises `LocalError` for a name that has no number on an ipn node.
    """
    if node.scheme != SCHEME_IPN or name.isdecimal():
        return name
    number = NUMBERS.get(name)
    if number is None:
        raise LocalError(f"service {name!r} has no ipn number; pass the number itself")
    return str(number)


def endpoint_of(node: Eid, name: str) -> Eid:
    """The endpoint of service `name` on the node of `node` (any of its endpoints)."""
    return node.with_service(service_of(node, name))


def register_passing(port: AppPort, name: str) -> Endpoint:
    """Register an endpoint nobody else has: `name` with a random suffix, or a random number.

    Raises `LocalError` when no free one was found.
    """
    for _ in range(_PASSING_TRIES):
        number = int.from_bytes(port.entropy(4), "big") % PASSING_COUNT + PASSING_FIRST
        ipn = port.node_id.scheme == SCHEME_IPN
        try:
            return port.register(str(number) if ipn else f"{name}-{number:x}")
        except LocalError:
            continue
    raise LocalError(f"no free endpoint for {name!r}")
