"""The fleet over /api/: what neurons say of themselves, and the orders that `fleet load` and `fleet unload` send."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import current_app
from django.conf import settings
from pytest_django import Settings

from fleet.models import Profile
from fleet.reports import REPORTS_STREAM, DeviceReport, ModelReport, NeuronReport, encode_report, task_queue
from tests.api.conftest import World

JSON: dict[str, Any] = {"content_type": "application/json"}


def report(name: str, *models: ModelReport, leaving: bool = False) -> NeuronReport:
    now = time.time()
    return NeuronReport(
        name=name, boot_id="boot", hostname="host", os="Debian", started_at=now - 60, at=now, harnesses=["torch"],
        build={"version": "0.1.0"}, devices=[DeviceReport("cpu", "EPYC", 2000, 1500)], models=list(models), running=[],
        leaving=leaving,
    )  # fmt: skip


@pytest.fixture
def client(redis_url: str, settings: Settings) -> Iterator[redis.Redis]:
    """The Redis that neurons report to, empty; Celery's broker is the same."""
    with redis.Redis.from_url(redis_url) as client:
        yield client
        client.flushdb()


def say(client: redis.Redis, *reports: NeuronReport) -> None:
    for one in reports:
        client.xadd(REPORTS_STREAM, {"r": encode_report(one)})


def orders(client: redis.Redis, neuron: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and arguments of the tasks that wait for a neuron."""
    waiting: Any = client.lrange(task_queue(neuron), 0, -1)
    with current_app.connection_for_read() as connection:
        channel = connection.channel()
        found = []
        for message in reversed(waiting):
            payload = json.loads(message)
            body = json.loads(channel.decode_body(payload["body"], payload["properties"]["body_encoding"]))
            found.append((payload["headers"]["task"], body[1]))
        return found


def test_neurons_and_models_are_shown_as_they_report_themselves(world: World, client: redis.Redis) -> None:
    Profile.objects.create(model_id="org/tiny", source="/m", input_price=150_000_000, output_price=600_000_000)
    Profile.objects.create(model_id="elsewhere", source="/e")
    say(client, report("gpu-1", ModelReport("org/tiny", "loaded", device="cpu", in_flight=2, facts={"context": 4096})))
    operator = world.as_("operator")
    (neuron,) = operator.get("/api/neurons").json()
    assert (neuron["name"], neuron["healthy"], neuron["build"]) == ("gpu-1", True, {"version": "0.1.0"})
    assert neuron["devices"][0]["memory_free_mb"] == 1500
    assert (neuron["models"][0]["in_flight"], neuron["models"][0]["context"]) == (2, 4096)
    elsewhere, tiny = operator.get("/api/models").json()
    assert elsewhere["locations"] == []
    assert elsewhere["prices"]["input"] is None
    assert tiny["prices"] == {"input": "0.15", "output": "0.60", "cache_read": None, "reasoning": None}
    (location,) = tiny["locations"]
    assert (location["node"], location["status"], location["limit"]) == ("gpu-1", "loaded", None)
    assert location["memory"] == {"free_mb": 1500, "total_mb": 2000}


def test_load_sends_what_the_command_sends(world: World, client: redis.Redis) -> None:
    Profile.objects.create(model_id="org/tiny", source="/m")
    say(client, report("gpu-1"))
    answer = world.as_("operator key").post("/api/load", {"model": "org/tiny"}, **JSON)
    assert (answer.status_code, answer.json()) == (
        202,
        {"model": "org/tiny", "neuron": "gpu-1", "status": "loading"},
    )
    order = {"boot_id": "boot", "model_id": "org/tiny", "source": "/m", "harness": "torch"}
    assert orders(client, "gpu-1") == [("inference.load", order)]
    say(client, report("gpu-1", ModelReport("org/tiny", "loaded")))
    again = world.as_("operator").post("/api/load", {"model": "org/tiny", "neuron": "gpu-1"}, **JSON)
    assert again.json()["status"] == "loaded"
    assert len(orders(client, "gpu-1")) == 1


def test_unload_takes_the_pin_away_too(world: World, client: redis.Redis) -> None:
    profile = Profile.objects.create(model_id="tiny", source="/m", pinned_on=["gpu-1", "gpu-2"])
    held = ModelReport("tiny", "loaded")
    say(client, report("gpu-1", held), report("gpu-2", held))
    answer = world.as_("operator").post("/api/unload", {"model": "tiny", "neuron": "gpu-1"}, **JSON)
    assert answer.json() == {"model": "tiny", "neuron": "gpu-1", "status": "unloading"}
    assert orders(client, "gpu-1") == [("inference.unload", {"boot_id": "boot", "model_id": "tiny"})]
    profile.refresh_from_db()
    assert profile.pinned_on == ["gpu-2"]
    assert profile.history.latest().history_user == world.people["operator"]


@pytest.mark.parametrize(
    ("url", "sent", "field", "sentence"),
    [
        ("load", {}, "model", "This field is required."),
        ("load", {"model": "unknown"}, "model", "The catalogue has no model 'unknown'"),
        ("load", {"model": "tiny"}, "neuron", "Say which one: gpu-1, gpu-2."),
        ("load", {"model": "tiny", "neuron": "gpu-9"}, "neuron", "not healthy or unknown"),
        ("load", {"model": "tiny", "neuron": "gpu-3"}, "neuron", "not healthy or unknown"),
        ("unload", {"model": "tiny"}, "model", "No healthy neuron holds 'tiny'"),
    ],
)
def test_it_rejects_a_bad_order_with_a_sentence(
    world: World, client: redis.Redis, url: str, sent: dict[str, str], field: str, sentence: str
) -> None:
    Profile.objects.create(model_id="tiny", source="/m")
    say(client, report("gpu-1"), report("gpu-2"), report("gpu-3", leaving=True))
    answer = world.as_("operator").post(f"/api/{url}", sent, **JSON)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field
    assert sentence in answer.json()["error"]["message"]
    assert settings.REDIS_URL
    assert [name for name in ("gpu-1", "gpu-2", "gpu-3") if orders(client, name)] == []
