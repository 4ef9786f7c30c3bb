"""Tables that nobody edits and that grow to millions of rows: shown by index, counted up to a bound."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from accounts.models import Account, ApiKey
from accounts.models.reservation import reservation_id_of

#: A list counts and pages so far; whoever wants more narrows it down.
MOST_LISTED = 10_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not subscriptable at run time
    """Counting ten million rows takes seconds, and nobody turns two hundred pages."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:MOST_LISTED].count())


class ReadOnly(ModelAdmin):
    """Rows to look at, also for those who may change others."""

    paginator = BoundedPaginator
    show_full_result_count = False
    actions = None
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class Searched(ReadOnly):
    """Searched for the name of an account, the id of a key or of a request: each in full, so that an index finds it."""

    #: Django shows the search box because of it; `get_search_results` does the searching.
    search_fields = ["pk"]
    search_help_text = "An account's name, a key's id or a request's id, in full"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if account := Account.objects.filter(name=term).first():
            return self.of_account(queryset, account), False
        if key := ApiKey.objects.filter(key_id=term).first():
            return queryset.filter(key=key), False
        return (self.of_request(queryset, term) if reservation_id_of(term) else queryset.none()), False

    def of_account(self, queryset: QuerySet[Any], account: Account) -> QuerySet[Any]:
        return queryset.filter(account=account)

    def of_request(self, queryset: QuerySet[Any], request_id: str) -> QuerySet[Any]:
        raise NotImplementedError
