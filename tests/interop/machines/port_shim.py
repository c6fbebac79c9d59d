"""Any shim that reads lines on standard input, behind a port: ``port_shim.py FOLDER COMMAND...``.

It writes the port that it listens on.  Each case has a folder of its own, and each life of it a
process of the command in there, which reads and writes the connection itself.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path


def case_of(connection: socket.socket) -> str:
    """The name in the first line, and not an octet more."""
    line = b""
    while not line.endswith(b"\n"):
        line += connection.recv(1) or b"\n"
    asked = json.loads(line)
    assert asked["do"] == "case"
    return str(asked["name"])


def serve(listener: socket.socket, folder: Path, command: list[str]) -> None:
    """Until it is killed."""
    lives: dict[str, subprocess.Popen[bytes]] = {}
    while True:
        connection, _ = listener.accept()
        with connection:
            name = case_of(connection)
            if name in lives:
                # Whoever comes again has killed the life before.
                lives[name].kill()
                lives[name].wait()
            place = folder / name
            place.mkdir(exist_ok=True)
            connection.sendall(b"{}\n")
            ends = connection.fileno()
            lives[name] = subprocess.Popen(command, cwd=place, stdin=ends, stdout=ends)


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as door:
        print(door.getsockname()[1], flush=True)
        serve(door, Path(sys.argv[1]), sys.argv[2:])
