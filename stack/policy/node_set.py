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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar, Final, Literal

from stack.core.errors import DecodeError
from stack.policy.directory import JURISDICTION, NodeFacts
from stack.policy.eid_pattern import EidPattern

CHARS_MAX = 1024
DEPTH_MAX = 16
TERMS_MAX = 64
"""Names in a set, of patterns each alternative and interval: it is read for whoever sends it, and
asked of each node of a plan; and there are no more sets within one another than names, so that no
reader runs out of stack."""

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


@dataclass(frozen=True, slots=True, eq=False)
class _Atom:
    """Nodes of one property."""

    text: str
    pattern: EidPattern | None = None
    """Where it may mean several nodes by their ids."""

    name: str = field(init=False)
    """What those it means have in common (`NodeFacts.names`)."""

    parentheses: ClassVar = 0

    def __post_init__(self) -> None:
        plain = ":" in self.text or self.text in ("any", "none")
        object.__setattr__(self, "name", self.text if plain else f"law:{self.text}")

    @property
    def terms(self) -> int:
        return 1 if self.pattern is None else self.pattern.terms

    def holds(self, node: NodeFacts) -> bool:
        if self.pattern is not None:
            return self.pattern.matches(node.id)
        return self.name in node.names


@dataclass(frozen=True, slots=True, eq=False)
class _Join:
    """Of several sets the union ("|") or what they have in common ("&"), each named once and in
    order, so that what means the same is mostly written the same."""

    mark: Literal["|", "&"]
    members: tuple[_Expression, ...]
    names: frozenset[str] = field(init=False)
    """Those of members that are known by a name: whoever makes up a policy may name many, which
    are so looked up at once for each node of a plan."""

    others: tuple[_Expression, ...] = field(init=False)
    terms: int = field(init=False)
    parentheses: int = field(init=False)
    """In one another, in its text."""

    def __post_init__(self) -> None:
        named, others = [], []
        for one in self.members:
            if isinstance(one, _Atom) and one.pattern is None:
                named.append(one.name)
            else:
                others.append(one)
        object.__setattr__(self, "names", frozenset(named))
        object.__setattr__(self, "others", tuple(others))
        object.__setattr__(self, "terms", sum(one.terms for one in self.members))
        object.__setattr__(self, "parentheses", max(map(_parentheses, self.members)))

    @property
    def text(self) -> str:
        return f" {self.mark} ".join(map(_nested, self.members))

    def holds(self, node: NodeFacts) -> bool:
        if self.mark == "|":
            named = not self.names.isdisjoint(node.names)
            return named or any(one.holds(node) for one in self.others)
        return self.names <= node.names and all(one.holds(node) for one in self.others)


@dataclass(frozen=True, slots=True, eq=False)
class _Without:
    """What is in the first set and not in the second."""

    first: _Expression
    second: _Expression
    terms: int = field(init=False)
    parentheses: int = field(init=False)

    def __post_init__(self) -> None:
        first, second = self.first, self.second
        chain = isinstance(first, _Without)
        inside = max(first.parentheses if chain else _parentheses(first), _parentheses(second))
        object.__setattr__(self, "terms", first.terms + second.terms)
        object.__setattr__(self, "parentheses", inside)

    @property
    def text(self) -> str:
        first = self.first
        before = first.text if isinstance(first, _Without) else _nested(first)
        return f"{before} - {_nested(self.second)}"

    def holds(self, node: NodeFacts) -> bool:
        return self.first.holds(node) and not self.second.holds(node)


_Expression = _Atom | _Join | _Without


def _nested(expression: _Expression) -> str:
    return expression.text if isinstance(expression, _Atom) else f"({expression.text})"


def _parentheses(expression: _Expression) -> int:
    return 0 if isinstance(expression, _Atom) else expression.parentheses + 1


def _join(mark: Literal["|", "&"], members: Sequence[_Expression]) -> _Expression:
    """The canonical form: nothing nested that need not be, nothing twice, in order."""
    if len(members) == 1:
        return members[0]
    flat: dict[str, _Expression] = {}
    for member in members:
        if isinstance(member, _Join) and member.mark == mark:
            flat.update((each.text, each) for each in member.members)
        else:
            flat[member.text] = member
    absorbing, neutral = ("any", "none") if mark == "|" else ("none", "any")
    if absorbing in flat:
        return flat[absorbing]
    flat.pop(neutral, None)
    if len(flat) < 2:
        return next(iter(flat.values()), _Atom(neutral))
    return _Join(mark, tuple(flat[text] for text in sorted(flat)))


