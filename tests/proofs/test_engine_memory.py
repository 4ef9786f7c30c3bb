"""The proof of memory at a small size, and that it can say no."""

from __future__ import annotations

import pytest

from tests.proofs import engine_memory
from tests.proofs.resident import Point


def test_requests_of_every_kind_leave_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    assert engine_memory.main(["--requests", "60", "--seed", "3"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(("kib_lost", "found"), [(0.0, False), (1.0, True)])
def test_what_is_lost_with_each_request_is_found_beside_noise(kib_lost: float, found: bool) -> None:
    points = [Point(number * 100, number * 100 * kib_lost + (number % 2) * 7000) for number in range(10, 101)]
    assert bool(engine_memory.grown(points)) is found
