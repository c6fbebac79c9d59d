"""Data policies: who may read, hold and carry data, as an owner writes it and a node enforces it.

node_set.py     sets of nodes as expressions, and their algebra
eid_pattern.py  which endpoints are meant (draft-ietf-dtn-eid-pattern)
directory.py    what is known of nodes: domain, jurisdictions, roles
label.py        a policy, its form in a bundle, and the meet of two
gate.py         what a node may do under a policy
"""

from stack.policy.directory import Directory, NodeFacts
from stack.policy.gate import PolicyGate
from stack.policy.label import DataPolicy, Marking
from stack.policy.node_set import NodeSet

__all__ = [
    "DataPolicy",
    "Directory",
    "Marking",
    "NodeFacts",
    "NodeSet",
    "PolicyGate",
]
