"""The proof of memory at a small size, and that it can say no."""

from __future__ import annotations

import pytest

from tests.proofs import engine_memory
from tests.proofs.engine_memory import MOST_KIB_PER_REQUEST
from tests.proofs.resident import Point, kib_per_request


def test_requests_of_every_kind_leave_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    assert engine_memory.main(["--requests", "60", "--seed", "3"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(("kib_lost", "found"), [(0.0, False), (1.0, True)])
def test_what_is_lost_with_each_request_is_found_beside_noise(kib_lost: float, found: bool) -> None:
    points = [Point(number * 1000, number * 1000 * kib_lost + (number % 2) * 900) for number in range(1, 11)]
    assert (kib_per_request(points) > MOST_KIB_PER_REQUEST) is found
