"""Ready links: each a budget whose terms are sourced or named as an assumption."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from link_models.budget.optical import OpticalLink, OpticalMode
from link_models.budget.radio import RadioLink, ReceiveAntenna, TransmitAntenna
from link_models.budget.rates import RateTable
from link_models.budget.series import Acm, ModemMode
from stack.core.errors import ConfigError

PRESET_ALTITUDE_M: Final = 800_000.0
"""The rate tables of presets are for orbits up to here (Earth observation flies at 500 to 800 km).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset(RateTable):
    """A ready link: its rates by elevation, for orbits up to `PRESET_ALTITUDE_M`, and the budget
    that they come from.  A link between spacecraft has one rate, that at its distance."""

    name: str
    description: str
    link: RadioLink | OpticalLink
    range_m: float
    """Distance for which a link between spacecraft is meant; 0 for links through the air."""

    sources: tuple[str, ...]
    """Where its numbers come from; "assumed" where nobody published them."""


def presets() -> tuple[Preset, ...]:
    """All ready links."""
    return tuple(_made(name) for name in PRESETS)


def preset(name: str) -> Preset:
    """A ready link: ``s-band-up`` has 256 kbit/s, ``x-band-down`` 74, 112 and 149 Mbit/s; see
    `presets` for the others.

    Raises `ConfigError` for another name.
    """
    if name not in PRESETS:
        raise ConfigError("preset", f"{name!r} is unknown", "use " + ", ".join(PRESETS))
    return _made(name)


@cache
def _made(name: str) -> Preset:
    return PRESETS[name](name)


def _preset(
    *,
    name: str,
    description: str,
    link: RadioLink | OpticalLink,
    range_m: float = 0.0,
    sources: tuple[str, ...],
) -> Preset:
    if range_m:
        table = RateTable(((-10.0, float(link.series(range_m).rate_bps[0])),))
    else:
        table = link.rate_table(PRESET_ALTITUDE_M)
    return Preset(
        table.steps,
        name=name,
        description=description,
        link=link,
        range_m=range_m,
        sources=sources,
    )


_ADAPTIVE: Final = Acm(margin_db=1.0, hysteresis_db=0.5, delay_s=0.1)
"""For adaptive links: 1 dB, as modems keep; 0.5 dB against swinging; a report every 100 ms."""


def _s_band_up(name: str) -> Preset:
    return _preset(
        name=name,
        description="256 kbit/s from a 5.4 m dish with 20 W to a patch antenna",
        link=RadioLink(
            path="up",
            frequency_hz=2.0675e9,
            transmit=TransmitAntenna(
                power_w=20.0, diameter_m=5.4, efficiency=0.55, feeder_loss_db=2.0
            ),
            receive=ReceiveAntenna(gain_dbi=0.0, noise_k=630.0),
            modes=(ModemMode(256e3, 54.1 + 10.5, "bpsk uncoded"),),
            other_loss_db=0.5,
        ),
        sources=(
            "frequency: middle of 2,025-2,110 MHz, Earth to space (ITU Radio Regulations, art. 5)",
            "receiver: assumed patch antenna of 0 dBi in any direction below; 630 K, of which the "
            "Earth is 290",
            "mode: BPSK without code, one wrong bit in 10^6 at Eb/N0 = 10.5 dB, "
            "erfc(sqrt(Eb/N0)) / 2",
            "256 kbit/s: a common rate of S-band uplink receivers; power, dish and feeder assumed",
            "other losses: 0.5 dB of pointing, assumed",
        ),
    )


def _x_band_down(name: str) -> Preset:
    return _preset(
        name=name,
        description="three modes of DVB-S2 at 75 Msymbol/s from 2 W and a patch antenna to a "
        "5.4 m dish, with fixed allowances",
        link=RadioLink(
            frequency_hz=8.2125e9,
            transmit=TransmitAntenna(eirp_dbw=8.0),
            receive=ReceiveAntenna(g_over_t_db_k=29.3, noise_k=150.0),
            symbol_rate_hz=75e6,
            modes=("dvb-s2 qpsk 1/2", "dvb-s2 qpsk 3/4", "dvb-s2 8psk 2/3"),
            zenith_gas_db=0.0,
            other_loss_db=1.5,
        ),
        sources=(
            "frequency: middle of 8,025-8,400 MHz, Earth exploration (Radio Regulations, art. 5)",
            "EIRP: 2 W = 3 dBW into 6 dBi less 1 dB of feeder, assumed for a small satellite",
            "G/T: 5.4 m at 60 %: 51.1 dBi; 150 K = 21.8 dBK, assumed",
            "modes: ETSI EN 302 307-1 V1.4.1, table 13",
            "other losses: 0.5 dB of pointing, and 1 dB of air at every elevation instead of "
            "ITU-R P.676, which has 0.5 dB at 5 degrees",
        ),
    )


