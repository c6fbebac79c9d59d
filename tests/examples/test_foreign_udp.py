"""The example with two programs that know nothing of the link between them."""

from __future__ import annotations

import json

import pytest

from examples.foreign_udp.run import main


@pytest.mark.slow
def test_the_programs_measure_what_the_link_was_told(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--count", "1000", "--rate", "1000", "--delay", "60ms", "--loss", "10%"])
    output = capsys.readouterr().out
    assert status == 0, output
    result = json.loads(output.splitlines()[-1])
    assert result["sent"] == 1000
    assert result["delay_ms_least"] >= 60
    assert 5 < result["lost_percent"] < 15  # five standard deviations
