"""Name spaces: which node ids a domain gives.

A domain may say which EID patterns (draft-ietf-dtn-eid-pattern) the ids of its nodes are of.  Its
own name space is in its revocation list, which reaches all that believe anything of it and never
goes back to an older one; that of another domain is one of the terms of its federation, so both
have signed it.  Where one is said, it is its domain's alone: nobody else names a node in it, and
keys of another domain speak for no node in it.  Where none is said, any id may be given that nobody
else has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError, SecurityError
from stack.policy.eid_pattern import EidPattern

PATTERNS_MAX: Final = 64
"""Patterns of one name space, of 512 characters and 64 alternatives each."""

_ANSWERS_MAX: Final = 1024
"""Node ids of which it is remembered whether they are in the name space of another domain."""


@dataclass(frozen=True, slots=True)
class NameSpace:
    """Patterns of node ids; without any, nothing is said.  Raises `DecodeError`."""

    patterns: tuple[EidPattern, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> NameSpace:
        """The name space that these patterns are, whatever their order."""
        found = tuple(EidPattern.parse(text) for text in sorted(set(texts)))
        if len(found) > PATTERNS_MAX:
            raise DecodeError(f"a name space of {len(found)} patterns", "docs/identity.md")
        return cls(found)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def __str__(self) -> str:
        return ", ".join(self.texts)

    @property
    def texts(self) -> tuple[str, ...]:
        """The patterns, sorted."""
        return tuple(map(str, self.patterns))

    def has(self, node: Eid) -> bool:
        """Whether it is said that this id is in it."""
        return any(pattern.matches(node) for pattern in self.patterns)

    def meets(self, other: NameSpace) -> bool:
        """Whether there is an id that both have."""
        return any(mine.meets(theirs) for mine in self.patterns for theirs in other.patterns)

    def within(self, other: NameSpace) -> bool:
        """Whether it is made of patterns of `other`, or that says nothing."""
        return not other or (bool(self) and set(self.texts) <= set(other.texts))


UNSAID: Final = NameSpace()


def name_space(where: str, texts: Iterable[str]) -> NameSpace:
    """One that an operator gives.  Raises `ConfigError`."""
    try:
        return NameSpace.of(texts)
    except DecodeError as error:
        remedy = '"ipn:[100-199].*" or "dtn://sat1/**"'
        raise ConfigError(where, str(error), remedy) from None


class NameSpaces:
    """That of domain `domain`, and those of the domains that it trusts."""

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._of: dict[str, NameSpace] = {}
        self._answers: dict[str, bool] = {}

    @property
    def own(self) -> NameSpace:
        """That of this domain."""
        return self.of(self._domain)

    def of(self, domain: str) -> NameSpace:
        """That of a domain."""
        return self._of.get(domain, UNSAID)

    def say(self, domain: str, names: NameSpace) -> None:
        """A domain has this one from now on."""
        self._of[domain] = names
        self._answers.clear()

    def check_given(self, node: Eid, domain: str) -> None:
        """Raise `SecurityError` where a domain gives an id that is not in its name space."""
        names = self.of(domain)
        if names and not names.has(node):
            raise SecurityError(f"domain {domain} gives ids of {names} only, not {node}")

    def check_free(self, node: Eid, domain: str, counts: Callable[[str], bool]) -> None:
        """Raise `SecurityError` where an id is in the name space of another domain than `domain`,
        of those that count."""
        for other, names in self._of.items():
            if other != domain and names.has(node) and counts(other):
                raise SecurityError(f"{node} is an id of domain {other}, which gives {names}")

    def elsewhere(self, node: str) -> bool:
        """Whether an id cannot be of a node of this domain: it is in the name space of another, of
        whatever has become of that since, or not in that of this one."""
        if not any(self._of.values()):
            return False
        found = self._answers.get(node)
        if found is None:
            if len(self._answers) >= _ANSWERS_MAX:
                self._answers.clear()
            found = self._answers[node] = self._elsewhere(node)
        return found

    def _elsewhere(self, node: str) -> bool:
        try:
            eid = Eid.parse(node)
        except DecodeError:
            return True
        if eid.is_null:  # nobody's, in every domain
            return False
        if self.own:
            return not self.own.has(eid)
        return any(names.has(eid) for names in self._of.values())