def _x_band_acm(name: str) -> Preset:
    return _preset(
        name=name,
        description="adaptive DVB-S2 at 75 Msymbol/s from 2 W and 12 dBi to a 5.4 m dish",
        link=RadioLink(
            frequency_hz=8.2125e9,
            transmit=TransmitAntenna(
                power_w=2.0, gain_dbi=12.0, feeder_loss_db=1.0, pointing_error_deg=5.0
            ),
            receive=ReceiveAntenna(diameter_m=5.4, noise_k=150.0, pointing_error_deg=0.05),
            symbol_rate_hz=75e6,
            modes=("dvb-s2-pilots",),
            implementation_loss_db=1.5,
            acm=_ADAPTIVE,
        ),
        sources=(
            "shape: DVB-S2 in X band from a CubeSat with a high-gain antenna to dishes of 4.5 to "
            "7.6 m, 220 Mbit/s at most: Devaraj et al., Dove High Speed Downlink System, "
            "SSC17-VII-02 (2017)",
            "frequency: middle of 8,025-8,400 MHz (Radio Regulations, art. 5); 90 MHz wide",
            "power, gains, noise and pointing: assumed",
            "modes: ETSI EN 302 307-1 V1.4.1, table 13, with pilots",
        ),
    )


def _ka_down(name: str) -> Preset:
    return _preset(
        name=name,
        description="adaptive DVB-S2 at 800 Msymbol/s and 26 GHz from 2 W and 24 dBi to a 5.4 m "
        "dish",
        link=RadioLink(
            frequency_hz=26.25e9,
            transmit=TransmitAntenna(
                power_w=2.0, gain_dbi=24.0, feeder_loss_db=1.5, pointing_error_deg=1.0
            ),
            receive=ReceiveAntenna(diameter_m=5.4, noise_k=300.0, pointing_error_deg=0.02),
            symbol_rate_hz=800e6,
            modes=("dvb-s2",),
            implementation_loss_db=2.0,
            acm=_ADAPTIVE,
        ),
        sources=(
            "frequency: middle of 25.5-27.0 GHz, Earth exploration (Radio Regulations, art. 5); "
            "960 MHz wide",
            "power, gains, noise and pointing: assumed for a satellite of 100 kg",
            "modes: ETSI EN 302 307-1 V1.4.1, table 13",
        ),
    )


def _ka_relay(name: str) -> Preset:
    return _preset(
        name=name,
        description="26 GHz from low orbit, 10 W and a 0.9 m dish, to a geostationary relay",
        link=RadioLink(
            path="space",
            frequency_hz=26.25e9,
            transmit=TransmitAntenna(
                power_w=10.0, diameter_m=0.9, feeder_loss_db=2.0, pointing_error_deg=0.1
            ),
            receive=ReceiveAntenna(g_over_t_db_k=26.5),
            symbol_rate_hz=150e6,
            modes=("ccsds qpsk ldpc *",),
            implementation_loss_db=2.0,
        ),
        range_m=45_890e3,
        sources=(
            "distance: 45,890 km, the longest of NASA's examples (450-SNUG rev. 10, A.2)",
            "G/T: 26.5 dB/K, single access at Ka band of the second TDRS generation; 150 Msymbol/s "
            "fit its channel of 225 MHz",
            "modes: CCSDS 131.0-B LDPC codes on QPSK",
            "power, dish, feeder and pointing: assumed",
        ),
    )


def _isl_ka(name: str) -> Preset:
    return _preset(
        name=name,
        description="23 GHz between satellites in low orbit, 5 W and 0.3 m dishes",
        link=RadioLink(
            path="space",
            frequency_hz=23.2e9,
            transmit=TransmitAntenna(
                power_w=5.0, diameter_m=0.3, feeder_loss_db=1.0, pointing_error_deg=0.3
            ),
            receive=ReceiveAntenna(diameter_m=0.3, noise_k=600.0, pointing_error_deg=0.3),
            symbol_rate_hz=25e6,
            modes=("ccsds qpsk ldpc *",),
        ),
        range_m=4_000e3,
        sources=(
            "frequency: in 22.55-23.55 GHz, between satellites (Radio Regulations, art. 5), where "
            "Iridium has its cross-links",
            "distance, power, dishes, noise and pointing: assumed",
            "modes: CCSDS 131.0-B LDPC codes on QPSK",
        ),
    )


