"""What a campaign has found, one for each cause, and the folder in which it is kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from interop.strategies.simpler import shortest, simplest
from interop.strategies.violation import Violation
from stack.core.errors import ConfigError

Kind = Literal["crash", "hang", "growth", "accepts", "refuses"]
"""The faults; `accepts`: takes what breaks a rule; `refuses`: will not have what breaks none."""

CASE_BYTES_MAX: Final = 64 * 1024 * 1024
ROUNDS_MAX: Final = 1_000
"""Runs of the target that one case is made smaller with."""


@dataclass(slots=True)
class Finding:
    """One cause, and the smallest case that shows it."""

    kind: Kind
    place: str
    words: str
    messages: tuple[bytes, ...]
    violation: Violation | None = None
    times: int = 1
    repeats: bool = True
    """Whether the same messages did the same to a fresh target."""

    @property
    def id(self) -> str:
        """The same for the same cause, in every campaign."""
        digest = hashlib.sha256(f"{self.kind}\0{self.place}".encode()).hexdigest()
        return f"{self.kind}-{digest[:10]}"

    @property
    def octets(self) -> int:
        """Of all messages."""
        return sum(map(len, self.messages))

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it, and as it is kept."""
        rule = self.violation
        return {
            "id": self.id,
            "kind": self.kind,
            "place": self.place,
            "words": self.words,
            "clause": rule.clause if rule else None,
            "rule": rule.words if rule else None,
            "times": self.times,
            "repeats": self.repeats,
            "messages": [one.hex() for one in self.messages],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Finding:
        """What `to_json` made.  Raises `KeyError`, `TypeError` or `ValueError`."""
        rule = Violation(data["clause"], data["rule"] or "") if data["clause"] else None
        return cls(
            data["kind"],
            str(data["place"]),
            str(data["words"]),
            tuple(bytes.fromhex(one) for one in data["messages"]),
            rule,
            int(data["times"]),
            bool(data["repeats"]),
        )


class Folder:
    """``findings/`` holds one file for each cause, ``corpus/`` what reached something new, and
    ``state.json`` where the campaign stands: the next one goes on from there.  Raises `ConfigError`
    where it cannot be made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            for part in ("findings", "corpus"):
                (path / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError("--folder", f"{path}: {error.strerror or error}") from None

    def state(self) -> dict[str, int]:
        """What was kept of campaigns before; empty at first."""
        try:
            found = json.loads((self.path / "state.json").read_text())
            return {str(key): int(value) for key, value in found.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def keep_state(self, state: dict[str, int]) -> None:
        """For the next campaign."""
        self._write(Path("state.json"), json.dumps(state, indent=1).encode())

    def corpus(self) -> list[bytes]:
        """What reached something new."""
        return read_corpus(self.path / "corpus")

    def learn(self, messages: Sequence[bytes]) -> None:
        """Keep these for later campaigns."""
        for one in messages:
            name = hashlib.sha256(one).hexdigest()[:16]
            self._write(Path("corpus") / name, one)

    def findings(self) -> list[Finding]:
        """All that are kept; files that are none are passed over."""
        found = []
        for path in sorted((self.path / "findings").glob("*.json")):
            try:
                found.append(Finding.from_json(json.loads(path.read_text())))
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return found

    def keep(self, finding: Finding) -> Path:
        """Write one down; its file, for `--replay`."""
        name = Path("findings") / f"{finding.id}.json"
        self._write(name, (json.dumps(finding.to_json(), indent=1) + "\n").encode())
        return self.path / name

    def forget(self, finding: Finding) -> None:
        """It is mended."""
        (self.path / "findings" / f"{finding.id}.json").unlink(missing_ok=True)

    def _write(self, name: Path, octets: bytes) -> None:
        path = self.path / name
        part = path.with_name(path.name + ".part")
        part.write_bytes(octets)
        part.replace(path)


def read_corpus(folder: Path) -> list[bytes]:
    """The octets of every file of a folder, by name.  Raises `ConfigError`."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file())
        return [path.read_bytes() for path in paths if path.stat().st_size <= CASE_BYTES_MAX]
    except OSError as error:
        raise ConfigError("--corpus", f"{folder}: {error.strerror or error}") from None


def read_case(path: Path) -> tuple[bytes, ...]:
    """The messages of a file: a finding that was kept, or octets as they are.  Raises
    `ConfigError`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError("--replay", f"{path}: {error.strerror or error}") from None
    if path.suffix != ".json":
        return (data,)
    try:
        return Finding.from_json(json.loads(data)).messages
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError("--replay", f"{path} is no finding: {error}") from None


def smaller(
    messages: tuple[bytes, ...], same: Callable[[tuple[bytes, ...]], bool], *, cbor: bool = False
) -> tuple[bytes, ...]:
    """The fewest and simplest messages found for which `same` still holds: first whole messages
    go, then pieces of those that are left, then octets become less.  `cbor` says whether messages
    are made of items."""
    best, left = messages, ROUNDS_MAX

    def still(given: tuple[bytes, ...]) -> bool:
        nonlocal best, left
        if not left:
            raise _EnoughError
        left -= 1
        if does := same(given):
            best = given
        return does

    before: tuple[bytes, ...] = ()
    with contextlib.suppress(_EnoughError):
        while best != before:
            before = best
            shortest(best, still)
            for number in reversed(range(len(best))):
                with_it = partial(_between, best[:number], best[number + 1 :], still)
                simplest(best[number], with_it, cbor=cbor)
    return best


class _EnoughError(Exception):
    """So many runs are all that there may be."""


def _between(
    first: tuple[bytes, ...],
    last: tuple[bytes, ...],
    fails: Callable[[tuple[bytes, ...]], bool],
    one: bytes,
) -> bool:
    """Whether one message does, where others are before and after it."""
    return fails((*first, one, *last))
