"""The scripts of `make proof-clients` whose SDKs are installed here run against the stack, told a URL and a key; and
what `issue_key` prints runs as it is printed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from accounts.client_settings import settings_for
from tests.proofs.clients.scripted_model import TOLD, scripted_model
from tests.proofs.clients.serving import Served
from tests.proofs.clients.trials import TRIALS, Trial, run
from tests.stack.running import PATIENCE_S, Key, Stack

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


@pytest.mark.parametrize("client", ["curl", "openai", "anthropic"])
def test_what_is_printed_for_a_client_runs_as_it_is(client: str, served: Served) -> None:
    """The shell's part first, then the program in the same shell."""
    if client == "curl" and shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    pastes = settings_for(client, url=served.url, key=served.key, model=TOLD["model"])
    shell = [paste.text for paste in pastes if paste.language == "sh"]
    program = "".join(paste.text for paste in pastes if paste.language == "python")
    lines = [*shell, '"$PYTHON" -c "$PROGRAM"'] if program else shell
    done = subprocess.run(
        ["sh", "-e", "-c", "\n".join(lines)],
        env={**os.environ, "PYTHON": sys.executable, "PROGRAM": program},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert TOLD["first_word"] in done.stdout if program else "data: [DONE]" in done.stdout
