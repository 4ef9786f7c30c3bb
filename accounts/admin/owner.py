"""What the pages of accounts and of keys share: caps as meters, the last entries, and the pages that change caps."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from unfold.admin import ModelAdmin

from accounts.admin import caps
from accounts.admin.meters import meters_of, owner_url
from accounts.authors import author_of
from accounts.budgets import Owner, find_budget, limits_of, set_limits, top_up
from accounts.confirmation import Wish, ask
from accounts.forms import CapForm, TopUpForm
from accounts.models import Budget, Entry
from accounts.typed import format_amount

Unit = Budget.Unit

#: So many entries stand on the page itself; the ledger has the rest.
LAST_ENTRIES = 10


def row_of(admin_: ModelAdmin, request: HttpRequest, object_id: str) -> QuerySet[Any]:
    """The one row that an action of its own page is about. Raises Http404."""
    row = admin_.get_object(request, unquote(object_id))
    if row is None:
        raise Http404
    return admin_.model.objects.filter(pk=row.pk)


def page_of(admin_: ModelAdmin, object_id: str) -> HttpResponseRedirect:
    return HttpResponseRedirect(
        reverse(f"admin:{admin_.opts.app_label}_{admin_.opts.model_name}_change", args=[object_id])
    )


def _in_words(entry: Entry) -> dict[str, Any]:
    return {
        "pk": entry.pk,
        "kind": entry.get_kind_display(),
        "what": entry.model or entry.reason,
        "tokens": format_amount(entry.tokens, Unit.TOKENS),
        "usd": format_amount(entry.nano_usd, Unit.NANO_USD),
        "at": entry.at,
    }


class OwnerAdmin(ModelAdmin):
    """An account or a key, with its money."""

    change_form_outer_before_template = "admin/accounts/caps.html"
    change_form_outer_after_template = "admin/accounts/last_entries.html"

    def entries_of(self, owner: Any) -> QuerySet[Entry]:
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        model, view = self.opts.model_name, self.admin_site.admin_view
        own = [
            path("<path:object_id>/cap/<str:unit>/", view(self.cap_view), name=f"accounts_{model}_cap"),
            path("<path:object_id>/topup/<str:unit>/", view(self.top_up_view), name=f"accounts_{model}_top_up"),
        ]
        return [*own, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        owner = self.get_object(request, unquote(object_id))
        money: dict[str, Any] = {}
        if owner is not None and self.has_view_permission(request, owner):
            listed = reverse("admin:accounts_entry_changelist")
            money = {
                "meters": [] if getattr(owner, "is_house", False) else meters_of(owner),
                "may_change": self.has_change_permission(request, owner) and not getattr(owner, "closed", False),
                "entries": [_in_words(entry) for entry in self.entries_of(owner)[:LAST_ENTRIES]],
                "ledger_url": f"{listed}?{self.opts.model_name}={owner.pk}",
            }
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **money})

    def cap_view(self, request: HttpRequest, object_id: str, unit: str) -> HttpResponse:
        """Set, change or lift a cap."""
        owner = self._owner(request, object_id, unit)
        form = CapForm(request.POST or None, unit=unit, seen=limits_of(find_budget(owner, unit)))
        wish = Wish(
            title=f"Cap of {owner} in {Unit(unit).label}",
            button="Set the cap" if form.data.get("cap") else "Lift the cap",
            introduction=caps.tell(owner, unit),
            preview=lambda cleaned: caps.effect_of_limits(owner, unit, cleaned["limits"], seen=cleaned["seen"]),
            carry_out=lambda cleaned: self._set_limits(request, owner, unit, cleaned),
            back_url=owner_url(owner, "change"),
        )
        return ask(self, request, form, wish)

    def top_up_view(self, request: HttpRequest, object_id: str, unit: str) -> HttpResponse:
        """Raise a balance cap by a credit."""
        owner = self._owner(request, object_id, unit)
        wish = Wish(
            title=f"Top up {owner} in {Unit(unit).label}",
            button="Top up",
            introduction=caps.tell(owner, unit),
            preview=lambda cleaned: caps.effect_of_top_up(owner, unit, cleaned["amount"]),
            carry_out=lambda cleaned: self._top_up(request, owner, unit, cleaned),
            back_url=owner_url(owner, "change"),
        )
        return ask(self, request, TopUpForm(request.POST or None, unit=unit), wish)

    def _owner(self, request: HttpRequest, object_id: str, unit: str) -> Owner:
        owner: Owner | None = self.get_object(request, unquote(object_id))
        if owner is None or unit not in Unit.values:
            raise Http404
        if not self.has_change_permission(request, owner):
            raise PermissionDenied
        return owner

    def _set_limits(self, request: HttpRequest, owner: Owner, unit: str, cleaned: dict[str, Any]) -> str:
        limits, author = cleaned["limits"], author_of(request.user)
        set_limits(owner, unit, limits, author=author, reason=cleaned["reason"], seen=cleaned["seen"])
        if limits.cap is None:
            told = f"{owner} has no cap in {Unit(unit).label} any more."
        else:
            told = f"The cap of {owner} is {caps.in_words(limits, unit)} now."
        self.log_change(request, owner, told)
        return told

    def _top_up(self, request: HttpRequest, owner: Owner, unit: str, cleaned: dict[str, Any]) -> str:
        author = author_of(request.user)
        top_up(owner, unit, cleaned["amount"], reason=cleaned["reason"], author=author)
        told = f"{owner} was topped up by {format_amount(cleaned['amount'], unit)}."
        self.log_change(request, owner, told)
        return told
