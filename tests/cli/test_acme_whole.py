"""The whole of ACME: a command, a running node, bundles over a link, and an ACME server whose
validation asks by them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from interop.machines.ports import free_ports
from stack.core.eid import Eid
from stack.engines.acme.http import HttpRequest
from stack.engines.acme.responder import ExpectedChallenge
from stack.engines.acme.validator import ValidationOutcome
from stack.identity import AuthorityFolder
from stack.node.node import Node
from tests.cli.helpers import Cli, running_node, write_config
from tests.cli.test_domain import done, enrolled
from tests.engines.acme.server import AcmeServer, issued

NODE = "dtn://gs1/"


@contextmanager
def beside(config: Path) -> Iterator[tuple[Node, asyncio.AbstractEventLoop]]:
    """The node beside the server, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    node = Node.from_file(config)
    try:
        asyncio.run_coroutine_threadsafe(node.__aenter__(), loop).result()
        try:
            yield node, loop
        finally:
            asyncio.run_coroutine_threadsafe(node.__aexit__(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass
class ServerBeside(AcmeServer):
    """Whose challenges leave its node as bundles, and which sees what comes of each."""

    before: Callable[[], None] = lambda: None
    """Called when the client says that its node is ready, and before that is asked."""

    outcomes: list[ValidationOutcome] = field(default_factory=list)
    node: tuple[Node, asyncio.AbstractEventLoop] | None = None
    asked: Future[ValidationOutcome] | None = None

    def validate(self, node: Eid, told: ExpectedChallenge, rtt_s: float | None) -> None:
        self.before()
        assert self.node is not None
        own, loop = self.node
        assert own.node_ids is not None
        work = own.node_ids.validate(node, told, rtt_s)
        self.asked = asyncio.run_coroutine_threadsafe(work, loop)

    def poll(self) -> list[ValidationOutcome]:
        if self.asked is None or not self.asked.done():
            return []
        found, self.asked = self.asked.result(), None
        self.outcomes.append(found)
        return [found]


@contextmanager
def serving(server: AcmeServer) -> Iterator[str]:
    """It answers over HTTP, on this machine: the URL of its directory."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            reply = server.handle(HttpRequest(self.command, server.base + self.path, body))
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

        do_GET = do_HEAD = do_POST = answer

        def log_message(self, *_: object) -> None:
            """Nothing: a test's output is of what it tests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.base = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"{server.base}/directory"
        finally:
            http.shutdown()
            thread.join()


class Station:
    """The node that wants a certificate, as a process."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self._stack = ExitStack()

    def start(self) -> None:
        self._stack.enter_context(running_node(self.config))

    def kill(self) -> None:
        """At once, with SIGKILL."""
        self._stack.close()


def with_certificate(config: Path, folder: str) -> None:
    """Its identity in place of the keys that both nodes had in common."""
    text = config.read_text()
    assert 'key_file = "keys.toml"' in text
    with_it = text.replace('key_file = "keys.toml"', "")
    config.write_text(with_it + f'[identity]\nfolder = "{folder}"\n')


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_from_a_shared_key_to_a_node_that_runs_with_its_certificate(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("ORBITFERRY_PASSPHRASE", "ORBITFERRY_PIN"):
        monkeypatch.delenv(variable, raising=False)
    done(cli, "init", "kari", "--no-passphrase")
    enrolled(cli, "dtn://ca/", "ca-identity")
    done(cli, "export", "--out", "update.pem")
    ports = free_ports(2)
    at_ca = write_config(tmp_path, "ca", peer="gs1", ports=ports)
    at_gs1 = write_config(tmp_path, "gs1", peer="ca", ports=ports[::-1])
    for config in (at_ca, at_gs1):  # no keys of the domain come by ACME, and so none for LTP
        text = config.read_text()
        config.write_text(text.replace("[links.ltp]", 'authentication = "off"\n[links.ltp]'))
    authority = AuthorityFolder(Path("domain"))
    server = ServerBeside(lambda csr: issued(authority, csr))
    station = Station(at_gs1)

    def killed() -> None:
        station.kill()
        station.start()

    station.start()
    try:
        with serving(server) as url:
            common = ("acme", "--server", url, "--agree", "--node", at_gs1)
            with beside(at_ca) as server.node:
                # The node is killed between its promise and the challenge.
                server.before = killed
                got = done(cli, *common, NODE, "--update", "update.pem", "--yes")
            assert (got["node"], got["domain"], got["roles"]) == (NODE, "kari", ["relay"])
            first = Path("identity/certificate.pem").read_bytes()

            # From here on the two have nothing in common but their certificates.
            station.kill()
            with_certificate(at_gs1, "identity")
            with_certificate(at_ca, "ca-identity")
            done(cli, "export", "--out", "news.pem")
            done(cli, "enroll", "--answer", "news.pem", "--folder", "ca-identity")
            server.before = lambda: None
            station.start()
            with beside(at_ca) as server.node:
                done(cli, *common)
            assert [one.valid for one in server.outcomes] == [True, True]
            assert Path("identity/certificate.pem").read_bytes() != first
    finally:
        station.kill()
