"""The day, who may have its data, and what the logs of all nodes say of it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from examples.sovereign_day.day import LAWS, PASSES_S, POLICY, day
from orbitferry import Contact, Plan, dtn_from_iso, dump_plan, run_virtual, unix_from_dtn

BEGIN, END = "2025-12-31T00:00:00Z", "2025-12-31T09:00:00Z"
"""Of the day: that is when `domain_nodes` begins."""

SPOTS: Final = {
    "daejeon": (36.4, 127.4),
    "kiruna": (67.9, 20.2),
    "abroad": (13.0, 100.5),
    "busan": (35.1, 129.0),
}


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `orbitferry`."""
    line = [sys.executable, "-m", "orbitferry", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True)


def write_places(path: Path) -> None:
    """Where stations are, and a satellite above 75 degrees east that stays there, for maps."""
    days = (unix_from_dtn(dtn_from_iso(BEGIN)) - 946_728_000) / 86_400
    sidereal_deg = 280.46062 + 360.98564737 * days
    text = f'title = "Places"\nstart = "{BEGIN}"\n' + "".join(
        f'[[stations]]\nid = "dtn://{name}/"\nlatitude_deg = {north}\nlongitude_deg = {east}\n'
        for name, (north, east) in SPOTS.items()
    )
    text += f"""[[constellations]]
id = "dtn://sat{{}}/"
count = 1
altitude_km = 35_786
inclination_deg = 0
raan_deg = {(75 + sidereal_deg) % 360}
[[radios]]
up = {{ preset = "s-band-up" }}
down = {{ preset = "x-band-down" }}
"""
    path.write_text(text)


def check(root: Path, reports: Path) -> None:
    """Before anything is sent: who may have it, as a table and a map."""
    (root / "policy.toml").write_text(
        f'readers = "{POLICY.readers}"\nrest = "{POLICY.rest}"\ntransit = "{POLICY.transit}"\n'
    )
    (root / "nodes.toml").write_text(  # who is revoked is not named
        "".join(
            f'[[node]]\nid = "dtn://{name}/"\njurisdictions = ["{law}"]\n'
            for name, law in LAWS.items()
            if name != "busan"
        )
    )
    write_places(root / "places.toml")
    begin_ms = dtn_from_iso(BEGIN)
    plan = Plan(
        Contact(f"dtn://{a}/", f"dtn://{b}/", begin_ms + s * 1000, begin_ms + e * 1000, 1e6)
        for pair, passes in PASSES_S.items()
        for a, b in (pair, pair[::-1])
        for s, e in passes
    )
    dump_plan(plan, root / "plan.json")
    where = ["-d", root / "nodes.toml", "--places", root / "places.toml"]
    asked = [root / "policy.toml", root / "plan.json", "dtn://daejeon/", "dtn://sat1/", *where]
    print(command("policy", "check", *asked, "--report", reports).stdout)


def audit(root: Path, reports: Path, bundle: str) -> int:
    """What the logs of all nodes say of it; 0 when nothing speaks against them."""
    logs, keys = list[Path](), list[str]()
    for name in ("daejeon", "kiruna", "sat1", "abroad"):
        log = root / f"{name}.audit"
        made = command("audit", "export", root / name / "data", "-o", log, "--json")
        if made.returncode == 0:
            logs.append(log)
            keys += ["--key", json.loads(made.stdout)["key"]]  # as its node itself has told it
        else:
            print(f"{name} has no log, as when nothing under a policy has come there")
    about = [bundle, *logs, "-d", root / "nodes.toml", *keys]
    page = ["--html", reports / "story.html", "--places", root / "places.toml"]
    story = command("audit", "story", *about, *page)
    proof = command("audit", "prove", *about, "--rest", "KR | SE", "--from", BEGIN, "--to", END)
    print(story.stdout, proof.stdout, story.stderr, proof.stderr, sep="\n")
    print(f"before: {reports / 'report.html'}; after: {reports / 'story.html'}")
    return story.returncode or proof.returncode


def main(reports: Path) -> int:
    """Run it, and write two pages; 0 when the audit finds nothing against it."""
    with tempfile.TemporaryDirectory(prefix="orbitferry-") as name:
        root = Path(name)
        check(root, reports)
        bundle = run_virtual(lambda: day(root))
        return audit(root, reports, bundle)


if __name__ == "__main__":
    sys.exit(main(Path(*sys.argv[1:] or ["out/sovereign_day"])))
