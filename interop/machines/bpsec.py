"""A state machine of Hypothesis that sends bundles to a BPSec acceptor (RFC 9172, RFC 9173).

    class Mine(BpSecMachine):
        adapter = MyAcceptor

    TestMine = Mine.TestCase

`MyAcceptor()` makes a `BpSecPeer`, whose policy is that payloads are both encrypted and signed.
The machine shows it secured bundles of all variants, such as break one rule, altered, stripped,
with their blocks in another order, without security, and all of them again; and it changes the keys
in between.  What is right is known from how a bundle was made (`bpsec_model`): a verdict depends on
the keys and the octets alone, whatever came before.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import ClassVar, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from interop.machines.bpsec_model import (
    BPSEC_TABLE,
    RINGS,
    SecurityModel,
    ShownBundle,
    Verdict,
    case_of,
)
from interop.machines.machine import PeerMachine
from interop.strategies.bpsec import Secured, secured_bundles
from interop.strategies.choices import Source
from interop.strategies.nearly_bpsec import nearly_secured_bundles
from stack.security import Key
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    encode_bundle,
)

_PICKS = st.integers(0, 1 << 16)
_SEEDS = st.integers(0, 1 << 16)
_SECURITY = (BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY)


class BpSecPeer(Protocol):
    """An acceptor under test."""

    def use(self, keys: Sequence[Key]) -> None:
        """From now on it has these keys, for whoever sends, and no others."""
        ...

    def receive(self, octets: bytes) -> Verdict:
        """A bundle arrives, of which it is the acceptor; this does not raise."""
        ...


class MakesBpSecPeer(Protocol):
    """Makes an acceptor under test."""

    def __call__(self) -> BpSecPeer:
        """One without keys."""
        ...


class BpSecMachine(PeerMachine):
    """Whoever sends to an acceptor.  Set `adapter`."""

    adapter: ClassVar[MakesBpSecPeer]
    """Makes the acceptor under test; a class, usually."""

    says_why: ClassVar[bool] = True
    """Whether its reasons are those of RFC 9172 §7.1; else they are not looked at."""

    once: ClassVar[bool] = False
    """Whether it is a whole node, that delivers a bundle once, whatever else comes under its id."""

    plain: ClassVar[Source[Bundle] | None] = None
    """What is secured, if not any bundle: of a node, what is for it and is not late.  With two
    extension blocks or more, and a payload."""

    table = BPSEC_TABLE

    @initialize(seed=_SEEDS)
    def start(self, seed: int) -> None:
        """An acceptor that has the right keys, and a bundle that is for it."""
        self.model = SecurityModel(says_why=self.says_why, once=self.once)
        self.shown: list[ShownBundle] = []
        self.secured: list[tuple[ShownBundle, Bundle]] = []
        """Valid ones, of which others are made."""

        self.peer = type(self).adapter()
        self.change_keys("right")
        self.valid(seed)

    @rule(ring=st.sampled_from(sorted(RINGS)))
    def change_keys(self, ring: str) -> None:
        """Other keys, from now on."""
        self.ring = ring
        self.peer.use(RINGS[ring])

    @rule(seed=_SEEDS, forged=st.booleans())
    def valid(self, seed: int, forged: bool = False) -> None:
        """A secured bundle, as it should be; a forgery of it may come before it."""
        secured = self._secured(seed)
        if forged:
            self._alter(secured.bundle, 0, 0)
        case = case_of("valid", secured.bundle, secured.plain)
        self.secured.append((case, secured.bundle))
        self._show(case)

    @rule(seed=_SEEDS)
    def nearly_valid(self, seed: int) -> None:
        """One that breaks a rule."""
        nearly = nearly_secured_bundles.maker(plain=self.plain).case(seed, 0)
        self._show(self.model.nearly(nearly))

    @rule(seed=_SEEDS)
    def unsecured(self, seed: int) -> None:
        """One that was never secured: nothing here shall be believed of it."""
        bundle = self._secured(seed).plain
        blocks = [block for block in bundle.blocks if block.type not in _SECURITY]
        self._show(case_of("unsecured", _with_crc(bundle.primary, blocks)))

    @rule(pick=_PICKS)
    def again(self, pick: int) -> None:
        """Anything that was shown before: the same octets."""
        self._show(self.shown[pick % len(self.shown)])

    @rule(pick=_PICKS, at=_PICKS, bit=st.integers(0, 7))
    def altered(self, pick: int, at: int, bit: int) -> None:
        """The same bundle, with one bit of its payload flipped on the way."""
        self._alter(self._picked(pick), at, bit)

    @rule(pick=_PICKS, types=st.sampled_from([_SECURITY, (BLOCK_CONFIDENTIALITY,)]))
    def stripped(self, pick: int, types: tuple[int, ...]) -> None:
        """The same bundle without its security blocks, or without those that say how to decrypt."""
        bundle = self._picked(pick)
        kept = tuple(block for block in bundle.blocks if block.type not in types)
        self._show(case_of("stripped", _with_crc(bundle.primary, kept)))

    @rule(pick=_PICKS, order=st.randoms(use_true_random=False))
    def reordered(self, pick: int, order: random.Random) -> None:
        """The same bundle with its extension blocks in another order: it means the same (RFC 9171
        §4.1)."""
        case, bundle = self.secured[pick % len(self.secured)]
        others: list[CanonicalBlock] = list(bundle.blocks[:-1])
        order.shuffle(others)
        octets = encode_bundle(Bundle(bundle.primary, (*others, bundle.payload)))
        self._show(dataclasses.replace(case, kind="reordered", octets=octets))

    def _secured(self, seed: int) -> Secured:
        return secured_bundles.maker(plain=self.plain).case(seed, 0)

    def _picked(self, pick: int) -> Bundle:
        return self.secured[pick % len(self.secured)][1]

    def _alter(self, bundle: Bundle, at: int, bit: int) -> None:
        data = bytearray(bundle.payload.data)
        if data:
            data[at % len(data)] ^= 1 << bit
            payload = dataclasses.replace(bundle.payload, data=bytes(data))
            self._show(case_of("altered", Bundle(bundle.primary, (*bundle.blocks[:-1], payload))))

    def _show(self, case: ShownBundle) -> None:
        self.shown.append(case)
        verdict = self.peer.receive(case.octets)
        self.took("bundle", f"{self.ring} keys", case.kind, str(verdict))
        self.model.judge(case, self.ring, verdict)


def _with_crc(primary: PrimaryBlock, blocks: Sequence[CanonicalBlock]) -> Bundle:
    """A bundle whose primary block has a CRC, as it must where no BIB protects it (RFC 9171
    §4.3.1)."""
    return Bundle(dataclasses.replace(primary, crc_type=2, encoded=None), tuple(blocks))
