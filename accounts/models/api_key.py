from __future__ import annotations

import secrets
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone
from simple_history.models import HistoricalRecords

from accounts.models.account import Account, one_line

#: Refused wherever an expiry is set: such a key would never open anything.
EXPIRY_PASSED = "This expiry has passed; choose a date in the future, or leave it empty for never."


def new_key_id() -> str:
    return f"key_{secrets.token_hex(8)}"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def in_state(self, state: str) -> ApiKeyQuerySet:
        """The keys whose `ApiKey.state` is `state` now."""
        expired = Q(expires_at__lte=timezone.now())
        suspended = Q(account__suspended_at__isnull=False) | Q(account__closed_at__isnull=False)
        if state == ApiKey.State.REVOKED:
            return self.exclude(revoked_at=None)
        unrevoked = self.filter(revoked_at=None)
        if state == ApiKey.State.EXPIRED:
            return unrevoked.filter(expired)
        if state == ApiKey.State.SUSPENDED:
            return unrevoked.exclude(expired).filter(suspended)
        return unrevoked.exclude(expired).exclude(suspended)


class ApiKey(models.Model):
    """A credential of an account. Only a keyed digest of the secret is stored, so a stolen table opens nothing.

    `key_id` is for people and logs; a request is looked up by `digest` (NetBox's shape: digest plus the id of the
    pepper that made it, so that peppers rotate).
    """

    class Scope(models.TextChoices):
        """What the key may do; each scope includes the ones before it."""

        INFERENCE = "inference", "Inference"
        ACCOUNT = "account", "Account (as its owner)"
        OPERATOR = "operator", "Operator"

    class State(models.TextChoices):
        """Why a key works or does not. Where several reasons hold, the first of these is told."""

        ACTIVE = "active", "Active"
        REVOKED = "revoked", "Revoked"
        EXPIRED = "expired", "Expired"
        SUSPENDED = "suspended", "Account suspended or closed"

    account = models.ForeignKey(
        Account,
        on_delete=models.PROTECT,
        related_name="keys",
        error_messages={"null": "Choose the account that the key belongs to."},
    )
    key_id = models.CharField("key id", max_length=20, unique=True, default=new_key_id, editable=False)
    pepper_id = models.PositiveSmallIntegerField(editable=False)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    label = models.CharField(
        max_length=100,
        blank=True,
        validators=[one_line],
        help_text="What the key is for, in your words.",
        error_messages={"max_length": "The label has %(show_value)d characters; at most %(limit_value)d fit."},
    )
    scope = models.CharField(
        max_length=10,
        choices=Scope,
        default=Scope.INFERENCE,
        help_text="What the key may do; each scope includes the ones before it.",
        error_messages={
            "invalid_choice": "%(value)r is not a scope; choose inference, account or operator.",
            "blank": "Choose a scope: inference, account or operator.",
        },
    )
    allowed_models: ArrayField[Any, Any] = ArrayField(
        models.CharField(max_length=200, validators=[one_line]),
        default=list,
        blank=True,
        help_text="Model ids this key may use, separated by commas; empty means every model.",
        error_messages={"item_invalid": "Model %(nth)s of the list:"},
    )
    expires_at = models.DateTimeField("expires", null=True, blank=True, help_text="In UTC; empty means never.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField("last used", null=True, blank=True, editable=False)
    created_at = models.DateTimeField("created", default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        help_text="Who made it over /api/: a member of an account sees the keys of its own making.",
    )
    is_bootstrap = models.BooleanField(
        default=False,
        editable=False,
        help_text="The key of HELEXA_API_KEY, made valid at every start; the next one to be installed revokes it.",
    )

    objects = ApiKeyQuerySet.as_manager()
    history = HistoricalRecords(excluded_fields=["digest", "pepper_id", "last_used_at"])

    class Meta:
        verbose_name = "API key"
        verbose_name_plural = "API keys"
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(scope__in=["inference", "account", "operator"]), name="api_key_scope_known"
            ),
            models.UniqueConstraint(
                fields=["is_bootstrap"], condition=Q(is_bootstrap=True), name="api_key_one_bootstrap"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key_id} ({self.label})" if self.label else self.key_id

    def clean(self) -> None:
        if self._state.adding and self.expires_at is not None and self.expires_at <= timezone.now():
            raise ValidationError({"expires_at": EXPIRY_PASSED})

    @property
    def state(self) -> State:
        if self.revoked_at is not None:
            return self.State.REVOKED
        if self.expires_at is not None and self.expires_at <= timezone.now():
            return self.State.EXPIRED
        barred = self.account.suspended or self.account.closed
        return self.State.SUSPENDED if barred else self.State.ACTIVE
