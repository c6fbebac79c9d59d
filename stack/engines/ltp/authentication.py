"""LTP authentication (RFC 5327 §2.1): a layer between the engine and the link.

What leaves the engine is signed, and what arrives is verified and stripped before any session sees
it.  A header extension names ciphersuite and key, and a trailer extension, the last of its
segment, carries the authentication value: computed over every octet of the segment before it.

Segments of a train that have equal heads are signed and verified together: the octets around them
move as one matrix (see `stack.engines.ltp.trains`), so that little but the HMAC is done for each.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from stack.core.train import Buffer, Train
from stack.engines.ltp.extensions import counts_at, pack, segments, without
from stack.engines.ltp.trains import RUN_MIN, Octets
from stack.wire.ltp import encode_segment
from stack.wire.sdnv import encode_sdnv

AUTHENTICATION_TAG: Final = 0x00
"""Extension tag of both extensions (RFC 5327 §2.1)."""

HMAC_SHA1_80: Final = 0
RSA_SHA256: Final = 1
NULL: Final = 255
"""Ciphersuites (RFC 5327 §2.1)."""

NULL_KEY: Final = bytes.fromhex("c37b7e6492584340bed12207808941155068f738")
"""What everybody knows: the NULL ciphersuite is a checksum, and proves nothing."""

HMAC_BYTES: Final = 10
"""HMAC-SHA1 cut to 80 bits."""

Check = Callable[[Sequence[Buffer], Buffer], bool]
"""Whether the second argument is the authentication values of the first, one after another."""


@dataclass(frozen=True, slots=True)
class AuthKey:
    """A key of a ciphersuite.  `id`, the KeyID field, may be empty; `value_bytes` is the length of
    an authentication value; `sign` is None where only the public half is known."""

    suite: int
    id: bytes
    value_bytes: int
    check: Check
    sign: Callable[[Buffer], bytes] | None

    def __repr__(self) -> str:
        return f"AuthKey({self.suite}, {self.id.hex()!r})"  # nothing of a secret


def hmac_key(secret: bytes, key_id: bytes = b"", suite: int = HMAC_SHA1_80) -> AuthKey:
    """A key of ciphersuite 0."""
    block = secret if len(secret) <= 64 else hashlib.sha1(secret, usedforsecurity=False).digest()
    block = block.ljust(64, b"\0")
    # RFC 2104 with both pads absorbed once: a copy costs less than an HMAC object.
    inner = hashlib.sha1(bytes(octet ^ 0x36 for octet in block), usedforsecurity=False)
    outer = hashlib.sha1(bytes(octet ^ 0x5C for octet in block), usedforsecurity=False)

    def sign(data: Buffer) -> bytes:
        first, second = inner.copy(), outer.copy()
        first.update(data)
        second.update(first.digest())
        return second.digest()[:HMAC_BYTES]

    def check(signed: Sequence[Buffer], values: Buffer) -> bool:
        return hmac.compare_digest(b"".join(map(sign, signed)), values)

    return AuthKey(suite, key_id, HMAC_BYTES, check, sign)


def null_key() -> AuthKey:
    """Ciphersuite 255: it finds damage, and stops nobody."""
    return hmac_key(NULL_KEY, suite=NULL)


def rsa_key(
    public: RSAPublicKey, private: RSAPrivateKey | None = None, key_id: bytes = b""
) -> AuthKey:
    """A key of ciphersuite 1: RSA with PKCS #1 v1.5 padding over SHA-256."""
    scheme, digest = padding.PKCS1v15(), hashes.SHA256()
    value_bytes = (public.key_size + 7) // 8

    def check(signed: Sequence[Buffer], values: Buffer) -> bool:
        try:
            for index, data in enumerate(signed):
                value = bytes(values[index * value_bytes : (index + 1) * value_bytes])
                public.verify(value, bytes(data), scheme, digest)
        except InvalidSignature:
            return False
        return True

    sign = None
    if private is not None:
        owner = private

        def sign(data: Buffer) -> bytes:
            return owner.sign(bytes(data), scheme, digest)

    return AuthKey(RSA_SHA256, key_id, value_bytes, check, sign)


def overhead_bytes(key: AuthKey) -> int:
    """Octets that signing with `key` adds to a segment."""
    return len(_header(key)) + len(_trailer(key)) + key.value_bytes


