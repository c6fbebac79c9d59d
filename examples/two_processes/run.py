"""Start the three processes, wait for the ground's verdict, and check the received file too."""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from examples.two_processes.setup import write_configurations

ROOT = Path(__file__).parents[2]
PIECE = 1 << 20


def sha256(path: Path) -> str:
    """The digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_content(path: Path, size: int) -> None:
    """A file that nothing can compress."""
    rng = random.Random(1)  # noqa: S311 - test data, not a secret
    with path.open("wb") as file:
        for start in range(0, size, PIECE):
            file.write(rng.randbytes(min(PIECE, size - start)))


def start(module: str, *arguments: object) -> subprocess.Popen[str]:
    """One process; returns once it says that it is ready."""
    command = [sys.executable, "-m", f"examples.two_processes.{module}", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != "ready\n":
        raise RuntimeError(f"{module} did not start: {line!r}")
    return process


def main(arguments: list[str] | None = None) -> int:
    """Run it all; 0 when the file and the job's result arrived intact."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=float, default=100.0, help="size of the file (default 100)")
    parser.add_argument("--loss", type=float, default=0.01, help="lost datagrams (default 0.01)")
    parser.add_argument("--blackout", type=float, default=3.0, help="seconds dark (default 3)")
    parser.add_argument("--rate", type=float, default=200e6, help="bit/s of the link")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds to give up after")
    options = parser.parse_args(arguments)
    size = round(options.mb * 1e6)
    running: list[subprocess.Popen[str]] = []
    with tempfile.TemporaryDirectory(prefix="orbitferry-") as name:
        folder = Path(name)
        content = folder / "content.bin"
        make_content(content, size)
        boxes = write_configurations(folder, options.rate)
        ports = [*boxes, *(folder / "ports").read_text().split()]
        half = ["--after-bytes", size // 2]
        dark = ["--loss", options.loss, "--blackout", options.blackout]
        try:
            running.append(start("link", "--ports", *ports, *half, *dark))
            running.append(start("satellite", folder / "satellite.toml"))
            ground = start("ground", folder / "ground.toml", content)
            running.append(ground)
            print(
                f"moving {size:,} octets over a link with {options.loss:.1%} loss ...", flush=True
            )
            output, _ = ground.communicate(timeout=options.timeout)
            print(json.dumps(json.loads(output), indent=2))
            arrived = folder / "satellite" / "files" / "content.bin"
            same = arrived.exists() and sha256(arrived) == sha256(content)
            print(f"received file: {'the same SHA-256' if same else 'NOT the same'}")
            return 0 if same and ground.returncode == 0 else 1
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
