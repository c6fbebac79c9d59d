"""The control socket: who may connect, what a request may be, and what each operation does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import socket
import stat
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.core.errors import ConfigError, PolicyError, SecurityError, StoreError
from stack.node.config import LogConfig, NodeConfig, SecurityConfig, StoreSection
from stack.node.control import server as server_module
from stack.node.control.client import ControlClient, is_running
from stack.node.control.operations import make_operations
from stack.node.control.protocol import REQUEST_BYTES_MAX, ControlError
from stack.node.control.request import Request, Session
from stack.node.control.server import ControlServer
from stack.node.node import Node

HERE = "dtn://here/"
STRANGE = "dtn://nowhere/"


def configuration(folder: Path) -> NodeConfig:
    return NodeConfig(
        id=HERE,
        data_dir=str(folder / "data"),
        control=str(folder / "c.sock"),
        store=StoreSection(kind="memory"),
        security=SecurityConfig(protect="none"),
        log=LogConfig(level="off"),
    )


class Background:
    """A node without links, on an event loop in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.config = configuration(folder)
        self.path = self.config.control_path
        self.client = ControlClient(self.path)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.stopped = 0
        self._ready = threading.Event()
        self._end: Callable[[], object] = lambda: None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._failure = error
            self._ready.set()

    async def _main(self) -> None:
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._end = lambda: loop.call_soon_threadsafe(end.set)

        async def failing(request: Request, session: Session) -> dict[str, Any]:
            kinds = {
                "bug": RuntimeError("oops"),
                "store": StoreError("no room"),
                "security": SecurityError("no key"),
                "policy": PolicyError("it may rest at 'SE'"),
                "os": PermissionError(13, "Permission denied", "/x"),
            }
            raise kinds[request.text("reason")]

        def stop() -> None:
            self.stopped += 1

        def trace(event: str, fields: dict[str, Any]) -> None:
            self.events.append((event, fields))

        async with Node(self.config, trace=trace) as node:
            operations = dict(make_operations(node, stop)) | {"fail": failing}
            async with ControlServer(self.path, operations, trace):
                self._ready.set()
                await end.wait()

    def __enter__(self) -> Background:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._thread.join()
        if self._failure is not None:
            raise self._failure


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    with Background(tmp_path_factory.mktemp("node")) as background:
        yield background


def failure(call: Callable[[], object]) -> ControlError:
    with pytest.raises(ControlError) as caught:
        call()
    return caught.value


