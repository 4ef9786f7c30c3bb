"""Who changes a row, as its history keeps it."""

from __future__ import annotations

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Model

from accounts.booking.operations import Author
from accounts.models import Budget

#: As many characters as a row of history has for a reason.
MAX_HISTORY_CHARACTERS = 100


def author_of(user: AbstractBaseUser | AnonymousUser) -> Author:
    """The author that a signed-in person is."""
    return Author(name=user.get_username(), user_id=user.pk)


def sign(row: Model, author: Author | None, reason: str = "") -> None:
    """Say who saves `row` next and why. Without an author it is who sent the running HTTP request, if one is."""
    if author is not None:
        row._history_user = _user(author)  # type: ignore[attr-defined]  # where django-simple-history looks
    row._change_reason = _comment(author, reason)  # type: ignore[attr-defined]


def note_change(budget: Budget, author: Author, reason: str) -> None:
    """Write down what a booking made of a budget: bookings are SQL, which leaves no history by itself."""
    budget.refresh_from_db()
    Budget.history.bulk_history_create(
        [budget], update=True, default_user=_user(author), default_change_reason=_comment(author, reason)
    )


def _user(author: Author) -> User | None:
    return User.objects.filter(pk=author.user_id).first() if author.user_id else None


def _comment(author: Author | None, reason: str) -> str:
    """The reason, after the name of an author who is no user."""
    named = author is not None and author.user_id is None
    return (f"{author.name}: {reason}" if named and author else reason)[:MAX_HISTORY_CHARACTERS].removesuffix(": ")
