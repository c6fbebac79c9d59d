"""A token for tests: SoftHSM, if it is here (`scripts/system-packages.sh` installs it)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

PIN = b"1234-station"
MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so")
MODULE = next((path for path in MODULES if Path(path).exists()), "")

needs_softhsm = pytest.mark.skipif(
    not (MODULE and shutil.which("softhsm2-util") and find_spec("pkcs11")),
    reason="SoftHSM or python-pkcs11 is not installed (apt-get install softhsm2; extra hsm)",
)


class SoftHsm:
    """Tokens in a folder of their own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def token(self, label: str) -> str:
        """The URI of a new token."""
        import pkcs11

        arguments = ("--init-token", "--free", "--label", label, "--so-pin", "so-pin", "--pin")
        subprocess.run(["softhsm2-util", *arguments, PIN.decode()], check=True, capture_output=True)
        pkcs11.lib(MODULE).reinitialize()  # it looks for tokens at its start alone
        return f"pkcs11:token={label}?module-path={MODULE}"


@contextmanager
def softhsm(path: Path) -> Iterator[SoftHsm]:
    """SoftHSM with its tokens in a folder; nobody is logged in when it begins."""
    import pkcs11

    (path / "tokens").mkdir(parents=True, exist_ok=True)
    config = path / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {path / 'tokens'}\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(config))
        pkcs11.lib(MODULE).reinitialize()
        yield SoftHsm(path)
