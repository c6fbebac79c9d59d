"""What a link knows of whoever is at its other end: heard or not, and who else called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stack.core.sansio import Trace
from stack.engines.ltp import EngineUnknown
from stack.node.config import LinkConfig

FOREIGN: Final = "{} is of another domain, which no key of this one serves"

AUTHENTICATION: Final = {
    "keyed": "there are keys for {}: segments from and to it are authenticated",
    "open": f"{FOREIGN}: nothing is authenticated on this link",
    "shut": f'authentication is "on", and {FOREIGN}: nothing passes on this link',
}
"""What it means that a link's authentication is in another state (`Authenticator.state`)."""

SHUT: Final = 'set authentication = "auto", and start this node anew'

GONE: Final = (
    "there is no ltp key for {} any more, with whom there was one: nothing passes on this link"
)
GONE_REMEDY: Final = (
    "put one into the key file, and run `orbitferry keys reload`, or in a domain `orbitferry keys "
    'import`; to have no authentication set authentication = "off", and start this node anew'
)


class Neighbour:
    """Tells, once for each, of datagrams that are dropped since the configuration does not know
    their sender, and keeps what was told for `orbitferry status`.  Port and engine bound both."""

    def __init__(self, config: LinkConfig, trace: Trace) -> None:
        self._config = config
        self._trace = trace
        self._unauthentic: set[str] = set()
        self._shut = ""
        self.hints: list[str] = []
        """What was dropped and what to change, in the order in which it came up."""

        self.silence: list[str] = []
        """What to look at when nothing that was sent has ever been reported on."""

    def stranger(self, address: str) -> None:
        """Datagrams came from an address that is not the peer's."""
        config = self._config
        wanted = config.remote or "whoever called first"
        if config.remote and not config.match_port:
            wanted = "the host of " + wanted
        remedy = f'if it is the peer, set remote = "{address}" (where it listens)'
        if config.match_port and address.rpartition(":")[0] == config.remote.rpartition(":")[0]:
            remedy = (
                "if the peer sends from a port that it does not listen on, as ION and HDTN do, "
            )
            remedy += "set match_port = false"
        why = f"datagrams from {address} are dropped: this link expects {wanted}"
        self._tell("link_stranger", why, remedy, {"from": address})

    def unauthentic(self, counters: Mapping[str, int]) -> None:
        """Segments without LTP authentication, or with a wrong one, were dropped; the guard's
        counters."""
        for kind in ("unsigned", "forged"):
            if counters[kind] and kind not in self._unauthentic:
                self._unauthentic.add(kind)
                why, remedy = self._judged(kind, counters)
                self._trace(
                    f"link_{kind}", {"link": self._config.name, "why": why, "remedy": remedy}
                )

    def rekeyed(self, state: str, *, foreign: bool = True) -> None:
        """The link's authentication is in another state since keys or trust have changed, or was
        shut from the start; `foreign`: the neighbour is of another domain."""
        shut = state == "shut"
        text, remedy = (AUTHENTICATION[state], SHUT) if foreign or not shut else (GONE, GONE_REMEDY)
        why = text.format(self._config.peer)
        self._shut = f"{why} ({remedy})" * shut
        fields = {"link": self._config.name, "state": state, "why": why}
        self._trace("link_authentication", fields | ({"remedy": remedy} if shut else {}))

    def authentication(self, counters: Mapping[str, int], state: str = "keyed") -> list[str]:
        """What to say of the segments that were not authentic, by the guard's counters and
        state."""
        if state == "shut":
            return [self._shut]
        if state == "open":
            return []
        kinds = [kind for kind in ("unsigned", "forged") if counters[kind]]
        return [f"{why} ({remedy})" for why, remedy in (self._judged(k, counters) for k in kinds)]

    def _judged(self, kind: str, counters: Mapping[str, int]) -> tuple[str, str]:
        peer, verified, count = self._config.peer, counters["verified"], counters[kind]
        what = "without LTP authentication"
        if kind == "forged":
            what = "whose LTP authentication is wrong"
        if verified:
            # Whoever injects a segment must not make the operator turn authentication off.
            why = f"{count} segments {what} were dropped beside {verified} authentic ones"
            return why, f"somebody who does not have the key of {peer} sends to this link, too"
        if kind == "forged":
            why = f"all segments have an LTP authentication that is wrong; {count} were dropped"
            remedy = f"compare `orbitferry keys show` here and at {peer}, and the node ids that "
            return why, remedy + "each has for the other; a peer of another make needs raw = true"
        why = f"no segment has LTP authentication; {count} were dropped, as this link has a key"
        remedy = f"give {peer} the same ltp key, or, if it does not know RFC 5327, "
        return why, remedy + 'set authentication = "off"'

    def cookies(self, counters: Mapping[str, int]) -> list[str]:
        """What to say of segments that were dropped for their cookies, by the counters of these."""
        dropped = counters["missing"] + counters["wrong"]
        if not dropped:
            return []
        why = f"{dropped} segments without the cookie of their session, or with another, were "
        why += f"dropped beside {counters['good']} with it"
        remedy = f"somebody else sends to this link, {self._config.peer} has started anew, or has "
        return [f"{why} ({remedy}turned cookies off: then start this node anew)"]

    def engine(self, event: EngineUnknown) -> None:
        """Segments carried an engine id that this link does not have in that place."""
        host = self._config.remote.rpartition(":")[0].strip("[]") or "the peer"
        if event.ours:
            why = f"reports for engine {event.engine} from {host}: on this link we are engine "
            why += str(event.expected)
            remedy = f"set ltp.local_engine_id = {event.engine}, or the peer's number for this node"
        else:
            why = f"segments for engine {event.engine} from {host}, this link expects "
            why += str(event.expected)
            remedy = f"set ltp.remote_engine_id = {event.engine}, or the peer's own engine number"
        self._tell("link_engine_unknown", why, remedy, {"engine": event.engine})

    def unanswered(self) -> None:
        """Timers expired, and no report has come since the start: a peer that does not know this
        node's number or address says nothing.  Of a link that is shut another hint says why."""
        if self.silence or self._shut:
            return
        config = self._config
        why = f"nothing that was sent to {config.remote or 'the peer'} has ever been reported on"
        remedy = f"does it listen there, and know engine {config.ltp.local_engine_id} at the "
        remedy += f"address of this node, port {config.local.rpartition(':')[2]}?"
        self._tell("link_unanswered", why, remedy, {}, self.silence)

    def _tell(
        self,
        event: str,
        why: str,
        remedy: str,
        fields: dict[str, Any],
        hints: list[str] | None = None,
    ) -> None:
        (self.hints if hints is None else hints).append(f"{why} ({remedy})")
        self._trace(event, {"link": self._config.name, **fields, "why": why, "remedy": remedy})
