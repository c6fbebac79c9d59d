"""HTTP of the ACME client, against servers that do what they should not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stack.adapters.https import HttpsClient
from stack.core.errors import ConfigError, DecodeError
from stack.engines.acme.http import BODY_BYTES_MAX, AcmeError, HttpRequest


class Handler(BaseHTTPRequestHandler):
    """Answers by path."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self._answer(200, body, kind=str(self.headers["content-type"]))

    def do_GET(self) -> None:
        match self.path:
            case "/large":
                self._answer(200, bytes(BODY_BYTES_MAX + 1))
            case "/most":
                self._answer(200, bytes(BODY_BYTES_MAX))
            case "/elsewhere":
                self.send_response(302)
                self.send_header("Location", "/large")
                self.end_headers()
            case "/nonsense":
                self.wfile.write(b"SMTP ready\r\n\r\n")
            case "/headers":
                self.send_response(200)
                for number in range(200):
                    self.send_header(f"X-{number}", "x")
                self.end_headers()
            case "/short":
                self.send_response(200)
                self.send_header("Content-Length", "100")
                self.end_headers()
                self.wfile.write(b"ten octets")
            case _:
                self._answer(404, b"{}")

    do_HEAD = do_GET

    def _answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Replay-Nonce", "abc")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def running() -> Iterator[str]:
    """The URL of a server on this machine."""
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running() as url:
        yield url


def test_what_is_posted_and_what_comes_back(server: str) -> None:
    reply = HttpsClient().fetch(HttpRequest("POST", f"{server}/order?x=1", b"{}"))
    assert (reply.status, reply.body) == (200, b"{}")
    assert reply.headers["replay-nonce"] == "abc"
    assert reply.headers["content-type"] == "application/jose+json"
    assert HttpsClient().fetch(HttpRequest("HEAD", f"{server}/nonce")).status == 404


def test_an_answer_is_bounded(server: str) -> None:
    assert len(HttpsClient().fetch(HttpRequest("GET", f"{server}/most")).body) == BODY_BYTES_MAX
    with pytest.raises(AcmeError, match=f"more than {BODY_BYTES_MAX} octets"):
        HttpsClient().fetch(HttpRequest("GET", f"{server}/large"))


def test_nobody_is_sent_elsewhere(server: str) -> None:
    assert HttpsClient().fetch(HttpRequest("GET", f"{server}/elsewhere")).status == 302


@pytest.mark.parametrize("path", ["nonsense", "headers", "short"])
def test_what_is_no_answer_is_told(server: str, path: str) -> None:
    with pytest.raises(AcmeError, match="does not answer"):
        HttpsClient().fetch(HttpRequest("GET", f"{server}/{path}"))


def test_a_server_that_is_not_there_is_told() -> None:
    with running() as url:
        pass
    with pytest.raises(AcmeError, match=r"does not answer: .*refused"):
        HttpsClient().fetch(HttpRequest("GET", url))


def test_nothing_goes_out_in_clear() -> None:
    with pytest.raises(DecodeError):
        HttpsClient().fetch(HttpRequest("GET", "http://acme.example/"))


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_of_authorities_is_read_or_refused(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        HttpsClient(path)
