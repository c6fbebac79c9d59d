"""What pytest gets from an installed Orbitferry: fixtures for tests of programs that embed a node,
and what tests with the machines of `interop.machines` want.

    run_two_nodes          a fixture: two nodes, a link and a virtual clock
    run_domain_nodes       a fixture: any number of nodes of one domain, each under a law
    run_two_ports          a fixture: two ends of such a link, for protocols without a node
    class TestMine(...)    a machine that begins with ``Test`` is a test, as its `TestCase` would be
    --hypothesis-profile   also ``quick`` (for each commit) and ``night`` (for hours)
    --orbitferry-report    at the end, for each machine: cases, and which transitions were taken

pytest finds this module by itself, by the entry point ``pytest11`` of the package, and loads it in
every run: it imports nothing but pytest until one of these is asked for.  ``-p no:orbitferry``
leaves it out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from interop.machines import Coverage, PeerMachine
    from orbitferry import RunDomainNodes, RunTwoNodes

    RunTwoPorts = Callable[..., Any]

REPORT = "--orbitferry-report"
_KEY = "orbitferry_report"


@pytest.fixture
def run_two_nodes(tmp_path_factory: pytest.TempPathFactory) -> RunTwoNodes:
    """Run a coroutine with a ground station, a satellite and a link between them in virtual time.

    ``run_two_nodes(main, rate_bps=1e6, passes_s=[(60, 120)])`` runs ``main(ground, satellite)``.
    """
    from orbitferry import RunTwoNodes

    return RunTwoNodes(lambda: tmp_path_factory.mktemp("nodes"))


@pytest.fixture
def run_domain_nodes(tmp_path_factory: pytest.TempPathFactory) -> RunDomainNodes:
    """Run a coroutine with nodes that have certificates of one domain, in virtual time.

    ``run_domain_nodes(main, {"a": "KR", "b": "SE"}, {("a", "b"): [(0, 600)]})`` runs
    ``main(nodes)``; ``nodes["a"]`` is one of them.
    """
    from orbitferry import RunDomainNodes

    return RunDomainNodes(lambda: tmp_path_factory.mktemp("domain"))


@pytest.fixture
def run_two_ports() -> RunTwoPorts:
    """Run a coroutine with the two ends of a link for datagrams in virtual time.

    ``run_two_ports(main, ChannelConfig(...), seed=1)`` runs ``main(a, b)``; `a` and `b` are
    ``DatagramPort``, and `link_models.channel` has what may befall datagrams.
    """
    from stack.simulator.testing import run_two_ports

    return run_two_ports


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option of the report."""
    about = "at the end, tell which transitions the machines of interop.machines have taken"
    parser.getgroup("orbitferry").addoption(REPORT, action="store_true", help=about)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Make the profile that is asked for, before Hypothesis loads it."""
    name = config.getoption("--hypothesis-profile", default=None)
    if name in ("quick", "night"):
        _make_profile(name)
    if config.getoption(REPORT) and hasattr(config, "workerinput"):
        config.pluginmanager.register(_Worker(config), "orbitferry-worker")
    elif config.getoption(REPORT):
        config.pluginmanager.register(_Report(), "orbitferry-report")


def _make_profile(name: str) -> None:
    from hypothesis import HealthCheck, settings
    from hypothesis.errors import InvalidArgument

    try:
        settings.get_profile(name)  # one of the user's own
    except InvalidArgument:
        slow = [HealthCheck.too_slow]
        if name == "quick":
            settings.register_profile(
                name, max_examples=50, stateful_step_count=30, deadline=None, derandomize=True,
                database=None, suppress_health_check=slow, report_multiple_bugs=False,
            )  # fmt: skip
        else:
            settings.register_profile(
                name, max_examples=20_000, stateful_step_count=60, deadline=None, print_blob=True,
                suppress_health_check=slow,
            )  # fmt: skip


def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> Any:
    """A machine is collected as its `TestCase` is."""
    machines = sys.modules.get("interop.machines.machine")
    if machines is None or not name.startswith("Test"):
        return None
    if not (isinstance(obj, type) and issubclass(obj, machines.PeerMachine)):
        return None
    case = obj.TestCase  # type: ignore[attr-defined]
    item: Any = collector.ihook.pytest_pycollect_makeitem(collector=collector, name=name, obj=case)
    item.obj = case  # else it looks up the name, and finds the machine
    return item


def _machines(kind: type[PeerMachine]) -> Iterator[type[PeerMachine]]:
    """All that were derived from a machine and have had a case."""
    for each in kind.__subclasses__():
        if each.coverage.cases:
            yield each
        yield from _machines(each)


def _taken() -> dict[str, Coverage]:
    """What the machines of this process have taken, by their names."""
    machines = sys.modules.get("interop.machines.machine")
    if machines is None:
        return {}
    found = _machines(machines.PeerMachine)
    return {f"{each.__module__}.{each.__qualname__}": each.coverage for each in found}


class _Worker:
    """In a process of pytest-xdist: hands over what was taken."""

    def __init__(self, config: pytest.Config) -> None:
        self._config: Any = config

    def pytest_sessionfinish(self) -> None:
        """Names and numbers only, as that is what goes over to the other process."""
        self._config.workeroutput[_KEY] = {
            name: (
                coverage.cases,
                [tuple(step) for step in coverage.table],
                [(*step, count) for step, count in coverage.taken.items()],
            )
            for name, coverage in _taken().items()
        }


class _Report:
    """In the process that prints."""

    def __init__(self) -> None:
        self._found: dict[str, Coverage] = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A process of pytest-xdist has ended."""
        told = getattr(node, "workeroutput", {}).get(_KEY)
        if not told:
            return
        from interop.machines import Coverage, Transition

        for name, (cases, rows, taken) in told.items():
            coverage = self._found.setdefault(name, Coverage(Transition(*row) for row in rows))
            coverage.cases += cases
            for *step, count in taken:
                coverage.taken[Transition(*step)] += count

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """A section for each machine."""
        for name, coverage in sorted({**_taken(), **self._found}.items()):
            terminalreporter.section(f"machine {name}")
            for line in coverage.lines():
                terminalreporter.line(line)
