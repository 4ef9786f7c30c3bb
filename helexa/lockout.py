"""What django-axes asks of us: where a login attempt came from, and what to say to a name that is locked."""

from __future__ import annotations

from ipaddress import ip_address

from axes.helpers import get_cool_off
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def client_address(request: HttpRequest) -> str | None:
    """The client's address; behind a trusted proxy the one that this proxy saw, which a client cannot make up."""
    peer: str | None = request.META.get("REMOTE_ADDR") or None
    if not settings.HELEXA_TRUST_PROXY:
        return peer
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    try:
        return str(ip_address(forwarded))
    except ValueError:
        return peer


def locked_out(request: HttpRequest, *_: object) -> HttpResponse:
    """Axes passes more arguments, and under ASGI other ones."""
    cool_off = get_cool_off(request)
    wait_s = int(cool_off.total_seconds()) if cool_off else 0
    response = render(request, "429.html", {"wait_minutes": wait_s // 60}, status=429)
    response["Retry-After"] = str(wait_s)
    return response
