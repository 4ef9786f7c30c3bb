"""Opening, suspending, resuming and closing accounts. Gateways read the rows each second, and cancel what runs."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.authors import sign
from accounts.booking.operations import Author
from accounts.models import Account, Entry


def open_account(name: str) -> Account:
    """The account of that name, made if there is none. Raises ValidationError naming the field for a bad name."""
    account = Account(name=name.strip())
    account.clean_fields()
    # get_or_create, because another command may be opening the same account now
    return Account.objects.get_or_create(name=account.name)[0]


def create_account(name: str, *, author: Author) -> Account:
    """A new account. Raises ValidationError naming the field for a bad or taken name."""
    account = Account(name=name)
    account.full_clean()
    sign(account, author)
    account.save()
    return account


@transaction.atomic
def rename_account(account: Account, name: str, *, author: Author) -> Account:
    """Give the account another name. Raises ValidationError naming the field for a bad or taken one."""
    row = Account.objects.select_for_update(no_key=True).get(pk=account.pk)
    if row.name != name:
        row.name = name
        row.full_clean()
        sign(row, author)
        row.save(update_fields=["name"])
    return row


def check_open(account: Account) -> None:
    """Raise ValidationError if the account is no tenant's, or closed: it then gets neither keys nor caps."""
    if account.is_house:
        raise ValidationError({"account": f"{account} is the account of the house, which has neither keys nor caps."})
    if account.closed:
        raise ValidationError({"account": f"Account {account} is closed; open another one."})


def suspend_account(account: Account, *, author: Author | None = None, reason: str = "") -> bool:
    """Refuse every key of the account from now on, everywhere. False if it was suspended already."""
    return _set_moment(account, "suspended_at", timezone.now(), author, reason)


def resume_account(account: Account, *, author: Author | None = None, reason: str = "") -> bool:
    """Let the account's keys work again. False if it was not suspended."""
    return _set_moment(account, "suspended_at", None, author, reason)


def close_account(account: Account, *, author: Author | None = None, reason: str = "") -> bool:
    """Refuse every key of the account for good; its entries stay. False if it was closed already.

    Raises ValidationError for the account of the house, and for that of HELEXA_API_KEY.
    """
    if account.is_house:
        raise ValidationError({"account": f"{account} is the account of the house: tenants' spend is credited to it."})
    if account.keys.filter(is_bootstrap=True).exists():
        raise ValidationError(
            {"account": f"{account} has the key of HELEXA_API_KEY, which every start makes valid; suspend it instead."}
        )
    return _set_moment(account, "closed_at", timezone.now(), author, reason)


def check_deletable(account: Account) -> None:
    """Raise ValidationError for an account with which anything was ever done: it is closed instead."""
    kept = [
        (account.is_house, "is the account of the house"),
        (Entry.objects.filter(Q(debit=account) | Q(credit=account)).exists(), "has entries in the ledger"),
        (account.budgets.exists(), "has caps"),
        (account.keys.exists(), "has keys"),
    ]
    for holds, why in kept:
        if holds:
            raise ValidationError({"account": f"{account} {why} and cannot be deleted; close it instead."})


def delete_account(account: Account) -> None:
    """Delete an account that was never used. Raises ValidationError for any other."""
    check_deletable(account)
    account.delete()


@transaction.atomic
def _set_moment(account: Account, name: str, moment: datetime | None, author: Author | None, reason: str) -> bool:
    """Set or clear one of the moments since which an account is barred; False if it is so already."""
    # NO KEY UPDATE: whoever books holds a key-share lock of the account that its entries name.
    row = Account.objects.select_for_update(no_key=True).get(pk=account.pk)
    if (getattr(row, name) is None) == (moment is None):
        return False
    setattr(row, name, moment)
    sign(row, author, reason)
    row.save(update_fields=[name])
    return True
