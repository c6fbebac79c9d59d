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


# ETSI EN 302 307-1 V1.4.1 table 13: Es/N0 in dB, normal frames, no pilots.
_DVB_S2_ES_N0: Final = {
    "qpsk": {
        **{"1/4": -2.35, "1/3": -1.24, "2/5": -0.30, "1/2": 1.00, "3/5": 2.23, "2/3": 3.10},
        **{"3/4": 4.03, "4/5": 4.68, "5/6": 5.18, "8/9": 6.20, "9/10": 6.42},
    },
    "8psk": {"3/5": 5.50, "2/3": 6.62, "3/4": 7.91, "5/6": 9.35, "8/9": 10.69, "9/10": 10.98},
    "16apsk": {"2/3": 8.97, "3/4": 10.21, "4/5": 11.03, "5/6": 11.61, "8/9": 12.89, "9/10": 13.13},
    "32apsk": {"3/4": 12.73, "4/5": 13.64, "5/6": 14.28, "8/9": 15.69, "9/10": 16.05},
}

# Tables 5a and 5b: bits before the BCH code, of normal and of short frames.
_DVB_S2_K_BCH: Final = {
    "1/4": (16008, 3072),
    "1/3": (21408, 5232),
    "2/5": (25728, 6312),
    "1/2": (32208, 7032),
    "3/5": (38688, 9552),
    "2/3": (43040, 10632),
    "3/4": (48408, 11712),
    "4/5": (51648, 12432),
    "5/6": (53840, 13152),
    "8/9": (57472, 14232),
    "9/10": (58192, 0),
}

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
    for modulation, modes in _DVB_S2_ES_N0.items():
        for rate, es_n0_db in modes.items():
            normal, short = _DVB_S2_K_BCH[rate]
            if family != "dvb-s2-short":
                yield _dvb(family, modulation, rate, es_n0_db, normal, _NORMAL_BITS)
            elif short:
                raised = es_n0_db + _SHORT_LOSS_DB
                yield _dvb(family, modulation, rate, raised, short, _SHORT_BITS)


# ETSI EN 302 307-2 V1.1.1 table 20a: Es/N0 in dB, normal frames, no pilots, linear channel.  "-l"
# are the constellations for linear channels.
_DVB_S2X_ES_N0: Final = {
    "qpsk": {"2/9": -2.85, "13/45": -2.03, "9/20": 0.22, "11/20": 1.45},
    "8apsk": {"5/9-l": 4.73, "26/45-l": 5.13},
    "8psk": {"23/36": 6.12, "25/36": 7.02, "13/18": 7.49},
    "16apsk": {
        **{"1/2-l": 5.97, "8/15-l": 6.55, "5/9-l": 6.84, "26/45": 7.51, "3/5": 7.80},
        **{"3/5-l": 7.41, "28/45": 8.10, "23/36": 8.38, "2/3-l": 8.43, "25/36": 9.27},
        **{"13/18": 9.71, "7/9": 10.65, "77/90": 11.99},
    },
    "32apsk": {"2/3-l": 11.10, "32/45": 11.75, "11/15": 12.17, "7/9": 13.05},
    "64apsk": {"32/45-l": 13.98, "11/15": 14.81, "7/9": 15.47, "4/5": 15.87, "5/6": 16.55},
    "128apsk": {"3/4": 17.73, "7/9": 18.53},
    "256apsk": {
        **{"29/45-l": 16.98, "2/3-l": 17.24, "31/45-l": 18.10, "32/45": 18.59},
        **{"11/15-l": 18.84, "3/4": 19.57},
    },
}

_S2X_BCH_BITS: Final = 192
"""Parity of a BCH code that corrects 12 errors (EN 302 307-2 table 5a).  Two codes are printed with
10 in some editions, which would be 0.07 % more."""


def _dvb_s2x() -> Iterable[ModCod]:
    for modulation, modes in _DVB_S2X_ES_N0.items():
        for rate, es_n0_db in modes.items():
            top, bottom = rate.removesuffix("-l").split("/")
            k_bch = _NORMAL_BITS * int(top) // int(bottom) - _S2X_BCH_BITS
            yield _dvb("dvb-s2x", modulation, rate, es_n0_db, k_bch, _NORMAL_BITS)


_CCSDS_FRAME_BITS: Final = 1115 * 8
"""A transfer frame that fills five interleaved codewords of RS(255,223) (CCSDS 131.0-B §4.4.1)."""

_ASM_BITS: Final = 32
"""Attached sync marker of uncoded, Reed-Solomon, convolutional and C2 frames; turbo codes have 32
bits over their rate, AR4JA 64 (131.0-B §9.3)."""

# Name, user bits, coded bits, marker, Eb/N0 in dB for a frame loss of 10^-5; lengths from CCSDS
# 131.0-B tables 6-1 and 7-5.  Turbo codes and C2 (7/8): CCSDS 130.1-G-2 figures 7-9 and 8-2, to
# 0.1 dB.  AR4JA: rate 1/2 with k = 4096 is simulated (AFF3CT error rate references, 2018); the
# others stand as far as it does, 0.67 dB, from the normal approximation of the best code of their
# length and rate, the longer ones 0.17 dB closer and the shorter ones 0.23 dB farther; to 0.2 dB.
_LONG_CODES: Final = (
    ("turbo 1/2", 8920, 17848, 64, 1.05),
    ("turbo 1/3", 8920, 26772, 96, 0.45),
    ("turbo 1/4", 8920, 35696, 128, 0.20),
    ("turbo 1/6", 8920, 53544, 192, -0.05),
    ("ldpc 7/8", 7136, 8160, _ASM_BITS, 3.90),
)
_AR4JA: Final = (
    ("ldpc 1/2", 16384, 32768, 64, 0.95),
    ("ldpc 2/3", 16384, 24576, 64, 1.80),
    ("ldpc 4/5", 16384, 20480, 64, 2.80),
    ("ldpc-4096 1/2", 4096, 8192, 64, 1.34),
    ("ldpc-4096 2/3", 4096, 6144, 64, 2.25),
    ("ldpc-4096 4/5", 4096, 5120, 64, 3.25),
    ("ldpc-1024 1/2", 1024, 2048, 64, 2.05),
    ("ldpc-1024 2/3", 1024, 1536, 64, 2.90),
    ("ldpc-1024 4/5", 1024, 1280, 64, 3.90),
)

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
    for rows, width_db in ((_LONG_CODES, _WIDTH_DB), (_AR4JA, _AR4JA_WIDTH_DB)):
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
