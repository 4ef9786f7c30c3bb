from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from unfold.decorators import display

from accounts.admin.read_only import Searched
from accounts.admin.wording import badge
from accounts.models import RequestRecord


@admin.register(RequestRecord)
class RequestRecordAdmin(Searched):
    list_display = ["request_id", "at", "shown_status", "account", "key", "model", "node", "tokens", "duration"]
    list_filter = ["dialect", "stream"]
    list_select_related = ["account", "key"]
    readonly_fields = ["shown_status", "tokens", "duration"]

    def of_request(self, queryset: QuerySet[RequestRecord], request_id: str) -> QuerySet[RequestRecord]:
        return queryset.filter(request_id=request_id)

    @display(description="status", ordering="status")
    def shown_status(self, record: RequestRecord) -> str:
        colour = "success" if record.status < 400 else "warning" if record.status < 500 else "danger"
        return badge(f"{record.status} {record.error}".strip(), colour)

    @display(description="tokens")
    def tokens(self, record: RequestRecord) -> str:
        return f"{record.prompt_tokens:,} + {record.completion_tokens:,}"

    @display(description="duration", ordering="duration_ms")
    def duration(self, record: RequestRecord) -> str:
        return f"{record.duration_ms:,} ms"
