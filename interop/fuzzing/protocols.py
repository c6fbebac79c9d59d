"""The protocols that are fuzzed: where their cases come from, and what shows that a peer lives."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from interop.strategies.making import Maker, strategy
from stack.core.errors import ConfigError, DecodeError
from stack.wire.ltp import DataSegment, SegmentType, SessionId, decode_segment, encode_segment
from stack.wire.tcpcl import (
    MAGIC,
    ContactHeader,
    decode_contact,
    decode_message,
    encode_contact,
)

PROBE_ENGINE: Final = 1
"""The engine number that probes of LTP come from."""


@dataclass(frozen=True, slots=True)
class FuzzedProtocol:
    """What is known of a protocol that is fuzzed."""

    kind: str
    """As `interop.inspect` calls its octets."""

    about: str
    valid: str = ""
    """Strategy of octets, ``module:name`` in `interop.strategies`."""

    nearly: str = ""
    """Strategy of `Nearly`."""

    deep: str = ""
    """Strategy of octets that are damaged inside, where lengths and checksums are right."""

    hostile: str = ""
    """Strategy of what is hard to bear by its kind, `Hostile`."""

    sequences: Callable[[], Maker[tuple[bytes, ...]]] | None = None
    """Messages that belong together, in order."""

    repair: str = ""
    """Makes checksums right again, so that mutants are not refused for these alone."""

    probe: Callable[[int], bytes] | None = None
    """A message, another for each number, that a peer in good health answers."""

    answers: Callable[[bytes, bytes], bool] = lambda probe, answer: True
    """Whether a message answers a probe, and nothing that was sent before."""

    kinds: Callable[[bytes], tuple[str, ...]] = lambda octets: ()
    """What kinds of messages are in octets that a peer sent: states of a target are known by what
    it answers."""

    cbor: bool = False
    """Whether its octets are items of CBOR."""

    opening: bytes = b""
    """What each connection begins with."""

    port: int = 0


def _ltp_probe(number: int) -> bytes:
    """One octet of data, and a checkpoint over it: it is to be answered with a report, or with a
    cancellation (RFC 5326 §6.11, §6.16)."""
    segment = DataSegment(
        session=SessionId(PROBE_ENGINE, (1 << 31) + number),
        kind=SegmentType.RED_END_BLOCK,
        client_service=1,
        offset=0,
        data=b"\0",
        checkpoint_serial=1 + number % 1000,
    )
    return encode_segment(segment)


def _ltp_answers(probe: bytes, answer: bytes) -> bool:
    """All segments of a session begin with its id (RFC 5326 §3.1): here one octet and five."""
    return answer[1:7] == probe[1:7]


def _ltp_transfers() -> Maker[tuple[bytes, ...]]:
    """Whole transfers of blocks, as a receiver sees them."""
    from interop.strategies.ltp_transfers import transfers

    make = transfers.maker()
    return Maker(lambda choose: make(choose).datagrams, "transfers()")


def _ltp_kinds(datagram: bytes) -> tuple[str, ...]:
    try:
        segment, _ = decode_segment(datagram)
    except DecodeError:
        return ()
    if isinstance(segment, DataSegment):
        return (segment.kind.name,)
    return (type(segment).__name__,)


def _tcpcl_kinds(stream: bytes) -> tuple[str, ...]:
    found: list[str] = []
    at = 0
    with contextlib.suppress(DecodeError):
        if stream.startswith(MAGIC):
            _, at = decode_contact(stream)
            found.append("contact header")
        while at < len(stream):
            message, at = decode_message(stream, at)
            found.append(message.type.name)
    return tuple(found)


def _tcpcl_sessions() -> Maker[tuple[bytes, ...]]:
    from interop.strategies.tcpcl_sessions import sessions

    return sessions.maker()


PROTOCOLS: Final[Mapping[str, FuzzedProtocol]] = MappingProxyType(
    {
        "bpv7": FuzzedProtocol(
            "bundle",
            "bundles (RFC 9171)",
            valid="bundle:encoded_bundles",
            nearly="nearly_bundle:nearly_bundles",
            deep="mutated_bundle:mutated_bundles",
            hostile="hostile:hostile_bundles",
            repair="mutated_bundle:bundle_crcs",
            cbor=True,
        ),
        "ltp": FuzzedProtocol(
            "ltp",
            "LTP segments (RFC 5326)",
            valid="ltp:encoded_segments",
            nearly="ltp:nearly_segments",
            hostile="hostile_ltp:hostile_segments",
            sequences=_ltp_transfers,
            probe=_ltp_probe,
            answers=_ltp_answers,
            kinds=_ltp_kinds,
            port=1113,
        ),
        "tcpclv4": FuzzedProtocol(
            "tcpcl",
            "TCPCL version 4 (RFC 9174)",
            valid="tcpcl:encoded_messages",
            nearly="tcpcl:nearly_messages",
            deep="tcpcl:mutated_messages",
            hostile="hostile_tcpcl:hostile_messages",
            sequences=_tcpcl_sessions,
            kinds=_tcpcl_kinds,
            opening=encode_contact(ContactHeader()),
            port=4556,
        ),
        "cfdp": FuzzedProtocol(
            "octets",
            "CFDP PDUs (CCSDS 727.0)",
            valid="cfdp:encoded_pdus",
            nearly="cfdp:nearly_pdus",
            deep="cfdp:mutated_pdus",
            hostile="hostile_cfdp:hostile_pdus",
        ),
        "raw": FuzzedProtocol("octets", "anything else: from --corpus or --strategy alone"),
    }
)


def known(name: str) -> FuzzedProtocol:
    """The protocol of that name.  Raises `ConfigError`."""
    found = PROTOCOLS.get(name)
    if found is None:
        raise ConfigError("--protocol", f"{name!r} is not known", f"one of {', '.join(PROTOCOLS)}")
    return found


def maker_of(reference: str, package: str = "interop.strategies.") -> Maker[Any]:
    """What makes the cases of a strategy, given as ``module:name``: one made with
    `interop.strategies.strategy`, or any of Hypothesis.  Raises `ConfigError`."""
    from hypothesis.strategies import SearchStrategy

    module_name, _, name = reference.partition(":")
    try:
        found = getattr(importlib.import_module(package + module_name), name)
        if callable(found) and not isinstance(found, SearchStrategy | strategy):
            found = found()
    except Exception as error:  # whatever somebody else's module does as it is loaded
        why = f"{type(error).__name__}: {error}"
        raise ConfigError("--strategy", f"{reference}: {why}", "MODULE:NAME") from None
    if isinstance(found, strategy):
        return found.maker()
    if not isinstance(found, SearchStrategy):
        raise ConfigError("--strategy", f"{reference} is no strategy of Hypothesis")
    return Maker(lambda choose: choose.draw(found), reference)


def function_of(reference: str) -> Callable[[bytes], bytes]:
    """The function that ``module:name`` in `interop.strategies` stands for."""
    module_name, _, name = reference.partition(":")
    found: Callable[[bytes], bytes] = getattr(
        importlib.import_module("interop.strategies." + module_name), name
    )
    return found
