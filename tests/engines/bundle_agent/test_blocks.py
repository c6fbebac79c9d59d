"""What the blocks of one bundle say does not hang on those of the bundles before it."""

from __future__ import annotations

import pytest

from stack.engines.bundle_agent.blocks import BlockReader
from stack.engines.bundle_agent.config import AgentConfig
from stack.engines.bundle_agent.extensions import Extensions
from stack.policy import DataPolicy, NodeSet
from stack.policy.label import LABEL_FLAGS, encode_label
from stack.wire.bundle import DATA_POLICY, CanonicalBlock
from tests.engines.bundle_agent.harness import HERE, bundle_for

KR, EU = (DataPolicy(rest=NodeSet.parse(where)) for where in ("KR", "EU"))
BAD = encode_label(KR)[:-1]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_each_bundle_has_its_own_policy(kind: type) -> None:
    reader = BlockReader(AgentConfig())

    def read(*labels: bytes) -> Extensions | str:
        found = Extensions()
        blocks = [
            CanonicalBlock(DATA_POLICY, 5 + n, LABEL_FLAGS if len(label) > 1 else 0, kind(label))
            for n, label in enumerate(labels)
        ]
        refused = reader.extensions(bundle_for(HERE + "app", blocks=blocks), found, [])
        return found if refused is None else refused.words

    first = read(b"")
    assert isinstance(first, Extensions)
    assert first.policy is None
    for policy in (KR, KR, EU, KR):
        label = encode_label(policy)
        found = read(b"", b"\x01", label)
        assert isinstance(found, Extensions)
        assert (found.policy, found.label) == (policy, label)
        for other in (b"", b"\x01"):
            found = read(other)
            assert isinstance(found, Extensions)
            assert (found.policy, found.label) == (None, b"")
        assert "second data policy" in str(read(label, label))
        assert isinstance(read(BAD), str)
