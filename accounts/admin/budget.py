from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.decorators import display

from accounts.admin.history import Historic
from accounts.admin.meters import owner_url
from accounts.admin.read_only import ReadOnly
from accounts.models import Budget
from accounts.typed import describe_window, format_amount


@admin.register(Budget)
class BudgetAdmin(Historic, ReadOnly):
    """Every cap there is, to look over; one is changed on the page of its account or key."""

    list_display = ["shown_owner", "unit", "shown_cap", "shown_spent", "shown_reserved", "shown_window"]
    list_filter = ["unit", "window"]
    list_select_related = ["account", "key__account"]
    search_fields = ["account__name", "key__key_id", "key__label", "key__account__name"]
    ordering = ["-id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Budget]:
        return super().get_queryset(request).exclude(cap=None)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        budget = self.get_object(request, unquote(object_id))
        if budget is None:
            return super().change_view(request, object_id, form_url, extra_context)
        return HttpResponseRedirect(owner_url(budget.owner, "change"))

    @display(description="whose")
    def shown_owner(self, budget: Budget) -> str:
        return f"{budget.key} of {budget.key.account}" if budget.key else str(budget.account)

    @display(description="cap", ordering="cap")
    def shown_cap(self, budget: Budget) -> str:
        return "none" if budget.limit is None else format_amount(budget.limit, budget.unit)

    @display(description="spent", ordering="spent")
    def shown_spent(self, budget: Budget) -> str:
        return format_amount(budget.spent, budget.unit)

    @display(description="held", ordering="reserved")
    def shown_reserved(self, budget: Budget) -> str:
        return format_amount(budget.reserved, budget.unit)

    @display(description="window", ordering="window")
    def shown_window(self, budget: Budget) -> str:
        return describe_window(budget)
