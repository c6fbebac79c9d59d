"""Sequence numbers are reserved in the store before bundles have them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stack.core.eid import Eid
from stack.core.errors import LocalError
from stack.ports.application import Outgoing
from stack.ports.store import Write
from tests.engines.bundle_agent.harness import NEXT, NOW, Harness


@pytest.mark.parametrize("how", ["an error", "only asked", "the store fails"])
def test_a_reservation_that_was_not_written_is_asked_for_again(how: str) -> None:
    """Else a crash would have the numbers used twice."""
    harness = Harness(direct=[NEXT])
    outgoing = Outgoing(Eid.parse(NEXT + "app"), b"data", 60_000, "app")
    if how == "an error":
        with pytest.raises(LocalError):
            harness.agent.send([replace(outgoing, payload=bytes(1 << 27))], NOW)
    elif how == "only asked":
        harness.agent.check_sending(outgoing, NOW)
    else:
        harness.agent.refused(harness.agent.send([outgoing], NOW)[1])
    harness.send(NEXT + "app")
    (write,) = [op for op in harness.log if isinstance(op, Write)]
    (bundle,) = harness.held()
    assert bundle.primary.sequence < int.from_bytes(write.value or b"", "big")
