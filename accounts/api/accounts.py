"""/api/accounts: tenants. Everybody sees their own; operators open, rename, suspend, resume and close them."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.accounts import close_account, create_account, rename_account, resume_account, suspend_account
from accounts.api.fields import Line
from accounts.api.gated import Gated
from accounts.models import Account
from accounts.roles import Action


class AccountShown(serializers.Serializer[Account]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    state = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    suspended_at = serializers.DateTimeField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)

    @extend_schema_field(serializers.ChoiceField(["active", "suspended", "closed"]))
    def get_state(self, account: Account) -> str:
        return "closed" if account.closed else "suspended" if account.suspended else "active"


class AccountSent(serializers.Serializer[Any]):
    name = Line(max_length=100)


class AccountAsked(serializers.Serializer[Any]):
    name = Line(required=False, help_text="The account of exactly this name.")


class ReasonSent(serializers.Serializer[Any]):
    reason = Line(max_length=100, required=False, allow_blank=True, default="", help_text="Kept in the history.")


class Accounts(Gated):
    queryset = Account.objects.none()
    lookup_value_regex = "[0-9]{1,18}"
    needs = {
        "list": Action.SEE_ACCOUNT,
        "retrieve": Action.SEE_ACCOUNT,
        "create": Action.OPEN_ACCOUNT,
        "partial_update": Action.CHANGE_ACCOUNT,
        "suspend": Action.CHANGE_ACCOUNT,
        "resume": Action.CHANGE_ACCOUNT,
        "close": Action.CHANGE_ACCOUNT,
    }

    @extend_schema(parameters=[AccountAsked], responses=AccountShown(many=True))
    def list(self, request: Request) -> Response:
        """The accounts you see, the newest first."""
        return self.page(self.rows(Account).filter(**self.asked(AccountAsked)), AccountShown)

    @extend_schema(responses=AccountShown)
    def retrieve(self, request: Request, pk: str) -> Response:
        """One account."""
        return Response(AccountShown(self.row(Account, pk=pk)).data)

    @extend_schema(request=AccountSent, responses={201: AccountShown})
    def create(self, request: Request) -> Response:
        """Open an account. A name that is taken is refused."""
        account = create_account(self.sent(AccountSent)["name"], author=self.actor.author)
        return Response(AccountShown(account).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=AccountSent, responses=AccountShown)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Rename an account."""
        account = self.row(Account, pk=pk, to=Action.CHANGE_ACCOUNT)
        return Response(
            AccountShown(rename_account(account, self.sent(AccountSent)["name"], author=self.actor.author)).data
        )

    @extend_schema(request=ReasonSent, responses=AccountShown)
    @action(detail=True, methods=["post"])
    def suspend(self, request: Request, pk: str) -> Response:
        """Refuse every key of the account from now on, and cancel what they run."""
        return self._bar(pk, suspend_account)

    @extend_schema(request=ReasonSent, responses=AccountShown)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Let the account's keys work again."""
        if self.row(Account, pk=pk).closed:
            raise ValidationError({"account": "The account is closed for good; open another one."})
        return self._bar(pk, resume_account)

    @extend_schema(request=ReasonSent, responses=AccountShown)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str) -> Response:
        """Refuse every key of the account for good. Its entries stay."""
        return self._bar(pk, close_account)

    def _bar(self, pk: str, verb: Any) -> Response:
        account = self.row(Account, pk=pk, to=Action.CHANGE_ACCOUNT)
        verb(account, author=self.actor.author, reason=self.sent(ReasonSent)["reason"])
        return Response(AccountShown(self.row(Account, pk=pk)).data)
