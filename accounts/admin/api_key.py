from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from accounts import keys
from accounts.admin.history import Historic
from accounts.admin.owner import OwnerAdmin, page_of, row_of
from accounts.admin.secret import ShowsSecret
from accounts.admin.wording import ago, badge, counted, keys_refused
from accounts.authors import author_of
from accounts.confirmation import confirmation_page, is_confirmed, reason_of
from accounts.forms import ApiKeyForm
from accounts.models import ApiKey, Entry

State = ApiKey.State

_COLOURS: dict[str, str] = {
    State.ACTIVE: "success",
    State.REVOKED: "danger",
    State.EXPIRED: "warning",
    State.SUSPENDED: "warning",
}

#: Where save_model leaves the secret for response_add: on the request, which ends with the page that shows it.
_SECRET = "_api_key_secret"  # noqa: S105


class ShownKey:
    """Columns of a key that the key list and an account's page share."""

    @display(description="state")
    def shown_state(self, key: ApiKey) -> str:
        return badge(key.state.label, _COLOURS[key.state])

    @display(description="last used", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> str:
        return ago(key.last_used_at)


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return State.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        state = self.value()
        return queryset.filter(pk__in=ApiKey.objects.in_state(state)) if state in State.values else queryset


@admin.register(ApiKey)
class ApiKeyAdmin(Historic, ShownKey, ShowsSecret, OwnerAdmin):
    form = ApiKeyForm
    page_template = "admin/accounts/apikey/secret.html"
    fieldsets = [
        (None, {"fields": ["key_id", "account", "scope", "shown_state", "last_used", "created_at"]}),
        ("What may change", {"fields": ["label", "allowed_models", "expires_at"]}),
    ]
    add_fieldsets = [(None, {"fields": ["account", "label", "scope", "allowed_models", "expires_at"]})]
    list_display = ["key_id", "label", "account", "scope", "shown_state", "last_used"]
    list_display_links = ["key_id", "label"]
    list_filter = [StateFilter, "scope"]
    list_select_related = ["account"]
    search_fields = ["key_id", "label", "account__name"]
    autocomplete_fields = ["account"]
    actions = ["revoke"]
    actions_detail = ["revoke_this"]

    def entries_of(self, owner: ApiKey) -> QuerySet[Entry]:
        return Entry.objects.filter(key=owner).order_by("-id")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> list[str]:
        return ["key_id", "account", "scope", "shown_state", "last_used", "created_at"] if obj else []

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        key = self.get_object(request, unquote(str(object_id)))
        return super().get_actions_detail(request, object_id) if key and not key.revoked_at else []

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False  # what a key did stays on the books: it is revoked, not deleted

    def save_model(self, request: HttpRequest, obj: ApiKey, form: ApiKeyForm, change: bool) -> None:
        if change:
            # Only what the form shows: somebody may have revoked the key since this form read it.
            obj.save(update_fields=form.changed_data)
            return
        secret = keys.new_secret()
        keys.seal(obj, secret, keys.parse_peppers(settings.HELEXA_KEY_PEPPER))
        obj.save()
        setattr(request, _SECRET, secret)

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        return self.secret_page(request, obj, secret=getattr(request, _SECRET), title="Key created")

    @action(description="Revoke …", permissions=["change"])
    def revoke(self, request: HttpRequest, selected: QuerySet[ApiKey]) -> HttpResponse | None:
        if not is_confirmed(request):
            return self._ask_to_revoke(request, selected)
        author, reason = author_of(request.user), reason_of(request)
        revoked = [key for key in selected if keys.revoke_key(key, author=author, reason=reason)]
        for key in revoked:
            self.log_change(request, key, "Revoked.")
        self.message_user(request, f"Revoked {counted(len(revoked), 'key')}.", messages.SUCCESS)
        return None

    @action(
        description="Revoke …", permissions=["change"], url_path="revoke", icon="block", variant=ActionVariant.DANGER
    )
    def revoke_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.revoke(request, row_of(self, request, object_id)) or page_of(self, object_id)

    def _ask_to_revoke(self, request: HttpRequest, selected: QuerySet[ApiKey]) -> TemplateResponse:
        working = ApiKey.objects.in_state(State.ACTIVE).filter(pk__in=selected)
        effects = [keys_refused(working.count()), "A revoked key never works again; whoever needs one gets a new key."]
        if selected.filter(is_bootstrap=True).exists():
            effects.append("The key of HELEXA_API_KEY is among them; the next start of helexa makes it valid again.")
        return confirmation_page(
            self,
            request,
            selected.select_related("account"),
            action="revoke",
            title="Revoke keys",
            effects=effects,
            button="Revoke",
        )
