from __future__ import annotations

from typing import Any

from django.db import models

from fleet.models.neuron import Neuron


class Replica(models.Model):
    """A model on a neuron. The catalogue may no longer know the model, so it is named, not referenced."""

    class Status(models.TextChoices):
        LOADING = "loading", "Loading"
        LOADED = "loaded", "Loaded"
        FAILED = "failed", "Failed"

    neuron = models.ForeignKey(Neuron, on_delete=models.CASCADE, related_name="replicas")
    model_id = models.CharField("model id", max_length=200)
    status = models.CharField(max_length=10, choices=Status)
    device = models.CharField(max_length=20, blank=True)
    in_flight = models.PositiveIntegerField(default=0)
    queue_depth = models.PositiveIntegerField(default=0)
    progress = models.CharField(max_length=200, blank=True, help_text="What a load is doing now, or why it failed.")
    facts: models.JSONField[Any, Any] = models.JSONField(
        default=dict, blank=True, help_text="What the loaded model says of itself: context, dtype, chat template."
    )

    limit: models.JSONField[Any, Any] = models.JSONField(
        null=True, blank=True, help_text="Tokens of context, of its prompt and of its answer, and what it was cut by."
    )

    class Meta:
        ordering = ["model_id", "neuron"]
        constraints = [
            models.UniqueConstraint(fields=["neuron", "model_id"], name="replica_once_per_neuron"),
            models.CheckConstraint(
                condition=models.Q(status__in=["loading", "loaded", "failed"]), name="replica_status_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model_id} on {self.neuron}"
