from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from unfold.admin import TabularInline
from unfold.decorators import action, display

from accounts.admin.read_only import ReadOnly, Searched
from accounts.authors import author_of
from accounts.budgets import check_refund, refund, refundable
from accounts.confirmation import Effect, Wish, ask
from accounts.forms import RefundForm
from accounts.models import Account, Budget, Entry, Line
from accounts.models.reservation import reservation_id_of
from accounts.typed import format_amount
from helexa.usd import format_usd

TOKENS, USD = Budget.Unit.TOKENS, Budget.Unit.NANO_USD


class ShownLine:
    @display(description="amount")
    def shown_amount(self, line: Line) -> str:
        return format_amount(line.amount, line.budget.unit)

    @display(description="budget of")
    def shown_owner(self, line: Line) -> str:
        return str(line.budget.owner)


class LineInline(ShownLine, TabularInline):
    """What an entry moved in which budget, and in which of its windows."""

    model = Line
    fields = readonly_fields = ["shown_owner", "window_number", "shown_amount"]
    extra = 0
    can_delete = False
    hide_title = True
    verbose_name_plural = "lines"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Line]:
        return super().get_queryset(request).select_related("budget__account", "budget__key")

    def has_add_permission(self, request: HttpRequest, obj: Entry | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Entry | None = None) -> bool:
        return False


class OwnerFilter(admin.SimpleListFilter):
    """The ledger of one account or key, which their pages link to; it is not offered as a list of all of them."""

    @property
    def number(self) -> int | None:
        value = self.value() or ""
        return int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else None

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = request.GET.get(str(self.parameter_name), "")
        return [(value, f"number {value}")] if value.isdecimal() else []


class AccountFilter(OwnerFilter):
    title = "account"
    parameter_name = "account"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Entry]) -> QuerySet[Entry]:
        return _of_account(queryset, self.number) if self.number else queryset


class KeyFilter(OwnerFilter):
    title = "key"
    parameter_name = "apikey"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Entry]) -> QuerySet[Entry]:
        return queryset.filter(key=self.number) if self.number else queryset


def _of_account(queryset: QuerySet[Entry], account_id: int) -> QuerySet[Entry]:
    return queryset.filter(Q(debit=account_id) | Q(credit=account_id) & ~Q(kind=Entry.Kind.USAGE))


