"""Looks after what flips at rest: bundles are mended where their parity can, else set aside."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stack.core.sansio import Trace
from stack.core.train import Buffer
from stack.ports.store import Place
from stack.storage import files, sql
from stack.storage.mending import mend, set_aside
from stack.storage.parity import PART_BYTES, Examination, Parity
from stack.storage.reading import Damaged, DamagedState, Reader
from stack.storage.rows import BundleRow
from stack.storage.staged import Scrubbed, Staged
from stack.storage.staging import Staging

Stage = Callable[[Callable[[Staging], Any]], Staged[Any]]

_TOLD_MAX: Final = 4096
"""Damaged entries of state that are told, and counted."""

_FIRST: Final = -(1 << 63)
"""Below every ref, also a damaged one."""


@dataclass(slots=True)
class Counts:
    """Since the store was opened."""

    damaged: int = 0
    """Bundles damaged beyond repair."""

    damaged_states: int = 0
    """Entries of state that are damaged, and passed over."""

    repaired: int = 0
    """Bundles mended, or their parity."""

    repaired_octets: int = 0
    scrubbed_octets: int = 0


class Upsets:
    """What becomes of damaged bundles, and the scrubber that looks for them.  Its methods may
    raise `StoreError`."""

    def __init__(
        self, directory: Path, reader: Reader, code: Parity | None, stage: Stage, trace: Trace
    ) -> None:
        self.counts = Counts()
        self._directory = directory
        self._reader = reader
        self._code = code
        self._stage = stage
        self._trace = trace
        self._told: set[DamagedState] = set()
        self._after = _FIRST
        """The last bundle of which the scrubber has seen all."""
        self._large: Examination | None = None
        """Of a bundle of several parts, which take a step each."""

    def load(self, refs: Sequence[int]) -> tuple[dict[int, Buffer], list[int]]:
        """The octets of bundles by ref, mended where they can be; and those that cannot."""
        sound, damaged = self._reader.load(refs)
        if not damaged:
            return sound, []
        beyond = self.found(damaged)
        mended = [ref for ref, _ in damaged if ref not in beyond]
        again, spoiled = self._reader.load(mended)
        return sound | again, beyond + [ref for ref, _ in spoiled]

    def found(self, damaged: Damaged) -> list[int]:
        """Mend these bundles, which are not what was stored; those that cannot be mended go to
        quarantine, and are returned."""
        beyond = [each for each in damaged if not self._mend(each[0])]
        if beyond:
            gone = self._stage(lambda staging: set_aside(staging, beyond)).finish()
            for ref, octets in beyond:
                self.counts.damaged += 1
                if ref in gone:
                    files.save_damaged(self._directory, f"{ref}.bundle", octets)
                self._trace("store.damaged", {"ref": ref, "bytes": len(octets)})
        return [ref for ref, _ in beyond]

    def tell_states(self, damaged: Iterable[DamagedState]) -> None:
        """Keep damaged entries of state for an operator, and tell of each once."""
        for space, key, value in damaged:
            if (space, key, value) in self._told or len(self._told) == _TOLD_MAX:
                continue
            self._told.add((space, key, value))
            self.counts.damaged_states += 1
            octets = value if isinstance(value, bytes) else b""
            digest = zlib.crc32(ascii((space, key, value)).encode())
            files.save_damaged(self._directory, f"state-{digest:08x}", octets)
            fields = {"space": str(space), "key": str(key), "bytes": len(octets)}
            self._trace("store.state_damaged", fields)

    def scrub(self, result: Scrubbed) -> None:
        """Look at about `PART_BYTES` more of what is stored; without parity at nothing."""
        if self._code is None:
            result.over = True
            return
        damaged: Damaged = []
        pieces = []
        for exam in self._next(result, damaged):
            piece = self._reader.piece(exam.ref, exam.part, exam.wanted)
            if piece is None:
                self._large = None  # it was let go of
            else:
                pieces.append((exam, *piece))
        made = self._code.encode([octets for _, octets, _ in pieces])
        whole: list[Examination] = []
        for (exam, octets, stored), parity in zip(pieces, made, strict=True):
            result.octets += len(octets)
            exam.feed(octets, stored, parity, self._code)
            if not exam.wanted:
                self._large = None
                whole.append(exam)
        self._apply(whole)
        self.counts.scrubbed_octets += result.octets
        if unsound := [exam.ref for exam in whole if not exam.verdict().sound]:
            damaged += self._reader.load(unsound)[1]
        if damaged:
            result.damaged += self.found(damaged)

    def _next(self, result: Scrubbed, damaged: Damaged) -> list[Examination]:
        """Whose next parts are to be looked at: those of some small bundles, or of a large one."""
        if self._large is not None:
            return [self._large]
        chosen: list[Examination] = []
        octets = 0
        rows = self._reader.page(self._after, sql.ROWS_MAX)
        for row in rows:
            if not row.intact():
                damaged.append((row.ref, b""))
            elif row.place != Place.QUARANTINE and row.size:
                octets += row.size
                if chosen and octets > PART_BYTES:
                    return chosen
                chosen.append(_examination(row))
                result.bundles += 1
            self._after = row.ref
            if octets > PART_BYTES:
                self._large = chosen[0]
                return chosen
        if len(rows) < sql.ROWS_MAX:
            result.over, self._after = True, _FIRST
        return chosen

    def _mend(self, ref: int) -> bool:
        """Whether a bundle is what was stored, or could be made so."""
        row = self._reader.row(ref)
        if self._code is None or row is None or row.place == Place.QUARANTINE:
            return False
        exam = _examination(row)
        while exam.wanted:
            piece = self._reader.piece(ref, exam.part, exam.wanted)
            if piece is None:
                return False
            exam.feed(*piece, self._code.encode([piece[0]])[0], self._code)
        self._apply([exam])
        return exam.verdict().sound

    def _apply(self, exams: Sequence[Examination]) -> None:
        """Put right what can be, and add what parity is missing."""
        verdicts = [(exam, exam.verdict()) for exam in exams]
        todo = [each for each in verdicts if each[1].sound and (each[1].patches or each[1].parity)]

        def work(staging: Staging) -> None:
            for exam, verdict in todo:
                mend(staging, exam.ref, exam.wire_check, verdict)

        if todo:
            self._stage(work).finish()
        for exam, verdict in todo:
            if verdict.wrong:
                self.counts.repaired += 1
                self.counts.repaired_octets += verdict.wrong
                self._trace("store.repaired", {"ref": exam.ref, "octets": verdict.wrong})


def _examination(row: BundleRow) -> Examination:
    return Examination(row.ref, row.size, row.wire_check)
