"""What has expired goes; the rest stays."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib import admin
from django.utils import timezone

from accounts.models import Account
from inference.gateway.responses.retention import prune_responses
from inference.models import StoredResponse


@pytest.mark.django_db
def test_only_what_has_expired_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.gateway.responses.retention.MOST_AT_ONCE", 2)
    now = timezone.now()
    account = Account.objects.create(name="team")
    for days in (-3, -2, -1, 1, 2):
        StoredResponse.objects.create(
            id=uuid4(),
            account=account,
            model="m",
            status="completed",
            background=False,
            continuable=True,
            response=b"{}",
            input=b"[]",
            size_bytes=4,
            created_at=now,
            expires_at=now + timedelta(days=days),
        )
    assert prune_responses(now) == 3
    assert StoredResponse.objects.filter(expires_at__gt=now).count() == 2


def test_contents_are_in_no_admin_page() -> None:
    assert StoredResponse not in admin.site._registry
