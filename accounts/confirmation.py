"""The page between an operator's click and what cannot simply be clicked back: it says what will happen to how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

_CONFIRMED = "confirmed"


def is_confirmed(request: HttpRequest) -> bool:
    """Whether the operator has seen the page and said yes. A GET never has."""
    return request.method == "POST" and _CONFIRMED in request.POST


def confirmation_page(
    admin: ModelAdmin,
    request: HttpRequest,
    rows: QuerySet[Any],
    *,
    action: str,
    title: str,
    effects: Sequence[str],
    button: str,
) -> TemplateResponse:
    """Ask about `rows`. Its form posts to the address it was asked from: an action of the list, or a row's own page."""
    context = {
        **admin.admin_site.each_context(request),
        "title": title,
        "opts": admin.opts,
        "media": admin.media,
        "rows": rows,
        "effects": effects,
        "button": button,
        "action": action,
        "checkbox_name": ACTION_CHECKBOX_NAME,
        "confirmed_name": _CONFIRMED,
    }
    return TemplateResponse(request, "admin/accounts/confirm.html", context)
