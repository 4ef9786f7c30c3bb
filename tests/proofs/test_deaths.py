"""`make proof-kill` in small: each kind of death once, under a load that is small."""

from __future__ import annotations

import asyncio

import pytest

from tests.proofs.deaths import VICTIMS, round_of
from tests.proofs.load import open_keys
from tests.proofs.running import Proving


@pytest.mark.parametrize("kind", VICTIMS)
def test_whatever_dies_under_load_the_books_are_right(proving_up: Proving, kind: str) -> None:
    keys = open_keys(proving_up, kind.replace(" ", "-"))
    done = asyncio.run(round_of(proving_up, keys, kind, seed=kind, clients=6))
    assert not done.differences
    assert done.whole
