"""Runs tshark over packets and says what it found."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

TSHARK = shutil.which("tshark")

needs_tshark = pytest.mark.skipif(
    TSHARK is None, reason="tshark is not installed (Debian and Ubuntu: apt install tshark)"
)

_SEVERITY_ERROR = 0x00800000
_CHECKSUM_GOOD = "1"


@dataclass(frozen=True)
class Dissection:
    """One packet as tshark shows it: every field, in order."""

    protocols: tuple[str, ...]
    fields: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """What all fields of that name show."""
        return [show for field, show in self.fields if field == name]

    @property
    def remarks(self) -> list[str]:
        """Everything that tshark finds worth a remark, of any severity."""
        return self.values("_ws.expert.message")

    @property
    def faults(self) -> list[str]:
        """Malformed protocols, errors and checksums that are not right."""
        found = [name for name in self.protocols if name == "_ws.malformed"]
        for name, show in self.fields:
            if name == "_ws.expert.severity" and int(show) >= _SEVERITY_ERROR:
                found.append(f"severity {show} of {self.remarks}")
            status = name in ("bpv7.crc_status", "udp.checksum.status", "ip.checksum.status")
            if status and show != _CHECKSUM_GOOD:
                found.append(f"{name} {show}")
            if name == "_ws.malformed":
                found.append(show)
        return found


def dissect_capture(capture: bytes, home: Path, *options: str) -> list[Dissection]:
    """What tshark says of each packet of a capture file.

    `home` is an empty folder, so that nobody's settings count.
    """
    assert TSHARK is not None
    command = [TSHARK, "-n", "-r", "-", "-T", "pdml"]
    for preference in ("udp.check_checksum:TRUE", "ip.check_checksum:TRUE", *options):
        command += ["-o", preference]
    done = subprocess.run(
        command,
        input=capture,
        capture_output=True,
        timeout=60,
        env={"HOME": str(home), "PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
        check=False,
    )
    assert done.returncode == 0, f"tshark ended with {done.returncode}: {done.stderr.decode()}"
    return [_dissection(packet) for packet in ElementTree.fromstring(done.stdout).iter("packet")]


def _dissection(packet: ElementTree.Element) -> Dissection:
    protocols = tuple(proto.get("name", "") for proto in packet.iter("proto"))
    return Dissection(protocols, tuple(_fields(packet)))


def _fields(packet: ElementTree.Element) -> Iterable[tuple[str, str]]:
    for element in packet.iter():
        if element.tag in ("field", "proto"):
            yield element.get("name", ""), element.get("show", "")
