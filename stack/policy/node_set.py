"""Sets of nodes, as an owner of data writes them: `KR | (EU - node:dtn://kiruna/)`.

    KR, EU, US-CA        nodes under this jurisdiction: a country (ISO 3166), a part, a union
    domain:kari          nodes of this domain: an agency, a company, a state
    role:relay           nodes with this role
    node:ipn:[10-19].0   nodes that an EID pattern means; in quotes where it has | & ( ) or blanks
    any, none            all nodes of which something is known; no node
    a | b   a & b   a - b   in either; in both; in a but not in b ("-" has blanks around it)

`&` and `-` bind more than `|`, and group from the left.  A node of which nothing is known is in no
set, whatever is subtracted from what: who cannot show where he belongs is not meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar, Final, Literal

from stack.core.errors import DecodeError
from stack.policy.directory import JURISDICTION, NodeFacts
from stack.policy.eid_pattern import EidPattern

CHARS_MAX = 1024
DEPTH_MAX = 16
NESTED_MAX = 64
"""Sets within one another, as each `&` after a `-` puts what is before it into another: whoever
reads labels must not run out of stack, nor of time, for what somebody has made up."""

_SECTION = "docs/sovereignty.md"

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<mark>[|&()])
      | (?P<minus>-(?=\s))
      | node:(?:"(?P<quoted>[^"]*)"|(?P<pattern>[^\s"|&()]+))
      | (?P<kind>domain|role):(?P<name>[A-Za-z0-9._~-]+)
      | (?P<word>[A-Za-z][A-Za-z0-9-]*+(?!:))
    )""",
    re.VERBOSE,
)

Kind = Literal["any", "none", "jurisdiction", "domain", "role", "node"]


@dataclass(frozen=True, slots=True, order=True)
class _Atom:
    """Nodes of one property."""

    kind: Kind
    name: str = ""
    depth: ClassVar[int] = 0

    def holds(self, node: NodeFacts) -> bool:
        name = self.name
        match self.kind:
            case "any":
                return True
            case "jurisdiction":
                return name in node.jurisdictions
            case "domain":
                return name == node.domain
            case "role":
                return name in node.roles
            case "node":
                return EidPattern.parse(name).matches(node.id)
        return False

    def __str__(self) -> str:
        if self.kind == "node":
            quoted = re.search(r"[\s|&()]", self.name) is not None
            return f'node:"{self.name}"' if quoted else f"node:{self.name}"
        if self.kind in ("domain", "role"):
            return f"{self.kind}:{self.name}"
        return self.name or self.kind


@dataclass(frozen=True, slots=True)
class _Join:
    """Of several sets the union ("|") or what they have in common ("&"), each named once and in
    order, so that what means the same is mostly written the same."""

    mark: Literal["|", "&"]
    members: tuple[_Expression, ...]
    depth: int = field(init=False, compare=False, repr=False, default=0)
    """Sets within one another in it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", 1 + max(each.depth for each in self.members))

    def holds(self, node: NodeFacts) -> bool:
        inside = (member.holds(node) for member in self.members)
        return any(inside) if self.mark == "|" else all(inside)

    def __str__(self) -> str:
        return f" {self.mark} ".join(_nested(member) for member in self.members)


@dataclass(frozen=True, slots=True)
class _Without:
    """What is in the first set and not in the second."""

    first: _Expression
    second: _Expression
    depth: int = field(init=False, compare=False, repr=False, default=0)
    """As of `_Join`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", 1 + max(self.first.depth, self.second.depth))

    def holds(self, node: NodeFacts) -> bool:
        return self.first.holds(node) and not self.second.holds(node)

    def __str__(self) -> str:
        first = str(self.first) if isinstance(self.first, _Without) else _nested(self.first)
        return f"{first} - {_nested(self.second)}"


_Expression = _Atom | _Join | _Without


def _nested(expression: _Expression) -> str:
    return str(expression) if isinstance(expression, _Atom) else f"({expression})"


def _join(mark: Literal["|", "&"], *members: _Expression) -> _Expression:
    """The canonical form: nothing nested that need not be, nothing twice, in order."""
    flat: set[_Expression] = set()
    for member in members:
        if isinstance(member, _Join) and member.mark == mark:
            flat.update(member.members)
        else:
            flat.add(member)
    everything, nothing = _Atom("any"), _Atom("none")
    absorbing, neutral = (everything, nothing) if mark == "|" else (nothing, everything)
    if absorbing in flat:
        return absorbing
    flat.discard(neutral)
    if not flat:
        return neutral
    if len(flat) == 1:
        return flat.pop()
    return _Join(mark, tuple(sorted(flat, key=str)))


