"""Files that travel between nodes and authorities: PEM (RFC 7468), with words for people at the
head, which every reader of PEM passes over."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from stack.core.errors import DecodeError

REQUEST: Final = "CERTIFICATE REQUEST"
CERTIFICATE: Final = "CERTIFICATE"
REVOCATIONS: Final = "X509 CRL"
PRIVATE_KEY: Final = "PRIVATE KEY"
ENCRYPTED_KEY: Final = "ENCRYPTED PRIVATE KEY"
EPOCHS: Final = "ORBITFERRY EPOCHS"
"""The first domain keys, sealed to the node for which the file is."""

GRANT: Final = "ORBITFERRY GRANT"
"""A later epoch, likewise."""

FOREIGN: Final = "ORBITFERRY FOREIGN NAME"
"""A node id that another domain has given, in the file of the node that has seen it."""

FOREIGN_LIST: Final = "ORBITFERRY FOREIGN NAMES"
"""All those that an authority has seen, signed by it for the nodes of its domain."""

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
BLOCKS_MAX: Final = 40_000
BLOCK_BYTES_MAX: Final = 4 * 1024 * 1024

_BEGIN, _END = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,64})-----"), "-----END {}-----"
_SECTION = "RFC 7468 §3"


class PemBlock(NamedTuple):
    """One object: what it is, and its octets."""

    label: str
    octets: bytes


def encode(blocks: Iterable[PemBlock], words: str = "") -> str:
    """A file of these blocks, with words for people at its head."""
    parts = [*(f"# {line}".rstrip() for line in words.splitlines())]
    for block in blocks:
        text = base64.b64encode(block.octets).decode()
        lines = (text[start : start + 64] for start in range(0, len(text), 64))
        parts += [f"-----BEGIN {block.label}-----", *lines, _END.format(block.label)]
    return "\n".join(parts) + "\n"


def decode(octets: bytes) -> list[PemBlock]:
    """The blocks of a file.  Raises `DecodeError`."""
    if len(octets) > FILE_BYTES_MAX:
        raise DecodeError("too large for a file of certificates", _SECTION)
    try:
        lines = octets.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise DecodeError("no PEM file: not text", _SECTION) from None
    blocks: list[PemBlock] = []
    label, content = "", list[str]()
    for line in lines:
        line = line.strip()
        if not label:
            if found := _BEGIN.fullmatch(line):
                label, content = found[1], []
        elif line == _END.format(label):
            blocks.append(PemBlock(label, _decoded(content)))
            label = ""
        else:
            content.append(line)
        if len(blocks) > BLOCKS_MAX:
            raise DecodeError(f"more than {BLOCKS_MAX} blocks", _SECTION)
    if label:
        raise DecodeError(f'"{label}" has no end: the file was cut off', _SECTION)
    if not blocks:
        raise DecodeError("no PEM file: nothing begins in it", _SECTION)
    return blocks


def _decoded(lines: list[str]) -> bytes:
    try:
        octets = base64.b64decode("".join(lines), validate=True)
    except (binascii.Error, ValueError):
        raise DecodeError("not base64", "RFC 7468 §2") from None
    if len(octets) > BLOCK_BYTES_MAX:
        raise DecodeError(f"a block of {len(octets)} octets", _SECTION)
    return octets
