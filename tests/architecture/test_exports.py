"""The public surface for embedding: whole, lazy, and the same for people and for type checkers."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import orbitferry
import stack
from orbitferry import models as public_models
from stack import models

ROOT = Path(__file__).parents[2]

NAMES = """
AgentConfig AppPort AuditConfig AuthorityFolder BundleId Cancelled CaptureFile Clock CommandHandler
ConfigError Contact ContactsConfig DataPolicy DatagramPort DecodeError Delivery Eid Endpoint
Environment Expected FLOW_REPAIR FLOW_SOURCE FecConfig FileEvent FileRef FilesConfig FilesService
Handler HandlerConfig IdentityConfig Inbox JobClient JobContext JobFailed JobLimits JobState
JobStatus JobsConfig LinkConfig LocalError LogConfig LtpConfig Mailbox Marking MissingExtraError
Node NodeConfig NodeFolder NodeSet Offer OpenPort OrbitferryError Outgoing PingResult PingStats Plan
PolicyConfig PolicyError PolicyRule Prediction Prepared Progress Range Received Result RetryPolicy
Router RunDomainNodes RunTwoNodes Scenario SecurityConfig SecurityError Services ServicesConfig
StoreError StoreFullError StoreSection Train TunnelConfig TwoNodes Write __version__ approve_request
domain_nodes dtn_from_iso dtn_from_unix dtn_to_iso dump_plan load_config load_plan load_policy
load_scenario new_key_file parse_scenario ping predict run run_scenario run_virtual send_message
two_nodes unix_from_dtn
"""


MODELS = """
Channel ChannelConfig CloudField CrosslinkLimits Delay Emulator EmulatorConfig FrameErrors
GilbertElliott KNOWN_SITES LossModel MILLISECOND PassLink SECOND ScheduleConfig Station
StationPlace Streams TcpConfig TraceHash VirtualLoop VirtualNetwork Window always_up beta_deg
build_rules confidence doppler_hz eclipses expected_rate_bps find_crosslinks load_elements
load_site look look_across open_udp parse_disturbances pass_table plan_passes plus_grid preset
schedule slant_range_m slant_ranges_m sun_outage_half_angle_deg sun_outages sun_synchronous tidy
walker
"""


def run_python(script: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, *options, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_names_are_these() -> None:
    assert vars(orbitferry)["__all__"] == NAMES.split()
    assert dir(orbitferry) == NAMES.split()
    assert dir(public_models) == vars(public_models)["__all__"] == dir(models) == MODELS.split()


@pytest.mark.parametrize("name", NAMES.split())
def test_every_name_is_there(name: str) -> None:
    found = getattr(orbitferry, name)
    if name != "__version__":
        assert found is getattr(stack, name)
    assert getattr(found, "__name__", name) in (name, "Callable")


@pytest.mark.parametrize("name", MODELS.split())
def test_every_name_of_the_models_is_there(name: str) -> None:
    home = vars(models)["home_of"](name)
    assert getattr(public_models, name) is getattr(sys.modules[home], name)


@pytest.mark.parametrize("module", [orbitferry, public_models, stack])
def test_other_names_are_not(module: object) -> None:
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        module.nothing_of_this_name  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("module", [stack, models])
def test_type_checkers_see_the_names_that_programs_get(module: Any) -> None:
    (seen,) = (
        node
        for node in ast.parse(Path(module.__file__).read_text()).body
        if isinstance(node, ast.If)
    )
    homes = {
        (one.module, alias.name)
        for one in seen.body
        if isinstance(one, ast.ImportFrom)
        for alias in one.names
        if alias.asname == alias.name
    }
    assert homes == {(module.home_of(name), name) for name in dir(module)}


def test_importing_it_loads_nothing() -> None:
    script = (
        "import sys, typing, importlib, __future__; known = set(sys.modules); import orbitferry;"
        " print(*sorted(sys.modules.keys() - known))"
    )
    assert run_python(script).split() == ["orbitferry", "stack"]


def test_a_codec_does_not_load_a_node() -> None:
    script = (
        "import sys, stack.wire.bundle as b; print('stack.node' in sys.modules,"
        " 'asyncio' in sys.modules)"
    )
    assert run_python(script).split() == ["False", "False"]


def test_help_tells_where_to_begin() -> None:
    text = run_python("import orbitferry; print(orbitferry.__doc__)")
    assert "Begin with a node" in text
    assert "docs/how-to-embed.md" in text


def test_it_runs_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orbitferry", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["orbitferry", orbitferry.__version__]
