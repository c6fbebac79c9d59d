"""Orbitferry: delay-tolerant transport between ground stations and compute satellites.

Begin with a node.  It is an async context manager, made from one configuration:

    import asyncio
    from pathlib import Path

    from orbitferry import Node

    async def downlink() -> None:
        async with Node.from_file("gs1.toml") as node:
            sent = await node.services.files.send("scene.tif", "dtn://sat1/")
            print(await node.services.files.wait(sent))

    asyncio.run(downlink())

What is here, by what it is for:

    run a node        Node, NodeConfig, LinkConfig, LtpConfig, SecurityConfig, load_config, run
    files and jobs    Node.services: FilesService, JobClient; JobContext and Handler for own jobs
    messages, pings   send_message, Mailbox, ping
    own services      Node.port (an AppPort), Endpoint, Delivery, Outgoing, Write
    contacts          Plan, Contact, Range, load_plan; Node.set_plan, Node.contact_discovered
    own modems        DatagramPort and Train
    data policies     DataPolicy, NodeSet, Marking, load_policy; `policy=` of what sends
    captures          LinkConfig.capture; CaptureFile for run_scenario
    simulation        load_scenario, predict, run_scenario (`pip install 'orbitferry[sim]'`)
    links, orbits     the module `orbitferry.models`; Router for the way through a plan
    own tests         run_two_nodes, run_domain_nodes: fixtures that pytest finds; two_nodes,
                      domain_nodes, run_virtual
    errors            OrbitferryError and what is derived from it

`docs/how-to-embed.md` has a program for each of these, `docs/api.md` every name with its signature.
The packages `stack`, `link_models` and `interop` are what this one is made of: they may change from
one version to the next.  ``python -m orbitferry`` is the command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stack import *  # noqa: F403

    __version__: str
else:
    import stack as _stack

    __all__ = sorted([*_stack.__all__, "__version__"])

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            return version("orbitferry")
        if name not in _stack.__all__:
            raise AttributeError(f"module 'orbitferry' has no attribute {name!r}")
        return getattr(_stack, name)

    def __dir__() -> list[str]:
        return __all__
