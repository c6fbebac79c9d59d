"""What data policies allow this node: to send out what its applications make, and to take in what
others send.  The rules are those of `stack.policy.gate`; here is what follows for a bundle."""

from __future__ import annotations

from dataclasses import replace

from stack.core.eid import Eid
from stack.core.errors import PolicyError
from stack.engines.bundle_agent.config import AgentConfig
from stack.policy import DataPolicy, PolicyGate
from stack.ports.application import Outgoing

NO_CLOCK = "it has an end, and this node does not know the time (trusted_clock)"
NO_LOG = (
    "it asks for a record of what is done with it, and this node keeps none (`events` in [audit])"
)
NO_DIRECTORY = "no directory of nodes says who may have it (`directory` in [policy])"


def check_leaving(
    destination: Eid,
    policy: DataPolicy,
    gate: PolicyGate | None,
    config: AgentConfig,
    now_ms: int,
    *,
    protected: bool,
    logged: bool,
) -> None:
    """Raise `PolicyError` when data of this policy may not be sent from here to a node.
    `protected`: payloads are encrypted; `logged`: this node keeps a log."""
    node = str(destination.node)
    if gate is None:
        raise PolicyError(NO_DIRECTORY)
    if why := gate.refusal(policy, delivered=False, origin=True):
        raise PolicyError(f"this data policy does not let it leave from here: {why}")
    if not gate.may_read(policy, node):
        why = gate.missing(policy, node, node)
        raise PolicyError(f"this data policy does not let it go to {node}: {why}")
    if not protected:
        raise PolicyError('data with a policy never leaves in clear (protect = "none")')
    if policy.audit and not logged:
        raise PolicyError(f"this data policy does not let it leave from here: {NO_LOG}")
    if policy.expires_ms and not config.trusted_clock:
        raise PolicyError("a policy that expires needs a node that knows the time (trusted_clock)")
    if 0 < policy.expires_ms <= now_ms:
        raise PolicyError(f"this data policy ended {now_ms - policy.expires_ms} ms ago")


def cut(outgoing: Outgoing, policy: DataPolicy, now_ms: int) -> Outgoing:
    """What is sent of what an application asks for, whose policy ends: for no longer than that."""
    left_ms = policy.expires_ms - now_ms
    return replace(outgoing, lifetime_ms=min(outgoing.lifetime_ms, left_ms))


def refusal(
    policy: DataPolicy,
    gate: PolicyGate | None,
    config: AgentConfig,
    *,
    delivered: bool,
    logged: bool,
    sealed: bool = True,
) -> str:
    """Why a bundle may not be here, or nothing; `delivered`: it is for here; `logged`: this node
    keeps a log; `sealed`: its payload is encrypted.  When its policy expires, its lifetime ends."""
    if policy.expires_ms and not config.trusted_clock:
        return NO_CLOCK
    if policy.audit and not logged:
        return NO_LOG
    if not (delivered or sealed):
        return "its payload is in clear, and so it does not pass through any node"
    return NO_DIRECTORY if gate is None else gate.refusal(policy, delivered=delivered)
