from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models import Account


class StoredResponse(models.Model):
    """A response that its account may read, continue and delete until it expires. Gateways use it through psycopg.

    Its id is that of its request: a response is `resp_` and the id's 32 digits. `response` is the response object as
    clients get it and `input` the list of its input items, both JSON, and nobody's business but the account's: neither
    is in an admin page or a log.
    """

    class Status(models.TextChoices):
        """Those that run in the background pass through the first two; every other one is final."""

        QUEUED = "queued", "queued"
        IN_PROGRESS = "in_progress", "in progress"
        COMPLETED = "completed", "completed"
        INCOMPLETE = "incomplete", "incomplete"
        FAILED = "failed", "failed"
        CANCELLED = "cancelled", "cancelled"

    id = models.UUIDField(primary_key=True)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    previous = models.UUIDField(null=True, help_text="The response that it continues; it may be deleted by now.")
    model = models.CharField(max_length=200)
    status = models.CharField(max_length=11, choices=Status)
    background = models.BooleanField()
    continuable = models.BooleanField(help_text="False for one that is kept only until its client has fetched it.")
    gateway = models.CharField(max_length=16, blank=True, help_text="Id of the gateway that works on it.")
    response = models.BinaryField()
    input = models.BinaryField()
    size_bytes = models.BigIntegerField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["expires_at"], name="stored_response_expiry"),
            models.Index(
                fields=["gateway"], condition=Q(status__in=["queued", "in_progress"]), name="stored_response_running"
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=~Q(status__in=["queued", "in_progress"]) | (Q(background=True) & ~Q(gateway="")),
                name="stored_response_runs_in_a_gateway",
            ),
        ]

    def __str__(self) -> str:
        return f"resp_{self.id.hex} ({self.status})"
