"""The example with three real processes, smaller."""

from __future__ import annotations

import json

import pytest

from examples.two_processes.run import main


@pytest.mark.slow
def test_file_and_job_cross_a_link_that_goes_dark(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--mb", "4", "--blackout", "1.5", "--rate", "50e6", "--timeout", "90"])
    output = capsys.readouterr().out
    assert status == 0, output
    assert "received file: the same SHA-256" in output
    result = json.loads(output[output.index("{") : output.rindex("}") + 1])
    assert result["computed_in_orbit"] == result["computed_on_the_ground"]
    assert result["repair_packets"] > 0
