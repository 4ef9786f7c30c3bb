from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse


class ShowsSecret:
    """Rows that come with a secret, which is shown once, on the page that answers the form which made it."""

    admin_site: Any
    opts: Any
    media: Any
    page_template: str

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        # One way to save a new row: after it comes the page with its secret, and nothing may skip that.
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": object_id is not None}
        parent: Any = super()
        return parent.changeform_view(request, object_id, form_url, {**(extra_context or {}), **only_save})

    def secret_page(self, request: HttpRequest, row: Any, *, secret: str, title: str) -> HttpResponse:
        """No session ever holds the secret; a reload leads to the row's own page."""
        place = f"admin:{self.opts.app_label}_{self.opts.model_name}"
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "media": self.media,
            "row": row,
            "secret": secret,
            "row_url": reverse(f"{place}_change", args=[row.pk]),
            "list_url": reverse(f"{place}_changelist"),
        }
        return TemplateResponse(request, self.page_template, context)
