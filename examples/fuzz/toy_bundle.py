"""A reader of bundles (RFC 9171) that is wrong in ten ways, each marked with its number.

    orbitferry fuzz --target python:examples.fuzz.toy_bundle:decode --protocol bpv7

It refuses with `ValueError`, as a reader should.  Not for use.
"""

from __future__ import annotations

from typing import Any

LIFETIME_SHARE = 1000
NAMES = {1: "payload", 6: "previous node", 7: "bundle age", 10: "hop count"}


class Reader:
    """Items of CBOR, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def head(self) -> tuple[int, int]:
        """Major type and argument; an argument of -1 has no end of its own."""
        first = self.data[self.at]  # fault 1: nobody looks whether there is another octet
        self.at += 1
        major, low = first >> 5, first & 31
        if low < 24:
            return major, low
        if low == 31:
            return major, -1
        if low > 27:
            raise ValueError("reserved head")
        size = 1 << (low - 24)
        octets = self.data[self.at : self.at + size]
        self.at += size
        return major, int.from_bytes(octets, "big")

    def item(self) -> Any:
        """One item, whatever it holds."""
        major, argument = self.head()
        if major == 0:
            return argument
        if major == 1:
            return -1 - argument
        if major in (2, 3):
            if argument < 0:
                raise ValueError("strings of indefinite length are not read")
            found = self.data[self.at : self.at + argument]
            if len(found) < argument:
                missing = range(len(found), argument)  # fault 2: a length that nobody checked
                raise ValueError(f"string ends {len(missing)} octets early")
            self.at += argument
            return found if major == 2 else found.decode()
        if major == 4:
            return self.items(argument)
        if major == 7:
            return {20: False, 21: True}.get(argument)
        raise ValueError(f"major type {major}")

    def items(self, count: int) -> list[Any]:
        """The items of an array."""
        found = []
        if count >= 0:
            for _ in range(count):
                found += [self.item()]  # fault 3: as deep as somebody likes
            return found
        while self.at < len(self.data) and self.data[self.at] != 0xFF:
            found.append(self.item())
        self.at += 1
        return found


def eid(value: Any) -> str:
    """An endpoint identifier as text."""
    scheme, ssp = value
    if scheme == 1:
        if ssp == 0:
            return "dtn:none"
        return f"dtn:{ssp.strip()}"  # fault 4: it may be a number, or an array
    if scheme == 2:
        node, service = ssp[-2:]
        return f"ipn:{node}.{service}"
    raise ValueError(f"scheme {scheme}")


def decode(data: bytes) -> dict[str, Any]:
    """What a bundle says.  Raises `ValueError`."""
    reader = Reader(data)
    major, count = reader.head()
    if major != 4:
        raise ValueError("not an array")
    blocks = reader.items(count)
    if not blocks or not isinstance(blocks[0], list) or len(blocks[0]) < 8:
        raise ValueError("no primary block")
    primary, *others = blocks
    # fault 5: the version (primary[0]) is not looked at
    flags, crc_type = primary[1], primary[2]
    if crc_type > 2:
        raise ValueError("CRC type")  # fault 6: the CRC itself is never looked at
    found: dict[str, Any] = {
        "destination": eid(primary[3]),
        "source": eid(primary[4]),
        "report to": eid(primary[5]),
        "blocks": {},
    }
    created, sequence = primary[6]
    found["share"] = LIFETIME_SHARE // primary[7]  # fault 7: a lifetime of 0 is allowed
    found["id"] = (found["source"], created, sequence)
    if flags & 1:
        found["offset"], found["total"] = primary[8], primary[9]  # fault 8: they may be missing
    for block in others:
        if not isinstance(block, list) or len(block) < 5:
            raise ValueError("block")
        kind, number, content = block[0], block[1], block[4]
        if not isinstance(content, bytes):
            raise ValueError("block content")
        found["blocks"][number] = NAMES.get(kind, kind)  # fault 9: a number may come twice
        if kind == 10:
            inside = Reader(content).item()
            limit, count = inside
            while limit == 255 and count > 0:
                count = -(-count // 2)  # fault 10: 1 stays 1
            found["hops left"] = limit - count
    if "payload" not in found["blocks"].values():
        raise ValueError("no payload")
    return found
