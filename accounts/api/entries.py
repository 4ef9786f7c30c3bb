"""/api/entries: the ledger, to read; an operator may refund an entry, which writes another one."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.fields import Amount, Line, Period, Usd, amount_of, name_of, type_amount
from accounts.api.gated import Gated
from accounts.budgets import refund
from accounts.models import Account, ApiKey, Budget, Entry
from accounts.models import Line as LedgerLine
from accounts.models.reservation import reservation_id_of
from accounts.roles import Action

REQUEST_ID = "The x-request-id of an answer: what it was billed."


class LineShown(serializers.Serializer[LedgerLine]):
    budget = serializers.IntegerField()
    unit = serializers.CharField()
    window_number = serializers.IntegerField()
    amount = Amount()

    def to_representation(self, line: LedgerLine) -> dict[str, Any]:
        unit = line.budget.unit
        return {
            "budget": line.budget_id,
            "unit": name_of(unit),
            "window_number": line.window_number,
            "amount": type_amount(line.amount, unit),
        }


class PricesShown(serializers.Serializer[Entry]):
    """Dollars per 1M tokens, as they were when the request came."""

    input = Usd(source="input_price", allow_null=True)
    output = Usd(source="output_price", allow_null=True)
    cache_read = Usd(source="cached_price", allow_null=True)
    reasoning = Usd(source="reasoning_price", allow_null=True)


class EntryShown(serializers.Serializer[Entry]):
    """`tokens` and `usd` are signed: what was given back is negative."""

    id = serializers.IntegerField()
    kind = serializers.ChoiceField(Entry.Kind.choices)
    at = serializers.DateTimeField()
    debit = serializers.CharField(source="debit.name")
    credit = serializers.CharField(source="credit.name")
    key = serializers.CharField(source="key.key_id", allow_null=True, default=None)
    request_id = serializers.CharField()
    model = serializers.CharField()
    node = serializers.CharField()
    tokens = serializers.IntegerField()
    usd = Usd(source="nano_usd")
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    reasoning_tokens = serializers.IntegerField()
    prices = PricesShown(source="*")
    estimated = serializers.BooleanField()
    refunds = serializers.IntegerField(source="refunds_id", allow_null=True)
    budget = serializers.IntegerField(source="budget_id", allow_null=True, help_text="The cap that a credit raised.")
    reason = serializers.CharField()
    author = serializers.CharField(source="author_name")
    lines = LineShown(many=True)


class EntryAsked(Period):
    request_id = Line(required=False, help_text=REQUEST_ID)
    account = serializers.IntegerField(required=False, min_value=1, max_value=10**18)
    key = Line(required=False, help_text="The public id of a key.")
    kind = serializers.ChoiceField(Entry.Kind.choices, required=False)


class RefundSent(serializers.Serializer[Any]):
    """Without amounts all that is left of the entry is given back."""

    tokens = Amount(required=False)
    usd = Amount(required=False)
    reason = Line(max_length=200)


class Entries(Gated):
    queryset = Entry.objects.none()
    lookup_value_regex = "[0-9]{1,18}"
    needs = {"list": Action.SEE_ENTRIES, "retrieve": Action.SEE_ENTRIES, "refund": Action.REFUND}

    @extend_schema(parameters=[EntryAsked], responses=EntryShown(many=True))
    def list(self, request: Request) -> Response:
        """Entries of the ledger, the newest first."""
        return self.page(self._whole().filter(self._asked_for()), EntryShown)

    @extend_schema(responses=EntryShown)
    def retrieve(self, request: Request, pk: str) -> Response:
        """One entry."""
        self.row(Entry, pk=pk)
        return Response(EntryShown(self._whole().get(pk=pk)).data)

    @extend_schema(request=RefundSent, responses={201: EntryShown})
    @action(detail=True, methods=["post"])
    def refund(self, request: Request, pk: str) -> Response:
        """Give back part of an entry of usage, or all that is left. The answer is the entry that does."""
        entry = self.row(Entry, pk=pk, to=Action.REFUND)
        sent = self.sent(RefundSent)
        written = refund(
            entry,
            tokens=amount_of(sent.get("tokens"), Budget.Unit.TOKENS, field="tokens"),
            nano_usd=amount_of(sent.get("usd"), Budget.Unit.NANO_USD, field="usd"),
            reason=sent["reason"],
            author=self.actor.author,
        )
        return Response(EntryShown(self._whole().get(pk=written.pk)).data, status=status.HTTP_201_CREATED)

    def _whole(self) -> QuerySet[Entry]:
        return self.rows(Entry).select_related("debit", "credit", "key").prefetch_related("lines__budget")

    def _asked_for(self) -> Q:
        asked = self.asked(EntryAsked)
        wanted = Q(kind=asked["kind"]) if "kind" in asked else Q()
        if "request_id" in asked:
            reservation_id = reservation_id_of(asked["request_id"])
            wanted &= Q(reservation=reservation_id) if reservation_id else Q(pk__in=())
        if "account" in asked:
            account = self.row(Account, pk=asked["account"])
            wanted &= Q(debit=account) | (Q(credit=account) & ~Q(kind=Entry.Kind.USAGE))
        if "key" in asked:
            wanted &= Q(key=self.row(ApiKey, key_id=asked["key"]))
        if "from" in asked:
            wanted &= Q(at__gte=asked["from"])
        return wanted & Q(at__lt=asked["to"]) if "to" in asked else wanted
