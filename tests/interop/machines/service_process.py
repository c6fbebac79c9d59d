"""Our file service and our job service for `peer_process`.  With the fault ``forgets`` they keep
nothing on disk."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from tests.services.ours import OurFiles, OurJobs

Asked = dict[str, Any]


class Files:
    """Its disk is the folder, as it is whenever something is answered."""

    kind: Any = OurFiles

    def __init__(self, fault: str, start: Asked) -> None:
        self.peer = self.kind(start["end"], Path.cwd(), start["now_ns"])
        self.forgets = fault == "forgets"

    def do(self, do: str, asked: Asked) -> Asked:
        answer = self.done(do, **asked)
        if not self.forgets:
            self.peer.save()
        return answer

    def done(self, do: str, **asked: Any) -> Asked:
        match do:
            case "advance":
                self.peer.advance(asked["now_ns"])
            case "poll":
                return {"things": [pickle.dumps(one) for one in self.peer.poll()]}
            case "receive":
                self.peer.receive(pickle.loads(bytes.fromhex(asked["thing"])))
            case "states":
                states = self.peer.states().items()
                return {"states": {name.hex(): state for name, state in states}}
            case "send":
                return {"file": self.peer.send(asked["name"], bytes.fromhex(asked["content"]))}
            case "cancel":
                self.peer.cancel(bytes.fromhex(asked["file"]))
            case "received":
                self.peer.told.clear()
                return {"files": list(self.peer.received())}
        return {}

    def end(self) -> None:
        self.peer.close()


class Jobs(Files):
    kind = OurJobs

    def done(self, do: str, **asked: Any) -> Asked:
        match do:
            case "submit":
                return {"job": self.peer.submit(bytes.fromhex(asked["data"]))}
            case "cancel":
                self.peer.cancel(bytes.fromhex(asked["job"]))
                return {}
            case "results":
                return {"results": self.peer.results(bytes.fromhex(asked["job"]))}
            case "begun":
                return {"inputs": self.peer.begun()}
        return super().done(do, **asked)
