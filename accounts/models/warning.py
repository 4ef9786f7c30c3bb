from __future__ import annotations

from django.db import models
from django.utils import timezone

from accounts.models.account import Account
from accounts.models.budget import Budget


class BudgetWarning(models.Model):
    """A budget passed a part of its cap: at most one per window and threshold, written by the settle that did it."""

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="warnings")
    window_number = models.BigIntegerField()
    percent = models.PositiveSmallIntegerField()
    spent = models.BigIntegerField()
    cap = models.BigIntegerField()
    at = models.DateTimeField()
    announced_at = models.DateTimeField(null=True, help_text="When it was logged, counted and handed to the webhooks.")

    class Meta:
        ordering = ["-at"]
        indexes = [models.Index(fields=["id"], condition=models.Q(announced_at=None), name="warning_unannounced")]
        constraints = [
            models.UniqueConstraint(fields=["budget", "window_number", "percent"], name="warning_once_per_window")
        ]

    def __str__(self) -> str:
        return f"{self.percent} % of {self.budget}"


class Webhook(models.Model):
    """An address that is told of warnings, signed with its secret: those of one account, or of all."""

    account = models.ForeignKey(
        Account,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="webhooks",
        help_text="Whose warnings it is told; empty means everybody's.",
    )
    url = models.URLField(max_length=500)
    secret = models.CharField(max_length=100)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.url


class Delivery(models.Model):
    """The outbox: one warning for one webhook, tried until it is taken or given up."""

    warning = models.ForeignKey(BudgetWarning, on_delete=models.CASCADE, related_name="deliveries")
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, default=timezone.now, help_text="Empty once taken or given up.")
    delivered_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=200, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["warning", "webhook"], name="delivery_once")]
        indexes = [
            models.Index(
                fields=["next_attempt_at"], condition=models.Q(next_attempt_at__isnull=False), name="delivery_due"
            )
        ]

    def __str__(self) -> str:
        return f"{self.warning} to {self.webhook}"
