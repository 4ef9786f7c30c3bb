"""The admin of the fleet: the catalogue can be edited, what neurons report can only be looked at."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from fleet.models import Device, Neuron, Profile, Replica

PROFILES = "/admin/fleet/profile/"
NEURONS = "/admin/fleet/neuron/"


def words(response: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).replace("&#x27;", "'").split())


@pytest.fixture
def neuron(db: None) -> Neuron:
    now = timezone.now()
    neuron = Neuron.objects.create(
        name="gpu-1", status="healthy", boot_id="b", hostname="h", os="Debian", harnesses=["torch"],
        build={"version": "0.1.0"}, cuda_missing_reason="no driver", started_at=now, last_seen_at=now,
    )  # fmt: skip
    Device.objects.create(neuron=neuron, name="cpu", label="EPYC", memory_total_mb=2000, memory_free_mb=1500)
    Replica.objects.create(neuron=neuron, model_id="tiny", status="loaded", device="cpu")
    return neuron


def test_it_works(admin_client: Client, neuron: Neuron) -> None:
    assert "Healthy" in words(admin_client.get(NEURONS))
    page = words(admin_client.get(f"{NEURONS}{neuron.pk}/change/"))
    for fact in ("EPYC", "1,500 of 2,000 MB", "None: no driver", "tiny", "Loaded"):
        assert fact in page


def test_the_catalogue_says_where_a_model_is(admin_client: Client, neuron: Neuron) -> None:
    Profile.objects.create(model_id="tiny", source="/models/tiny")
    Replica.objects.create(neuron=neuron, model_id="other", status="loading")
    Profile.objects.create(model_id="other", source="/models/other")
    page = words(admin_client.get(PROFILES))
    assert "tiny gpu-1 /models/tiny" in page
    assert "other gpu-1: loading /models/other" in page
    Neuron.objects.update(status="unhealthy")
    assert "gpu-1: neuron silent" in words(admin_client.get(PROFILES))


def test_nobody_adds_or_edits_what_neurons_report(admin_client: Client, neuron: Neuron) -> None:
    replica = Replica.objects.get()
    for address in (f"{NEURONS}add/", "/admin/fleet/replica/add/"):
        assert admin_client.get(address).status_code == 403
    for address in (f"{NEURONS}{neuron.pk}/change/", f"/admin/fleet/replica/{replica.pk}/change/"):
        assert admin_client.post(address, {"name": "x", "model_id": "x"}).status_code == 403


def test_only_a_dead_neuron_can_be_deleted(admin_client: Client, neuron: Neuron) -> None:
    address = f"{NEURONS}{neuron.pk}/delete/"
    assert admin_client.post(address, {"post": "yes"}).status_code == 403
    Neuron.objects.update(status="unhealthy")
    assert admin_client.post(address, {"post": "yes"}).status_code == 302
    assert not Neuron.objects.exists()
    assert not Replica.objects.exists()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"model_id": ""}, "The model id is missing; it is the name that clients send."),
        ({"model_id": "a b"}, "Use letters, digits and . : @ + - _ with single slashes between."),
        ({"model_id": "tiny"}, "The catalogue has a model of this id already."),
        ({"source": ""}, "The source is missing: a hub id, a folder, or a .gguf file on the neuron's host."),
        ({"source": "x" * 10_000}, "The source has 10000 characters; at most 500 fit."),
        ({"harness": "magic"}, "“magic” is not a harness; choose one from the list."),
    ],
)
def test_it_rejects_a_bad_profile_with_a_sentence(
    admin_client: Client, db: None, fields: dict[str, str], sentence: str
) -> None:
    Profile.objects.create(model_id="tiny", source="/models/tiny")
    whole = {"model_id": "new", "source": "/models/new", "harness": "torch", "pinned_on": ""}
    assert sentence in words(admin_client.post(f"{PROFILES}add/", {**whole, **fields}))
    assert Profile.objects.count() == 1


def test_pins_are_names_with_commas(admin_client: Client, db: None) -> None:
    whole = {"model_id": "new", "source": "/models/new", "harness": "torch", "pinned_on": "gpu-1, gpu-2,gpu-1"}
    admin_client.post(f"{PROFILES}add/", whole)
    assert Profile.objects.get().pinned_on == ["gpu-1", "gpu-2"]
