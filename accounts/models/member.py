from __future__ import annotations

from django.conf import settings
from django.db import models
from simple_history.models import HistoricalRecords

from accounts.models.account import Account


class Member(models.Model):
    """A person's role in an account. What a role may do is the table in accounts.roles."""

    class Role(models.TextChoices):
        OWNER = "owner", "owner"
        MEMBER = "member", "member"
        AUDITOR = "auditor", "auditor"

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=7, choices=Role, default=Role.MEMBER)

    history = HistoricalRecords()

    class Meta:
        ordering = ["account", "user"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "user"],
                name="member_once_per_account",
                violation_error_message="This person is in the account already; change the role instead.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.account}"