@dataclass(frozen=True, slots=True)
class NodeSet:
    """A set of nodes.  Equal when written alike in canonical form, which `str` gives."""

    ANY: ClassVar[NodeSet]
    NONE: ClassVar[NodeSet]

    _expression: _Expression = field(compare=False)
    _text: str = field(init=False)  # quick to compare, and its hash is kept

    def __post_init__(self) -> None:
        object.__setattr__(self, "_text", str(self._expression))

    @staticmethod
    def parse(text: str) -> NodeSet:
        """Read an expression.  Raises `DecodeError`."""
        return _parsed(text)

    def holds(self, node: NodeFacts | None) -> bool:
        """Whether a node is in the set; one of which nothing is known never is."""
        return node is not None and self._expression.holds(node)

    def __and__(self, other: NodeSet) -> NodeSet:
        return NodeSet(_join("&", self._expression, other._expression))

    def __or__(self, other: NodeSet) -> NodeSet:
        return NodeSet(_join("|", self._expression, other._expression))

    def __sub__(self, other: NodeSet) -> NodeSet:
        return NodeSet(_Without(self._expression, other._expression))

    def __str__(self) -> str:
        return self._text


NodeSet.ANY = NodeSet(_Atom("any"))
NodeSet.NONE = NodeSet(_Atom("none"))


@lru_cache(maxsize=1024)
def _parsed(text: str) -> NodeSet:
    if len(text) > CHARS_MAX:
        raise DecodeError(f"a node set of {len(text)} characters", _SECTION)
    reader = _Reader(text)
    found = reader.union(0)
    if reader.token is not None:
        raise reader.wrong("an operator was expected")
    return NodeSet(found)


class _Reader:
    """Recursive descent over the tokens of an expression."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._cut()
        self.token = next(self._tokens, None)

    def _cut(self) -> Iterator[str | _Atom]:
        at, end = 0, len(self._text.rstrip())
        while at < end:
            match = _TOKEN.match(self._text, at)
            if match is None:
                raise self.wrong(f"not understood: {self._text[at:][:32].strip()!r}")
            at = match.end()
            yield _token(match)

    def wrong(self, words: str) -> DecodeError:
        return DecodeError(f"node set {self._text[:64]!r}: {words}", _SECTION)

    def _next(self) -> str | _Atom | None:
        token, self.token = self.token, next(self._tokens, None)
        return token

    def union(self, depth: int) -> _Expression:
        members = [self._product(depth)]
        while self.token == "|":  # noqa: S105 - a token of a text
            self._next()
            members.append(self._product(depth))
        return _join("|", *members)

    def _product(self, depth: int) -> _Expression:
        found = self._one(depth)
        while self.token in ("&", "-"):
            mark = self._next()
            other = self._one(depth)
            found = _join("&", found, other) if mark == "&" else _Without(found, other)
            if found.depth > NESTED_MAX:
                words = f"more than {NESTED_MAX} sets within one another"
                raise self.wrong(f"{words}: take away one set, as in a - (b | c)")
        return found

    def _one(self, depth: int) -> _Expression:
        if depth > DEPTH_MAX:
            raise self.wrong(f"more than {DEPTH_MAX} parentheses in one another")
        token = self._next()
        if isinstance(token, _Atom):
            return token
        if token != "(":  # noqa: S105
            raise self.wrong("a set was expected")
        found = self.union(depth + 1)
        if self._next() != ")":
            raise self.wrong("a closing parenthesis was expected")
        return found


def _token(match: re.Match[str]) -> str | _Atom:
    if mark := match["mark"] or match["minus"]:
        return mark
    for pattern in (match["quoted"], match["pattern"]):
        if pattern is not None:
            return _node(EidPattern.parse(pattern))
    if match["kind"] == "domain":
        return _Atom("domain", match["name"])
    if match["kind"] == "role":
        return _Atom("role", match["name"])
    word = match["word"] or ""
    if word in ("any", "none"):
        return _Atom("any" if word == "any" else "none")
    if JURISDICTION.fullmatch(word) is None:
        raise DecodeError(f"{word[:32]!r} is no jurisdiction: write it in capitals", _SECTION)
    return _Atom("jurisdiction", word)


def _node(pattern: EidPattern) -> _Atom:
    """Nodes that a pattern means.  One that means none would be taken from nothing, and nobody
    would notice: raises `DecodeError`."""
    if not all(EidPattern(pattern.text, (item,)).meets(_NODE_IDS) for item in pattern.items):
        words = f"{pattern.text[:64]!r} means services, and no node"
        raise DecodeError(f"{words}: write it like dtn://kiruna/ or ipn:5.0", _SECTION)
    return _Atom("node", pattern.text)


_NODE_IDS: Final = EidPattern.parse("ipn:*.*.0|dtn://*/")
