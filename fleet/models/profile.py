from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone


class Profile(models.Model):
    """An entry of the catalogue: a model that tenants may ask for, and where its weights come from."""

    class Harness(models.TextChoices):
        TORCH = "torch", "torch engine"
        ECHO = "echo", "echo (load tests only)"

    model_id = models.CharField(
        "model id",
        max_length=200,
        unique=True,
        validators=[
            RegexValidator(
                r"\A[\w.:@+-]+(/[\w.:@+-]+)*\Z", "Use letters, digits and . : @ + - _ with single slashes between."
            )
        ],
        help_text="The name that clients send.",
    )
    source = models.CharField(
        max_length=500, help_text="Where the weights are: a hub id, a folder, or a .gguf file on the neuron's host."
    )
    harness = models.CharField(max_length=10, choices=Harness, default=Harness.TORCH)
    pinned_on: ArrayField[Any, Any] = ArrayField(
        models.CharField(max_length=100),
        default=list,
        blank=True,
        help_text="Names of the neurons that always hold it, with commas between; loaded there whenever it is missing.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "model"
        ordering = ["model_id"]

    def __str__(self) -> str:
        return self.model_id
