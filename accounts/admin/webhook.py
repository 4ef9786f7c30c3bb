from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display

from accounts.admin.owner import row_of
from accounts.admin.warning import ShownDelivery
from accounts.confirmation import confirmation_page, is_confirmed
from accounts.forms import WebhookForm
from accounts.models import Delivery, Webhook
from accounts.warnings import new_secret

#: A webhook's page shows what was sent last, not everything.
LAST_DELIVERIES = 20


class LastDeliveries(ShownDelivery, TabularInline):
    model = Delivery
    fields = readonly_fields = ["warning", "outcome", "attempts", "next_attempt", "last_error"]
    extra = 0
    can_delete = False
    hide_title = True
    per_page = LAST_DELIVERIES
    verbose_name_plural = "deliveries"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        return super().get_queryset(request).select_related("warning__budget__account", "warning__budget__key")

    def has_add_permission(self, request: HttpRequest, obj: Webhook | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Webhook | None = None) -> bool:
        return False


@admin.register(Webhook)
class WebhookAdmin(ModelAdmin):
    form = WebhookForm
    fields = ["account", "url", "enabled"]
    list_display = ["url", "shown_account", "enabled", "created_at"]
    list_filter = ["enabled"]
    list_select_related = ["account"]
    search_fields = ["url", "account__name"]
    autocomplete_fields = ["account"]
    actions_detail = ["renew_secret"]
    inlines = [LastDeliveries]

    @display(description="account", ordering="account__name")
    def shown_account(self, webhook: Webhook) -> str:
        return str(webhook.account) if webhook.account else "everybody"

    def get_inlines(self, request: HttpRequest, obj: Webhook | None) -> list[type[TabularInline]]:
        return self.inlines if obj else []

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        # One way to save a new one: after it comes the page with its secret, and nothing may skip that.
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": object_id is not None}
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), **only_save})

    def save_model(self, request: HttpRequest, obj: Webhook, form: WebhookForm, change: bool) -> None:
        if not change:
            obj.secret = new_secret()
        obj.save()

    def response_add(self, request: HttpRequest, obj: Webhook, post_url_continue: str | None = None) -> HttpResponse:
        return self._secret_page(request, obj, "Webhook created")

    @action(description="New secret …", permissions=["change"], url_path="secret", icon="key")
    def renew_secret(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Give the webhook another secret; the old one signs nothing from then on."""
        webhook: Webhook | None = self.get_object(request, unquote(object_id))
        if webhook is None:
            raise Http404
        if not is_confirmed(request):
            return confirmation_page(
                self,
                request,
                row_of(self, request, object_id),
                action="renew_secret",
                title="Make a new secret",
                effects=[
                    "The next call is signed with the new secret, which is shown once.",
                    "Until the receiver knows it, it will take our calls for somebody else's.",
                ],
                button="Make a new secret",
            )
        webhook.secret = new_secret()
        webhook.save(update_fields=["secret"])
        self.log_change(request, webhook, "New secret.")
        return self._secret_page(request, webhook, "New secret made")

    def _secret_page(self, request: HttpRequest, webhook: Webhook, title: str) -> HttpResponse:
        """The one page that shows the secret: the answer to the form itself, so that no session ever holds it."""
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "media": self.media,
            "webhook": webhook,
            "webhook_url": reverse("admin:accounts_webhook_change", args=[webhook.pk]),
        }
        return TemplateResponse(request, "admin/accounts/webhook/secret.html", context)
