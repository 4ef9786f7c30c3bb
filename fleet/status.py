"""The fleet as documents: what `fleet status --json`, `fleet models --json` and /api/ show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import to_builtins

from fleet.live import LiveNeuron
from fleet.models import Profile
from fleet.reports import ModelReport
from helexa.usd import format_usd


def describe_neuron(neuron: LiveNeuron) -> dict[str, Any]:
    """A neuron with its devices and models; `limit` is null where none is derived."""
    report = neuron.report
    return {
        "name": report.name,
        "healthy": neuron.healthy,
        "boot_id": report.boot_id,
        "hostname": report.hostname,
        "os": report.os,
        "uptime_s": round(report.at - report.started_at, 1),
        "driver_version": report.driver_version,
        "cuda_version": report.cuda_version,
        "cuda_missing_reason": report.cuda_missing_reason,
        "harnesses": report.harnesses,
        "build": report.build,
        "devices": [{name: getattr(device, name) for name in device.__struct_fields__} for device in report.devices],
        "models": [{"id": model.id, **_describe_replica(model), **model.facts} for model in report.models],
    }


def describe_models(neurons: Sequence[LiveNeuron]) -> list[dict[str, Any]]:
    """The catalogue: each model with its prices (dollars per 1M tokens) and where it is on healthy neurons."""
    healthy = [neuron for neuron in neurons if neuron.healthy]
    return [
        {
            "id": profile.model_id,
            "source": profile.source,
            "harness": profile.harness,
            "pinned_on": profile.pinned_on,
            "prices": describe_prices(profile),
            "locations": [
                {"node": neuron.report.name, **_describe_replica(model), "memory": _memory(neuron, model)}
                for neuron in healthy
                for model in neuron.report.models
                if model.id == profile.model_id
            ],
        }
        for profile in Profile.objects.all()
    ]


def describe_prices(profile: Profile) -> dict[str, str | None]:
    """Dollars per 1M tokens as decimal strings, null where none is set."""
    prices = {
        "input": profile.input_price,
        "output": profile.output_price,
        "cache_read": profile.cached_price,
        "reasoning": profile.reasoning_price,
    }
    return {name: None if price is None else format_usd(price) for name, price in prices.items()}


def _describe_replica(model: ModelReport) -> dict[str, Any]:
    return {
        "status": model.status,
        "device": model.device,
        "in_flight": model.in_flight,
        "queue_depth": model.queue_depth,
        "progress": model.progress,
        "limit": None if model.limit is None else to_builtins(model.limit),
    }


def _memory(neuron: LiveNeuron, model: ModelReport) -> dict[str, int] | None:
    """Memory of the device that the model is on, in MiB."""
    for device in neuron.report.devices:
        if device.name == model.device:
            return {"free_mb": device.memory_free_mb, "total_mb": device.memory_total_mb}
    return None
