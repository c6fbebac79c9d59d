"""What can be asked about the keys of a domain, and of a key file."""

from __future__ import annotations

from typing import Any

from stack.core.clock import FOREVER_MS, dtn_to_iso
from stack.core.errors import DecodeError, SecurityError
from stack.node.control.protocol import ControlError
from stack.node.control.request import WEEK_S, Request, Session, wrong
from stack.node.distribution import KeyDistribution
from stack.node.node import Node
from stack.security.epochs import EPOCHS_MAX, Epoch
from stack.services.keys.authority import KeyAuthority, KeyRecipient
from stack.services.keys.messages import NUMBER_MAX

OVERLAP_S_MAX = 520 * WEEK_S


class KeyOperations:
    """Looking at the epochs of a node, rotating, carrying and destroying them; a key file anew."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def keys(self, request: Request, session: Session) -> dict[str, Any]:
        """The epochs that this node has, and at the authority's who else has them.  Raises
        `ControlError` where there are none."""
        request.finish()
        found, now_ms = self._distribution(), self._node.port.dtn_ms()
        authority = found.authority
        epochs = (authority or found.member).epochs
        sending = epochs.sending(now_ms)
        return {
            "domain": found.domain,
            "authority": found.home,
            "is_authority": authority is not None,
            "destroyed_up_to": epochs.floor,
            "why_not": found.why_not,
            "sending": None if sending is None else sending.number,
            "epochs": [_epoch(epoch, found, now_ms) for epoch in epochs.held],
            "nodes": [] if authority is None else _nodes(authority),
            "encrypting": self._node.keys.table(),
        }

    async def rotate_keys(self, request: Request, session: Session) -> dict[str, Any]:
        """Make the next epoch; with `dry_run` only say what would end when.  Raises `ControlError`
        where that is not made here."""
        overlap_s = request.number("overlap_s", -1.0, -1.0, OVERLAP_S_MAX)
        dry_run = request.flag("dry_run")
        request.finish()
        found, now_ms = self._distribution(), self._node.port.dtn_ms()
        if found.authority is None:
            raise _elsewhere(found)
        overlap_ms = found.authority.terms.overlap_ms if overlap_s < 0 else round(overlap_s * 1000)
        ends = {
            str(epoch.number): _time(min(epoch.until_ms, now_ms + overlap_ms))
            for epoch in found.authority.epochs.held
            if epoch.from_ms < now_ms + overlap_ms  # else it never begins
        }
        told = {"domain": found.domain, "nodes": len(found.authority.recipients), "ends": ends}
        if dry_run:
            return {"dry_run": True, **told}
        epoch = await found.rotate(overlap_ms, now_ms)
        return {"epoch": _epoch(epoch, found, now_ms), **told}

    async def reload_keys(self, request: Request, session: Session) -> dict[str, Any]:
        """Read the key file anew; with `dry_run` only say what would change.  Raises `ConfigError`
        for what is wrong with it."""
        dry_run = request.flag("dry_run")
        request.finish()
        told = self._node.keys.reload(dry_run=dry_run)
        return {"dry_run": dry_run, **told._asdict()}

    async def destroy_keys(self, request: Request, session: Session) -> dict[str, Any]:
        """Destroy an epoch and those before it; with `dry_run` only say which these are.  Raises
        `ControlError` for one that is not in force."""
        number = request.integer("epoch", 0, 1, NUMBER_MAX)
        dry_run = request.flag("dry_run")
        request.finish()
        found, now_ms = self._distribution(), self._node.port.dtn_ms()
        authority = found.authority
        epochs = (authority or found.member).epochs
        numbers = [epoch.number for epoch in epochs.held if epoch.number <= number]
        if number not in numbers:
            known = ", ".join(str(epoch.number) for epoch in epochs.held) or "none"
            raise ControlError("unknown", f"no epoch {number} is in force", f"there are: {known}")
        everywhere = authority is not None
        scope = {"domain": found.domain, "everywhere": everywhere, "authority": found.home}
        if dry_run:
            last = all(epoch.number in numbers for epoch in epochs.held)
            return {"dry_run": True, "epochs": numbers, "next_at_once": last, **scope}
        gone = await found.destroy(number, now_ms)
        keeping = {} if authority is None else authority.keeping()
        at = dtn_to_iso(self._node.port.dtn_ms())
        still = sorted(keeping.keys() - {str(self._node.node_id)})  # which has not said so yet
        return {"destroyed": gone, "at": at, "still_at": still, **scope}

    async def export_keys(self, request: Request, session: Session) -> dict[str, Any]:
        """All epochs in force for one node, sealed for the key of its certificate, in hexadecimal.
        Raises `ControlError` where they are not made here, and for who gets none."""
        node = str(request.eid("node").node)
        request.finish()
        found = self._distribution()
        if found.authority is None:
            raise _elsewhere(found)
        if node not in found.authority.recipients:
            known = " ".join(sorted(found.authority.recipients)) or "none"
            words = f"{node} gets no keys of domain {found.domain}"
            raise ControlError("unknown", words, f"approve it first; nodes: {known}")
        numbers = [epoch.number for epoch in found.authority.epochs.held]
        grants = [grant.hex() for grant in found.authority.grants(node)]
        return {"domain": found.domain, "node": node, "epochs": numbers, "grants": grants}

    async def import_keys(self, request: Request, session: Session) -> dict[str, Any]:
        """Take epochs that an operator has brought, all or none; with `dry_run` only say which are
        new.  Raises `ControlError` for what this node's authority has not sealed for it."""
        grants = request.texts("grants")
        dry_run = request.flag("dry_run")
        request.finish()
        found, now_ms = self._distribution(), self._node.port.dtn_ms()
        if not 0 < len(grants) <= EPOCHS_MAX:
            raise wrong("grants", f"{len(grants)} epochs: 1 to {EPOCHS_MAX} are in force at a time")
        try:
            octets = [bytes.fromhex(text) for text in grants]
            told = [found.member.check(one, found.home) for one in octets]
            new = [
                grant.epoch.number
                for grant, one in zip(told, octets, strict=True)
                if found.member.brings(one, now_ms)
            ]
        except ValueError:
            raise wrong("grants", "is not hexadecimal") from None
        except (DecodeError, SecurityError) as error:
            words = f"not for {self._node.node_id} from the authority of {found.domain}: {error}"
            remedy = f"`orbitferry keys export {self._node.node_id}` at {found.home}"
            raise ControlError("refused", words, remedy) from None
        floor = max(grant.floor for grant in told)
        held = found.member.epochs
        destroys = [one.number for one in held.held if held.floor < one.number <= floor]
        answer = {"domain": found.domain, "new": new, "destroys": destroys}
        if dry_run:
            return {"dry_run": True, **answer}
        await found.take(octets, now_ms)
        return answer

    def _distribution(self) -> KeyDistribution:
        found = self._node.keys.distribution
        if found is None:
            raise ControlError(
                "refused",
                f"{self._node.node_id} has no epochs: its keys are those of a file or certificate",
                "set identity.keys_from (docs/keys.md); `orbitferry keys show` shows key files",
            )
        return found


