"""What may be under an epoch that has not come is told from what is forged, here and on the way."""

from __future__ import annotations

import pytest

from stack.ports.security import Opened
from stack.security.reasons import CONFLICTING, FAILED, MISSING
from stack.services.keys.service import Unsealed
from stack.wire.bundle import Bundle
from tests.security.test_bpsec import plain

BUNDLE = plain(b"sealed")
CREATED_MS = BUNDLE.primary.creation_ms


class Judge:
    """BPSec that always says the same."""

    def __init__(self, said: Opened) -> None:
        self._said = said

    def protect(self, bundle: Bundle) -> Bundle:
        return bundle

    def open(self, bundle: Bundle) -> Opened:
        return self._said

    verify = secure = open


@pytest.mark.parametrize("where", ["open", "verify"])
@pytest.mark.parametrize("began_ms", [CREATED_MS, CREATED_MS + 1])
@pytest.mark.parametrize("reason", [0, MISSING, FAILED, CONFLICTING])
def test_what_no_key_opens_waits_if_it_was_made_since_the_last_epoch_began(
    where: str, reason: int, began_ms: int
) -> None:
    said = Opened(not reason, BUNDLE if not reason else None, "no key" if reason else "", reason)
    security = Unsealed(Judge(said), {}, lambda created_ms: created_ms >= began_ms)
    judged: Opened = getattr(security, where)(BUNDLE)
    assert judged.later == (reason == FAILED and began_ms == CREATED_MS)
    assert (judged.ok, judged.bundle, judged.reason) == (said.ok, said.bundle, reason)
    assert not Unsealed(Judge(said), {}).verify(BUNDLE).later  # it has no epochs
