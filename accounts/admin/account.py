from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import TabularInline
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from accounts.accounts import check_deletable, close_account, delete_account, resume_account, suspend_account
from accounts.admin.api_key import ShownKey
from accounts.admin.history import Historic
from accounts.admin.owner import OwnerAdmin, page_of, row_of
from accounts.admin.wording import badge, counted, keys_refused, sentences
from accounts.authors import author_of
from accounts.confirmation import confirmation_page, is_confirmed, reason_of
from accounts.forms import AccountForm
from accounts.models import Account, ApiKey, Entry, Member

State = ApiKey.State


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


class MemberInline(TabularInline):
    """The people of an account and their roles."""

    model = Member
    fields = ["user", "role"]
    autocomplete_fields = ["user"]
    extra = 0
    hide_title = True


@admin.register(Account)
class AccountAdmin(Historic, OwnerAdmin):
    form = AccountForm
    fields = ["name", "shown_state", "created_at"]
    readonly_fields = ["shown_state", "created_at"]
    list_display = ["name", "shown_state", "shown_keys", "created_at"]
    list_filter = [("suspended_at", admin.EmptyFieldListFilter), ("closed_at", admin.EmptyFieldListFilter)]
    search_fields = ["name"]
    actions = ["suspend", "resume"]
    actions_detail = ["suspend_this", "resume_this", "close_this"]
    inlines = [KeyInline, MemberInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        working = Q(keys__revoked_at=None) & (Q(keys__expires_at=None) | Q(keys__expires_at__gt=timezone.now()))
        return (
            super().get_queryset(request).annotate(keys_total=Count("keys"), keys_working=Count("keys", filter=working))
        )

    def entries_of(self, owner: Account) -> QuerySet[Entry]:
        return Entry.objects.filter(Q(debit=owner) | Q(credit=owner) & ~Q(kind=Entry.Kind.USAGE)).order_by("-id")

    @display(description="state", ordering="suspended_at")
    def shown_state(self, account: Account) -> str:
        if account.is_house:
            return badge("House", "info")
        if account.closed:
            return badge("Closed", "danger")
        return badge("Suspended", "warning") if account.suspended else badge("Active", "success")

    @display(description="keys", ordering="keys_total")
    def shown_keys(self, account: Any) -> str:
        working = 0 if account.suspended or account.closed else account.keys_working
        return f"{working} of {account.keys_total} work" if account.keys_total else "none"

    def has_delete_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        """An account that was used is closed, not deleted."""
        allowed: bool = super().has_delete_permission(request, obj)
        return allowed and (obj is None or _why_kept(obj) is None)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Deleting what was used is refused with the reason, and not with a bare 403."""
        account = self.get_object(request, unquote(object_id))
        kept = _why_kept(account) if account and self.has_change_permission(request, account) else None
        if kept:
            self.message_user(request, kept, messages.ERROR)
            return page_of(self, object_id)
        return super().delete_view(request, object_id, extra_context)

    def delete_model(self, request: HttpRequest, obj: Account) -> None:
        delete_account(obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)  # one by one, each on a page that can say why not
        return actions

    def get_inlines(self, request: HttpRequest, obj: Account | None) -> list[type[TabularInline]]:
        return self.inlines if obj and not obj.is_house else []

    def get_fields(self, request: HttpRequest, obj: Account | None = None) -> list[str]:
        return self.fields if obj else ["name"]

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        account = self.get_object(request, unquote(str(object_id)))
        if account is None or account.closed or account.is_house:
            return []
        unfitting = "suspend_this" if account.suspended else "resume_this"
        return [a for a in super().get_actions_detail(request, object_id) if not a.action_name.endswith(unfitting)]

    def save_model(self, request: HttpRequest, obj: Account, form: AccountForm, change: bool) -> None:
        # Only what the form shows: somebody may have suspended the account since this form read it.
        obj.save(update_fields=form.changed_data if change else None)

    @action(description="Suspend …", permissions=["change"])
    def suspend(self, request: HttpRequest, accounts: QuerySet[Account]) -> HttpResponse | None:
        if not is_confirmed(request):
            return self._ask_to_suspend(request, accounts)
        self._change_each(request, accounts, suspend_account, "Suspended")
        return None

    @action(description="Resume …", permissions=["change"])
    def resume(self, request: HttpRequest, accounts: QuerySet[Account]) -> HttpResponse | None:
        if not is_confirmed(request):
            return self._ask_to_resume(request, accounts)
        self._change_each(request, accounts, resume_account, "Resumed")
        return None

    @action(
        description="Suspend …",
        permissions=["change"],
        url_path="suspend",
        icon="pause_circle",
        variant=ActionVariant.DANGER,
    )
    def suspend_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.suspend(request, row_of(self, request, object_id)) or page_of(self, object_id)

    @action(
        description="Resume …",
        permissions=["change"],
        url_path="resume",
        icon="play_circle",
        variant=ActionVariant.PRIMARY,
    )
    def resume_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.resume(request, row_of(self, request, object_id)) or page_of(self, object_id)

    @action(description="Close …", permissions=["change"], url_path="close", icon="cancel")
    def close_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        accounts = row_of(self, request, object_id)
        if not is_confirmed(request):
            return self._ask_to_close(request, accounts)
        self._change_each(request, accounts, close_account, "Closed")
        return page_of(self, object_id)

    def _change_each(self, request: HttpRequest, accounts: QuerySet[Account], change: Any, told: str) -> None:
        author, reason = author_of(request.user), reason_of(request)
        try:
            changed = [account for account in accounts if change(account, author=author, reason=reason)]
        except ValidationError as error:
            self.message_user(request, sentences(error), messages.ERROR)
            return
        for account in changed:
            self.log_change(request, account, f"{told}.")
        self.message_user(request, f"{told} {counted(len(changed), 'account')}.", messages.SUCCESS)

    def _ask_to_suspend(self, request: HttpRequest, accounts: QuerySet[Account]) -> TemplateResponse:
        stopped = ApiKey.objects.in_state(State.ACTIVE).filter(account__in=accounts)
        effects = [keys_refused(stopped.count()), "Nothing is deleted: resuming makes the same keys work again."]
        if stopped.filter(is_bootstrap=True).exists():
            effects.append("The key of HELEXA_API_KEY is among them; the next start of helexa resumes its account.")
        return confirmation_page(
            self, request, accounts, action="suspend", title="Suspend accounts", effects=effects, button="Suspend"
        )

    def _ask_to_resume(self, request: HttpRequest, accounts: QuerySet[Account]) -> TemplateResponse:
        count = ApiKey.objects.in_state(State.SUSPENDED).filter(account__in=accounts, account__closed_at=None).count()
        effects = [
            f"{counted(count, 'key')} will work again on every gateway within two seconds."
            if count
            else "None of their keys waits for this.",
            "Keys that were revoked or have expired stay refused.",
        ]
        return confirmation_page(
            self, request, accounts, action="resume", title="Resume accounts", effects=effects, button="Resume"
        )

    def _ask_to_close(self, request: HttpRequest, accounts: QuerySet[Account]) -> TemplateResponse:
        stopped = ApiKey.objects.in_state(State.ACTIVE).filter(account__in=accounts).count()
        effects = [
            keys_refused(stopped),
            "It stays closed: none of its keys works again, and it gets no new ones.",
            "Its entries, caps and history stay on the books.",
        ]
        return confirmation_page(
            self, request, accounts, action="close", title="Close the account", effects=effects, button="Close"
        )


def _why_kept(account: Account) -> str | None:
    try:
        check_deletable(account)
    except ValidationError as error:
        return sentences(error)
    return None
