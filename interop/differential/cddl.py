"""The structure of a bundle as RFC 9171 Appendix B has it, by a CDDL validator, and what a CBOR
decoder that knows no bundles finds in it (optional: `pip install cddl-verifier cbor2`)."""

from __future__ import annotations

import importlib
import re
from importlib import metadata, resources
from typing import Any

from interop.differential.verdict import Value, Verdict, broken, refused


class Cddl:
    """RFC 9171 Appendix B: the shape of arrays and the kinds of items, no CRC and no content."""

    name = "CDDL"

    def __init__(self) -> None:
        # Raises `ImportError` where one of them is not installed.
        verifier: Any = importlib.import_module("cddl_verifier")
        self._cbor2: Any = importlib.import_module("cbor2")
        schema = resources.files(__package__).joinpath("bpv7.cddl").read_text("utf-8")
        self._validator = verifier.Validator(schema)
        self.version = metadata.version("cddl-verifier")

    def read(self, encoded: bytes) -> Verdict:
        """Whether the octets are one item of that shape."""
        try:
            result = self._validator.validate(encoded)
        except Exception as error:
            return broken(f"{type(error).__name__}: {error}")
        if not result.valid:
            return refused(_why(str(result.errors[0])))
        try:
            return Verdict(True, fields=_fields(self._cbor2.loads(encoded)))
        except Exception as error:
            return broken(f"cbor2: {type(error).__name__}: {error}")


_PLACE = re.compile(r"of '([\w-]+)' matches no entry")


def _why(error: str) -> str:
    """The innermost rule that no alternative fits: an error tells of every way that was tried."""
    if "but .bits allows only" in error:
        return "a flag has a bit that .bits does not allow"
    if "matches none of $eid" in error:
        return "an EID matches none of $eid"
    places = _PLACE.findall(error)
    return f"no entry of {places[-1]} fits" if places else error.split("(", 1)[0].strip()


def _fields(bundle: Any) -> dict[str, Value]:
    primary, *blocks = getattr(bundle, "value", bundle)
    return {
        "destination": _endpoint(primary[3]),
        "source": _endpoint(primary[4]),
        "report to": _endpoint(primary[5]),
        "creation time": primary[6][0],
        "sequence number": primary[6][1],
        "lifetime": primary[7],
        "bundle flags": primary[1],
        "primary CRC type": primary[2],
        "block types": tuple(block[0] for block in blocks),
        "block numbers": tuple(block[1] for block in blocks),
        "block flags": tuple(block[2] for block in blocks),
        "block CRC types": tuple(block[3] for block in blocks),
    }


def _endpoint(eid: Any) -> str:
    if eid[0] == 1:
        return f"dtn:{eid[1] or 'none'}"
    numbers = eid[1]
    node = numbers[0] << 32 | numbers[1] if len(numbers) == 3 else numbers[0]
    return f"ipn:{node}.{numbers[-1]}"
