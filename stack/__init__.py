"""The names that an embedding program uses, in one list.  Programs import them from `orbitferry`.

Each is imported when it is first asked for, so that importing a codec does not load a whole node.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any


def lazily(
    package: str, table: str
) -> tuple[list[str], Callable[[str], str], Callable[[str], Any], Callable[[], list[str]]]:
    """What a module that passes names on consists of: `__all__`, a function that says the home of a
    name, `__getattr__` and `__dir__`.  A line of the table is a module, and names of it."""
    homes = {
        name: home for home, *names in map(str.split, table.strip().splitlines()) for name in names
    }

    def find(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(importlib.import_module(home), name)
        except ImportError as error:
            from stack.core.extras import missing_extra

            raise missing_extra(error) or error from None

    names = sorted(homes)
    return names, homes.__getitem__, find, lambda: names


if TYPE_CHECKING:  # what type checkers see; a test compares it with the table below
    from link_models.clock import run_virtual as run_virtual
    from stack.adapters.capture import CaptureFile as CaptureFile
    from stack.adapters.loop import run as run
    from stack.contacts.files import dump_plan as dump_plan
    from stack.contacts.files import load_plan as load_plan
    from stack.contacts.plan import Contact as Contact
    from stack.contacts.plan import Plan as Plan
    from stack.contacts.plan import Range as Range
    from stack.core.clock import Clock as Clock
    from stack.core.clock import dtn_from_iso as dtn_from_iso
    from stack.core.clock import dtn_from_unix as dtn_from_unix
    from stack.core.clock import dtn_to_iso as dtn_to_iso
    from stack.core.clock import unix_from_dtn as unix_from_dtn
    from stack.core.eid import Eid as Eid
    from stack.core.errors import ConfigError as ConfigError
    from stack.core.errors import DecodeError as DecodeError
    from stack.core.errors import LocalError as LocalError
    from stack.core.errors import MissingExtraError as MissingExtraError
    from stack.core.errors import OrbitferryError as OrbitferryError
    from stack.core.errors import PolicyError as PolicyError
    from stack.core.errors import SecurityError as SecurityError
    from stack.core.errors import StoreError as StoreError
    from stack.core.errors import StoreFullError as StoreFullError
    from stack.core.train import FLOW_REPAIR as FLOW_REPAIR
    from stack.core.train import FLOW_SOURCE as FLOW_SOURCE
    from stack.core.train import Train as Train
    from stack.engines.bundle_agent import AgentConfig as AgentConfig
    from stack.engines.bundle_agent import TunnelConfig as TunnelConfig
    from stack.engines.ltp import LtpConfig as LtpConfig
    from stack.fec.config import FecConfig as FecConfig
    from stack.identity import AuthorityFolder as AuthorityFolder
    from stack.identity import NodeFolder as NodeFolder
    from stack.node.config import AuditConfig as AuditConfig
    from stack.node.config import ContactsConfig as ContactsConfig
    from stack.node.config import IdentityConfig as IdentityConfig
    from stack.node.config import LinkConfig as LinkConfig
    from stack.node.config import LogConfig as LogConfig
    from stack.node.config import NodeConfig as NodeConfig
    from stack.node.config import PolicyConfig as PolicyConfig
    from stack.node.config import SecurityConfig as SecurityConfig
    from stack.node.config import StoreSection as StoreSection
    from stack.node.config import load_config as load_config
    from stack.node.environment import Environment as Environment
    from stack.node.environment import OpenPort as OpenPort
    from stack.node.node import Node as Node
    from stack.policy import DataPolicy as DataPolicy
    from stack.policy import Marking as Marking
    from stack.policy import NodeSet as NodeSet
    from stack.policy.file import load_policy as load_policy
    from stack.ports.application import AppPort as AppPort
    from stack.ports.application import BundleId as BundleId
    from stack.ports.application import Cancelled as Cancelled
    from stack.ports.application import Delivery as Delivery
    from stack.ports.application import Endpoint as Endpoint
    from stack.ports.application import Expected as Expected
    from stack.ports.application import Outgoing as Outgoing
    from stack.ports.datagram import DatagramPort as DatagramPort
    from stack.ports.store import Write as Write
    from stack.routing.router import Router as Router
    from stack.security import PolicyRule as PolicyRule
    from stack.security import new_key_file as new_key_file
    from stack.security.first_epoch import approve_request as approve_request
    from stack.services.echo import PingResult as PingResult
    from stack.services.echo import PingStats as PingStats
    from stack.services.echo import ping as ping
    from stack.services.files import FileEvent as FileEvent
    from stack.services.files import FilesConfig as FilesConfig
    from stack.services.files import FilesService as FilesService
    from stack.services.files import Inbox as Inbox
    from stack.services.files import Offer as Offer
    from stack.services.files import Prepared as Prepared
    from stack.services.files import Progress as Progress
    from stack.services.files import Received as Received
    from stack.services.jobs import CommandHandler as CommandHandler
    from stack.services.jobs import FileRef as FileRef
    from stack.services.jobs import Handler as Handler
    from stack.services.jobs import JobClient as JobClient
    from stack.services.jobs import JobContext as JobContext
    from stack.services.jobs import JobFailed as JobFailed
    from stack.services.jobs import JobLimits as JobLimits
    from stack.services.jobs import JobsConfig as JobsConfig
    from stack.services.jobs import JobState as JobState
    from stack.services.jobs import JobStatus as JobStatus
    from stack.services.jobs import RetryPolicy as RetryPolicy
    from stack.services.messages import Mailbox as Mailbox
    from stack.services.messages import send_message as send_message
    from stack.services.suite import HandlerConfig as HandlerConfig
    from stack.services.suite import Services as Services
    from stack.services.suite import ServicesConfig as ServicesConfig
    from stack.simulator import Result as Result
    from stack.simulator import Scenario as Scenario
    from stack.simulator import load_scenario as load_scenario
    from stack.simulator import parse_scenario as parse_scenario
    from stack.simulator import run_scenario as run_scenario
    from stack.simulator.domain import RunDomainNodes as RunDomainNodes
    from stack.simulator.domain import domain_nodes as domain_nodes
    from stack.simulator.sky import Prediction as Prediction
    from stack.simulator.sky import predict as predict
    from stack.simulator.testing import RunTwoNodes as RunTwoNodes
    from stack.simulator.testing import TwoNodes as TwoNodes
    from stack.simulator.testing import two_nodes as two_nodes

else:
    _NAMES = """
        link_models.clock run_virtual
        stack.adapters.capture CaptureFile
        stack.adapters.loop run
        stack.contacts.files dump_plan load_plan
        stack.contacts.plan Contact Plan Range
        stack.core.clock Clock dtn_from_iso dtn_from_unix dtn_to_iso unix_from_dtn
        stack.core.eid Eid
        stack.core.errors ConfigError DecodeError LocalError MissingExtraError OrbitferryError
        stack.core.errors PolicyError SecurityError StoreError StoreFullError
        stack.core.train FLOW_REPAIR FLOW_SOURCE Train
        stack.engines.bundle_agent AgentConfig TunnelConfig
        stack.engines.ltp LtpConfig
        stack.fec.config FecConfig
        stack.identity AuthorityFolder NodeFolder
        stack.node.config AuditConfig ContactsConfig IdentityConfig LinkConfig LogConfig
        stack.node.config NodeConfig SecurityConfig
        stack.node.config PolicyConfig StoreSection load_config
        stack.node.environment Environment OpenPort
        stack.node.node Node
        stack.policy DataPolicy Marking NodeSet
        stack.policy.file load_policy
        stack.ports.application AppPort BundleId Cancelled Delivery Endpoint Expected Outgoing
        stack.ports.datagram DatagramPort
        stack.ports.store Write
        stack.routing.router Router
        stack.security PolicyRule new_key_file
        stack.security.first_epoch approve_request
        stack.services.echo PingResult PingStats ping
        stack.services.files FileEvent FilesConfig FilesService Inbox Offer Prepared Progress
        stack.services.files Received
        stack.services.jobs CommandHandler FileRef Handler JobClient JobContext JobFailed JobLimits
        stack.services.jobs JobState JobStatus JobsConfig RetryPolicy
        stack.services.messages Mailbox send_message
        stack.services.suite HandlerConfig Services ServicesConfig
        stack.simulator Result Scenario load_scenario parse_scenario run_scenario
        stack.simulator.domain RunDomainNodes domain_nodes
        stack.simulator.sky Prediction predict
        stack.simulator.testing RunTwoNodes TwoNodes two_nodes
    """
    """Where each is: a module, and names of it."""

    __all__, home_of, __getattr__, __dir__ = lazily(__name__, _NAMES)
