"""The certificates that an authority has given, as files in its folder `issued`."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509

from stack.core.eid import Eid
from stack.core.errors import ConfigError, SecurityError
from stack.identity.certificate import (
    Principal,
    check_issued,
    load_certificate,
    milliseconds,
    read_node,
)
from stack.identity.disk import read_blocks, write_blocks
from stack.identity.trust import Trust, certificate_block

_NAME: Final = re.compile(r"([1-7]?[0-9a-f]{1,39})\.pem")
"""A serial number has at most 159 bits (RFC 5280 §4.1.2.2)."""


@dataclass(frozen=True, slots=True)
class Revocable:
    """What a revocation is about."""

    serials: list[int]
    """The serial numbers of the certificates of the node or domain; and of those of `unread`."""

    unread: list[str]
    """What cannot be read of the older certificates of nodes, and why: as nobody knows whose they
    are, they may be this node's."""


def serial_number(name: str) -> int:
    """The serial number that a file has as its name, or 0 where it is none."""
    found = _NAME.fullmatch(name)
    return int(found[1], 16) if found else 0


def read_all(
    folder: Path, trust: Trust, now_ms: int, *, forget: bool
) -> tuple[dict[int, Principal], dict[str, str]]:
    """Every certificate of a node that has not expired, by serial number; with `forget` the files
    of those that have are removed.  And by its name why a file cannot be read, unless its
    certificate is in `trust` or on the revocation list."""
    found = {
        node.certificate.serial_number: node
        for node in trust.nodes()
        if node.facts.domain == trust.domain
    }
    unread: dict[str, str] = {}
    for path in _files(folder, unread):
        try:
            node = _read(path, trust.root)
        except (ConfigError, SecurityError) as error:
            serial = serial_number(path.name)
            if serial not in found and trust.lists.revoked(trust.domain, serial) is None:
                unread[path.name] = str(error)
            continue
        found[node.certificate.serial_number] = node
        if forget and _ended(node, now_ms):
            with suppress(OSError):  # then it stays: nothing needs it to be gone
                path.unlink()
    return {number: node for number, node in found.items() if not _ended(node, now_ms)}, unread


def earlier(
    folder: Path, trust: Trust, node: Eid, now_ms: int
) -> tuple[x509.Certificate | None, list[int]]:
    """Of the certificates that a node has been given the newest; and the serial numbers of those
    of a time to come, by a clock that was wrong, which are to be revoked: then none of them stands
    in the way of one of now."""
    given, _ = read_all(folder, trust, now_ms, forget=False)
    ours = [one.certificate for one in given.values() if one.facts.id == node]
    ahead = [one for one in ours if milliseconds(one.not_valid_before_utc) > now_ms]
    rest = [one for one in ours if one not in ahead]
    newest = max(rest, key=lambda one: one.not_valid_before_utc, default=None)
    return newest, [one.serial_number for one in ahead]


def revocable(folder: Path, trust: Trust, subject: str, now_ms: int, *, forget: bool) -> Revocable:
    """The certificates of a node, or of a domain that is trusted; `forget` as with `read_all`.

    A file that cannot be read stops no revocation: the newest certificate of each node is in
    `trust`, too.  One that is not there is an older one, of nobody knows whom: it goes with the
    node's.  Raises `ConfigError` where there is none.
    """
    if crosses := trust.cross_serials(subject):
        return Revocable(crosses, [])
    nodes, unread = read_all(folder, trust, now_ms, forget=forget)
    serials = [serial for serial, node in nodes.items() if str(node.facts.id) == subject]
    if not serials:
        why = f"domain {trust.domain} has certified no such node or domain"
        why = "; ".join([why, *unread.values()])
        raise ConfigError(subject, why, "see `orbitferry domain list`")
    told = []
    for name, why in unread.items():
        if serial := serial_number(name):
            serials.append(serial)
            told.append(f"{why}: it is revoked, too, as it may be of {subject}")
        else:
            told.append(f"{why}: what is in it is not revoked")
    return Revocable(serials, told)


def keep(folder: Path, certificate: x509.Certificate) -> None:
    """Write a certificate, so that it can be revoked.  Raises `ConfigError`."""
    path = folder / f"{certificate.serial_number:x}.pem"
    write_blocks(path, [certificate_block(certificate)])


def _files(folder: Path, unread: dict[str, str]) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".pem")
    except OSError as error:
        unread[folder.name] = f"{folder}: {error.strerror or error}"
        return []


def _read(path: Path, root: x509.Certificate) -> Principal:
    """Whose certificate it is that a file has by its name.  Raises `ConfigError`,
    `SecurityError`."""
    (block, *_) = read_blocks(path, "bring it back from a backup")
    try:
        node = read_node(load_certificate(block.octets))
        check_issued(node.certificate, root)  # so that no flipped bit makes it another node's
    except SecurityError as error:
        raise SecurityError(f"{path}: {error}") from None
    if node.certificate.serial_number != serial_number(path.name):
        raise SecurityError(f"{path}: another certificate is in it than its name says")
    return node


def _ended(node: Principal, now_ms: int) -> bool:
    return milliseconds(node.certificate.not_valid_after_utc) <= now_ms
