from __future__ import annotations

from django.db import models

from accounts.models.account import Account
from accounts.models.api_key import ApiKey
from accounts.models.hot_key import hot_key


class RequestRecord(models.Model):
    """What became of one request: no money, never a body. Written behind in batches, dropped after a while.

    Account and key are empty for an anonymous request. Times are in milliseconds.
    """

    request_id = models.CharField(max_length=40, db_index=True)
    at = models.DateTimeField(help_text="When the request came.")
    account = hot_key(Account, null=True)
    key = hot_key(ApiKey, null=True)
    dialect = models.CharField(max_length=20, blank=True)
    model = models.CharField(max_length=200, blank=True)
    node = models.CharField(max_length=100, blank=True)
    stream = models.BooleanField(default=False)
    status = models.PositiveSmallIntegerField(help_text="499 for a client that left before an answer.")
    finish_reason = models.CharField(max_length=20, blank=True)
    error = models.CharField(max_length=40, blank=True, help_text="The code of the error, if it ended in one.")
    prompt_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    first_token_ms = models.PositiveIntegerField(null=True)
    duration_ms = models.PositiveIntegerField()

    class Meta:
        ordering = ["-at"]
        indexes = [
            models.Index(fields=["at"], name="request_record_at"),
            models.Index(fields=["account", "-at"], name="request_record_account"),
        ]

    def __str__(self) -> str:
        return self.request_id
