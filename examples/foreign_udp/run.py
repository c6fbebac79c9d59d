"""Put a link between two programs that know nothing of it, and let them measure it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]


def start(*command: object) -> subprocess.Popen[str]:
    """A process whose output is read."""
    words = [sys.executable, *map(str, command)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def first_line(process: subprocess.Popen[str]) -> str:
    """What a process says when it is ready."""
    assert process.stdout is not None
    return process.stdout.readline()


def main(arguments: list[str] | None = None) -> int:
    """Run it all; 0 when the receiver has a result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="datagrams (default 2000)")
    parser.add_argument("--rate", type=float, default=500.0, help="a second (default 500)")
    parser.add_argument("--delay", default="120ms", help="of the link (default 120ms)")
    parser.add_argument("--loss", default="5%", help="of the link (default 5%%)")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds to give up after")
    options = parser.parse_args(arguments)
    running = [start(FOLDER / "receiver.py", 0)]
    try:
        port = first_line(running[0]).strip()
        link = ["--delay", options.delay, "--loss", options.loss, "--seed", 1]
        ends = ["--listen-a", "127.0.0.1:0", "--listen-b", "127.0.0.1:0"]
        box = start(
            *("-m", "stack.cli.main", "emulate", *ends, "--peer-b", f"127.0.0.1:{port}"),
            *(*link, "--json"),
        )
        running.append(box)
        host, _, listen = json.loads(first_line(box))["listen_a"].rpartition(":")
        print(f"link: {options.delay} one way, {options.loss} lost", flush=True)
        sender = start(FOLDER / "sender.py", host, listen, options.count, options.rate)
        running.append(sender)
        output, _ = running[0].communicate(timeout=options.timeout)
        print(output.strip())
        return running[0].returncode
    except subprocess.TimeoutExpired:
        print(f"nothing after {options.timeout:g} s: see --timeout", file=sys.stderr)
        return 1
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()


if __name__ == "__main__":
    sys.exit(main())
