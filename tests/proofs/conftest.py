"""One helexa for all proofs of a test run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proofs.running import Proving, proving

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.stack)
            item.add_marker(pytest.mark.xdist_group("proofs"))


@pytest.fixture(scope="session")
def proving_up() -> Iterator[Proving]:
    with proving(gateways=2, workers=2) as up:
        yield up
