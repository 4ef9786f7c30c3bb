"""/api/budgets, and the caps of one account or key: `PUT /api/keys/KEY_ID/budgets/tokens`."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.fields import UNITS, Amount, Line, amount_of, name_of, type_amount
from accounts.api.gated import Gated
from accounts.booking.operations import Limits
from accounts.budgets import set_limits
from accounts.models import Account, ApiKey, Budget
from accounts.roles import Action
from accounts.standing import Standing, standings
from accounts.typed import format_window, parse_window

UNIT = OpenApiParameter("unit", str, OpenApiParameter.PATH, enum=list(UNITS))


class BudgetShown(serializers.Serializer[Any]):
    """A Standing; its amounts are in the budget's unit."""

    id = serializers.IntegerField()
    account = serializers.IntegerField(allow_null=True, help_text="Whose cap it is: an account's, or else a key's.")
    key = serializers.CharField(allow_null=True)
    unit = serializers.ChoiceField(list(UNITS))
    window = serializers.CharField(help_text="balance, rolling:SECONDS, calendar:day|week|month[@Area/City]")
    cap = Amount(allow_null=True)
    spent = Amount()
    reserved = Amount()
    left = Amount(allow_null=True)
    resets_at = serializers.DateTimeField(
        allow_null=True, help_text="Null for a balance, and for a rolling window that the next use opens."
    )

    def to_representation(self, standing: Standing) -> dict[str, Any]:
        budget = standing.budget
        amounts = {name: getattr(standing, name) for name in ("cap", "spent", "reserved", "left")}
        return super().to_representation(
            {
                "id": budget.pk,
                "account": budget.account_id,
                "key": budget.key.key_id if budget.key else None,
                "unit": name_of(budget.unit),
                "window": format_window(budget),
                "resets_at": standing.resets_at,
                **{name: type_amount(amount, budget.unit) for name, amount in amounts.items()},
            }
        )


class LimitsSeen(serializers.Serializer[Any]):
    cap = Amount(allow_null=True)
    window = Line(max_length=100, default="balance")


class LimitsSent(LimitsSeen):
    seen = LimitsSeen(
        required=False, help_text="What you saw before: if somebody has changed it since, yours is refused."
    )
    reason = Line(max_length=100, required=False, allow_blank=True, default="", help_text="Kept in the history.")


class BudgetAsked(serializers.Serializer[Any]):
    account = serializers.IntegerField(required=False, min_value=1, max_value=10**18)
    key = Line(required=False, help_text="The public id of a key.")


class Budgets(Gated):
    queryset = Budget.objects.none()
    needs = {"list": Action.SEE_BUDGETS}

    @extend_schema(parameters=[BudgetAsked], responses=BudgetShown(many=True))
    def list(self, request: Request) -> Response:
        """Caps and what is left of them, as they stand now. `account` asks for the account's own."""
        asked = self.asked(BudgetAsked)
        budgets = self.rows(Budget).select_related("key")
        if "account" in asked:
            budgets = budgets.filter(account=self.row(Account, pk=asked["account"]))
        if "key" in asked:
            budgets = budgets.filter(key=self.row(ApiKey, key_id=asked["key"]))
        page = self.paginate_queryset(budgets)
        return self.get_paginated_response(BudgetShown(standings(page or ()), many=True).data)


class Capped(Gated):
    """What the caps of accounts and of keys have in common."""

    def _set(self, owner: Account | ApiKey, unit_name: str) -> Response:
        sent = self.sent(LimitsSent)
        unit = UNITS[unit_name]
        budget = set_limits(
            owner,
            unit,
            _limits(sent, unit),
            author=self.actor.author,
            reason=sent["reason"],
            seen=_limits(sent["seen"], unit, within="seen.") if "seen" in sent else None,
        )
        return Response(BudgetShown(standings([budget])[0]).data)


class AccountCaps(Capped):
    queryset = Account.objects.none()
    lookup_value_regex = "[0-9]{1,18}"
    needs = {"budgets": Action.CAP_ACCOUNT}

    @extend_schema(request=LimitsSent, responses=BudgetShown, parameters=[UNIT])
    @action(detail=True, methods=["put"], url_path=f"budgets/(?P<unit>{'|'.join(UNITS)})", url_name="budget")
    def budgets(self, request: Request, pk: str, unit: str) -> Response:
        """Set the account's cap in a unit, and its window. A cap of null lifts it."""
        return self._set(self.row(Account, pk=pk, to=Action.CAP_ACCOUNT), unit)


class KeyCaps(Capped):
    queryset = ApiKey.objects.none()
    lookup_field = "key_id"
    lookup_value_regex = r"[\w-]{1,64}"
    needs = {"budgets": Action.CAP_KEY}

    @extend_schema(request=LimitsSent, responses=BudgetShown, parameters=[UNIT])
    @action(detail=True, methods=["put"], url_path=f"budgets/(?P<unit>{'|'.join(UNITS)})", url_name="budget")
    def budgets(self, request: Request, key_id: str, unit: str) -> Response:
        """Set the key's cap in a unit, and its window. A cap of null lifts it."""
        return self._set(self.row(ApiKey, key_id=key_id, to=Action.CAP_KEY), unit)


def _limits(typed: dict[str, Any], unit: str, *, within: str = "") -> Limits:
    window, seconds, time_zone = parse_window(typed["window"], field=f"{within}window")
    return Limits(amount_of(typed["cap"], unit, field=f"{within}cap"), window, seconds, time_zone)
