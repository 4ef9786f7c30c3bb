"""/api/keys: a key's secret is in the answer that makes it, and nowhere else ever."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.accounts import ReasonSent
from accounts.api.fields import Line, Moment
from accounts.api.gated import Gated
from accounts.keys import change_key, issue_key, parse_peppers, revoke_key
from accounts.models import Account, ApiKey
from accounts.roles import Action

#: More models than any catalogue has; a longer list is a mistake.
MOST_MODELS = 1000


class KeyShown(serializers.Serializer[ApiKey]):
    key_id = serializers.CharField()
    account = serializers.IntegerField(source="account_id")
    label = serializers.CharField()  # type: ignore[assignment]  # of the key, not of the serializer
    scope = serializers.ChoiceField(ApiKey.Scope.choices)
    allowed_models = serializers.ListField(child=serializers.CharField(), help_text="Empty means every model.")
    state = serializers.ChoiceField(ApiKey.State.choices)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class KeyIssued(KeyShown):
    secret = serializers.CharField(help_text="Shown this once.")


class KeyChanged(serializers.Serializer[Any]):
    label = Line(max_length=100, allow_blank=True, required=False)  # type: ignore[assignment]
    allowed_models = serializers.ListField(child=Line(max_length=200), max_length=MOST_MODELS, required=False)
    expires_at = Moment(allow_null=True, required=False, help_text="Null means never.")


class KeySent(KeyChanged):
    account = serializers.IntegerField(min_value=1, max_value=10**18)
    scope = serializers.ChoiceField(ApiKey.Scope.choices, default=str(ApiKey.Scope.INFERENCE))


class KeyAsked(serializers.Serializer[Any]):
    account = serializers.IntegerField(required=False, min_value=1, max_value=10**18)
    state = serializers.ChoiceField(ApiKey.State.choices, required=False)


class Keys(Gated):
    queryset = ApiKey.objects.none()
    lookup_field = "key_id"
    lookup_value_regex = r"[\w-]{1,64}"
    needs = {
        "list": Action.SEE_KEYS,
        "retrieve": Action.SEE_KEYS,
        "create": Action.MAKE_KEY,
        "partial_update": Action.CHANGE_KEY,
        "revoke": Action.CHANGE_KEY,
    }

    @extend_schema(parameters=[KeyAsked], responses=KeyShown(many=True))
    def list(self, request: Request) -> Response:
        """The keys you see, the newest first."""
        asked = self.asked(KeyAsked)
        keys = self.rows(ApiKey).select_related("account")
        if "account" in asked:
            keys = keys.filter(account=self.row(Account, pk=asked["account"]))
        if "state" in asked:
            keys = keys.filter(pk__in=ApiKey.objects.in_state(asked["state"]))
        return self.page(keys, KeyShown)

    @extend_schema(responses=KeyShown)
    def retrieve(self, request: Request, key_id: str) -> Response:
        """One key, by its public id."""
        return Response(KeyShown(self.row(ApiKey, key_id=key_id)).data)

    @extend_schema(request=KeySent, responses={201: KeyIssued})
    def create(self, request: Request) -> Response:
        """Make a key. The answer has its secret, which is shown this once."""
        sent = self.sent(KeySent)
        account = self.row(Account, pk=sent.pop("account"), to=Action.MAKE_KEY)
        self._check_scope(sent["scope"], account.pk)
        key, secret = issue_key(
            account=account,
            peppers=parse_peppers(settings.HELEXA_KEY_PEPPER),
            created_by=self.actor.user,
            author=self.actor.author,
            **sent,
        )
        response = Response({**KeyShown(key).data, "secret": secret}, status=status.HTTP_201_CREATED)
        response["Cache-Control"] = "no-store"
        return response

    @extend_schema(request=KeyChanged, responses=KeyShown)
    def partial_update(self, request: Request, key_id: str) -> Response:
        """Change a key's label, models or expiry; what is not named stays as it is."""
        key = self._changeable(key_id)
        return Response(KeyShown(change_key(key, author=self.actor.author, **self.sent(KeyChanged, partial=True))).data)

    @extend_schema(request=ReasonSent, responses=KeyShown)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, key_id: str) -> Response:
        """Make the key refuse for good, and cancel what it runs."""
        revoke_key(self._changeable(key_id), author=self.actor.author, reason=self.sent(ReasonSent)["reason"])
        return Response(KeyShown(self.row(ApiKey, key_id=key_id)).data)

    def _changeable(self, key_id: str) -> ApiKey:
        key = self.row(ApiKey, key_id=key_id, to=Action.CHANGE_KEY)
        self._check_scope(key.scope, key.account_id)
        return key

    def _check_scope(self, scope: str, account_id: int) -> None:
        if not self.actor.may_give(scope, account_id):
            raise PermissionDenied(f"A key of scope {scope} may do more than you may; ask an operator.")
