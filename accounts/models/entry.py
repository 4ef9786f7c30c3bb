from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from accounts.models.account import Account
from accounts.models.api_key import ApiKey
from accounts.models.budget import Budget
from accounts.models.hot_key import hot_key
from accounts.models.reservation import Reservation, request_id_of


class Entry(models.Model):
    """A line of the ledger: a transfer from the debited to the credited account. Never changed, never deleted.

    `tokens` and `nano_usd` are signed: a refund and a correction downward are negative. A correction is a new entry.
    A credit has no lines: it raises a cap and is nobody's spend.
    """

    class Kind(models.TextChoices):
        USAGE = "usage", "usage"
        CORRECTION = "correction", "correction"
        OVERRUN = "overrun", "overrun"
        REFUND = "refund", "refund"
        CREDIT = "credit", "credit"

    kind = models.CharField(max_length=10, choices=Kind)
    at = models.DateTimeField()
    debit = hot_key(Account, related_name="debits")
    credit = hot_key(Account)
    key = hot_key(ApiKey, null=True, related_name="entries")
    reservation = hot_key(Reservation, null=True, related_name="entries")
    tokens = models.BigIntegerField()
    nano_usd = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    input_price = models.BigIntegerField(null=True)
    output_price = models.BigIntegerField(null=True)
    cached_price = models.BigIntegerField(null=True)
    reasoning_price = models.BigIntegerField(null=True)
    model = models.CharField(max_length=200, blank=True)
    node = models.CharField(max_length=100, blank=True)
    estimated = models.BooleanField(default=False)
    refunds = hot_key("self", null=True, related_name="refunded_by")
    budget = hot_key(Budget, null=True, related_name="credits", help_text="Raised by it.")
    reason = models.CharField(max_length=200, blank=True)
    author = hot_key(settings.AUTH_USER_MODEL, null=True)
    author_name = models.CharField(max_length=150, blank=True, help_text="Who wrote it, also where that is no user.")

    class Meta:
        verbose_name_plural = "entries"
        ordering = ["-id"]
        indexes = [
            BrinIndex(fields=["at"], autosummarize=True, name="entry_at"),  # entries lie in the order of their time
            models.Index(fields=["debit", "-id"], name="entry_debit"),
            models.Index(fields=["credit", "-id"], condition=~Q(kind="usage"), name="entry_credit"),
            models.Index(fields=["key", "-id"], name="entry_key"),
            models.Index(fields=["reservation"], condition=Q(reservation__isnull=False), name="entry_reservation"),
            models.Index(fields=["refunds"], condition=Q(refunds__isnull=False), name="entry_refunds"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["reservation"], condition=Q(kind="usage"), name="entry_one_per_reservation")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def request_id(self) -> str:
        """The `x-request-id` that it was written for; empty for what no request caused."""
        return request_id_of(self.reservation_id) if self.reservation_id else ""


class Line(models.Model):
    """What an entry moved in one budget, in that budget's unit, and the window it belongs to."""

    entry = hot_key(Entry, related_name="lines")
    budget = hot_key(Budget, related_name="lines")
    window_number = models.BigIntegerField()
    amount = models.BigIntegerField()

    class Meta:
        indexes = [
            models.Index(fields=["entry"], name="line_entry"),
            models.Index(fields=["budget", "window_number"], name="line_window"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} of budget {self.budget_id} in window {self.window_number}"
