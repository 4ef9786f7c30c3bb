"""The scripts of `make proof-clients` whose SDKs are installed here run against the stack, told a URL and a key."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.proofs.clients.scripted_model import TOLD, scripted_model
from tests.proofs.clients.serving import Served
from tests.proofs.clients.trials import TRIALS, Trial, run
from tests.stack.running import Key, Stack

HERE = [trial for trial in TRIALS if trial.environment in ("openai-current", "anthropic-current")]


@pytest.fixture(scope="module")
def served(stack: Stack, key: Key, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    model = TOLD["model"]
    source = scripted_model(tmp_path_factory.mktemp("scripted") / model)
    with stack.also_serving(model, source, key):
        yield Served(stack.gateways["daphne"], key.secret)


@pytest.mark.parametrize("trial", HERE, ids=lambda trial: trial.name)
def test_every_feature_of_the_script_works(trial: Trial, served: Served) -> None:
    outcome = run(trial, served, python=sys.executable)
    assert {feature: fault for feature, fault in outcome.faults.items() if fault is not None} == {}
    assert len(outcome.faults) > 10
