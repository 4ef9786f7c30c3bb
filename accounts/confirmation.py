"""Pages between an operator's wish and what cannot simply be clicked back: they say what will happen to how much."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

from accounts.authors import MAX_HISTORY_CHARACTERS

_CONFIRMED = "confirmed"
_BACK = "back"


def is_confirmed(request: HttpRequest) -> bool:
    """Whether the operator has seen the page and said yes. A GET never has."""
    return request.method == "POST" and _CONFIRMED in request.POST


def reason_of(request: HttpRequest) -> str:
    """What the operator gave as the reason on the page."""
    return request.POST.get("reason", "").strip()[:MAX_HISTORY_CHARACTERS]


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
        **_frame(admin, request, title),
        "rows": rows,
        "effects": effects,
        "button": button,
        "action": action,
        "checkbox_name": ACTION_CHECKBOX_NAME,
        "most_characters": MAX_HISTORY_CHARACTERS,
    }
    return TemplateResponse(request, "admin/accounts/confirm.html", context)


@dataclass(frozen=True)
class Effect:
    """What a change will do: facts as (name, before, after), and what follows from them in sentences."""

    facts: Sequence[tuple[str, str, str]]
    sentences: Sequence[str] = field(default_factory=list)


@dataclass(frozen=True)
class Wish:
    """A change of one row that takes a form: what it asks, what it would do, and the doing.

    `preview` and `carry_out` get the cleaned form and may raise ValidationError by field; `carry_out` returns what to
    tell the operator.
    """

    title: str
    button: str
    preview: Callable[[dict[str, Any]], Effect]
    carry_out: Callable[[dict[str, Any]], str]
    back_url: str
    introduction: str = ""


def ask(admin: ModelAdmin, request: HttpRequest, form: Form, wish: Wish) -> HttpResponse:
    """One address, three steps: the form, the effect it would have, and the deed."""
    if request.method != "POST" or _BACK in request.POST or not form.is_valid():
        return _page(admin, request, "ask.html", form, wish)
    try:
        if not is_confirmed(request):
            return _page(admin, request, "effect.html", form, wish, effect=wish.preview(form.cleaned_data))
        told = wish.carry_out(form.cleaned_data)
    except ValidationError as error:
        _refuse(form, error)
        return _page(admin, request, "ask.html", form, wish)
    admin.message_user(request, told, messages.SUCCESS)
    return HttpResponseRedirect(wish.back_url)


def _refuse(form: Form, error: ValidationError) -> None:
    """Put each sentence beside its field, those about something else above the form."""
    for name, sentences in error.message_dict.items():
        for sentence in sentences:
            form.add_error(name if name in form.fields else None, sentence)


def _page(
    admin: ModelAdmin, request: HttpRequest, template: str, form: Form, wish: Wish, **more: Any
) -> TemplateResponse:
    context = {**_frame(admin, request, wish.title), "form": form, "wish": wish, "back_name": _BACK, **more}
    return TemplateResponse(request, f"admin/accounts/{template}", context)


def _frame(admin: ModelAdmin, request: HttpRequest, title: str) -> dict[str, Any]:
    return {
        **admin.admin_site.each_context(request),
        "title": title,
        "opts": admin.opts,
        "media": admin.media,
        "confirmed_name": _CONFIRMED,
    }
