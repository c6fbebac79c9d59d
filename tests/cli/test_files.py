"""Commands that work on files: keys, configuration, plans, passes, dissection, benchmarks."""

from __future__ import annotations

import json
import re
import stat
import sys
import tomllib
from pathlib import Path

import pytest

from stack.cli import bench as bench_module
from stack.cli.config.command import Subject, example_text, reference_text
from stack.cli.config.reference import sections_of
from stack.cli.emulate.config import parse_emulate_config
from stack.contacts.files import load_plan
from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import dtn_from_iso
from stack.core.eid import Eid
from stack.node.config import NodeConfig, load_config, parse_config
from stack.security import load_keys
from stack.wire.bundle import PAYLOAD, Bundle, CanonicalBlock, PrimaryBlock, encode_bundle
from tests.cli.helpers import Cli

TLE = """SENTINEL-2A
1 40697U 15028A   26274.29857647 -.00000002  00000+0  15863-4 0  9990
2 40697  98.5653 347.6046 0001070  85.9280 274.2026 14.30818852588907
"""
BEGIN = "2026-10-01T00:00:00Z"
SVALBARD = "svalbard,78.2298,15.4078,458"


@pytest.fixture
def elements(tmp_path: Path) -> Path:
    path = tmp_path / "satellites.tle"
    path.write_text(TLE)
    return path


# ---- keys ------------------------------------------------------------------------------------