@admin.register(Entry)
class EntryAdmin(Searched):
    list_display = ["id", "at", "kind", "shown_account", "key", "model", "shown_tokens", "shown_usd"]
    list_filter = [AccountFilter, KeyFilter, "kind"]
    list_select_related = ["debit", "credit", "key"]
    fieldsets = [
        (None, {"fields": ["kind", "at", "debit", "credit", "key", "model", "node", "shown_tokens", "shown_usd"]}),
        (
            "Counts",
            {"fields": ["prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "shown_estimated"]},
        ),
        (
            "Where it comes from",
            {"fields": ["shown_request", "shown_refunded", "shown_prices", "reason", "shown_author"]},
        ),
    ]
    readonly_fields = [
        "shown_tokens",
        "shown_usd",
        "shown_request",
        "shown_refunded",
        "shown_prices",
        "shown_author",
        "shown_estimated",
    ]
    inlines = [LineInline]
    actions_detail = ["refund_this"]

    def of_account(self, queryset: QuerySet[Entry], account: Account) -> QuerySet[Entry]:
        return _of_account(queryset, account.pk)

    def of_request(self, queryset: QuerySet[Entry], request_id: str) -> QuerySet[Entry]:
        return queryset.filter(reservation=reservation_id_of(request_id))

    @display(description="account")
    def shown_account(self, entry: Entry) -> Account:
        return entry.credit if entry.kind == Entry.Kind.CREDIT else entry.debit

    @display(description="tokens", ordering="tokens")
    def shown_tokens(self, entry: Entry) -> str:
        return f"{entry.tokens:,}"

    @display(description="US dollars", ordering="nano_usd")
    def shown_usd(self, entry: Entry) -> str:
        return format_usd(entry.nano_usd)

    @display(description="request")
    def shown_request(self, entry: Entry) -> str:
        return entry.request_id or "–"

    @display(description="refunded")
    def shown_refunded(self, entry: Entry) -> str:
        if entry.kind != Entry.Kind.USAGE:
            return f"a refund of entry {entry.refunds_id}" if entry.refunds_id else "–"
        tokens, nano_usd = refundable(entry)
        back = (entry.tokens - tokens, entry.nano_usd - nano_usd)
        return f"{format_amount(back[0], TOKENS)}, {format_amount(back[1], USD)}" if any(back) else "nothing"

    @display(description="prices")
    def shown_prices(self, entry: Entry) -> str:
        if entry.input_price is None:
            return "none"
        named = ((name, getattr(entry, f"{name}_price")) for name in ("input", "output", "cached", "reasoning"))
        prices = ", ".join(f"{name} {format_usd(price)}" for name, price in named if price is not None)
        return f"{prices} USD per 1M tokens"

    @display(description="estimated")
    def shown_estimated(self, entry: Entry) -> str:
        return "yes: the highest counts that were published" if entry.estimated else "no"

    @display(description="written by")
    def shown_author(self, entry: Entry) -> str:
        return entry.author_name or "the gateway"

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        entry = self.get_object(request, unquote(str(object_id)))
        fits = entry is not None and entry.kind == Entry.Kind.USAGE and self.has_refund_permission(request)
        return super().get_actions_detail(request, object_id) if fits else []

    def has_refund_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Whoever may change accounts may give back what one spent."""
        return request.user.has_perm("accounts.change_account")

    @action(description="Refund …", permissions=["refund"], url_path="refund", icon="undo")
    def refund_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Give back all or part of what an entry billed."""
        entry: Entry | None = self.get_object(request, unquote(object_id))
        if entry is None:
            raise Http404
        if not self.has_refund_permission(request):
            raise PermissionDenied
        tokens, nano_usd = refundable(entry)
        form = RefundForm(request.POST or None, tokens=tokens, nano_usd=nano_usd)
        wish = Wish(
            title=f"Refund entry {entry.pk} of {entry.debit}",
            button="Refund",
            introduction=(
                f"{format_amount(entry.tokens, TOKENS)} and {format_amount(entry.nano_usd, USD)} were billed for "
                f"{entry.model or 'it'}; {format_amount(tokens, TOKENS)} and {format_amount(nano_usd, USD)} are left."
            ),
            preview=lambda cleaned: _effect(entry, cleaned),
            carry_out=lambda cleaned: self._refund(request, entry, cleaned),
            back_url=reverse("admin:accounts_entry_change", args=[entry.pk]),
        )
        return ask(self, request, form, wish)

    def _refund(self, request: HttpRequest, entry: Entry, cleaned: dict[str, Any]) -> str:
        author = author_of(request.user)
        back = refund(
            entry, tokens=cleaned["tokens"] or 0, nano_usd=cleaned["usd"] or 0, reason=cleaned["reason"], author=author
        )
        return f"Gave back {format_amount(-back.tokens, TOKENS)} and {format_amount(-back.nano_usd, USD)}."


def _effect(entry: Entry, cleaned: dict[str, Any]) -> Effect:
    check_refund(entry, cleaned["tokens"] or 0, cleaned["usd"] or 0)
    left = dict(zip((TOKENS, USD), refundable(entry), strict=True))
    wanted = {TOKENS: cleaned["tokens"] or 0, USD: cleaned["usd"] or 0}
    facts = [
        (f"Billed, in {unit.label}", format_amount(left[unit], unit), format_amount(left[unit] - wanted[unit], unit))
        for unit in (TOKENS, USD)
    ]
    lines = Line.objects.filter(entry=entry).select_related("budget__account", "budget__key")
    return Effect(facts, [_moved(line, wanted) for line in lines] or ["No cap is touched: none was there then."])


def _moved(line: Line, wanted: dict[Budget.Unit, int]) -> str:
    amount = format_amount(wanted[Budget.Unit(line.budget.unit)], line.budget.unit)
    if line.window_number != line.budget.window_number:
        return f"The window of {line.budget} is over: {amount} go on the books, but its counter stays."
    return f"{amount} become free again in the cap of {line.budget.owner}."


@admin.register(Line)
class LineAdmin(ShownLine, ReadOnly):
    """Lines of all entries: what a budget's counter is made of."""

    list_display = ["id", "entry", "shown_owner", "window_number", "shown_amount"]
    list_select_related = ["entry", "budget__account", "budget__key"]
    ordering = ["-id"]
