"""HTTP for an ACME client: one request at a time, over TLS that is verified."""

from __future__ import annotations

import http.client
import ssl
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from stack.core.errors import ConfigError
from stack.engines.acme.http import BODY_BYTES_MAX, AcmeError, HttpReply, HttpRequest, check_url

TIMEOUT_S: Final = 30.0
"""For a connection, for each silence, and for the body of an answer."""

READ_BYTES: Final = 65_536


class HttpsClient:
    """Follows no redirect and keeps no cookie.  Raises `ConfigError` for a `ca_file` (PEM) that
    cannot be read; without one the authorities of the system are believed."""

    def __init__(self, ca_file: Path | None = None, *, agent: str = "orbitferry") -> None:
        try:
            self._context = ssl.create_default_context(cafile=None if ca_file is None else ca_file)
        except OSError as error:  # also what TLS says of its content
            remedy = "certificates of authorities, as PEM"
            raise ConfigError(str(ca_file), error.strerror or str(error), remedy) from None
        self._agent = agent

    def fetch(self, request: HttpRequest) -> HttpReply:
        """Its answer.  Raises `AcmeError` where there is none, and `DecodeError` for a URL without
        https."""
        parts = urlsplit(check_url(request.url))
        host = parts.hostname or ""
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                host, parts.port, timeout=TIMEOUT_S, context=self._context
            )
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
        headers = {"Accept": request.accept, "User-Agent": self._agent, "Connection": "close"}
        if request.method == "POST":
            headers["Content-Type"] = "application/jose+json"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(request.method, target, request.body or None, headers)
            return _read(connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            why = str(error) or type(error).__name__
            raise AcmeError(f"{parts.scheme}://{parts.netloc} does not answer: {why}") from None
        finally:
            connection.close()


def _read(response: http.client.HTTPResponse) -> HttpReply:
    body, end_s = bytearray(), time.monotonic() + TIMEOUT_S
    while chunk := response.read1(READ_BYTES):
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise AcmeError(f"the server answers with more than {BODY_BYTES_MAX} octets")
        if time.monotonic() > end_s:
            raise AcmeError(f"an answer of the server takes more than {TIMEOUT_S:g} seconds")
    if response.length:  # `read1` leaves that to us
        raise http.client.IncompleteRead(bytes(body), response.length)
    headers = {name.lower(): value for name, value in response.getheaders()}
    return HttpReply(response.status, headers, bytes(body))
