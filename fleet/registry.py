"""Writing down in PostgreSQL what neurons say of themselves, for the admin and for whoever asks later."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from django.db import transaction
from django.db.models import QuerySet
from msgspec import to_builtins

from fleet.models import Device, Neuron, Replica
from fleet.reports import NeuronReport

Row = TypeVar("Row", Device, Replica)


def write_down(reports: Sequence[NeuronReport], *, healthy: Collection[str]) -> None:
    """Bring the rows of these neurons up to their newest reports; `healthy` names those heard within the limit.

    Neurons of earlier times that nobody hears are unhealthy too, so a gateway that has just started knows the truth.
    """
    for report in reports:
        if report.name in healthy:
            _write(report)
    Neuron.objects.exclude(name__in=healthy).exclude(status=Neuron.Status.UNHEALTHY).update(
        status=Neuron.Status.UNHEALTHY
    )
    Replica.objects.exclude(neuron__name__in=healthy).delete()  # what an absent neuron holds, nobody knows


@transaction.atomic
def _write(report: NeuronReport) -> None:
    neuron, _ = Neuron.objects.update_or_create(
        name=report.name,
        defaults={
            "status": Neuron.Status.HEALTHY,
            "boot_id": report.boot_id,
            "hostname": report.hostname,
            "os": report.os,
            "driver_version": report.driver_version,
            "cuda_version": report.cuda_version,
            "cuda_missing_reason": report.cuda_missing_reason,
            "harnesses": report.harnesses,
            "build": report.build,
            "started_at": datetime.fromtimestamp(report.started_at, UTC),
            "last_seen_at": datetime.fromtimestamp(report.at, UTC),
        },
    )
    devices = [
        Device(
            neuron=neuron,
            name=device.name,
            label=device.label,
            capability=device.capability,
            memory_total_mb=device.memory_total_mb,
            memory_free_mb=device.memory_free_mb,
            utilisation_percent=device.utilisation_percent,
            temperature_c=device.temperature_c,
            unusable_reason=device.unusable_reason,
        )
        for device in report.devices
    ]
    _replace(neuron.devices.all(), devices, key="name")
    replicas = [
        Replica(
            neuron=neuron,
            model_id=model.id,
            status=model.status,
            device=model.device,
            in_flight=model.in_flight,
            queue_depth=model.queue_depth,
            progress=model.progress[:200],
            facts=model.facts,
            limit=None if model.limit is None else to_builtins(model.limit),
        )
        for model in report.models
    ]
    _replace(neuron.replicas.all(), replicas, key="model_id")


def _replace(existing: QuerySet[Row], rows: Sequence[Row], *, key: str) -> None:
    """Make the neuron's rows exactly these: one upsert by `key`, and a delete of what is gone."""
    model = existing.model
    existing.exclude(**{f"{key}__in": [getattr(row, key) for row in rows]}).delete()
    fields = [field.name for field in model._meta.concrete_fields if field.name not in ("id", "neuron", key)]
    model._default_manager.bulk_create(rows, update_conflicts=True, unique_fields=["neuron", key], update_fields=fields)
