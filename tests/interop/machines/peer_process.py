"""Our store, router, FECFRAME, BPSec, services and shares of a store in a process of their own, for
the adapters of commands: ``peer_process.py KIND FAULT``, where KIND is one of `KINDS`, with one
fault or ``""``.

It imports little, so that it begins soon.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from stack.contacts.native import read_json
from stack.contacts.plan import Contact, Plan
from stack.core.train import FLOW_REPAIR, FLOW_SOURCE, Train
from stack.ports.store import BundleStore, Move, Op, Place, Put, Release, Write
from stack.routing.route import Route

Asked = dict[str, Any]


class Store:
    """With the fault ``forgets`` it keeps nothing on disk."""

    def __init__(self, fault: str, start: Asked) -> None:
        from stack.storage import MemoryStore, SqliteStore, StoreConfig

        self.store: BundleStore
        if fault == "forgets":
            self.store = MemoryStore(start["quota_bytes"], start["quota_bundles"], keys_max=10_000)
        else:
            self.store = SqliteStore(Path("store"), StoreConfig(keys_max=10_000, **start))

    def do(self, do: str, asked: Asked) -> Asked:
        store = self.store
        match do:
            case "commit":
                done = store.commit([operation(**op) for op in asked["ops"]], asked["now_ms"])
                return {"refs": done.refs, "evicted": done.evicted}
            case "load":
                return {
                    "octets": [None if one is None else bytes(one) for one in store.load(**asked)]
                }
            case "scan" | "expire":
                return {"stored": [asdict(one) for one in getattr(store, do)(**asked)]}
            case "next_expiry":
                return {"at_ms": store.next_expiry()}
            case "read":
                return {"value": store.read(**asked)}
            case "read_all":
                return {"entries": store.read_all(**asked)}
        used = store.usage()
        return {"bundles": used.bundles, "bytes": used.bytes}

    def end(self) -> None:
        self.store.close()


def operation(op: str, **fields: Any) -> Op:
    for name in {"key", "encoded", "note", "value"} & set(fields):
        if fields[name] is not None and not (op == "write" and name == "key"):
            fields[name] = bytes.fromhex(fields[name])
    if "place" in fields:
        fields["place"] = Place(fields["place"])
    kinds: dict[str, type] = {"put": Put, "release": Release, "move": Move, "write": Write}
    made: Op = kinds[op](**fields)
    return made


class Router:
    """With the fault ``books nothing`` each bundle finds all contacts free."""

    def __init__(self, fault: str, start: Asked) -> None:
        from stack.routing.router import Router, RouterConfig

        config = RouterConfig(tolerance_ms=0, tolerance_ratio=0)
        self.router = Router(plan_of(start), start["node"], config=config)
        self.books = fault != "books nothing"
        self.routes: list[Route] = []
        """A route's handle is its place here."""

    def do(self, do: str, asked: Asked) -> Asked:
        router = self.router
        match do:
            case "route":
                to, size, priority, now_ms = (asked[name] for name in ("destination", *BUNDLE))
                found = router.route(to, size, priority, now_ms, 10**12)
                return {"route": None if found is None else self.told(found)}
            case "book" | "release":
                route = self.routes[asked["route"]["handle"]]
                if self.books:
                    getattr(router, do)(route, *(asked[name] for name in BUNDLE))
            case "set_plan":
                router.update_plan(plan_of(asked))
            case _:
                place = router.plan.find(Contact(**asked["contact"]))
                assert place is not None
                getattr(router, do)(place)
        return {}

    def told(self, found: Route) -> Asked:
        self.routes.append(found)
        contacts = [asdict(contact) for contact in found.contacts]
        handle = len(self.routes) - 1
        return {"contacts": contacts, "arrival_ms": found.arrival_ms, "handle": handle}

    def end(self) -> None:
        pass


BUNDLE = ("size_bytes", "priority", "now_ms")


def plan_of(asked: Asked) -> Plan:
    return read_json(json.dumps(asked["plan"]))


