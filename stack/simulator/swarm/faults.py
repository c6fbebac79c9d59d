"""What can go wrong in a run of the swarm, as data: one table of kinds, one record a fault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final

from msgspec import Meta

from stack.core.bounds import DayS
from stack.core.checks import check_bounds, check_one_of
from stack.core.errors import ConfigError

RESTART: Final = "restart"
COMMIT: Final = "commit"
ZOMBIE: Final = "zombie"
FULL: Final = "full"
SLOW: Final = "slow"
FLIP_DISK: Final = "flip-disk"
FLIP_MEMORY: Final = "flip-memory"
DRIFT: Final = "drift"
STEP: Final = "step"
PLAN: Final = "plan"
KEYS: Final = "keys"
CUT: Final = "cut"
MUTE: Final = "mute"
LOSS: Final = "loss"
DUPLICATE: Final = "duplicate"
REORDER: Final = "reorder"
CORRUPT: Final = "corrupt"
DELAY: Final = "delay"
HOSTILE: Final = "hostile"
BACKUP: Final = "backup"
UPSET: Final = "upset"

UPSETS: Final = 4
UPSET_OCTETS: Final = 3
"""All upsets of a day together are within what parity can mend: 16 octets of each codeword."""

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        RESTART: "the process ends without warning, between any two steps, and starts again",
        COMMIT: "the same in the middle of a commit: before it, torn, or before anybody hears",
        ZOMBIE: "the old process goes on sending, without its disk, beside the new one",
        FULL: "the disk has no space: every commit fails",
        SLOW: "a commit takes seconds",
        FLIP_DISK: "a bit of a stored bundle or of an unfinished file flips at rest",
        FLIP_MEMORY: "a bit of a bundle that waits in memory flips",
        DRIFT: "a node's clock runs fast or slow",
        STEP: "a node's wall clock is wrong for a while",
        PLAN: "a node's contact plan is wrong for a while",
        KEYS: "a node sends with the next key, while bundles under the old one are under way",
        CUT: "a link is cut, both ways",
        MUTE: "a link is cut, one way",
        LOSS: "datagrams are lost",
        DUPLICATE: "datagrams arrive twice",
        REORDER: "datagrams overtake each other",
        CORRUPT: "datagrams arrive damaged",
        DELAY: "datagrams arrive seconds late",
        UPSET: "a few octets of every bundle at rest flip, where there is parity to mend them",
        BACKUP: "a node is set back to a backup of its disk",
        HOSTILE: "somebody without keys replays, forges, damages, contradicts and floods",
    }
)
"""Every kind of fault, and what it does."""

LATER: Final = frozenset({HOSTILE, BACKUP, UPSET})
"""Kinds that came later: they are drawn by themselves, so that older seeds stay what they are."""

ON_LINKS: Final = frozenset({CUT, MUTE, LOSS, DUPLICATE, REORDER, CORRUPT, DELAY, HOSTILE})
"""Kinds that strike a link: from `node` towards `peer`, the cut both ways."""

COMMIT_MODES: Final = ("before", "torn", "after")
PLAN_MODES: Final = ("missing", "shifted", "ghost", "rate")
HOSTILE_MODES: Final = (
    "replay",
    "mutate",
    "truncate",
    "bundles",
    "fragments",
    "strange",
    "flood",
)
CANCEL: Final = "cancel"
CONTROL: Final = "control"
LISTENING_MODES: Final = ("comb", CANCEL, CONTROL)
"""They came later, and are drawn by themselves.  He forges LTP in sessions that he hears: `CONTROL`
also claims what nobody has, which only authentication (RFC 5327) withstands."""

SMUGGLE: Final = "smuggle"
LABELS: Final = "labels"
SOVEREIGN_MODES: Final = (SMUGGLE, LABELS)
"""Where data has policies: he brings it to who must not have it, or takes off and changes what is
said of it."""

MODES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        COMMIT: COMMIT_MODES,
        PLAN: PLAN_MODES,
        HOSTILE: (*HOSTILE_MODES, *LISTENING_MODES, *SOVEREIGN_MODES),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, injected at its time.  Raises `ConfigError` for a kind or a time that there is
    not."""

    kind: str
    """One of `KINDS`."""

    node: str
    """The node that it strikes."""

    peer: str = ""
    """The other end, for a fault of a link."""

    at_s: DayS
    """Virtual seconds from the start of the run."""

    for_s: DayS = 0.0
    """How long it lasts; of a restart, how long the node is down."""

    amount: Annotated[float, Meta(ge=-1e6, le=1e6)] = 0.0
    """Depends on the kind: a probability (loss, duplicate, reorder, corrupt), seconds (delay, step,
    slow, plan shifted), parts in a million (drift), a factor (plan rate), turns of the event loop
    after the next datagram (restart; 0 is at once)."""

    mode: str = ""
    """Of a commit, plan or hostile fault, which way: see `COMMIT_MODES`, `PLAN_MODES`,
    `HOSTILE_MODES`, `LISTENING_MODES`, `SOVEREIGN_MODES`."""

    def __post_init__(self) -> None:
        check_bounds(self)
        check_one_of("kind", self.kind, KINDS)
        modes = MODES.get(self.kind, ("",))
        if self.mode not in modes:
            raise ConfigError("mode", f"{self.mode!r} of {self.kind}", ", ".join(modes))
        if (self.kind in ON_LINKS) != bool(self.peer):
            raise ConfigError("peer", "is for faults of links, and needed there")
