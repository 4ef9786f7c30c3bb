"""One envelope for every fault under /api/: `{"error": {"code", "message", "field", "fields"}}`.

`message` is a sentence that begins with the field where one is at fault; `fields` has a sentence for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import structlog
from django.core.exceptions import NON_FIELD_ERRORS
from django.core.exceptions import ValidationError as RuleBroken
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.defaults import page_not_found, server_error
from kombu.exceptions import OperationalError as BrokerAway
from redis.exceptions import RedisError
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import exception_handler

log = structlog.get_logger(__name__)

PREFIX = "/api/"

#: When a client whose request a server that was away refused may come again.
RETRY_AFTER_S = 5

CODES = {
    400: "invalid",
    401: "not_authenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    429: "too_many_requests",
    500: "internal",
    503: "unavailable",
}

NOT_FOUND = "There is nothing at this address; /api/schema/ lists what there is."
INTERNAL = "This is a fault of helexa; its log says more, by the x-request-id of this answer."


class Away(exceptions.APIException):
    """A server that the request needs does not answer: nothing is wrong with the request."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    wait = RETRY_AFTER_S


class Conflict(exceptions.APIException):
    """What was free when it was checked has been taken by the time it was written."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"
    default_detail = "Somebody else changed the same thing in this moment: look at what there is now, then decide."


def handle(fault: Exception, context: dict[str, Any]) -> Response | None:
    """The answer to what a view raised; None for what nobody foresaw, which is logged and told by `internal_fault`."""
    response = exception_handler(_as_api_exception(fault), context)
    if response is not None:
        response.data = _envelope(response.status_code, dict(_sentences(response.data)))
        response.content_type = "application/json"
    return response


def _as_api_exception(fault: Exception) -> Exception:
    match fault:
        case RuleBroken():
            return exceptions.ValidationError(
                fault.message_dict if hasattr(fault, "error_dict") else fault.messages, code="invalid"
            )
        case IntegrityError():
            log.warning("api_conflict", reason=str(fault))
            return Conflict()
        case OperationalError() | InterfaceError():
            log.warning("api_database_away", reason=str(fault))
            return Away("PostgreSQL does not answer; try again in a few seconds.")
        case RedisError() | BrokerAway():
            log.warning("api_redis_away", reason=str(fault))
            return Away("Redis does not answer; try again in a few seconds.")
        case _:
            return fault


def _sentences(detail: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Each field at fault with a sentence, however deep; the field of what concerns the whole request is empty."""
    if isinstance(detail, dict):
        for name, part in detail.items():
            whole = name in ("detail", NON_FIELD_ERRORS, api_settings.NON_FIELD_ERRORS_KEY)
            yield from _sentences(part, field if whole else f"{field}.{name}".lstrip("."))
    elif isinstance(detail, list) and all(isinstance(part, str) for part in detail):
        yield field, " ".join(detail)
    elif isinstance(detail, list):
        for number, part in enumerate(detail):
            yield from _sentences(part, f"{field}.{number}".lstrip("."))
    else:
        yield field, str(detail)


def _envelope(status_code: int, sentences: dict[str, str]) -> dict[str, Any]:
    field, sentence = next(iter(sentences.items()), ("", ""))
    return {
        "error": {
            "code": CODES.get(status_code, "invalid"),
            "message": f"{field}: {sentence}" if field else sentence,
            "field": field or None,
            "fields": {name: text for name, text in sentences.items() if name},
        }
    }


def _json(status_code: int, sentence: str) -> JsonResponse:
    return JsonResponse(_envelope(status_code, {"": sentence}), status=status_code)


def missing_page(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 404: JSON under /api/, the page elsewhere."""
    return _json(404, NOT_FOUND) if request.path.startswith(PREFIX) else page_not_found(request, exception)


def internal_fault(request: HttpRequest) -> HttpResponse:
    """Django's 500, which it has logged: JSON under /api/, the page elsewhere."""
    return _json(500, INTERNAL) if request.path.startswith(PREFIX) else server_error(request)
