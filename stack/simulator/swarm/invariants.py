"""What must hold in every run, whatever strikes it; the checks at its end.

Some are looked at while it runs: `custody`, `clear` and `quota` at each commit and datagram
(`stack.simulator.swarm.ledger`, `disk`), `altered` and `misdelivered` at each delivery
(`stack.simulator.swarm.work`), `timers` now and then, `error` at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from stack.engines.bundle_agent.permission import NO_CLOCK
from stack.ports.store import Place
from stack.simulator.swarm.air import LinkPort
from stack.simulator.swarm.faults import BACKUP, DRIFT, STEP
from stack.simulator.swarm.inject import Injector
from stack.simulator.swarm.ledger import MARKER, unit_of
from stack.simulator.swarm.options import MessageOptions
from stack.simulator.swarm.plans import EPOCH_MS
from stack.simulator.swarm.work import ExpectedWork
from stack.simulator.swarm.world import SwarmWorld

INVARIANTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "lost": "what an application was told is safe arrives, unless its lifetime ended, a full "
        "store preferred something more urgent, or a bit of it flipped",
        "twice": "nothing is delivered twice",
        "altered": "nothing is delivered that was not sent exactly so",
        "misdelivered": "nothing is delivered elsewhere",
        "custody": "a node forgets a bundle in transit only when a neighbour has it on its disk",
        "clear": "no plaintext on a link, in a store, or in a file of a node that is no reader",
        "readers": "nothing is in clear where its data policy does not name the node as a reader",
        "rest": "nothing is stored where its data policy does not let it rest",
        "transit": "no node passes on what its data policy does not let through it",
        "hop": "no node gives a neighbour what that has to refuse for its data policy",
        "label": "what has a data policy travels with it, also results of jobs",
        "refused": "a node refuses its applications what a data policy forbids, and no more",
        "ended": "nothing is kept when its data policy has ended",
        "audit": "where data has policies, the log of a node says what came to rest there, what "
        "went to whom and what was refused, in order and no more; its checkpoints are of it",
        "quota": "stores and queues stay within their limits",
        "forged": "a link with authentication takes only what its neighbour has sent",
        "nonces": "no key and nonce of AES-GMAC sign two segments, whatever restarts",
        "work": "a link answers with no more than some times what it hears",
        "unaccounted": "datagrams and bundles come out as they went in: delivered, dropped for a "
        "counted reason, or still there; node and store agree on what is held",
        "error": "no exception, no failed service",
        "timers": "timers are few, and none is overdue",
        "stuck": "nodes stop when told to, and virtual time goes on",
    }
)
"""Every invariant, and what it says."""

ENDED_MS: Final = 60_000
"""After this time what has to go is gone."""

OVERDUE_NS: Final = 60 * 10**9
"""An engine that has been ready for so long is not being driven."""

TIMERS_MAX: Final = 200
"""Timers of a node at once: two or three for each link, and those of things under way."""


ANSWERS_PER_OCTET: Final = 4
ANSWERS_BYTES: Final = 200_000
"""Octets of LTP's control segments that a link may send for each octet that it hears, beyond
these."""


def check_work(world: SwarmWorld) -> None:
    """Cheap enough for now and then: what strangers can make links do."""
    for (a, b), end in world.ends.items():
        world.ledger.checks["work"] += 1
        if end.answers_bytes > ANSWERS_BYTES + ANSWERS_PER_OCTET * end.heard_bytes:
            what = f"{a} has answered {end.heard_bytes} octets of {b} with {end.answers_bytes}"
            world.problem("work", what)


def check_timers(world: SwarmWorld) -> None:
    """Cheap enough for now and then."""
    world.ledger.checks["timers"] += 1
    waiting = world.loop.timers()
    most = TIMERS_MAX * len(world.options.nodes)
    if waiting > most:
        world.problem("timers", f"{waiting} timers wait, more than {most}")


def overdue(world: SwarmWorld) -> set[tuple[str, str, int]]:
    """(node, link, deadline) of engines that could do something and have not been driven.  Right
    at the beginning of a contact that is as it should be: look again a little later."""
    found = set()
    for name, life in world.lives.items():
        now = world.clocks[name].now()
        for link in life.node.links.values():
            due = link.engine.next_deadline()
            if due is not None and link.up and due < now - OVERDUE_NS:
                found.add((name, link.name, due))
    return found


def check_books(world: SwarmWorld) -> None:
    """Nodes and their stores agree; queues are within limits.  While the nodes run."""
    for name, life in world.lives.items():
        world.ledger.checks["unaccounted"] += 1
        node = life.node
        agent = life.agent
        stored = {one.ref for one in world.disks[name].scan()}
        known = set(agent.entries)
        if known - stored:
            refs = sorted(known - stored)[:5]
            world.problem("unaccounted", f"{name} counts on bundles {refs} that its store lacks")
        if stored - known:
            refs = sorted(stored - known)[:5]
            world.problem("unaccounted", f"{name} stores bundles {refs} that it has forgotten")
        booked = set(world.disks[name].held.bundles)
        if booked != stored:
            refs = sorted(booked ^ stored)[:5]
            world.problem("unaccounted", f"the store of {name} and its operations differ in {refs}")
        waiting = [one for one in agent.entries.values() if one.place is Place.FORWARD]
        if {one.ref for one in waiting if one.key} != set(agent.own):
            world.problem("unaccounted", f"{name} has lost track of what was sent from it")
        forward = sum(entry.size for entry in waiting)
        world.ledger.checks["quota"] += 1
        if node.waiting_bytes > forward:
            world.problem(
                "quota", f"{name} queues {node.waiting_bytes} octets, and has {forward} to forward"
            )


def check_laws(world: SwarmWorld, expected: ExpectedWork) -> None:
    """Nothing went where it had to be refused; what had to go has gone.  While the nodes run."""
    options, laws = world.options, expected.laws
    if options.jurisdictions and not (options.hostile or options.mistaken):
        world.ledger.checks["hop"] += 1
        for name, disk in world.disks.items():
            for why in disk.chronicle.not_permitted:
                if NO_CLOCK not in why:  # no other node knows that of it
                    world.problem("hop", f"{name}: {why}")
    if any(fault.kind in (DRIFT, STEP, BACKUP) for fault in options.faults):
        return  # whoever's clock was wrong has ended things early, or late
    for unit, thing in world.ledger.units.items():
        if laws.ended(thing, world.clocks[options.nodes[0]].dtn_ms() - ENDED_MS):
            world.ledger.checks["ended"] += 1
            for name in _holders(world, unit):
                world.problem("ended", f"{name} still has {thing}, whose policy has ended")


def check_logs(world: SwarmWorld) -> None:
    """Nodes have written down what happened, and nothing else.  While the nodes run."""
    if not world.options.jurisdictions:
        return
    chronicles = {name: disk.chronicle for name, disk in world.disks.items()}
    for name, disk in world.disks.items():
        world.ledger.checks["audit"] += 1
        for text in disk.problems_of_log(chronicles):
            world.problem("audit", f"{name}: {text}")


def check_nonces(world: SwarmWorld) -> None:
    """No process has signed with what another had, or it itself."""
    for (a, b), end in world.ends.items():
        if end.nonces is not None:
            world.ledger.checks["nonces"] += end.nonces.count
            if end.nonces.repeated:
                text = f"{a} has signed {end.nonces.repeated} segments for {b} with used nonces"
                world.problem("nonces", text)


def check_genuine(world: SwarmWorld) -> None:
    """Links with authentication have taken nothing else.  While the nodes run."""
    for (a, b), end in world.ends.items():
        life = world.lives.get(a)
        if end.genuine is None or life is None:
            continue
        world.ledger.checks["forged"] += 1
        link = life.node.links[b]
        assert isinstance(link.port, LinkPort)
        taken, genuine = link.engine.count("segments_received"), link.port.genuine
        if taken > genuine:
            text = f"{a} took {taken} segments as of {b}, of whose only {genuine} have arrived"
            world.problem("forged", text)


def check_end(
    world: SwarmWorld, expected: ExpectedWork, due: Collection[str], injector: Injector
) -> None:
    """What became of everything that was promised; `due` is what must have arrived."""
    ledger = world.ledger
    for thing, count in sorted(ledger.got.items()):
        ledger.checks["twice"] += 1
        message = expected.messages.get(thing)
        if (
            count > 1
            and thing not in injector.set_back
            and not (message and _outlived(world, message.destination, message))
        ):
            world.problem("twice", f"{thing} was delivered {count} times")
    units = {thing: unit for unit, thing in ledger.units.items()}
    for thing in sorted(ledger.accepted):
        ledger.checks["lost"] += 1
        if ledger.got.get(thing) or thing in injector.set_back:
            continue
        message = expected.messages.get(thing)
        if message is None:
            if thing in due:
                world.problem("lost", f"{thing} was accepted, and never arrived")
            continue
        unit = units.get(thing, b"")
        if ledger.gone.get(unit) or unit in injector.hit:
            continue
        where = _holders(world, unit)
        if thing in due:
            text = f"it is still at {', '.join(where)}" if where else "nobody has it any more"
            world.problem("lost", f"{thing} was accepted, and never arrived; {text}")
        elif not where and not any(_outlived(world, name, message) for name in world.disks):
            world.problem("unaccounted", f"{thing} did not arrive, for no reason that was recorded")


def _holders(world: SwarmWorld, unit: bytes) -> list[str]:
    """The nodes whose disks have a part of a unit."""
    return [
        name
        for name, disk in world.disks.items()
        if any(unit_of(key) == unit for key, *_ in disk.held.bundles.values())
    ]


def _outlived(world: SwarmWorld, name: str, message: MessageOptions) -> bool:
    """Whether a node's clock has ever been past the end of a message's lifetime: then it has
    forgotten that it had it."""
    end_s = message.at_s + message.lifetime_s
    if message.policy is not None and message.policy.expires_s:
        end_s = min(end_s, message.policy.expires_s)
    end_ms = EPOCH_MS + round(end_s * 1000)
    return world.clocks[name].latest_ms > end_ms


def check_links(world: SwarmWorld) -> None:
    """Every datagram is accounted for; when nothing is under way any more."""
    for (a, b), end in sorted(world.ends.items()):
        world.ledger.checks["unaccounted"] += 1
        lines = end.problems()
        delivered = end.port.channel.counters()["delivered_datagrams"]
        if world.arrived[end.port.name] != delivered:
            lines.append(f"{delivered} delivered, {world.arrived[end.port.name]} arrived")
        for line in lines:
            world.problem("unaccounted", f"datagrams from {a} to {b}: {line}")


def check_files(world: SwarmWorld, expected: ExpectedWork) -> None:
    """No plaintext in the files of nodes that may not read it."""
    if not world.options.protect:
        return
    for name, disk in world.disks.items():
        for path in sorted(disk.directory.rglob("*")):
            if not path.is_file():
                continue
            world.ledger.checks["clear"] += 1
            octets = path.read_bytes()
            at = octets.find(MARKER)
            while at >= 0:
                words = octets[at + len(MARKER) :][:24].split(b" ", 1)
                thing = words[0].decode("ascii", "replace")
                if len(words) == 2 and name not in _readers(expected, thing):
                    world.problem(
                        "clear", f"{name} has {thing} in {path.name}, and may not read it"
                    )
                    break
                at = octets.find(MARKER, at + 1)


def _readers(expected: ExpectedWork, thing: str) -> set[str]:
    for table in (expected.messages, expected.files, expected.jobs):
        if thing in table:
            return {table[thing].source, table[thing].destination}
    return set()