class Fec:
    """With the fault ``code`` its repair symbols are wrong."""

    def __init__(self, fault: str, start: Asked) -> None:
        from stack.fec.framework import FecConfig, FecReceiver, FecSender

        config = FecConfig(**start["config"])
        self.sender = FecSender(config, first_sbn=start["first_sbn"])
        self.receiver = FecReceiver(config, genuine=genuine)
        self.flips = fault == "code"

    def do(self, do: str, asked: Asked) -> Asked:
        now_ns = asked["now_ns"]
        adus: list[bytes] = []
        packets: list[Train] = []
        match do:
            case "receive":
                for repair, octets in asked["packets"]:
                    train = train_of(octets, FLOW_REPAIR if repair else FLOW_SOURCE)
                    got = self.receiver.receive(train, now_ns)
                    adus += [bytes(adu) for each in got for adu in each.datagrams()]
            case "protect":
                adus_in = [train_of(adu, FLOW_SOURCE) for adu in asked["adus"]]
                packets = self.sender.protect(adus_in, now_ns)
            case "flush":
                packets = self.sender.flush(now_ns)
            case "advance":
                self.receiver.handle_deadline(now_ns)
                packets = self.sender.handle_deadline(now_ns)
        held_bytes = self.receiver.counters()["held_bytes"]
        return {"adus": adus, "packets": list(self.left(packets)), "held_bytes": held_bytes}

    def left(self, trains: Iterable[Train]) -> Iterator[tuple[bool, bytes]]:
        for train in trains:
            repair = train.flow == FLOW_REPAIR
            for one in train.datagrams():
                last = one[-1] ^ (repair and self.flips)
                yield repair, bytes((*one[:-1], last))

    def end(self) -> None:
        pass


def train_of(octets: str, flow: int) -> Train:
    return Train(bytes.fromhex(octets), len(octets) // 2, flow)


def genuine(adu: memoryview) -> bool:
    return len(adu) >= 4 and zlib.crc32(adu[:-4]).to_bytes(4, "big") == bytes(adu[-4:])


class Acceptor:
    """With the fault ``believes`` it takes what it cannot open."""

    def __init__(self, fault: str, start: Asked) -> None:
        self.believes = fault == "believes"

    def do(self, do: str, asked: Asked) -> Asked:
        from stack.security import BpSec, Key, KeyRing, SecurityPolicy
        from stack.wire.bundle import check_bundle, decode_bundle

        if do == "use":
            keys = (Key(one["id"], one["kind"], bytes.fromhex(one["octets"]))
                    for one in asked["keys"])  # fmt: skip
            self.security = BpSec(KeyRing(keys), bytes, SecurityPolicy())
            return {}
        bundle = decode_bundle(bytes.fromhex(asked["bundle"]))[0]
        check_bundle(bundle)
        opened = self.security.open(bundle)
        if opened.bundle is None and not self.believes:
            return {"payload": None, "reason": opened.reason}
        *blocks, payload = (opened.bundle or bundle).blocks
        others = {block.number: bytes(block.data) for block in blocks}
        return {"payload": bytes(payload.data), "blocks": others}

    def end(self) -> None:
        pass


class Sharing:
    """With the fault ``keeps nothing`` whoever comes first has all of the store."""

    def __init__(self, fault: str, start: Asked) -> None:
        from stack.storage import SqliteStore, StoreConfig
        from tests.engines.bundle_agent.our_shares import KeepsNothing, OurShares

        kind = KeepsNothing if fault == "keeps nothing" else OurShares
        quotas = start["quota_bytes"], start["quota_bundles"]
        store = SqliteStore(
            Path("store"), StoreConfig(quota_bytes=quotas[0], quota_bundles=quotas[1])
        )
        with Path("starts").open("ab") as starts:
            starts.write(b".")
            count = starts.tell()
        self.peer = kind(start["neighbours"], *quotas, store, count, start["milliseconds"])

    def do(self, do: str, asked: Asked) -> Asked:
        result = getattr(self.peer, do)(**asked)
        return {"bundles": list(result.items())} if do == "held" else {"name": result}

    def end(self) -> None:
        pass


class Peer(Protocol):
    def do(self, do: str, asked: Asked) -> Asked:
        """Have it done: the answer."""
        ...

    def end(self) -> None:
        """Nothing more comes."""
        ...


def service(kind: str, fault: str, start: Asked) -> Peer:
    from tests.interop.machines import service_process

    made: Peer = getattr(service_process, kind)(fault, start)
    return made


KINDS: dict[str, Callable[[str, Asked], Peer]] = {
    "store": Store,
    "router": Router,
    "fec": Fec,
    "bpsec": Acceptor,
    "shares": Sharing,
    "files": partial(service, "Files"),
    "jobs": partial(service, "Jobs"),
}


def main(kind: str, fault: str = "") -> None:
    peer: Peer | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        do = asked.pop("do")
        answer: Asked = {}
        if peer is None:
            peer = KINDS[kind](fault, asked)
        else:
            answer = peer.do(do, asked)
        print(json.dumps(answer, default=bytes.hex), flush=True)
    if peer is not None:
        peer.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
