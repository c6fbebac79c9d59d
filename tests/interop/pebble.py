"""Pebble, a test server of ACME by others, if it is here (`scripts/system-packages.sh` installs
it)."""

from __future__ import annotations

import datetime
import ipaddress
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import AF_INET, SOCK_STREAM, create_connection, socket

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

PEBBLE = shutil.which("pebble")

needs_pebble = pytest.mark.skipif(
    PEBBLE is None, reason="Pebble is not installed (apt-get install pebble)"
)


@dataclass
class Pebble:
    """A server that runs."""

    directory: str
    ca_file: Path


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine for TLS, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
    builder = builder.add_extension(names, False)
    made = builder.add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256())
    paths = folder / "tls.pem", folder / "tls-key.pem"
    paths[0].write_bytes(made.public_bytes(Encoding.PEM))
    octets = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    paths[1].write_bytes(octets)
    return paths


def free_port() -> int:
    """One that nobody has now."""
    with socket(AF_INET, SOCK_STREAM) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def pebble(folder: Path, **options: object) -> Iterator[Pebble]:
    """Pebble, which validates nothing and so answers at once; `options` of its configuration."""
    assert PEBBLE is not None
    ca_file, key_file = certificate(folder)
    port = free_port()
    address = f"127.0.0.1:{port}"
    section = {
        "listenAddress": address,
        "certificate": str(ca_file),
        "privateKey": str(key_file),
        "ocspResponderURL": "",
        **options,
    }
    path = folder / "pebble.json"
    path.write_text(json.dumps({"pebble": section}))
    environment = {
        "PEBBLE_VA_ALWAYS_VALID": "1",
        "PEBBLE_VA_NOSLEEP": "1",
        "PEBBLE_WFE_NONCEREJECT": "0",
        "PEBBLE_AUTHZREUSE": "0",
    }
    process = subprocess.Popen(
        [PEBBLE, "-strict", "-config", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if f"Listening on: {address}" in line:
                break
        else:
            pytest.fail("Pebble did not start")
        _connect(process, port)
        yield Pebble(f"https://{address}/dir", ca_file)
    finally:
        process.kill()
        process.communicate()


def _connect(process: subprocess.Popen[str], port: int) -> None:
    """It says that it listens a moment before it does."""
    while process.poll() is None:
        with suppress(ConnectionRefusedError), create_connection(("127.0.0.1", port)):
            return
    pytest.fail("Pebble has ended")
