"""/api/me: who asks, and what is left. The one address that a key of scope inference may use here."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.accounts import AccountShown
from accounts.api.budgets import BudgetShown
from accounts.api.gated import Gated
from accounts.api.keys import KeyShown
from accounts.models import Account, Budget
from accounts.roles import Role
from accounts.standing import standings
from accounts.tenancy import Actor, visible


class MyAccount(AccountShown):
    role = serializers.ChoiceField([role.value for role in Role], allow_null=True)


@extend_schema_serializer(many=False)
class Me(serializers.Serializer[Any]):
    name = serializers.CharField(help_text="The name of a person, or the id of a key.")
    operator = serializers.BooleanField()
    key = KeyShown(allow_null=True, help_text="The key that was used; null for a person.")
    accounts = MyAccount(many=True, help_text="That of the key, or those a person has a role in.")
    caps = BudgetShown(
        many=True, help_text="Every cap that holds for the key, or that the person sees in its accounts."
    )


class MeView(Gated):
    queryset = Budget.objects.none()
    needs = {"list": None}
    pagination_class = None

    @extend_schema(responses=Me, operation_id="me")
    def list(self, request: Request) -> Response:
        """Who you are, which caps hold for you, and what is left of them now."""
        actor = self.actor
        caps = _caps(actor).exclude(cap=None).select_related("key")
        return Response(
            {
                "name": actor.author.name if actor.key is None else actor.key.key_id,
                "operator": actor.operator,
                "key": KeyShown(actor.key).data if actor.key else None,
                "accounts": [_account(actor, account) for account in _accounts(actor)],
                "caps": BudgetShown(standings(caps), many=True).data,
            }
        )


def _accounts(actor: Actor) -> list[Account]:
    return [actor.key.account] if actor.key else list(Account.objects.filter(pk__in=actor.roles).order_by("name"))


def _account(actor: Actor, account: Account) -> dict[str, Any]:
    return {**AccountShown(account).data, "role": actor.role_in(account.pk)}


def _caps(actor: Actor) -> Any:
    """A key is held to its own caps and to its account's, whatever its scope lets it see of others."""
    if actor.key is not None:
        return Budget.objects.filter(Q(key=actor.key) | Q(account=actor.key.account_id))
    accounts = list(actor.roles)
    return visible(actor, Budget).filter(Q(account__in=accounts) | Q(key__account__in=accounts))
