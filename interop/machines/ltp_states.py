"""The states of blocks as the peer of an LTP engine sees them from outside (RFC 5326 §8), and what
leads from one to the next."""

from __future__ import annotations

from typing import Final

from interop.machines.transitions import table
from stack.wire.ltp import (
    CancelAck,
    CancelSegment,
    DataSegment,
    ReportAck,
    ReportSegment,
    Segment,
    SegmentType,
)

TO: Final = "block to the engine"
FROM: Final = "block from the engine"


def name_of(segment: Segment) -> str:
    """What happens when it comes."""
    match segment:
        case DataSegment() if segment.kind >= SegmentType.GREEN:
            return "green data"
        case DataSegment():
            return "checkpoint" if segment.is_checkpoint else "data"
        case ReportSegment():
            return "report"
        case ReportAck():
            return "report acknowledged"
        case CancelSegment():
            return "cancellation"
        case CancelAck():
            return "cancellation acknowledged"


TO_ENGINE: Final = {
    ("new", "green data"): "new",
    ("new", "data"): "open",
    ("new", "checkpoint"): "open | whole",
    ("new", "cancellation"): "cancelled",
    ("open", "green data"): "open",
    ("open", "data"): "open | whole",
    ("open", "checkpoint"): "open | whole",
    ("open", "report"): "open",
    ("open", "report acknowledged"): "open",
    ("open", "cancellation"): "cancelled",
    ("whole", "green data"): "whole",
    ("whole", "data"): "whole",
    ("whole", "checkpoint"): "whole",
    ("whole", "report"): "whole",
    ("whole", "report acknowledged"): "whole | closed",
    ("whole", "cancellation"): "cancelled",
    ("closed", "green data"): "closed",
    ("closed", "data"): "closed",
    ("closed", "checkpoint"): "closed",
    ("closed", "report"): "closed",
    ("closed", "report acknowledged"): "closed",
    ("closed", "cancellation"): "cancelled",
    ("cancelled", "green data"): "cancelled",
    ("cancelled", "data"): "cancelled",
    ("cancelled", "checkpoint"): "cancelled",
    ("cancelled", "report"): "cancelled",
    ("cancelled", "report acknowledged"): "cancelled",
    ("cancelled", "cancellation"): "cancelled",
    ("cancelled", "cancellation acknowledged"): "cancelled",
}
"""New: nothing red has reached the engine.  Open: some has.  Whole: all has, and the engine does
not know yet that its report has arrived.  Closed: it does."""

FROM_ENGINE: Final = {
    ("open", "data"): "open",
    ("open", "checkpoint"): "open",
    ("open", "report"): "reported | over",
    ("open", "cancellation"): "cancelled",
    ("reported", "data"): "reported",
    ("reported", "checkpoint"): "reported",
    ("reported", "report"): "reported | over",
    ("reported", "report acknowledged"): "reported",
    ("reported", "cancellation"): "cancelled",
    ("over", "report"): "over",
    ("over", "report acknowledged"): "over",
    ("cancelled", "report"): "cancelled",
    ("cancelled", "report acknowledged"): "cancelled",
    ("cancelled", "cancellation acknowledged"): "cancelled",
}
"""Open: the engine has heard of nothing that came.  Reported: of some.  Over: of all."""

LTP_TABLE: Final = (*table(TO, TO_ENGINE), *table(FROM, FROM_ENGINE))
