"""What an ACME client asks of whoever speaks HTTP for it, and how it reads what came back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from stack.core.errors import DecodeError, OrbitferryError

BODY_BYTES_MAX: Final = 1 << 20
"""Octets of an answer: a chain of certificates is the longest."""

URL_CHARS_MAX: Final = 2048
WORDS_CHARS_MAX: Final = 300
SUBPROBLEMS_MAX: Final = 16

PROBLEM: Final = "urn:ietf:params:acme:error:"
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_VISIBLE = re.compile(r"[!-~]+")


class AcmeError(OrbitferryError):
    """The server has refused, in its words, or says what no server may say.  `kind` is the type of
    its problem document (RFC 8555 §6.7) where it has one."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, over TLS that is verified."""

    method: str
    """GET, HEAD or POST; what is posted is JSON."""

    url: str
    body: bytes = field(default=b"", repr=False)
    accept: str = "application/json"


@dataclass(frozen=True, slots=True)
class HttpReply:
    """Its answer, of `BODY_BYTES_MAX` octets at most."""

    status: int
    headers: Mapping[str, str]
    """By name in small letters."""

    body: bytes

    def object(self) -> dict[str, Any]:
        """The JSON object in it.  Raises `DecodeError`."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise DecodeError("the answer is no JSON object", "RFC 8555 §6")
        return found


def check_url(url: object) -> str:
    """A URL that a request may go to: https, or this machine.  Raises `DecodeError`."""
    if not isinstance(url, str) or len(url) > URL_CHARS_MAX or not _VISIBLE.fullmatch(url):
        raise DecodeError("there has to be a URL", "RFC 8555 §6.1")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    near = parts.scheme == "http" and host in LOOPBACK
    if not host or parts.username is not None or not (near or parts.scheme == "https"):
        raise DecodeError(f'no URL with https: "{printable(url)}"', "RFC 8555 §6.1")
    return url


def text_of(found: Mapping[str, Any], name: str) -> str:
    """A text in a JSON object.  Raises `DecodeError`."""
    value = found.get(name)
    if not isinstance(value, str):
        raise DecodeError(f"{name} is no text", "RFC 8555 §7.1")
    return value


def list_of(found: Mapping[str, Any], name: str, most: int) -> list[Any]:
    """A list in a JSON object, not empty.  Raises `DecodeError`."""
    value = found.get(name)
    if not isinstance(value, list) or not 0 < len(value) <= most:
        raise DecodeError(f"{name} is no list of 1 to {most}", "RFC 8555 §7.1")
    return value


def problem_of(reply: HttpReply) -> AcmeError:
    """What a server says is wrong (RFC 7807), or that it says nothing."""
    try:
        return problem(reply.object(), f"HTTP status {reply.status}")
    except DecodeError:
        return AcmeError(f"the server answers with HTTP status {reply.status}")


def problem(found: object, otherwise: str) -> AcmeError:
    """A problem document in words."""
    if not isinstance(found, dict):
        return AcmeError(f"the server says {otherwise}")
    kind = printable(str(found.get("type", "")).removeprefix(PROBLEM))
    parts = [": ".join(filter(None, (kind, printable(found.get("detail", "")))))]
    more = found.get("subproblems")
    if isinstance(more, list):
        told = [printable(one.get("detail", "")) for one in more if isinstance(one, dict)]
        parts += told[:SUBPROBLEMS_MAX]
    words = "; ".join(f'"{one}"' for one in parts if one)
    return AcmeError(f"the server says {words or otherwise}", kind)


def printable(text: object) -> str:
    """Words of others as an operator's terminal may show them, between quotation marks."""
    line = "".join(c if c.isprintable() else " " for c in str(text)[:WORDS_CHARS_MAX])
    return " ".join(line.replace('"', "'").split())
