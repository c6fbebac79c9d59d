"""Challenges of an ACME server that a node is to answer (RFC 9891 §3): by its operator's order
alone."""

from __future__ import annotations

from typing import Any, Final

from stack.core.errors import DecodeError, LocalError
from stack.engines.acme.responder import ExpectedChallenge
from stack.node.control.protocol import ControlError
from stack.node.control.request import WEEK_S, Request, Session, wrong
from stack.node.node import Node
from stack.services.node_ids import NodeIdService

EXPECTED_S: Final = 600.0


class ChallengeOperations:
    """Expecting challenges, and no more."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def expect(self, request: Request, session: Session) -> dict[str, Any]:
        """Answer a challenge for so many seconds.  Raises `ControlError` for what is none, and
        where there are too many."""
        node = request.eid("node")
        fields = [request.text(name) for name in ("id_chal", "token_chal", "thumbprint")]
        seconds = request.number("seconds", EXPECTED_S, 1.0, WEEK_S)
        request.finish()
        if node != self._node.node_id:
            words = f"this node is {self._node.node_id}, not {node}"
            raise ControlError("refused", words, "name the right one with --node")
        try:
            expected = ExpectedChallenge(*fields)
            count = await self._service().expect(expected, seconds)
        except DecodeError as error:
            raise wrong("challenge", f"is none: {error}") from None
        except LocalError as error:
            raise ControlError("refused", str(error), "wait until one is over") from None
        return {"node": str(self._node.node_id), "expected": count}

    async def forget(self, request: Request, session: Session) -> dict[str, Any]:
        """Answer it no more, and say how many bundles were answered; null where it was not
        expected."""
        id_chal = request.text("id_chal")
        request.finish()
        try:
            return {"answered": await self._service().forget(id_chal)}
        except DecodeError as error:
            raise wrong("id_chal", f"is none: {error}") from None

    def _service(self) -> NodeIdService:
        found = self._node.node_ids
        if found is None:
            words = "this node signs nothing, and a challenge has to be signed"
            raise ControlError("refused", words, 'set security.protect = "all"')
        return found
