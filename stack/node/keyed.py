"""Which neighbours' links have had keys, on disk: a link that was authenticated is not open after a
restart for the lack of a key."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError, StoreError
from stack.core.private import make_folder, write_file
from stack.core.sansio import Trace
from stack.node.config import LinkConfig

FILE: Final = "authenticated-links.json"
FILE_BYTES_MAX: Final = 1 << 22
PEERS_MAX: Final = 10_000
"""Of more the first ones are forgotten that have no link any more."""


class KeyedPeers:
    """The neighbours with whom this node has had keys of LTP authentication."""

    def __init__(self, folder: Path, links: Iterable[LinkConfig]) -> None:
        """Reads what is in the data folder.  A neighbour all of whose `links` are to have no
        authentication, or everybody's key, is forgotten: that is the operator's word.  Raises
        `ConfigError` for a file that cannot be read."""
        self._path = folder / FILE
        self._noted = _read(self._path)
        links = list(links)
        self._linked = {peer_of(link) for link in links}
        wanted = {peer_of(link) for link in links if link.authentication in ("auto", "on")}
        self._peers = [one for one in self._noted if one in wanted or one not in self._linked]

    def has(self, link: LinkConfig) -> bool:
        """Whether the neighbour of a link is one of them."""
        return peer_of(link) in self._peers

    def note(self, keyed: Iterable[LinkConfig]) -> None:
        """These links have keys now.  It is on disk when this returns.  Raises `StoreError`."""
        new = dict.fromkeys(peer_of(link) for link in keyed if link.authentication != "null")
        self._peers += [one for one in new if one not in self._peers]
        if self._peers == self._noted:
            return
        spare = len(self._peers) - PEERS_MAX
        gone = [one for one in self._peers if one not in self._linked][: max(0, spare)]
        self._peers = [one for one in self._peers if one not in gone]
        try:
            make_folder(self._path.parent)
            write_file(self._path, json.dumps(self._peers, indent=0).encode())
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror or error}") from None
        self._noted = list(self._peers)

    def attempt(self, keyed: Iterable[LinkConfig], trace: Trace) -> None:
        """`note`, of a node that runs: where that fails it is told, and done the next time."""
        try:
            self.note(keyed)
        except StoreError as error:
            trace("links_not_noted", {"why": str(error)})


def peer_of(link: LinkConfig) -> str:
    """The neighbour of a link, in the one form of its node id."""
    return str(Eid.parse(link.peer))


def _read(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            octets = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error), "chmod 600") from None
    try:
        found = json.loads(octets) if len(octets) <= FILE_BYTES_MAX else None
        if isinstance(found, list) and all(isinstance(one, str) for one in found):
            return [str(Eid.parse(one)) for one in found]
    except (ValueError, RecursionError, DecodeError):  # also what is no UTF-8
        pass
    raise ConfigError(
        str(path),
        "does not say which links have been authenticated",
        'see to it that each link has its key, or says authentication = "off", then remove it',
    )
