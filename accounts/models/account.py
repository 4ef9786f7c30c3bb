from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone
from simple_history.models import HistoricalRecords

#: One line of printable text: names and labels appear in logs, terminals and headers.
one_line = RegexValidator(
    r"\A[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*\Z", "Use one line of text without control characters."
)


class Account(models.Model):
    """A tenant: who a key belongs to, and who will be billed for what its keys use."""

    name = models.CharField(
        max_length=100,
        unique=True,
        validators=[one_line],
        error_messages={
            "blank": "An account needs a name.",
            "max_length": "The name has %(show_value)d characters; at most %(limit_value)d fit.",
            "unique": "There is an account of this name already.",
        },
    )
    suspended_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Since when its keys are refused; empty while the account is active.",
    )
    closed_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Since when it is closed for good; its entries stay.",
    )
    is_house = models.BooleanField(
        default=False, editable=False, help_text="The account of the house: what tenants spend is credited to it."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    history = HistoricalRecords()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(name=""),
                name="account_name_not_empty",
                violation_error_message="An account needs a name.",
            ),
            models.UniqueConstraint(fields=["is_house"], condition=models.Q(is_house=True), name="account_one_house"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def suspended(self) -> bool:
        return self.suspended_at is not None

    @property
    def closed(self) -> bool:
        return self.closed_at is not None
