"""Who changed a row, when, why and what: django-simple-history's list, without its pages to bring old versions back."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import URLPattern
from simple_history.admin import SimpleHistoryAdmin
from simple_history.template_utils import HistoricalRecordContextHelper

from accounts.models import Budget
from accounts.typed import format_amount

#: Fields of a budget that are amounts in its unit.
_AMOUNTS = ("cap", "cap_wanted")


class _Told(HistoricalRecordContextHelper):
    """A dash for a field that was or is empty, rather than the word None; amounts with their unit."""

    def prepare_delta_change_value(self, change: Any, value: Any) -> Any:
        if value in (None, "", []):
            return "–"
        if self.model is Budget and change.field in _AMOUNTS:
            return format_amount(value, self.record.unit)
        return super().prepare_delta_change_value(change, value)


class Historic(SimpleHistoryAdmin):
    """Stands before unfold's ModelAdmin. Rows change by verbs that leave their reason, never by restoring a version."""

    object_history_list_template = "admin/accounts/history_list.html"

    def get_urls(self) -> list[URLPattern]:
        # without those of SimpleHistoryAdmin, one for each old version
        urls: list[URLPattern] = super(SimpleHistoryAdmin, self).get_urls()
        return urls

    def revert_disabled(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def history_view_title(self, request: HttpRequest, obj: Any) -> str:
        return f"History of {obj}"

    def get_historical_record_context_helper(self, request: HttpRequest, historical_record: Any) -> _Told:
        return _Told(self.model, historical_record)
