"""The links of a node, as its agent knows them: a neighbour may have several, and what befalls one
of them is no matter of the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class LinkNotes:
    """What one link and the agent tell each other."""

    def __init__(self, beside: Sequence[LinkNotes]) -> None:
        """`beside`: the notes of all links to its neighbour."""
        self.idle = True
        """It is down, or its neighbour does not answer: the link says so."""

        self.silent = False
        """It is up in a contact, and its neighbour does not answer."""

        self._beside = beside
        self._given_up: list[int] = []

    @property
    def gives_way(self) -> bool:
        """Whether another link carries what this one does not: then it holds nothing, and takes no
        more than what asks whether the neighbour is back."""
        return self.idle and not all(notes.idle for notes in self._beside)

    def give_up(self, ref: int) -> None:
        """A bundle is of no use any more, whether or not this link has been given it."""
        self._given_up.append(ref)

    @property
    def useless(self) -> bool:
        """Whether there is anything to `take`."""
        return bool(self._given_up)

    def take(self) -> list[int]:
        """The bundles that the link need not go on with, once."""
        refs, self._given_up = self._given_up, []
        return refs


class Links:
    """The notes of all links, by neighbour."""

    def __init__(self) -> None:
        self._notes: dict[str, list[LinkNotes]] = {}

    def add(self, neighbour: str) -> LinkNotes:
        """One more link to a neighbour: its notes."""
        beside = self._notes.setdefault(neighbour, [])
        beside.append(LinkNotes(beside))
        return beside[-1]

    def idle(self, neighbour: str) -> bool:
        """Whether no link carries anything to a neighbour, as far as links have said."""
        return all(notes.idle for notes in self._notes.get(neighbour, ()))

    def silent(self, neighbour: str) -> bool:
        """Whether a contact with a neighbour is of no use: its links are down, or silent."""
        notes = self._notes.get(neighbour, ())
        return self.idle(neighbour) and any(one.silent for one in notes)

    def give_up(self, ref: int, neighbours: Iterable[str]) -> None:
        """Tell all links to these neighbours of a bundle that is of no use any more."""
        for neighbour in neighbours:
            for notes in self._notes.get(neighbour, ()):
                notes.give_up(ref)
