"""A link at work: bundles from the queue into LTP, blocks from LTP into the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

from stack.adapters.runner import Runner
from stack.core.clock import MILLISECOND, Clock
from stack.core.errors import DecodeError, StoreError, words_of
from stack.core.sansio import Entropy, Trace
from stack.core.train import Buffer, Train
from stack.engines.bundle_agent.ingress import Arrival
from stack.engines.bundle_agent.links import LinkNotes
from stack.engines.ltp import (
    BlockReceived,
    EngineUnknown,
    Failed,
    GreenReceived,
    LinkAlive,
    LinkStalled,
    LtpEngine,
    LtpEvent,
    PeerViolation,
    ReportHeld,
    SessionClosed,
    capsule_client,
)
from stack.engines.ltp.authentication import Authenticator
from stack.engines.ltp.coding import FecShim
from stack.engines.ltp.cookies import Cookies
from stack.engines.ltp.driver import LtpDriver, Shim
from stack.node.arrivals import store_each
from stack.node.config import LinkConfig
from stack.node.driver import BundleDriver
from stack.node.guard import Guard, is_foreign, is_shut_by, is_trusted
from stack.node.neighbour import Neighbour
from stack.node.refusals import Refusals
from stack.ports.datagram import DatagramPort
from stack.ports.store import Committed, Write
from stack.routing.forwarder import Forwarder
from stack.security import KeyRing
from stack.wire.ltp import CLIENT_BP, CLIENT_SDA, SessionId

Asking = BlockReceived | ReportHeld
"""Events that LTP wants an answer to."""

SPACE = "ltp"
"""The space of durable state that holds the sessions on which this node has reported."""


LinkHealth = Literal["down", "open", "up", "silent", "shut"]


class Link:
    """One neighbour, reached by BP over LTP (over FECFRAME) over datagrams."""

    def __init__(
        self,
        config: LinkConfig,
        engine: LtpEngine,
        port: DatagramPort,
        driver: BundleDriver,
        clock: Clock,
        trace: Trace,
        *,
        shim: FecShim | None = None,
        authenticator: Authenticator | None = None,
        cookies: Entropy | None = None,
        share: float = 1.0,
    ) -> None:
        """`cookies` makes their values; without it there are none.  `share` is the part of the
        link's rate that LTP may use; coding takes the rest."""
        self.config = config
        self.name = config.name
        self.peer = config.peer
        self.engine = engine
        self.port = port
        self.shim = shim
        self._share = share
        self.up = False
        self._asked_since = 0
        self.neighbour = Neighbour(config, trace)
        port.on_stranger = self.neighbour.stranger
        self._state: tuple[bool, bool, float | None] | None = None
        self._driver = driver
        self._forwarder: Forwarder = driver.agent.forwarder
        self._clock = clock
        self._trace = trace
        self.trusted = is_trusted(config, authenticator)
        self.guard: Guard | None = None
        if authenticator is not None:
            self.guard = Guard(authenticator, shim, self.neighbour.unauthentic)
        self.cookies = None if cookies is None else Cookies(cookies, self.guard or shim)
        self._ltp = LtpDriver(
            engine,
            self,
            shim=self.cookies or self.guard or shim,
            attempt=driver.attempt,
            hold=Refusals().hold,
        )
        self._runner = Runner(self._ltp, port, clock)
        self._aside = False
        self._notes = driver.agent.links.add(self.peer)

    def set_contact(
        self, now: int, *, tx_up: bool, rx_up: bool, rate_bps: float | None, owlt_ns: int
    ) -> None:
        """The contact plan, or the configuration of an unscheduled link, says so."""
        changed = tx_up != self.up
        self.up = tx_up
        if rate_bps is not None:
            rate_bps *= self._share
        self.engine.link(now, tx_up=tx_up, rx_up=rx_up, rate_bps=rate_bps, owlt_ns=owlt_ns)
        _note(self, self._notes)
        state = (tx_up, rx_up, rate_bps)
        if state == self._state:
            return  # a new light time alone gives the engine nothing to do
        self._state = state
        if changed:
            self._asked_since = now
            (self._driver.subscribe if tx_up else self._driver.unsubscribe)(self._progress)
            rate = rate_bps or 0.0
            fields = {"link": self.name, "rate_bps": rate, "owlt_ms": owlt_ns / MILLISECOND}
            self._trace("link_up" if tx_up else "link_down", fields)
            if not tx_up:
                _went_down(self.peer, self._driver, self._clock.dtn_ms())
        self._runner.wake()

    def withdraw(self, *, begun: bool = False) -> None:
        """What LTP has taken and sent nothing of waits again; with `begun` all that it has."""
        self._driver.give_back(self.engine.withdraw(begun=begun), self.peer)
        if begun:
            self._runner.wake()

    @property
    def state(self) -> LinkHealth:
        """Shut, when authentication lets nothing pass, whatever the plan says; down; open, with
        nothing heard since it opened or was silent; up; or silent, when the peer has stopped
        answering."""
        if self.guard is not None and self.guard.state == "shut":
            return "shut"
        if not self.up:
            return "down"
        if self.engine.stalled:
            return "silent"
        return "up" if self.engine.heard_at >= self._asked_since else "open"

    @property
    def hints(self) -> list[str]:
        """What was dropped or not answered, and what to change."""
        answered = self.engine.count("reports_received") > 0
        neighbour, guard = self.neighbour, self.guard
        told = neighbour.authentication(guard.counters(), guard.state) if guard is not None else []
        if self.cookies is not None:
            told += neighbour.cookies(self.cookies.counters())
        return [*neighbour.hints, *told, *([] if answered else neighbour.silence)]

    def figures(self) -> dict[str, int]:
        """Counters and gauges of this link by layer: `ltp.`, `cookie.`, `auth.`, `fec.`, `udp.`."""
        return _figures(self)

    async def close(self) -> None:
        """Stop; unfinished sessions are taken up by the next start of the node."""
        try:
            await self._runner.close()
        except Exception as error:  # somebody else's port: all else is to be closed, too
            self._trace("work_failed", {"what": f"close {self.name}", "why": words_of(error)})

    def _progress(self) -> None:
        if self.up and (self._notes.useless or self._forwarder.waiting(self.peer)):
            self._runner.wake()

    # ---- what the bundle driver sees of a link ---------------------------------------------

    @property
    def unit_bytes(self) -> int:
        """Bundles larger than this should go in parts; 0 for any size."""
        return self.engine.unit_bytes

    @property
    def unit_bytes_max(self) -> int:
        """Octets of the largest bundle that it can carry."""
        return self.engine.block_bytes_max

    def room(self, now: int) -> int:
        """Octets that it takes now: one unit, if that is only to ask if the neighbour is back."""
        room = self.engine.room()
        return min(room, int(not self.engine.held_bytes)) if self._notes.gives_way else room

    def submit(self, encoded: Buffer, ref: int, now: int, *, alone: bool) -> None:
        """Carry a bundle reliably, in the company of others unless it is to go `alone`."""
        if alone:
            self.engine.submit_block([encoded], [ref], len(encoded), CLIENT_BP)
        else:
            self.engine.submit(encoded, ref, now)

    # ---- what the LTP driver sees of a link --------------------------------------------------

    def take(self, event: LtpEvent, now: int) -> None:
        """What LTP has to say."""
        if isinstance(event, BlockReceived):
            self._block(event)
        elif isinstance(event, Failed):
            self._failed(event)
        elif isinstance(event, ReportHeld):
            self._note(event)
        elif isinstance(event, SessionClosed):
            self._driver.submit([Write(SPACE, self._key(event.session), None)])
        elif isinstance(event, GreenReceived):
            self._green(event)
        elif isinstance(event, PeerViolation):
            fields = {"link": self.name, "code": event.code, "section": event.section}
            self._trace("peer_violation", fields)
        elif isinstance(event, EngineUnknown):
            self.neighbour.engine(event)
        elif isinstance(event, LinkStalled | LinkAlive):
            self._heard(event, now)

    def sent(self, refs: Sequence[int], now: int) -> None:
        """The neighbour has these bundles."""
        agent, now_ms = self._driver.agent, self._clock.dtn_ms()
        agent.forwarded(refs, now_ms, self.peer)
        if self._aside:
            self._aside = False
            agent.contact_ended(self.peer, now_ms)
        self._driver.run_pending()

    def give_back(self, refs: Sequence[int], *, failed: bool) -> None:
        """Have them wait again.  If the neighbour has them already, it knows them again."""
        self._driver.give_back(refs, self.peer, failed=failed)

    def fill(self, now: int) -> None:
        """Give LTP what waits for this neighbour, and have it let go of what is of no use."""
        if self._notes.useless:
            self.engine.cancel(self._notes.take())
        if self.up and _fill(self, self._driver, self._notes.gives_way, now):
            self._runner.wake()

    def send(self, trains: list[Train]) -> bool:
        """Send what comes out of it."""
        return self.port.send(trains) is not False  # one that says nothing has no queue

    def _failed(self, event: Failed) -> None:
        fields = {"link": self.name, "bundles": len(event.refs), "why": str(event.reason)}
        self._trace("ltp_session_failed", fields)
        # What was refused may have been damaged in memory: next time it comes from the store.
        for ref in event.refs:
            self._driver.octets.forget(ref)
        aside = self._driver.give_back(event.refs, self.peer, failed=True)
        self._set_aside(aside, event.reason)
        self._driver.run_pending()

    def _heard(self, event: LinkStalled | LinkAlive, now: int) -> None:
        """The neighbour fell silent, in its contact if the link is scheduled, or is heard again."""
        agent, now_ms = self._driver.agent, self._clock.dtn_ms()
        scheduled, stalled = self.config.scheduled, isinstance(event, LinkStalled)
        _note(self, self._notes)
        if stalled and self.up:  # before the others, which would leave it nothing to ask with
            self._asked_since = now
            self._driver.subscribe(self._progress, first=True)
        if stalled and scheduled:
            self.withdraw()
        if scheduled:
            (agent.contact_failed if stalled else agent.contact_restored)(self.peer, now_ms)
        self._driver.run_pending()
        self._trace("link_stalled" if stalled else "link_alive", {"link": self.name})
        if stalled and not self.engine.count("reports_received"):
            self.neighbour.unanswered()

    def _set_aside(self, refs: list[int], reason: int) -> None:
        """Refused too often by this neighbour, these go another way, or wait until it takes any."""
        if refs:
            self._aside = True
            self._driver.agent.set_aside(refs, self.peer, self._clock.dtn_ms())
            fields = {"link": self.name, "bundles": len(refs), "why": str(reason)}
            self._trace("bundles_set_aside", fields)

    # ---- blocks ----------------------------------------------------------------------------

    def _block(self, event: BlockReceived) -> None:
        """Store the bundles of a block; only then does LTP report it as received."""
        agent = self._driver.agent
        now_ms = self._clock.dtn_ms()
        data = event.data
        arrivals: list[Arrival] = []
        offset = 0
        whole = True
        aggregated = event.client_service == CLIENT_SDA
        while offset < len(data):
            if aggregated:
                try:
                    client, offset = capsule_client(data, offset)
                except DecodeError:
                    agent.counters["dropped_malformed"] += 1
                    whole = False
                    break
                if client != CLIENT_BP:
                    # Nobody here takes it, or a bit has flipped: in neither case it was received.
                    agent.counters["dropped_unknown_client"] += 1
                    whole = False
                    break
            arrival = agent.read(data, offset)
            arrivals.append(arrival)
            offset = arrival.end
        puts, intact, at_once = agent.receive_all(arrivals, now_ms, self.peer, trusted=self.trusted)
        if puts:
            stored = partial(self._stored, event, intact and whole, at_once and whole)
            store_each(self._driver.submit, puts, stored)
        else:
            self._answer(event, intact and whole, at_once and whole, Committed([]))
            self._driver.run_pending()

    def _stored(
        self, event: Asking, intact: bool, at_once: bool, outcome: Committed | StoreError
    ) -> None:
        """The rest of the work that an event asks for, after the store has spoken."""
        self._ltp.do(event, self._clock.now(), self._answer, event, intact, at_once, outcome)
        self._runner.wake()

    def _answer(
        self, event: Asking, intact: bool, at_once: bool, outcome: Committed | StoreError
    ) -> None:
        """Acknowledge a block, unless something of it could not be kept: then its sender tries
        again, `at_once` where that will do, and what we have of it is recognised as a duplicate."""
        stored = not isinstance(outcome, StoreError) and outcome.kept_all
        self._ltp.answer(event, intact and stored, self._clock.now(), at_once=at_once and stored)

    def _green(self, event: GreenReceived) -> None:
        """Green data is unreliable: a bundle is taken only if one segment holds all of it."""
        agent = self._driver.agent
        if event.offset != 0 or not event.eob:
            agent.counters["dropped_green"] += 1
            return
        now_ms = self._clock.dtn_ms()
        received = agent.receive(event.data, now_ms, 0, self.peer, trusted=self.trusted)
        if received.put is not None:
            self._driver.submit([received.put])
        else:
            self._driver.run_pending()

    # ---- sessions on which we have reported --------------------------------------------------

    def _key(self, session: SessionId) -> str:
        return f"{self.name}/{session}"

    def _note(self, event: ReportHeld) -> None:
        """A claim may leave only once a restart would remember that it was made."""
        note = Write(SPACE, self._key(event.session), b"")
        self._driver.submit([note], partial(self._stored, event, True, False))

    def recover(self, notes: list[str], now: int) -> None:
        """After a restart: sessions on which we had reported and which are now lost."""
        self._ltp.recover(_noted(self.name, notes), now)


