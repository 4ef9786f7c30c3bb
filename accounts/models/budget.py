from __future__ import annotations

from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from simple_history.models import HistoricalRecords

from accounts.models.account import Account
from accounts.models.api_key import ApiKey
from helexa.usd import MAX_AMOUNT

#: A year and a day: longer windows are balances in disguise.
MAX_WINDOW_S = 366 * 86_400


class Budget(models.Model):
    """A cap of one owner (a key or an account) in one unit, with a window of its own.

    `spent + reserved <= cap` holds at every moment. `spent` is the sum of the lines of the current window, `reserved`
    that of the open reservations. Only `accounts.booking` moves the counters; a cap that has to sink below them waits
    in `cap_wanted` until reservations close. A budget without a cap is kept for its history and limits nothing.
    """

    class Unit(models.TextChoices):
        TOKENS = "tokens", "tokens"
        NANO_USD = "nano_usd", "US dollars"

    class Window(models.TextChoices):
        """When what is spent starts at 0 again."""

        BALANCE = "balance", "never (balance)"
        ROLLING = "rolling", "rolling"
        DAY = "day", "each day"
        WEEK = "week", "each week"
        MONTH = "month", "each month"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, null=True, blank=True, related_name="budgets")
    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, null=True, blank=True, related_name="budgets")
    unit = models.CharField(max_length=8, choices=Unit, default=Unit.TOKENS)
    cap = models.BigIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_AMOUNT)],
        help_text="In tokens or nano-USD; empty means no cap.",
    )
    cap_wanted = models.BigIntegerField(null=True, blank=True, editable=False)
    window = models.CharField(max_length=7, choices=Window, default=Window.BALANCE)
    window_seconds = models.PositiveIntegerField(
        "length of a rolling window",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_WINDOW_S)],
        help_text="In seconds; it opens with the first use after the last one ended.",
    )
    time_zone = models.CharField(
        max_length=40, default="UTC", help_text="Where days, weeks and months of a calendar window begin."
    )
    window_number = models.BigIntegerField(default=1, editable=False)
    window_ends_at = models.DateTimeField(
        null=True, editable=False, help_text="Empty for a balance, and for a rolling window that is not open."
    )
    spent = models.BigIntegerField(default=0, editable=False)
    reserved = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    history = HistoricalRecords(excluded_fields=["window_number", "window_ends_at", "spent", "reserved"])

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(account__isnull=False, key__isnull=True) | Q(account__isnull=True, key__isnull=False),
                name="budget_one_owner",
            ),
            models.UniqueConstraint(fields=["account", "unit"], name="budget_account_unit"),
            models.UniqueConstraint(fields=["key", "unit"], name="budget_key_unit"),
            models.CheckConstraint(
                condition=Q(cap=None) | Q(cap__gte=F("spent") + F("reserved")), name="budget_within_cap"
            ),
            models.CheckConstraint(condition=Q(spent__gte=0, reserved__gte=0), name="budget_counters_positive"),
            models.CheckConstraint(
                condition=Q(cap_wanted=None) | Q(cap__isnull=False, cap_wanted__lt=F("cap")), name="budget_cap_sinks"
            ),
            models.CheckConstraint(
                condition=Q(window="rolling", window_seconds__gt=0)
                | (~Q(window="rolling") & Q(window_seconds__isnull=True)),
                name="budget_window_length",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_unit_display()} of {self.owner}"

    def clean(self) -> None:
        if self.window == self.Window.ROLLING and not self.window_seconds:
            raise ValidationError({"window_seconds": "A rolling window needs a length of 1 second or more."})
        if self.window != self.Window.ROLLING and self.window_seconds is not None:
            raise ValidationError({"window_seconds": "Only a rolling window has a length in seconds."})
        if self.time_zone not in available_timezones():
            raise ValidationError({"time_zone": f"{self.time_zone!r} is not a time zone; write it as Europe/Berlin."})

    @property
    def owner(self) -> Account | ApiKey:
        owner = self.account or self.key
        assert owner is not None, "a constraint of the table"
        return owner

    @property
    def limit(self) -> int | None:
        """What new reservations are held against."""
        return self.cap if self.cap_wanted is None else self.cap_wanted
