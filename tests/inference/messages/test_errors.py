"""Refusals in Anthropic's envelope, with its types and its status for what is overloaded (MISSION G12)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inference.dialects.messages import errors as anthropic_errors
from inference.refusals import Draining, Refusal, invalid, unavailable


def error_of(refusal: Refusal) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(anthropic_errors.envelope(refusal, "req_1"))
    assert (whole["type"], whole["request_id"]) == ("error", "req_1")
    error: dict[str, Any] = whole["error"]
    return error


@pytest.mark.parametrize(
    ("refusal", "status", "error_type"),
    [
        (invalid("bad", "max_tokens"), 400, "invalid_request_error"),
        (Refusal("no", code="invalid_api_key"), 401, "authentication_error"),
        (Refusal("no", status=403), 403, "permission_error"),
        (Refusal("no", code="model_not_found"), 404, "not_found_error"),
        (Refusal("no", status=405), 405, "invalid_request_error"),
        (Refusal("no", status=413), 413, "request_too_large"),
        (Refusal("no", status=415), 415, "invalid_request_error"),
        (Refusal("no", code="template_render_failed"), 422, "invalid_request_error"),
        (Refusal("no", code="rate_limit_exceeded", retry_after_s=7), 429, "rate_limit_error"),
        (Refusal("no", code="insufficient_quota", final=True), 429, "rate_limit_error"),
        (Refusal("no"), 500, "api_error"),
        (Refusal("no", status=502), 502, "api_error"),
        (unavailable("PostgreSQL is away", retry_after_s=5), 503, "api_error"),
        (Refusal("no", status=504), 504, "timeout_error"),
        (Draining(), 529, "overloaded_error"),
        (Refusal("queue full", code="rate_limit_exceeded", status=503, retry_after_s=9), 529, "overloaded_error"),
        (Refusal("no memory", code="insufficient_vram", retry_after_s=5), 529, "overloaded_error"),
    ],
)
def test_each_refusal_has_the_status_and_the_type_that_clients_branch_on(
    refusal: Refusal, status: int, error_type: str
) -> None:
    assert (anthropic_errors.status(refusal), error_of(refusal)["type"]) == (status, error_type)


def test_code_field_and_diagnostics_ride_in_details() -> None:
    refusal = Refusal("no room", code="insufficient_quota", param="max_tokens", diagnostics={"cap": 5, "error_code": 1})
    assert error_of(refusal)["details"] == {"error_code": "insufficient_quota", "param": "max_tokens", "cap": 5}


def test_what_has_no_code_has_no_details() -> None:
    assert error_of(Refusal("broken")) == {"type": "api_error", "message": "broken"}


def test_an_overflow_is_told_in_the_words_that_clients_search_for() -> None:
    refusal = Refusal(
        "This model's maximum context length is 10 tokens. However, your messages resulted in 12 tokens.",
        code="context_length_exceeded",
        diagnostics={"prompt_len": 12, "max": 10},
    )
    assert error_of(refusal)["message"] == "prompt is too long: 12 tokens > 10 maximum"


def test_a_stream_that_breaks_ends_with_one_named_event() -> None:
    name, data = anthropic_errors.last_events(unavailable("gone", retry_after_s=5), "req_1").decode().splitlines()[:2]
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["type"] == "api_error"
