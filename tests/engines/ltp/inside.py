"""What must hold inside an LTP engine, whatever it was told."""

from __future__ import annotations

from stack.engines.ltp import LtpEngine
from stack.engines.ltp.states import ExportState


def check_sums(engine: LtpEngine) -> None:
    """Whatever is counted as it changes is what one counts anew."""
    sender, receiver = engine._sender, engine._receiver
    table, gathered = sender._table, sum(map(len, sender._aggregator._parts[1::2]))
    live = [session for session in table.sessions.values() if session.alive]
    began = [session for session in live if session.state is ExportState.SENDING]
    assert list(table.sending) == began
    assert table.in_flight == sum(session.in_flight for session in live)
    assert table.kept == sum(held for _, held in table._failed.values())
    assert set(table.again) <= {session.id for session in live}
    waiting = gathered + sum(block.held for block in sender._ready)
    assert table.held == waiting + table.kept + sum(session.held for session in live)
    unsent = sum(session.length - session.sent for session in began)
    assert table.unsent == waiting + unsent
    assert 0 <= table.in_flight <= table.held * 2
    assert receiver.table.allocated == sum(session.red.allocated for session in receiver.table)
