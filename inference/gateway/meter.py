"""What one request adds to the metrics, whichever way it ends."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from inference.events import Failed, Finished
from inference.gateway import metrics
from inference.refusals import Refusal


class Meter:
    """Opened when the model is known; `close` is called exactly once. `node` is empty until a neuron was chosen.

    A request that `generates` nothing, a count, adds no tokens: none were read.
    """

    def __init__(self, model: str, *, generates: bool = True) -> None:
        self.model = model
        self._generates = generates
        self.node = ""
        self._started_s = time.monotonic()
        self._first_s: float | None = None
        self._last_s = 0.0
        self._end: Finished | Failed | None = None
        self._error: str | None = None
        self._called = False

    def saw_content(self) -> None:
        self._last_s = time.monotonic()
        if self._first_s is None:
            self._first_s = self._last_s

    def saw_call(self) -> None:
        self._called = True

    def saw_end(self, end: Finished | Failed) -> None:
        self._end = end

    def count_error(self, fault: BaseException) -> None:
        if isinstance(fault, Refusal):
            self._error = fault.code or str(fault.status)
        else:
            self._error = "client_left" if isinstance(fault, asyncio.CancelledError) else "fault"

    def close(self) -> None:
        counted = metrics.of(self.model, self.node)
        now_s = time.monotonic()
        counted.requests.inc()
        counted.request_duration.observe(now_s - self._started_s)
        if self._error is not None:
            metrics.request_errors.labels(self.model, self.node, self._error).inc()
        if self._first_s is not None:
            counted.time_to_first_token.observe(self._first_s - self._started_s)
        if self._end is not None and self._generates:
            counted.prompt_tokens.inc(self._end.prompt_tokens)
            counted.completion_tokens.inc(self._end.completion_tokens)
            if self._end.completion_tokens:
                counted.tokens_per_second.observe(self._end.completion_tokens / self._span_s(now_s))

    def _span_s(self, now_s: float) -> float:
        span_s = self._last_s - self._first_s if self._first_s is not None else 0.0
        return span_s if span_s >= metrics.SHORTEST_SPAN_S else max(now_s - self._started_s, 1e-6)

    @property
    def facts(self) -> dict[str, Any]:
        """What the request's log line says of it (MISSION G17)."""
        facts: dict[str, Any] = {"node": self.node}
        if self._first_s is not None:
            facts["first_token_ms"] = round((self._first_s - self._started_s) * 1000)
        if isinstance(self._end, Finished):
            facts |= {"finish_reason": self._end.reason, "tool_call": self._called}
        if self._error is not None:
            facts["error"] = self._error
        return facts
