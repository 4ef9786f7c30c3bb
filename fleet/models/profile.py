from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone
from simple_history.models import HistoricalRecords

#: Nano-USD per 1M tokens: 1,000,000 USD, so that no cost leaves a bigint.
MAX_PRICE = 10**15


def _price(name: str) -> models.BigIntegerField[int | None, int | None]:
    return models.BigIntegerField(
        name,
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(MAX_PRICE)],
        help_text="Nano-USD per 1M tokens; empty means that no price is set, 0 that it costs nothing.",
    )


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
    input_price = _price("input price")
    output_price = _price("output price")
    cached_price = _price("cached input price")
    reasoning_price = _price("reasoning price")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    history = HistoricalRecords()

    class Meta:
        verbose_name = "model"
        ordering = ["model_id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(input_price=None, output_price=None, cached_price=None, reasoning_price=None)
                | models.Q(input_price__isnull=False, output_price__isnull=False),
                name="profile_input_and_output_price",
                violation_error_message="A price needs both an input and an output price.",
            )
        ]

    def __str__(self) -> str:
        return self.model_id