def test_keys_are_made_and_shown_without_their_secrets(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    ran = cli("keys", "new", path, "--name", "fleet", "--peer", "dtn://sat*")
    assert ran.code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys = load_keys(path).keys
    assert [key.id for key in keys] == ["fleet-aes", "fleet-hmac", "fleet-ltp"]
    assert keys[0].peers == ("dtn://sat*",)
    shown = cli("keys", "show", path)
    lines = cli("keys", "show", path, "--json")
    assert shown.code == lines.code == 0
    for ran in (shown, lines):
        for key in keys:
            assert key.id in ran.out
            assert key.secret.hex() not in ran.out
            assert key.secret.hex()[:8] not in ran.out
    assert [row["bits"] for row in lines.json] == [256, 384, 256]


def test_fingerprints_tell_secrets_apart(cli: Cli, tmp_path: Path) -> None:
    prints = []
    for name in ("a", "b"):
        cli("keys", "new", tmp_path / name)
        prints += [
            row["fingerprint"] for row in cli("keys", "show", tmp_path / name, "--json").json
        ]
    again = [row["fingerprint"] for row in cli("keys", "show", tmp_path / "a", "--json").json]
    assert len(set(prints)) == 6
    assert again == prints[:3]


def test_keys_are_never_overwritten(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    cli("keys", "new", path)
    before = path.read_text()
    ran = cli("keys", "new", path)
    assert ran.code == 2
    assert "exists" in ran.err
    assert path.read_text() == before


def test_bad_key_files(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    ran = cli("keys", "show", path)
    assert (ran.code, ran.out) == (2, "")
    assert "orbitferry keys new" in ran.err
    cli("keys", "new", path)
    path.chmod(0o644)
    assert f"chmod 600 {path}" in cli("keys", "show", path).err
    assert cli("keys", "new", tmp_path / "x", "--name", 'a"b').code == 2


# ---- configuration ---------------------------------------------------------------------------


def enroll(cli: Cli, folder: Path) -> None:
    """The identity that the example names."""
    cli("domain", "init", "mine", "--folder", folder / "domain", "--no-passphrase")
    place = ("--folder", folder / "identity", "--domain", folder / "domain")
    assert cli("domain", "enroll", "dtn://gs1/", *place).code == 0


def test_the_example_is_a_configuration(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text(cli("config", "example").out)
    config = load_config(path)
    assert config.node_id == Eid.parse("dtn://gs1/")
    ran = cli("config", "check", path)
    assert ran.code == 2
    assert "orbitferry domain enroll" in ran.err
    enroll(cli, tmp_path)
    ran = cli("config", "check", path)
    assert ran.code == 0, ran.err
    assert "fine; dtn://gs1/, sat1 to dtn://sat1/, 3 keys, 0 contacts" in ran.out
    (checked,) = cli("config", "check", path, "--json").json
    assert checked["control"] == str(config.control_path)
    assert checked["kind"] == "node"


@pytest.mark.parametrize("kind", ["emulator", "scenario"])
def test_other_files_are_checked_too(cli: Cli, tmp_path: Path, kind: str) -> None:
    """What kind of file it is, its keys tell."""
    path = tmp_path / "some.toml"
    path.write_text(cli("config", "example", kind).out)
    (tmp_path / "handlers.py").write_text("HANDLERS = {}\n")
    ran = cli("config", "check", path)
    assert (ran.code, kind in ran.err, f"{path}: fine; a" in ran.out) == (0, True, True), ran.err
    (checked,) = cli("config", "check", path, "--json").json
    assert checked["kind"] == kind
    path.write_text(path.read_text() + "\n[unknown_table]\n")
    ran = cli("config", "check", path)
    assert ran.code == 2
    assert "unknown_table: unknown key" in ran.err


def test_what_the_example_has_commented_out_is_right_too(tmp_path: Path) -> None:
    lines = []
    for line in example_text(Subject.NODE).splitlines():
        bare = line.removeprefix("# ")
        is_key = line.startswith("# ") and (" = " in bare or bare.startswith("[["))
        lines.append(bare if is_key and bare[0].isascii() and "`" not in bare else line)
    config = parse_config(tomllib.loads("\n".join(lines)), tmp_path)
    assert config.services.handlers[0].name == "hillshade"
    assert config.contacts.default == "dtn://gs2/"


def test_the_emulator_example_is_a_configuration() -> None:
    config = parse_emulate_config(tomllib.loads(example_text(Subject.EMULATOR)))
    assert config.forward.rate_bps == 256_000
    assert config.backward is not None
    assert config.emulator().seed == 1


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (('id = "dtn://gs1/"', 'id = "gs1"'), ["node.toml:5: id", "dtn://name/"]),
        (("quota_bytes", "qouta_bytes"), ["store.qouta_bytes", "did you mean 'quota_bytes'"]),
        (("k = 64", "k = 300"), ["node.toml:", "fec.k: 300 is not within 1 to 255"]),
        (('local = "127.0.0.1:4556"', 'local = "here"'), ["links.sat1.local", "'here'"]),
        (("# plan = ", "plan = "), ["plan.json"]),
        (("[log]", "[log"), ["not TOML"]),
    ],
)
def test_check_says_where_and_what_to_do(
    cli: Cli, tmp_path: Path, change: tuple[str, str], parts: list[str]
) -> None:
    path = tmp_path / "node.toml"
    text = example_text(Subject.NODE)
    assert change[0] in text
    path.write_text(text.replace(*change))
    enroll(cli, tmp_path)
    ran = cli("config", "check", path)
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    for part in parts:
        assert part in ran.err


def test_check_reads_the_plan(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text(example_text(Subject.NODE).replace("# plan = ", "plan = "))
    enroll(cli, tmp_path)
    plan = tmp_path / "plan.json"
    plan.write_text('{"format": "nonsense"}')
    assert cli("config", "check", path).code == 2


def test_the_reference_explains_every_key() -> None:
    sections = sections_of(NodeConfig)
    names = {(section.tables[0], key.name) for section in sections for key in section.keys}
    assert {("[]", "id"), ("[store]", "quota_bytes"), ("[links.ltp]", "segment_bytes")} <= names
    assert all(key.text for section in sections for key in section.keys), "each has a reason"
    text = reference_text(Subject.NODE)
    assert "## `[[links]]`" in text
    assert '**`synchronous`** ("full" or "normal", `"full"`)' in text.replace("\n  ", " ")


# ---- contact plans ---------------------------------------------------------------------------


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan in ION's format: 1 to 2 for an hour, then 2 to 3, a second of light each."""
    path = tmp_path / "plan.ionrc"
    path.write_text(
        "a contact +0 +3600 1 2 1000\na range +0 +3600 1 2 1\n"
        "a contact +7200 +9000 2 3 125000\na range +7200 +9000 2 3 1\n"
    )
    return path


def test_a_plan_is_shown(cli: Cli, plan: Path) -> None:
    ran = cli("plan", "show", plan, "--reference", BEGIN)
    assert ran.code == 0
    assert "8 kbit/s" in ran.out
    assert "1000.000 ms" in ran.out
    rows = cli("plan", "show", plan, "--reference", BEGIN, "--json").json
    assert rows[0]["start"] == "2026-10-01T00:00:00.000Z"
    assert rows[0]["rate_bps"] == 8000
    ran = cli("plan", "show", plan, "--limit", 1)
    assert "... and 1 more" in ran.out


def test_a_plan_is_converted_there_and_back(cli: Cli, plan: Path, tmp_path: Path) -> None:
    whole = load_plan(plan, dtn_from_iso(BEGIN))
    for name in ("p.json", "p.hdtn.json", "p.ionrc"):
        ran = cli("plan", "convert", plan, tmp_path / name, "--reference", BEGIN)
        assert ran.code == 0, ran.err
        assert load_plan(tmp_path / name, dtn_from_iso(BEGIN)).contacts == whole.contacts
    ran = cli("plan", "convert", plan, tmp_path / "p.xml")
    assert ran.code == 2
    assert "no format to write" in ran.err
    ran = cli("plan", "convert", plan, tmp_path / "p", "--to", "json", "--json")
    assert ran.json == [{"path": str(tmp_path / "p"), "contacts": 2, "ranges": 4}]


def test_a_route(cli: Cli, plan: Path) -> None:
    options = ("--reference", BEGIN, "--at", BEGIN, "--size", 8000)
    (found,) = cli("plan", "route", plan, "ipn:1.0", "ipn:3.0", *options, "--json").json
    assert [hop["destination"] for hop in found["hops"]] == ["ipn:2.0", "ipn:3.0"]
    # 8000 octets take 8 s at 1000 octets/s; then it waits for 7200 s; 64 ms at 125,000; 1 s light.
    assert found["after_s"] == pytest.approx(7200 + 0.064 + 1)
    assert (
        "2 h 00 min after departure"
        in cli("plan", "route", plan, "ipn:1.0", "ipn:3.0", *options).out
    )


def test_no_route(cli: Cli, plan: Path) -> None:
    ran = cli("plan", "route", plan, "ipn:3.0", "ipn:1.0", "--reference", BEGIN)
    assert ran.code == 1
    assert "no way for 1 kB" in ran.err
    ran = cli("plan", "route", plan, "ipn:9.0", "ipn:1.0")
    assert ran.code == 2
    assert "its nodes: ipn:1.0, ipn:2.0, ipn:3.0" in ran.err


@pytest.mark.parametrize("option", ["--reference", "--at"])
def test_times_are_iso(cli: Cli, plan: Path, option: str) -> None:
    ran = cli("plan", "route", plan, "ipn:1.0", "ipn:2.0", option, "noon")
    assert ran.code == 2
    assert "'noon' is no time" in ran.err


def test_a_plan_that_cannot_be_read(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "plan.ionrc"
    path.write_text("a contact soon")
    for arguments in (["show", path], ["show", tmp_path / "gone"]):
        ran = cli("plan", *arguments)
        assert ran.code == 2
        assert str(arguments[1]) in ran.err


# ---- passes ----------------------------------------------------------------------------------


def test_passes(cli: Cli, elements: Path) -> None:
    options = ("-s", SVALBARD, "--from", BEGIN, "--for", "1d")
    rows = cli("passes", elements, *options, "--json").json
    assert 10 <= len(rows) <= 15, "a polar station sees most of the 14 orbits of a day"
    assert all(5 <= row["max_elevation_deg"] <= 90 for row in rows)
    assert all(60 < row["duration_s"] < 900 for row in rows)
    shown = cli("passes", elements, *options)
    assert f"{len(rows)} passes" in shown.out
    high = cli("passes", elements, *options, "--mask", 30, "--json").json
    assert len(high) < len(rows)


def test_doppler_of_passes(cli: Cli, elements: Path) -> None:
    options = ("-s", SVALBARD, "--from", BEGIN, "--for", "4h")
    rows = cli("passes", elements, *options, "--carrier-hz", "8.2e9", "--json").json
    for row in rows:
        # A low orbit comes and goes with up to 7 km/s.
        assert 1000 < row["max_range_rate_m_s"] < 7200
        ratio = row["max_doppler_hz"] / 8.2e9
        assert ratio == pytest.approx(row["max_range_rate_m_s"] / 299_792_458)
    plain = cli("passes", elements, *options, "--json").json
    assert "max_doppler_hz" not in plain[0]
    shown = cli("passes", elements, *options, "--carrier-hz", "8.2e9").out
    assert "doppler" in shown
    assert "kHz" in shown
    turned = cli("passes", elements, *options, "--dut1-s", "0.5", "--json").json
    assert [row["rise"] for row in turned] != [row["rise"] for row in plain]


CASES = Path(__file__).parents[1] / "link_models/orbit/cases"
AT_SVALBARD = ("-s", "svalbard,78.2298,15.4078,458", "--from", "2026-10-02T00:00:00Z")


def test_passes_say_how_old_the_elements_are_and_who_has_decayed(cli: Cli) -> None:
    both = cli("passes", CASES / "decayed-beside-good.tle", *AT_SVALBARD, "--json")
    assert {row["satellite"] for row in both.json} == {"POL-A"}
    assert "DEC-A decays by 2026-10-01T12" in both.err
    assert all(0 < row["elements_age_days"] < 2 for row in both.json)
    assert all(1 / 8 < row["expected_error_s"] < 1 for row in both.json)
    shown = cli("passes", CASES / "omm.kvn", *AT_SVALBARD)
    assert "0.7 d" in shown.out
    assert "note:" not in shown.err
    old = cli("passes", CASES / "omm.kvn", "-s", "x,0,0", "--from", "2027-10-02T00:00:00Z")
    assert "days old: passes may be off" in old.err


def test_passes_of_what_is_down_say_so(cli: Cli) -> None:
    gone = cli("passes", CASES / "decayed.tle", *AT_SVALBARD)
    assert gone.code == 1
    assert "decays by" in gone.err
    assert "get newer ones" in gone.err


def test_each_pass_of_a_satellite_with_many_sets_comes_once(cli: Cli) -> None:
    twice = cli("passes", CASES / "dup.tle", *AT_SVALBARD, "--json")
    once = cli("passes", CASES / "name-begins-2.tle", *AT_SVALBARD, "--json")
    assert [row["rise"] for row in twice.json] == [row["rise"] for row in once.json]
    assert "2 sets of 1 satellite" in twice.err


def test_passes_become_a_plan(cli: Cli, elements: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    rates = ("--up", "256k", "--down", "100M")
    ran = cli(
        "passes", elements, "-s", SVALBARD, "--from", BEGIN, "--for", "4h", "--plan", path, *rates
    )
    assert ran.code == 0, ran.err
    made = load_plan(path)
    up = made.between("dtn://svalbard/", "dtn://sentinel-2a/")
    down = made.between("dtn://sentinel-2a/", "dtn://svalbard/")
    assert {contact.rate_bps for contact in up} == {256e3}
    assert {contact.rate_bps for contact in down} == {100e6}
    assert made.ranges
    assert (
        cli("plan", "route", path, "dtn://svalbard/", "dtn://sentinel-2a/", "--at", BEGIN).code == 0
    )


def test_stations_from_a_file(cli: Cli, elements: Path, tmp_path: Path) -> None:
    path = tmp_path / "stations.toml"
    path.write_text(
        "[[station]]\nname = 'Kiruna'\nlatitude_deg = 67.8571\nlongitude_deg = 20.9643\n"
        "horizon = [[0, 10], [180, 20]]\n"
    )
    options = ("--stations", path, "--from", BEGIN, "--json")
    rows = cli("passes", elements, *options).json
    assert {row["station"] for row in rows} == {"Kiruna"}
    assert min(row["max_elevation_deg"] for row in rows) >= 10
    path.write_text("[[station]]\nname = 'Kiruna'\n")
    ran = cli("passes", elements, "--stations", path)
    assert ran.code == 2
    assert "latitude_deg" in ran.err


@pytest.mark.parametrize(
    ("options", "code", "part"),
    [
        ([], 2, "there is no station"),
        (["-s", "svalbard"], 2, "NAME,LATITUDE,LONGITUDE"),
        (["-s", "x,99,0"], 2, "latitude_deg"),
        (["-s", SVALBARD, "--satellite", "ISS"], 2, "it has SENTINEL-2A"),
        (["-s", SVALBARD, "--from", "noon"], 2, "'noon' is no time"),
        (["-s", SVALBARD, "--from", BEGIN, "--for", "1m"], 1, "no passes within 1 min 00 s"),
        (["-s", SVALBARD, "--carrier-hz", "0"], 2, "no frequency"),
        (["-s", SVALBARD, "--dut1-s", "1"], 2, "dut1_s"),
        (["-s", SVALBARD, "--plan", "x.json", "--up", "fast"], 2, "fast"),
        (["-s", SVALBARD, "--plan", "x.json", "--up", "q-band-up"], 2, "q-band-up"),
    ],
)
def test_what_passes_refuses(
    cli: Cli,
    elements: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    code: int,
    part: str,
) -> None:
    monkeypatch.chdir(elements.parent)
    ran = cli("passes", elements, *options)
    assert ran.code == code
    assert part in ran.err


# ---- dissection ------------------------------------------------------------------------------


def bundle() -> bytes:
    primary = PrimaryBlock(
        flags=0,
        crc_type=2,
        destination=Eid.parse("dtn://sat1/files"),
        source=Eid.parse("dtn://gs1/files"),
        report_to=Eid.NONE,
        creation_ms=830_000_000_000,
        sequence=7,
        lifetime_ms=60_000,
    )
    return encode_bundle(Bundle(primary, (CanonicalBlock(PAYLOAD, 1, 0, b"hello", 2),)))


def test_inspect(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "bundle.cbor"
    path.write_bytes(bundle())
    ran = cli("inspect", path)
    assert ran.code == 0
    assert "destination: dtn://sat1/files" in ran.out
    assert "(right)" in ran.out
    (tree,) = cli("inspect", bundle().hex(), "--kind", "bundle", "--json").json
    assert tree["length"] == len(bundle())


def test_inspect_of_something_broken(cli: Cli, tmp_path: Path) -> None:
    data = bytearray(bundle())
    data[-3] ^= 1
    path = tmp_path / "broken.cbor"
    path.write_bytes(data)
    ran = cli("inspect", path)
    assert ran.code == 1
    assert "CRC" in ran.out
    ran = cli("inspect", tmp_path / "gone")
    assert ran.code == 2
    ran = cli("inspect", path, "--kind", "letter")
    assert ran.code == 2


# ---- benchmarks ------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two benchmarks, one of which fails."""
    folder = tmp_path / "tests" / "benchmarks"
    folder.mkdir(parents=True)
    for part in (tmp_path / "tests", folder):
        (part / "__init__.py").touch()
    (folder / "bench_good.py").write_text("print('fast: 7')\n")
    (folder / "bench_bad.py").write_text("raise SystemExit(5)\n")
    monkeypatch.setattr(bench_module, "__file__", str(tmp_path / "stack" / "cli" / "bench.py"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def test_benchmarks(cli: Cli, checkout: Path) -> None:
    assert cli("bench", "--list").out == "bad\ngood\n"
    assert cli("bench", "--list", "--json").json == [{"name": "bad"}, {"name": "good"}]
    (done,) = cli("bench", "good", "--json").json
    assert (done["lines"], done["exit_code"]) == (["fast: 7"], 0)
    assert cli("bench", "good").code == 0
    ran = cli("bench")
    assert ran.code == 1
    assert "failed: bad" in ran.err
    ran = cli("bench", "nothing")
    assert ran.code == 2
    assert "there are bad, good" in ran.err


def test_benchmarks_need_the_repository(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_module, "__file__", str(tmp_path / "stack" / "cli" / "bench.py"))
    ran = cli("bench")
    assert ran.code == 1
    assert "checkout of the repository" in ran.err


def test_every_benchmark_of_this_repository_is_known(cli: Cli) -> None:
    assert {"fec", "ltp", "routing"} <= set(cli("bench", "--list").out.split())


def test_plans_of_running_and_written_nodes_look_alike(cli: Cli, tmp_path: Path) -> None:
    from stack.contacts.files import dump_plan

    path = tmp_path / "plan.json"
    contact = Contact("dtn://a/", "dtn://b/", 1000, 2000, float("inf"))
    dump_plan(Plan([contact], [Range("dtn://a/", "dtn://b/", 1000, 2000, 5_000_000)]), path)
    (row,) = [json.loads(line) for line in cli("plan", "show", path, "--json").out.splitlines()]
    assert row["rate_bps"] is None
    assert row["owlt_ms"] == 5
    assert "unlimited" in cli("plan", "show", path).out


# ---- what is printed where -------------------------------------------------------------------


def test_cells_of_tables_on_a_terminal_are_never_folded(
    cli: Cli, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    plain = cli("plan", "show", plan, "--reference", BEGIN).out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", cli("plan", "show", plan, "--reference", BEGIN).out)
    assert max(map(len, shown.splitlines())) <= 40 < max(map(len, plain.splitlines()))
    assert re.split(r" {2,}|\n *", shown) == re.split(r" {2,}|\n *", plain), "whole, in order"


def test_a_scenario_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    ran = cli("loopback", tmp_path / "gone.toml")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert "gone.toml" in ran.err
