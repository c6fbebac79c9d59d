"""Worlds of several jurisdictions: the book's own view of what data policies allow.

It knows jurisdictions and sets of them, no expressions, and asks the nodes for nothing: what they
store, deliver and refuse is held against it.  A node is judged by what it takes for true itself:
one that is `mistaken` may do what was right before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from stack.policy import DataPolicy, NodeSet
from stack.policy.label import encode_label, label_of
from stack.ports.store import Place, Put
from stack.simulator.swarm.options import Options, PolicyOptions
from stack.simulator.swarm.plans import EPOCH_MS
from stack.wire.bundle import LENIENT, decode_bundle

APPLICATION_BYTES: Final = 1000
"""What services send beyond this is data of applications, not what they have to say to each
other."""


class Laws:
    """Who may do what with which data, in one run."""

    def __init__(self, options: Options) -> None:
        self.of: dict[str, PolicyOptions] = {
            f"{kind}/{one.number}": one.policy
            for kind, table in (
                ("message", options.messages),
                ("file", options.files),
                ("job", options.jobs),
            )
            for one in table
            if one.policy is not None
        }
        """The policies of things, by their names."""

        self._known: dict[bytes, tuple[PolicyOptions, str]] = {}
        """Policies by their labels; with the one node that may read it, what is only said of such
        data."""

        for each in self.of.values():
            policy = data_policy(each)
            self._known[encode_label(policy)] = each, ""
            for name in options.nodes:
                reader = NodeSet.parse(f'node:"dtn://{name}/"')
                said = replace(policy, readers=reader, expires_ms=0)
                self._known[encode_label(said)] = each, name
        self._options = options

    def view(self, node: str) -> Mapping[str, str]:
        """Under whose law a node takes the others to stand."""
        options = self._options
        return options.outdated if node in options.mistaken else options.jurisdictions

    def directory(self, node: str) -> str:
        """The directory of nodes of a node, as its operator has written it."""
        return "".join(
            f'[[node]]\nid = "dtn://{name}/"\njurisdictions = ["{law}"]\n\n'
            for name, law in self.view(node).items()
        )

    def policy(self, thing: str) -> DataPolicy | None:
        """The policy of a thing, as applications give it to their nodes."""
        policy = self.of.get(thing)
        return None if policy is None else data_policy(policy)

    def may_have(self, thing: str, node: str) -> bool:
        """Whether a node may have a thing in clear, as it sees that itself."""
        policy = self.of.get(thing)
        return policy is None or self.may_read(policy, node, node)

    def may_read(self, policy: PolicyOptions, node: str, by: str) -> bool:
        """Whether a node may have it in clear, as node `by` sees it."""
        law = self.view(by)[node]
        return law in policy.readers and law in policy.rest

    def may_carry(self, policy: PolicyOptions, node: str, by: str) -> bool:
        """Whether it may pass it on, as node `by` sees it."""
        law = self.view(by)[node]
        return law in policy.transit and law in policy.rest

    def may_send(self, thing: str, source: str, destination: str) -> bool:
        """Whether an application may send a thing: its node refuses it else."""
        policy = self.of.get(thing)
        if policy is None:
            return True
        if policy.expires_s and source in self._options.clockless:
            return False  # it cannot tell when that is
        own = self.view(source)[source]
        return own in policy.rest and self.may_read(policy, destination, source)

    def carriers(self, thing: str, source: str, destination: str) -> frozenset[str] | None:
        """The nodes that a thing may be at between two nodes whatever anybody takes for true; None
        when it need not arrive at all."""
        options, policy = self._options, self.of.get(thing)
        if policy is None:
            return frozenset(options.nodes)
        if policy.expires_s and options.clockless:
            return None  # who does not know the time takes nothing that has an end
        for name in options.nodes:
            laws = {options.jurisdictions[name]}
            if options.mistaken:
                laws.add(options.outdated[name])
            roles = {
                (law in policy.readers and law in policy.rest, law in policy.transit)
                for law in laws
            }
            if len(roles) > 1:
                return None  # somebody will send it where it is refused, again and again
        ends = [(source, destination)]
        if not thing.startswith("message/"):
            ends.append((destination, source))  # answers are under its policy, too
        if not all(self.may_send(thing, *pair) for pair in ends):
            return None
        return frozenset(name for name in options.nodes if self.may_carry(policy, name, name)) | {
            source,
            destination,
        }

    def ended(self, thing: str, now_ms: int) -> bool:
        """Whether nobody may hold a thing any more, at a DTN time."""
        policy = self.of.get(thing)
        return policy is not None and 0 < policy.expires_s <= (now_ms - EPOCH_MS) / 1000

    def stored(self, node: str, put: Put, thing: str) -> list[tuple[str, str]]:
        """What is wrong with a bundle that comes to rest at a node, as (invariant, text); `thing`
        is the message that an application there has just sent in it, if it is one."""
        bundle, _ = decode_bundle(put.encoded, mode=LENIENT)
        label = label_of(bundle.blocks)
        own = put.source.startswith(f"dtn://{node}/")
        expected = self.of.get(thing)
        if expected is not None and self._known.get(label) != (expected, ""):
            return [("label", f"{node} sends {thing} without the label of its policy")]
        policy, reader = self._known.get(label, (None, ""))
        large = own and len(bundle.payload.data) > APPLICATION_BYTES
        if (reader or not label) and large and not put.destination.endswith("/swarm"):
            what = f"{node} sends data to {put.destination} without the label of any policy"
            return [("label", what)]
        if policy is None:
            nobodys = f"{node} has a bundle of a policy that nobody has made"
            return [("label", nobodys)] if label and own else []
        law = self.view(node)[node]
        what = f"{node} ({law}) has a bundle for {put.destination} that may"
        found = []
        if law not in policy.rest:
            found.append(("rest", f"{what} rest at {policy.rest}"))
        reads = node == reader if reader else law in policy.readers
        if put.place is not Place.FORWARD and not reads:
            found.append(("readers", f"{what} be read at {policy.readers}"))
        if put.place is Place.FORWARD and not own and law not in policy.transit:
            found.append(("transit", f"{what} pass through {policy.transit}"))
        return found


def data_policy(options: PolicyOptions) -> DataPolicy:
    """The policy as applications give it to their nodes."""
    sets = [
        NodeSet.parse(" | ".join(sorted(names)) or "none")
        for names in (options.readers, options.rest, options.transit)
    ]
    expires_ms = EPOCH_MS + round(options.expires_s * 1000) if options.expires_s else 0
    return DataPolicy(readers=sets[0], rest=sets[1], transit=sets[2], expires_ms=expires_ms)
