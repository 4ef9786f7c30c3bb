"""What the fleet's half of /api/ takes and shows; the documents themselves are made in fleet.status."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class DeviceShown(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # of the device, not of the serializer
    memory_total_mb = serializers.IntegerField()
    memory_free_mb = serializers.IntegerField()
    capability = serializers.CharField()
    utilisation_percent = serializers.IntegerField(allow_null=True)
    temperature_c = serializers.IntegerField(allow_null=True)
    unusable_reason = serializers.CharField()


class LimitShown(serializers.Serializer[Any]):
    """Tokens of prompt and answer together, of the prompt and of the answer, and which ceiling cut them."""

    context = serializers.IntegerField()  # type: ignore[assignment]  # of a model, not of the serializer
    input = serializers.IntegerField()
    output = serializers.IntegerField()
    bound_by = serializers.ChoiceField(["model", "memory", "throughput", "operator"])


class ReplicaShown(serializers.Serializer[Any]):
    """A model on a neuron. `progress` says what a load is doing, or why it failed."""

    status = serializers.ChoiceField(["loading", "loaded", "failed"])
    device = serializers.CharField()
    in_flight = serializers.IntegerField()
    queue_depth = serializers.IntegerField()
    progress = serializers.CharField()
    limit = LimitShown(allow_null=True)


class HeldModel(ReplicaShown):
    """With what the loaded model says of itself, under names of its own."""

    id = serializers.CharField()


class NeuronShown(serializers.Serializer[Any]):
    name = serializers.CharField()
    healthy = serializers.BooleanField()
    boot_id = serializers.CharField()
    hostname = serializers.CharField()
    os = serializers.CharField()
    uptime_s = serializers.FloatField()
    driver_version = serializers.CharField()
    cuda_version = serializers.CharField()
    cuda_missing_reason = serializers.CharField()
    harnesses = serializers.ListField(child=serializers.CharField())
    build = serializers.DictField(child=serializers.JSONField())
    devices = DeviceShown(many=True)
    models = HeldModel(many=True)


class MemoryShown(serializers.Serializer[Any]):
    """Of the device that the model is on, in MiB."""

    free_mb = serializers.IntegerField()
    total_mb = serializers.IntegerField()


class LocationShown(ReplicaShown):
    node = serializers.CharField()
    memory = MemoryShown(allow_null=True)


class ModelPricesShown(serializers.Serializer[Any]):
    """Dollars per 1M tokens as decimal strings; null where none is set."""

    input = serializers.CharField(allow_null=True)
    output = serializers.CharField(allow_null=True)
    cache_read = serializers.CharField(allow_null=True)
    reasoning = serializers.CharField(allow_null=True)


class ModelShown(serializers.Serializer[Any]):
    id = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]
    harness = serializers.CharField()
    pinned_on = serializers.ListField(child=serializers.CharField())
    prices = ModelPricesShown()
    locations = LocationShown(many=True)


class OrderSent(serializers.Serializer[Any]):
    model = serializers.CharField(max_length=200)
    neuron = serializers.CharField(
        max_length=100, required=False, help_text="Where; not needed with a single healthy neuron."
    )


class OrderShown(serializers.Serializer[Any]):
    model = serializers.CharField()
    neuron = serializers.CharField()
    status = serializers.ChoiceField(["loading", "loaded", "unloading"])
