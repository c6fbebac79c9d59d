"""Endpoint identifiers (RFC 9171 §4.2.5.1, RFC 9758)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

from stack.core.errors import DecodeError, LocalError

SCHEME_DTN = 1
SCHEME_IPN = 2

EID_CHARS_MAX = 1024
"""Longest scheme-specific part that we take: EIDs are index keys and travel in each bundle."""

IPN_LOCAL_NODE = (1 << 32) - 1
"""Node number of ``ipn:!.service``, the node itself whoever it is (RFC 9758 §3.4.2)."""

_U32_MAX = (1 << 32) - 1
_U64_MAX = (1 << 64) - 1

# RFC 9171 §4.2.5.1.1: "//" node-name "/" demux, demux = *VCHAR, node-name = reg-name, which is
# *(unreserved / pct-encoded / sub-delims) (RFC 3986 §3.2.2)
_DTN_SSP = re.compile(r"//(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+/[!-~]*")
_NUMBER = r"0|[1-9][0-9]{0,19}"
_IPN_SSP = re.compile(rf"(?:({_NUMBER})\.)?({_NUMBER}|!)\.({_NUMBER})")
_OPAQUE = re.compile(rf"({_NUMBER})\.([0-9a-f]{{2,2048}})")

_SECTION_DTN = "RFC 9171 §4.2.5.1.1"
_SECTION_IPN = "RFC 9758 §4"


@dataclass(frozen=True, slots=True, order=True)
class Eid:
    """An endpoint identifier: `dtn:none`, `dtn://node/demux` or `ipn:[allocator.]node.service`.

    `ssp` of a dtn EID is the text after ``dtn:`` (``none`` or ``//node/demux``); of an ipn EID it
    is (allocator, node, service); of any other scheme it is the encoded CBOR item, kept as it came
    so that bundles of unknown schemes can pass through.  `encoded` has the octets of an EID that
    came in another legal encoding than ours: it is the same endpoint, and goes out as it came.
    Raises `DecodeError` for what RFC 9171 §4.2.5.1 or RFC 9758 does not allow.
    """

    NONE: ClassVar[Eid]
    """``dtn:none``, the endpoint without members."""

    scheme: int
    ssp: str | tuple[int, int, int] | bytes
    encoded: bytes | None = field(default=None, compare=False, repr=False)
    _text: str | None = field(default=None, init=False, compare=False, repr=False)
    _node: Eid | None = field(default=None, init=False, compare=False, repr=False)

    # Each bundle asks a few times for the parts of its EIDs, and looks things up by them.

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if other.__class__ is not Eid:
            return NotImplemented
        return self.ssp == other.ssp and self.scheme == other.scheme

    def __hash__(self) -> int:
        # Numbers with one and the same hash are quickly found, and in each table that remembers
        # EIDs every look-up would pass by all of these; hashes of texts nobody outside knows.
        ssp = self.ssp
        return hash(str(self) if ssp.__class__ is tuple else ssp)

    def __post_init__(self) -> None:
        ssp = self.ssp
        if self.scheme == SCHEME_DTN:
            if not isinstance(ssp, str) or len(ssp) > EID_CHARS_MAX:
                raise DecodeError("dtn EID is no text or too long", _SECTION_DTN)
            if ssp != "none" and _DTN_SSP.fullmatch(ssp) is None:
                raise DecodeError(f"not a dtn EID: {ssp[:64]!r}", _SECTION_DTN)
        elif self.scheme == SCHEME_IPN:
            if not isinstance(ssp, tuple):
                raise DecodeError("ipn EID is no triple of numbers", _SECTION_IPN)
            allocator, node, service = ssp
            if not (0 <= allocator <= _U32_MAX and 0 <= node <= _U32_MAX):
                raise DecodeError("ipn allocator or node over 32 bits", "RFC 9758 §3.2, §3.3")
            if not 0 <= service <= _U64_MAX:
                raise DecodeError("ipn service number over 64 bits", "RFC 9758 §3.5")
            if service and not (allocator or node):
                # RFC 9758 §3.1: not to be composed, and to be read as the null ipn URI
                object.__setattr__(self, "ssp", (0, 0, 0))
        elif not isinstance(ssp, bytes) or not 0 < len(ssp) <= EID_CHARS_MAX:
            raise DecodeError("EID of an unknown scheme is empty or too long", "RFC 9171 §4.2.5.1")
        elif not 0 < self.scheme <= _U64_MAX:
            raise DecodeError("reserved URI scheme code 0", "RFC 9171 §9.6")

    @staticmethod
    def parse(text: str) -> Eid:
        """Read the text form, as `str(eid)` writes it.  Raises `DecodeError` for a text that is
        none, `LocalError` for what is no text.

        A two-part ipn EID whose node number needs more than 32 bits is the packed form of
        (allocator, node) and is taken apart (RFC 9758 §3.3.1).
        """
        if not isinstance(text, str):
            raise LocalError(f"{type(text).__name__} is no text of an EID, such as 'dtn://sat1/'")
        return _parse(text)

    @property
    def is_null(self) -> bool:
        """Whether this is the endpoint without members, `dtn:none` or `ipn:0.0`."""
        ssp = self.ssp
        return ssp == "none" or ssp == (0, 0, 0)

    @property
    def is_singleton(self) -> bool:
        """Whether at most one node can be a member (RFC 9171 §4.2.5.1.1, §4.2.5.1.2)."""
        ssp = self.ssp
        return not (isinstance(ssp, str) and "/~" in ssp and self.service.startswith("~"))

    @property
    def is_local_node(self) -> bool:
        """Whether this is ``ipn:!.service``, which must not leave the node (RFC 9758 §3.4.2)."""
        return isinstance(self.ssp, tuple) and self.ssp[:2] == (0, IPN_LOCAL_NODE)

    @property
    def node(self) -> Eid:
        """The administrative endpoint of the node: ``dtn://gs1/`` or ``ipn:5.0``.

        A null EID and one of an unknown scheme are their own node.
        """
        node = self._node
        if node is None:
            node = _node(self)
            if node != self:  # no cycle of references
                object.__setattr__(self, "_node", node)
        return node

    @property
    def service(self) -> str:
        """The demux of a dtn EID, or the decimal service number of an ipn EID; else empty."""
        ssp = self.ssp
        if isinstance(ssp, tuple):
            return str(ssp[2])
        if isinstance(ssp, bytes) or ssp == "none":
            return ""
        return ssp[ssp.index("/", 2) + 1 :]

    def with_service(self, service: str) -> Eid:
        """The endpoint of the same node with another service (text form as in `service`).

        Raises `LocalError` when this EID has no node, or the service is not one of its scheme.
        """
        return _with_service(self, service)

    def __str__(self) -> str:
        text = self._text
        if text is None:
            text = _text(self)
            object.__setattr__(self, "_text", text)
        return text


Eid.NONE = Eid(SCHEME_DTN, "none")

# Nodes and parses recur with every bundle of a flow, so they are remembered, in
# bounded tables that hold at most a few MB even when a peer makes up endless EIDs.


@lru_cache(maxsize=2048)
def _parse(text: str) -> Eid:
    scheme, colon, rest = text.partition(":")
    if not colon or len(text) > 2 * EID_CHARS_MAX + 32:
        raise DecodeError(f"not an endpoint identifier: {text[:64]!r}", "RFC 9171 §4.2.5.1")
    if scheme == "dtn":
        return Eid(SCHEME_DTN, rest)
    if scheme == "ipn":
        match = _IPN_SSP.fullmatch(rest)
        if match is None:
            raise DecodeError(f"not an ipn EID: {text[:64]!r}", _SECTION_IPN)
        service = int(match[3])
        if match[2] == "!":
            if match[1]:
                raise DecodeError("the local node has no allocator", "RFC 9758 §3.4.2")
            return Eid(SCHEME_IPN, (0, IPN_LOCAL_NODE, service))
        node = int(match[2])
        if match[1] is not None:
            return Eid(SCHEME_IPN, (int(match[1]), node, service))
        return Eid(SCHEME_IPN, (node >> 32, node & _U32_MAX, service))
    match = _OPAQUE.fullmatch(rest) if scheme == "x-scheme" else None
    if match is None or len(match[2]) % 2:
        raise DecodeError(f"unknown EID scheme: {text[:64]!r}", "RFC 9171 §4.2.5.1")
    code = int(match[1])
    if code <= SCHEME_IPN:
        raise DecodeError(f"scheme {code} has a text form of its own", "RFC 9171 §4.2.5.1")
    return Eid(code, bytes.fromhex(match[2]))


def _text(eid: Eid) -> str:
    ssp = eid.ssp
    if isinstance(ssp, str):
        return "dtn:" + ssp
    if isinstance(ssp, bytes):
        # Ours alone: an unknown scheme has a name, but the wire gives only its number.
        return f"x-scheme:{eid.scheme}.{ssp.hex()}"
    allocator, node, service = ssp
    if allocator:
        return f"ipn:{allocator}.{node}.{service}"
    return f"ipn:!.{service}" if node == IPN_LOCAL_NODE else f"ipn:{node}.{service}"


@lru_cache(maxsize=2048)
def _node(eid: Eid) -> Eid:
    ssp = eid.ssp
    if isinstance(ssp, tuple):
        return Eid(SCHEME_IPN, (ssp[0], ssp[1], 0))
    if isinstance(ssp, bytes) or ssp == "none":
        return Eid(eid.scheme, ssp)
    return Eid(SCHEME_DTN, ssp[: ssp.index("/", 2) + 1])


@lru_cache(maxsize=2048)
def _with_service(eid: Eid, service: str) -> Eid:
    if eid.is_null or isinstance(eid.ssp, bytes):
        raise LocalError(f"{eid} has no services")
    ssp = _node(eid).ssp
    try:
        if isinstance(ssp, tuple):
            if not re.fullmatch(_NUMBER, service):
                raise DecodeError("not a decimal number", _SECTION_IPN)
            return Eid(SCHEME_IPN, (ssp[0], ssp[1], int(service)))
        return Eid(SCHEME_DTN, f"{ssp!s}{service}")
    except DecodeError as error:
        raise LocalError(f"not a service of {eid.node}: {service!r}: {error.reason}") from error
