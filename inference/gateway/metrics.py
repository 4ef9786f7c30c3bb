"""What a gateway counts, for Prometheus (MISSION G11): by model and node, and what is billed by account and key id."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from prometheus_client import Counter, Histogram

_LABELS = ("model", "node")
_LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

requests = Counter("helexa_requests", "Inference requests, refused ones included.", _LABELS)
request_errors = Counter("helexa_request_errors", "Inference requests that ended in an error.", (*_LABELS, "code"))
request_duration = Histogram(
    "helexa_request_duration_seconds", "From the request to its last byte.", _LABELS, buckets=_LATENCY_S
)
time_to_first_token = Histogram(
    "helexa_time_to_first_token_seconds",
    "From the request to the first byte with content.",
    _LABELS,
    buckets=_LATENCY_S,
)
tokens_per_second = Histogram(
    "helexa_tokens_per_second",
    "Completion tokens over the time from first to last chunk; over the whole request when that is under 0.1 s.",
    _LABELS,
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000),
)
prompt_tokens = Counter("helexa_prompt_tokens", "Prompt tokens of answered requests.", _LABELS)
completion_tokens = Counter("helexa_completion_tokens", "Generated tokens of answered requests.", _LABELS)

_SPENDER = ("account", "key")
spend_tokens = Counter("helexa_spend_tokens", "Tokens that were billed.", _SPENDER)
spend_prompt_tokens = Counter("helexa_spend_prompt_tokens", "Prompt tokens that were billed.", _SPENDER)
spend_completion_tokens = Counter("helexa_spend_completion_tokens", "Generated tokens that were billed.", _SPENDER)
overrun_tokens = Counter("helexa_overrun_tokens", "Tokens past a grant, on the house's account: never, or a fault.")

#: Speed is measured from the first to the last chunk, unless they are closer together than this.
SHORTEST_SPAN_S = 0.1


class OfModel(NamedTuple):
    """The metrics of one model on one node, their labels looked up once and not at every request."""

    requests: Counter
    request_duration: Histogram
    time_to_first_token: Histogram
    tokens_per_second: Histogram
    prompt_tokens: Counter
    completion_tokens: Counter


@lru_cache(maxsize=1024)
def of(model: str, node: str) -> OfModel:
    return OfModel(
        requests=requests.labels(model, node),
        request_duration=request_duration.labels(model, node),
        time_to_first_token=time_to_first_token.labels(model, node),
        tokens_per_second=tokens_per_second.labels(model, node),
        prompt_tokens=prompt_tokens.labels(model, node),
        completion_tokens=completion_tokens.labels(model, node),
    )
