"""Link budgets: radio and optical, term by term, down to the rate and the loss of each second.

rates         rates by elevation, distances
curves        error rates of codes
modcod        modulations and codes by name: DVB-S2, DVB-S2X, CCSDS
series        choice of the mode, and what a link does second by second
radio         radio links
optical       optical links
attenuation   weather at a site, by share of the year
presets       ready links
"""

from link_models.budget.attenuation import (
    AttenuationTable,
    Site,
    confidence,
    expected_rate_bps,
    load_site,
    sites,
)
from link_models.budget.modcod import ModCod, modcods
from link_models.budget.optical import OpticalLink, OpticalMode
from link_models.budget.presets import (
    PRESET_ALTITUDE_M,
    Preset,
    preset,
    presets,
)
from link_models.budget.radio import Antenna, RadioLink, ReceiveAntenna, TransmitAntenna
from link_models.budget.rates import RateTable, elevation_deg, slant_range_m, slant_ranges_m
from link_models.budget.series import Acm, LinkBudget, LinkSeries, ModemMode, Term, Waveform

__all__ = [
    "PRESET_ALTITUDE_M",
    "Acm",
    "Antenna",
    "AttenuationTable",
    "LinkBudget",
    "LinkSeries",
    "ModCod",
    "ModemMode",
    "OpticalLink",
    "OpticalMode",
    "Preset",
    "RadioLink",
    "RateTable",
    "ReceiveAntenna",
    "Site",
    "Term",
    "TransmitAntenna",
    "Waveform",
    "confidence",
    "elevation_deg",
    "expected_rate_bps",
    "load_site",
    "modcods",
    "preset",
    "presets",
    "sites",
    "slant_range_m",
    "slant_ranges_m",
]
