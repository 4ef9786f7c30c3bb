from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.decorators import display

from accounts.admin.read_only import ReadOnly
from accounts.admin.wording import ago, badge
from accounts.models import BudgetWarning, Delivery
from accounts.typed import format_amount


class ShownDelivery:
    """Columns of a delivery that the pages of warnings and of webhooks share."""

    @display(description="outcome")
    def outcome(self, delivery: Delivery) -> str:
        if delivery.delivered_at:
            return badge("Taken", "success")
        return badge("Waiting", "info") if delivery.next_attempt_at else badge("Given up", "danger")

    @display(description="next attempt")
    def next_attempt(self, delivery: Delivery) -> str:
        return f"{delivery.next_attempt_at:%Y-%m-%d %H:%M:%S}" if delivery.next_attempt_at else "–"


class DeliveryInline(ShownDelivery, TabularInline):
    model = Delivery
    fields = readonly_fields = ["webhook", "outcome", "attempts", "next_attempt", "last_error"]
    extra = 0
    can_delete = False
    hide_title = True

    def has_add_permission(self, request: HttpRequest, obj: BudgetWarning | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: BudgetWarning | None = None) -> bool:
        return False


@admin.register(BudgetWarning)
class BudgetWarningAdmin(ReadOnly):
    list_display = ["at", "shown_percent", "shown_owner", "shown_spent", "shown_cap", "announced"]
    list_display_links = ["at"]
    list_filter = ["percent"]
    list_select_related = ["budget__account", "budget__key__account"]
    fields = readonly_fields = [
        "at",
        "shown_percent",
        "shown_owner",
        "shown_spent",
        "shown_cap",
        "window_number",
        "announced",
    ]
    ordering = ["-id"]
    inlines = [DeliveryInline]

    @display(description="passed", ordering="percent")
    def shown_percent(self, warning: BudgetWarning) -> str:
        return badge(f"{warning.percent} %", "danger" if warning.percent >= 100 else "warning")

    @display(description="budget of")
    def shown_owner(self, warning: BudgetWarning) -> str:
        key = warning.budget.key
        return f"{key} of {key.account}" if key else str(warning.budget.account)

    @display(description="spent")
    def shown_spent(self, warning: BudgetWarning) -> str:
        return format_amount(warning.spent, warning.budget.unit)

    @display(description="cap")
    def shown_cap(self, warning: BudgetWarning) -> str:
        return format_amount(warning.cap, warning.budget.unit)

    @display(description="announced")
    def announced(self, warning: BudgetWarning) -> str:
        return ago(warning.announced_at) if warning.announced_at else "not yet"