# -35.5 dBm at 10 Gbit/s is 2.8e-7 W / 1.28e-19 J / 1e10 = 220 photons a bit.
_OOK_PHOTONS: Final = 220.0
_OOK_BIT_ERROR_RATE: Final = 1e-12
_OOK_SOURCE: Final = (
    "sensitivity: -35.5 dBm for on-off keying at 10 Gbit/s, one wrong bit in 10^12 (Liang et al., "
    "Link Budget Analysis for Free-Space Optical Satellite Networks, 2022): 220 photons a bit, "
    "taken for 2.5 Gbit/s too"
)
_OOK: Final = tuple(
    OpticalMode(rate_bps=rate, photons_per_bit=_OOK_PHOTONS, bit_error_rate=_OOK_BIT_ERROR_RATE)
    for rate in (2.5e9, 10e9)
)


def _isl_optical(name: str) -> Preset:
    return _preset(
        name=name,
        description="2.5 and 10 Gbit/s between satellites, 1 W and telescopes of 80 mm",
        link=OpticalLink(
            path="space",
            power_w=1.0,
            transmit_aperture_m=0.08,
            receive_aperture_m=0.08,
            pointing_jitter_rad=1e-6,
            modes=_OOK,
        ),
        range_m=4_000e3,
        sources=(
            _OOK_SOURCE,
            "optics of 0.8 transmission each and pointing of 1 microradian: the same paper",
            "power, telescopes and distance: assumed",
        ),
    )


def _optical_down(name: str) -> Preset:
    return _preset(
        name=name,
        description="2.5 and 10 Gbit/s from 0.1 W and a beam of 100 microradian to a 0.4 m "
        "telescope",
        link=OpticalLink(
            power_w=0.1,
            divergence_rad=100e-6,
            receive_aperture_m=0.4,
            obscuration=0.3,
            receive_loss_db=3.0,
            pointing_jitter_rad=10e-6,
            modes=_OOK,
        ),
        sources=(
            _OOK_SOURCE,
            "power, beam, telescope, its obscuration, losses and jitter: assumed",
            "clear air: 0.5 dB towards the zenith, haze of 23 km visibility, assumed; ITU-R "
            "P.1621-2 for the absorption of 0.01 dB in it",
        ),
    )


def _optical_down_coherent(name: str) -> Preset:
    return _preset(
        name=name,
        description="100 and 200 Gbit/s, coherent, from 1 W and a beam of 200 microradian to a "
        "0.4 m telescope with adaptive optics",
        link=OpticalLink(
            power_w=1.0,
            divergence_rad=200e-6,
            receive_aperture_m=0.4,
            obscuration=0.3,
            receive_loss_db=7.0,
            pointing_jitter_rad=10e-6,
            modes=tuple(
                OpticalMode(rate_bps=rate, photons_per_bit=20.0, bit_error_rate=1e-12)
                for rate in (100e9, 200e9)
            ),
        ),
        sources=(
            "shape: TBIRD, 100 and 200 Gbit/s from a CubeSat in low orbit with commercial coherent "
            "transceivers (Schieler et al., Proc. SPIE, 2023)",
            "sensitivity: 20 photons a bit, assumed: 12.5 dB of optical signal to noise ratio in "
            "0.1 nm for 100 Gbit/s, 4 dB of amplifier noise, and 5 dB for the rest",
            "power, beam, telescope and jitter: assumed; 7 dB for coupling into a fibre behind "
            "adaptive optics",
        ),
    )


PRESETS: Final[Mapping[str, Callable[[str], Preset]]] = {
    "s-band-up": _s_band_up,
    "x-band-down": _x_band_down,
    "x-band-acm": _x_band_acm,
    "ka-down": _ka_down,
    "ka-relay": _ka_relay,
    "isl-ka": _isl_ka,
    "isl-optical": _isl_optical,
    "optical-down": _optical_down,
    "optical-down-100g": _optical_down_coherent,
}
"""What makes each ready link."""
