"""The error envelope of the OpenAI dialects: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import msgspec

from inference.refusals import Refusal

_encode = msgspec.json.Encoder().encode


def error_type(refusal: Refusal) -> str:
    """OpenAI's `type` for a refusal (MISSION G12)."""
    if refusal.code == "insufficient_quota":
        return "insufficient_quota"
    if refusal.code == "rate_limit_exceeded":
        return "rate_limit_error"
    return "invalid_request_error" if refusal.status < 500 else "api_error"


def status(refusal: Refusal) -> int:
    """The HTTP status: as it is."""
    return refusal.status


def envelope(refusal: Refusal, request_id: str) -> bytes:
    """The body of an error answer. Its request is named by a header alone.

    Diagnostics ride inside the error object and never hide one of its four fields.
    """
    error = {
        **refusal.diagnostics,
        "message": refusal.message,
        "type": error_type(refusal),
        "param": refusal.param,
        "code": refusal.code,
    }
    return _encode({"error": error})


def last_events(refusal: Refusal) -> bytes:
    """How a stream ends whose 200 has left: one error event, then `[DONE]`."""
    return b"data: " + envelope(refusal, "") + b"\n\ndata: [DONE]\n\n"
