"""One helexa for all proofs of a test run, and more patience than they have when they are run for their figures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.proofs import fuzz, leaving, outcomes
from tests.proofs.running import Proving, proving
from tests.stack.running import PATIENCE_S


@pytest.fixture(scope="session")
def proving_up() -> Iterator[Proving]:
    with proving(gateways=2, workers=2) as up:
        yield up


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds on a machine of its own may take more where other tests share the cores."""
    monkeypatch.setattr(fuzz, "MOST_S", PATIENCE_S)
    monkeypatch.setattr(leaving, "IDLE_WITHIN_S", PATIENCE_S / 2)
    monkeypatch.setattr(outcomes, "ERROR_WITHIN_S", PATIENCE_S / 2)
