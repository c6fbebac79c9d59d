"""The bundle protocol agent (RFC 9171 §5), sans-IO.

`BundleAgent` decides; it never touches the store, a link or the clock.  Its driver (a node) feeds
it bundles and outcomes, and carries out the store operations that it asks for:

    begin.py      what a start draws at random, and what the store remembers of it
    content.py    a digest of what stays the same in a bundle on its way
    admission.py  as what a bundle is stored, and what makes another one the same
    origin.py     bundles from application data units (§5.2)
    ingress.py    what arrives: checks, unknown blocks, hop limit, lifetime (§5.6)
    reception.py  what a link brings in one block goes through these steps together
    egress.py     what leaves: previous node, hop count, age, fragmentation (§5.4, §5.8)
    reports.py    status reports, rate-limited (§5.1, §6)
    shares.py     whose bundles fill the store
    custody.py    how stored bundles are let go of, and what becomes of one on which work fails
    dispatch.py   where each goes: forwarding, and the queues for services and whole data units
    parts.py      bundles that go in parts, and come together again (§5.8, §5.9)
    trail.py      what is written down of all that in the node's log
    agent.py      the life of each stored bundle from its arrival to its end
"""

from stack.engines.bundle_agent.agent import BundleAgent as BundleAgent
from stack.engines.bundle_agent.begin import Beginning as Beginning
from stack.engines.bundle_agent.begin import begin as begin
from stack.engines.bundle_agent.config import AgentConfig as AgentConfig
from stack.engines.bundle_agent.config import TunnelConfig as TunnelConfig
from stack.engines.bundle_agent.entry import Entry as Entry
from stack.engines.bundle_agent.events import Deliverable as Deliverable
from stack.engines.bundle_agent.events import Echo as Echo
from stack.engines.bundle_agent.events import Reassemble as Reassemble
from stack.engines.bundle_agent.events import TooLarge as TooLarge
from stack.engines.bundle_agent.shares import Shares as Shares
from stack.engines.bundle_agent.trail import AuditTrail as AuditTrail
