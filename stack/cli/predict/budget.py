"""`orbitferry budget`: link budgets, term by term, and the rates that they give."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stack.cli.common import Json, Quantity
from stack.cli.output import emit, say, table
from stack.core.errors import ConfigError
from stack.core.units import rate_text

if TYPE_CHECKING:
    from link_models.budget import AttenuationTable, OpticalLink, RadioLink

ELEVATIONS_DEG: Final = (5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0)

ALTITUDE_KM: Final = (100.0, 400_000.0)
"""From the lowest orbits to the Moon's."""

FILE_BYTES_MAX: Final = 1024 * 1024

AVAILABILITY_PERCENT: Final = 99.0
"""Share of the year that a site's weather is counted for; three and a half days are worse."""


def budget(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[LINK]",
            help="A ready link, or a TOML file with a [radio] or [optical] table. Without it the "
            "ready links are listed.",
        ),
    ] = None,
    altitude_km: Annotated[
        float, typer.Option(metavar="KM", help="Height of the circular orbit.")
    ] = Quantity("600 km"),
    elevation: Annotated[
        float, typer.Option(metavar="DEG", help="Elevation of the satellite in the first table.")
    ] = Quantity("10 degrees"),
    range_km: Annotated[
        float | None,
        typer.Option(metavar="KM", help="Distance, for links between spacecraft."),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(metavar="SITE", help="Weather of a ready site, or of a site's file."),
    ] = None,
    availability: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            help="Count the weather that is not exceeded for this share of the year. Default: 99 "
            "with --site.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a link budget term by term, and the rates by elevation.

    With --site the air, clouds, rain and scintillation of an average year there are counted (ITU-R
    P.618), and the tables also say how probable each rate is.

    \b
    Examples:
      orbitferry budget
      orbitferry budget x-band-acm --altitude-km 500 --elevation 5
      orbitferry budget ka-down --site svalbard --availability 99.5
      orbitferry budget isl-optical --range-km 3000 --json
    """
    if name is None:
        _list(as_json)
        return
    link, title, sources, preset_range_m = _found(name)
    _check("--altitude-km", altitude_km, *ALTITUDE_KM)
    _check("--elevation", elevation, 0.0, 90.0)
    link, weather, share = _under(link, site, availability)
    if link.path == "space":
        distance_m = preset_range_m if range_km is None else range_km * 1e3
        _check("--range-km", distance_m / 1e3, 0.001, 1e9)
        result = _between(link, distance_m)
    elif range_km is not None:
        raise ConfigError("--range-km", "follows from --altitude-km and --elevation here")
    else:
        result = _through_air(link, altitude_km, elevation, weather, share)
    result = {"link": name, "description": title} | result | {"sources": list(sources)}
    if as_json:
        emit(result)
    else:
        _print(result)


def _list(as_json: bool) -> None:
    from link_models.budget import presets, sites

    known = presets()
    if as_json:
        for one in known:
            low, high = one.steps[0][1], one.steps[-1][1]
            emit(
                {
                    "link": one.name,
                    "description": one.description,
                    "path": one.link.path,
                    "rate_min_bps": low,
                    "rate_max_bps": high,
                    "sources": list(one.sources),
                }
            )
        return
    rows = [(one.name, rate_text(one.steps[-1][1]), one.description) for one in known]
    table(("link", "up to", "what it is"), rows)
    say(f"sites: {', '.join(sites())}")


def _found(name: str) -> tuple[RadioLink | OpticalLink, str, tuple[str, ...], float]:
    """A ready link, or that of a file: the budget, what it is, its sources, its distance."""
    from link_models.budget import preset

    if name.endswith(".toml"):
        return read_budget(Path(name)), "", (), 0.0
    found = preset(name)
    return found.link, found.description, found.sources, found.range_m


def read_budget(path: Path) -> RadioLink | OpticalLink:
    """The link budget of a file.  Raises `ConfigError`."""
    from link_models.budget import BudgetFile
    from stack.core import toml

    def parse(data: dict[str, Any]) -> RadioLink | OpticalLink:
        return toml.convert(data, BudgetFile).link

    return toml.load(path, parse, what="a link budget", bytes_max=FILE_BYTES_MAX)


def _under(
    link: RadioLink | OpticalLink, site: str | None, availability: float | None
) -> tuple[RadioLink | OpticalLink, AttenuationTable | None, float]:
    """The link under a site's air, the site's weather, and the share of the year to count."""
    from link_models.budget import RadioLink, load_site

    if site is None:
        if availability is not None:
            raise ConfigError("--availability", "depends on the weather", "add --site svalbard")
        return link, None, 0.0
    if not isinstance(link, RadioLink) or link.path == "space":
        raise ConfigError("--site", "only radio links through the air have a site's weather")
    weather = load_site(site).table(link.frequency_hz)
    share = AVAILABILITY_PERCENT if availability is None else availability
    return link.with_gas(weather.zenith_gas_db), weather, share


def _check(key: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(key, f"{value:g} is not from {least:g} to {most:g}")


def _between(link: RadioLink | OpticalLink, distance_m: float) -> dict[str, Any]:
    """A link between spacecraft: its terms, and the rates by distance."""
    import numpy as np

    ranges_m = distance_m * np.array([0.1, 0.2, 0.5, 0.75, 1.0, 1.5, 2.0])
    rows = _rows(link, ranges_m, np.full(len(ranges_m), 90.0), 0.0, None)
    for row in rows:
        del row["elevation_deg"]
    return {
        "range_km": distance_m / 1e3,
        "terms": _terms(link, distance_m, 90.0, 0.0),
        "rates": rows,
    }


def _through_air(
    link: RadioLink | OpticalLink,
    altitude_km: float,
    elevation_deg: float,
    weather: AttenuationTable | None,
    availability: float,
) -> dict[str, Any]:
    """A link through the air: its terms at an elevation, and the rates by elevation."""
    import numpy as np

    from link_models.budget import slant_ranges_m

    elevations = np.array(ELEVATIONS_DEG)
    fades, fade_db = np.zeros(len(elevations)), 0.0
    about: dict[str, Any] = {}
    if weather is not None:
        fades = weather.fade_db(elevations, availability)
        fade_db = float(weather.fade_db(elevation_deg, availability))
        about = {
            "site": weather.site.site,
            "availability_percent": availability,
            "weather_source": weather.site.source,
        }
    distance_m = float(slant_ranges_m(altitude_km * 1e3, elevation_deg))
    return about | {
        "altitude_km": altitude_km,
        "elevation_deg": elevation_deg,
        "range_km": distance_m / 1e3,
        "terms": _terms(link, distance_m, elevation_deg, fade_db),
        "rates": _rows(
            link, slant_ranges_m(altitude_km * 1e3, elevations), elevations, fades, weather
        ),
    }


def _terms(
    link: RadioLink | OpticalLink, range_m: float, elevation_deg: float, fade_db: float
) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "value": one.value, "unit": one.unit, "source": one.source}
        for one in link.terms(range_m, elevation_deg, fade_db)
    ]


def _rows(
    link: RadioLink | OpticalLink,
    ranges_m: Any,
    elevations_deg: Any,
    fade_db: Any,
    weather: AttenuationTable | None,
) -> list[dict[str, Any]]:
    from link_models.budget import confidence

    # Each row stands alone: what was measured before has no part in it.
    series = link.series(ranges_m, elevations_deg, fade_db, expected_fade_db=fade_db)
    rows = []
    for place, elevation in enumerate(elevations_deg.tolist()):
        mode = int(series.mode[place])
        row = {
            "elevation_deg": elevation,
            "range_km": float(ranges_m[place]) / 1e3,
            "c_n0_db_hz": float(series.c_n0_db_hz[place]),
            "mode": series.waveforms[mode].name if mode >= 0 else None,
            "rate_bps": float(series.rate_bps[place]),
            "margin_db": float(series.margin_db[place]),
        }
        if weather is not None:
            rate = row["rate_bps"]
            sure = confidence(link, weather, ranges_m[place], elevation, rate)
            row["confidence"] = float(sure) if rate else 0.0
        rows.append(row)
    return rows


def _print(result: dict[str, Any]) -> None:
    where = f"{result['range_km']:.0f} km"
    if "elevation_deg" in result:
        where += f", {result['elevation_deg']:g}° of elevation at {result['altitude_km']:g} km"
    if "site" in result:
        where += f"; {result['site']}, {result['availability_percent']:g} % of the year"
    if result["description"]:
        say(result["description"])
    terms = [
        (one["name"], f"{one['value'] + 0.0:.2f}".rjust(9), one["unit"], one["source"])
        for one in result["terms"]
    ]
    table(("term", "    value", "unit", "source"), terms, where)
    say("")
    heads = ["elevation"] if "elevation_deg" in result else []
    heads += ["range", "C/N0", "mode", "rate", "margin"]
    heads += ["confidence"] if "site" in result else []
    rows = []
    for one in result["rates"]:
        cells = [f"{one['elevation_deg']:g}°"] if "elevation_deg" in one else []
        cells += [f"{one['range_km']:.0f} km", f"{one['c_n0_db_hz']:.1f} dBHz"]
        cells += [one["mode"] or "none", rate_text(one["rate_bps"]) if one["mode"] else "0"]
        cells += [f"{one['margin_db']:.1f} dB"]
        cells += [f"{one['confidence']:.2%}"] if "confidence" in one else []
        rows.append(cells)
    table(heads, rows)
    if result["sources"]:
        say("")
    for source in result["sources"]:
        say(source)
    if "weather_source" in result:
        say(f"weather: {result['weather_source']}")
