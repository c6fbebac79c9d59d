"""The encodings of dtn-demo-agent, where it is installed (https://github.com/BrianSipos)."""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import Any

from interop.differential.verdict import Verdict, broken, refused


class DemoAgent:
    """`bp.encoding.Bundle` and its check of CRCs.  Raises `ImportError` where it is not
    installed."""

    name = "dtn-demo-agent"

    def __init__(self) -> None:
        importlib.import_module("scapy_cbor")  # its own too: many things are named bp
        self._bundle: Any = importlib.import_module("bp.encoding").Bundle
        # Without this, scapy takes what it cannot dissect for a payload.
        importlib.import_module("scapy.config").conf.debug_dissector = True
        try:
            self.version = metadata.version("dtn-demo-agent")
        except metadata.PackageNotFoundError:
            self.version = "?"

    def read(self, encoded: bytes) -> Verdict:
        """Any exception is its way to refuse."""
        try:
            bundle = self._bundle(encoded)
            failed = bundle.check_all_crc()
        except Exception as error:
            return refused(f"{type(error).__name__}: {error}")
        if failed:
            return refused("CRC does not match")
        try:
            return Verdict(True, sent=bytes(bundle))
        except Exception as error:
            return broken(f"cannot be sent on: {type(error).__name__}: {error}")
