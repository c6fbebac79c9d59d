"""What all machines of this package share: an adapter, time, transitions, and how a case ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from hypothesis import currently_in_test_context, event, target
from hypothesis.stateful import RuleBasedStateMachine

from interop.machines.transitions import Coverage, Transition


class PeerMachine(RuleBasedStateMachine):
    """A state machine that deals with one implementation, and holds what it does against a model.

    A machine for a protocol derives from this; it gives a `table`, makes its peer with `adapter` in
    an `initialize` rule, tells `took`, and overrides `finish`.  One for an implementation derives
    from that and sets `adapter`.  Its `TestCase` is what pytest runs.

    The peer may be a Python object, a process or a socket; the adapter knows.  Time is virtual
    unless an adapter waits for it: `advance` is how the peer hears of it.
    """

    adapter: ClassVar[Callable[..., Any]]
    """Makes the implementation under test, or what stands for it; a class, usually.  If it has
    `close`, that is called at the end of each case."""

    table: ClassVar[Iterable[Transition]] = ()
    """Transitions that the machine tells of."""

    coverage: ClassVar[Coverage]
    """What the cases of this class have taken of its table so far."""

    peer: Any

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.table = tuple(cls.table)
        cls.coverage = Coverage(cls.table)

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0
        self._steps: set[Transition] = set()
        self._handled = sys.exc_info()[1]

    def took(self, of: str, state: str, what: str, after: str) -> None:
        """A transition was taken."""
        self._steps.add(Transition(of, state, what, after))

    def note(self, what: str) -> None:
        """An event for the statistics of Hypothesis; none where somebody calls rules by hand."""
        if currently_in_test_context():
            event(what)

    def finish(self) -> None:
        """A case ends in which nothing was wrong: what the peer still owes is looked into."""

    def teardown(self) -> None:
        """The end of a case.  Hypothesis is led to those that take more transitions."""
        if not hasattr(self, "peer"):
            return
        try:
            # Hypothesis calls this whatever has happened: what a rule raised is under way then.
            if sys.exc_info()[1] is self._handled:
                self.finish()
        finally:
            coverage = type(self).coverage
            if currently_in_test_context():
                target(coverage.rarity(self._steps), label="rarity of transitions taken")
            coverage.add(self._steps)
            self.part(self.peer)

    def part(self, peer: Any) -> None:
        """There is nothing more to do with a peer: it is closed, if it can be."""
        close = getattr(peer, "close", None)
        if close is not None:
            close()
