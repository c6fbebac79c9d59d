"""How random tests run: the same examples at every run of a commit, fresh ones in `make soak`."""

from __future__ import annotations

import gc
import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from stack.adapters.loop import COLLECT_AFTER

# Nothing may depend on how busy the machine is, nor on what an earlier run has left behind.
settings.register_profile(
    "commit",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "soak", settings.get_profile("commit"), derandomize=False, print_blob=True
)
# In `make quick` each test that says nothing else of its examples takes the first quarter of them.
settings.register_profile("fewer", settings.get_profile("commit"), max_examples=25)
settings.load_profile("commit")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is there before the first test stays until the last: the collector does not walk through
    it (a third of the time of collecting, measured), and looks at what they make as seldom as in
    a node (a tenth of the time of the swarm's days)."""
    gc.disable()
    yield
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    gc.enable()


def pytest_collection_finish() -> None:
    """Load all our modules: Hypothesis also tries the constants of whatever is loaded, and which
    modules that is would otherwise depend on which tests a worker has run before.  So would those
    that tests load or write themselves: it looks for no more from here on."""
    for root in ("stack", "link_models", "interop"):
        package = importlib.import_module(root)
        for module in pkgutil.walk_packages(package.__path__, f"{root}."):
            importlib.import_module(module.name)
    look = vars(providers).get("_get_local_constants")
    if look is not None:  # a name of its own, which another version may not have
        found = look()
        vars(providers)["_get_local_constants"] = lambda: found
