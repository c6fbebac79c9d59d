"""Link budgets: radio and optical, term by term, down to the rate and the loss of each second.

rates         rates by elevation, distances
curves        error rates of codes
modcod        modulations and codes by name: DVB-S2, DVB-S2X, CCSDS
series        choice of the mode, and what a link does second by second
radio         radio links
optical       optical links
attenuation   weather at a site, by share of the year
presets       ready links (`presets.toml`)
tables        figures that were published or measured (`tables.toml`)
"""

from link_models.budget.attenuation import AttenuationTable as AttenuationTable
from link_models.budget.attenuation import Site as Site
from link_models.budget.attenuation import confidence as confidence
from link_models.budget.attenuation import expected_rate_bps as expected_rate_bps
from link_models.budget.attenuation import load_site as load_site
from link_models.budget.attenuation import sites as sites
from link_models.budget.modcod import ModCod as ModCod
from link_models.budget.modcod import modcods as modcods
from link_models.budget.optical import OpticalLink as OpticalLink
from link_models.budget.optical import OpticalMode as OpticalMode
from link_models.budget.presets import PRESET_ALTITUDE_M as PRESET_ALTITUDE_M
from link_models.budget.presets import BudgetFile as BudgetFile
from link_models.budget.presets import Preset as Preset
from link_models.budget.presets import preset as preset
from link_models.budget.presets import presets as presets
from link_models.budget.radio import Antenna as Antenna
from link_models.budget.radio import RadioLink as RadioLink
from link_models.budget.radio import ReceiveAntenna as ReceiveAntenna
from link_models.budget.radio import TransmitAntenna as TransmitAntenna
from link_models.budget.rates import RateTable as RateTable
from link_models.budget.rates import elevation_deg as elevation_deg
from link_models.budget.rates import slant_range_m as slant_range_m
from link_models.budget.rates import slant_ranges_m as slant_ranges_m
from link_models.budget.series import Acm as Acm
from link_models.budget.series import LinkBudget as LinkBudget
from link_models.budget.series import LinkSeries as LinkSeries
from link_models.budget.series import ModemMode as ModemMode
from link_models.budget.series import Term as Term
from link_models.budget.series import Waveform as Waveform
