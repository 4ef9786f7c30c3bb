"""Why a request is not answered, in one shape for every dialect: a code, its status, a sentence (MISSION G12)."""

from __future__ import annotations

from collections.abc import Mapping

#: HTTP status of each code. What is not listed is not a code of ours.
STATUS_OF_CODE = {
    "invalid_api_key": 401,
    "model_not_found": 404,
    "missing_model_field": 400,
    "context_length_exceeded": 400,
    "invalid_value": 400,
    "vision_unsupported": 400,
    "template_render_failed": 422,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "insufficient_vram": 503,
    "service_unavailable": 503,
}

#: A client that is told to wait longer than this is told not to retry by itself: one SDK would sleep it all.
LONGEST_RETRY_AFTER_S = 120


#: Messages quote what a client sent, and that may be long.
LONGEST_MESSAGE = 2000


class Refusal(Exception):  # noqa: N818 - the field's word for it, and not always an error
    """An answer that is an error: raised wherever it is known, turned into an envelope by the dialect.

    `retry_after_s` goes only on what may be retried; `final` on a 5xx that must not be. `param` names the field at
    fault. `diagnostics` ride inside the error object.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
        final: bool = False,
        diagnostics: Mapping[str, int | str] | None = None,
    ) -> None:
        message = message if len(message) <= LONGEST_MESSAGE else f"{message[:LONGEST_MESSAGE]} [...]"
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status or STATUS_OF_CODE.get(code or "", 500)
        self.param = param
        self.retry_after_s = retry_after_s
        self.final = final
        self.diagnostics = dict(diagnostics or {})

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that tell a client whether to try again."""
        headers = []
        if self.retry_after_s is not None:
            headers.append((b"retry-after", str(self.retry_after_s).encode()))
        if self.final or (self.retry_after_s or 0) > LONGEST_RETRY_AFTER_S:
            headers.append((b"x-should-retry", b"false"))
        return headers


class Draining(Refusal):
    """503: this gateway finishes what runs and takes nothing new. Another one, or the next one, is there soon."""

    def __init__(self) -> None:
        message = "This gateway is shutting down; another one takes new requests."
        super().__init__(message, code="service_unavailable", retry_after_s=5)


def invalid(message: str, param: str | None = None) -> Refusal:
    """400: the request itself is wrong, at the field `param`."""
    return Refusal(message, status=400, param=param)


def unavailable(message: str, *, retry_after_s: int | None = None) -> Refusal:
    """503: nothing is wrong with the request. Without `retry_after_s` the client is told not to retry by itself."""
    return Refusal(message, code="service_unavailable", retry_after_s=retry_after_s, final=retry_after_s is None)
