"""Orbitferry: delay-tolerant transport between ground stations and compute satellites.

What an embedding program needs is here; everything is imported when it is first used, so that
importing a codec does not load a whole node.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stack.core.eid import Eid
    from stack.core.errors import ConfigError, OrbitferryError
    from stack.engines.bundle_agent import AgentConfig
    from stack.engines.ltp import LtpConfig
    from stack.fec.config import FecConfig
    from stack.node.config import LinkConfig, NodeConfig, SecurityConfig, load_config
    from stack.node.environment import Environment
    from stack.node.node import Node

__all__ = [
    "AgentConfig",
    "ConfigError",
    "Eid",
    "Environment",
    "FecConfig",
    "LinkConfig",
    "LtpConfig",
    "Node",
    "NodeConfig",
    "OrbitferryError",
    "SecurityConfig",
    "load_config",
]

_HOMES = {
    "AgentConfig": "stack.engines.bundle_agent",
    "ConfigError": "stack.core.errors",
    "Eid": "stack.core.eid",
    "Environment": "stack.node.environment",
    "FecConfig": "stack.fec.config",
    "LinkConfig": "stack.node.config",
    "LtpConfig": "stack.engines.ltp",
    "Node": "stack.node.node",
    "NodeConfig": "stack.node.config",
    "OrbitferryError": "stack.core.errors",
    "SecurityConfig": "stack.node.config",
    "load_config": "stack.node.config",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'stack' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
