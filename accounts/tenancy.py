"""The one gate between people and rows: over /api/ rows are reached through `visible`, and changed after `require`.

What is not visible does not exist for the one who asks (404); what is visible and not allowed is refused (403).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.http import Http404

from accounts.authors import author_of
from accounts.booking.operations import Author
from accounts.models import Account, ApiKey, Budget, DailySpend, Entry, HourlySpend, Member
from accounts.roles import SCOPES, Action, Reach, Role, reach

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: a signed-in person, or a key. `roles` are by account id."""

    user: User | None = None
    key: ApiKey | None = None
    operator: bool = False
    roles: Mapping[int, Role] = field(default_factory=dict)

    @classmethod
    def of_user(cls, user: User) -> Actor:
        memberships = Member.objects.filter(user=user).values_list("account_id", "role")
        return cls(user=user, operator=user.is_staff, roles={account: Role(role) for account, role in memberships})

    @classmethod
    def of_key(cls, key: ApiKey) -> Actor:
        owned = {key.account_id: Role.OWNER} if key.scope == ApiKey.Scope.ACCOUNT else {}
        return cls(key=key, operator=key.scope == ApiKey.Scope.OPERATOR, roles=owned)

    @property
    def author(self) -> Author:
        """How the actor signs what it does."""
        if self.user is not None:
            return author_of(self.user)
        assert self.key is not None, "an actor is a person or a key"
        return Author(name=f"key {self.key.key_id}")

    @property
    def ident(self) -> str:
        """The same for all that one person or key asks."""
        return f"user:{self.user.pk}" if self.user else f"key:{self.key.pk if self.key else ''}"

    def role_in(self, account_id: int) -> Role | None:
        return Role.OPERATOR if self.operator else self.roles.get(account_id)

    def may(self, action: Action) -> bool:
        """Whether the actor may do it anywhere at all."""
        return self.operator or any(reach(role, action) for role in self.roles.values())

    def may_give(self, scope: str, account_id: int) -> bool:
        """Whether the actor may make and change keys of that scope in the account."""
        role = self.role_in(account_id)
        return role is not None and scope in SCOPES[role]


@dataclass(frozen=True, slots=True)
class _Place:
    """How the rows of a table belong to accounts, and which of them are a person's own."""

    see: Action
    of_accounts: Callable[[Collection[int]], Q]
    own: Callable[[User], Q]


def _by(path: str) -> Callable[[Collection[int]], Q]:
    return lambda accounts: Q(**{f"{path}__in": accounts})


def _made_by(path: str) -> Callable[[User], Q]:
    return lambda user: Q(**{path: user})


def _all(user: User) -> Q:
    return Q()


def _budgets_of(accounts: Collection[int]) -> Q:
    return Q(account__in=accounts) | Q(key__account__in=accounts)


def _entries_of(accounts: Collection[int]) -> Q:
    """What an account was debited, and what it was credited; the second half as its partial index wants to be asked."""
    return Q(debit__in=accounts) | (Q(credit__in=accounts) & ~Q(kind=Entry.Kind.USAGE))


_PLACES: dict[type[Model], _Place] = {
    Account: _Place(Action.SEE_ACCOUNT, _by("pk"), _all),
    Member: _Place(Action.SEE_MEMBERS, _by("account"), _made_by("user")),
    ApiKey: _Place(Action.SEE_KEYS, _by("account"), _made_by("created_by")),
    Budget: _Place(Action.SEE_BUDGETS, _budgets_of, _made_by("key__created_by")),
    Entry: _Place(Action.SEE_ENTRIES, _entries_of, _made_by("key__created_by")),
    HourlySpend: _Place(Action.SEE_USAGE, _by("account"), _made_by("key__created_by")),
    DailySpend: _Place(Action.SEE_USAGE, _by("account"), _made_by("key__created_by")),
}


def visible(actor: Actor, model: type[Row]) -> QuerySet[Row]:
    """The rows of a table that exist for the actor."""
    return _rows(actor, _PLACES[model].see, model)


def find(actor: Actor, model: type[Row], **lookup: Any) -> Row:
    """The one visible row of that lookup. Raises Http404, for a foreign row and a missing one alike."""
    row = visible(actor, model).filter(**lookup).first()
    if row is None:
        raise Http404(f"There is no {model._meta.verbose_name} of this id.")
    return row


def require(actor: Actor, action: Action, row: Model) -> None:
    """Raises PermissionDenied unless the actor may do `action` to this row, which it sees."""
    if not _rows(actor, action, type(row)).filter(pk=row.pk).exists():
        raise PermissionDenied(f"You may not {action} here; see who may in docs/people.md.")


def _rows(actor: Actor, action: Action, model: type[Row]) -> QuerySet[Row]:
    rows = model._default_manager.all()
    if actor.operator:
        return rows if reach(Role.OPERATOR, action) else rows.none()
    place = _PLACES[model]
    reached: dict[Reach, list[int]] = {Reach.ALL: [], Reach.OWN: []}
    for account_id, role in actor.roles.items():
        reached.get(reach(role, action), []).append(account_id)
    condition = place.of_accounts(reached[Reach.ALL])
    if reached[Reach.OWN] and actor.user is not None:
        condition |= place.of_accounts(reached[Reach.OWN]) & place.own(actor.user)
    return rows.filter(condition)
