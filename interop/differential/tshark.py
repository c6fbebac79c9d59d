"""tshark's dissectors: thousands of inputs in one capture and one process (optional: apt)."""

from __future__ import annotations

import os
import re
import shutil
import string
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from interop.differential.process import ask
from interop.differential.verdict import Verdict, broken, refused
from interop.pcap import LINKTYPE_UPPER_PDU, capture, exported_pdu

BATCH = 800
"""Packets of one process: what ends it costs the rest of them a new one."""

_WARN = 0x00600000
_GROUPS = {0x01000000, 0x05000000, 0x07000000, 0x09000000}
"""Checksum, undecoded, malformed, protocol: the groups of remarks that speak against a packet."""

_MAJOR = re.compile(r"Item has major type ([0-7]), should be ([0-7])")
_KINDS = ("an integer", "a negative integer", "a byte string", "a text", "an array", "a map",
          "a tag", "a simple value")  # fmt: skip
"""Of CBOR, by major type."""

_AGGREGATOR = "\x1f"
_SEPARATOR = "\x1e"

_PLAIN = frozenset(string.ascii_letters + string.digits + string.punctuation) - {"\\"}
_TEXT_MAX = 200

Shown = Mapping[str, Sequence[str]]
"""All values of each field of one packet, as tshark shows them."""


def plain(text: str) -> bool:
    """Whether a text is shown as it is: longer ones are cut, and unusual characters escaped."""
    return len(text) < _TEXT_MAX and set(text) <= _PLAIN


@dataclass(frozen=True, slots=True)
class Dissector:
    """What to ask tshark for, and what to make of its answer."""

    protocol: str
    """Name of the dissector."""

    fields: tuple[str, ...]
    read: Callable[[Shown], Verdict]
    """A verdict from the fields of a packet that tshark has nothing against."""

    preferences: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()
    """Beginnings of remarks that are not against the packet."""

    packets: Callable[[Sequence[bytes]], bytes] | None = None
    """Makes a capture with one packet for each input; without it they are exported PDUs."""


class Tshark:
    """tshark as a reader of one protocol.  Raises `FileNotFoundError` where it is not installed."""

    def __init__(self, dissector: Dissector) -> None:
        found = shutil.which("tshark")
        if not found:
            raise FileNotFoundError("tshark is not installed (Debian, Ubuntu: apt install tshark)")
        self._program = found
        self._dissector = dissector
        self.name = "tshark"
        words = subprocess.run(  # noqa: S603
            [found, "--version"], capture_output=True, text=True, check=True
        ).stdout.split()
        self.version = next((word for word in words if word[0].isdigit()), "?")

    def read(self, encoded: bytes) -> Verdict:
        """One input: as slow as thousands."""
        return self.read_many([encoded])[0]

    def read_many(self, inputs: Sequence[bytes]) -> list[Verdict]:
        """One verdict for each.  Where a process ends in the middle of many, the first input that
        it did not show is asked alone: what ends a process does so by itself."""
        verdicts: list[Verdict] = []
        while len(verdicts) < len(inputs):
            batch = inputs[len(verdicts) : len(verdicts) + BATCH]
            rows, _ = self._run(batch)
            verdicts += [self._verdict(row) for row in rows]
            if len(rows) < len(batch):
                verdicts.append(self._alone(batch[len(rows)]))
        return verdicts

    def _alone(self, encoded: bytes) -> Verdict:
        rows, end = self._run([encoded])
        return self._verdict(rows[0]) if rows else broken(end or "nothing was shown")

    def _run(self, batch: Sequence[bytes]) -> tuple[list[Shown], str]:
        """What was shown of the first packets; and how it ended before the last, if it did."""
        dissector = self._dissector
        names = ("frame.number", "_ws.expert.message", "_ws.expert.severity", "_ws.expert.group")
        command = [self._program, "-n", "-l", "-r", "-", "-T", "fields"]
        command += ["-E", f"aggregator={_AGGREGATOR}", "-E", f"separator={_SEPARATOR}"]
        for preference in dissector.preferences:
            command += ["-o", preference]
        for name in (*names, *dissector.fields):
            command += ["-e", name]
        packets = dissector.packets or self._exported
        with tempfile.TemporaryDirectory() as home:
            env = {"HOME": home, "PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
            answer = ask(command, packets(batch), env)
        end = answer.end or (f"ended with exit code {answer.code}" if answer.code else "")
        return list(_rows(answer.shown, (*names, *dissector.fields), len(batch))), end

    def _exported(self, batch: Sequence[bytes]) -> bytes:
        protocol = self._dissector.protocol
        return capture([exported_pdu(one, protocol) for one in batch], LINKTYPE_UPPER_PDU)

    def _verdict(self, shown: Shown) -> Verdict:
        messages = shown["_ws.expert.message"]
        severities, groups = shown["_ws.expert.severity"], shown["_ws.expert.group"]
        for message, severity, group in zip(messages, severities, groups, strict=False):
            if int(severity) < _WARN or int(group) not in _GROUPS:
                continue
            if "failed assertion" in message:
                return broken(f"dissector bug: {message.split(': ', 1)[-1]}")
            if not message.startswith(self._dissector.harmless or ("\0",)):
                return refused(_in_words(message))
        return self._dissector.read(shown)


def _in_words(message: str) -> str:
    """With the kinds of CBOR items by name, since numbers do not count in a cause."""
    return _MAJOR.sub(
        lambda found: f"{_KINDS[int(found[1])]} where {_KINDS[int(found[2])]} should be", message
    )


def _rows(shown: bytes, names: Sequence[str], most: int) -> Iterator[Shown]:
    """The packets that were shown whole, in order."""
    lines = shown.decode("utf-8", "replace").split("\n")
    for line in lines[:-1][:most]:  # the last one ends with a line feed, or is cut short
        values = line.split(_SEPARATOR)
        yield {
            name: value.split(_AGGREGATOR) if value else []
            for name, value in zip(names, values, strict=False)
        }
