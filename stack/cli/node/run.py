"""`orbitferry node`: run a node until it is told to stop."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stack.cli.common import PCAP_LIMIT, Json, PcapFile, PcapLimit, PcapLinks, check_pcap_limit
from stack.cli.node.limits import check_limits
from stack.cli.node.secrecy import keep_secrets
from stack.core.errors import ConfigError

if TYPE_CHECKING:
    from stack.node.config import NodeConfig


def node(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The node's configuration.")],
    pcap: PcapFile = None,
    pcap_limit: PcapLimit = PCAP_LIMIT,
    pcap_links: PcapLinks = None,
    as_json: Json = False,
) -> None:
    """Run a node.

    It prints one line when it is ready, and logs one JSON object a line on standard error (or in
    the file that the configuration names). Ctrl-C, SIGTERM and `orbitferry stop` end it cleanly,
    with exit code 0; nothing that it has acknowledged is lost however it ends.

    \b
    Examples:
      orbitferry node node.toml
      orbitferry node /etc/orbitferry/gs1.toml --json
      orbitferry node node.toml --pcap pass.pcapng --pcap-link sat1
    """
    keep_secrets()
    check_limits()  # before libraries are loaded that end in tracebacks of their own
    from stack.adapters.loop import run
    from stack.cli.node.serve import serve_node
    from stack.node.config import load_config

    loaded = load_config(config)
    if loaded.log.level == "auto":
        loaded = dataclasses.replace(loaded, log=dataclasses.replace(loaded.log, level="info"))
    if pcap is not None:
        loaded = captured_links(loaded, pcap, pcap_limit, pcap_links)
    check_limits(len(loaded.links))
    run(serve_node(loaded, as_json))


def captured_links(
    config: NodeConfig, path: Path, limit: int, links: list[str] | None
) -> NodeConfig:
    """The same node with these links captured, or all of them.  Raises `ConfigError`."""
    check_pcap_limit(limit)
    known = [link.name for link in config.links]
    for link in links or ():
        if link not in known:
            raise ConfigError("--pcap-link", f"no link {link!r}", f"one of {', '.join(known)}")
    return dataclasses.replace(
        config,
        links=tuple(
            dataclasses.replace(link, capture=str(path.absolute()), capture_bytes=limit)
            if not links or link.name in links
            else link
            for link in config.links
        ),
    )
