"""The cases of a campaign: valid ones, such as break one rule, mutants, and sequences."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from interop.fuzzing.guide import Guide
from interop.fuzzing.protocols import FuzzedProtocol, function_of, maker_of
from interop.strategies.hostile import Hostile
from interop.strategies.mutation import Repair, mutate
from interop.strategies.violation import Nearly, Violation
from stack.core.errors import ConfigError

Form = Literal["valid", "nearly valid", "mutated", "hostile", "sequence", "guided"]

SEEDS_OF_MUTANTS: Final = 200
"""Valid cases, the latest, that mutants are made of beside the corpus."""

_SHARES: Final[dict[Form, int]] = {
    "valid": 1,
    "nearly valid": 2,
    "mutated": 4,
    "hostile": 1,
    "sequence": 1,
}


@dataclass(frozen=True, slots=True)
class Case:
    """Something to feed a target with."""

    messages: tuple[bytes, ...]
    form: Form
    violation: Violation | None = None
    """The rule that it breaks, if it is known."""


class CaseStream:
    """An endless stream of cases, the same for the same seed as long as nothing is learnt.

    `corpus` are octets that were right once, or that reached something new; `opening` goes before
    messages that are alone; `guide` finds others meanwhile.
    """

    def __init__(
        self,
        known: FuzzedProtocol,
        seed: int,
        corpus: Sequence[bytes] = (),
        own: str = "",
        opening: bytes = b"",
        guide: Guide | None = None,
    ) -> None:
        self.cbor = known.cbor
        """Whether cases are made of items of CBOR."""

        self._kinds = known.kinds
        self._rng = random.Random(seed)
        valid = maker_of(own, "") if own else maker_of(known.valid) if known.valid else None
        self._valid: Iterator[object] | None = None if valid is None else valid.cases(seed)
        self._nearly: Iterator[Nearly] | None = None
        self._deep: Iterator[bytes] | None = None
        self._hostile: Iterator[Hostile] | None = None
        self._sequences: Iterator[tuple[bytes, ...]] | None = None
        if not own:
            if known.deep:
                self._deep = maker_of(known.deep).cases(seed)
            if known.hostile:
                self._hostile = maker_of(known.hostile).cases(seed)
            if known.nearly:
                self._nearly = maker_of(known.nearly).cases(seed)
            if known.sequences:
                self._sequences = known.sequences().cases(seed)
        self._opening = (opening,) if opening and not own else ()
        self._repair: Repair | None = None
        if known.repair and not own:
            self._repair = function_of(known.repair)
        self._guide = guide
        self._guided: list[bytes] = []
        self._corpus = list(corpus)
        self._recent: list[bytes] = []
        self._forms = self._possible()
        if guide is not None:
            guide.start(self._seeds())
        self._weights = [_SHARES[form] for form in self._forms]

    def _possible(self) -> list[Form]:
        forms: list[Form] = []
        if self._valid is not None:
            forms.append("valid")
        if self._nearly is not None:
            forms.append("nearly valid")
        if self._hostile is not None:
            forms.append("hostile")
        if self._sequences is not None:
            forms.append("sequence")
        if self._corpus or forms:
            forms.append("mutated")
            return forms
        raise ConfigError(
            "--protocol", "raw has no cases of its own", "give --corpus FOLDER, --strategy, or both"
        )

    def __iter__(self) -> Iterator[Case]:
        return self

    def __next__(self) -> Case:
        """The next one."""
        if self._guide is not None:
            self._guided += self._guide.new()
            if self._guided:
                return Case((self._guided.pop(0),), "guided")
        (form,) = self._rng.choices(self._forms, self._weights)
        if form == "sequence" and self._sequences is not None:
            return Case(self._shaken(next(self._sequences)), "sequence")
        messages, violation = self._messages(form)
        return Case((*self._opening, *messages), form, violation)

    def _messages(self, form: Form) -> tuple[tuple[bytes, ...], Violation | None]:
        if form == "valid":
            return self._whole(), None
        if form == "nearly valid" and self._nearly is not None:
            one = next(self._nearly)
            return (one.encoded,), one.violation
        if form == "hostile" and self._hostile is not None:
            return (next(self._hostile).encoded,), None
        return self._mutant(), None

    def close(self) -> None:
        """Let the guide go, if there is one."""
        if self._guide is not None:
            self._guide.close()

    def _seeds(self) -> Iterator[bytes]:
        """What a guide begins with: the corpus, and valid cases."""
        yield from self._corpus
        while self._valid is not None:
            yield from self._whole()

    def steps(self, messages: Sequence[bytes], answers: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Which answer came after which, and the first after what was sent last."""
        if not answers:
            return iter(())
        sent = self._kinds(messages[-1]) if messages else ()
        return itertools.pairwise((*(sent or ("what cannot be read",))[-1:], *answers))

    def learn(self, messages: Sequence[bytes]) -> None:
        """Make mutants of these, too: they reached something new."""
        self._corpus += messages

    def _whole(self) -> tuple[bytes, ...]:
        if self._valid is None:
            return (self._rng.choice(self._corpus),)
        made = next(self._valid)
        messages = made if isinstance(made, tuple | list) else (made,)
        found = tuple(bytes(one) for one in messages)
        self._recent += found
        del self._recent[:-SEEDS_OF_MUTANTS]
        return found

    def _mutant(self) -> tuple[bytes, ...]:
        rng = self._rng
        if self._deep is not None and rng.random() < 0.5:
            return (next(self._deep),)
        if self._corpus and (self._valid is None or rng.random() < 0.5):
            messages: tuple[bytes, ...] = (rng.choice(self._corpus),)
        else:
            messages = self._whole()
        at = rng.randrange(len(messages)) if messages else 0
        others = self._recent or self._corpus
        if not messages:
            return (mutate(b"", others, rng),)
        changed = mutate(messages[at], others, rng)
        if self._repair is not None and rng.random() < 0.75:
            changed = self._repair(changed)
        return (*messages[:at], changed, *messages[at + 1 :])

    def _shaken(self, messages: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """As a link has them: some lost, doubled, or in another order."""
        rng = self._rng
        kept = list(messages)
        for _ in range(rng.choice((0, 0, 1, 2))):
            if not kept:
                break
            at = rng.randrange(len(kept))
            way = rng.randrange(3)
            if way == 0:
                del kept[at]
            elif way == 1:
                kept.insert(rng.randrange(len(kept) + 1), kept[at])
            else:
                kept.insert(rng.randrange(len(kept)), kept.pop(at))
        return tuple(kept) or messages
