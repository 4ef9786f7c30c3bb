"""How often one person or key may ask /api/, over all gateways together."""

from __future__ import annotations

from typing import Any, cast

import structlog
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import SimpleRateThrottle

from accounts.tenancy import Actor

log = structlog.get_logger(__name__)


class PerActor(SimpleRateThrottle):
    """Counts in the cache. Without Redis nobody is held back: what is asked here costs no tokens."""

    scope = "actor"

    def get_rate(self) -> str | None:
        return cast("str | None", api_settings.DEFAULT_THROTTLE_RATES[self.scope])

    def get_cache_key(self, request: Request, view: Any) -> str:
        ident = request.auth.ident if isinstance(request.auth, Actor) else f"address:{self.get_ident(request)}"
        return self.cache_format % {"scope": self.scope, "ident": ident}

    def allow_request(self, request: Request, view: Any) -> bool:
        try:
            return bool(super().allow_request(request, view))
        except RedisError as fault:
            log.warning("throttle_without_redis", reason=str(fault))
            return True