def _note(link: Link, notes: LinkNotes) -> None:
    """Say whether a link carries anything."""
    stalled = link.engine.stalled
    notes.idle = not link.up or stalled
    notes.silent = link.up and stalled and link.config.scheduled


def _went_down(peer: str, driver: BundleDriver, now_ms: int) -> None:
    """A link is down.  If others to that neighbour are silent in a contact, that is of no use."""
    if driver.agent.links.silent(peer):
        driver.agent.contact_failed(peer, now_ms)
        driver.run_pending()


def _figures(link: Link) -> dict[str, int]:
    found = {f"ltp.{key}": value for key, value in link.engine.counters().items()}
    layers: list[Shim | None] = [link.cookies, link.guard, link.shim]
    for name, layer in zip(("cookie", "auth", "fec"), layers, strict=True):
        if layer is not None:
            found |= {f"{name}.{key}": value for key, value in layer.counters().items()}
    try:
        found |= {f"udp.{key}": int(value) for key, value in link.port.counters().items()}
    except Exception:  # somebody else's port: the others' counters do not hang on it
        found["udp.unreadable"] = 1
    return found


def _fill(link: Link, driver: BundleDriver, gives_way: bool, now: int) -> bool:
    """Give the engine of a link what waits; whether the link wants another turn at once.

    If its neighbour is silent there and another link carries, that one gets what this one holds.
    Cancellations ask whether the neighbour is back; when these have been given up, probes do, and
    one bundle, which is taken back as soon as it is under way."""
    engine = link.engine
    if not gives_way:
        # With nothing to answer a neighbour stays silent, and nothing new may be routed to it.
        anew = engine.stalled and not engine.asking
        if anew:
            engine.begin_anew()
            engine.probe(now)
        driver.send(link.peer, link, now)
        return anew
    if engine.held_bytes and engine.asking:
        link.withdraw(begun=True)
        driver.run_pending()
        return False
    if engine.held_bytes or engine.asking:
        return False
    engine.probe(now)
    driver.send(link.peer, link, now)
    return engine.held_bytes > 0


