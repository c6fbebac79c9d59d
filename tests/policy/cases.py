"""Node sets, nodes and policies to draw from: few names, so that they meet."""

from __future__ import annotations

from hypothesis import strategies as st

from stack.core.eid import Eid
from stack.policy import DataPolicy, Marking, NodeFacts, NodeSet

NAMES = ("KR", "EU", "US-CA", "domain:kari", "role:relay", "any", "none")
NODES = ("dtn://kiruna/", "dtn://daejeon/", "ipn:5.0", "ipn:977.12.0")
PATTERNS = ("dtn://kiruna/", "dtn://*/**", "ipn:[1-9].0", "ipn:977.[10+].*", "ipn:**")

atoms = st.sampled_from(NAMES) | st.sampled_from([f"node:{pattern}" for pattern in PATTERNS])
texts = st.recursive(
    atoms,
    lambda inner: st.builds(
        lambda a, mark, b: f"({a}) {mark} ({b})", inner, st.sampled_from("|&-"), inner
    ),
    max_leaves=6,
)
sets = texts.map(NodeSet.parse)
nodes = st.builds(
    NodeFacts,
    st.sampled_from(NODES).map(Eid.parse),
    st.sampled_from(["", "kari", "esa"]),
    st.frozensets(st.sampled_from(["KR", "EU", "SE", "US", "US-CA"]), max_size=3),
    st.frozensets(st.sampled_from(["relay", "compute"])),
)
markings = st.builds(
    Marking,
    st.sampled_from(["NATO", "KR-MSIT"]),
    st.sampled_from(["SECRET", "RESTRICTED"]),
    st.lists(st.sampled_from(["A", "B", "일"]), max_size=3).map(tuple),
    st.sampled_from([0, 1, 2**64 - 1]),
)
policies = st.builds(
    DataPolicy,
    readers=sets,
    rest=sets,
    transit=sets,
    expires_ms=st.sampled_from([0, 1, 830_000_000_000, 2**64 - 1]),
    audit=st.booleans(),
    markings=st.frozensets(markings, max_size=3),
)