def exchange_raw(path: Path, data: bytes) -> list[dict[str, Any]]:
    """Send octets, say that there are no more, and read what comes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(30)
        sock.connect(str(path))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        reply = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := sock.recv(65_536):
                reply += piece
    return [json.loads(line) for line in reply.splitlines()]


# ---- the socket ------------------------------------------------------------------------------


def test_only_this_user_may_connect(node: Background) -> None:
    assert stat.S_IMODE(os.stat(node.path).st_mode) == 0o600


def serve(path: Path, inside: Callable[[ControlServer], Awaitable[None]]) -> None:
    """Run `inside` while a server without a node serves `path`."""

    async def main() -> None:
        async with ControlServer(path, {}, lambda event, fields: None) as server:
            await inside(server)

    asyncio.run(main())


async def nothing(server: ControlServer) -> None:
    assert server.path.exists()


def test_the_socket_goes_when_the_node_ends(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    serve(path, nothing)
    assert not path.exists()


def test_the_socket_of_a_dead_node_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    assert not is_running(path)
    serve(path, nothing)


def test_a_live_node_is_left_alone(node: Background) -> None:
    with pytest.raises(ConfigError, match="a node is running here already"):
        serve(node.path, nothing)
    assert node.client.call("status")["node"] == HERE


def test_a_socket_that_replaced_ours_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"

    async def replace(server: ControlServer) -> None:
        path.unlink()
        path.write_text("not ours")

    serve(path, replace)
    assert path.read_text() == "not ours"


def test_another_file_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    path.write_text("precious")
    with pytest.raises(ConfigError):
        serve(path, nothing)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("name", ["x" * 120, "missing/c.sock"])
def test_an_impossible_path_is_a_configuration_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        serve(tmp_path / name, nothing)
    assert name[:20] in caught.value.key


def test_nobody_there(tmp_path: Path) -> None:
    error = failure(lambda: ControlClient(tmp_path / "c.sock").call("status"))
    assert error.kind == "not_running"
    assert "orbitferry node" in error.remedy


def test_a_node_that_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"

    async def hang(request: Request, session: Session) -> dict[str, Any]:
        await session.event("began")
        await asyncio.Event().wait()
        return {}

    async def main() -> list[str]:
        told: list[str] = []
        asked = threading.Event()

        def ask() -> ControlError:
            with ControlClient(path).open("hang") as exchange:
                events = iter(exchange)
                told.append(next(events)["event"])
                asked.set()
                return failure(lambda: next(events))

        async with ControlServer(path, {"hang": hang}, lambda event, fields: None):
            asking = asyncio.create_task(asyncio.to_thread(ask))
            await asyncio.to_thread(asked.wait)
        error = await asking
        return [*told, error.kind]

    assert asyncio.run(main()) == ["began", "not_running"]


def test_a_server_that_talks_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer(line: bytes) -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(line)

        for line in (b"hello\n", b"[]\n", b"{}\n", b'{"error": 5}\n', b'{"result"', b""):
            thread = threading.Thread(target=answer, args=(line,))
            thread.start()
            error = failure(lambda: ControlClient(path).call("status"))
            thread.join()
            assert error.kind in ("usage", "internal", "not_running")


# ---- requests --------------------------------------------------------------------------------


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_no_octets_harm_the_node(node: Background, data: bytes) -> None:
    for reply in exchange_raw(node.path, data + b"\n"):
        assert reply["error"]["kind"] in ("usage", "timeout")
    assert is_running(node.path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)
fields = st.sampled_from(
    ["destination", "path", "ids", "id", "count", "timeout_s", "kinds", "payload", "args", "size"]
)
harmless = st.sampled_from(
    ["status", "counters", "plan", "transfers", "cancel", "received_files", "send_message"]
)


@pytest.mark.slow
@given(op=harmless, given_fields=st.dictionaries(fields, json_values, max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_fields_get_a_result_or_a_typed_error(
    node: Background, op: str, given_fields: dict[str, Any]
) -> None:
    line = json.dumps({"op": op} | given_fields).encode() + b"\n"
    for reply in exchange_raw(node.path, line):
        assert "result" in reply or reply["error"]["kind"] in ("usage", "unknown", "refused")


def test_a_request_without_end_and_one_that_is_too_long(node: Background) -> None:
    assert "newline" in exchange_raw(node.path, b'{"op":"status"}')[0]["error"]["remedy"]
    replies = exchange_raw(node.path, b" " * (REQUEST_BYTES_MAX + 100_000))
    assert not replies or replies[0]["error"]["kind"] == "usage"
    assert is_running(node.path)


def test_deep_nesting(node: Background) -> None:
    replies = exchange_raw(node.path, b"[" * 200_000 + b"\n")
    assert replies[0]["error"]["kind"] == "usage"


@pytest.mark.parametrize(
    ("op", "given_fields", "part"),
    [
        ("dance", {}, "op: 'dance' is unknown"),
        ("status", {"colour": 1}, "colour: unknown to 'status'"),
        ("ping", {}, "destination: is missing"),
        ("ping", {"destination": 5}, "destination: is no text"),
        ("ping", {"destination": "sat1"}, "'sat1' is no node"),
        ("ping", {"destination": "dtn:none"}, "is nobody"),
        ("ping", {"destination": HERE, "count": 0}, "count: 0 is not in"),
        ("ping", {"destination": HERE, "count": 10**400}, "count: 100000000"),
        ("ping", {"destination": HERE, "count": 1.5}, "count: is no whole number"),
        ("ping", {"destination": HERE, "timeout_s": True}, "timeout_s: is no number"),
        ("send_message", {"destination": HERE, "payload": "%"}, "payload: is not Base64"),
        ("send_message", {"destination": HERE}, "payload: is missing"),
        ("send_file", {"destination": HERE, "path": "x"}, "is no absolute path"),
        ("send_file", {"destination": HERE, "path": "/\0"}, "is no absolute path"),
        ("receive", {"kinds": ["letters"]}, "'letters' is unknown"),
        ("receive", {"kinds": "files"}, "kinds: is no list of texts"),
        ("watch", {"ids": []}, "ids: is empty"),
        ("watch", {"ids": ["xyz"]}, "'xyz' is no id"),
        ("cancel", {"ids": ["a"] * 10_001}, "more than 10000"),
    ],
)
def test_wrong_requests_name_the_field(
    node: Background, op: str, given_fields: dict[str, Any], part: str
) -> None:
    error = failure(lambda: node.client.call(op, **given_fields))
    assert error.kind == "usage"
    assert part in error.message


@pytest.mark.parametrize(
    ("reason", "kind", "part"),
    [
        ("bug", "internal", "RuntimeError: oops"),
        ("store", "store", "no room"),
        ("security", "security", "no key"),
        ("policy", "security", "it may rest at 'SE'"),
        ("os", "system", "/x: Permission denied"),
    ],
)
def test_errors_inside_an_operation_reach_the_client(
    node: Background, reason: str, kind: str, part: str
) -> None:
    error = failure(lambda: node.client.call("fail", reason=reason))
    assert error.kind == kind
    assert part in error.message
    logged = [fields for event, fields in node.events if event == "control_failed"]
    assert bool(logged) or reason != "bug"


def test_too_many_requests_at_a_time(node: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 1)
    with node.client.open("receive", kinds=["messages"], service="taken"):
        error = failure(lambda: node.client.call("status"))
    assert error.kind == "busy"


# ---- operations ------------------------------------------------------------------------------


def test_status_and_counters(node: Background) -> None:
    status = node.client.call("status")
    assert status["node"] == HERE
    assert status["pid"] == os.getpid()
    assert status["links"] == []
    gauges = node.client.call("counters")["gauges"]
    assert gauges["store.quota_bytes"] == status["store"]["quota_bytes"]


def test_ping(node: Background) -> None:
    with node.client.open("ping", destination=HERE, count=3, interval_s=0.0) as exchange:
        events = list(exchange)
    assert [event["sequence"] for event in events] == [0, 1, 2]
    assert all(event["rtt_ns"] > 0 for event in events)
    assert exchange.result["received"] == 3
    assert exchange.result["min_ns"] <= exchange.result["mean_ns"] <= exchange.result["max_ns"]


def test_ping_of_nobody(node: Background) -> None:
    with node.client.open("ping", destination=STRANGE, count=1, timeout_s=0.01) as exchange:
        assert [event["rtt_ns"] for event in exchange] == [None]
    assert exchange.result["received"] == 0


def send_message(node: Background, payload: bytes, service: str) -> None:
    encoded = base64.b64encode(payload).decode()
    node.client.call("send_message", destination=HERE, service=service, payload=encoded)


def take(node: Background, *, acknowledge: bool, **fields: Any) -> list[dict[str, Any]]:
    """What one client gets."""
    events = []
    with node.client.open("receive", timeout_s=0.0, **fields) as exchange:
        for event in exchange:
            events.append(event)
            if not acknowledge:
                break
            exchange.acknowledge()
    return events


def test_messages_are_handed_over_until_acknowledged(node: Background) -> None:
    send_message(node, b"one", "post")
    send_message(node, b"two", "post")
    options: dict[str, Any] = {"kinds": ["messages"], "service": "post"}
    first = take(node, acknowledge=False, **options)
    assert base64.b64decode(first[0]["payload"]) == b"one"
    again = take(node, acknowledge=True, **options)
    assert [base64.b64decode(event["payload"]) for event in again] == [b"one", b"two"]
    assert again[0]["bundle"] == first[0]["bundle"]
    assert take(node, acknowledge=True, **options) == []


def test_a_count_ends_receiving(node: Background) -> None:
    for number in range(3):
        send_message(node, b"%d" % number, "counted")
    options: dict[str, Any] = {"kinds": ["messages"], "service": "counted"}
    assert len(take(node, acknowledge=True, count=2, **options)) == 2
    assert len(take(node, acknowledge=True, **options)) == 1


def test_one_receiver_of_a_service_at_a_time(node: Background) -> None:
    options: dict[str, Any] = {"kinds": ["messages"], "service": "single"}
    send_message(node, b"x", "single")
    with node.client.open("receive", **options) as exchange:
        next(iter(exchange))  # it is registered, surely
        error = failure(lambda: take(node, acknowledge=True, **options))
    assert error.kind == "busy"
    assert "orbitferry receive" in error.remedy


def test_a_message_from_a_file(node: Background, tmp_path: Path) -> None:
    path = tmp_path / "payload"
    path.write_bytes(bytes(range(256)) * 8000)  # more than a request may hold
    node.client.call("send_message", destination=HERE, service="large", path=str(path))
    (event,) = take(node, acknowledge=True, kinds=["messages"], service="large")
    assert base64.b64decode(event["payload"]) == path.read_bytes()


def test_files_go_out_and_come_in(node: Background, tmp_path: Path) -> None:
    content = os.urandom(700_000)
    path = tmp_path / "scene.tif"
    path.write_bytes(content)
    sent = node.client.call("send_file", destination=HERE, path=str(path), priority=2)
    with node.client.open("watch", ids=sent["ids"]) as exchange:
        assert all(event["event"] == "progress" for event in exchange)
    (state,) = exchange.result["transfers"]
    assert (state["state"], state["bytes_done"], state["open"]) == ("delivered", 700_000, False)
    listed = node.client.call("transfers")["transfers"]
    assert {one["direction"] for one in listed if one["id"] == sent["ids"][0]} == {"in", "out"}
    (waiting,) = node.client.call("received_files")["files"]
    assert waiting["sha256"] == hashlib.sha256(content).hexdigest()
    assert take(node, acknowledge=False, kinds=["files"])[0]["name"] == "scene.tif"
    (event,) = take(node, acknowledge=True, kinds=["files"])
    assert Path(event["path"]).read_bytes() == content
    assert event["place"] == "scene.tif"
    assert take(node, acknowledge=True, kinds=["files"]) == []


def test_a_folder(node: Background, tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    (folder / "deep").mkdir(parents=True)
    (folder / "a").write_bytes(b"a")
    (folder / "deep" / "b").write_bytes(b"b")
    sent = node.client.call("send_file", destination=HERE, path=str(folder))
    with node.client.open("watch", ids=sent["ids"]) as exchange:
        list(exchange)
    events = take(node, acknowledge=True, kinds=["files"])
    assert {event["name"] for event in events} == {"tiles/a", "tiles/deep/b"}


def test_a_transfer_that_cannot_go_is_cancelled(node: Background, tmp_path: Path) -> None:
    path = tmp_path / "stuck"
    path.write_bytes(b"stuck")
    (sent,) = node.client.call("send_file", destination=STRANGE, path=str(path))["ids"]
    with node.client.open("watch", ids=[sent], timeout_s=0.01) as exchange:
        list(exchange)
    assert exchange.result["transfers"][0]["open"]
    assert node.client.call("cancel", ids=[sent])["cancelled"] == [sent]
    error = failure(lambda: node.client.call("cancel", ids=[sent]))
    assert error.kind == "unknown"
    with node.client.open("watch", ids=[sent]) as exchange:
        list(exchange)
    assert exchange.result["transfers"][0]["state"] == "cancelled"


def test_a_message_that_cannot_go_is_cancelled(node: Background) -> None:
    before = node.client.call("bundles")["bundles_total"]
    held = node.client.call("counters")["gauges"]["store.bundles"]
    sent = [
        node.client.call("send_message", destination=STRANGE, payload="aGk=")["bundle"]
        for _ in range(2)
    ]
    listed = node.client.call("bundles")["bundles"][before:]
    assert [one["bundle"] for one in listed] == sent
    assert listed[0]["destination"] == STRANGE + "messages"
    assert len(node.client.call("bundles", limit=1)["bundles"]) == 1
    done = node.client.call("cancel_bundle", bundle=sent[0])
    assert done == {"bundle": sent[0], "bundles": 1, "under_way": 0}
    assert node.client.call("cancel_bundle", bundle=sent[0])["bundles"] == 0
    assert [one["bundle"] for one in node.client.call("bundles")["bundles"]][before:] == sent[1:]
    assert node.client.call("counters")["gauges"]["store.bundles"] == held + 1
    with pytest.raises(ControlError, match="is no bundle id") as caught:
        node.client.call("cancel_bundle", bundle="nonsense")
    assert caught.value.kind == "usage"


def test_what_is_not_there(node: Background, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    error = failure(lambda: node.client.call("send_file", destination=HERE, path=missing))
    assert error.kind in ("refused", "system")
    assert "missing" in error.message
    error = failure(lambda: node.client.call("watch", ids=["00" * 16]))
    assert error.kind == "unknown"


def test_the_plan(node: Background, tmp_path: Path) -> None:
    path = tmp_path / "plan.ionrc"
    path.write_text("a contact +0 +3600 1 2 1000\na range +0 +3600 1 2 1\n")
    reference = "2125-01-01T00:00:00Z"
    result = node.client.call("set_plan", path=str(path), reference=reference)
    assert result["contacts"] == 1
    (contact,) = node.client.call("plan")["contacts"]
    assert contact["start"] == "2125-01-01T00:00:00.000Z"
    assert contact["rate_bps"] == 8000, "ION counts bytes"
    assert contact["owlt_ms"] == 1000
    path.write_text("a contact soon")
    error = failure(lambda: node.client.call("set_plan", path=str(path)))
    assert error.kind == "config"
    error = failure(lambda: node.client.call("set_plan", path=str(path), reference="today"))
    assert "today" in error.message
    assert node.client.call("plan")["contacts_total"] == 1, "a bad plan changes nothing"


def test_stop_asks_whoever_runs_the_node(node: Background) -> None:
    before = node.stopped
    assert node.client.call("stop")["pid"] == os.getpid()
    assert node.stopped == before + 1


def test_an_unknown_operation_is_told_the_known_ones(node: Background) -> None:
    error = failure(lambda: node.client.call("?"))
    assert {"ping", "send_file", "submit_job"} <= set(error.remedy.split(": ")[1].split(", "))