def _noted(link: str, notes: list[str]) -> list[SessionId]:
    """The sessions of a link among the keys of what is noted."""
    keys = (key.rpartition("/") for key in notes)  # the name of a link may have a "/", too
    sessions = (session.split(".") for name, _, session in keys if name == link)
    return [SessionId(int(origin), int(number)) for origin, number in sessions]


def rekey(links: Mapping[str, Link], node: str, keys: KeyRing) -> set[str]:
    """Have links choose their keys of authentication anew; the neighbours whom those that are not
    trusted have after that."""
    for link in links.values():
        if link.guard is not None and link.guard.follow(link.config, node, keys):
            link.trusted = is_trusted(link.config, link.guard.authenticator)
            link.neighbour.rekeyed(link.guard.state, foreign=is_foreign(link.config, keys))
    return {link.peer for link in links.values() if not link.trusted}


def keyed_links(links: Mapping[str, Link]) -> list[LinkConfig]:
    """What is configured of the links that have keys."""
    found = links.values()
    return [one.config for one in found if one.guard is not None and one.guard.state == "keyed"]


def shut_by(links: Mapping[str, Link], node: str, keys: KeyRing) -> tuple[str, ...]:
    """The neighbours to whom `rekey` would shut a link, as these keys have none for it."""
    return tuple(
        link.peer
        for link in links.values()
        if link.guard is not None and is_shut_by(link.guard.authenticator, link.config, node, keys)
    )


def unheard(links: Mapping[str, Link]) -> set[str]:
    """The neighbours over whose open links nothing comes."""
    states = ("open", "silent", "shut")
    silent = {link.peer for link in links.values() if link.state in states}
    return silent - {link.peer for link in links.values() if link.state == "up"}
