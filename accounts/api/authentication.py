"""Who asks over /api/: a key, by the same rules as on /v1, or else a signed-in person with a CSRF token."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Q
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.credentials import presented_secret
from accounts.keys import find_key, parse_peppers
from accounts.models import ApiKey
from accounts.tenancy import Actor

WRONG_KEY = "The API key is wrong, revoked, expired or suspended."

#: `last_used_at` is for people: written this often at most.
TOUCH_PERIOD = timedelta(seconds=15)


class KeyAuthentication(BaseAuthentication):
    """A wrong key is refused also where a session would have done: who sends a key means it."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, Actor] | None:
        secret = presented_secret(_credentials(request))
        if secret is None:
            return None
        key = find_key(secret, parse_peppers(settings.HELEXA_KEY_PEPPER))
        if key is None or key.state != ApiKey.State.ACTIVE:
            raise AuthenticationFailed(WRONG_KEY)
        _touch(key)
        return AnonymousUser(), Actor.of_key(key)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="helexa"'


class PersonAuthentication(SessionAuthentication):
    """The session of the admin. Whatever changes something needs its CSRF token, so no other site can use it."""

    def authenticate(self, request: Request) -> tuple[User, Actor] | None:
        found = super().authenticate(request)
        return found and (found[0], Actor.of_user(found[0]))


def _credentials(request: Request) -> list[tuple[bytes, bytes]]:
    headers = {"x-api-key": request.headers.get("x-api-key"), "authorization": request.headers.get("authorization")}
    return [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items() if value is not None]


def _touch(key: ApiKey) -> None:
    now = timezone.now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - TOUCH_PERIOD)
    ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
