"""Our bundle agent behind a TCPCL 4 listener, in a process: ``tcpcl_agent.py PORT FOLDER FAULT``.

It serves a session for each neighbour that connects, in one segment a transfer.  With the fault
``acknowledges early`` it says that it has what it has not looked at; with ``changes`` it alters
payloads.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
import time
from pathlib import Path

from stack.core.clock import dtn_from_unix
from stack.storage.sqlite import SqliteStore
from stack.wire.tcpcl import (
    SEGMENT_END,
    SEGMENT_START,
    TERM_REPLY,
    ContactHeader,
    Incomplete,
    Message,
    SessionInit,
    SessionTerm,
    TransferAck,
    TransferSegment,
    decode_contact,
    decode_message,
    encode_contact,
    encode_message,
    transfer_length,
)
from tests.interop.machines.our_agent import OurAgent

# As `interop.machines.agent_model` has them, which would take a second to import.
NODE, WEST, EAST = "dtn://under-test/", "dtn://west/", "dtn://east/"


class Session:
    """One neighbour's."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.node = ""
        self.octets = b""
        self.begun = False
        self.transfers = 0

    def say(self, message: Message) -> None:
        self.stream.sendall(encode_message(message))

    def send(self, bundle: bytes) -> None:
        flags = SEGMENT_START | SEGMENT_END
        items = (transfer_length(len(bundle)),)
        self.transfers += 1
        self.say(
            TransferSegment(transfer=self.transfers, flags=flags, data=bundle, extensions=items)
        )


class Served:
    """The agent and its sessions."""

    def __init__(self, folder: Path, fault: str) -> None:
        class Stored(OurAgent):
            def open_store(self) -> SqliteStore:
                return SqliteStore(folder / "store")

        self.fault = fault
        self.sessions: dict[socket.socket, Session] = {}
        self.agent = Stored(NODE, (WEST, EAST), "app")
        self.agent.restart(self.now_ms())

    @staticmethod
    def now_ms() -> int:
        return dtn_from_unix(time.time())

    def read(self, session: Session) -> None:
        some = session.stream.recv(65_536)
        session.octets += some
        try:
            if not session.begun:
                _, end = decode_contact(session.octets)
                session.octets = session.octets[end:]
                session.begun = True
                session.stream.sendall(encode_contact(ContactHeader()))
            while session.octets:
                message, end = decode_message(session.octets)
                self.handle(session, message)
                session.octets = session.octets[end:]
        except Incomplete:
            pass
        if not some:
            self.end(session)

    def handle(self, session: Session, message: Message) -> None:
        if isinstance(message, SessionInit):
            session.node = message.node_id
            session.say(
                SessionInit(keepalive_s=0, segment_mru=1 << 20, transfer_mru=1 << 20, node_id=NODE)
            )
            self.agent.contact(session.node, True, self.now_ms())
        elif isinstance(message, TransferSegment):
            data = bytes(message.data)
            if self.fault != "acknowledges early" or len(data) < 100:
                self.agent.receive(data, session.node, self.now_ms())
            session.say(
                TransferAck(transfer=message.transfer, flags=message.flags, acked_bytes=len(data))
            )
        elif isinstance(message, SessionTerm):
            session.say(SessionTerm(reason=message.reason, flags=TERM_REPLY))
            self.agent.contact(session.node, False, self.now_ms())
            session.node = ""

    def end(self, session: Session) -> None:
        if session.node:
            self.agent.contact(session.node, False, self.now_ms())
        session.stream.close()
        del self.sessions[session.stream]

    def leave(self) -> None:
        for neighbour, bundle in self.agent.poll():
            for session in self.sessions.values():
                if session.node == neighbour:
                    session.send(bundle.replace(b"\0\0\0", b"\0\1\0")
                                 if self.fault == "changes" else bundle)  # fmt: skip


def main(port: int, folder: Path, fault: str) -> None:
    served = Served(folder, fault)
    with socket.create_server(("127.0.0.1", port)) as server, selectors.DefaultSelector() as ready:
        ready.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select(0.05):
                if key.fileobj is server:
                    stream, _ = server.accept()
                    stream.settimeout(5)
                    served.sessions[stream] = Session(stream)
                    ready.register(stream, selectors.EVENT_READ)
                else:
                    session = served.sessions[key.fileobj]  # type: ignore[index]
                    served.read(session)
                    if session.stream not in served.sessions:
                        ready.unregister(session.stream)
                served.leave()
            served.agent.advance(served.now_ms())
            served.leave()


if __name__ == "__main__":
    os.chdir(sys.argv[2])
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "")
