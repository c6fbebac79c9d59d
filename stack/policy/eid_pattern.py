"""EID patterns: which endpoints or nodes are meant (draft-ietf-dtn-eid-pattern, its text form).

ipn:0.3.*            every service of node 3 of allocator 0; `ipn:3.*` says the same
ipn:[10-19,42].0     nodes 10 to 19 and 42
ipn:977.[100+].*     nodes 100 and above of allocator 977
dtn://kiruna/**      everything at node kiruna; `dtn://kiruna/` is its administrative endpoint
dtn://*/ping         this demux at every node
ipn:**  *:**         any endpoint of the scheme; any endpoint at all
a|b                  either
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from stack.core.eid import SCHEME_DTN, SCHEME_IPN, Eid
from stack.core.errors import DecodeError

PATTERN_CHARS_MAX = 512
ITEMS_MAX = 64
"""Alternatives of a pattern, and intervals of one number."""

_SECTION = "draft-ietf-dtn-eid-pattern §2"
_NUMBER = r"(?:0|[1-9][0-9]{0,19})"
_INTERVAL = re.compile(rf"({_NUMBER})(?:-({_NUMBER})|(\+))?")
_U64_MAX = (1 << 64) - 1
_SEGMENT = re.compile(r"(?:[A-Za-z0-9._~!$&'()+,;=-]|%[0-9A-Fa-f]{2})+")

Interval = tuple[int, int]
"""First and last number that is meant."""

ANY: tuple[Interval, ...] = ((0, _U64_MAX),)


@dataclass(frozen=True, slots=True)
class _Ipn:
    """Numbers of allocator, node and service that are meant."""

    parts: tuple[tuple[Interval, ...], ...]

    @property
    def terms(self) -> int:
        return sum(map(len, self.parts)) - 2  # one for a number in each part

    @property
    def only(self) -> str:
        """The one endpoint that is meant, as text, or nothing."""
        if any(len(part) > 1 or part[0][0] < part[0][1] for part in self.parts):
            return ""
        allocator, node, service = (part[0][0] for part in self.parts)
        return f"ipn:{allocator}.{node}.{service}" if allocator else f"ipn:{node}.{service}"

    def matches(self, eid: Eid) -> bool:
        ssp = eid.ssp
        return isinstance(ssp, tuple) and all(
            any(first <= number <= last for first, last in part)
            for number, part in zip(ssp, self.parts, strict=True)
        )

    def meets(self, other: _Item) -> bool:
        if not isinstance(other, _Ipn):
            return isinstance(other, _Scheme) and other.scheme in (0, SCHEME_IPN)
        return all(
            any(max(one[0], two[0]) <= min(one[1], two[1]) for one in mine for two in theirs)
            for mine, theirs in zip(self.parts, other.parts, strict=True)
        )


@dataclass(frozen=True, slots=True)
class _Dtn:
    """A node name, or None for all, and the segments of the demux; a last one of None for more."""

    node: str | None
    segments: tuple[str | None, ...]
    open_ended: bool
    terms: ClassVar = 1

    @property
    def only(self) -> str:
        if self.node is None or self.open_ended or None in self.segments:
            return ""
        return f"dtn://{self.node}/{'/'.join(map(str, self.segments))}"

    def matches(self, eid: Eid) -> bool:
        if eid.scheme != SCHEME_DTN or eid.is_null:
            return False
        name, _, demux = str(eid.ssp)[2:].partition("/")
        found = demux.split("/")
        if self.node not in (None, name):
            return False
        if len(found) < len(self.segments) + self.open_ended:
            return False
        if not self.open_ended and len(found) != len(self.segments):
            return False
        pairs = zip(self.segments, found, strict=False)
        return all(wanted is None or wanted == got for wanted, got in pairs)

    def meets(self, other: _Item) -> bool:
        if not isinstance(other, _Dtn):
            return isinstance(other, _Scheme) and other.scheme in (0, SCHEME_DTN)
        # As many segments as the one with more asks for, if the other goes on so far.
        least = [len(one.segments) + one.open_ended for one in (self, other)]
        goes_on = (other if least[0] > least[1] else self).open_ended
        if least[0] != least[1] and not goes_on:
            return False
        pairs = [
            (self.node, other.node),
            *zip(self.segments, other.segments, strict=False),
        ]
        return all(None in pair or pair[0] == pair[1] for pair in pairs)


@dataclass(frozen=True, slots=True)
class _Scheme:
    """Every endpoint of a scheme; of any for 0."""

    scheme: int
    terms: ClassVar = 1
    only: ClassVar = ""

    def matches(self, eid: Eid) -> bool:
        return self.scheme in (0, eid.scheme)

    def meets(self, other: _Item) -> bool:
        if not isinstance(other, _Scheme):
            return other.meets(self)
        return 0 in (self.scheme, other.scheme) or self == other


_Item = _Ipn | _Dtn | _Scheme


@dataclass(frozen=True, slots=True)
class EidPattern:
    """A pattern, as `EidPattern.parse` reads it."""

    text: str
    items: tuple[_Item, ...]

    @staticmethod
    def parse(text: str) -> EidPattern:
        """Read the text form.  Raises `DecodeError`."""
        return _parse(text)

    def matches(self, eid: Eid) -> bool:
        """Whether an endpoint is meant."""
        return any(item.matches(eid) for item in self.items)

    @property
    def is_one(self) -> bool:
        """Whether it means the one endpoint whose text it has."""
        return len(self.items) == 1 and self.items[0].only == self.text

    @property
    def terms(self) -> int:
        """Alternatives and intervals in it: what it takes to tell whether an endpoint is meant."""
        return sum(item.terms for item in self.items)

    def meets(self, other: EidPattern) -> bool:
        """Whether there is an endpoint that both mean."""
        return any(mine.meets(theirs) for mine in self.items for theirs in other.items)

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=1024)
def _parse(text: str) -> EidPattern:
    if len(text) > PATTERN_CHARS_MAX:
        raise DecodeError(f"EID pattern of {len(text)} characters", _SECTION)
    items = text.split("|")
    if len(items) > ITEMS_MAX:
        raise DecodeError(f"EID pattern of {len(items)} alternatives", _SECTION)
    return EidPattern(text, tuple(map(_item, items)))


def _item(text: str) -> _Item:
    scheme, colon, rest = text.partition(":")
    if rest == "**" and colon:
        known = {"*": 0, "dtn": SCHEME_DTN, "ipn": SCHEME_IPN}
        if scheme in known:
            return _Scheme(known[scheme])
    elif scheme == "ipn":
        return _ipn(rest, text)
    elif scheme == "dtn":
        return _dtn(rest, text)
    raise DecodeError(f"not an EID pattern: {text[:64]!r}", _SECTION)


def _ipn(rest: str, text: str) -> _Ipn:
    parts = rest.split(".")
    if len(parts) not in (2, 3):
        raise DecodeError(f"an ipn pattern has two or three parts: {text[:64]!r}", _SECTION)
    numbers = tuple(_numbers(part, text) for part in parts)
    return _Ipn(numbers if len(numbers) == 3 else (((0, 0),), *numbers))


def _numbers(part: str, text: str) -> tuple[Interval, ...]:
    if part == "*":
        return ANY
    bracketed = part.startswith("[") and part.endswith("]")
    pieces = part[1:-1].split(",") if bracketed else [part]
    if len(pieces) > ITEMS_MAX:
        raise DecodeError(f"{len(pieces)} intervals in an EID pattern", _SECTION)
    found = []
    for piece in pieces:
        match = _INTERVAL.fullmatch(piece)
        if match is None or (not bracketed and (match[2] or match[3])):
            raise DecodeError(f"no numbers: {piece[:32]!r} in {text[:64]!r}", _SECTION)
        first = int(match[1])
        last = _U64_MAX if match[3] else int(match[2] or first)
        if not first <= last <= _U64_MAX:
            raise DecodeError(f"an empty or too large interval: {piece[:48]!r}", _SECTION)
        found.append((first, last))
    return tuple(found)


def _dtn(rest: str, text: str) -> _Dtn:
    node, slash, demux = rest[2:].partition("/")
    segments = demux.split("/")
    open_ended = segments[-1] == "**"
    if open_ended:
        segments.pop()
    named = (node, *filter(None, segments))
    if not (rest.startswith("//") and slash) or not all(
        name == "*" or _SEGMENT.fullmatch(name) for name in named
    ):
        raise DecodeError(f"not a dtn pattern: {text[:64]!r}", _SECTION)
    return _Dtn(
        None if node == "*" else node,
        tuple(None if segment == "*" else segment for segment in segments),
        open_ended,
    )
