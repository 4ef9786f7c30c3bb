"""`make proof-fuzz` and `make proof-leaving` in small."""

from __future__ import annotations

import httpx
from rich.console import Console

from tests.proofs import fuzz, leaving
from tests.proofs.good_requests import GOOD
from tests.proofs.running import Proving


def test_every_good_request_is_answered(proving_up: Proving) -> None:
    with httpx.Client(base_url=proving_up.url, headers=proving_up.headers, timeout=30) as client:
        for good in GOOD:
            answer = client.post(good.path, json=good.body)
            assert answer.status_code == 200, f"{good}: {answer.text}"


def test_whatever_is_wrong_with_a_request_its_dialect_says_so(proving_up: Proving) -> None:
    result, _ = fuzz.prove(proving_up, requests=150, seed=5, at_once=8, progress=Console(stderr=True, quiet=True))
    assert not result.faults
    assert result.statuses[400] > 30, "most of them are wrong"
    assert result.statuses[200] > 10, "some of them are not"


def test_clients_that_leave_cost_nothing_more(proving_up: Proving) -> None:
    left, _, faults = leaving.prove(proving_up, clients=24, at_once=12, seed=2)
    assert not faults
    assert any(one.bytes_read for one in left), "some left while it streamed"
