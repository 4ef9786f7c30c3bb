"""One helexa for all proofs of a test run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.proofs.running import Proving, proving


@pytest.fixture(scope="session")
def proving_up() -> Iterator[Proving]:
    with proving(gateways=2, workers=2) as up:
        yield up
