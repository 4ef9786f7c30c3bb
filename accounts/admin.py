"""Accounts and keys as operators see them. Rules are in accounts.accounts and accounts.keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.timesince import timesince
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from accounts import keys
from accounts.accounts import resume_account, suspend_account
from accounts.confirmation import confirmation_page, is_confirmed
from accounts.forms import AccountForm, ApiKeyForm
from accounts.models import Account, ApiKey

State = ApiKey.State

_COLOURS: dict[str, str] = {
    State.ACTIVE: "success",
    State.REVOKED: "danger",
    State.EXPIRED: "warning",
    State.SUSPENDED: "warning",
}

#: Where save_model leaves the secret for response_add: on the request, which ends with the page that shows it.
_SECRET = "_api_key_secret"  # noqa: S105


def _badge(text: str, colour: str) -> str:
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": colour, "class": "hx-badge"})


def _ago(moment: datetime | None) -> str:
    return f"{timesince(moment, depth=1)} ago" if moment else "never"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _refused(number: int) -> str:
    if number == 0:
        return "No working key is among them, so no client will notice."
    return (
        f"{_counted(number, 'working key')} will be refused with 401 on every gateway within two seconds; "
        f"requests that run with {'it' if number == 1 else 'them'} are cancelled."
    )


def _row(admin_: ModelAdmin, request: HttpRequest, object_id: str) -> QuerySet[Any]:
    row = admin_.get_object(request, unquote(object_id))
    if row is None:
        raise Http404
    return admin_.model.objects.filter(pk=row.pk)


def _page_of(admin_: ModelAdmin, object_id: str) -> HttpResponseRedirect:
    return HttpResponseRedirect(
        reverse(f"admin:{admin_.opts.app_label}_{admin_.opts.model_name}_change", args=[object_id])
    )


class ShownKey:
    """Columns of a key that the key list and an account's page share."""

    @display(description="state")
    def shown_state(self, key: ApiKey) -> str:
        return _badge(key.state.label, _COLOURS[key.state])

    @display(description="last used", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> str:
        return _ago(key.last_used_at)


class KeyInline(ShownKey, TabularInline):
    """An account's keys, to look at; they are made and changed on pages of their own."""

    model = ApiKey
    fields = readonly_fields = ["linked_id", "label", "scope", "shown_state", "last_used"]
    extra = 0
    can_delete = False
    hide_title = True
    per_page = 25

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return super().get_queryset(request).select_related("account")

    @display(description="key id")
    def linked_id(self, key: ApiKey) -> str:
        url = reverse("admin:accounts_apikey_change", args=[key.pk])
        return format_html('<a class="text-link" href="{}">{}</a>', url, key.key_id)

    def has_add_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        return False


@admin.register(Account)
class AccountAdmin(ModelAdmin):
    form = AccountForm
    fields = ["name", "shown_state", "created_at"]
    readonly_fields = ["shown_state", "created_at"]
    list_display = ["name", "shown_state", "shown_keys", "created_at"]
    list_filter = [("suspended_at", admin.EmptyFieldListFilter)]
    search_fields = ["name"]
    actions = ["suspend", "resume"]
    actions_detail = ["suspend_this", "resume_this"]
    inlines = [KeyInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        working = Q(keys__revoked_at=None) & (Q(keys__expires_at=None) | Q(keys__expires_at__gt=timezone.now()))
        return (
            super().get_queryset(request).annotate(keys_total=Count("keys"), keys_working=Count("keys", filter=working))
        )

    @display(description="state", ordering="suspended_at")
    def shown_state(self, account: Account) -> str:
        return _badge("Suspended", "warning") if account.suspended else _badge("Active", "success")

    @display(description="keys", ordering="keys_total")
    def shown_keys(self, account: Any) -> str:
        unrevoked = 0 if account.suspended else account.keys_working
        return f"{unrevoked} of {account.keys_total} work" if account.keys_total else "none"

    def has_delete_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        """An account that has keys is suspended, not deleted."""
        allowed: bool = super().has_delete_permission(request, obj)
        return allowed and not (obj is not None and obj.keys.exists())

    def get_inlines(self, request: HttpRequest, obj: Account | None) -> list[type[TabularInline]]:
        return self.inlines if obj else []

    def get_fields(self, request: HttpRequest, obj: Account | None = None) -> list[str]:
        return self.fields if obj else ["name"]

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        account = self.get_object(request, unquote(str(object_id)))
        unfitting = "suspend_this" if account is not None and account.suspended else "resume_this"
        return [a for a in super().get_actions_detail(request, object_id) if not a.action_name.endswith(unfitting)]

    def save_model(self, request: HttpRequest, obj: Account, form: AccountForm, change: bool) -> None:
        # Only what the form shows: somebody may have suspended the account since this form read it.
        obj.save(update_fields=form.changed_data if change else None)

    @action(description="Suspend …", permissions=["change"])
    def suspend(self, request: HttpRequest, accounts: QuerySet[Account]) -> HttpResponse | None:
        if not is_confirmed(request):
            return self._ask_to_suspend(request, accounts)
        suspended = [account for account in accounts if suspend_account(account)]
        for account in suspended:
            self.log_change(request, account, "Suspended.")
        self.message_user(request, f"Suspended {_counted(len(suspended), 'account')}.", messages.SUCCESS)
        return None

    @action(description="Resume …", permissions=["change"])
    def resume(self, request: HttpRequest, accounts: QuerySet[Account]) -> HttpResponse | None:
        if not is_confirmed(request):
            return self._ask_to_resume(request, accounts)
        resumed = [account for account in accounts if resume_account(account)]
        for account in resumed:
            self.log_change(request, account, "Resumed.")
        self.message_user(request, f"Resumed {_counted(len(resumed), 'account')}.", messages.SUCCESS)
        return None

    @action(
        description="Suspend …",
        permissions=["change"],
        url_path="suspend",
        icon="pause_circle",
        variant=ActionVariant.DANGER,
    )
    def suspend_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.suspend(request, _row(self, request, object_id)) or _page_of(self, object_id)

    @action(
        description="Resume …",
        permissions=["change"],
        url_path="resume",
        icon="play_circle",
        variant=ActionVariant.PRIMARY,
    )
    def resume_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.resume(request, _row(self, request, object_id)) or _page_of(self, object_id)

    def _ask_to_suspend(self, request: HttpRequest, accounts: QuerySet[Account]) -> TemplateResponse:
        stopped = ApiKey.objects.in_state(State.ACTIVE).filter(account__in=accounts)
        effects = [
            _refused(stopped.count()),
            "Nothing is deleted: resuming makes the same keys work again.",
        ]
        if stopped.filter(is_bootstrap=True).exists():
            effects.append("The key of HELEXA_API_KEY is among them; the next start of helexa resumes its account.")
        return confirmation_page(
            self, request, accounts, action="suspend", title="Suspend accounts", effects=effects, button="Suspend"
        )

    def _ask_to_resume(self, request: HttpRequest, accounts: QuerySet[Account]) -> TemplateResponse:
        count = ApiKey.objects.in_state(State.SUSPENDED).filter(account__in=accounts).count()
        effects = [
            f"{_counted(count, 'key')} will work again on every gateway within two seconds."
            if count
            else "None of their keys waits for this.",
            "Keys that were revoked or have expired stay refused.",
        ]
        return confirmation_page(
            self, request, accounts, action="resume", title="Resume accounts", effects=effects, button="Resume"
        )


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return State.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        state = self.value()
        return queryset.filter(pk__in=ApiKey.objects.in_state(state)) if state in State.values else queryset


@admin.register(ApiKey)
class ApiKeyAdmin(ShownKey, ModelAdmin):
    form = ApiKeyForm
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

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> list[str]:
        return ["key_id", "account", "scope", "shown_state", "last_used", "created_at"] if obj else []

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        key = self.get_object(request, unquote(str(object_id)))
        return super().get_actions_detail(request, object_id) if key and not key.revoked_at else []

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False  # what a key did stays on the books: it is revoked, not deleted

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        # One way to save: after a new key comes the page with its secret, and nothing may skip that.
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": object_id is not None}
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), **only_save})

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
        """The one page that shows the secret: the answer to the form itself, so that no session ever holds it."""
        context = {
            **self.admin_site.each_context(request),
            "title": "Key created",
            "opts": self.opts,
            "media": self.media,
            "key": obj,
            "secret": getattr(request, _SECRET),
            "key_url": reverse("admin:accounts_apikey_change", args=[obj.pk]),
            "list_url": reverse("admin:accounts_apikey_changelist"),
        }
        return TemplateResponse(request, "admin/accounts/apikey/issued.html", context)

    @action(description="Revoke …", permissions=["change"])
    def revoke(self, request: HttpRequest, selected: QuerySet[ApiKey]) -> HttpResponse | None:
        if not is_confirmed(request):
            return self._ask_to_revoke(request, selected)
        revoked = [key for key in selected if keys.revoke_key(key)]
        for key in revoked:
            self.log_change(request, key, "Revoked.")
        self.message_user(request, f"Revoked {_counted(len(revoked), 'key')}.", messages.SUCCESS)
        return None

    @action(
        description="Revoke …", permissions=["change"], url_path="revoke", icon="block", variant=ActionVariant.DANGER
    )
    def revoke_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.revoke(request, _row(self, request, object_id)) or _page_of(self, object_id)

    def _ask_to_revoke(self, request: HttpRequest, selected: QuerySet[ApiKey]) -> TemplateResponse:
        working = ApiKey.objects.in_state(State.ACTIVE).filter(pk__in=selected)
        effects = [
            _refused(working.count()),
            "A revoked key never works again; whoever needs one gets a new key.",
        ]
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
