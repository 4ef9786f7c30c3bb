"""`make proof-overspend` in small: one round, fewer clients."""

from __future__ import annotations

from tests.proofs.overspend import run_round
from tests.proofs.running import Proving


def test_no_cap_is_overspent_by_clients_that_press_on_every_kind_of_cap(proving_up: Proving) -> None:
    done = run_round(proving_up, 1, seed=1, clients=24, seconds=4)
    assert not done.differences
    assert done.whole
    assert done.refused, "caps were pressed on"
    assert done.left
    assert done.windows, "windows turned over"
