"""The error envelope of Anthropic's dialect: `{"type": "error", "error": {"type", "message"}, "request_id"}`.

What OpenAI's envelope says of code and diagnostics rides in `error.details`, the code as `error_code` (MISSION G12).
"""

from __future__ import annotations

from typing import Any

import msgspec

from inference.refusals import Draining, Refusal

_encode = msgspec.json.Encoder().encode

#: Anthropic's own status for a server that has too much to do.
OVERLOADED = 529
#: Codes that mean this when their status is 503: the queue is full or the wait over, and no memory is free.
_CODES_OF_OVERLOAD = ("rate_limit_exceeded", "insufficient_vram")

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    OVERLOADED: "overloaded_error",
}


def status(refusal: Refusal) -> int:
    """The HTTP status: 529 for what is overloaded or drains, else as it is."""
    overloaded = isinstance(refusal, Draining) or refusal.code in _CODES_OF_OVERLOAD
    return OVERLOADED if refusal.status == 503 and overloaded else refusal.status


def error_type(refusal: Refusal) -> str:
    """Anthropic's `error.type` for a refusal."""
    code = status(refusal)
    return _TYPES.get(code, "invalid_request_error" if code < 500 else "api_error")


def envelope(refusal: Refusal, request_id: str) -> bytes:
    """The body of an error answer."""
    error: dict[str, Any] = {"type": error_type(refusal), "message": _message(refusal)}
    if details := _details(refusal):
        error["details"] = details
    return _encode({"type": "error", "error": error, "request_id": request_id})


def last_events(refusal: Refusal, request_id: str) -> bytes:
    """How a stream ends whose 200 has left: one event, and no message_stop."""
    return b"event: error\ndata: " + envelope(refusal, request_id) + b"\n\n"


def _message(refusal: Refusal) -> str:
    """The sentence, but an overflow in the words that Anthropic's clients search for."""
    told = refusal.diagnostics
    if refusal.code == "context_length_exceeded" and {"prompt_len", "max"} <= told.keys():
        return f"prompt is too long: {told['prompt_len']} tokens > {told['max']} maximum"
    return refusal.message


def _details(refusal: Refusal) -> dict[str, int | str]:
    details: dict[str, int | str] = dict(refusal.diagnostics)
    if refusal.param is not None:
        details["param"] = refusal.param
    if refusal.code is not None:
        details["error_code"] = refusal.code
    return details