@dataclass(frozen=True, slots=True)
class NodeSet:
    """A set of nodes.  Equal when written alike in canonical form, which `str` gives."""

    ANY: ClassVar[NodeSet]
    NONE: ClassVar[NodeSet]

    _expression: _Expression = field(compare=False)
    _text: str = field(init=False)  # quick to compare, and its hash is kept

    def __post_init__(self) -> None:
        object.__setattr__(self, "_text", self._expression.text)

    @staticmethod
    def parse(text: str) -> NodeSet:
        """Read an expression.  Raises `DecodeError`."""
        return _parsed(text)

    def check_readable(self) -> None:
        """Raise `DecodeError` where nobody would read its text, as what is joined of others may
        have grown."""
        found, text = self._expression, self._text
        for most, count, what in (
            (TERMS_MAX, found.terms, "names, alternatives and intervals"),
            (DEPTH_MAX, found.parentheses, "parentheses in one another"),
            (CHARS_MAX, len(text), "characters"),
        ):
            if count > most:
                words = f"node set {text[:64]!r}: {count} {what}, at most {most}"
                raise DecodeError(words, _SECTION)

    def holds(self, node: NodeFacts | None) -> bool:
        """Whether a node is in the set; one of which nothing is known never is."""
        return node is not None and self._expression.holds(node)

    def __and__(self, other: NodeSet) -> NodeSet:
        return NodeSet(_join("&", (self._expression, other._expression)))

    def __or__(self, other: NodeSet) -> NodeSet:
        return NodeSet(_join("|", (self._expression, other._expression)))

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
        self._terms = 0
        self.token = next(self._tokens, None)

    def _cut(self) -> Iterator[str | _Atom]:
        at, end = 0, len(self._text.rstrip())
        while at < end:
            match = _TOKEN.match(self._text, at)
            if match is None:
                raise self.wrong(f"not understood: {self._text[at:][:32].strip()!r}")
            at = match.end()
            token = _token(match)
            if isinstance(token, _Atom):
                self._terms += 1 if token.pattern is None else token.pattern.terms
                if self._terms > TERMS_MAX:
                    words = f"more than {TERMS_MAX} names, alternatives and intervals"
                    raise self.wrong(f"{words}: write the set shorter")
            yield token

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
        return _join("|", members)

    def _product(self, depth: int) -> _Expression:
        factors = [self._one(depth)]
        while self.token in ("&", "-"):
            mark = self._next()
            other = self._one(depth)
            if mark == "&":
                factors.append(other)
            else:
                factors = [_Without(_join("&", factors), other)]
        return _join("&", factors)

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
    kind, text = match.lastgroup, match[0].lstrip()
    if kind in ("mark", "minus"):
        return text
    if kind in ("quoted", "pattern"):
        return _node(EidPattern.parse(match[kind]))
    if kind == "word" and text not in ("any", "none") and JURISDICTION.fullmatch(text) is None:
        raise DecodeError(f"{text[:32]!r} is no jurisdiction: write it in capitals", _SECTION)
    return _atom(text)


def _node(pattern: EidPattern) -> _Atom:
    """Nodes that a pattern means.  One that means none would be taken from nothing, and nobody
    would notice: raises `DecodeError`."""
    if not all(EidPattern(pattern.text, (item,)).meets(_NODE_IDS) for item in pattern.items):
        words = f"{pattern.text[:64]!r} means services, and no node"
        raise DecodeError(f"{words}: write it like dtn://kiruna/ or ipn:5.0", _SECTION)
    quoted = re.search(r"[\s|&()]", pattern.text) is not None
    if pattern.is_one and not quoted:
        return _atom(f"node:{pattern.text}")
    return _Atom(f'node:"{pattern.text}"' if quoted else f"node:{pattern.text}", pattern)


@lru_cache(maxsize=1024)
def _atom(text: str) -> _Atom:
    """Nodes of one name: the same in all sets that have it, as a node may hold many policies."""
    return _Atom(text)


_NODE_IDS: Final = EidPattern.parse("ipn:*.*.0|dtn://*/")
