from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from accounts.models.account import Account
from accounts.models.api_key import ApiKey
from accounts.models.hot_key import hot_key


def request_id_of(reservation_id: UUID) -> str:
    return f"req_{reservation_id.hex}"


def reservation_id_of(request_id: str) -> UUID | None:
    """The id of the reservation of an `x-request-id`; None where it cannot be one."""
    prefix, _, digits = request_id.strip().partition("_")
    try:
        return UUID(hex=digits) if prefix == "req" and len(digits) == 32 else None
    except ValueError:
        return None


class Reservation(models.Model):
    """What one request may use at most: held in every budget it touches, until it is closed exactly once.

    Its id is that of the request: `x-request-id` is `req_` and the id's 32 digits, led by the time (as UUID 7 is), so
    that reservations lie in the order in which they came and need no second index.

    `granted` is in tokens, prompt and completion together, over all sequences of the request. `budget_ids` and `held`
    go together: how much is held in which budget, in that budget's unit. Prices are those of the moment it was made.
    """

    class State(models.TextChoices):
        """Changed only along TRANSITIONS; a trigger of the table refuses any other step."""

        OPEN = "open", "open"
        SETTLED = "settled", "settled"
        RELEASED = "released", "released"
        #: Settled from the highest count that was published, because no final record came.
        ESTIMATED = "estimated", "estimated"

    id = models.UUIDField(primary_key=True)
    account = hot_key(Account)
    key = hot_key(ApiKey)
    gateway = models.CharField(max_length=16, help_text="Id of the gateway that closes it.")
    model = models.CharField(max_length=200)
    node = models.CharField(max_length=100)
    state = models.CharField(max_length=9, choices=State, default=State.OPEN)
    granted = models.BigIntegerField()
    completion_bound = models.BigIntegerField(help_text="The part of it that all completions together may take.")
    budget_ids: ArrayField[Any, Any] = ArrayField(models.BigIntegerField())
    held: ArrayField[Any, Any] = ArrayField(models.BigIntegerField())
    input_price = models.BigIntegerField(null=True)
    output_price = models.BigIntegerField(null=True)
    cached_price = models.BigIntegerField(null=True)
    reasoning_price = models.BigIntegerField(null=True)
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["gateway"], condition=Q(state="open"), name="reservation_open")]
        constraints = [
            models.CheckConstraint(
                condition=Q(state="open", closed_at__isnull=True)
                | Q(state__in=["settled", "released", "estimated"], closed_at__isnull=False),
                name="reservation_closed_when_not_open",
            ),
            models.CheckConstraint(condition=Q(granted__gte=0), name="reservation_granted_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.request_id} ({self.state})"

    @property
    def request_id(self) -> str:
        return request_id_of(self.id)


State = Reservation.State

#: The steps a reservation may take. The trigger in migration 0003 holds the same table.
TRANSITIONS: dict[str, frozenset[str]] = {
    State.OPEN: frozenset({State.SETTLED, State.RELEASED, State.ESTIMATED}),
    State.ESTIMATED: frozenset({State.SETTLED}),
    State.SETTLED: frozenset(),
    State.RELEASED: frozenset(),
}
