"""`make proof-gateways` in small: two gateways answer on one port, each held to a part of a core."""

from __future__ import annotations

import pytest

from tests.proofs.gateways import can_hold, main


def test_several_gateways_share_a_port(capsys: pytest.CaptureFixture[str]) -> None:
    if not can_hold():
        pytest.skip("needs control groups that may be written to")
    assert main(["--gateways", "2", "--share", "0.4", "--clients", "8", "--seconds", "0.5", "--rounds", "1"]) == 0
    [row] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│ 2")]
    whole, streams = (float(cell) for cell in row.strip("│ ").split("│")[1::2])
    assert whole > 0
    assert streams > 0
