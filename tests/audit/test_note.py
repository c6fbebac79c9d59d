"""Signed notes, checkpoints and cosignatures, held against the vectors of their authors."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from interop.strategies import audit, mutated
from interop.strategies.nearly_audit import encoded_notes
from stack.audit.export import LogExport, read_export
from stack.audit.merkle import Peaks
from stack.audit.note import (
    SIGNATURES_MAX,
    WITNESS_KEY,
    LogCheckpoint,
    NoteKey,
    NoteSigner,
    SignedNote,
    open_checkpoint,
)
from stack.audit.witness import CHECKPOINT_BYTES_MAX, WitnessFinding, consider
from stack.core.errors import DecodeError, SecurityError

# golang.org/x/mod/sumdb/note, the example of its documentation.
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PROBLEM = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
SIGNED = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdn"
    "gotpRZb6KE6RyyBwJnAM=\n"
)
# C2SP tlog-cosignature, its example: who signed it shows in the ids of keys, which are not given.
COSIGNED = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/"
    "Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJs"
    "X3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)


def test_the_example_of_the_format_s_author() -> None:
    key = NoteKey.parse(NEUMANN)
    assert str(key) == NEUMANN
    note = SignedNote.parse(f"{PROBLEM}\n{SIGNED}".encode())
    assert note.text == PROBLEM
    assert key.time_of(note) == 0
    assert note.encode().decode() == f"{PROBLEM}\n{SIGNED}"
    with pytest.raises(SecurityError):
        key.time_of(note._replace(text=PROBLEM.replace("problem", "program")))
    assert NoteKey(key.name, key.kind, bytes(32)).time_of(note) is None


def test_the_example_of_a_cosignature() -> None:
    note = SignedNote.parse(COSIGNED.encode())
    checkpoint = LogCheckpoint.parse(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text() == note.text
    witness = note.signatures[1]
    assert len(witness.octets) == 8 + 64
    assert int.from_bytes(witness.octets[:8], "big") == 1679315147  # as the text under it has it
    assert note.encode().decode() == COSIGNED


@settings(max_examples=30)
@given(audit.log())
def test_a_checkpoint_goes_round_and_is_cosigned(log: audit.Log) -> None:
    key = log.signer.key
    note = log.checkpoint(log.old)
    verdict = consider(b"", key, note.encode(), [], log.witness, 99)
    assert verdict.finding is WitnessFinding.COSIGNED
    cosigned, checkpoint = open_checkpoint(verdict.note, key)
    assert checkpoint.size == verdict.size == log.old
    assert log.witness.key.time_of(cosigned) == 99
    path = log.tree().consistency(log.old, log.size)
    newer = consider(verdict.note, key, log.checkpoint(log.size).encode(), path, log.witness, 100)
    assert newer.finding is WitnessFinding.COSIGNED
    assert newer.size == log.size
    older = consider(newer.note, key, note.encode(), [], log.witness, 101)
    assert older.finding is (
        WitnessFinding.COSIGNED if log.old == log.size else WitnessFinding.OLDER
    )


@settings(max_examples=30)
@given(audit.log())
def test_a_split_view_is_found(log: audit.Log) -> None:
    """A dishonest node shows the witness one history and then another."""
    other = log._replace(entries=(b"another", *log.entries[1:]))
    key = log.signer.key
    seen = consider(b"", key, log.checkpoint(log.old).encode(), [], log.witness, 1).note
    again = consider(seen, key, other.checkpoint(log.old).encode(), [], log.witness, 2)
    assert again.finding is WitnessFinding.FORKED
    assert again.note == seen
    path = other.tree().consistency(log.old, log.size)
    later = consider(seen, key, other.checkpoint(log.size).encode(), path, log.witness, 3)
    assert later.finding is not WitnessFinding.COSIGNED
    assert later.note == seen


@settings(max_examples=30)
@given(audit.log())
def test_a_witness_that_knows_less_than_it_has_signed_goes_on_from_that(log: audit.Log) -> None:
    key, witness = log.signer.key, log.witness
    thief = NoteSigner(witness.key.name, bytes(32), WITNESS_KEY)
    seen, newer = log.checkpoint(log.old), log.checkpoint(log.size)
    backup = seen.with_signatures([witness.sign(seen.text, 5)]).encode()
    lost = newer.with_signatures([witness.sign(newer.text, 6)])
    verdict = consider(backup, key, lost.encode(), [], witness, 7)
    assert (verdict.finding, verdict.size) == (WitnessFinding.COSIGNED, log.size)
    # What it has signed since it was restored is not what it had signed then.
    other = log._replace(entries=(b"another", *log.entries[1:]))
    forked = other.checkpoint(log.size)
    after = forked.with_signatures([witness.sign(forked.text, 7)]).encode()
    assert consider(after, key, lost.encode(), [], witness, 8).finding is WitnessFinding.FORKED
    if log.old < log.size:
        forked = other.checkpoint(log.old)
        after = forked.with_signatures([witness.sign(forked.text, 7)]).encode()
        ours = lost.signatures[-1]
        bad = [ours._replace(octets=bytes(72)), thief.sign(newer.text, 9)]
        for known, note in [(after, lost), *((backup, newer.with_signatures([b])) for b in bad)]:
            verdict = consider(known, key, note.encode(), [], witness, 8)
            assert verdict.finding is WitnessFinding.OLDER


def test_whatever_a_log_signs_its_witness_keeps_what_can_be_read() -> None:
    """Else the witness could show its own key no more, nor anybody read its export."""
    by, witness = (
        NoteSigner("dtn://l/audit/0", b"l" * 32),
        NoteSigner("dtn://w/audit", bytes(32), WITNESS_KEY),
    )
    true = LogCheckpoint(by.key.name, 1, bytes(32)).signed(by)
    lines = [true.signatures[0]._replace(key_id=bytes(4), octets=b"x")] * (SIGNATURES_MAX - 1)
    many = SignedNote(true.text, (*lines, *true.signatures)).encode()
    kept = consider(b"", by.key, many, [], witness, 1)
    assert kept.finding is WitnessFinding.COSIGNED
    assert [line.key_id for line in SignedNote.parse(kept.note).signatures] == [
        by.key.id,
        witness.key.id,
    ]
    room = CHECKPOINT_BYTES_MAX - len(true.encode()) - 1
    for size, finding in ((room, WitnessFinding.COSIGNED), (room + 1, WitnessFinding.REFUSED)):
        text = f"{true.text}{'x' * size}\n"
        long = SignedNote(text, (by.sign(text),)).encode()
        assert consider(b"", by.key, long, [], witness, 1).finding is finding


@pytest.mark.parametrize("char", ["x", '"'])
def test_a_note_that_was_spoiled_in_an_older_store_is_read_and_cosigned_anew(char: str) -> None:
    """Whatever a log had signed was kept, with the line of the witness: 65 lines, of 64 KiB."""
    by, witness = (
        NoteSigner("dtn://l/audit/" + "0" * 16, b"l" * 32),
        NoteSigner("dtn://w/audit", bytes(32), WITNESS_KEY),
    )
    true = LogCheckpoint(by.key.name, 1, bytes(32)).signed(by)
    long = f"{true.text}{char * 56_000}\n"
    filling = [by.sign(long)._replace(key_id=bytes(4), octets=bytes(n + 64)) for n in range(63)]
    lines = (*filling, by.sign(long), witness.sign(long, 1))
    spoiled = SignedNote(long, lines).encode()
    assert (len(lines), len(spoiled) > 64 * 1024) == (65, True)
    assert witness.key.time_of(SignedNote.parse(spoiled)) == 1
    anew = consider(spoiled, by.key, true.encode(), [], witness, 2)
    assert anew.finding is WitnessFinding.COSIGNED
    assert len(anew.note) < CHECKPOINT_BYTES_MAX
    # An export with it under another note is read line by line.
    shown = LogExport(by.key.name, by.key, Peaks(), seen=[spoiled])
    assert read_export(line.encode() for line in shown.lines()).seen == [spoiled]


def test_a_checkpoint_of_another_key_is_refused() -> None:
    log = NoteSigner("dtn://a/audit/1", bytes(32))
    thief = NoteSigner("dtn://a/audit/1", bytes([9]) * 32)
    witness = NoteSigner("dtn://w/audit", bytes([8]) * 32, WITNESS_KEY)
    forged = LogCheckpoint("dtn://a/audit/1", 1, bytes(32)).signed(thief).encode()
    assert consider(b"", log.key, forged, [], witness, 1).finding is WitnessFinding.REFUSED
    elsewhere = LogCheckpoint("dtn://b/audit/1", 1, bytes(32)).signed(log).encode()
    assert consider(b"", log.key, elsewhere, [], witness, 1).finding is WitnessFinding.REFUSED


@settings(max_examples=200)
@given(mutated(encoded_notes()))
def test_a_note_that_is_nearly_one_reads_back_or_is_refused(octets: bytes) -> None:
    try:
        note = SignedNote.parse(octets)
        assert note.encode() == octets
        checkpoint = LogCheckpoint.parse(note.text)
    except DecodeError:
        return
    assert note.text.startswith(checkpoint.text())


@pytest.mark.parametrize(
    "text",
    [
        NEUMANN[:-1] + "X",
        NEUMANN.replace("c7", "c8"),
        "PeterNeumann+c74f20a3+AhpcWQ==",
        "a b+00000000+AAAA",
        "",
    ],
)
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(DecodeError):
        NoteKey.parse(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\x7fb", "x" * 256])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(DecodeError):
        NoteSigner(name, bytes(32))