def _elsewhere(found: KeyDistribution) -> ControlError:
    words = f"the epochs of domain {found.domain} are made at {found.home}"
    return ControlError("refused", words, "run this at that node")


def _epoch(epoch: Epoch, found: KeyDistribution, now_ms: int) -> dict[str, Any]:
    epochs = (found.authority or found.member).epochs
    lacking = [] if found.authority is None else found.authority.lacking().items()
    return {
        "number": epoch.number,
        "from": _time(epoch.from_ms),
        "renew": _time(epoch.renew_ms),
        "until": _time(epoch.until_ms),
        "sends": epoch is epochs.sending(now_ms),
        "lacking": sorted(node for node, numbers in lacking if epoch.number in numbers),
    }


def _nodes(authority: KeyAuthority) -> list[dict[str, Any]]:
    lacking, keeping = authority.lacking(), authority.keeping()
    return [
        {
            "node": one.node,
            "heard": _heard(one),
            "has": sorted(one.record.holds),
            "lacks": lacking.get(one.node, []),
            "has_destroyed": keeping.get(one.node, []),
        }
        for one in sorted(authority.recipients.values(), key=lambda one: one.node)
    ]


def _heard(one: KeyRecipient) -> str | None:
    """By the node's own clock: its holdings are counted by it."""
    return _time(one.record.counter) if one.record.counter else None


def _time(time_ms: int) -> str | None:
    return dtn_to_iso(time_ms) if time_ms < FOREVER_MS else None
