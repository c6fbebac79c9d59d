"""The part of a report that says what was simulated."""

from __future__ import annotations

from pathlib import Path

import msgspec

from link_models.disturbances.config import Disturbance
from stack.core.clock import dtn_to_iso
from stack.core.units import count_text, duration_text, rate_text
from stack.simulator.loopback.world import short_name
from stack.simulator.report.page import table
from stack.simulator.scenario import DirectionConfig, RadioConfig, Scenario
from stack.simulator.sky import Sky

SATELLITES_MAX = 60
"""Satellites listed one by one."""


class Setup:
    """Tables of a scenario."""

    def __init__(self, scenario: Scenario, sky: Sky) -> None:
        self._scenario = scenario
        self._sky = sky

    def html(self) -> str:
        """All of them."""
        scenario = self._scenario
        protect = (
            "Every bundle is encrypted and authenticated by BPSec (AES-256-GCM)."
            if scenario.protect
            else "Bundles are not encrypted in this run."
        )
        parts = [
            f"<p>{protect} The nodes are whole Orbitferry nodes: bundle protocol 7, LTP, "
            "FECFRAME, contact-graph routing, file and job services; only clock, randomness, "
            "sockets and disks of stores are simulated. Nodes know the contact plan, and "
            "nothing of blackouts, weather and other disturbances.</p>",
            self._stations(),
            self._satellites(),
            self._planning(),
            self._links(),
            self._disturbances(),
            self._ground(),
        ]
        return "\n".join(part for part in parts if part)

    def _stations(self) -> str:
        rows = [
            (
                short_name(one.id),
                f"{one.latitude_deg:.4f}, {one.longitude_deg:.4f}, {one.altitude_m:.0f} m",
                f"above {one.mask_deg:g}°" + (" and a horizon" if one.horizon else ""),
                str(one.antennas),
                one.site or "–",
                one.owner,
                one.jurisdiction,
            )
            for one in self._scenario.stations
        ]
        head = ("station", "place", "mask", "antennas", "weather of", "owner", "law")
        return table(head, rows, numbers=(3,))

    def _satellites(self) -> str:
        crafts = self._scenario.spacecraft()
        files = {one.id: Path(one.elements).name for one in self._scenario.satellites}
        names = {one.id: one.name for one in self._scenario.satellites}
        patterns = {
            one.id: Path(one.elements).name
            if one.elements
            else f"Walker {one.inclination_deg:g}°: {one.count}/{one.planes}/{one.phasing}, "
            f"{one.altitude_km:g} km"
            for one in self._scenario.constellations
        }
        rows = [
            (
                short_name(one.id),
                names.get(one.id, ""),
                files.get(one.id) or patterns[one.constellation],
                dtn_to_iso(self._sky.satellites[one.id].epoch_ms),
                "in sunlight only" if one.sunlit_only else "always",
            )
            for one in crafts[:SATELLITES_MAX]
        ]
        head = ("satellite", "orbit of", "elements", "epoch", "transmits")
        more = len(crafts) - len(rows)
        note = f'<p class="note">and {more} more.</p>' if more else ""
        return table(head, rows) + note

    def _planning(self) -> str:
        planning, who = self._scenario.planning, self._sky.schedule
        if who is None or not who.passes:
            return ""
        text = (
            f"The planner booked {count_text(len(who.services), 'service')} of "
            f"{count_text(who.passes, 'pass')}; they are worth {_share(who.value, who.offered)} "
            f"of all passes together, {_share(who.value, who.bound)} of what these antennas can "
            f'do at most; "first come, first served" would give '
            f"{_share(who.first_come, who.bound)}. Guard time {planning.guard_s:g} s."
        )
        return f"<p>{text}</p>"

    def _links(self) -> str:
        rows = [
            (
                _ends(radio),
                name,
                _rates(direction),
                _disturbed(direction),
                _coding(direction),
                _blackouts(radio),
            )
            for radio in self._scenario.radios
            for name, direction in (("up", radio.up), ("down", radio.down))
        ]
        rows += [
            (
                ", ".join(entry.among) or "all satellites",
                f"across, {entry.topology}",
                _rates(entry.link),
                _disturbed(entry.link),
                _coding(entry.link),
                "none",
            )
            for entry in self._scenario.crosslinks
        ]
        return table(("radio", "way", "rate", "disturbances", "FEC", "blackouts"), rows)

    def _disturbances(self) -> str:
        rows = [
            (
                _kind(one),
                ", ".join(map(short_name, one.stations)) or "all",
                ", ".join(map(short_name, one.satellites)) or "all",
                _values(one),
            )
            for one in self._scenario.disturbances
        ]
        return table(("disturbance", "stations", "satellites", "values"), rows) if rows else ""

    def _ground(self) -> str:
        rows = [
            (
                *map(short_name, link.between),
                rate_text(link.rate_bps),
                duration_text(link.delay_ms / 1000),
            )
            for link in self._scenario.terrestrial
        ]
        return table(("ground link", "", "rate", "delay"), rows) if rows else ""


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def _ends(radio: RadioConfig) -> str:
    stations = ", ".join(map(short_name, radio.stations)) or "all stations"
    satellites = ", ".join(map(short_name, radio.satellites))
    return stations + (f" to {satellites}" if satellites else "")


def _rates(direction: DirectionConfig) -> str:
    link = direction.link()
    if link is None:
        steps = [f"{rate_text(rate)} from {elevation:.1f}°" for elevation, rate in direction.rates]
        return ", ".join(steps)
    modes = link.waveforms
    span = rate_text(modes[0].rate_bps)
    if len(modes) > 1:
        span += f" to {rate_text(modes[-1].rate_bps)} in {count_text(len(modes), 'mode')}"
    return f"{direction.preset or 'budget'}: {span}, margin {link.acm.margin_db:g} dB"


def _disturbed(direction: DirectionConfig) -> str:
    return "; ".join(f"{_kind(one)}: {_values(one)}" for one in direction.disturbances) or "none"


def _kind(one: Disturbance) -> str:
    return one.name or str(one.__struct_config__.tag)


def _values(one: Disturbance) -> str:
    """What the scenario says, without what is left at its default."""
    said = {
        field.name: getattr(one, field.name)
        for field in msgspec.structs.fields(one)
        if field.name not in ("name", "stations", "satellites")
        and getattr(one, field.name) != field.default
    }
    return ", ".join(f"{key} {_value(value)}" for key, value in said.items())


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _coding(direction: DirectionConfig) -> str:
    fec = direction.fec
    if fec is None:
        return "none"
    between = f", interleaved {fec.interleave}" if fec.interleave > 1 else ""
    return f"Reed-Solomon {fec.k}+{fec.r}{between}"


def _blackouts(radio: RadioConfig) -> str:
    own = radio.blackouts
    if not own.per_hour:
        return "none"
    return f"{own.per_hour:g} an hour, {own.mean_s:g} s ({own.shape})"
