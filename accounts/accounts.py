"""Opening, suspending and resuming accounts. Only rows are written: every gateway reads them again each second."""

from __future__ import annotations

from django.utils import timezone

from accounts.models import Account


def open_account(name: str) -> Account:
    """The account of that name, made if there is none. Raises ValidationError naming the field for a bad name."""
    account = Account(name=name.strip())
    account.clean_fields()
    # get_or_create, because another command may be opening the same account now
    return Account.objects.get_or_create(name=account.name)[0]


def suspend_account(account: Account) -> bool:
    """Refuse every key of the account from now on, everywhere. False if it was suspended already."""
    return Account.objects.filter(pk=account.pk, suspended_at=None).update(suspended_at=timezone.now()) == 1


def resume_account(account: Account) -> bool:
    """Let the account's keys work again. False if it was not suspended."""
    return Account.objects.filter(pk=account.pk).exclude(suspended_at=None).update(suspended_at=None) == 1
