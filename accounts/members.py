"""People in accounts: what a role may do is in accounts.roles."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.accounts import check_open
from accounts.authors import sign
from accounts.booking.operations import Author
from accounts.models import Account, Member


def add_member(account: Account, username: str, role: str, *, author: Author) -> Member:
    """Give a person a role in an account. Raises ValidationError naming the field."""
    check_open(account)
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise ValidationError({"user": f"Nobody signs in as {username!r}; an operator adds people in the admin."})
    member = Member(account=account, user=user, role=role)
    member.full_clean()
    sign(member, author)
    member.save()
    return member


@transaction.atomic
def change_role(member: Member, role: str, *, author: Author) -> Member:
    row = Member.objects.select_for_update(of=("self",)).select_related("user").get(pk=member.pk)
    if row.role != role:
        row.role = role
        row.full_clean()
        sign(row, author)
        row.save(update_fields=["role"])
    return row


def remove_member(member: Member, *, author: Author) -> None:
    sign(member, author)
    member.delete()
