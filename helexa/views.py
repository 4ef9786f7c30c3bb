"""The front page. It says what this is and how to make a first call; whether it is ready, the page asks /health."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from helexa import __version__


@require_safe
def front_page(request: HttpRequest) -> HttpResponse:
    context = {"origin": request.build_absolute_uri("/").rstrip("/"), "version": __version__}
    return render(request, "front_page.html", context)
