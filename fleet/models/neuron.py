from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Neuron(models.Model):
    """A GPU host's worker as it last described itself over Redis. Gateways write it down: neurons have no database."""

    class Status(models.TextChoices):
        HEALTHY = "healthy", "Healthy"
        UNHEALTHY = "unhealthy", "Unhealthy"

    name = models.CharField(max_length=100, unique=True)
    status = models.CharField(max_length=10, choices=Status)
    boot_id = models.CharField(
        max_length=32, help_text="Changes at every start; work meant for another boot is dropped."
    )
    hostname = models.CharField(max_length=255)
    os = models.CharField("operating system", max_length=200)
    driver_version = models.CharField(max_length=50, blank=True)
    cuda_version = models.CharField(max_length=50, blank=True)
    cuda_missing_reason = models.CharField(max_length=500, blank=True)
    harnesses: ArrayField[Any, Any] = ArrayField(models.CharField(max_length=20))
    build: models.JSONField[Any, Any] = models.JSONField(
        help_text="Package version, git commit, torch and CUDA of the process."
    )
    started_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=models.Q(status__in=["healthy", "unhealthy"]), name="neuron_status_known"),
        ]

    def __str__(self) -> str:
        return self.name


class Device(models.Model):
    """One device of a neuron: a GPU, or the host's processors."""

    neuron = models.ForeignKey(Neuron, on_delete=models.CASCADE, related_name="devices")
    name = models.CharField(max_length=20, help_text="As torch calls it: cpu, cuda:0.")
    label = models.CharField(max_length=200)
    capability = models.CharField(max_length=20, blank=True)
    memory_total_mb = models.PositiveIntegerField()
    memory_free_mb = models.PositiveIntegerField()
    utilisation_percent = models.PositiveSmallIntegerField(null=True)
    temperature_c = models.SmallIntegerField(null=True)
    unusable_reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["neuron", "name"]
        constraints = [models.UniqueConstraint(fields=["neuron", "name"], name="device_once_per_neuron")]

    def __str__(self) -> str:
        return f"{self.neuron}/{self.name}"
