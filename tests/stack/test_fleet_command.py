"""`manage.py fleet` beside a running stack: it asks live, loads and unloads, and fails in a sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx

from helexa.home import REPOSITORY
from tests.models import tiny_model
from tests.stack.running import SOON_S, Key, Stack, wait_until


def failure(stack: Stack, *arguments: str) -> str:
    """What a command that must fail says on stderr."""
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, env=stack.environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return done.stderr


def status(stack: Stack) -> dict[str, list[dict[str, object]]]:
    document: dict[str, list[dict[str, object]]] = json.loads(stack.manage("fleet", "status", "--json"))
    return document


def test_status_shows_gateways_neurons_devices_and_models(stack: Stack, key: Key) -> None:
    document = status(stack)
    urls = {gateway["url"] for gateway in document["gateways"]}
    assert set(stack.gateways.values()) <= urls
    [neuron] = document["neurons"]
    assert (neuron["name"], neuron["healthy"]) == (stack.neuron_name, True)
    assert neuron["cuda_missing_reason"]
    [device] = neuron["devices"]  # type: ignore[misc]
    assert device["name"] == "cpu"
    assert device["memory_total_mb"] > device["memory_free_mb"] > 0
    assert neuron["build"]["torch"].startswith("2.13")  # type: ignore[index]


def test_status_shows_that_a_model_is_loaded_and_idle_once_others_have_their_answers(stack: Stack, key: Key) -> None:
    def model() -> dict[str, object]:
        [neuron] = status(stack)["neurons"]
        return next(model for model in neuron["models"] if model["id"] == stack.model)  # type: ignore[attr-defined]

    wait_until(lambda: (model()["in_flight"], model()["queue_depth"]) == (0, 0), what="an idle model")
    assert model()["status"] == "loaded"


def test_a_model_is_loaded_asked_and_unloaded(stack: Stack, server: str, key: Key, tmp_path: Path) -> None:
    name = f"second-{server}"
    source = tiny_model(tmp_path / name, "llama", chat_template=False, eos=False)
    insert = "INSERT INTO fleet_profile (model_id, source, harness, pinned_on, created_at)"
    stack.sql(f"{insert} VALUES (%s, %s, 'torch', '{{}}', now())", name, str(source))
    assert json.loads(stack.manage("fleet", "load", name, "--json"))["status"] == "loaded"
    wait_until(
        lambda: stack.chat(server, key, model=name).status_code == 200, limit_s=SOON_S, what="the new model to answer"
    )
    entry = httpx.get(f"{stack.gateways[server]}/v1/models/{name}", headers=key.headers).json()
    assert entry["chat_template"] == "default"
    assert json.loads(stack.manage("fleet", "unload", name, "--json"))["status"] == "unloaded"
    wait_until(
        lambda: stack.chat(server, key, model=name).status_code == 503, limit_s=SOON_S, what="the model to be gone"
    )


def test_a_load_that_fails_says_why(stack: Stack) -> None:
    said = failure(stack, "fleet", "load", "elsewhere")
    assert "elsewhere could not be loaded" in said
    assert "/nowhere" in said
    assert "Traceback" not in said


def test_unknown_models_and_neurons_are_refused_in_a_sentence(stack: Stack) -> None:
    assert "no model 'nope'" in failure(stack, "fleet", "load", "nope")
    assert "not healthy or unknown" in failure(stack, "fleet", "load", "elsewhere", "--neuron", "nope")
    assert "No healthy neuron holds 'nope'" in failure(stack, "fleet", "unload", "nope")


def test_a_pinned_model_that_cannot_be_loaded_is_503_with_the_reason(stack: Stack, server: str, key: Key) -> None:
    stack.sql("UPDATE fleet_profile SET pinned_on = %s WHERE model_id = 'elsewhere'", [stack.neuron_name])

    def refused() -> httpx.Response | None:
        answer = stack.chat(server, key, model="elsewhere")
        return answer if "retry-after" in answer.headers and "could not be loaded" in answer.text else None

    answer = wait_until(refused, what="the failed load to be told")
    assert answer.status_code == 503
    assert "/nowhere" in answer.json()["error"]["message"]
    stack.sql("UPDATE fleet_profile SET pinned_on = '{}' WHERE model_id = 'elsewhere'")
    stack.manage("fleet", "unload", "elsewhere")


def test_a_second_neuron_of_the_same_name_is_turned_away(stack: Stack) -> None:
    said = failure(stack, "runworker", "--name", stack.neuron_name)
    assert "is running already" in said
    assert "Traceback" not in said


def test_runworker_is_ours_and_needs_neither_database_nor_secrets(stack: Stack) -> None:
    bare = {
        name: value
        for name, value in stack.environment.items()
        if not name.startswith(("HELEXA_", "DATABASE_", "REDIS_"))
    }
    bare["HELEXA_HOME"] = str(stack.folder / "empty")
    command = [sys.executable, "manage.py", "runworker", "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, env=bare, capture_output=True, text=True, check=True)
    assert "--name" in done.stdout
    assert "example:" in done.stdout
