"""What pytest gets from an installed Orbitferry: fixtures for tests of programs that embed a node.

pytest finds this module by itself, by the entry point ``pytest11`` of the package, and loads it in
every run: it imports nothing but pytest until a fixture is asked for.  ``-p no:orbitferry`` leaves
it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from orbitferry import RunTwoNodes


@pytest.fixture
def run_two_nodes(tmp_path_factory: pytest.TempPathFactory) -> RunTwoNodes:
    """Run a coroutine with a ground station, a satellite and a link between them in virtual time.

    ``run_two_nodes(main, rate_bps=1e6, passes_s=[(60, 120)])`` runs ``main(ground, satellite)``.
    """
    from orbitferry import RunTwoNodes

    return RunTwoNodes(lambda: tmp_path_factory.mktemp("nodes"))
