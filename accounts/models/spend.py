from __future__ import annotations

from django.db import models

from accounts.models.account import Account
from accounts.models.api_key import ApiKey
from accounts.models.hot_key import hot_key


class Spend(models.Model):
    """What an account spent with one key on one model in one period: entries, summed up.

    Refunds and corrections count in the period they were written in, so a period that is over never changes.
    """

    account = hot_key(Account)
    key = hot_key(ApiKey)
    model = models.CharField(max_length=200)
    requests = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    tokens = models.BigIntegerField()
    nano_usd = models.BigIntegerField()

    class Meta:
        abstract = True


class HourlySpend(Spend):
    """Kept in the transaction that writes the entry, so it is never behind."""

    hour = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "hour", "key", "model"], name="hourly_spend_of_key_and_model")
        ]
        indexes = [models.Index(fields=["hour"], name="hourly_spend_hour")]

    def __str__(self) -> str:
        return f"{self.account_id} {self.hour:%Y-%m-%d %H}h: {self.tokens} tokens"


class DailySpend(Spend):
    """Days (UTC) that are over, summed up from their hours by the gateways' housekeeping."""

    day = models.DateField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "day", "key", "model"], name="daily_spend_of_key_and_model")
        ]
        indexes = [models.Index(fields=["day"], name="daily_spend_day")]

    def __str__(self) -> str:
        return f"{self.account_id} {self.day}: {self.tokens} tokens"
