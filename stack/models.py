"""The names of models that programs use, in one list.  Programs import them from
`orbitferry.models`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what type checkers see; a test compares it with the table below
    from link_models.budget import confidence as confidence
    from link_models.budget import expected_rate_bps as expected_rate_bps
    from link_models.budget import load_site as load_site
    from link_models.budget import preset as preset
    from link_models.budget import slant_range_m as slant_range_m
    from link_models.budget import slant_ranges_m as slant_ranges_m
    from link_models.channel import Channel as Channel
    from link_models.channel import ChannelConfig as ChannelConfig
    from link_models.channel import Delay as Delay
    from link_models.channel import Window as Window
    from link_models.channel import always_up as always_up
    from link_models.clock import VirtualLoop as VirtualLoop
    from link_models.disturbances.config import StationPlace as StationPlace
    from link_models.disturbances.config import build_rules as build_rules
    from link_models.disturbances.config import parse_disturbances as parse_disturbances
    from link_models.emulator import Emulator as Emulator
    from link_models.emulator import EmulatorConfig as EmulatorConfig
    from link_models.emulator import TcpConfig as TcpConfig
    from link_models.loss import FrameErrors as FrameErrors
    from link_models.loss import GilbertElliott as GilbertElliott
    from link_models.loss import LossModel as LossModel
    from link_models.network import TraceHash as TraceHash
    from link_models.network import VirtualNetwork as VirtualNetwork
    from link_models.orbit.constellation import sun_synchronous as sun_synchronous
    from link_models.orbit.constellation import walker as walker
    from link_models.orbit.crosslink import CrosslinkLimits as CrosslinkLimits
    from link_models.orbit.crosslink import find_crosslinks as find_crosslinks
    from link_models.orbit.crosslink import look_across as look_across
    from link_models.orbit.crosslink import plus_grid as plus_grid
    from link_models.orbit.elements import load_elements as load_elements
    from link_models.orbit.geometry import Station as Station
    from link_models.orbit.geometry import doppler_hz as doppler_hz
    from link_models.orbit.geometry import look as look
    from link_models.orbit.passes import pass_table as pass_table
    from link_models.orbit.sun import beta_deg as beta_deg
    from link_models.orbit.sun import eclipses as eclipses
    from link_models.orbit.sun import sun_outage_half_angle_deg as sun_outage_half_angle_deg
    from link_models.orbit.sun import sun_outages as sun_outages
    from link_models.planner import PassLink as PassLink
    from link_models.planner import ScheduleConfig as ScheduleConfig
    from link_models.planner import plan_passes as plan_passes
    from link_models.planner import schedule as schedule
    from link_models.planner import tidy as tidy
    from link_models.rng import Streams as Streams
    from link_models.weather.clouds import KNOWN_SITES as KNOWN_SITES
    from link_models.weather.clouds import CloudField as CloudField
    from stack.adapters.udp import open_udp as open_udp
    from stack.core.clock import MILLISECOND as MILLISECOND
    from stack.core.clock import SECOND as SECOND
else:
    from stack import lazily

    _NAMES = """
        link_models.budget confidence expected_rate_bps load_site preset
        link_models.budget slant_range_m slant_ranges_m
        link_models.channel Channel ChannelConfig Delay Window always_up
        link_models.clock VirtualLoop
        link_models.disturbances.config StationPlace build_rules parse_disturbances
        link_models.emulator Emulator EmulatorConfig TcpConfig
        link_models.loss FrameErrors GilbertElliott LossModel
        link_models.network TraceHash VirtualNetwork
        link_models.orbit.constellation sun_synchronous walker
        link_models.orbit.crosslink CrosslinkLimits find_crosslinks look_across plus_grid
        link_models.orbit.elements load_elements
        link_models.orbit.geometry Station doppler_hz look
        link_models.orbit.passes pass_table
        link_models.orbit.sun beta_deg eclipses sun_outage_half_angle_deg sun_outages
        link_models.planner PassLink ScheduleConfig plan_passes schedule tidy
        link_models.rng Streams
        link_models.weather.clouds CloudField KNOWN_SITES
        stack.adapters.udp open_udp
        stack.core.clock MILLISECOND SECOND
    """
    """Where each is: a module, and names of it."""

    __all__, home_of, __getattr__, __dir__ = lazily("orbitferry.models", _NAMES)
