from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display

from accounts.admin.owner import row_of
from accounts.admin.secret import ShowsSecret
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
class WebhookAdmin(ShowsSecret, ModelAdmin):
    form = WebhookForm
    page_template = "admin/accounts/webhook/secret.html"
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

    def save_model(self, request: HttpRequest, obj: Webhook, form: WebhookForm, change: bool) -> None:
        if not change:
            obj.secret = new_secret()
        obj.save()

    def response_add(self, request: HttpRequest, obj: Webhook, post_url_continue: str | None = None) -> HttpResponse:
        return self.secret_page(request, obj, secret=obj.secret, title="Webhook created")

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
        return self.secret_page(request, webhook, secret=webhook.secret, title="New secret made")
