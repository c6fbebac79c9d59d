"""Modulations and codes: what they carry, what they need, and how they fail.

Names are a family, a modulation and a code, such as ``dvb-s2 qpsk 1/2`` or ``ccsds bpsk ldpc 1/2``;
a family alone stands for all of its members, and ``*`` for any part of a name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from link_models.budget.curves import (
    Concatenated,
    Convolutional,
    Curve,
    ReedSolomon,
    Uncoded,
    Waterfall,
    error_rates,
    required_eb_n0_db,
)
from link_models.budget.tables import tables
from stack.core.errors import ConfigError

DVB_FRAME_ERROR_RATE: Final = 1e-7
"""Quasi error free: one packet in 10^7 (ETSI EN 302 307-1 V1.4.1 §6, table 13)."""

CCSDS_FRAME_ERROR_RATE: Final = 1e-5
"""The frame loss at which we state what a CCSDS code needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModCod:
    """A modulation and a code."""

    name: str
    efficiency: float
    """User bits for each symbol on the channel, headers, markers and pilots counted."""

    es_n0_db: float
    """Energy of a symbol to noise density at which it is as good as error free, ideal
    demodulator."""

    frame_bits: int
    """User bits that are lost together."""

    code_bits: float
    """User bits for each symbol of the coded frame itself: Es/N0 less this is Eb/N0."""

    curve: Curve

    def error_rates(self, es_n0_db: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rates of wrong bits and of lost frames at an Es/N0."""
        return error_rates(self.curve, np.asarray(es_n0_db, dtype=float) - _db(self.code_bits))


FAMILIES: Final = ("dvb-s2", "dvb-s2-pilots", "dvb-s2-short", "dvb-s2x", "ccsds")
"""DVB-S2 with normal frames, the same with pilots, with short frames; the modes that DVB-S2X adds;
and the codes of CCSDS 131.0-B on BPSK and QPSK."""


def modcods(*names: str) -> tuple[ModCod, ...]:
    """All that fit the names or patterns, each once.

    Raises `ConfigError` for a name that fits nothing.
    """
    found: dict[str, ModCod] = {}
    for name in names:
        pattern = f"{name} *" if name in FAMILIES else name
        families = [one for one in FAMILIES if fnmatchcase(one, pattern.split(" ")[0])]
        fitting = [
            one
            for family in families
            for one in catalogue(family)
            if fnmatchcase(one.name, pattern)
        ]
        if not fitting:
            raise ConfigError(
                "modes", f"{name!r} is unknown", f"families: {', '.join(FAMILIES)}; see docs"
            )
        found.update((one.name, one) for one in fitting)
    return tuple(found.values())


@cache
def catalogue(family: str) -> tuple[ModCod, ...]:
    """All members of a family."""
    match family:
        case "ccsds":
            return tuple(_ccsds())
        case "dvb-s2x":
            return tuple(_dvb_s2x())
        case _:
            return tuple(_dvb_s2(family))


_DVB_BITS: Final = {
    **{"qpsk": 2, "8psk": 3, "8apsk": 3, "16apsk": 4, "32apsk": 5},
    **{"64apsk": 6, "128apsk": 7, "256apsk": 8},
}

_NORMAL_BITS: Final = 64_800
_SHORT_BITS: Final = 16_200

_SHORT_LOSS_DB: Final = 0.25
"""Short frames need 0.2 to 0.3 dB more (EN 302 307-1 §6)."""

_BB_HEADER_BITS: Final = 80
_SLOT_SYMBOLS: Final = 90
_PILOT_SYMBOLS: Final = 36
_SLOTS_PER_PILOT: Final = 16
"""EN 302 307-1 §5.1.6 and §5.5.1-3: header of a baseband frame; physical frames are a header of a
slot and slots of 90 symbols, with 36 pilot symbols after every 16 slots but the last."""


def _dvb(family: str, modulation: str, rate: str, es_n0_db: float, k_bch: int, n: int) -> ModCod:
    bits = _DVB_BITS[modulation]
    slots = math.ceil(n / bits / _SLOT_SYMBOLS)
    symbols = (slots + 1) * _SLOT_SYMBOLS
    if family == "dvb-s2-pilots":
        symbols += (slots - 1) // _SLOTS_PER_PILOT * _PILOT_SYMBOLS
    user = k_bch - _BB_HEADER_BITS
    code_bits = user * bits / n
    return ModCod(
        name=f"{family} {modulation} {rate}",
        efficiency=user / symbols,
        es_n0_db=es_n0_db,
        frame_bits=user,
        code_bits=code_bits,
        curve=Waterfall(
            eb_n0_db=es_n0_db - _db(code_bits),
            frame_error_rate=DVB_FRAME_ERROR_RATE,
            width_db=_WIDTH_DB / math.sqrt(n),
        ),
    )


def _dvb_s2(family: str) -> Iterable[ModCod]:
    for modulation, modes in tables().dvb_s2_es_n0.items():
        for rate, es_n0_db in modes.items():
            normal, short = tables().dvb_s2_k_bch[rate]
            if family != "dvb-s2-short":
                yield _dvb(family, modulation, rate, es_n0_db, normal, _NORMAL_BITS)
            elif short:
                raised = es_n0_db + _SHORT_LOSS_DB
                yield _dvb(family, modulation, rate, raised, short, _SHORT_BITS)


_S2X_BCH_BITS: Final = 192
"""Parity of a BCH code that corrects 12 errors (EN 302 307-2 table 5a).  Two codes are printed with
10 in some editions, which would be 0.07 % more."""


def _dvb_s2x() -> Iterable[ModCod]:
    for modulation, modes in tables().dvb_s2x_es_n0.items():
        for rate, es_n0_db in modes.items():
            top, bottom = rate.removesuffix("-l").split("/")
            k_bch = _NORMAL_BITS * int(top) // int(bottom) - _S2X_BCH_BITS
            yield _dvb("dvb-s2x", modulation, rate, es_n0_db, k_bch, _NORMAL_BITS)


_CCSDS_FRAME_BITS: Final = 1115 * 8
"""A transfer frame that fills five interleaved codewords of RS(255,223) (CCSDS 131.0-B §4.4.1)."""

_ASM_BITS: Final = 32
"""Attached sync marker of uncoded, Reed-Solomon, convolutional and C2 frames; turbo codes have 32
bits over their rate, AR4JA 64 (131.0-B §9.3)."""

_WIDTH_DB: Final = 13.5
"""Width of a waterfall times the square root of the code's length.  Simulated (AFF3CT error rate
references, 2018): 13.6 for the DVB-S2 LDPC code of 16,200 bits and rate 8/9, 13.4 for rate 11/15,
13.5 for the CCSDS turbo code of 5,368 bits."""

_AR4JA_WIDTH_DB: Final = 10.0
"""The same for AR4JA of 8,192 bits."""

_TURBO_FLOOR: Final = 1e-6
"""Frames that turbo codes lose however strong the signal: CCSDS 130.1-G-2 §7.4.3 puts it between
10^-5 and 10^-7, by code."""


def _ccsds() -> Iterable[ModCod]:
    frame = _CCSDS_FRAME_BITS
    outer = ReedSolomon()
    codes: list[tuple[str, int, float, int, Curve]] = [
        ("uncoded", frame, frame, _ASM_BITS, Uncoded(frame)),
        ("conv 1/2", frame, 2.0 * frame, 2 * _ASM_BITS, Convolutional(frame)),
        ("rs 223", frame, 5 * 255 * 8.0, _ASM_BITS, outer),
        ("rs 223 conv 1/2", frame, 2 * 5 * 255 * 8.0, 2 * _ASM_BITS, Concatenated(outer)),
    ]
    for rows, width_db in (
        (tables().ccsds_long, _WIDTH_DB),
        (tables().ccsds_ar4ja, _AR4JA_WIDTH_DB),
    ):
        for name, k, n, marker, eb_n0_db in rows:
            fall = Waterfall(
                eb_n0_db=eb_n0_db,
                frame_error_rate=CCSDS_FRAME_ERROR_RATE,
                width_db=width_db / math.sqrt(n),
                floor=_TURBO_FLOOR if name.startswith("turbo") else 0.0,
            )
            codes.append((name, k, n, marker, fall))
    for modulation, bits in (("bpsk", 1), ("qpsk", 2)):
        for name, k, coded, marker, curve in codes:
            code_bits = bits * k / coded
            need = required_eb_n0_db(curve, CCSDS_FRAME_ERROR_RATE)
            yield ModCod(
                name=f"ccsds {modulation} {name}",
                efficiency=bits * k / (coded + marker),
                es_n0_db=need + _db(code_bits),
                frame_bits=k,
                code_bits=code_bits,
                curve=curve,
            )


def _db(ratio: float) -> float:
    return 10.0 * math.log10(ratio)
