"""`orbitferry passes`: when satellites are in view of stations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stack.cli.common import CommandError, Json, Quantity, Seconds, duration, quantity, time_of
from stack.cli.output import emit, note, say, table, tell_doubts
from stack.core.errors import ConfigError
from stack.core.units import count_text, duration_text, parse_rate

if TYPE_CHECKING:
    from link_models.budget import RateTable
    from link_models.orbit.geometry import Station
    from link_models.orbit.mean_elements import Satellite
    from link_models.orbit.passes import PassRow

STATIONS_MAX: Final = 10_000

STATIONS_BYTES_MAX: Final = 16 * 1024 * 1024

CARRIER_HZ_MAX: Final = 1e16
"""Beyond the light of optical terminals (2e14 Hz)."""


Elements = Annotated[
    Path, typer.Argument(metavar="ELEMENTS", help="TLE, or OMM as KVN, CSV, JSON or XML.")
]
StationTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--station",
        "-s",
        metavar="NAME,LAT,LON[,ALT]",
        help="A station: degrees north and east, metres above the ellipsoid; repeat it.",
    ),
]
StationsFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="TOML with [[station]] tables, for masks and horizons."),
]
SatelliteNames = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Only this satellite, by name or catalogue number."),
]
Begin = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="ISO 8601 time to begin at. Default: now."),
]
Length = Annotated[float, quantity(duration, "How long to look.", "--for")]
Mask = Annotated[
    float, typer.Option(metavar="DEG", help="Lowest usable elevation of each --station.")
]
PlanFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write a contact plan too (.json, .ionrc, .hdtn.json)."),
]
Carrier = Annotated[
    float | None,
    typer.Option(metavar="HZ", help="Show the largest Doppler shift of this carrier, as 8.2e9."),
]
Dut1 = Annotated[float, typer.Option(metavar="S", help="UT1-UTC; 0.1 s moves a pass by 6 ms.")]
Up = Annotated[str, typer.Option(metavar="RATE", help="Uplink of the plan: a rate, or s-band-up.")]
Down = Annotated[
    str, typer.Option(metavar="RATE", help="Downlink of the plan: a rate, or x-band-down.")
]


def passes(
    elements: Elements,
    station: StationTexts = None,
    stations: StationsFile = None,
    satellite: SatelliteNames = None,
    begin: Begin = None,
    length: Length = Seconds("1d"),
    mask: Mask = Quantity("5 degrees"),
    carrier_hz: Carrier = None,
    dut1_s: Dut1 = Quantity("0 s"),
    plan: PlanFile = None,
    up: Up = "s-band-up",
    down: Down = "x-band-down",
    as_json: Json = False,
) -> None:
    """Predict passes, and make contact plans of them.

    Nodes of the plan are named after stations and satellites: SENTINEL-2A is dtn://sentinel-2a/.
    Of several sets of one satellite the one of the nearest epoch counts. What is doubtful (old
    elements, decay) is told on standard error. Exit code 1 when there is no pass.

    \b
    Examples:
      orbitferry passes satellites.tle -s svalbard,78.2298,15.4078,458
      orbitferry passes satellites.tle --stations net.toml --satellite 40697 --for 7d --json
      orbitferry passes omm.json -s kiruna,67.8571,20.9643 --plan plan.json --up 256k --down 100M
    """
    from link_models.orbit.decay import decay_ms
    from link_models.orbit.elements import load_elements
    from link_models.orbit.fitness import doubts, nearest_epochs
    from link_models.orbit.passes import pass_table
    from stack.core.clock import dtn_to_iso

    sites = [_station(text, mask) for text in station or ()]
    if stations is not None:
        sites += read_stations(stations)
    if not sites:
        raise ConfigError("--station", "there is no station", "add --station NAME,LAT,LON")
    start_ms = time_of(begin, "--from")
    end_ms = start_ms + round(length * 1000)
    sets = _chosen(load_elements(elements), satellite or (), elements)
    chosen = nearest_epochs(sets, (start_ms + end_ms) / 2)
    if carrier_hz is not None and not 0.0 < carrier_hz < CARRIER_HZ_MAX:
        raise ConfigError("--carrier-hz", "no frequency of a carrier", "write hertz, like 8.2e9")
    rows = pass_table(chosen, sites, start_ms, end_ms, dut1_s=dut1_s)
    if as_json:
        for row in rows:
            emit(_as_dict(row, carrier_hz))
    elif rows:
        _print(rows, carrier_hz)
    if len(chosen) < len(sets):
        many = f"{len(sets)} sets of {count_text(len(chosen), 'satellite')}"
        note(f"{many}: those of the nearest epochs are used")
    tell_doubts(doubts(chosen, start_ms, end_ms))
    if plan is not None:
        _write_plan(plan, chosen, sites, (start_ms, end_ms), (up, down), dut1_s, as_json)
    if not rows:
        all_down = all(decay_ms(one, start_ms) < start_ms for one in chosen)
        raise CommandError(
            f"no passes within {duration_text(length)} of {dtn_to_iso(start_ms)}",
            "all satellites have decayed by then, as these elements have it; get newer ones"
            if all_down
            else "look longer with --for, or lower --mask",
        )


def _station(text: str, mask_deg: float) -> Station:
    from link_models.orbit.geometry import Station

    parts = [part.strip() for part in text.split(",")]
    try:
        numbers = [float(part) for part in parts[1:]]
    except ValueError:
        numbers = []
    if not parts[0] or len(numbers) not in (2, 3):
        raise ConfigError(
            "--station", f"{text!r} is none", "write NAME,LATITUDE,LONGITUDE[,ALTITUDE]"
        )
    return Station(
        name=parts[0],
        latitude_deg=numbers[0],
        longitude_deg=numbers[1],
        altitude_m=numbers[2] if len(numbers) == 3 else 0.0,
        mask_deg=mask_deg,
    )


def read_stations(path: Path) -> list[Station]:
    """The stations of a file.  Raises `ConfigError`."""
    import msgspec

    from link_models.orbit.geometry import Station
    from stack.core import toml

    file = msgspec.defstruct("StationsFile", [("station", list[Station])])

    def parse(data: dict[str, Any]) -> list[Station]:
        (stations,) = msgspec.structs.astuple(toml.convert(data, file))
        return list(stations)

    found = toml.load(path, parse, what="a list of stations", bytes_max=STATIONS_BYTES_MAX)
    if not 0 < len(found) <= STATIONS_MAX:
        raise ConfigError(str(path), f"{len(found)} stations, not 1..{STATIONS_MAX}")
    return found


def _chosen(known: Sequence[Satellite], wanted: Sequence[str], path: Path) -> list[Satellite]:
    if not wanted:
        return list(known)
    chosen = []
    for name in wanted:
        found = [
            one
            for one in known
            if one.name.lower() == name.lower() or str(one.catalogue_id) == name
        ]
        if not found:
            some = ", ".join(one.name for one in known[:6])
            raise ConfigError("--satellite", f"{name!r} is not in {path}", f"it has {some}")
        chosen += found
    return chosen


def _as_dict(row: PassRow, carrier_hz: float | None) -> dict[str, Any]:
    from stack.core.clock import dtn_to_iso

    shown: dict[str, Any] = {
        "station": row.station,
        "satellite": row.satellite,
        "rise": dtn_to_iso(row.rise_ms),
        "rise_azimuth_deg": row.rise_azimuth_deg,
        "culmination": dtn_to_iso(row.culmination_ms),
        "culmination_azimuth_deg": row.culmination_azimuth_deg,
        "max_elevation_deg": row.max_elevation_deg,
        "min_range_km": row.min_range_km,
        "set": dtn_to_iso(row.set_ms),
        "set_azimuth_deg": row.set_azimuth_deg,
        "duration_s": row.duration_s,
        "max_range_rate_m_s": row.max_range_rate_m_s,
        "elements_age_days": row.elements_age_days,
        "expected_error_s": row.expected_error_s,
    }
    if carrier_hz is not None:
        shown["max_doppler_hz"] = row.max_doppler_hz(carrier_hz)
    return shown


def _print(rows: Sequence[PassRow], carrier_hz: float | None) -> None:
    from stack.core.clock import dtn_to_iso

    shown = [
        (
            row.station,
            row.satellite,
            f"{dtn_to_iso(row.rise_ms)[:19]}Z",
            f"{dtn_to_iso(row.set_ms)[11:19]}Z",
            duration_text(row.duration_s),
            f"{row.max_elevation_deg:.1f}°",
            f"{row.rise_azimuth_deg:.0f}° {row.culmination_azimuth_deg:.0f}° "
            f"{row.set_azimuth_deg:.0f}°",
            f"{row.min_range_km:.0f} km",
            f"{row.elements_age_days:.1f} d",
            *(() if carrier_hz is None else (_frequency_text(row.max_doppler_hz(carrier_hz)),)),
        )
        for row in rows
    ]
    heads = ("station", "satellite", "rise", "set", "length", "highest", "azimuths", "range", "age")
    table(heads if carrier_hz is None else (*heads, "doppler"), shown)
    total_s = sum(row.duration_s for row in rows)
    say(f"{count_text(len(rows), 'pass')}, {duration_text(total_s)} in all")


def _frequency_text(hertz: float) -> str:
    for unit, size in (("GHz", 1e9), ("MHz", 1e6), ("kHz", 1e3)):
        if hertz >= size:
            return f"±{hertz / size:.1f} {unit}"
    return f"±{hertz:.0f} Hz"


def _write_plan(
    path: Path,
    satellites: Sequence[Satellite],
    stations: Sequence[Station],
    window_ms: tuple[int, int],
    rates: tuple[str, str],
    dut1_s: float,
    as_json: bool,
) -> None:
    from link_models.planner import PassLink, plan_passes
    from stack.contacts.files import dump_plan

    up, down = (_rate_table(text) for text in rates)
    nodes = {_node_id(one.name): one for one in satellites}
    sites = {_node_id(one.name): one for one in stations}
    if len(nodes) < len(satellites) or len(sites) < len(stations):
        raise ConfigError("--plan", "two satellites or two stations have one name", "rename one")
    link = PassLink(uplink=up, downlink=down)
    made = plan_passes(nodes, sites, link, *window_ms, dut1_s=dut1_s)
    dump_plan(made, path, reference_ms=window_ms[0])
    if not as_json:
        note(
            f"{path}: {count_text(len(made.contacts), 'contact')}, "
            f"{count_text(len(made.ranges), 'range')}"
        )


def _rate_table(text: str) -> RateTable:
    from link_models.budget import RateTable, preset

    if re.fullmatch(r"[a-z]+-band-[a-z]+", text):
        return preset(text)
    return RateTable(((-10.0, parse_rate(text)),))


def _node_id(name: str) -> str:
    """The node that is named after a station or satellite."""
    label = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-")
    return f"dtn://{label}/"
