"""pyD3TN, the Python library of µD3TN (optional: `pip install pyd3tn`)."""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import Any

from interop.differential.verdict import Value, Verdict, broken, refused


class Pyd3tn:
    """`pyd3tn.bundle7.Bundle.parse`, and the CRC check that it leaves to who calls it.  Raises
    `ImportError` where it is not installed."""

    name = "pyD3TN"

    def __init__(self) -> None:
        self._bundle7: Any = importlib.import_module("pyd3tn.bundle7")
        self.version = metadata.version("pyd3tn")

    def read(self, encoded: bytes) -> Verdict:
        """Any exception is its way to refuse: it documents none."""
        try:
            bundle = self._bundle7.Bundle.parse(encoded)
            blocks = [*bundle.blocks, bundle.payload_block]
            for block in (bundle.primary_block, *blocks):
                if block.crc_type and block.crc_provided != block.calculate_crc():
                    return refused("CRC does not match")
            fields = self._fields(bundle.primary_block, blocks)
        except Exception as error:
            return refused(f"{type(error).__name__}: {error}")
        try:
            return Verdict(True, fields=fields, sent=bytes(bundle))
        except Exception as error:
            return broken(f"cannot be sent on: {type(error).__name__}: {error}")

    def _fields(self, primary: Any, blocks: list[Any]) -> dict[str, Value]:
        flags = self._bundle7.BlockProcFlag
        fields: dict[str, Value] = {
            "destination": _endpoint(primary.destination),
            "source": _endpoint(primary.source),
            "report to": _endpoint(primary.report_to),
            "creation time": primary.creation_time[0],
            "sequence number": primary.creation_time[1],
            "lifetime": primary.lifetime,
            "bundle flags": int(primary.bundle_proc_flags),
            "primary CRC type": int(primary.crc_type),
            "deletion report asked for": int(
                primary.has_flag(self._bundle7.BundleProcFlag.REPORT_DELETION)
            ),
            "block types": tuple(int(block.block_type) for block in blocks),
            "block numbers": tuple(block.block_number for block in blocks),
            "block flags": tuple(int(block.block_proc_flags) for block in blocks),
            "block CRC types": tuple(int(block.crc_type) for block in blocks),
            "block sizes": tuple(len(block.data) for block in blocks),
            "payload": blocks[-1].data,
            "delete if unprocessed": _bits(blocks, flags.DELETE_BUNDLE_IF_UNPROC),
            "discard if unprocessed": _bits(blocks, flags.DISCARD_IF_UNPROC),
            "report if unprocessed": _bits(blocks, flags.REPORT_IF_UNPROC),
        }
        if primary.fragment_offset is not None:
            fields["fragment offset"] = primary.fragment_offset
            fields["total length"] = primary.total_payload_length
        return fields


def _bits(blocks: list[Any], flag: Any) -> tuple[int, ...]:
    return tuple(int(bool(block.block_proc_flags & flag)) for block in blocks)


def _endpoint(eid: Any) -> str:
    """As `interop.differential.ours.endpoint` writes it."""
    parts = eid[1]
    if eid[0] == 2 and len(parts) == 3:
        return f"ipn:{parts[0] << 32 | parts[1]}.{parts[2]}"
    return str(eid)