class Authenticator:
    """Signs with one key, and accepts what any of some keys has signed."""

    def __init__(self, sending: AuthKey, accepting: Sequence[AuthKey]) -> None:
        """ValueError when `sending` cannot sign."""
        self.change(sending, accepting)
        self.counters = dict.fromkeys(("signed", "verified", "unsigned", "forged"), 0)
        """Segments; `unsigned` and `forged` ones were dropped."""

    def change(self, sending: AuthKey, accepting: Sequence[AuthKey]) -> None:
        """Sign and accept with these from now on.  ValueError when `sending` cannot sign."""
        if sending.sign is None:
            raise ValueError("the private key is not known")
        self.state: Literal["keyed", "open", "shut"] = "keyed"
        """`keyed` as long as there are keys; `open`: without any, all passes as it is; `shut`:
        without any, nothing passes."""

        self._sign = sending.sign
        self._header, self._trailer = _header(sending), _trailer(sending)
        self.overhead_bytes = overhead_bytes(sending)
        """Octets that signing adds to a segment."""

        self._accepting = tuple(accepting)
        self._by_header: dict[bytes, list[tuple[AuthKey, bytes]]] = {}
        for key in accepting:  # an old and a new one may have the same KeyID, or none
            self._by_header.setdefault(_header(key), []).append((key, _trailer(key)))

    def let_go(self, state: Literal["open", "shut"]) -> None:
        """Have no key any more, until the next `change`."""
        self.state = state
        self._accepting = ()
        self._by_header = {}

    def sign(self, train: Train) -> Train:
        """The same segments, one in each datagram, with both extensions."""
        view = memoryview(train.data)
        size, header, trailer, sign = train.size, self._header, self._trailer, self._sign
        added = self.overhead_bytes
        count = train.datagram_count
        out = bytearray(len(view) + count * added)
        signed = memoryview(out)
        run = self._sign_run(train, out)
        end = run * (size + added)
        for start in range(run * size, len(view), size):
            segment = view[start : start + size]
            at = counts_at(segment)
            begin, cut = end, end + at + 1
            end += len(segment) + added
            signed[begin:cut] = segment[: at + 1]
            out[cut - 1] += 0x11
            body = cut + len(header)
            signed[cut:body] = header
            tail = body + len(segment) - at - 1
            signed[body:tail] = segment[at + 1 :]
            value = tail + len(trailer)
            signed[tail:value] = trailer
            signed[value:end] = sign(signed[begin:value])
        self.counters["signed"] += count
        return train._replace(data=out, size=size + added)

    def _sign_run(self, train: Train, out: bytearray) -> int:
        """Sign the segments of full size into `out` at once, if they are alike: how many."""
        rows = _rows(train.data, train.size)
        count, size = len(rows), train.size
        if count < RUN_MIN:
            return 0
        cut = counts_at(memoryview(train.data)) + 1
        if not _alike(rows, cut):
            return 0
        body = cut + len(self._header)
        tail = body + size - cut
        value = tail + len(self._trailer)
        signed = _rows(out, size + self.overhead_bytes)[:count]
        signed[:, :cut] = rows[:, :cut]
        signed[:, cut - 1] += 0x11
        signed[:, cut:body] = np.frombuffer(self._header, np.uint8)
        signed[:, body:tail] = rows[:, cut:]
        signed[:, tail:value] = np.frombuffer(self._trailer, np.uint8)
        values = b"".join(
            map(self._sign, _beginnings(out, count, size + self.overhead_bytes, value))
        )
        signed[:, value:] = np.frombuffer(values, np.uint8).reshape(count, -1)
        return count

    def verify(self, train: Train) -> list[Train]:
        """What of a train is authentic, without the extensions; the rest is counted."""
        found: list[Train] = []
        run = self._verified_run(train)
        if run is not None:
            found.append(train._replace(data=run.reshape(-1).data, size=run.shape[1]))
            self.counters["verified"] += len(run)
            left = memoryview(train.data)[len(run) * train.size :]
            train = train._replace(data=left)
        parts: list[Buffer] = []
        for datagram in train.datagrams():
            plain = self._plain(datagram)
            if plain is None:
                parts += self._segments(datagram)
            else:
                parts += plain
                self.counters["verified"] += 1
        return found + pack(parts, train.flow)

    def _verified_run(self, train: Train) -> Octets | None:
        """The segments of full size without their extensions, in rows, if they are alike, and all
        just as `sign` makes them; else None."""
        rows = _rows(train.data, train.size)
        count, size = len(rows), train.size
        if count < RUN_MIN:
            return None
        first = memoryview(train.data)[:size]
        try:
            cut = counts_at(first) + 1
            body = cut + 2 + first[cut + 1]
        except IndexError:
            return None
        header = bytes(first[cut:body])
        found = self._by_header.get(header)
        if found is None or not _alike(rows, cut) or not _equal(rows[:, cut:body], header):
            return None
        counts = rows[:, cut - 1]
        if not ((counts & 0x0F).all() and (counts & 0xF0).all()):
            return None
        for key, trailer in found:
            value = size - key.value_bytes
            tail = value - len(trailer)
            if tail < body or not _equal(rows[:, tail:value], trailer):
                continue
            signed = _beginnings(train.data, count, size, value)
            if key.check(signed, rows[:, value:].tobytes()):
                plain: Octets = np.empty((count, cut + tail - body), np.uint8)
                plain[:, :cut] = rows[:, :cut]
                plain[:, cut - 1] -= 0x11
                plain[:, cut:] = rows[:, body:tail]
                return plain
        return None

    @property
    def judge(self) -> Callable[[memoryview], bool] | None:
        """`genuine`, while there is something to tell by."""
        return None if self.state == "open" else self.genuine

    def genuine(self, datagram: memoryview) -> bool:
        """Whether a datagram is one segment just as `sign` makes them; counts nothing."""
        return self._plain(datagram) is not None

    def _plain(self, datagram: memoryview) -> tuple[bytes] | None:
        """The segment of a datagram that is just as `sign` makes them, or None."""
        try:
            at = counts_at(datagram) + 1
            counts = datagram[at - 1]
            body = at + 2 + datagram[at + 1]
        except IndexError:
            return None
        found = self._by_header.get(bytes(datagram[at:body]))
        if found is None or not (counts & 0x0F and counts & 0xF0):
            return None
        for key, trailer in found:
            value = len(datagram) - key.value_bytes
            tail = value - len(trailer)
            if tail < body or datagram[tail:value] != trailer:
                continue
            if key.check((datagram[:value],), datagram[value:]):
                head = (datagram[: at - 1], bytes((counts - 0x11,)), datagram[body:tail])
                return (b"".join(head),)
        return None

    def _segments(self, datagram: memoryview) -> list[bytes]:
        """The authentic segments of any other datagram, however it is put together."""
        out: list[bytes] = []
        for segment, octets in segments(datagram):
            if segment is None:
                self.counters["forged"] += 1
                continue
            marks = [one.value for one in segment.header if one.tag == AUTHENTICATION_TAG]
            if not marks or not segment.trailer or segment.trailer[-1].tag != AUTHENTICATION_TAG:
                self.counters["unsigned"] += 1
                continue
            value = segment.trailer[-1].value
            data = octets[: len(octets) - len(value)]
            if not any(key.check((data,), value) for key in self._candidates(marks, value)):
                self.counters["forged"] += 1
                continue
            self.counters["verified"] += 1
            bare = dataclasses.replace(
                segment,
                header=without(segment.header, AUTHENTICATION_TAG),
                trailer=without(segment.trailer, AUTHENTICATION_TAG),
            )
            out.append(encode_segment(bare))
        return out

    def _candidates(self, marks: Sequence[bytes], value: bytes) -> list[AuthKey]:
        """Keys that the header extensions name; all of a ciphersuite where no KeyID is given."""
        return [
            key
            for key in self._accepting
            if key.value_bytes == len(value)
            and any(mark[:1] == bytes((key.suite,)) and mark[1:] in (b"", key.id) for mark in marks)
        ]


def _header(key: AuthKey) -> bytes:
    value = bytes((key.suite,)) + key.id
    return bytes((AUTHENTICATION_TAG,)) + encode_sdnv(len(value)) + value


def _trailer(key: AuthKey) -> bytes:
    return bytes((AUTHENTICATION_TAG,)) + encode_sdnv(key.value_bytes)


def _rows(data: Buffer, size: int) -> Octets:
    """The datagrams of full size in rows."""
    count = len(data) // size
    return np.frombuffer(data, np.uint8, count * size).reshape(count, size)


def _alike(rows: Octets, cut: int) -> bool:
    """Whether segments have their extension counts before `cut`, as the first has: the numbers
    before them (RFC 5326 §3.1) are as long."""
    ends = rows[:, 1 : cut - 1] & 0x80
    return bool((ends == ends[0]).all())


def _equal(columns: Octets, octets: bytes) -> bool:
    """Whether each row has just these octets."""
    return columns.tobytes() == octets * len(columns)


def _beginnings(data: Buffer, count: int, size: int, end: int) -> list[memoryview]:
    """The first `end` octets of each of `count` datagrams of `size`."""
    view = memoryview(data)
    return [view[start : start + end] for start in range(0, count * size, size)]
